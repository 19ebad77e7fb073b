#include "store/packlist.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/durable.h"
#include "core/hex.h"

static const char damaged_name[] = "damaged", doomed_name[] = "doomed", pruned_name[] = "pruned";
enum { LIST_MAX = 32 << 20 /* bytes: a million packs */ };

static int by_id(const void *a, const void *b) {
    return memcmp(a, b, sizeof(dz_pack_id));
}

void dz_packlist_release(struct dz_packlist *l) {
    free(l->ids);
    *l = (struct dz_packlist){ 0 };
}

bool dz_packlist_has(const struct dz_packlist *l, const uint8_t pack[DZ_SHA256_BYTES]) {
    return l->n && bsearch(pack, l->ids, l->n, sizeof *l->ids, by_id);
}

static dz_status add_name(void *ctx, const char *name, dz_err *err) {
    dz_buf *ids = ctx;
    dz_pack_id id;

    if (dz_unhex(name, strlen(name), id.b, sizeof id.b))
        dz_buf_put(ids, id.b, sizeof id.b);
    return dz_buf_ok(ids) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "listing packs: out of memory");
}

static void without(struct dz_packlist *l, const struct dz_packlist *these) {
    size_t kept = 0;

    if (these->n == 0)
        return;
    for (size_t i = 0; i < l->n; i++)
        if (!dz_packlist_has(these, l->ids[i].b))
            l->ids[kept++] = l->ids[i];
    l->n = kept;
}

/* A file of names; one that is not there has none. */
static dz_status read_list(int dirfd, const char *name, struct dz_packlist *ret_list, dz_err *err) {
    dz_autobuf dz_buf b = { 0 };
    dz_status s = dz_read_file(dirfd, name, LIST_MAX, &b, err);

    *ret_list = (struct dz_packlist){ 0 };
    if (s == DZ_E_NOT_FOUND || (s == DZ_OK && b.len < sizeof(dz_pack_id)))
        return DZ_OK;
    DZ_TRY(s);
    ret_list->n = b.len / sizeof(dz_pack_id);
    ret_list->ids = calloc(ret_list->n, sizeof *ret_list->ids);
    if (!ret_list->ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    memcpy(ret_list->ids, b.data, ret_list->n * sizeof *ret_list->ids);
    qsort(ret_list->ids, ret_list->n, sizeof *ret_list->ids, by_id);
    return DZ_OK;
}

static dz_status write_list(int tmpfd, int dirfd, const char *name, const dz_pack_id *ids, size_t n,
                            dz_err *err) {
    if (n > 0)
        return dz_durable_replace(tmpfd, dirfd, name,
                                  (dz_slice){ (const uint8_t *) ids, n * sizeof *ids }, err);
    if (dz_os->unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
        return DZ_FAIL_ERRNO(err, "forgetting a list of packs");
    return DZ_OK;
}

/* Takes what was found damaged off the list.  The file is a cache: absent or odd means none. */
static void without_damaged(struct dz_vault *v, struct dz_packlist *l) {
    struct dz_packlist damaged = { 0 };

    if (read_list(v->cachefd, damaged_name, &damaged, NULL) == DZ_OK)
        without(l, &damaged);
    dz_packlist_release(&damaged);
}

/* All packs, damaged or not. */
static dz_status list_all(struct dz_vault *v, struct dz_packlist *ret_list, dz_err *err) {
    dz_autobuf dz_buf ids = { 0 };
    struct dz_packlist l;

    DZ_TRY(dz_dir_each(v->packsfd, "packs", add_name, &ids, err));
    l.n = ids.len / sizeof *l.ids;
    l.ids = calloc(l.n + 1, sizeof *l.ids);
    if (!l.ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "listing packs: out of memory");
    if (l.n) {
        memcpy(l.ids, ids.data, l.n * sizeof *l.ids);
        qsort(l.ids, l.n, sizeof *l.ids, by_id);
    }
    *ret_list = l;
    return DZ_OK;
}

dz_status dz_packlist_read(struct dz_vault *v, struct dz_packlist *ret_list, dz_err *err) {
    DZ_TRY(list_all(v, ret_list, err));
    without_damaged(v, ret_list);
    return DZ_OK;
}

dz_status dz_packlist_mark_damaged(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                                   dz_err *err) {
    return write_list(tmpfd, v->cachefd, damaged_name, ids, n, err);
}

dz_status dz_packlist_doom(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                           dz_err *err) {
    if (n > LIST_MAX / sizeof *ids)
        return DZ_FAIL(err, DZ_E_LIMIT, "%zu packs to remove at once", n);
    return write_list(tmpfd, v->dirfd, doomed_name, ids, n, err);
}

dz_status dz_packlist_doomed(struct dz_vault *v, struct dz_packlist *ret_list, dz_err *err) {
    return read_list(v->dirfd, doomed_name, ret_list, err);
}

void dz_packlist_pruned(struct dz_vault *v, struct dz_packlist *ret_list) {
    DZ_IGNORE(read_list(v->cachefd, pruned_name, ret_list, NULL));
}

dz_status dz_packlist_pruned_add(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                                 dz_err *err) {
    struct dz_packlist old = { 0 };
    dz_autobuf dz_buf all = { 0 };

    dz_packlist_pruned(v, &old);
    dz_buf_put(&all, ids, n * sizeof *ids);
    if (old.n > 0 && (old.n + n) * sizeof *ids <= LIST_MAX)
        dz_buf_put(&all, old.ids, old.n * sizeof *old.ids);
    dz_packlist_release(&old);
    if (!dz_buf_ok(&all))
        return DZ_FAIL(err, DZ_E_NOMEM, "list of removed packs: out of memory");
    return dz_durable_replace(tmpfd, v->cachefd, pruned_name, dz_buf_slice(&all), err);
}

/* A description of its own: two in one process exclude each other, too. */
dz_status dz_packs_lock(struct dz_vault *v, bool removing, int *ret_lock, dz_err *err) {
    int fd = dz_os->openat(v->packsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "locking the packs");
    while (dz_os->flock(fd, removing ? LOCK_EX : LOCK_SH) < 0)
        if (errno != EINTR) {
            dz_status s = DZ_FAIL_ERRNO(err, "locking the packs");
            (void) dz_os->close(fd);
            return s;
        }
    *ret_lock = fd;
    return DZ_OK;
}

void dz_packs_unlock(int lock) {
    if (lock >= 0)
        (void) dz_os->close(lock);
}

dz_status dz_catalog_add_table(struct dz_index_builder *b, const dz_pack_id *id,
                               const dz_pack_table *t, dz_err *err) {
    dz_place place;

    memcpy(place.pack, id->b, sizeof place.pack);
    DZ_TRY(dz_index_builder_cover(b, id->b, err));
    for (size_t i = 0; i < t->n_segments; i++) {
        const dz_pack_segment *seg = &t->segments[i];

        place.seg_offset = seg->offset;
        place.seg_len = seg->length;
        place.type = seg->kind;
        for (uint32_t slot = 0; slot < seg->count; slot++) {
            place.slot = (uint16_t) slot;
            DZ_TRY(dz_index_builder_add(b, t->names[seg->first + slot].b, &place, err));
        }
    }
    return DZ_OK;
}

/* Adds the packs that no run covers, damaged ones too: what is whole in them can be read on. Tables
 * are the packs' own: what they say is authenticated. */
static dz_status cover_missing(struct dz_vault *v, struct dz_catalog *c, int indexfd, int tmpfd,
                               uint64_t *ret_read, dz_err *err) {
    DZ_AUTO(dz_index_builder) b = NULL;
    uint8_t run[DZ_INDEX_ID_LEN];
    uint64_t read = 0;

    for (size_t i = 0; i < c->all.n; i++) {
        const dz_pack_id *id = &c->all.ids[i];
        dz_pack_table t = { 0 };
        bool covered = false;
        dz_status s;

        DZ_TRY(dz_index_covers_pack(c->index, id->b, &covered, err));
        if (covered)
            continue;
        s = dz_pack_table_load(v->packsfd, id, v->host, &t, err);
        if (s == DZ_E_CORRUPT || s == DZ_E_UNSUPPORTED || s == DZ_E_NOT_FOUND || s == DZ_E_IO)
            continue; /* nothing can be read from it: it is tried again later, and verify names it
                       */
        DZ_TRY(s);
        if (!b)
            s = dz_index_builder_new(tmpfd, v->host->vault.b, DZ_INDEX_BUILD_MEMORY, &b, err);
        if (s == DZ_OK)
            s = dz_catalog_add_table(b, id, &t, err);
        dz_pack_table_release(&t);
        DZ_TRY(s);
        read++;
    }
    if (b)
        DZ_TRY(dz_index_builder_finish(b, indexfd, run, err));
    *ret_read = read;
    return DZ_OK;
}

void dz_catalog_close(struct dz_catalog *c) {
    dz_index_close(c->index);
    dz_packlist_release(&c->packs);
    dz_packlist_release(&c->all);
    *c = (struct dz_catalog){ 0 };
}

static dz_status drop_one(void *ctx, const char *name, dz_err *err) {
    (void) err;
    if (name[0] != '.')
        (void) dz_os->unlinkat(*(const int *) ctx, name, 0);
    return DZ_OK;
}

static void drop_all(int indexfd) {
    DZ_IGNORE(dz_dir_each(indexfd, "the index", drop_one, &indexfd, NULL));
}

/* All packs, and those that were not found damaged. */
static dz_status list_both(struct dz_vault *v, struct dz_catalog *c, dz_err *err) {
    DZ_TRY(list_all(v, &c->all, err));
    c->packs.ids = calloc(c->all.n + 1, sizeof *c->packs.ids);
    if (!c->packs.ids)
        return DZ_FAIL(err, DZ_E_NOMEM, "listing packs: out of memory");
    c->packs.n = c->all.n;
    if (c->all.n)
        memcpy(c->packs.ids, c->all.ids, c->all.n * sizeof *c->packs.ids);
    without_damaged(v, &c->packs);
    return DZ_OK;
}

static dz_status catalog_open(struct dz_vault *v, int indexfd, int tmpfd, struct dz_catalog *c,
                              uint64_t *read, dz_err *err) {
    struct dz_packlist doomed = { 0 };
    size_t dropped = 0;
    dz_status s;

    DZ_TRY(dz_index_open(indexfd, v->host->vault.b, &c->index, err));
    if (dz_index_stats_of(c->index).damaged_runs > 0) {
        DZ_TRY(dz_index_drop_damaged(c->index, indexfd, &dropped, err));
        dz_index_close(c->index);
        c->index = NULL;
        DZ_TRY(dz_index_open(indexfd, v->host->vault.b, &c->index, err));
    }
    /* The list of packs after the index, which must not speak of younger ones, and after the
     * doomed, which are forgotten once they are gone. */
    s = dz_packlist_doomed(v, &doomed, err);
    if (s == DZ_OK)
        s = list_both(v, c, err);
    if (s == DZ_OK)
        without(&c->packs, &doomed);
    dz_packlist_release(&doomed);
    DZ_TRY(s);
    s = cover_missing(v, c, indexfd, tmpfd, read, err);
    if (s == DZ_E_CORRUPT) { /* a run was found damaged only when it was asked */
        DZ_TRY(dz_index_drop_damaged(c->index, indexfd, &dropped, err));
        s = cover_missing(v, c, indexfd, tmpfd, read, err);
    }
    DZ_TRY(s);
    if (*read > 0 || dropped > 0) {
        dz_index_close(c->index);
        c->index = NULL;
        DZ_TRY(dz_index_open(indexfd, v->host->vault.b, &c->index, err));
    }
    return DZ_OK;
}

dz_status dz_catalog_open(struct dz_vault *v, int tmpfd, bool all, struct dz_catalog *ret_catalog,
                          uint64_t *ret_read, dz_err *err) {
    struct dz_catalog c = { 0 };
    uint64_t read = 0;
    dz_status s;

    if (all)
        drop_all(v->indexfd);
    s = catalog_open(v, v->indexfd, tmpfd, &c, &read, err);
    if (s != DZ_OK) {
        dz_catalog_close(&c);
        return s;
    }
    *ret_catalog = c;
    if (ret_read)
        *ret_read = read;
    return DZ_OK;
}

dz_status dz_catalog_open_aside(struct dz_vault *v, struct dz_catalog *ret_catalog, dz_err *err) {
    static const char *const places[] = { "/dev/shm/dozo-XXXXXX", "/tmp/dozo-XXXXXX" };
    dz_status s = DZ_FAIL(err, DZ_E_IO, "no room for an index outside the vault");

    for (size_t i = 0; i < sizeof places / sizeof *places && s != DZ_OK; i++) {
        struct dz_catalog c = { 0 };
        uint64_t read = 0;
        char path[32];
        int fd;

        (void) snprintf(path, sizeof path, "%s", places[i]);
        if (!mkdtemp(path))
            continue;
        fd = dz_os->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        s = fd < 0 ? DZ_FAIL_ERRNO(err, "an index outside the vault")
                   : catalog_open(v, fd, fd, &c, &read, err);
        if (s == DZ_OK)
            *ret_catalog = c;
        else
            dz_catalog_close(&c);
        if (fd >= 0) {
            drop_all(fd); /* what is open stays until it is closed */
            (void) dz_os->close(fd);
        }
        (void) dz_os->unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
    }
    return s;
}

static bool pack_is_there(void *ctx, const dz_place *place) {
    const struct dz_packlist *l = ctx;
    return dz_packlist_has(l, place->pack);
}

dz_status dz_catalog_find(struct dz_catalog *c, const dz_name *name, dz_place *ret_place,
                          bool *ret_found, dz_err *err) {
    return dz_index_find(c->index, name->b, pack_is_there, &c->packs, ret_place, ret_found, err);
}
