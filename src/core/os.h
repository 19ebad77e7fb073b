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
};

extern const struct dz_os dz_os_real;
extern const struct dz_os *dz_os; /* &dz_os_real unless a test says otherwise */
