#include "tests/fault/fault_os.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "core/os.h"

static struct fault_plan plan;
static bool fired;
static const struct dz_os *before;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool refuse(void) {
    bool refused;

    (void) pthread_mutex_lock(&lock);
    refused = plan.allowed-- <= 0 && (!fired || plan.forever);
    fired |= refused;
    (void) pthread_mutex_unlock(&lock);
    if (refused)
        errno = plan.error;
    return refused;
}

static size_t part(size_t len) {
    return plan.short_io ? (len + 1) / 2 : len;
}

static int f_openat(int dirfd, const char *name, int flags, mode_t mode) {
    return refuse() ? -1 : dz_os_real.openat(dirfd, name, flags, mode);
}
static int f_close(int fd) { /* the descriptor is gone even when close() says it failed */
    int r = dz_os_real.close(fd);
    return refuse() ? -1 : r;
}
static ssize_t f_pread(int fd, void *data, size_t len, off_t at) {
    return refuse() ? -1 : dz_os_real.pread(fd, data, part(len), at);
}
static ssize_t f_write(int fd, const void *data, size_t len) {
    return refuse() ? -1 : dz_os_real.write(fd, data, part(len));
}
static ssize_t f_pwrite(int fd, const void *data, size_t len, off_t at) {
    return refuse() ? -1 : dz_os_real.pwrite(fd, data, part(len), at);
}
static int f_ftruncate(int fd, off_t len) {
    return refuse() ? -1 : dz_os_real.ftruncate(fd, len);
}
static int f_fsync(int fd) {
    return refuse() ? -1 : plan.skip_syncs ? 0 : dz_os_real.fsync(fd);
}
static int f_syncfs(int fd) {
    return refuse() ? -1 : plan.skip_syncs ? 0 : dz_os_real.syncfs(fd);
}
static int f_fstat(int fd, struct stat *st) {
    return refuse() ? -1 : dz_os_real.fstat(fd, st);
}
static int f_fstatat(int dirfd, const char *name, struct stat *st, int flags) {
    return refuse() ? -1 : dz_os_real.fstatat(dirfd, name, st, flags);
}
static int f_mkdirat(int dirfd, const char *name, mode_t mode) {
    return refuse() ? -1 : dz_os_real.mkdirat(dirfd, name, mode);
}
static int f_publish(int fromfd, const char *from, int tofd, const char *to) {
    return refuse() ? -1 : dz_os_real.publish(fromfd, from, tofd, to);
}
static int f_replace(int fromfd, const char *from, int tofd, const char *to) {
    return refuse() ? -1 : dz_os_real.replace(fromfd, from, tofd, to);
}
static int f_unlinkat(int dirfd, const char *name, int flags) {
    return refuse() ? -1 : dz_os_real.unlinkat(dirfd, name, flags);
}
static int f_flock(int fd, int operation) {
    return refuse() ? -1 : dz_os_real.flock(fd, operation);
}

static const struct dz_os faulty = {
    .openat = f_openat,
    .close = f_close,
    .pread = f_pread,
    .write = f_write,
    .pwrite = f_pwrite,
    .ftruncate = f_ftruncate,
    .fsync = f_fsync,
    .fstat = f_fstat,
    .fstatat = f_fstatat,
    .mkdirat = f_mkdirat,
    .publish = f_publish,
    .replace = f_replace,
    .unlinkat = f_unlinkat,
    .flock = f_flock,
    .syncfs = f_syncfs,
};

void fault_os_arm(struct fault_plan p) {
    plan = p;
    fired = false;
    before = dz_os;
    dz_os = &faulty;
}

bool fault_os_disarm(void) {
    dz_os = before;
    return fired;
}
