#include "store/live.h"

#include "core/dir.h"
#include "core/hex.h"
#include "store/fetch.h"
#include "store/name_set.h"
#include "store/reftree.h"
#include "store/snapshot.h"

enum { CACHE_BYTES = 64 << 20 };

struct dz_live_parts {
    int tmpfd; /* borrowed */
    struct dz_catalog catalog;
    struct dz_fetch *fetch;
    struct dz_id_set *seen;  /* reference nodes walked */
    struct dz_id_set *roots; /* of the snapshots walked */
    dz_buf roots_list;       /* the same as dz_id, in order */
    dz_buf ids;
};

void dz_live_free(struct dz_live *l) {
    if (!l)
        return;
    if (l->parts) {
        dz_fetch_free(l->parts->fetch);
        dz_catalog_close(&l->parts->catalog);
        dz_id_set_free(l->parts->seen);
        dz_id_set_free(l->parts->roots);
        dz_buf_release(&l->parts->roots_list);
        dz_buf_release(&l->parts->ids);
        free(l->parts);
    }
    free(l->packs);
    free(l->segments);
    free(l);
}

/* --- what there is ---------------------------------------------------------------------------- */

static bool kind_known(uint8_t kind) {
    return kind == DZ_KIND_DATA || kind == DZ_KIND_NODE || kind == DZ_KIND_REF;
}

static dz_status add_table(struct dz_live_pack *p, const dz_pack_table *t, dz_buf *segments,
                           dz_err *err) {
    p->known = true;
    p->names = t->n_names;
    p->n = t->n_segments;
    for (size_t i = 0; i < t->n_segments; i++) {
        const dz_pack_segment *from = &t->segments[i];
        struct dz_live_segment seg = { .offset = from->offset, .length = from->length };

        p->known &= kind_known(from->kind);
        p->bytes += from->length;
        dz_buf_put(segments, &seg, sizeof seg);
    }
    return dz_buf_ok(segments) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "segments: out of memory");
}

static dz_status read_tables(struct dz_live *l, dz_err *err) {
    const struct dz_catalog *c = &l->parts->catalog;
    dz_autobuf dz_buf segments = { 0 };

    l->packs = calloc(c->all.n + 1, sizeof *l->packs);
    if (!l->packs)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    for (size_t i = 0; i < c->all.n; i++) {
        struct dz_live_pack *p = &l->packs[i];
        dz_pack_table t = { 0 };
        dz_status s;

        p->id = c->all.ids[i];
        p->sound = dz_packlist_has(&c->packs, p->id.b);
        p->first = segments.len / sizeof *l->segments;
        l->n_packs++;
        s = dz_pack_table_load(l->vault->packsfd, &p->id, l->vault->host, &t, err);
        if (s == DZ_OK)
            s = add_table(p, &t, &segments, err);
        else if (s != DZ_E_NOMEM)
            s = DZ_OK; /* not known: it stays */
        dz_pack_table_release(&t);
        DZ_TRY(s);
    }
    l->segments = calloc(segments.len + 1, 1);
    if (!l->segments)
        return DZ_FAIL(err, DZ_E_NOMEM, "segments: out of memory");
    if (segments.len)
        memcpy(l->segments, segments.data, segments.len);
    return DZ_OK;
}

dz_status dz_live_new(struct dz_vault *v, int tmpfd, struct dz_live **ret_live, dz_err *err) {
    DZ_AUTO(dz_live) l = calloc(1, sizeof *l);

    if (l)
        l->parts = calloc(1, sizeof *l->parts);
    if (!l || !l->parts)
        return DZ_FAIL(err, DZ_E_NOMEM, "live packs: out of memory");
    l->vault = v;
    l->parts->tmpfd = tmpfd;
    DZ_TRY(dz_id_set_new(&l->parts->seen, err));
    DZ_TRY(dz_id_set_new(&l->parts->roots, err));
    DZ_TRY(dz_catalog_open(v, tmpfd, false, &l->parts->catalog, NULL, err));
    DZ_TRY(read_tables(l, err));
    *ret_live = DZ_TAKE(l);
    return DZ_OK;
}

/* --- marking ---------------------------------------------------------------------------------- */

static int by_id(const void *key, const void *pack) {
    return memcmp(key, ((const struct dz_live_pack *) pack)->id.b, sizeof(dz_pack_id));
}

static int by_offset(const void *key, const void *segment) {
    const uint32_t *at = key;
    const struct dz_live_segment *s = segment;

    return (*at > s->offset) - (*at < s->offset);
}

static bool is_there(void *ctx, const dz_place *place) {
    return dz_packlist_has(ctx, place->pack);
}

static dz_status find(struct dz_live *l, const struct dz_packlist *in, const dz_name *name,
                      dz_place *ret_place, bool *ret_found, dz_err *err) {
    struct dz_packlist list = *in;

    return dz_index_find(l->parts->catalog.index, name->b, is_there, &list, ret_place, ret_found,
                         err);
}

static dz_status lost(const dz_name *name, dz_err *err) {
    char hex[2 * DZ_NAME_BYTES + 1];

    dz_hex(name->b, sizeof name->b, hex);
    return DZ_FAIL(err, DZ_E_CORRUPT, "object %s is needed, and no pack has it", hex);
}

static dz_status mark(void *ctx, const dz_name *name, dz_err *err) {
    struct dz_live *l = ctx;
    struct dz_live_segment *seg;
    struct dz_live_pack *p;
    bool found = false;
    dz_place place;

    DZ_TRY(find(l, &l->parts->catalog.packs, name, &place, &found, err));
    if (!found) /* doomed, or found damaged: perhaps that part of it is whole */
        DZ_TRY(find(l, &l->parts->catalog.all, name, &place, &found, err));
    if (!found)
        return lost(name, err);
    p = bsearch(place.pack, l->packs, l->n_packs, sizeof *l->packs, by_id);
    if (!p || !p->known)
        return DZ_OK; /* it is younger than our list, or stays anyhow */
    seg = bsearch(&place.seg_offset, l->segments + p->first, p->n, sizeof *seg, by_offset);
    if (!seg)
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "the index and the packs do not agree: run `dozo rebuild` first");
    if (!seg->live) {
        seg->live = true;
        p->live_bytes += seg->length;
    }
    return DZ_OK;
}

static dz_status mark_node(void *ctx, const dz_id *ref, dz_err *err) {
    struct dz_live *l = ctx;
    dz_name name = dz_name_of(l->vault->host->name, DZ_KIND_REF, ref);

    return mark(l, &name, err);
}

/* --- walking ---------------------------------------------------------------------------------- */

struct visit {
    struct dz_live *l;
    struct dz_id_set *named; /* commit records that the log names */
    void (*progress)(void *ctx, uint64_t snapshots);
    void *ctx;
};

static dz_status each_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                               const dz_err *why, dz_err *err) {
    struct visit *v = ctx;
    struct dz_live *l = v->l;
    struct dz_live_parts *p = l->parts;
    const struct dz_reftree_visitor visitor = { .node = mark_node, .name = mark, .ctx = l };
    const struct dz_source source = dz_fetch_source(p->fetch);
    char id[DZ_SNAPSHOT_ID_TEXT];
    dz_id file;
    dz_status s;
    bool added;

    memcpy(file.b, snap->file, sizeof file.b);
    DZ_TRY(dz_id_set_add(v->named, &file, &added, err));
    if (status != DZ_OK) {
        if (err)
            *err = *why;
        return dz_err_context(err, status, "leaf %llu", (unsigned long long) snap->leaf);
    }
    dz_buf_put(&p->ids, snap->commit.id, sizeof snap->commit.id);
    if (!dz_buf_ok(&p->ids))
        return DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
    DZ_TRY(dz_id_set_add(p->roots, &snap->commit.ref_root, &added, err));
    if (added) {
        dz_buf_put(&p->roots_list, &snap->commit.ref_root, sizeof snap->commit.ref_root);
        if (!dz_buf_ok(&p->roots_list))
            return DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
        dz_snapshot_id_text(snap->commit.id, id);
        s = dz_reftree_walk(&source, &snap->commit.ref_root, p->seen, &visitor, err);
        if (s == DZ_E_NOT_FOUND)
            s = DZ_FAIL(err, DZ_E_CORRUPT, "a reference node is in no pack");
        DZ_TRY(dz_err_context(err, s, "snapshot %.12s", id));
    }
    if (v->progress)
        v->progress(v->ctx, p->ids.len / DZ_SNAPSHOT_ID_BYTES);
    return DZ_OK;
}

/* A record without a leaf: of a writer that was cut off, or of a log that was set back. */
static dz_status walk_unnamed(struct visit *v, const uint8_t file[DZ_SHA256_BYTES], dz_err *err) {
    struct dz_snapshot snap = { 0 };
    dz_err why = { 0 };
    dz_status s = dz_snapshot_load(v->l->vault, file, &snap, &why);

    if (s == DZ_E_CORRUPT) /* damaged, and nobody can say that it was ever more than a leftover */
        return DZ_OK;
    s = each_snapshot(v, &snap, s, &why, err);
    dz_snapshot_release(&snap);
    return s;
}

/* What stands in commits/: 32 bytes a record. */
static dz_status add_record(void *ctx, const char *name, dz_err *err) {
    dz_buf *files = ctx;
    dz_id file;

    if (dz_unhex(name, strlen(name), file.b, sizeof file.b))
        dz_buf_put(files, file.b, sizeof file.b);
    return dz_buf_ok(files) ? DZ_OK
                            : DZ_FAIL(err, DZ_E_NOMEM, "list of commit records: out of memory");
}

static dz_status walk_records(struct visit *v, const dz_buf *files, dz_err *err) {
    for (size_t at = 0; at < files->len; at += DZ_SHA256_BYTES) {
        dz_id file;

        memcpy(file.b, files->data + at, sizeof file.b);
        if (!dz_id_set_has(v->named, &file))
            DZ_TRY(walk_unnamed(v, file.b, err));
    }
    return DZ_OK;
}

static dz_status refresh(struct dz_live *l, dz_err *err) {
    struct dz_catalog fresh = { 0 };
    dz_status s;

    (void) pthread_mutex_lock(&l->vault->log_lock);
    s = dz_tlog_refresh(l->vault->log, err);
    (void) pthread_mutex_unlock(&l->vault->log_lock);
    DZ_TRY(s);
    DZ_TRY(dz_catalog_open(l->vault, l->parts->tmpfd, false, &fresh, NULL, err));
    dz_catalog_close(&l->parts->catalog);
    l->parts->catalog = fresh;
    dz_fetch_free(DZ_TAKE(l->parts->fetch)); /* one that knows the packs made since */
    return dz_fetch_new(l->vault, CACHE_BYTES, &l->parts->fetch, err);
}

dz_status dz_live_walk(struct dz_live *l, void (*progress)(void *ctx, uint64_t snapshots),
                       void *ctx, dz_err *err) {
    struct visit v = { .l = l, .progress = progress, .ctx = ctx };
    dz_autobuf dz_buf files = { 0 };
    dz_status s;

    /* before the packs, which are durable earlier */
    DZ_TRY(dz_dir_each(l->vault->commitsfd, "commit records", add_record, &files, err));
    DZ_TRY(refresh(l, err));
    dz_buf_clear(&l->parts->ids);
    DZ_TRY(dz_id_set_new(&v.named, err));
    s = dz_snapshots_each(l->vault, each_snapshot, &v, err);
    if (s == DZ_OK)
        s = walk_records(&v, &files, err);
    dz_id_set_free(v.named);
    DZ_TRY(s);
    l->snapshots = l->parts->ids.data;
    l->n_snapshots = l->parts->ids.len / DZ_SNAPSHOT_ID_BYTES;
    return DZ_OK;
}

/* --- the proof -------------------------------------------------------------------------------- */

struct proof {
    struct dz_live *l;
    struct dz_name_set *going;  /* all names in the doomed packs */
    struct dz_packlist staying; /* borrowed from the catalog, the doomed ones taken out */
    dz_pack_id table_of;        /* the table read last */
    dz_pack_table table;
};

static dz_status take_names(struct proof *p, const dz_pack_id *pack, dz_err *err) {
    dz_pack_table t = { 0 };
    dz_status s = dz_pack_table_load(p->l->vault->packsfd, pack, p->l->vault->host, &t, err);
    bool added;

    for (size_t i = 0; s == DZ_OK && i < t.n_names; i++)
        s = dz_name_set_add(p->going, &t.names[i], &added, err);
    dz_pack_table_release(&t);
    return s;
}

/* Its pack's own table, read anew, has the name where the index says. */
static dz_status stands_in_table(struct proof *p, const dz_place *place, const dz_name *name,
                                 dz_err *err) {
    dz_pack_id id;

    memcpy(id.b, place->pack, sizeof id.b);
    if (p->table.n_names == 0 || memcmp(&id, &p->table_of, sizeof id) != 0) {
        dz_pack_table_release(&p->table);
        p->table = (dz_pack_table){ 0 };
        DZ_TRY(dz_pack_table_load(p->l->vault->packsfd, &id, p->l->vault->host, &p->table, err));
        p->table_of = id;
    }
    for (size_t i = 0; i < p->table.n_segments; i++) {
        const dz_pack_segment *seg = &p->table.segments[i];

        if (seg->offset == place->seg_offset && place->slot < seg->count &&
            memcmp(&p->table.names[seg->first + place->slot], name, sizeof *name) == 0)
            return DZ_OK;
    }
    return lost(name, err);
}

static dz_status prove_name(void *ctx, const dz_name *name, dz_err *err) {
    struct proof *p = ctx;
    bool found = false;
    dz_place place;

    if (!dz_name_set_has(p->going, name))
        return DZ_OK;
    DZ_TRY(find(p->l, &p->staying, name, &place, &found, err));
    return found ? stands_in_table(p, &place, name, err) : lost(name, err);
}

static dz_status prove_node(void *ctx, const dz_id *ref, dz_err *err) {
    struct proof *p = ctx;
    dz_name name = dz_name_of(p->l->vault->host->name, DZ_KIND_REF, ref);

    return prove_name(p, &name, err);
}

static dz_status prove_all(struct proof *p, const struct dz_packlist *doomed, dz_err *err) {
    const struct dz_reftree_visitor visitor = { .node = prove_node, .name = prove_name, .ctx = p };
    const struct dz_source source = dz_fetch_source(p->l->parts->fetch);
    const dz_buf *roots = &p->l->parts->roots_list;
    const struct dz_packlist *all = &p->l->parts->catalog.packs;
    DZ_AUTO(dz_id_set) seen = NULL;

    DZ_TRY(dz_name_set_new(&p->going, err));
    DZ_TRY(dz_id_set_new(&seen, err));
    for (size_t i = 0; i < doomed->n; i++)
        DZ_TRY(take_names(p, &doomed->ids[i], err));
    p->staying.ids = calloc(all->n + 1, sizeof *all->ids);
    if (!p->staying.ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    for (size_t i = 0; i < all->n; i++)
        if (!dz_packlist_has(doomed, all->ids[i].b))
            p->staying.ids[p->staying.n++] = all->ids[i];
    for (size_t i = 0; i < roots->len / sizeof(dz_id); i++) {
        dz_id root;

        memcpy(&root, roots->data + i * sizeof root, sizeof root);
        DZ_TRY(dz_reftree_walk(&source, &root, seen, &visitor, err));
    }
    return DZ_OK;
}

dz_status dz_live_prove(struct dz_live *l, const struct dz_packlist *doomed, dz_err *err) {
    struct proof p = { .l = l };
    dz_status s = refresh(l, err);

    if (s == DZ_OK)
        s = prove_all(&p, doomed, err);
    dz_name_set_free(p.going);
    dz_pack_table_release(&p.table);
    dz_packlist_release(&p.staying);
    return s;
}
