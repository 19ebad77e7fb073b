#include "store/cursor.h"

#include "store/tree_walk.h"

struct dz_cursor {
    struct dz_tree_walk walk;
    dz_buf path; /* a copy of what is sought: callers may hand in the path of the last entry */
    bool started;
    bool given; /* the entry at the walk's place was given; next steps on first */
};

dz_status dz_cursor_new(const struct dz_source *source, const dz_manifest_root *root,
                        struct dz_cursor **ret_cursor, dz_err *err) {
    struct dz_cursor *c;

    if (root->depth > DZ_MANIFEST_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "manifest of depth %u; at most %d", root->depth,
                       DZ_MANIFEST_DEPTH_MAX);
    c = calloc(1, sizeof *c);
    if (!c)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a cursor");
    dz_tree_walk_init(&c->walk, source, root);
    *ret_cursor = c;
    return DZ_OK;
}

void dz_cursor_free(struct dz_cursor *c) {
    if (!c)
        return;
    dz_tree_walk_done(&c->walk);
    dz_buf_release(&c->path);
    free(c);
}

static dz_status seek(struct dz_cursor *c, dz_slice path, bool behind, dz_err *err) {
    dz_buf_clear(&c->path);
    dz_buf_put_slice(&c->path, path);
    if (!dz_buf_ok(&c->path))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a path");
    c->started = true;
    c->given = false;
    return dz_tree_walk_seek(&c->walk, dz_buf_slice(&c->path), behind, err);
}

dz_status dz_cursor_seek(struct dz_cursor *c, dz_slice path, dz_err *err) {
    return seek(c, path, false, err);
}

/* Moves from where the walk is to the first entry at or below it. */
static dz_status to_entry(struct dz_cursor *c, dz_err *err) {
    while (!c->walk.ended && c->walk.height > 0)
        DZ_TRY(dz_tree_walk_descend(&c->walk, err));
    return DZ_OK;
}

dz_status dz_cursor_next(struct dz_cursor *c, dz_entry *ret_entry, bool *ret_end, dz_err *err) {
    if (!c->started) {
        c->started = true;
        DZ_TRY(dz_tree_walk_start(&c->walk, err));
    } else if (c->given) {
        c->given = false;
        DZ_TRY(dz_tree_walk_step(&c->walk, err));
    }
    DZ_TRY(to_entry(c, err));
    *ret_end = c->walk.ended;
    if (!c->walk.ended) {
        c->given = true;
        *ret_entry = c->walk.entry;
    }
    return DZ_OK;
}

dz_status dz_cursor_skip_below(struct dz_cursor *c, dz_err *err) {
    if (!c->given)
        return DZ_FAIL(err, DZ_E_USAGE, "no entry to skip what is below");
    return seek(c, c->walk.entry.path, true, err);
}

dz_status dz_cursor_skip_lost(struct dz_cursor *c, dz_slice *ret_first, uint64_t *ret_entries,
                              dz_err *err) {
    struct dz_tree_walk *w = &c->walk;
    dz_inner_item lost;

    if (!w->lost)
        return DZ_FAIL(err, DZ_E_USAGE, "no node was lost that can be passed by");
    lost = w->levels[w->height].item;
    dz_buf_clear(&c->path);
    dz_buf_put_slice(&c->path, lost.path);
    if (!dz_buf_ok(&c->path))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a path");
    DZ_TRY(dz_tree_walk_step(w, err));
    *ret_first = dz_buf_slice(&c->path);
    *ret_entries = lost.entries;
    return DZ_OK;
}

dz_status dz_cursor_find(struct dz_cursor *c, dz_slice path, dz_entry *ret_entry, dz_err *err) {
    DZ_TRY(seek(c, path, false, err));
    DZ_TRY(to_entry(c, err));
    if (c->walk.ended || !dz_slice_eq(c->walk.entry.path, dz_buf_slice(&c->path)))
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "no such path in the snapshot");
    c->given = true;
    *ret_entry = c->walk.entry;
    return DZ_OK;
}
