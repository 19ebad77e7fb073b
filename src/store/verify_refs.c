/* The reference trees of all snapshots: every node there and its own, every object that they name
 * in a pack that can be relied on.
 *
 * A node without fault, in itself and below, is walked once for all snapshots.  A faulty one is
 * walked once for each snapshot, to say which of them suffer. */
#include "core/hex.h"
#include "store/id_set.h"
#include "store/reftree.h"
#include "store/verify_parts.h"

struct walk {
    struct dz_verify *x;
    struct dz_source source;
    struct dz_id_set *sound;  /* with all below */
    struct dz_id_set *faulty; /* of this snapshot; NULL: none yet */
    size_t snap;
    dz_buf bytes[DZ_REFTREE_DEPTH_MAX]; /* of the node that each level stands in */
};

static dz_status need(struct walk *w, const dz_name *name, dz_status got, const dz_err *why,
                      bool *faulty, dz_err *err) {
    bool lost = false;

    DZ_TRY(dz_verify_need(w->x, name, got, why, w->snap, NULL, &lost, err));
    *faulty |= lost;
    return DZ_OK;
}

static dz_status fetch(struct walk *w, const dz_id *ref, dz_buf *to, dz_refnode *ret_node,
                       dz_err *err) {
    dz_id is;

    DZ_TRY(w->source.get(w->source.ctx, DZ_KIND_REF, ref, to, err));
    dz_sha256(dz_buf_slice(to), is.b);
    if (memcmp(is.b, ref->b, sizeof is.b) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "a reference node's bytes are not its own");
    return dz_refnode_read(dz_buf_slice(to), ret_node, err);
}

static dz_status walk_node(struct walk *w, const dz_id *ref, unsigned depth, bool *ret_faulty,
                           dz_err *err);

static dz_status walk_below(struct walk *w, const dz_refnode *node, unsigned depth, bool *faulty,
                            dz_err *err) {
    for (dz_reader r = dz_reader_over(node->names); dz_reader_left(&r) > 0;) {
        dz_name name;
        memcpy(name.b, dz_read_bytes(&r, sizeof name.b).data, sizeof name.b);
        DZ_TRY(need(w, &name, DZ_OK, NULL, faulty, err));
    }
    for (dz_reader r = dz_reader_over(node->children); dz_reader_left(&r) > 0;) {
        bool below = false;
        dz_id child;
        memcpy(child.b, dz_read_bytes(&r, sizeof child.b).data, sizeof child.b);
        DZ_TRY(walk_node(w, &child, depth + 1, &below, err));
        *faulty |= below;
    }
    return DZ_OK;
}

static dz_status walk_node(struct walk *w, const dz_id *ref, unsigned depth, bool *ret_faulty,
                           dz_err *err) {
    dz_name name = dz_name_of(w->x->v->host->name, DZ_KIND_REF, ref);
    bool faulty = false, added;
    dz_refnode node = { 0 };
    dz_err why = { 0 };
    dz_status s;

    if (dz_id_set_has(w->sound, ref))
        return DZ_OK;
    *ret_faulty = true;
    if (w->faulty && dz_id_set_has(w->faulty, ref))
        return DZ_OK;
    s = depth < DZ_REFTREE_DEPTH_MAX
            ? fetch(w, ref, &w->bytes[depth], &node, &why)
            : DZ_FAIL(&why, DZ_E_CORRUPT, "a reference tree deeper than %d nodes",
                      DZ_REFTREE_DEPTH_MAX);
    if (s == DZ_E_NOMEM) {
        if (err)
            *err = why;
        return s;
    }
    DZ_TRY(need(w, &name, s, &why, &faulty, err));
    if (s == DZ_OK)
        DZ_TRY(walk_below(w, &node, depth, &faulty, err));
    if (faulty && !w->faulty)
        DZ_TRY(dz_id_set_new(&w->faulty, err));
    *ret_faulty = faulty;
    return dz_id_set_add(faulty ? w->faulty : w->sound, ref, &added, err);
}

dz_status dz_verify_refs(struct dz_verify *x, struct dz_fetch *f, dz_err *err) {
    struct walk w = { .x = x, .source = dz_fetch_source(f) };
    dz_status s = dz_id_set_new(&w.sound, err);

    for (w.snap = 0; s == DZ_OK && w.snap < dz_verify_snap_count(x); w.snap++) {
        bool faulty = false;

        s = walk_node(&w, &dz_verify_snaps(x)[w.snap].ref_root, 0, &faulty, err);
        dz_id_set_free(DZ_TAKE(w.faulty));
        dz_verify_tell_progress(x, w.snap);
    }
    if (s == DZ_OK)
        x->result.nodes = dz_id_set_count(w.sound);
    dz_id_set_free(w.sound);
    for (size_t i = 0; i < DZ_REFTREE_DEPTH_MAX; i++)
        dz_buf_release(&w.bytes[i]);
    return s;
}
