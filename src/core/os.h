/* core/os.h -- the seam under every system call that the vault's safety rests on.
 *
 * All code that writes the vault, reads it back, or writes a restored tree goes through the table
 * `dz_os`.  Production uses the kernel.  Tests put another table there, to make the n-th call
 * fail, or to record every write so that a power cut can be replayed at each sync.  The pointer
 * is set once, before threads start; the functions are as thread-safe as the kernel's. */
#pragma once

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

struct dz_os {
    int (*openat)(int dirfd, const char *name, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *data, size_t len, off_t at);
    ssize_t (*write)(int fd, const void *data, size_t len);
    ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
    int (*ftruncate)(int fd, off_t len);
    int (*fsync)(int fd); /* files and directories */
    int (*fstat)(int fd, struct stat *st);
    int (*mkdirat)(int dirfd, const char *name, mode_t mode);
    int (*publish)(int fromfd, const char *from, int tofd,
                   const char *to); /* rename; fails with EEXIST if `to` exists */
    int (*replace)(int fromfd, const char *from, int tofd, const char *to); /* rename over */
    int (*unlinkat)(int dirfd, const char *name, int flags);
    int (*flock)(int fd, int operation);

    /* For restored trees.  A directory below dirfd, however its path is swapped meanwhile: no
     * link is followed and nothing above dirfd is reached (openat2, RESOLVE_BENEATH; component by
     * component on kernels without it). */
    int (*open_beneath)(int dirfd, const char *path, int flags);
    int (*fstatat)(int dirfd, const char *name, struct stat *st, int flags);
    ssize_t (*readlinkat)(int dirfd, const char *name, char *to, size_t room);
    int (*symlinkat)(const char *target, int dirfd, const char *name);
    int (*linkat)(int fromfd, const char *from, int tofd, const char *to, int flags);
    int (*mknodat)(int dirfd, const char *name, mode_t mode, dev_t dev);
    int (*fchown)(int fd, uid_t uid, gid_t gid);
    int (*fchownat)(int dirfd, const char *name, uid_t uid, gid_t gid, int flags);
    int (*fchmod)(int fd, mode_t mode);
    int (*fchmodat)(int dirfd, const char *name, mode_t mode, int flags);
    int (*futimens)(int fd, const struct timespec times[2]);
    int (*utimensat)(int dirfd, const char *name, const struct timespec times[2], int flags);
    int (*fsetxattr)(int fd, const char *name, const void *value, size_t len, int flags);
    int (*setxattr)(const char *path, const char *name, const void *value, size_t len, int flags);
    int (*fremovexattr)(int fd, const char *name);
    int (*syncfs)(int fd);
};

extern const struct dz_os dz_os_real;
extern const struct dz_os *dz_os; /* &dz_os_real unless a test says otherwise */
