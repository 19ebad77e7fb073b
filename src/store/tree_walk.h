/* store/tree_walk.h -- a place in a snapshot's tree, that opens nodes only when told.
 *
 *   root ─▶ [tree walk] ─▶ cursor (goes down to entries), diff (passes by what is equal)
 *
 * The place is an entry, or a child of an inner node that was not opened yet.  A node is read and
 * checked as a whole when it is opened: its own order, its first path, counts and sums against its
 * parent, and its last path against what follows.  One node per level is kept.
 * A walk belongs to one thread at a time. */
#pragma once

#include "store/manifest.h"
#include "store/node.h"

struct dz_tree_walk {
    const struct dz_source *source;
    dz_manifest_root root;
    struct dz_tree_level {
        struct dz_node node;
        dz_id id;
        dz_node_sum sum;
        bool loaded;                     /* `node` is the one with this id */
        dz_inner_item item;              /* at the place, in an inner node */
    } levels[DZ_MANIFEST_DEPTH_MAX + 1]; /* by height; 0: leaf */
    unsigned height; /* of the node that the place is in: 0: the place is `entry` */
    dz_entry entry;
    bool ended;
    bool lost; /* the child at the place could not be opened */
};

/* `source` is borrowed, `root` copied (its depth was checked on reading).  Nothing is read yet. */
void dz_tree_walk_init(struct dz_tree_walk *w, const struct dz_source *source,
                       const dz_manifest_root *root);
void dz_tree_walk_done(struct dz_tree_walk *w);

/* Goes to the first item of the root node.  Errors of all: see store/cursor.h. */
dz_status dz_tree_walk_start(struct dz_tree_walk *w, dz_err *err) DZ_MUST_CHECK;
/* Opens the child at the place and goes to its first item.  The place must not be an entry. */
dz_status dz_tree_walk_descend(struct dz_tree_walk *w, dz_err *err) DZ_MUST_CHECK;
/* Goes on behind the place: behind the entry, or behind all below the child. */
dz_status dz_tree_walk_step(struct dz_tree_walk *w, dz_err *err) DZ_MUST_CHECK;
/* Goes to where the first entry at or after `path` is; when `behind`, the first after it that is
 * not below it.  `path` is borrowed for the call and does not come from this walk. */
dz_status dz_tree_walk_seek(struct dz_tree_walk *w, dz_slice path, bool behind,
                            dz_err *err) DZ_MUST_CHECK;

/* Of the entry, or of the child's first entry.  Borrowed until the walk moves. */
static inline dz_slice dz_tree_walk_path(const struct dz_tree_walk *w) {
    return w->height > 0 ? w->levels[w->height].item.path : w->entry.path;
}
