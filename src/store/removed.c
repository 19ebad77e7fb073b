#include "store/removed.h"

#include "store/id_set.h"

struct dz_removed {
    uint16_t first, second;  /* kinds, in the order in which they come */
    struct dz_id_map *begun; /* commit records that a leaf of the first kind names: its time */
    struct dz_id_set *gone;  /* and one of the second kind after it */
    struct dz_id_set *packs;
};

void dz_removed_free(struct dz_removed *r) {
    if (!r)
        return;
    dz_id_map_free(r->begun);
    dz_id_set_free(r->gone);
    dz_id_set_free(r->packs);
    free(r);
}

dz_status dz_removed_new(bool backwards, struct dz_removed **ret_removed, dz_err *err) {
    DZ_AUTO(dz_removed) r = calloc(1, sizeof *r);

    if (!r)
        return DZ_FAIL(err, DZ_E_NOMEM, "removed snapshots: out of memory");
    r->first = backwards ? DZ_LEAF_PRUNE_DONE : DZ_LEAF_PRUNE_INTENT;
    r->second = backwards ? DZ_LEAF_PRUNE_INTENT : DZ_LEAF_PRUNE_DONE;
    DZ_TRY(dz_id_map_new(&r->begun, err));
    DZ_TRY(dz_id_set_new(&r->gone, err));
    DZ_TRY(dz_id_set_new(&r->packs, err));
    *ret_removed = DZ_TAKE(r);
    return DZ_OK;
}

/* The first time that is put for a record stays: the oldest announcement, or, backwards, the newest
 * removal. */
static dz_status begin(struct dz_removed *r, const dz_id *id, int64_t time_us, dz_err *err) {
    dz_id when = { { 0 } };

    dz_store_le(when.b, 8, (uint64_t) time_us);
    return dz_id_map_put(r->begun, id, &when, err);
}

static dz_status end(struct dz_removed *r, const dz_id *id, int64_t time_us, dz_err *err) {
    int64_t announced = time_us, done;
    bool added;
    dz_id when;

    if (!dz_id_map_get(r->begun, id, &when))
        return DZ_OK;
    done = (int64_t) dz_load_le(when.b, 8);
    if (r->second == DZ_LEAF_PRUNE_DONE) {
        announced = done;
        done = time_us;
    }
    if (done < announced || (uint64_t) done - (uint64_t) announced < DZ_REMOVED_WAIT_US)
        return DZ_OK;
    return dz_id_set_add(r->gone, id, &added, err);
}

dz_status dz_removed_take(struct dz_removed *r, const dz_leaf *leaf, dz_err *err) {
    if (leaf->kind != r->first && leaf->kind != r->second)
        return DZ_OK;
    for (size_t i = 0; i < leaf->object_count; i++) {
        const dz_leaf_object *o = &leaf->objects[i];
        bool added;
        dz_id id;

        memcpy(id.b, o->name, sizeof id.b);
        if (o->type == DZ_LEAF_OBJ_PACK && leaf->kind == DZ_LEAF_PRUNE_DONE)
            DZ_TRY(dz_id_set_add(r->packs, &id, &added, err));
        if (o->type == DZ_LEAF_OBJ_COMMIT)
            DZ_TRY((leaf->kind == r->first ? begin : end)(r, &id, leaf->time_us, err));
    }
    return DZ_OK;
}

static dz_status each(void *ctx, uint64_t index, dz_slice entry, dz_err *err) {
    dz_leaf leaf;

    (void) index;
    return dz_leaf_read(entry, &leaf, NULL) == DZ_OK ? dz_removed_take(ctx, &leaf, err) : DZ_OK;
}

dz_status dz_removed_read(struct dz_tlog *log, struct dz_removed **ret_removed, dz_err *err) {
    DZ_AUTO(dz_removed) r = NULL;

    DZ_TRY(dz_removed_new(false, &r, err));
    DZ_TRY(dz_tlog_each(log, 1, UINT64_MAX, each, r, err));
    *ret_removed = DZ_TAKE(r);
    return DZ_OK;
}

static bool has(const struct dz_id_set *set, const uint8_t name[DZ_SHA256_BYTES]) {
    dz_id id;

    memcpy(id.b, name, sizeof id.b);
    return dz_id_set_has(set, &id);
}

bool dz_removed_snapshot(const struct dz_removed *r, const uint8_t file[DZ_SHA256_BYTES]) {
    return has(r->gone, file);
}

bool dz_removed_pack(const struct dz_removed *r, const uint8_t pack[DZ_SHA256_BYTES]) {
    return has(r->packs, pack);
}
