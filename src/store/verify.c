#include "store/verify.h"

#include <fcntl.h>
#include <stdio.h>

#include "core/dir.h"
#include "core/durable.h"
#include "core/hex.h"
#include "store/removed.h"
#include "store/verify_parts.h"

/* --- the log ---------------------------------------------------------------------------------- */

struct log_findings {
    struct dz_verify *x;
    dz_status status;
    dz_err why;
};

static void log_finding(void *ctx, enum dz_tlog_finding finding, const char *name) {
    static const enum dz_verify_what meaning[] = {
        [DZ_TLOG_DAMAGED] = DZ_VERIFY_CHANGED,
        [DZ_TLOG_MISSING] = DZ_VERIFY_MISSING,
        [DZ_TLOG_UNEXPECTED] = DZ_VERIFY_UNEXPECTED,
        [DZ_TLOG_LEFTOVER] = DZ_VERIFY_UNEXPECTED,
    };
    struct log_findings *f = ctx;
    char object[96];

    if (finding == DZ_TLOG_LEFTOVER) {
        f->x->result.leftovers++;
        return;
    }
    if (finding != DZ_TLOG_UNEXPECTED)
        f->x->log_bad = true;
    (void) snprintf(object, sizeof object, "log/%s", name);
    if (f->status == DZ_OK)
        f->status = dz_verify_note(f->x, object, meaning[finding], "", &f->why);
}

static dz_status check_log(struct dz_verify *x, dz_err *err) {
    struct log_findings f = { .x = x };
    dz_tlog_report report = { 0 };

    DZ_TRY(dz_tlog_verify_all(x->v->logfd, &x->v->config.id, x->v->host->log_public, log_finding,
                              &f, &report, err));
    if (f.status != DZ_OK && err)
        *err = f.why;
    DZ_TRY(f.status);
    x->result.log_entries = report.entries;
    if (x->v->log || x->log_bad)
        return DZ_OK;
    /* every file of it is whole, and yet it did not open: leaf 0 binds another configuration */
    x->log_bad = true;
    return dz_verify_note(x, "vault.yaml", DZ_VERIFY_CHANGED,
                          "it is not the one that leaf 0 of the log binds", err);
}

/* --- commits ---------------------------------------------------------------------------------- */

static dz_status add_snap(struct dz_verify *x, const struct dz_snapshot *s, dz_err *err) {
    const struct dz_commit *c = &s->commit;
    struct dz_verify_snap snap = { .ref_root = c->ref_root, .root = c->root, .opened = c->opened };
    struct dz_verify_wrote wrote = { .snap = dz_verify_snap_count(x) };

    memcpy(snap.id, c->id, sizeof snap.id);
    memcpy(snap.file, s->file, sizeof snap.file);
    dz_buf_put(&x->snaps, &snap, sizeof snap);
    for (dz_reader r = dz_reader_over(dz_buf_slice(&c->packs)); dz_reader_left(&r) > 0;) {
        memcpy(wrote.pack.b, dz_read_bytes(&r, sizeof wrote.pack.b).data, sizeof wrote.pack.b);
        dz_buf_put(&x->wrote, &wrote, sizeof wrote);
    }
    x->result.snapshots++;
    return dz_buf_ok(&x->snaps) && dz_buf_ok(&x->wrote)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
}

static void commit_object(const uint8_t file[DZ_SHA256_BYTES], char ret[80]) {
    memcpy(ret, "commits/", 8);
    dz_hex(file, DZ_SHA256_BYTES, ret + 8);
}

/* What the log names.  `files` gathers the names, to tell leftovers from them. */
struct gather {
    struct dz_verify *x;
    dz_buf files; /* DZ_SHA256_BYTES each */
};

static dz_status each_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                               const dz_err *why, dz_err *err) {
    struct gather *g = ctx;
    char object[80];
    struct stat st;

    dz_buf_put(&g->files, snap->file, sizeof snap->file);
    if (!dz_buf_ok(&g->files))
        return DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
    if (status == DZ_OK)
        return add_snap(g->x, snap, err);
    commit_object(snap->file, object);
    if (dz_os->fstatat(g->x->v->commitsfd, object + 8, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENOENT)
        return dz_verify_note(g->x, object, DZ_VERIFY_MISSING, "", err);
    return dz_verify_note(g->x, object, dz_verify_what_of(status), why->what, err);
}

/* A commit that no leaf is known to name, the log being damaged: it may be a snapshot, so what it
 * needs is looked at all the same. */
static dz_status read_unproven(struct dz_verify *x, const uint8_t file[DZ_SHA256_BYTES],
                               dz_err *err) {
    dz_autobuf dz_buf bytes = { 0 };
    struct dz_snapshot snap = { 0 };
    uint8_t hash[DZ_SHA256_BYTES];
    dz_err why = { 0 };
    char object[80];
    dz_status s;

    commit_object(file, object);
    memcpy(snap.file, file, sizeof snap.file);
    s = dz_read_file(x->v->commitsfd, object + 8, DZ_COMMIT_MAX, &bytes, &why);
    if (s == DZ_OK) {
        dz_sha256(dz_buf_slice(&bytes), hash);
        if (memcmp(hash, file, sizeof hash) != 0)
            s = DZ_FAIL(&why, DZ_E_CORRUPT, "its bytes are not those its name stands for");
    }
    if (s == DZ_OK)
        s = dz_commit_read(dz_buf_slice(&bytes), x->v->host, x->v->open, &snap.commit, &why);
    if (s == DZ_E_NOMEM && err)
        *err = why;
    if (s == DZ_E_NOMEM)
        return s;
    if (s != DZ_OK)
        return dz_verify_note(x, object, dz_verify_what_of(s), why.what, err);
    s = add_snap(x, &snap, err);
    dz_snapshot_release(&snap);
    return s;
}

static int by_file(const void *a, const void *b) {
    return memcmp(a, b, DZ_SHA256_BYTES);
}

static dz_status each_commit_file(void *ctx, const char *name, dz_err *err) {
    struct gather *g = ctx;
    uint8_t file[DZ_SHA256_BYTES];
    bool hex = dz_unhex(name, strlen(name), file, sizeof file);

    if (hex && g->files.len > 0 &&
        bsearch(file, g->files.data, g->files.len / sizeof file, sizeof file, by_file))
        return DZ_OK;
    if (hex && g->x->log_bad)
        return read_unproven(g->x, file, err);
    g->x->result.leftovers++;
    return DZ_OK;
}

static dz_status each_pack_file(void *ctx, const char *name, dz_err *err) {
    struct dz_verify *x = ctx;
    dz_pack_id id;

    (void) err;
    x->result.leftovers += !dz_unhex(name, strlen(name), id.b, sizeof id.b);
    return DZ_OK;
}

static dz_status gather_snapshots(struct dz_verify *x, struct gather *g, dz_err *err) {
    dz_status s = x->v->log ? dz_snapshots_each(x->v, each_snapshot, g, err) : DZ_OK;

    if (s == DZ_E_CORRUPT) { /* the rest of the log cannot be read; its files are noted */
        s = x->log_bad ? DZ_OK : dz_verify_note(x, "log", DZ_VERIFY_CHANGED, "", err);
        x->log_bad = true;
    }
    DZ_TRY(s);
    if (g->files.len > 0)
        qsort(g->files.data, g->files.len / DZ_SHA256_BYTES, DZ_SHA256_BYTES, by_file);
    DZ_TRY(dz_dir_each(x->v->commitsfd, "commits", each_commit_file, g, err));
    return dz_dir_each(x->v->packsfd, "packs", each_pack_file, x, err);
}

static dz_status check_commits(struct dz_verify *x, dz_err *err) {
    struct gather g = { .x = x };
    dz_status s = gather_snapshots(x, &g, err);

    dz_buf_release(&g.files);
    return s;
}

/* --- the index -------------------------------------------------------------------------------- */

/* Opens the index with what is bad in it dropped and made again. */
static dz_status open_index(struct dz_verify *x, dz_err *err) {
    DZ_AUTO(dz_index) index = NULL;
    dz_err why = { 0 };
    dz_status s = dz_index_open(x->v->indexfd, x->v->host->vault.b, &index, &why);
    bool anew = s != DZ_OK;
    size_t dropped = 0;
    uint64_t read = 0;

    if (s == DZ_OK)
        s = dz_index_check(index, &why);
    if (s == DZ_E_NOMEM) {
        if (err)
            *err = why;
        return s;
    }
    if (s != DZ_OK && !anew)
        DZ_TRY(dz_index_drop_damaged(index, x->v->indexfd, &dropped, err));
    DZ_TRY(dz_catalog_open(x->v, x->tmpfd, anew, &x->catalog, &read, err));
    x->result.rebuilt += dropped + read;
    return DZ_OK;
}

static dz_status count_names(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN], dz_err *err) {
    struct dz_verify *x = ctx;
    size_t at = dz_verify_pack_at(x, pack);

    (void) err;
    if (at == SIZE_MAX) {
        x->tables_known = false; /* gone: how many names it had, nobody can say */
        return DZ_OK;
    }
    x->index_twice |= x->covered_packs[at]; /* in two runs: what each says cannot be counted */
    x->covered_packs[at] = true;
    x->index_names += x->pack_names[at];
    return DZ_OK;
}

/* Every row of every table is in the index, or index_lacks was set; if each pack is in one run, and
 * the entries are as many as the tables have rows, nothing else is.  An index that says more than
 * the packs would make a backup leave out what the vault does not have. */
static dz_status settle_index(struct dz_verify *x, dz_err *err) {
    struct dz_catalog fresh = { 0 };
    uint64_t read = 0;
    bool more;

    DZ_TRY(dz_index_each_pack(x->catalog.index, count_names, x, err));
    more = x->index_twice || dz_index_stats_of(x->catalog.index).entries != x->index_names;
    /* where a table is lost, what is whole in its pack is found by this index alone: it stays */
    if (!x->index_lacks && !(more && x->whole && x->tables_known))
        return DZ_OK;
    DZ_TRY(dz_catalog_open(x->v, x->tmpfd, true, &fresh, &read, err));
    x->result.rebuilt += read;
    /* the list of packs stays the one that was verified */
    dz_index_close(x->catalog.index);
    x->catalog.index = DZ_TAKE(fresh.index);
    dz_catalog_close(&fresh);
    return DZ_OK;
}

/* --- all -------------------------------------------------------------------------------------- */

/* Packs that a commit names are there, or the log says that they were removed. */
static dz_status check_wrote(struct dz_verify *x, dz_err *err) {
    DZ_AUTO(dz_removed) removed = NULL;
    const void *data = x->wrote.data;
    const struct dz_verify_wrote *w = data;
    dz_err why = { 0 };

    for (size_t i = 0; i < x->wrote.len / sizeof *w; i++) {
        if (dz_verify_pack_at(x, w[i].pack.b) != SIZE_MAX)
            continue;
        if (!removed && !x->log_bad) {
            dz_status s = dz_removed_read(x->v->log, &removed, &why);
            if (s == DZ_E_NOMEM && err)
                *err = why;
            if (s == DZ_E_NOMEM)
                return s;
        }
        if (removed && dz_removed_pack(removed, w[i].pack.b))
            continue;
        DZ_TRY(dz_verify_note_pack_for(x, &w[i].pack, DZ_VERIFY_MISSING, "", w[i].snap, NULL, err));
    }
    return DZ_OK;
}

static dz_status check_packs(struct dz_verify *x, dz_err *err) {
    size_t n = x->catalog.all.n;

    x->bad_packs = calloc(n + 1, 1);
    x->found_packs = calloc(n + 1, 1);
    x->covered_packs = calloc(n + 1, 1);
    x->pack_names = calloc(n + 1, sizeof *x->pack_names);
    if (!x->covered_packs || !x->bad_packs || !x->found_packs || !x->pack_names)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    return dz_verify_packs(x, err);
}

static dz_status check_trees(struct dz_verify *x, dz_err *err) {
    enum { CACHE_BYTES = 32 << 20 };
    DZ_AUTO(dz_fetch) fetch = NULL;

    DZ_TRY(dz_fetch_new(x->v, CACHE_BYTES, &fetch, err));
    DZ_TRY(dz_verify_refs(x, fetch, err));
    return x->v->open ? dz_verify_files(x, fetch, err) : DZ_OK;
}

/* What the next backup and the next reader of the log are to know. */
static dz_status keep_result(struct dz_verify *x, dz_err *err) {
    dz_autofree dz_pack_id *bad = calloc(x->catalog.all.n + 1, sizeof *bad);
    size_t n = 0;

    if (!bad)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    for (size_t i = 0; i < x->catalog.all.n; i++)
        if (x->found_packs[i])
            bad[n++] = x->catalog.all.ids[i];
    DZ_TRY(dz_packlist_mark_damaged(x->v, x->tmpfd, bad, n, err));
    return x->log_bad ? DZ_OK : dz_verify_log(x, bad, n, err);
}

static dz_status run(struct dz_verify *x, dz_err *err) {
    DZ_TRY(dz_id_map_new(&x->row_of, err));
    DZ_TRY(check_log(x, err));
    DZ_TRY(check_commits(x, err));
    DZ_TRY(open_index(x, err));
    DZ_TRY(check_packs(x, err));
    DZ_TRY(settle_index(x, err));
    DZ_TRY(check_wrote(x, err));
    DZ_TRY(check_trees(x, err));
    if (x->whole && x->tmpfd >= 0)
        DZ_TRY(keep_result(x, err));
    return dz_verify_tell(x, err);
}

static void release(struct dz_verify *x) {
    dz_verify_rows_release(x);
    dz_catalog_close(&x->catalog);
    dz_buf_release(&x->snaps);
    dz_buf_release(&x->wrote);
    dz_buf_release(&x->bad_places);
    free(x->bad_packs);
    free(x->found_packs);
    free(x->covered_packs);
    free(x->pack_names);
    (void) pthread_mutex_destroy(&x->lock);
}

dz_status dz_verify_run(struct dz_vault *v, const struct dz_verify_how *how,
                        struct dz_verify_result *ret_result, dz_err *err) {
    struct dz_verify x = { .v = v, .how = how, .tmpfd = -1 };
    char tmp[DZ_VAULT_TMP_NAME];
    int lock = -1;
    dz_status s;

    if (how->data && !v->open)
        return DZ_FAIL(err, DZ_E_CLOSED, "the vault is closed: its content cannot be opened");
    x.whole = how->sample_pct == 0 || how->sample_pct >= 100;
    (void) pthread_mutex_init(&x.lock, NULL);
    if (dz_vault_tmp_make(v, tmp, &x.tmpfd, NULL) != DZ_OK)
        x.tmpfd = -1; /* on read-only media nothing can be healed, or has to be */
    s = dz_packs_lock(v, false, &lock, err);
    if (s == DZ_OK)
        s = run(&x, err);
    dz_packs_unlock(lock);
    if (x.tmpfd >= 0)
        dz_vault_tmp_drop(v, tmp, x.tmpfd);
    if (s == DZ_OK)
        *ret_result = x.result;
    release(&x);
    return s;
}
