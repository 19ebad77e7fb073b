#include "intake/last_runs.h"

#include <sodium.h>

#include "core/durable.h"
#include "core/hex.h"
#include "store/snapshot.h"

/* The file: magic, version, leaves looked through, what DONE said of each run (the newest first;
 * all zero where there is none), keyed checksum. */
static const uint8_t magic[8] = { 'D', 'Z', 'R', 'U', 'N', 'S', '1', '\n' };
enum {
    VERSION = 1,
    LEAVES_AT = 16,
    ROWS_AT = LEAVES_AT + 8,
    ROW_BYTES = DZ_SNAPSHOT_ID_BYTES + 4 * 8,
    SUM_AT = ROWS_AT + DZ_LAST_RUNS * ROW_BYTES,
    SUM_BYTES = 16,
    FILE_BYTES = SUM_AT + SUM_BYTES,
    NAME_TEXT = 10 + 32 + 1,
    LEAVES_AHEAD = 1000, /* as many may be looked through again each time */
};

struct last_runs {
    char name[NAME_TEXT];
    uint8_t key[DZ_KEY_BYTES];
    uint64_t leaves;                        /* none of them has a later run of the source */
    struct dz_wire_done done[DZ_LAST_RUNS]; /* the newest first; all zero: there is none */
};

static void seal(const struct last_runs *l, uint8_t file[FILE_BYTES]) {
    (void) crypto_generichash(file + SUM_AT, SUM_BYTES, file, SUM_AT, l->key, sizeof l->key);
}

/* Without a sound file: nothing is known. */
static void load(const struct dz_vault *v, const char *source, struct last_runs *ret) {
    const dz_slice context = { (const uint8_t *) source, strlen(source) };
    dz_autobuf dz_buf b = { 0 };
    uint8_t id[DZ_KEY_BYTES], file[FILE_BYTES];

    *ret = (struct last_runs){ 0 };
    dz_key_derive(v->host->cache, "last runs", context, ret->key);
    dz_key_derive(ret->key, "file", (dz_slice){ 0 }, id);
    memcpy(ret->name, "last-runs-", 10);
    dz_hex(id, 16, ret->name + 10);
    if (dz_read_file(v->cachefd, ret->name, FILE_BYTES, &b, NULL) != DZ_OK || b.len != FILE_BYTES)
        return;
    memcpy(file, b.data, sizeof file);
    seal(ret, file);
    if (memcmp(file, b.data, sizeof file) != 0 || memcmp(file, magic, sizeof magic) != 0 ||
        dz_load_le(file + 8, 2) != VERSION)
        return;
    ret->leaves = dz_load_le(file + LEAVES_AT, 8);
    for (size_t i = 0; i < DZ_LAST_RUNS; i++) {
        const uint8_t *row = file + ROWS_AT + i * ROW_BYTES;
        memcpy(ret->done[i].snapshot, row, DZ_SNAPSHOT_ID_BYTES);
        row += DZ_SNAPSHOT_ID_BYTES;
        ret->done[i].arrived_us = (int64_t) dz_load_le(row, 8);
        ret->done[i].entries = dz_load_le(row + 8, 8);
        ret->done[i].bytes = dz_load_le(row + 16, 8);
        ret->done[i].sent = dz_load_le(row + 24, 8);
    }
}

static void store(const struct dz_vault *v, int tmpfd, const struct last_runs *l) {
    uint8_t file[FILE_BYTES] = { 0 };

    memcpy(file, magic, sizeof magic);
    dz_store_le(file + 8, 2, VERSION);
    dz_store_le(file + LEAVES_AT, 8, l->leaves);
    for (size_t i = 0; i < DZ_LAST_RUNS; i++) {
        uint8_t *row = file + ROWS_AT + i * ROW_BYTES;
        memcpy(row, l->done[i].snapshot, DZ_SNAPSHOT_ID_BYTES);
        row += DZ_SNAPSHOT_ID_BYTES;
        dz_store_le(row, 8, (uint64_t) l->done[i].arrived_us);
        dz_store_le(row + 8, 8, l->done[i].entries);
        dz_store_le(row + 16, 8, l->done[i].bytes);
        dz_store_le(row + 24, 8, l->done[i].sent);
    }
    seal(l, file);
    DZ_IGNORE(
        dz_durable_replace(tmpfd, v->cachefd, l->name, (dz_slice){ file, sizeof file }, NULL));
}

struct search {
    const uint8_t *id;
    struct dz_wire_done *done;
    bool found;
};

static bool match(void *ctx, struct dz_snapshot *snap, dz_status status, const dz_err *why) {
    const struct dz_commit *c = &snap->commit;
    struct search *s = ctx;

    (void) why;
    if (status != DZ_OK || memcmp(c->id, s->id, DZ_SNAPSHOT_ID_BYTES) != 0)
        return true;
    memcpy(s->done->snapshot, c->id, sizeof c->id);
    s->done->arrived_us = c->arrived_us;
    s->done->entries = c->files + c->dirs + c->others;
    s->done->bytes = c->bytes;
    s->done->sent = c->sent_bytes;
    s->found = true;
    return false;
}

static dz_status search(struct dz_vault *v, struct last_runs *l, struct search *s, dz_err *err) {
    uint64_t size;
    dz_status st;

    DZ_TRY(dz_tlog_refresh(v->log, err)); /* another process may have kept it */
    size = dz_tlog_head(v->log).size;
    if (l->leaves > size) /* the log was set back */
        l->leaves = 0;
    st = dz_snapshots_back(v, l->leaves, match, s, err);
    if (st == DZ_OK || st == DZ_E_CORRUPT)
        l->leaves = size;
    return s->found || st == DZ_E_CORRUPT ? DZ_OK : st;
}

dz_status dz_last_runs_find(struct dz_vault *v, int tmpfd, const char *source,
                            const uint8_t id[DZ_SNAPSHOT_ID_BYTES], bool *ret_found,
                            struct dz_wire_done *ret_done, dz_err *err) {
    struct search s = { .id = id, .done = ret_done };
    struct last_runs l;
    uint64_t known;
    dz_status st = DZ_OK;

    load(v, source, &l);
    known = l.leaves;
    for (size_t i = 0; known > 0 && i < DZ_LAST_RUNS && !s.found; i++)
        if (memcmp(l.done[i].snapshot, id, DZ_SNAPSHOT_ID_BYTES) == 0) {
            *ret_done = l.done[i];
            s.found = true;
        }
    if (!s.found) {
        (void) pthread_mutex_lock(&v->log_lock);
        st = search(v, &l, &s, err);
        (void) pthread_mutex_unlock(&v->log_lock);
        if (st == DZ_OK && !s.found && (l.leaves < known || l.leaves - known > LEAVES_AHEAD))
            store(v, tmpfd, &l);
    }
    sodium_memzero(l.key, sizeof l.key);
    *ret_found = s.found;
    return st;
}

void dz_last_runs_note(struct dz_vault *v, int tmpfd, const char *source,
                       const struct dz_wire_done *done) {
    struct last_runs l;

    load(v, source, &l);
    (void) pthread_mutex_lock(&v->log_lock);
    l.leaves = dz_tlog_head(v->log).size;
    (void) pthread_mutex_unlock(&v->log_lock);
    memmove(&l.done[1], &l.done[0], (DZ_LAST_RUNS - 1) * sizeof *l.done);
    l.done[0] = *done;
    store(v, tmpfd, &l);
    sodium_memzero(l.key, sizeof l.key);
}
