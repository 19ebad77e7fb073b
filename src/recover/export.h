/* recover/export.h -- a snapshot as a tar stream that every other tool can read.
 *
 *   cursor ─▶ entries ─▶ [pax headers, content] ─▶ descriptor
 *
 * POSIX.1-2001 pax: names of any length and any bytes, times to the nanosecond and before 1970,
 * files of any size; holes as GNU.sparse 1.0, xattrs as SCHILY.xattr, ACLs as SCHILY.acl (both as
 * GNU tar and bsdtar read them).  See docs/design/restore.md.
 * One export belongs to one thread. */
#pragma once

#include "core/error.h"
#include "recover/supply.h"

struct dz_export_how {
    const dz_slice *paths; /* as in dz_restore_how */
    size_t n_paths;
    int fd; /* borrowed; may be a pipe */
    /* May be NULL.  The entry is not in the stream, or as `what` says. */
    void (*problem)(void *ctx, dz_slice path, const char *what);
    void (*progress)(void *ctx, uint64_t files, uint64_t bytes);
    void *ctx;
};

struct dz_export_result {
    uint64_t files, bytes, dirs, others;
    uint64_t left_out; /* problems */
};

/* A file whose content turns out damaged half-way is filled up with zeros and named: a stream
 * cannot take back what it has said.  DZ_E_IO (descriptor), DZ_E_NOMEM, DZ_E_CLOSED, DZ_E_USAGE,
 * DZ_E_CORRUPT (the root of the tree is lost). */
dz_status dz_export(const struct dz_supply *supply, const dz_manifest_root *root,
                    const struct dz_export_how *how, struct dz_export_result *ret_result,
                    dz_err *err) DZ_MUST_CHECK;
