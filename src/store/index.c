#include "store/index.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/dir.h"
#include "core/hex.h"
#include "core/os.h"
#include "core/slice.h"
#include "store/index_write.h"

enum { OPEN_TRIES = 16, FIRST_CLASS = 1024, CLASSES = 16 };

struct aside { /* a run that did not open */
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_status status;
};

struct dz_index {
    struct dz_index_run *run[DZ_INDEX_MAX_RUNS]; /* owned; largest first */
    size_t run_count;
    struct aside aside[DZ_INDEX_MAX_RUNS];
    size_t aside_count;
};

/* ---- opening ---- */

struct listing {
    uint8_t id[DZ_INDEX_MAX_RUNS][DZ_INDEX_ID_LEN];
    size_t count;
};

static bool run_id_of(const char *name, uint8_t ret_id[DZ_INDEX_ID_LEN]) {
    size_t len = strlen(name);
    return len == DZ_INDEX_FILE_NAME - 1 && memcmp(name + len - 4, ".run", 4) == 0 &&
           dz_unhex(name, len - 4, ret_id, DZ_INDEX_ID_LEN);
}

static int by_id(const void *a, const void *b) {
    return memcmp(a, b, DZ_INDEX_ID_LEN);
}

static dz_status add_run(void *ctx, const char *name, dz_err *err) {
    struct listing *l = ctx;
    uint8_t id[DZ_INDEX_ID_LEN];

    if (!run_id_of(name, id))
        return DZ_OK;
    if (l->count == DZ_INDEX_MAX_RUNS)
        return DZ_FAIL(err, DZ_E_LIMIT, "index: more than %d runs", DZ_INDEX_MAX_RUNS);
    memcpy(l->id[l->count++], id, sizeof id);
    return DZ_OK;
}

static dz_status list_runs(int dirfd, struct listing *l, dz_err *err) {
    l->count = 0;
    DZ_TRY(dz_dir_each(dirfd, "the index", add_run, l, err));
    qsort(l->id, l->count, DZ_INDEX_ID_LEN, by_id);
    return DZ_OK;
}

/* Opens one run into idx; *ret_gone when its name has vanished. */
static dz_status open_run(struct dz_index *idx, int dirfd, const uint8_t *id,
                          const uint8_t *vault_id, bool *ret_gone, dz_err *err) {
    char name[DZ_INDEX_FILE_NAME];
    dz_status s;
    int fd;

    dz_index_file_name(id, name);
    /* O_NONBLOCK: a FIFO planted here must not hold us. */
    fd = dz_os->openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    *ret_gone = fd < 0 && errno == ENOENT;
    if (*ret_gone)
        return DZ_OK;
    if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == EIO))
        s = DZ_E_CORRUPT; /* a link, a socket, a bad sector: no run of ours */
    else if (fd < 0)
        return DZ_FAIL_ERRNO(err, "index run %s: opening", name);
    else
        s = dz_index_run_open(fd, id, vault_id, &idx->run[idx->run_count], err);
    if (s == DZ_OK) {
        idx->run_count++;
    } else if (s == DZ_E_CORRUPT || s == DZ_E_UNSUPPORTED) {
        struct aside *a = &idx->aside[idx->aside_count++];
        memcpy(a->id, id, sizeof a->id);
        a->status = s;
        s = DZ_OK;
    }
    return s;
}

static int larger_first(const void *a, const void *b) {
    struct dz_index_run *const *x = a, *const *y = b;
    uint64_t n = dz_index_run_shape(*x)->entries, m = dz_index_run_shape(*y)->entries;
    return (n < m) - (n > m);
}

static void close_runs(struct dz_index *idx) {
    for (size_t i = 0; i < idx->run_count; i++)
        dz_index_run_close(idx->run[i]);
    idx->run_count = 0;
    idx->aside_count = 0;
}

/* A merge may run beside us: it publishes one run and unlinks others.  Only when the directory
 * holds the same runs before and after is what we opened a whole set. */
static dz_status try_open(struct dz_index *idx, int dirfd, const uint8_t *vault_id,
                          struct listing *before, struct listing *after, bool *ret_whole,
                          dz_err *err) {
    bool gone = false;

    DZ_TRY(list_runs(dirfd, before, err));
    for (size_t i = 0; i < before->count && !gone; i++)
        DZ_TRY(open_run(idx, dirfd, before->id[i], vault_id, &gone, err));
    DZ_TRY(list_runs(dirfd, after, err));
    *ret_whole = !gone && before->count == after->count &&
                 memcmp(before->id, after->id, before->count * DZ_INDEX_ID_LEN) == 0;
    return DZ_OK;
}

dz_status dz_index_open(int indexdirfd, const uint8_t vault_id[DZ_INDEX_ID_LEN],
                        struct dz_index **ret_index, dz_err *err) {
    DZ_AUTO(dz_index) idx = calloc(1, sizeof *idx);
    dz_autofree struct listing *lists = calloc(2, sizeof *lists);
    bool whole = false;

    if (!idx || !lists)
        return DZ_FAIL(err, DZ_E_NOMEM, "index: out of memory");
    for (unsigned i = 0; i < OPEN_TRIES && !whole; i++) {
        close_runs(idx);
        DZ_TRY(try_open(idx, indexdirfd, vault_id, &lists[0], &lists[1], &whole, err));
    }
    if (!whole)
        return DZ_FAIL(err, DZ_E_BUSY, "index: its runs changed %d times while opening",
                       OPEN_TRIES);
    qsort(idx->run, idx->run_count, sizeof(struct dz_index_run *), larger_first);
    *ret_index = DZ_TAKE(idx);
    return DZ_OK;
}

void dz_index_close(struct dz_index *idx) {
    if (!idx)
        return;
    close_runs(idx);
    free(idx);
}

/* ---- asking ---- */

dz_status dz_index_find(struct dz_index *idx, const uint8_t name[DZ_CHUNK_NAME_LEN],
                        dz_index_accept *accept, void *ctx, dz_place *ret_place, bool *ret_found,
                        dz_err *err) {
    dz_status worst = DZ_OK;

    for (size_t i = 0; i < idx->run_count; i++) {
        bool found = false;
        dz_status s = dz_index_run_find(idx->run[i], name, accept, ctx, ret_place, &found, err);

        if (s == DZ_OK && found) {
            *ret_found = true;
            return DZ_OK;
        }
        if (s != DZ_OK)
            worst = s; /* another run may still have it */
    }
    if (worst == DZ_OK)
        *ret_found = false;
    return worst;
}

dz_status dz_index_covers_pack(struct dz_index *idx, const uint8_t pack[DZ_PACK_NAME_LEN],
                               bool *ret_covers, dz_err *err) {
    for (size_t i = 0; i < idx->run_count; i++) {
        bool covers = false;
        dz_status s;

        if (dz_index_run_damaged(idx->run[i]))
            continue;
        s = dz_index_run_covers(idx->run[i], pack, &covers, err);
        if (s == DZ_E_CORRUPT)
            continue; /* now damaged, and so covers nothing */
        if (s != DZ_OK)
            return s;
        if (covers) {
            *ret_covers = true;
            return DZ_OK;
        }
    }
    *ret_covers = false;
    return DZ_OK;
}

dz_status dz_index_each_pack(struct dz_index *idx, dz_index_pack_visit *visit, void *ctx,
                             dz_err *err) {
    for (size_t i = 0; i < idx->run_count; i++) {
        uint64_t packs = dz_index_run_shape(idx->run[i])->packs;

        for (uint32_t k = 0; k < packs && !dz_index_run_damaged(idx->run[i]); k++) {
            const uint8_t *pack = NULL;
            dz_status s = dz_index_run_pack(idx->run[i], k, &pack, err);

            if (s == DZ_E_CORRUPT)
                break;
            if (s == DZ_OK)
                s = visit(ctx, pack, err);
            if (s != DZ_OK)
                return s;
        }
    }
    return DZ_OK;
}

/* ---- damage ---- */

void dz_index_each_damaged(const struct dz_index *idx, dz_index_damage_visit *visit, void *ctx) {
    for (size_t i = 0; i < idx->aside_count; i++)
        visit(ctx, idx->aside[i].id, idx->aside[i].status);
    for (size_t i = 0; i < idx->run_count; i++)
        if (dz_index_run_damaged(idx->run[i]))
            visit(ctx, dz_index_run_id(idx->run[i]), DZ_E_CORRUPT);
}

/* A name that is gone already is what we wanted. */
static dz_status unlink_run(int dirfd, const uint8_t *id, dz_err *err) {
    char name[DZ_INDEX_FILE_NAME];

    dz_index_file_name(id, name);
    if (dz_os->unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
        return DZ_FAIL_ERRNO(err, "index run %s: unlinking", name);
    return DZ_OK;
}

struct drop {
    int dirfd;
    size_t dropped;
    dz_status status;
    dz_err *err;
};

static void drop_one(void *ctx, const uint8_t id[DZ_INDEX_ID_LEN], dz_status status) {
    struct drop *d = ctx;
    dz_status s;

    if (status != DZ_E_CORRUPT)
        return;
    s = unlink_run(d->dirfd, id, d->err);
    if (s == DZ_OK)
        d->dropped++;
    else
        d->status = s;
}

dz_status dz_index_drop_damaged(struct dz_index *idx, int indexdirfd, size_t *ret_dropped,
                                dz_err *err) {
    struct drop d = { .dirfd = indexdirfd, .err = err };

    dz_index_each_damaged(idx, drop_one, &d);
    if (d.status != DZ_OK)
        return d.status;
    *ret_dropped = d.dropped;
    return DZ_OK;
}

dz_status dz_index_check(struct dz_index *idx, dz_err *err) {
    dz_status worst = DZ_OK;

    if (idx->aside_count > 0)
        worst = DZ_FAIL(err, DZ_E_CORRUPT, "index: %zu runs do not open", idx->aside_count);
    for (size_t i = 0; i < idx->run_count; i++) {
        dz_status s = dz_index_run_check(idx->run[i], worst == DZ_OK ? err : NULL);
        if (s != DZ_OK && worst != DZ_E_CORRUPT)
            worst = s;
    }
    return worst;
}

dz_index_stats dz_index_stats_of(const struct dz_index *idx) {
    dz_index_stats st = { .runs = idx->run_count, .damaged_runs = idx->aside_count };

    for (size_t i = 0; i < idx->run_count; i++) {
        st.damaged_runs += dz_index_run_damaged(idx->run[i]);
        st.entries += dz_index_run_shape(idx->run[i])->entries;
        st.packs += dz_index_run_shape(idx->run[i])->packs;
        st.pages_read += dz_index_run_pages_read(idx->run[i]);
    }
    return st;
}

/* ---- merging ---- */

static int by_pack(const void *a, const void *b) {
    return memcmp(a, b, DZ_PACK_NAME_LEN);
}

/* The packs of the new run: every pack of the old ones once, sorted, without those not kept. */
static dz_status gather_packs(struct dz_index_run *const *runs, size_t n,
                              const dz_index_merge_how *how, dz_buf *ret_packs, bool *ret_dropped,
                              dz_err *err) {
    dz_autobuf dz_buf all = { 0 };
    size_t kept = 0;
    bool dropped = false;

    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < dz_index_run_shape(runs[i])->packs; k++) {
            const uint8_t *pack;
            DZ_TRY(dz_index_run_pack(runs[i], k, &pack, err));
            dz_buf_put(&all, pack, DZ_PACK_NAME_LEN);
        }
    if (!dz_buf_ok(&all))
        return DZ_FAIL(err, DZ_E_NOMEM, "index merge: packs: out of memory");
    if (all.len > 0)
        qsort(all.data, all.len / DZ_PACK_NAME_LEN, DZ_PACK_NAME_LEN, by_pack);
    for (size_t at = 0; at < all.len; at += DZ_PACK_NAME_LEN) {
        const uint8_t *pack = all.data + at;

        if (at > 0 && memcmp(pack - DZ_PACK_NAME_LEN, pack, DZ_PACK_NAME_LEN) == 0)
            continue;
        if (how->keep && !how->keep(how->ctx, pack)) {
            dropped = true;
            continue;
        }
        dz_buf_put(ret_packs, pack, DZ_PACK_NAME_LEN);
        kept++;
    }
    if (!dz_buf_ok(ret_packs))
        return DZ_FAIL(err, DZ_E_NOMEM, "index merge: %zu packs: out of memory", kept);
    *ret_dropped = dropped;
    return DZ_OK;
}

static dz_status source_of(struct dz_index_run *run, const dz_buf *packs,
                           dz_index_source *ret_source, uint32_t **ret_ordinal, dz_err *err) {
    const dz_index_shape *shape = dz_index_run_shape(run);
    dz_autofree uint32_t *ordinal = calloc(shape->packs ? shape->packs : 1, sizeof *ordinal);

    if (!ordinal)
        return DZ_FAIL(err, DZ_E_NOMEM, "index merge: out of memory");
    for (uint32_t i = 0; i < shape->packs; i++) {
        const uint8_t *pack, *to = NULL;

        DZ_TRY(dz_index_run_pack(run, i, &pack, err));
        if (packs->len > 0)
            to = bsearch(pack, packs->data, packs->len / DZ_PACK_NAME_LEN, DZ_PACK_NAME_LEN,
                         by_pack);
        ordinal[i] =
            to ? (uint32_t) ((size_t) (to - packs->data) / DZ_PACK_NAME_LEN) : DZ_INDEX_DROP;
    }
    *ret_source = (dz_index_source){ .fd = dz_index_run_fd(run),
                                     .at = dz_index_run_layout(run)->pages_at,
                                     .pages = shape->pages,
                                     .sum_id = dz_index_run_id(run),
                                     .ordinal = ordinal,
                                     .ordinals = shape->packs };
    *ret_ordinal = DZ_TAKE(ordinal);
    return DZ_OK;
}

static dz_status write_merged(int dirfd, int tmpfd, const uint8_t *vault_id,
                              struct dz_index_run *const *runs, size_t n, const dz_buf *packs,
                              dz_err *err) {
    dz_index_source source[DZ_INDEX_MAX_RUNS];
    uint32_t *ordinal[DZ_INDEX_MAX_RUNS] = { 0 };
    dz_index_run_plan plan = { .vault_id = vault_id,
                               .packs = packs->data,
                               .pack_count = packs->len / DZ_PACK_NAME_LEN };
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_status s = DZ_OK;

    for (size_t i = 0; i < n && s == DZ_OK; i++) {
        s = source_of(runs[i], packs, &source[i], &ordinal[i], err);
        plan.entries_at_most += dz_index_run_shape(runs[i])->entries;
    }
    if (s == DZ_OK)
        s = dz_index_write_run(tmpfd, dirfd, &plan, source, n, id, err);
    for (size_t i = 0; i < n; i++)
        free(ordinal[i]);
    return s;
}

/* Replaces these runs by one.  Nothing happens when that would change nothing. */
static dz_status merge_runs(int dirfd, int tmpfd, const uint8_t *vault_id,
                            struct dz_index_run *const *runs, size_t n,
                            const dz_index_merge_how *how, size_t *merged, dz_err *err) {
    dz_autobuf dz_buf packs = { 0 };
    bool dropped = false;

    DZ_TRY(gather_packs(runs, n, how, &packs, &dropped, err));
    if (n == 1 && !dropped)
        return DZ_OK;
    if (packs.len > 0)
        DZ_TRY(write_merged(dirfd, tmpfd, vault_id, runs, n, &packs, err));
    for (size_t i = 0; i < n; i++)
        DZ_TRY(unlink_run(dirfd, dz_index_run_id(runs[i]), err));
    *merged += n;
    return DZ_OK;
}

static unsigned class_of(const struct dz_index_run *run) {
    uint64_t entries = dz_index_run_shape(run)->entries;
    unsigned c = 0;

    for (; entries >= FIRST_CLASS && c + 1 < CLASSES; c++)
        entries /= DZ_INDEX_TIER;
    return c;
}

/* Picks the runs of the smallest class that is full; fewer than DZ_INDEX_TIER means none. */
static size_t pick_tier(const struct dz_index *idx, struct dz_index_run **ret_runs) {
    for (unsigned c = 0; c < CLASSES; c++) {
        uint64_t entries = 0;
        size_t n = 0;

        for (size_t i = 0; i < idx->run_count; i++)
            if (class_of(idx->run[i]) == c) {
                ret_runs[n++] = idx->run[i];
                entries += dz_index_run_shape(idx->run[i])->entries;
            }
        if (n >= DZ_INDEX_TIER && entries <= DZ_INDEX_MAX_ENTRIES)
            return n;
    }
    return 0;
}

dz_status dz_index_merge(int indexdirfd, int tmpfd, const uint8_t vault_id[DZ_INDEX_ID_LEN],
                         const dz_index_merge_how *how, size_t *ret_merged, dz_err *err) {
    size_t merged = 0, before;

    do { /* each round leaves fewer runs, so this ends */
        DZ_AUTO(dz_index) idx = NULL;
        struct dz_index_run *runs[DZ_INDEX_MAX_RUNS];
        size_t n = 0;

        before = merged;
        DZ_TRY(dz_index_open(indexdirfd, vault_id, &idx, err));
        if (how->all)
            for (; n < idx->run_count; n++)
                runs[n] = idx->run[n];
        else
            n = pick_tier(idx, runs);
        if (n > 0)
            DZ_TRY(merge_runs(indexdirfd, tmpfd, vault_id, runs, n, how, &merged, err));
    } while (merged > before && !how->all);
    *ret_merged = merged;
    return DZ_OK;
}
