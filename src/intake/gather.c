#include "intake/gather.h"

dz_status dz_gather_open(struct dz_gather *g, struct dz_vault *v, struct dz_lane *lane,
                         struct dz_commit *commit, dz_err *err) {
    uint8_t seed[DZ_KEY_BYTES];

    g->sink = dz_lane_sink(lane);
    g->commit = commit;
    dz_key_derive(v->host->chunk, "manifest cuts", (dz_slice){ 0 }, seed);
    return dz_manifest_builder_new(&g->sink, v->host->name, dz_load_le(seed, 8), &g->manifest, err);
}

void dz_gather_close(struct dz_gather *g) {
    dz_manifest_builder_free(g->manifest);
    g->manifest = NULL;
}

dz_status dz_gather_add(struct dz_gather *g, const dz_entry *e, bool *ret_added, dz_err *err) {
    struct dz_commit *c = g->commit;
    dz_status s;

    *ret_added = false;
    /* only what is wrong with the entry itself is its own problem; the builder's failures are ours
     */
    s = dz_entry_check(e, err);
    if (s == DZ_OK)
        s = dz_manifest_builder_add(g->manifest, e, err);
    else if (s == DZ_E_LIMIT)
        s = DZ_E_USAGE;
    if (s == DZ_E_USAGE)
        return DZ_OK;
    DZ_TRY(s);
    if (e->type == DZ_ENTRY_FILE) {
        c->files++;
        c->bytes += e->size;
    } else if (e->type == DZ_ENTRY_DIR) {
        c->dirs++;
    } else {
        c->others++;
    }
    *ret_added = true;
    return DZ_OK;
}

void dz_gather_problem(struct dz_gather *g, dz_slice path, uint8_t what, int sys_errno) {
    struct dz_commit *c = g->commit;

    if (what == DZ_PROBLEM_CHANGED)
        c->changed++;
    else
        c->errors++;
    /* long paths must not make the commit too large to be written */
    if (g->problems_kept >= DZ_COMMIT_PROBLEMS_MAX ||
        c->problems.len + path.len > DZ_COMMIT_MAX / 32)
        return;
    g->problems_kept++;
    dz_buf_put_u8(&c->problems, what);
    dz_buf_put_varint(&c->problems, sys_errno > 0 ? (uint64_t) sys_errno : 0);
    dz_buf_put_field(&c->problems, path);
}

dz_status dz_gather_commit(struct dz_gather *g, struct dz_session *s, dz_err *err) {
    struct dz_commit *c = g->commit;

    DZ_TRY(dz_manifest_builder_finish(g->manifest, &c->root, err));
    c->ref_root = c->root.ref;
    c->opened = true;
    return dz_session_commit(s, c, err);
}

void dz_gather_digest_key(const struct dz_vault *v, uint8_t ret_key[DZ_KEY_BYTES]) {
    dz_key_derive(v->host->name, "content digest", (dz_slice){ 0 }, ret_key);
}
