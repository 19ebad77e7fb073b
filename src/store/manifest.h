/* store/manifest.h -- a snapshot's entries, sorted, in blocks that snapshots share.
 *
 *   entries in tree order ─▶ [manifest builder] ─▶ sink (nodes, reference nodes) ─▶ root ─▶ commit
 *
 * Leaves are cut by the names in them, inner nodes by the ids of their children: the same entries
 * give the same root whatever was there before, and a small change makes few new nodes.
 * Layout: docs/format/manifest.md; why so: docs/design/manifest.md.
 * A builder belongs to one thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "store/entry.h"
#include "store/object.h"

enum {
    DZ_MANIFEST_DEPTH_MAX = 16,                   /* inner levels above the leaves, at most */
    DZ_MANIFEST_ROOT_MAX = 32 + 32 + 1 + 10 + 10, /* bytes of an encoded root */
};

/* What a commit holds of a snapshot's tree. */
typedef struct dz_manifest_root {
    dz_id node;       /* the root node (kind NODE) */
    dz_id ref;        /* its reference node (kind REF) */
    uint8_t depth;    /* inner levels above the leaves; 0: the root is a leaf */
    uint64_t entries; /* in all */
    uint64_t bytes;   /* sum of the entries' sizes, at most UINT64_MAX (it stays there) */
} dz_manifest_root;

void dz_manifest_root_write(const dz_manifest_root *root, dz_buf *to);
/* Leaves the reader after the root.  DZ_E_CORRUPT, DZ_E_LIMIT (depth). */
dz_status dz_manifest_root_read(dz_reader *r, dz_manifest_root *ret_root,
                                dz_err *err) DZ_MUST_CHECK;

struct dz_manifest_builder;

/* `sink` is borrowed until the builder is freed; `name_key` is copied.  `seed` moves the cuts; keep
 * it the same for all snapshots that shall share nodes, and secret: who knows it can choose names
 * that are never cut.  DZ_E_NOMEM. */
dz_status dz_manifest_builder_new(const struct dz_sink *sink, const uint8_t name_key[32],
                                  uint64_t seed, struct dz_manifest_builder **ret_builder,
                                  dz_err *err) DZ_MUST_CHECK;
void dz_manifest_builder_free(struct dz_manifest_builder *b); /* wipes the key; NULL is fine */
DZ_DEFINE_AUTO(dz_manifest_builder, dz_manifest_builder_free)

/* Adds the next entry (borrowed for the call), strictly after the one before in dz_path_cmp order.
 * DZ_E_USAGE (order, or what dz_entry_check says; the entry is not added and the next may follow),
 * DZ_E_LIMIT (likewise), DZ_E_CORRUPT (its content field; likewise), DZ_E_NOMEM, the sink's
 * (final). */
dz_status dz_manifest_builder_add(struct dz_manifest_builder *b, const dz_entry *e,
                                  dz_err *err) DZ_MUST_CHECK;

/* Puts what is left and gives the root.  Call once, then free.  DZ_E_LIMIT (depth), DZ_E_NOMEM,
 * the sink's. */
dz_status dz_manifest_builder_finish(struct dz_manifest_builder *b, dz_manifest_root *ret_root,
                                     dz_err *err) DZ_MUST_CHECK;
