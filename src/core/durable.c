#include "core/durable.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "core/buf.h"
#include "core/cleanup.h"

int dz_write_all(int fd, dz_slice s) {
    while (s.len > 0) {
        ssize_t n = dz_os->write(fd, s.data, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        s.data += n;
        s.len -= (size_t) n;
    }
    return 0;
}

int dz_pread_all(int fd, void *to, size_t len, off_t at) {
    uint8_t *p = to;

    while (len > 0) {
        ssize_t n = dz_os->pread(fd, p, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENODATA;
            return -1;
        }
        p += n;
        at += n;
        len -= (size_t) n;
    }
    return 0;
}

dz_status dz_durable_temp(int tmpfd, char ret_name[DZ_TEMP_NAME_MAX], int *ret_fd, dz_err *err) {
    char name[DZ_TEMP_NAME_MAX];
    uint64_t salt;
    int fd;

    if (getrandom(&salt, sizeof salt, 0) != (ssize_t) sizeof salt)
        return DZ_FAIL_ERRNO(err, "temporary file: no randomness");
    (void) snprintf(name, sizeof name, "t-%016" PRIx64, salt);
    fd = dz_os->openat(tmpfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "creating temporary file %s", name);
    memcpy(ret_name, name, sizeof name);
    *ret_fd = fd;
    return DZ_OK;
}

static dz_status sync_close(int fd, const char *name, dz_err *err) {
    dz_status s = DZ_OK;

    if (dz_os->fsync(fd) < 0)
        s = DZ_FAIL_ERRNO(err, "publish %s: syncing data", name);
    if (dz_os->close(fd) < 0 && s == DZ_OK)
        s = DZ_FAIL_ERRNO(err, "publish %s: closing", name);
    return s;
}

/* Content is synced: now the name, in one step, and then the name is synced too. */
static dz_status give_name(int tmpfd, const char *temp, int dirfd, const char *name, bool over,
                           dz_err *err) {
    int r =
        over ? dz_os->replace(tmpfd, temp, dirfd, name) : dz_os->publish(tmpfd, temp, dirfd, name);
    if (r < 0)
        return errno == EEXIST ? DZ_FAIL(err, DZ_E_EXISTS, "publish %s: name is taken", name)
                               : DZ_FAIL_ERRNO(err, "publish %s: naming", name);
    if (dz_os->fsync(dirfd) < 0)
        return DZ_FAIL_ERRNO(err, "publish %s: syncing directory", name);
    return DZ_OK;
}

static dz_status name_temp(int tmpfd, const char *temp, int fd, int dirfd, const char *name,
                           bool over, dz_err *err) {
    dz_status s = sync_close(fd, name, err);

    if (s == DZ_OK)
        s = give_name(tmpfd, temp, dirfd, name, over, err);
    if (s != DZ_OK)
        (void) dz_os->unlinkat(tmpfd, temp, 0);
    return s;
}

dz_status dz_durable_publish_temp(int tmpfd, const char *temp, int fd, int dirfd, const char *name,
                                  dz_err *err) {
    return name_temp(tmpfd, temp, fd, dirfd, name, false, err);
}

dz_status dz_durable_replace_temp(int tmpfd, const char *temp, int fd, int dirfd, const char *name,
                                  dz_err *err) {
    return name_temp(tmpfd, temp, fd, dirfd, name, true, err);
}

static dz_status write_named(int tmpfd, int dirfd, const char *name, dz_slice content, bool over,
                             dz_err *err) {
    char temp[DZ_TEMP_NAME_MAX];
    dz_status s;
    int fd;

    DZ_TRY(dz_durable_temp(tmpfd, temp, &fd, err));
    if (dz_write_all(fd, content) < 0) {
        s = DZ_FAIL_ERRNO(err, "publish %s: writing %zu bytes", name, content.len);
        (void) dz_os->close(fd);
        (void) dz_os->unlinkat(tmpfd, temp, 0);
        return s;
    }
    return name_temp(tmpfd, temp, fd, dirfd, name, over, err);
}

dz_status dz_durable_publish(int tmpfd, int dirfd, const char *name, dz_slice content,
                             dz_err *err) {
    return write_named(tmpfd, dirfd, name, content, false, err);
}

dz_status dz_durable_replace(int tmpfd, int dirfd, const char *name, dz_slice content,
                             dz_err *err) {
    return write_named(tmpfd, dirfd, name, content, true, err);
}

dz_status dz_read_file(int dirfd, const char *name, size_t limit, dz_buf *ret_content,
                       dz_err *err) {
    dz_autobuf dz_buf b = { 0 };
    dz_autoclose int fd =
        dz_os->openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    struct stat st;
    uint8_t *to;

    if (fd < 0)
        return errno == ENOENT ? DZ_FAIL(err, DZ_E_NOT_FOUND, "%s: no such file", name)
                               : DZ_FAIL_ERRNO(err, "opening %s", name);
    if (dz_os->fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "reading %s", name);
    if (!S_ISREG(st.st_mode))
        return DZ_FAIL(err, DZ_E_MALFORMED, "%s: not a regular file", name);
    if (st.st_size < 0 || (uint64_t) st.st_size > limit)
        return DZ_FAIL(err, DZ_E_LIMIT, "%s: %lld bytes, the limit is %zu", name,
                       (long long) st.st_size, limit);
    to = dz_buf_extend(&b, (size_t) st.st_size);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "reading %s: out of memory", name);
    if (dz_pread_all(fd, to, (size_t) st.st_size, 0) < 0)
        return DZ_FAIL_ERRNO(err, "reading %s", name);
    *ret_content = b;
    b = (dz_buf){ 0 };
    return DZ_OK;
}

dz_status dz_durable_mkdir(int dirfd, const char *name, mode_t mode, dz_err *err) {
    if (dz_os->mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making directory %s", name);
    if (dz_os->fsync(dirfd) < 0)
        return DZ_FAIL_ERRNO(err, "making directory %s: syncing its parent", name);
    return DZ_OK;
}
