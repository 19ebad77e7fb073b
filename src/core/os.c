#include "core/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int real_openat(int dirfd, const char *name, int flags, mode_t mode) {
    return openat(dirfd, name, flags, mode);
}
static int real_fstat(int fd, struct stat *st) {
    return fstat(fd, st);
}
static int real_publish(int fromfd, const char *from, int tofd, const char *to) {
    return renameat2(fromfd, from, tofd, to, RENAME_NOREPLACE);
}

/* One component cannot climb, and O_NOFOLLOW keeps it from being a link. */
static int open_stepwise(int dirfd, const char *path, int flags) {
    int at = dirfd, next;

    for (;;) {
        const char *slash = strchrnul(path, '/');
        size_t n = (size_t) (slash - path);
        char name[256];

        if (n == 0 || n >= sizeof name || (n == 1 && path[0] == '.') ||
            (n == 2 && path[0] == '.' && path[1] == '.')) {
            next = -1;
            errno = n >= sizeof name ? ENAMETOOLONG : EXDEV;
        } else {
            memcpy(name, path, n);
            name[n] = '\0';
            next = openat(at, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (at != dirfd) {
            int keep = errno;
            (void) close(at);
            errno = keep;
        }
        if (next < 0 || *slash == '\0')
            return next;
        at = next;
        path = slash + 1;
    }
}

static int real_open_beneath(int dirfd, const char *path, int flags) {
    struct open_how how = {
        .flags = (uint64_t) (unsigned) (flags | O_DIRECTORY | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do /* EAGAIN: a rename elsewhere ran beside us, ".." could not be ruled out */
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) /* EPERM: old container filters */
        return open_stepwise(dirfd, path, flags);
    return (int) fd;
}

static int real_fstatat(int dirfd, const char *name, struct stat *st, int flags) {
    return fstatat(dirfd, name, st, flags);
}

const struct dz_os dz_os_real = {
    .openat = real_openat,
    .close = close,
    .pread = pread,
    .write = write,
    .pwrite = pwrite,
    .ftruncate = ftruncate,
    .fsync = fsync,
    .fstat = real_fstat,
    .mkdirat = mkdirat,
    .publish = real_publish,
    .replace = renameat,
    .unlinkat = unlinkat,
    .flock = flock,
    .open_beneath = real_open_beneath,
    .fstatat = real_fstatat,
    .readlinkat = readlinkat,
    .symlinkat = symlinkat,
    .linkat = linkat,
    .mknodat = mknodat,
    .fchown = fchown,
    .fchownat = fchownat,
    .fchmod = fchmod,
    .fchmodat = fchmodat,
    .futimens = futimens,
    .utimensat = utimensat,
    .fsetxattr = fsetxattr,
    .setxattr = setxattr,
    .fremovexattr = fremovexattr,
    .syncfs = syncfs,
};

const struct dz_os *dz_os = &dz_os_real;
