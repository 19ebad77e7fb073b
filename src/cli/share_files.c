#include "cli/share_files.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>

#include "cli/page.h"
#include "core/durable.h"

void dz_share_file_name(const dz_share *share, const char *extension,
                        char ret_name[DZ_SHARE_FILE_NAME]) {
    (void) snprintf(ret_name, DZ_SHARE_FILE_NAME, "share-%u-of-%u.%s", share->x, share->count,
                    extension);
}

dz_status dz_secret_file_write(int dirfd, const char *name, dz_slice bytes, dz_err *err) {
    int fd = dz_os->openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    dz_status s = DZ_OK;

    if (fd < 0 && errno == EEXIST)
        return DZ_FAIL(err, DZ_E_EXISTS, "%.90s is there already; it is not overwritten", name);
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "creating %.90s", name);
    if (dz_write_all(fd, bytes) < 0 || dz_os->fsync(fd) < 0)
        s = DZ_FAIL_ERRNO(err, "writing %.90s", name);
    if (dz_os->close(fd) < 0 && s == DZ_OK)
        s = DZ_FAIL_ERRNO(err, "writing %.90s", name);
    if (s != DZ_OK)
        (void) dz_os->unlinkat(dirfd, name, 0);
    return s;
}

/* --- the page --------------------------------------------------------------------------------- */

/* The page's PDF; false when it cannot be drawn. */
static bool draw_page(const dz_share *share, const char *fingerprint, dz_buf *to) {
    const char *const arguments[] = { fingerprint, NULL };
    dz_autobuf_secret dz_buf text = { 0 };

    return dz_share_write(share, fingerprint, &text, NULL) == DZ_OK &&
           dz_cli_page(arguments, dz_buf_slice(&text), to);
}

/* --- all of them ------------------------------------------------------------------------------ */

static dz_status write_one(int dirfd, const dz_share *share, const char *fingerprint,
                           unsigned *pages, dz_err *err) {
    dz_autobuf_secret dz_buf text = { 0 }, page = { 0 };
    char name[DZ_SHARE_FILE_NAME];

    DZ_TRY(dz_share_write(share, fingerprint, &text, err));
    dz_share_file_name(share, "dozo-share", name);
    DZ_TRY(dz_secret_file_write(dirfd, name, dz_buf_slice(&text), err));
    if (!draw_page(share, fingerprint, &page))
        return DZ_OK;
    dz_share_file_name(share, "pdf", name);
    DZ_TRY(dz_secret_file_write(dirfd, name, dz_buf_slice(&page), err));
    (*pages)++;
    return DZ_OK;
}

/* So that a failure half-way does not take away what was there before us. */
static dz_status check_free(int dirfd, const dz_share *shares, unsigned n, dz_err *err) {
    static const char *const extensions[] = { "dozo-share", "pdf" };
    struct stat st;

    for (unsigned i = 0; i < n; i++)
        for (size_t e = 0; e < 2; e++) {
            char name[DZ_SHARE_FILE_NAME];
            dz_share_file_name(&shares[i], extensions[e], name);
            if (dz_os->fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return DZ_FAIL(err, DZ_E_EXISTS,
                               "the shares' directory holds a %s already; it is not overwritten",
                               name);
        }
    return DZ_OK;
}

static void take_away(int dirfd, const dz_share *shares, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char name[DZ_SHARE_FILE_NAME];
        dz_share_file_name(&shares[i], "dozo-share", name);
        (void) dz_os->unlinkat(dirfd, name, 0);
        dz_share_file_name(&shares[i], "pdf", name);
        (void) dz_os->unlinkat(dirfd, name, 0);
    }
}

/* Unlike what is in the vault, its name comes from a person and can be any path. */
static dz_status make_dir(const char *dir, dz_err *err) {
    dz_autofree char *copy = strdup(dir);
    dz_autoclose int parent = -1;

    if (!copy)
        return DZ_FAIL(err, DZ_E_NOMEM, "shares' directory: out of memory");
    if (dz_os->mkdirat(AT_FDCWD, dir, 0700) < 0)
        return errno == EEXIST ? DZ_OK : DZ_FAIL_ERRNO(err, "making the shares' directory");
    parent = dz_os->openat(AT_FDCWD, dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return parent >= 0 && dz_os->fsync(parent) == 0
               ? DZ_OK
               : DZ_FAIL_ERRNO(err, "syncing the directory above the shares");
}

dz_status dz_share_files_write(const char *dir, const dz_share *shares, unsigned n,
                               const char *fingerprint, unsigned *ret_pages, dz_err *err) {
    dz_autoclose int dirfd = -1;
    unsigned pages = 0;
    dz_status s;

    DZ_TRY(make_dir(dir, err));
    dirfd = dz_os->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dirfd < 0)
        return DZ_FAIL_ERRNO(err, "opening the shares' directory");
    DZ_TRY(check_free(dirfd, shares, n, err));
    s = DZ_OK;
    for (unsigned i = 0; i < n && s == DZ_OK; i++)
        s = write_one(dirfd, &shares[i], fingerprint, &pages, err);
    if (s == DZ_OK && dz_os->fsync(dirfd) < 0)
        s = DZ_FAIL_ERRNO(err, "syncing the shares' directory");
    if (s != DZ_OK)
        take_away(dirfd, shares, n);
    else
        *ret_pages = pages;
    return s;
}
