#include "store/tree_walk.h"

#include "core/hex.h"

void dz_tree_walk_init(struct dz_tree_walk *w, const struct dz_source *source,
                       const dz_manifest_root *root) {
    *w = (struct dz_tree_walk){ .source = source, .root = *root, .ended = true };
}

void dz_tree_walk_done(struct dz_tree_walk *w) {
    for (size_t i = 0; i <= DZ_MANIFEST_DEPTH_MAX; i++)
        dz_node_done(&w->levels[i].node);
}

static dz_status node_error(dz_err *err, dz_status status, const dz_id *id) {
    char hex[2 * DZ_SHA256_BYTES + 1];

    dz_hex(id->b, sizeof id->b, hex);
    return dz_err_context(err, status, "manifest node %s", hex);
}

static bool same_id(const dz_id *a, const dz_id *b) {
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* Makes the node the one of its level, at its front, checked against what its parent says. */
static dz_status load(struct dz_tree_walk *w, unsigned height, const dz_id *id,
                      const dz_node_sum *promised, dz_err *err) {
    struct dz_tree_level *l = &w->levels[height];

    if (l->loaded && same_id(&l->id, id)) {
        DZ_TRY(dz_node_begin(&l->node, (uint8_t) height, err));
    } else {
        l->loaded = false;
        DZ_TRY(w->source->get(w->source->ctx, DZ_KIND_NODE, id, &l->node.bytes, err));
        DZ_TRY(dz_node_check(&l->node, (uint8_t) height, &l->sum, err));
        l->id = *id;
        l->loaded = true;
    }
    if (l->sum.entries != promised->entries || l->sum.bytes != promised->bytes)
        return DZ_FAIL(err, DZ_E_CORRUPT, "%ju entries of %ju bytes where %ju of %ju were promised",
                       (uintmax_t) l->sum.entries, (uintmax_t) l->sum.bytes,
                       (uintmax_t) promised->entries, (uintmax_t) promised->bytes);
    return DZ_OK;
}

/* Reads the next item of the place's node, of which there are more. */
static dz_status item_next(struct dz_tree_walk *w, dz_err *err) {
    struct dz_tree_level *l = &w->levels[w->height];

    return w->height > 0 ? dz_inner_next(&l->node, &l->item, err)
                         : dz_leaf_next(&l->node, &w->entry, err);
}

static dz_status root_load(struct dz_tree_walk *w, dz_err *err) {
    const dz_node_sum promised = { w->root.entries, w->root.bytes };
    dz_status status = load(w, w->root.depth, &w->root.node, &promised, err);

    w->ended = true;
    w->lost = false;
    if (status != DZ_OK)
        return node_error(err, status, &w->root.node);
    w->height = w->root.depth;
    w->ended = !dz_node_more(&w->levels[w->height].node);
    return DZ_OK;
}

dz_status dz_tree_walk_start(struct dz_tree_walk *w, dz_err *err) {
    DZ_TRY(root_load(w, err));
    return w->ended ? DZ_OK : item_next(w, err);
}

static dz_status open_child(struct dz_tree_walk *w, const dz_inner_item *item, dz_err *err) {
    const dz_node_sum promised = { item->entries, item->bytes };
    struct dz_tree_level *l = &w->levels[w->height - 1];
    dz_slice first;

    DZ_TRY(load(w, w->height - 1, &item->node, &promised, err));
    w->height--;
    DZ_TRY(item_next(w, err)); /* there is one: a child has entries */
    first = w->height > 0 ? l->item.path : w->entry.path;
    if (!dz_slice_eq(first, item->path))
        return DZ_FAIL(err, DZ_E_CORRUPT, "its first path is not the one promised");
    return DZ_OK;
}

dz_status dz_tree_walk_descend(struct dz_tree_walk *w, dz_err *err) {
    unsigned height = w->height;
    const dz_inner_item *item = &w->levels[height].item;
    dz_status status = open_child(w, item, err);

    if (status == DZ_OK)
        return DZ_OK;
    w->height = height;
    w->lost = true;
    return node_error(err, status, &item->node);
}

dz_status dz_tree_walk_step(struct dz_tree_walk *w, dz_err *err) {
    const struct dz_tree_level *from = &w->levels[w->height];

    w->lost = false;
    if (w->ended)
        return DZ_OK;
    if (dz_node_more(&from->node))
        return item_next(w, err);
    while (!dz_node_more(&w->levels[w->height].node)) {
        if (w->height == w->root.depth) {
            w->ended = true;
            return DZ_OK;
        }
        w->height++;
    }
    DZ_TRY(item_next(w, err));
    /* `from` still holds the path that it ended with. */
    if (dz_path_cmp(dz_buf_slice(&from->node.path), dz_tree_walk_path(w)) < 0)
        return DZ_OK;
    w->ended = true;
    return node_error(err, DZ_FAIL(err, DZ_E_CORRUPT, "a path that belongs behind the node"),
                      &from->id);
}

/* Whether an entry with this path stands before the place sought. */
static bool is_before(dz_slice path, dz_slice sought, bool behind) {
    int order = dz_path_cmp(path, sought);

    return order < 0 || (behind && (order == 0 || dz_path_within(path, sought)));
}

/* Goes, in the node whose front the place is at, to the item that the sought place is in or at.
 * *ret_inside: somewhere below the item, which is before it. */
static dz_status seek_in_node(struct dz_tree_walk *w, dz_slice path, bool behind, bool *ret_inside,
                              dz_err *err) {
    struct dz_tree_level *l = &w->levels[w->height];
    uint32_t before = 0;
    bool exact = false;

    while (dz_node_more(&l->node)) {
        DZ_TRY(item_next(w, err));
        if (!is_before(dz_tree_walk_path(w), path, behind)) {
            exact = !behind && dz_slice_eq(dz_tree_walk_path(w), path);
            break;
        }
        before++;
    }
    *ret_inside = w->height > 0 && before > 0 && !exact;
    if (!*ret_inside)
        return DZ_OK;
    DZ_TRY(dz_node_begin(&l->node, (uint8_t) w->height, err));
    for (uint32_t i = 0; i < before; i++)
        DZ_TRY(item_next(w, err));
    return DZ_OK;
}

dz_status dz_tree_walk_seek(struct dz_tree_walk *w, dz_slice path, bool behind, dz_err *err) {
    bool inside;

    DZ_TRY(root_load(w, err));
    if (w->ended)
        return DZ_OK;
    for (;;) {
        DZ_TRY(seek_in_node(w, path, behind, &inside, err));
        if (!inside)
            break;
        DZ_TRY(dz_tree_walk_descend(w, err));
        DZ_TRY(dz_node_begin(&w->levels[w->height].node, (uint8_t) w->height, err));
    }
    /* In a leaf whose entries are all before it, the place is the item after the leaf. */
    if (w->height == 0 && is_before(w->entry.path, path, behind))
        return dz_tree_walk_step(w, err);
    return DZ_OK;
}
