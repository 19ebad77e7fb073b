/* Attributes of what was restored. */
#include "recover/target.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "core/os.h"
#include "core/text.h"

enum {
    XATTR_NAME_LIMIT = 255, /* XATTR_NAME_MAX of Linux */
    PROC_PATH = 40,         /* "/proc/self/fd/" and a number */
};

static void proc_path(int fd, char ret[PROC_PATH]) {
    (void) snprintf(ret, PROC_PATH, "/proc/self/fd/%d", fd);
}

/* True when the owner is as recorded, so that setuid and setgid mean what they meant. */
static bool set_owner(struct dz_target *t, const struct dz_target_thing *thing, const dz_entry *e,
                      const struct dz_target_dir *d, const char *name) {
    uid_t uid = t->root ? e->uid : (uid_t) -1;
    int rc;

    if (thing->owner_right)
        return true;
    if (!t->root && e->uid != t->uid) {
        pthread_mutex_lock(&t->lock);
        t->counts.unowned++;
        pthread_mutex_unlock(&t->lock);
        return false;
    }
    rc = thing->path_only ? dz_os->fchownat(thing->fd, "", uid, e->gid, AT_EMPTY_PATH)
                          : dz_os->fchown(thing->fd, uid, e->gid);
    if (rc == 0)
        return true;
    if (!t->root && errno == EPERM) {
        pthread_mutex_lock(&t->lock);
        t->counts.unowned++;
        pthread_mutex_unlock(&t->lock);
        return false;
    }
    dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name, N_("owner could not be set"), errno);
    return false;
}

enum which_xattrs { ALL_XATTRS, ALL_BUT_ACCESS, ACCESS_ONLY };

static bool wanted(enum which_xattrs which, dz_slice key) {
    bool access = dz_slice_eq(key, DZ_SLICE_LIT("system.posix_acl_access"));
    return which == ALL_XATTRS || access == (which == ACCESS_ONLY);
}

static void set_xattrs(struct dz_target *t, const struct dz_target_thing *thing, dz_slice list,
                       enum which_xattrs which, const struct dz_target_dir *d, const char *name) {
    dz_reader r = dz_reader_over(list);
    int failed = 0;
    const char *what = NULL;

    while (dz_reader_left(&r) > 0 && dz_reader_ok(&r)) {
        dz_slice key = dz_read_field(&r);
        dz_slice value = dz_read_field(&r);
        char text[XATTR_NAME_LIMIT + 1], path[PROC_PATH];
        int rc;

        if (!dz_reader_ok(&r) || key.len == 0 || key.len > XATTR_NAME_LIMIT ||
            memchr(key.data, 0, key.len)) {
            what = N_("an extended attribute's name can be none");
            failed = EINVAL;
            continue;
        }
        if (!wanted(which, key))
            continue;
        memcpy(text, key.data, key.len);
        text[key.len] = '\0';
        if (thing->path_only) {
            proc_path(thing->fd, path);
            rc = dz_os->setxattr(path, text, value.data, value.len, 0);
        } else {
            rc = dz_os->fsetxattr(thing->fd, text, value.data, value.len, 0);
        }
        if (rc != 0) {
            failed = errno;
            if (memcmp(text, "system.posix_acl", 16) == 0)
                what = N_("access control list could not be set");
            else
                what = N_("extended attributes could not all be set");
        }
    }
    if (what)
        dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name, what, failed);
}

static void set_mode(struct dz_target *t, const struct dz_target_thing *thing, mode_t mode,
                     const struct dz_target_dir *d, const char *name) {
    char path[PROC_PATH];
    int rc;

    if (thing->path_only) {
        proc_path(thing->fd, path);
        rc = dz_os->fchmodat(AT_FDCWD, path, mode, 0);
    } else {
        rc = dz_os->fchmod(thing->fd, mode);
    }
    if (rc != 0)
        dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name, N_("mode could not be set"), errno);
}

static void set_time(struct dz_target *t, const struct dz_target_thing *thing, const dz_entry *e,
                     const struct dz_target_dir *d, const char *name) {
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                 { .tv_sec = e->mtime_s, .tv_nsec = (long) e->mtime_ns } };
    char path[PROC_PATH];
    struct stat st;
    int rc;

    if (thing->path_only) {
        proc_path(thing->fd, path);
        rc = dz_os->utimensat(AT_FDCWD, path, times, 0);
    } else {
        rc = dz_os->futimens(thing->fd, times);
    }
    if (rc != 0) {
        dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name, N_("time could not be set"), errno);
        return;
    }
    /* A file system with a small range of times clamps without a word. */
    if ((e->mtime_s < 0 || e->mtime_s > INT32_MAX) && dz_os->fstat(thing->fd, &st) == 0 &&
        st.st_mtim.tv_sec != e->mtime_s)
        dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name,
                          N_("time is outside of what this file system can keep"), 0);
}

void dz_target_set(struct dz_target *t, const struct dz_target_thing *thing, const dz_entry *e,
                   const struct dz_target_dir *d, const char *name) {
    dz_slice xattrs = dz_entry_field(e, DZ_TAG_XATTRS);
    mode_t mode = e->mode & 07777;
    bool link = e->type == DZ_ENTRY_SYMLINK;

    if (!set_owner(t, thing, e, d, name) && (mode & (S_ISUID | S_ISGID)) && !link &&
        e->type != DZ_ENTRY_DIR) {
        mode &= ~(mode_t) (S_ISUID | S_ISGID);
        dz_target_problem(t, DZ_RESTORE_PARTIAL, d, name,
                          N_("setuid and setgid left out: the owner is another one"), 0);
    }
    if (thing->acl_inherits && !thing->path_only) { /* ENODATA is the good case */
        (void) dz_os->fremovexattr(thing->fd, "system.posix_acl_access");
        if (e->type == DZ_ENTRY_DIR)
            (void) dz_os->fremovexattr(thing->fd, "system.posix_acl_default");
    }
    if (e->type == DZ_ENTRY_DIR) {
        /* the mode is the mark of what is not complete, so it goes last; an access list changes it,
         * so that goes right before, and what is found in between is known by its time */
        set_xattrs(t, thing, xattrs, ALL_BUT_ACCESS, d, name);
        set_time(t, thing, e, d, name);
        set_xattrs(t, thing, xattrs, ACCESS_ONLY, d, name);
        if (!thing->mode_right)
            set_mode(t, thing, mode, d, name);
        return;
    }
    set_xattrs(t, thing, xattrs, ALL_XATTRS, d, name);
    if (!thing->mode_right && !link)
        set_mode(t, thing, mode, d, name);
    set_time(t, thing, e, d, name);
}
