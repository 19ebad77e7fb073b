#include "store/sweep.h"

#include <fcntl.h>
#include <time.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "store/leaf.h"
#include "store/live.h"

enum { READ_BYTES = 1 << 20, WAIT_MS = 200 };

struct sweep {
    struct dz_vault *v;
    int tmpfd;
    const char *tmp;
    const struct dz_sweep_how *how;
    struct dz_sweep_result *result;
    struct dz_live *live;
    struct dz_packlist doomed; /* as published */
    struct dz_packlist going;  /* what of it is still to go once everybody was waited for */
    uint64_t moved;            /* bytes */
    /* where live segments go: data, trees */
    struct dz_pack_writer *packs[2];
    struct dz_index_builder *builder;
};

static dz_status tell(struct sweep *x, enum dz_sweep_stage stage, uint64_t done, dz_err *err) {
    if (x->how->progress && !x->how->progress(x->how->ctx, stage, done))
        return DZ_FAIL(err, DZ_E_BUSY, "given up; what was begun is begun anew the next time");
    return DZ_OK;
}

static void walked(void *ctx, uint64_t snapshots) {
    struct sweep *x = ctx;

    DZ_IGNORE(tell(x, DZ_SWEEP_WALK, snapshots, NULL));
}

/* --- which packs ------------------------------------------------------------------------------ */

static bool is_empty(const struct dz_live_pack *p) {
    return p->known && p->live_bytes == 0;
}

static bool is_sparse(const struct sweep *x, const struct dz_live_pack *p) {
    return p->known && p->sound && p->live_bytes > 0 &&
           p->live_bytes < p->bytes / 100 * x->how->sparse_pct;
}

static dz_status choose(struct sweep *x, dz_err *err) {
    size_t names = 0;

    x->doomed.ids = calloc(x->live->n_packs + 1, sizeof *x->doomed.ids);
    if (!x->doomed.ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    for (size_t i = 0; i < x->live->n_packs; i++) {
        const struct dz_live_pack *p = &x->live->packs[i];

        if (!is_empty(p) && !is_sparse(x, p))
            continue;
        if (x->how->names_max > 0 && names > 0 && names + p->names > x->how->names_max) {
            x->result->left++;
            continue;
        }
        names += p->names;
        x->doomed.ids[x->doomed.n++] = p->id;
    }
    return DZ_OK;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Whoever writes at this moment may rely on a doomed pack; whoever begins later does not. */
static dz_status wait_for_writers(struct sweep *x, dz_err *err) {
    const struct timespec pause = { .tv_nsec = WAIT_MS * 1000000L };
    dz_autobuf dz_buf names = { 0 };
    size_t n;

    DZ_TRY(dz_vault_writers(x->v, x->tmp, &names, err));
    n = names.len / DZ_VAULT_TMP_NAME;
    while (n > 0) {
        if (!dz_vault_writer_lives(x->v, (const char *) names.data + (n - 1) * DZ_VAULT_TMP_NAME)) {
            n--;
            continue;
        }
        DZ_TRY(tell(x, DZ_SWEEP_WAIT, n, err));
        (void) nanosleep(&pause, NULL);
    }
    return DZ_OK;
}

/* --- moving ----------------------------------------------------------------------------------- */

static dz_status new_builder(struct sweep *x, dz_err *err) {
    return dz_index_builder_new(x->tmpfd, x->v->host->vault.b, DZ_INDEX_BUILD_MEMORY, &x->builder,
                                err);
}

static dz_status finish_pack(struct sweep *x, int which, dz_err *err) {
    struct dz_pack_writer *w = x->packs[which];
    dz_pack_table t = { 0 };
    dz_pack_id id;
    dz_status s;

    if (!w)
        return DZ_OK;
    x->packs[which] = NULL;
    x->moved += dz_pack_writer_size(w);
    DZ_TRY(dz_pack_writer_finish(w, x->v->packsfd, &id, &t, err));
    s = dz_catalog_add_table(x->builder, &id, &t, err);
    dz_pack_table_release(&t);
    return s;
}

/* A damaged pack is not to get a good name: its bytes are held against its own first. */
static dz_status check_bytes(int fd, const dz_pack_id *id, uint64_t size, dz_err *err) {
    DZ_AUTO(dz_hasher) h = NULL;
    dz_autobuf dz_buf b = { 0 };
    char name[DZ_PACK_NAME_TEXT];
    uint8_t hash[DZ_SHA256_BYTES];

    DZ_TRY(dz_hasher_new(&h, err));
    if (!dz_buf_extend(&b, READ_BYTES))
        return DZ_FAIL(err, DZ_E_NOMEM, "reading a pack: out of memory");
    for (uint64_t at = 0; at < size; at += READ_BYTES) {
        size_t n = size - at < READ_BYTES ? (size_t) (size - at) : READ_BYTES;

        if (dz_pread_all(fd, b.data, n, (off_t) at) < 0)
            return DZ_FAIL_ERRNO(err, "reading a pack");
        dz_hasher_update(h, (dz_slice){ b.data, n });
    }
    dz_hasher_final(h, hash);
    if (memcmp(hash, id->b, sizeof hash) == 0)
        return DZ_OK;
    dz_hex(id->b, sizeof id->b, name);
    return DZ_FAIL(err, DZ_E_CORRUPT, "pack %s is damaged: run `dozo verify` first", name);
}

static dz_status move_segment(struct sweep *x, int fd, const dz_pack_table *t,
                              const dz_pack_segment *seg, dz_err *err) {
    int which = seg->kind != DZ_KIND_DATA;
    dz_autobuf dz_buf sealed = { 0 };

    if (!dz_buf_extend(&sealed, seg->length))
        return DZ_FAIL(err, DZ_E_NOMEM, "moving a segment: out of memory");
    if (dz_pread_all(fd, sealed.data, seg->length, seg->offset) < 0)
        return DZ_FAIL_ERRNO(err, "reading a pack");
    if (!x->packs[which])
        DZ_TRY(dz_pack_writer_new(x->tmpfd, x->v->host, &x->packs[which], err));
    DZ_TRY(dz_pack_writer_add(x->packs[which], seg->kind, dz_buf_slice(&sealed),
                              t->names + seg->first, t->lengths + seg->first, seg->count, err));
    if (dz_pack_writer_full(x->packs[which]))
        DZ_TRY(finish_pack(x, which, err));
    return tell(x, DZ_SWEEP_MOVE, x->moved, err);
}

static dz_status move_live(struct sweep *x, const struct dz_live_pack *p, int fd, dz_err *err) {
    dz_pack_table t = { 0 };
    struct stat st;
    dz_status s;

    if (dz_os->fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "reading a pack");
    DZ_TRY(check_bytes(fd, &p->id, (uint64_t) st.st_size, err));
    DZ_TRY(dz_pack_table_read(fd, (uint64_t) st.st_size, x->v->host, &t, err));
    s = t.n_segments == p->n ? DZ_OK
                             : DZ_FAIL(err, DZ_E_CORRUPT, "a pack changed while it was read");
    for (size_t i = 0; s == DZ_OK && i < t.n_segments; i++)
        if (x->live->segments[p->first + i].live)
            s = move_segment(x, fd, &t, &t.segments[i], err);
    dz_pack_table_release(&t);
    return s;
}

/* Doomed packs of which more turned out to be needed stay; what is live in the others moves. */
static dz_status move_all(struct sweep *x, dz_err *err) {
    x->going.ids = calloc(x->doomed.n + 1, sizeof *x->going.ids);
    if (!x->going.ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    DZ_TRY(new_builder(x, err));
    for (size_t i = 0; i < x->live->n_packs; i++) {
        const struct dz_live_pack *p = &x->live->packs[i];
        char name[DZ_PACK_NAME_TEXT];
        dz_status s;
        int fd;

        if (!dz_packlist_has(&x->doomed, p->id.b) || (!is_empty(p) && !is_sparse(x, p)))
            continue;
        x->going.ids[x->going.n++] = p->id;
        if (p->live_bytes == 0)
            continue;
        dz_hex(p->id.b, sizeof p->id.b, name);
        fd = dz_os->openat(x->v->packsfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
        if (fd < 0)
            return DZ_FAIL_ERRNO(err, "opening pack %s", name);
        s = move_live(x, p, fd, err);
        (void) dz_os->close(fd);
        DZ_TRY(s);
        x->result->compacted++;
    }
    DZ_TRY(finish_pack(x, 0, err));
    DZ_TRY(finish_pack(x, 1, err));
    if (!dz_index_builder_empty(x->builder)) {
        uint8_t run[DZ_INDEX_ID_LEN];
        DZ_TRY(dz_index_builder_finish(x->builder, x->v->indexfd, run, err));
    }
    return DZ_OK;
}

/* --- removing --------------------------------------------------------------------------------- */

static dz_status note_removal(struct sweep *x, dz_err *err) {
    for (size_t at = 0; at < x->going.n; at += DZ_LEAF_OBJECTS_MAX) {
        size_t n = x->going.n - at < DZ_LEAF_OBJECTS_MAX ? x->going.n - at : DZ_LEAF_OBJECTS_MAX;
        dz_autofree dz_leaf_object *objects = calloc(n, sizeof *objects);
        dz_leaf leaf = { .kind = DZ_LEAF_PRUNE_DONE, .time_us = dz_now_us(), .object_count = n };
        dz_autobuf dz_buf entry = { 0 };

        if (!objects)
            return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
        for (size_t i = 0; i < n; i++) {
            objects[i].type = DZ_LEAF_OBJ_PACK;
            memcpy(objects[i].name, x->going.ids[at + i].b, sizeof objects[i].name);
        }
        leaf.objects = objects;
        DZ_TRY(dz_leaf_write(&leaf, &entry, err));
        DZ_TRY(dz_vault_append(x->v, x->tmpfd, dz_buf_slice(&entry), err));
    }
    return DZ_OK;
}

/* Nobody may have put another list there, nor the disk. */
static dz_status still_doomed(struct sweep *x, dz_err *err) {
    struct dz_packlist now = { 0 };
    bool same;

    DZ_TRY(dz_packlist_doomed(x->v, &now, err));
    same = now.n == x->doomed.n && memcmp(now.ids, x->doomed.ids, now.n * sizeof *now.ids) == 0;
    dz_packlist_release(&now);
    return same ? DZ_OK : DZ_FAIL(err, DZ_E_CORRUPT, "the list of packs to be removed was changed");
}

static bool pack_stays(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN]) {
    return !dz_packlist_has(ctx, pack);
}

static dz_status unlink_all(struct sweep *x, dz_err *err) {
    size_t merged;

    for (size_t i = 0; i < x->going.n; i++) {
        char name[DZ_PACK_NAME_TEXT];
        struct stat st;

        dz_hex(x->going.ids[i].b, sizeof x->going.ids[i].b, name);
        if (dz_os->fstatat(x->v->packsfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            dz_os->unlinkat(x->v->packsfd, name, 0) < 0)
            return DZ_FAIL_ERRNO(err, "removing pack %s", name);
        x->result->removed++;
        x->result->freed += (uint64_t) st.st_size;
        DZ_IGNORE(tell(x, DZ_SWEEP_REMOVE, x->result->removed, NULL));
    }
    if (dz_os->fsync(x->v->packsfd) < 0)
        return DZ_FAIL_ERRNO(err, "syncing the directory of packs");
    /* the index is a cache: what cannot be done now, a later merge does */
    DZ_IGNORE(dz_index_merge(
        x->v->indexfd, x->tmpfd, x->v->host->vault.b,
        &(dz_index_merge_how){ .keep = pack_stays, .ctx = &x->going, .all = true }, &merged, NULL));
    return DZ_OK;
}

static dz_status remove_all(struct sweep *x, dz_err *err) {
    int lock = -1;
    dz_status s;

    DZ_TRY(dz_packs_lock(x->v, true, &lock, err)); /* a verification must not miss them */
    s = still_doomed(x, err);
    if (s == DZ_OK)
        s = note_removal(x, err);
    if (s == DZ_OK)
        s = unlink_all(x, err);
    if (s == DZ_OK) /* not before: one that is there still may yet be lost */
        s = dz_packlist_pruned_add(x->v, x->tmpfd, x->going.ids, x->going.n, err);
    dz_packs_unlock(lock);
    return s;
}

/* --- all -------------------------------------------------------------------------------------- */

static dz_status round_of(struct sweep *x, dz_err *err) {
    DZ_TRY(dz_live_new(x->v, x->tmpfd, &x->live, err));
    DZ_TRY(dz_live_walk(x->live, walked, x, err));
    DZ_TRY(choose(x, err));
    if (x->doomed.n == 0)
        return DZ_OK;
    if (x->how->survivors)
        DZ_TRY(x->how->survivors(x->how->ctx, x->live->snapshots, x->live->n_snapshots, err));
    DZ_TRY(dz_packlist_doom(x->v, x->tmpfd, x->doomed.ids, x->doomed.n, err));
    DZ_TRY(wait_for_writers(x, err));
    DZ_TRY(dz_live_walk(x->live, walked, x, err));
    DZ_TRY(move_all(x, err));
    if (x->going.n == 0)
        return DZ_OK;
    DZ_TRY(dz_live_prove(x->live, &x->going, err));
    return remove_all(x, err);
}

dz_status dz_sweep(struct dz_vault *v, int tmpfd, const char *tmp, const struct dz_sweep_how *how,
                   struct dz_sweep_result *ret_result, dz_err *err) {
    struct dz_sweep_result r = { 0 };
    struct sweep x = { .v = v, .tmpfd = tmpfd, .tmp = tmp, .how = how, .result = &r };
    dz_status s = dz_packlist_doom(v, tmpfd, NULL, 0, err); /* one that a crash left is void */

    if (s == DZ_OK)
        s = round_of(&x, err);
    if (x.doomed.n > 0) { /* whether or not they went: nothing is about to be removed any more */
        dz_err second = { 0 };
        dz_status t = dz_packlist_doom(v, tmpfd, NULL, 0, &second);

        if (s == DZ_OK && t != DZ_OK && err)
            *err = second;
        s = s == DZ_OK ? t : s;
    }
    dz_pack_writer_free(x.packs[0]);
    dz_pack_writer_free(x.packs[1]);
    dz_index_builder_free(x.builder);
    dz_packlist_release(&x.doomed);
    dz_packlist_release(&x.going);
    dz_live_free(x.live);
    r.freed -= r.freed < x.moved ? r.freed : x.moved;
    *ret_result = r;
    return s;
}
