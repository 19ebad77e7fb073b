/* store/reftree.h -- which objects a snapshot needs, readable by the closed host.
 *
 *   manifest nodes, content lists ─▶ [reference nodes] ─▶ prune, copies off-site, verify
 *
 * Every manifest node and content list has a reference node: the keyed names of the objects that it
 * references and its own, and the ids of the reference nodes of its children.  The commit binds the
 * root's id, each id is the SHA-256 of the child's bytes: so the tree is authenticated from the
 * root, and shared between snapshots exactly as the nodes are.  It holds no path, size or time.
 * Layout: docs/format/reference.md.  Builders and walks belong to one thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "store/id_set.h"
#include "store/object.h"

enum {
    DZ_REFNODE_NAMES_MAX = 32768,
    DZ_REFNODE_CHILDREN_MAX = 8192,
    DZ_REFTREE_DEPTH_MAX = 32, /* nodes from the root to the lowest, at most */
};

/* --- One node --------------------------------------------------------------------------------- */

typedef struct dz_refnode {
    dz_slice names;    /* n * DZ_NAME_BYTES, strictly ascending; borrowed */
    dz_slice children; /* n * DZ_SHA256_BYTES, strictly ascending; borrowed */
} dz_refnode;

/* DZ_E_CORRUPT, DZ_E_UNSUPPORTED (newer version), DZ_E_LIMIT. */
dz_status dz_refnode_read(dz_slice bytes, dz_refnode *ret_node, dz_err *err) DZ_MUST_CHECK;

/* Collects what one node references, in any order and repeatedly; zeroed it is empty and ready. */
struct dz_refnode_builder {
    dz_buf names;
    dz_buf children;
    dz_buf bytes;
};
void dz_refnode_builder_done(struct dz_refnode_builder *b);
void dz_refnode_add_name(struct dz_refnode_builder *b, const dz_name *name);
void dz_refnode_add_child(struct dz_refnode_builder *b, const dz_id *ref);
/* Sorts, drops repetitions, puts the node into the sink and empties the builder.
 * DZ_E_NOMEM, DZ_E_LIMIT, the sink's. */
dz_status dz_refnode_put(struct dz_refnode_builder *b, const struct dz_sink *sink, dz_id *ret_ref,
                         dz_err *err) DZ_MUST_CHECK;

/* --- Walking ---------------------------------------------------------------------------------- */

/* What a walk tells.  Anything but DZ_OK from a function ends the walk and is handed up.
 * Either function may be NULL. */
struct dz_reftree_visitor {
    /* A reference node itself (an object of kind REF, whose name is dz_name_of(..., id)). */
    dz_status (*node)(void *ctx, const dz_id *ref, dz_err *err);
    /* An object that the node references.  The same name may come from several nodes. */
    dz_status (*name)(void *ctx, const dz_name *name, dz_err *err);
    void *ctx;
};

/* Walks the tree under `root`.  Nodes in `seen` are skipped with all below them, walked ones are
 * added; after a failure `seen` is worthless (nodes in it may not have been walked to the end).
 * Every node's bytes are checked against its id, whatever the source did.
 * DZ_E_NOT_FOUND, DZ_E_CORRUPT (both name the node), DZ_E_LIMIT (depth), DZ_E_NOMEM. */
dz_status dz_reftree_walk(const struct dz_source *source, const dz_id *root, struct dz_id_set *seen,
                          const struct dz_reftree_visitor *visitor, dz_err *err) DZ_MUST_CHECK;
