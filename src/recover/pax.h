/* recover/pax.h -- headers of a POSIX.1-2001 tar stream, one entry at a time.
 *
 *   entry ─▶ [pax: extended header where ustar falls short, ustar header] ─▶ bytes
 *
 * As in IEEE Std 1003.1 "pax Interchange Format"; with GNU tar's sparse format 1.0, and star's
 * SCHILY.xattr and SCHILY.acl records, that GNU tar and libarchive read. */
#pragma once

#include "core/buf.h"
#include "store/entry.h"

enum { DZ_TAR_BLOCK = 512 };

struct dz_pax_entry {
    const dz_entry *e;
    uint64_t size; /* of a regular file, holes included */
    uint64_t data; /* bytes of content that follow the header; 0 for links */
    bool sparse;
    dz_slice extents; /* of a sparse file: every run but the last is whole blocks */
    dz_slice link;    /* path in this stream that it is a hardlink to; data == NULL: none */
};

/* Appends everything that stands before the content: for a sparse file its map too.  *ret_padding
 * is the zeros that follow the content.  Memory running out shows in dz_buf_ok(to). */
void dz_pax_header(const struct dz_pax_entry *p, dz_buf *to, size_t *ret_padding);
