#include "core/os.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
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
};

const struct dz_os *dz_os = &dz_os_real;
