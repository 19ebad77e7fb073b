/* The lists of files of all snapshots: they agree with the reference trees, and whoever needs what
 * is damaged is named.
 *
 *   snapshot ─▶ [agreement, once for what snapshots share] ─▶ fine, and nobody suffers: next
 *                    └ not so ─▶ [walk of the entries] ─▶ damaged thing ─▶ paths
 *
 * Like in verify_refs.c, what is sound with all below is walked once, and the rest once for each
 * snapshot. */
#include <stdio.h>

#include "core/hex.h"
#include "store/content.h"
#include "store/manifest_check.h"
#include "store/tree_walk.h"
#include "store/verify_parts.h"

struct walk {
    struct dz_verify *x;
    struct dz_source source;
    struct dz_id_set *sound; /* nodes and lists, with all below */
    size_t snap;
    bool lost;                              /* something was, in this snapshot */
    bool faulty[DZ_MANIFEST_DEPTH_MAX + 1]; /* the node of each height that the walk is in */
};

/* Whether the object can be had.  `got` and `why`: of reading it, if it was read. */
static dz_status need(struct walk *w, enum dz_kind kind, const dz_id *id, dz_status got,
                      const dz_err *why, const dz_verify_path *path, bool *faulty, dz_err *err) {
    dz_name name = dz_name_of(w->x->v->host->name, (uint8_t) kind, id);
    bool lost = false;

    if (got == DZ_E_NOMEM) {
        if (err && why)
            *err = *why;
        return got;
    }
    DZ_TRY(dz_verify_need(w->x, &name, got, why, w->snap, path, &lost, err));
    w->lost |= lost;
    *faulty |= lost;
    return DZ_OK;
}

/* The list itself is wrong, though every object of it is whole: only its writer can have done so.
 */
static dz_status note_snapshot(struct walk *w, enum dz_verify_what what, const dz_err *why,
                               const dz_verify_path *path, dz_err *err) {
    char object[sizeof "commits/" + 2 * DZ_SHA256_BYTES] = "commits/";

    if (why->status == DZ_E_NOMEM) {
        if (err)
            *err = *why;
        return DZ_E_NOMEM;
    }
    dz_hex(dz_verify_snaps(w->x)[w->snap].file, DZ_SHA256_BYTES, object + strlen(object));
    w->lost = true;
    return dz_verify_note_for(w->x, object, what, why->what, w->snap, path, err);
}

/* --- content ---------------------------------------------------------------------------------- */

static dz_status walk_list(struct walk *w, const dz_content_item *item, unsigned depth,
                           const dz_verify_path *path, bool *faulty, dz_err *err);

static dz_status walk_items(struct walk *w, dz_content_list list, const dz_verify_path *path,
                            bool *faulty, dz_err *err) {
    dz_content_item item;

    while (dz_content_list_next(&list, &item)) {
        if (list.depth == 0)
            DZ_TRY(need(w, DZ_KIND_DATA, &item.id, DZ_OK, NULL, path, faulty, err));
        else
            DZ_TRY(walk_list(w, &item, list.depth - 1u, path, faulty, err));
    }
    return DZ_OK;
}

static dz_status walk_list(struct walk *w, const dz_content_item *item, unsigned depth,
                           const dz_verify_path *path, bool *faulty, dz_err *err) {
    dz_autobuf dz_buf bytes = { 0 };
    dz_content_list list = { 0 };
    bool bad = false, added;
    dz_err why = { 0 };
    dz_status s;

    if (dz_id_set_has(w->sound, &item->id))
        return DZ_OK;
    s = w->source.get(w->source.ctx, DZ_KIND_NODE, &item->id, &bytes, &why);
    DZ_TRY(need(w, DZ_KIND_NODE, &item->id, s, &why, path, &bad, err));
    if (s == DZ_OK) {
        s = dz_content_list_read(dz_buf_slice(&bytes), &list, &why);
        if (s == DZ_OK && (list.depth != depth || list.bytes != item->bytes))
            s = DZ_FAIL(&why, DZ_E_CORRUPT, "a content list of another depth or length");
        if (s == DZ_OK)
            DZ_TRY(walk_items(w, list, path, &bad, err));
        else
            DZ_TRY(note_snapshot(w, DZ_VERIFY_WRONG, &why, path, err));
    }
    *faulty |= bad || s != DZ_OK;
    return bad || s != DZ_OK ? DZ_OK : dz_id_set_add(w->sound, &item->id, &added, err);
}

static dz_status walk_entry(struct walk *w, const dz_entry *e, dz_err *err) {
    dz_slice content = dz_entry_field(e, DZ_TAG_CONTENT);
    const dz_verify_path path = { e->path, 1 };
    dz_content_list list;
    dz_err why = { 0 };

    if (!content.data)
        return DZ_OK;
    if (dz_content_field_read(content, &list, &why) == DZ_OK)
        return walk_items(w, list, &path, &w->faulty[0], err);
    w->faulty[0] = true;
    return note_snapshot(w, DZ_VERIFY_WRONG, &why, &path, err);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* Opens the child at the place, or passes it by when it is lost. */
static dz_status walk_child(struct walk *w, struct dz_tree_walk *t, bool *ret_inside, dz_err *err) {
    const dz_inner_item *item = &t->levels[t->height].item;
    const dz_verify_path path = { item->path, item->entries };
    unsigned height = t->height;
    dz_id node = item->node;
    dz_err why = { 0 };
    dz_status s;

    *ret_inside = false;
    if (dz_id_set_has(w->sound, &node))
        return DZ_OK;
    s = dz_tree_walk_descend(t, &why);
    if (s == DZ_OK)
        w->faulty[height - 1] = false;
    *ret_inside = s == DZ_OK;
    return need(w, DZ_KIND_NODE, &node, s, &why, &path,
                &w->faulty[s == DZ_OK ? height - 1 : height], err);
}

/* The nodes that the walk has left are sound, or make their parents faulty. */
static dz_status leave(struct walk *w, const struct dz_tree_walk *t, unsigned from, unsigned to,
                       dz_err *err) {
    for (unsigned h = from; h < to; h++) {
        bool added;
        if (!w->faulty[h])
            DZ_TRY(dz_id_set_add(w->sound, &t->levels[h].id, &added, err));
        else if (h < t->root.depth)
            w->faulty[h + 1] = true;
    }
    return DZ_OK;
}

static dz_status walk_nodes(struct walk *w, struct dz_tree_walk *t, dz_err *err) {
    const dz_verify_path all = { .entries = t->root.entries };
    dz_err why = { 0 };
    dz_status s = dz_tree_walk_start(t, &why);

    w->faulty[t->root.depth] = false;
    DZ_TRY(need(w, DZ_KIND_NODE, &t->root.node, s, &why, &all, &w->faulty[t->root.depth], err));
    while (s == DZ_OK && !t->ended) {
        unsigned from = t->height;
        bool inside = false;

        if (from > 0)
            DZ_TRY(walk_child(w, t, &inside, err));
        else
            DZ_TRY(walk_entry(w, &t->entry, err));
        if (inside)
            continue;
        s = dz_tree_walk_step(t, &why);
        if (s != DZ_OK)
            return note_snapshot(w, DZ_VERIFY_WRONG, &why, NULL, err);
        DZ_TRY(leave(w, t, from, t->ended ? t->root.depth + 1u : t->height, err));
    }
    return DZ_OK;
}

static dz_status check_snapshot(struct walk *w, struct dz_manifest_check *check, dz_err *err) {
    const struct dz_verify_snap *snap = &dz_verify_snaps(w->x)[w->snap];
    bool suffers = w->x->suffers && w->x->suffers[w->snap];
    struct dz_tree_walk t;
    dz_err why = { 0 };
    dz_status agree = dz_manifest_check_root(check, &snap->root, &why), s;

    if (agree == DZ_E_NOMEM && err)
        *err = why;
    if (agree == DZ_E_NOMEM || (agree == DZ_OK && !suffers))
        return agree;
    w->lost = false;
    dz_tree_walk_init(&t, &w->source, &snap->root);
    s = walk_nodes(w, &t, err);
    dz_tree_walk_done(&t);
    DZ_TRY(s);
    /* what is lost cannot agree with anything: only where nothing is, somebody lied */
    return agree == DZ_OK || w->lost ? DZ_OK
                                     : note_snapshot(w, DZ_VERIFY_DISAGREES, &why, NULL, err);
}

dz_status dz_verify_files(struct dz_verify *x, struct dz_fetch *f, dz_err *err) {
    struct walk w = { .x = x, .source = dz_fetch_source(f) };
    DZ_AUTO(dz_manifest_check) check = NULL;
    dz_status s;

    DZ_TRY(dz_manifest_check_new(&w.source, x->v->host->name, &check, err));
    s = dz_id_set_new(&w.sound, err);
    for (w.snap = 0; s == DZ_OK && w.snap < dz_verify_snap_count(x); w.snap++) {
        if (dz_verify_snaps(x)[w.snap].opened)
            s = check_snapshot(&w, check, err);
        dz_verify_tell_progress(x, w.snap);
    }
    dz_id_set_free(w.sound);
    return s;
}
