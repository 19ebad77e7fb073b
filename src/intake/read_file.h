/* intake/read_file.h -- what one open file holds: its data, and the fields of its entry.
 *
 *   descriptor ─▶ extents ─▶ content bytes     features, attributes ─▶ fields
 *
 * Holes are not read: the content is the data extents one after the other.  Thread-safe. */
#pragma once

#include <sys/stat.h>

#include "intake/cut.h"

/* The data extents of a sparse file, for turning content offsets into file offsets. */
struct dz_extent {
    uint64_t content; /* offset in the content */
    uint64_t file;    /* offset in the file */
    uint64_t length;
};
struct dz_extents {
    struct dz_extent *list; /* owned; NULL: one extent, the whole file */
    size_t n;
    uint64_t size;    /* of the file */
    uint64_t content; /* bytes of data */
    bool stream;      /* not to be sought in, of unknown length: read as it comes; spans in order */
};
void dz_extents_release(struct dz_extents *x);
/* Finds the holes of a file that has fewer blocks than bytes.  If there are more than an entry can
 * hold, the smallest are read as zeros.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_extents_find(int fd, const struct stat *st, struct dz_extents *ret_extents,
                          dz_err *err) DZ_MUST_CHECK;
/* The file ended after so many bytes of content: what lies behind them is not there any more. */
void dz_extents_cut(struct dz_extents *x, uint64_t content);
/* Appends the field DZ_TAG_EXTENTS, if there are holes. */
void dz_extents_put(const struct dz_extents *x, dz_buf *fields);

/* Reads at most len content bytes at `from`, within one extent.  0 at the end, -1 with errno. */
ssize_t dz_extents_read(int fd, const struct dz_extents *x, uint64_t from, uint8_t *to, size_t len);

/* The keyed digest of a content, from its identity: SHA-256 over the chunks' identities. */
void dz_content_digest(const uint8_t digest_key[32], const uint8_t content[DZ_SHA256_BYTES],
                       uint8_t ret_digest[DZ_FEATURE_DIGEST]);
/* Appends the field DZ_TAG_FEATURES.  `digest_key` makes the content's digest. */
void dz_features_put(const struct dz_features *f, const char *name, const uint8_t digest_key[32],
                     const uint8_t content[DZ_SHA256_BYTES], dz_buf *fields);

/* Appends the field DZ_TAG_XATTRS of the object that `fd` names, or, with fd < 0, of `name` in
 * dirfd without following it.  Gives 0, or the errno of what could not be read. */
int dz_xattrs_put(int fd, int dirfd, const char *name, dz_buf *fields);
