/* What a verification found, and who suffers from it. */
#include <stdio.h>
#include <xxhash.h>

#include "core/hex.h"
#include "core/text.h"
#include "store/verify_parts.h"

enum { PATH_BYTES_MAX = 32 << 20 /* of all paths kept; beyond, they are only counted */ };

struct dz_verify_row {
    char object[112];
    char detail[160];
    enum dz_verify_what what;
    uint8_t *snaps; /* owned; a bit each; NULL: none */
    struct kept {
        uint64_t hash, entries;
        size_t len;
        uint8_t *path; /* owned */
    } * paths;         /* owned; room for DZ_VERIFY_PATHS_MAX */
    size_t n_paths;
    uint64_t entries;
    /* the entry counted last: one entry may need several objects of one damaged thing */
    uint64_t last_hash;
    size_t last_snap;
};

static struct dz_verify_row *row_at(const struct dz_verify *x, size_t i) {
    void *rows = x->rows.data;
    return (struct dz_verify_row *) rows + i;
}
static size_t row_count(const struct dz_verify *x) {
    return x->rows.len / sizeof(struct dz_verify_row);
}

const char *dz_verify_what_text(enum dz_verify_what what) {
    static const char *const texts[DZ_VERIFY_WHAT_COUNT] = {
        [DZ_VERIFY_CHANGED] = N_("is not what it was"),
        [DZ_VERIFY_MISSING] = N_("is missing"),
        [DZ_VERIFY_FORGED] = N_("was not made by this vault: forged or foreign"),
        [DZ_VERIFY_UNREADABLE] = N_("cannot be read"),
        [DZ_VERIFY_WRONG] = N_("does not hold what is promised"),
        [DZ_VERIFY_DISAGREES] = N_("the reference tree and the list of files do not agree"),
        [DZ_VERIFY_UNEXPECTED] = N_("does not belong there"),
        [DZ_VERIFY_NEWER] = N_("was written by a newer dozo"),
    };
    return texts[what];
}

enum dz_verify_what dz_verify_what_of(dz_status status) {
    return status == DZ_E_IO            ? DZ_VERIFY_UNREADABLE
           : status == DZ_E_NOT_FOUND   ? DZ_VERIFY_MISSING
           : status == DZ_E_UNSUPPORTED ? DZ_VERIFY_NEWER
                                        : DZ_VERIFY_CHANGED;
}

/* The row with this key, made if need be; NULL beyond DZ_VERIFY_DAMAGE_MAX.  x->lock is held. */
static dz_status row_of(struct dz_verify *x, const dz_id *key, const char *object,
                        enum dz_verify_what what, const char *detail,
                        struct dz_verify_row **ret_row, dz_err *err) {
    struct dz_verify_row row = { .what = what, .last_snap = SIZE_MAX };
    dz_id number = { 0 };

    if (dz_id_map_get(x->row_of, key, &number)) {
        uint64_t n = dz_load_le(number.b, 8);
        *ret_row = n < row_count(x) ? row_at(x, n) : NULL;
        return DZ_OK;
    }
    /* beyond the maximum things are counted by the map alone, up to a bound on that too */
    *ret_row = NULL;
    dz_store_le(number.b, 8, x->result.damaged);
    if (x->result.damaged < 100 * (uint64_t) DZ_VERIFY_DAMAGE_MAX)
        DZ_TRY(dz_id_map_put(x->row_of, key, &number, err));
    x->result.damaged++;
    if (row_count(x) == DZ_VERIFY_DAMAGE_MAX)
        return DZ_OK;
    (void) snprintf(row.object, sizeof row.object, "%s", object);
    (void) snprintf(row.detail, sizeof row.detail, "%s", detail);
    dz_buf_put(&x->rows, &row, sizeof row);
    if (!dz_buf_ok(&x->rows))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
    *ret_row = row_at(x, row_count(x) - 1);
    return DZ_OK;
}

/* Keeps the path unless it is there, or there are enough. */
static dz_status keep_path(struct dz_verify *x, struct dz_verify_row *row, uint64_t hash,
                           const dz_verify_path *path, dz_err *err) {
    struct kept k = { .hash = hash, .entries = path->entries, .len = path->path.len };

    if (row->n_paths == DZ_VERIFY_PATHS_MAX || x->path_bytes + k.len > PATH_BYTES_MAX)
        return DZ_OK;
    for (size_t i = 0; i < row->n_paths; i++)
        if (row->paths[i].hash == hash && row->paths[i].len == k.len &&
            (k.len == 0 || memcmp(row->paths[i].path, path->path.data, k.len) == 0))
            return DZ_OK;
    if ((row->n_paths & (row->n_paths - 1)) == 0) { /* room doubles at powers of two */
        size_t room = row->n_paths ? 2 * row->n_paths : 1;
        struct kept *wide = reallocarray(row->paths, room, sizeof *wide);
        if (!wide)
            return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
        row->paths = wide;
    }
    k.path = malloc(k.len + 1);
    if (!k.path)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
    if (k.len > 0)
        memcpy(k.path, path->path.data, k.len);
    x->path_bytes += k.len;
    row->paths[row->n_paths++] = k;
    return DZ_OK;
}

static dz_status add_sufferer(struct dz_verify *x, struct dz_verify_row *row, size_t snap,
                              const dz_verify_path *path, dz_err *err) {
    uint64_t hash;

    if (!x->suffers && !(x->suffers = calloc(dz_verify_snap_count(x) + 1, 1)))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
    x->suffers[snap] = 1;
    if (!row)
        return DZ_OK;
    if (!row->snaps)
        row->snaps = calloc(dz_verify_snap_count(x) / 8 + 1, 1);
    if (!row->snaps)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
    row->snaps[snap / 8] |= (uint8_t) (1 << snap % 8);
    if (!path)
        return DZ_OK;
    hash = XXH3_64bits(path->path.data, path->path.len);
    if (row->last_snap == snap && row->last_hash == hash)
        return DZ_OK;
    row->last_snap = snap;
    row->last_hash = hash;
    row->entries += path->entries;
    return keep_path(x, row, hash, path, err);
}

static dz_status note(struct dz_verify *x, const dz_id *key, const char *object,
                      enum dz_verify_what what, const char *detail, size_t snap,
                      const dz_verify_path *path, dz_err *err) {
    struct dz_verify_row *row = NULL;
    dz_status s;

    (void) pthread_mutex_lock(&x->lock);
    s = row_of(x, key, object, what, detail, &row, err);
    if (s == DZ_OK && snap != SIZE_MAX)
        s = add_sufferer(x, row, snap, path, err);
    (void) pthread_mutex_unlock(&x->lock);
    return s;
}

dz_status dz_verify_note_for(struct dz_verify *x, const char *object, enum dz_verify_what what,
                             const char *detail, size_t snap, const dz_verify_path *path,
                             dz_err *err) {
    dz_id key;

    dz_sha256((dz_slice){ (const uint8_t *) object, strlen(object) }, key.b);
    return note(x, &key, object, what, detail, snap, path, err);
}

dz_status dz_verify_note(struct dz_verify *x, const char *object, enum dz_verify_what what,
                         const char *detail, dz_err *err) {
    return dz_verify_note_for(x, object, what, detail, SIZE_MAX, NULL, err);
}

dz_status dz_verify_note_pack_for(struct dz_verify *x, const dz_pack_id *pack,
                                  enum dz_verify_what what, const char *detail, size_t snap,
                                  const dz_verify_path *path, dz_err *err) {
    char object[sizeof "packs/" + DZ_PACK_NAME_TEXT] = "packs/";
    dz_id key;

    memcpy(key.b, pack->b, sizeof key.b);
    dz_hex(pack->b, sizeof pack->b, object + strlen(object));
    return note(x, &key, object, what, detail, snap, path, err);
}

dz_status dz_verify_note_pack(struct dz_verify *x, const dz_pack_id *pack, enum dz_verify_what what,
                              const char *detail, dz_err *err) {
    return dz_verify_note_pack_for(x, pack, what, detail, SIZE_MAX, NULL, err);
}

dz_status dz_verify_need(struct dz_verify *x, const dz_name *name, dz_status got, const dz_err *why,
                         size_t snap, const dz_verify_path *path, bool *ret_lost, dz_err *err) {
    const char *detail = got != DZ_OK && why ? why->what : "";
    char object[sizeof "object " + 2 * DZ_NAME_BYTES] = "object ";
    dz_pack_id pack;
    dz_place place;
    bool found = false;

    DZ_TRY(dz_index_find(x->catalog.index, name->b, dz_verify_place_good, x, &place, &found, err));
    *ret_lost = !found || got != DZ_OK;
    if (!*ret_lost)
        return DZ_OK;
    if (!found) /* then who had it is to blame */
        DZ_TRY(dz_index_find(x->catalog.index, name->b, NULL, NULL, &place, &found, err));
    if (!found) {
        dz_hex(name->b, sizeof name->b, object + strlen(object));
        return dz_verify_note_for(x, object, DZ_VERIFY_MISSING, "no pack has it", snap, path, err);
    }
    memcpy(pack.b, place.pack, sizeof pack.b);
    if (dz_verify_pack_at(x, pack.b) == SIZE_MAX)
        return dz_verify_note_pack_for(x, &pack, DZ_VERIFY_MISSING, "", snap, path, err);
    return dz_verify_note_pack_for(x, &pack,
                                   got == DZ_OK ? DZ_VERIFY_CHANGED : dz_verify_what_of(got),
                                   detail, snap, path, err);
}

static dz_status tell_row(struct dz_verify *x, const struct dz_verify_row *row, dz_err *err) {
    size_t n_snaps = dz_verify_snap_count(x);
    dz_autofree uint8_t *ids = calloc(n_snaps + 1, DZ_SNAPSHOT_ID_BYTES);
    dz_autofree dz_verify_path *paths = calloc(row->n_paths + 1, sizeof *paths);
    struct dz_verify_damage d = { .object = row->object,
                                  .what = row->what,
                                  .detail = row->detail,
                                  .paths = paths,
                                  .n_paths = row->n_paths,
                                  .entries = row->entries };
    void *list = ids;

    if (!ids || !paths)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
    for (size_t i = 0; row->snaps && i < n_snaps; i++)
        if (row->snaps[i / 8] & (1 << i % 8))
            memcpy(ids + DZ_SNAPSHOT_ID_BYTES * d.n_snapshots++, dz_verify_snaps(x)[i].id,
                   DZ_SNAPSHOT_ID_BYTES);
    d.snapshots = list;
    for (size_t i = 0; i < row->n_paths; i++)
        paths[i] = (dz_verify_path){ .path = { row->paths[i].path, row->paths[i].len },
                                     .entries = row->paths[i].entries };
    x->how->damage(x->how->ctx, &d);
    return DZ_OK;
}

dz_status dz_verify_tell(struct dz_verify *x, dz_err *err) {
    for (size_t i = 0; x->how->damage && i < row_count(x); i++)
        DZ_TRY(tell_row(x, row_at(x, i), err));
    return DZ_OK;
}

void dz_verify_rows_release(struct dz_verify *x) {
    for (size_t i = 0; i < row_count(x); i++) {
        struct dz_verify_row *row = row_at(x, i);
        for (size_t k = 0; k < row->n_paths; k++)
            free(row->paths[k].path);
        free(row->paths);
        free(row->snaps);
    }
    dz_buf_release(&x->rows);
    dz_id_map_free(x->row_of);
    free(x->suffers);
}
