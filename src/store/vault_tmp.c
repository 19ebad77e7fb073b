/* Writers' directories: DIR/tmp/w-<hex>, each held by a lock as long as its writer lives. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/os.h"
#include "store/vault.h"

enum { DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

static void sweep_one(int tmpfd, const char *name) {
    int fd = dz_os->openat(tmpfd, name, DIR_FLAGS | O_NOFOLLOW, 0), twin;
    struct dirent *e;
    DIR *d;

    if (fd < 0)
        return;
    if (dz_os->flock(fd, LOCK_EX | LOCK_NB) < 0) { /* its writer lives */
        (void) dz_os->close(fd);
        return;
    }
    twin = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    d = twin >= 0 ? fdopendir(twin) : NULL;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            (void) dz_os->unlinkat(fd, e->d_name, 0);
    if (d)
        (void) closedir(d);
    else if (twin >= 0)
        (void) close(twin);
    (void) dz_os->unlinkat(tmpfd, name, AT_REMOVEDIR);
    (void) dz_os->close(fd);
}

static void sweep(int tmpfd) {
    int twin = dz_os->openat(tmpfd, ".", DIR_FLAGS, 0);
    DIR *d = twin >= 0 ? fdopendir(twin) : NULL;
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (e->d_name[0] == 'w' && e->d_name[1] == '-')
            sweep_one(tmpfd, e->d_name);
    if (d)
        (void) closedir(d);
    else
        (void) dz_os->close(twin);
}

dz_status dz_vault_tmp_make(struct dz_vault *v, char ret_name[DZ_VAULT_TMP_NAME], int *ret_fd,
                            dz_err *err) {
    sweep(v->tmpfd);
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

dz_status dz_vault_writers(struct dz_vault *v, const char *own, dz_buf *ret_names, dz_err *err) {
    int twin = dz_os->openat(v->tmpfd, ".", DIR_FLAGS, 0);
    DIR *d = twin >= 0 ? fdopendir(twin) : NULL;
    dz_status s = DZ_OK;
    struct dirent *e;

    if (!d) {
        if (twin >= 0)
            (void) dz_os->close(twin);
        return DZ_FAIL_ERRNO(err, "listing writers");
    }
    for (errno = 0; (e = readdir(d)); errno = 0) {
        char name[DZ_VAULT_TMP_NAME] = { 0 };

        if (e->d_name[0] != 'w' || strlen(e->d_name) >= sizeof name || strcmp(e->d_name, own) == 0)
            continue;
        memcpy(name, e->d_name, strlen(e->d_name));
        if (dz_vault_writer_lives(v, name))
            dz_buf_put(ret_names, name, sizeof name);
    }
    if (errno)
        s = DZ_FAIL_ERRNO(err, "listing writers");
    (void) closedir(d);
    return s == DZ_OK && !dz_buf_ok(ret_names)
               ? DZ_FAIL(err, DZ_E_NOMEM, "list of writers: out of memory")
               : s;
}
