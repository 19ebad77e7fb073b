/* Writers' directories: DIR/tmp/w-<hex>, each held by a lock as long as its writer lives. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/os.h"
#include "store/vault.h"

enum { DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

static dz_status drop_file(void *ctx, const char *name, dz_err *err) {
    (void) err;
    (void) dz_os->unlinkat(*(const int *) ctx, name, 0);
    return DZ_OK;
}

static void sweep_one(int tmpfd, const char *name) {
    int fd = dz_os->openat(tmpfd, name, DIR_FLAGS | O_NOFOLLOW, 0);

    if (fd < 0)
        return;
    if (dz_os->flock(fd, LOCK_EX | LOCK_NB) == 0) { /* else its writer lives */
        DZ_IGNORE(dz_dir_each(fd, "unfinished files", drop_file, &fd, NULL));
        (void) dz_os->unlinkat(tmpfd, name, AT_REMOVEDIR);
    }
    (void) dz_os->close(fd);
}

static dz_status sweep_named(void *ctx, const char *name, dz_err *err) {
    (void) err;
    if (name[0] == 'w' && name[1] == '-')
        sweep_one(*(const int *) ctx, name);
    return DZ_OK;
}

dz_status dz_vault_tmp_make(struct dz_vault *v, char ret_name[DZ_VAULT_TMP_NAME], int *ret_fd,
                            dz_err *err) {
    DZ_IGNORE(dz_dir_each(v->tmpfd, "writers", sweep_named, &v->tmpfd, NULL));
    for (int tries = 0; tries < 16; tries++) {
        char name[DZ_VAULT_TMP_NAME];
        struct stat st;
        uint64_t salt;
        int fd;

        dz_random(&salt, sizeof salt);
        (void) snprintf(name, sizeof name, "w-%016" PRIx64, salt);
        if (dz_os->mkdirat(v->tmpfd, name, 0700) < 0)
            return DZ_FAIL_ERRNO(err, "making a temporary directory in the vault");
        fd = dz_os->openat(v->tmpfd, name, DIR_FLAGS | O_NOFOLLOW, 0);
        if (fd < 0 && errno != ENOENT) {
            dz_status s = DZ_FAIL_ERRNO(err, "opening a temporary directory in the vault");
            (void) dz_os->unlinkat(v->tmpfd, name, AT_REMOVEDIR);
            return s;
        }
        /* another writer's sweep may have taken it between mkdir and lock: then once more */
        if (fd >= 0 && dz_os->flock(fd, LOCK_EX | LOCK_NB) == 0 && dz_os->fstat(fd, &st) == 0 &&
            st.st_nlink > 0) {
            memcpy(ret_name, name, sizeof name);
            *ret_fd = fd;
            return DZ_OK;
        }
        if (fd >= 0)
            (void) dz_os->close(fd);
    }
    return DZ_FAIL(err, DZ_E_BUSY, "no temporary directory after 16 tries");
}

void dz_vault_tmp_drop(struct dz_vault *v, const char *name, int fd) {
    (void) dz_os->close(fd); /* gives up the lock */
    sweep_one(v->tmpfd, name);
}

bool dz_vault_writer_lives(struct dz_vault *v, const char *name) {
    int fd = dz_os->openat(v->tmpfd, name, DIR_FLAGS | O_NOFOLLOW, 0);
    bool lives;

    if (fd < 0)
        return errno != ENOENT;
    lives = dz_os->flock(fd, LOCK_EX | LOCK_NB) < 0;
    (void) dz_os->close(fd);
    return lives;
}

struct writers {
    struct dz_vault *v;
    const char *own;
    dz_buf *names;
};

static dz_status add_writer(void *ctx, const char *name, dz_err *err) {
    char padded[DZ_VAULT_TMP_NAME] = { 0 };
    struct writers *w = ctx;

    if (name[0] != 'w' || strlen(name) >= sizeof padded || strcmp(name, w->own) == 0 ||
        !dz_vault_writer_lives(w->v, name))
        return DZ_OK;
    memcpy(padded, name, strlen(name));
    dz_buf_put(w->names, padded, sizeof padded);
    return dz_buf_ok(w->names) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "list of writers: out of memory");
}

dz_status dz_vault_writers(struct dz_vault *v, const char *own, dz_buf *ret_names, dz_err *err) {
    struct writers w = { .v = v, .own = own, .names = ret_names };

    return dz_dir_each(v->tmpfd, "writers", add_writer, &w, err);
}
