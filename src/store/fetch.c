#include "store/fetch.h"

#include <fcntl.h>
#include <pthread.h>

#include "core/durable.h"
#include "core/hex.h"
#include "store/packlist.h"
#include "store/segment.h"

enum { BUCKETS = 1024, CODERS_MAX = 64, TRIES = 3 };

/* An opened segment, or one that somebody is opening right now. */
struct dz_cached {
    dz_place at; /* slot and type not used */
    enum { LOADING, READY, FAILED } state;
    dz_err why; /* when FAILED */
    unsigned holders;
    struct dz_segment segment;
    size_t cost;                     /* bytes in memory */
    struct dz_cached *chain;         /* of its bucket */
    struct dz_cached *older, *newer; /* among those that nobody holds */
};

struct dz_fetch {
    struct dz_vault *vault;
    size_t cache_bytes;
    pthread_rwlock_t catalog_lock;
    struct dz_catalog catalog;
    bool healed;         /* a damaged index is rebuilt at most once */
    bool aside;          /* the index is one outside the vault */
    unsigned generation; /* of the catalog */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct dz_cached *buckets[BUCKETS];
    struct dz_cached *oldest, *newest;
    size_t idle_bytes;
    struct dz_coder *coders[CODERS_MAX]; /* not in use */
    size_t n_coders;
};

/* --- the cache; f->lock is held --------------------------------------------------------------- */

static struct dz_cached **bucket_of(struct dz_fetch *f, const dz_place *at) {
    return &f->buckets[(dz_load_le(at->pack, 8) + at->seg_offset / 64) % BUCKETS];
}

static struct dz_cached *lookup(struct dz_fetch *f, const dz_place *at) {
    struct dz_cached *c = *bucket_of(f, at);

    while (c && (c->at.seg_offset != at->seg_offset ||
                 memcmp(c->at.pack, at->pack, sizeof at->pack) != 0))
        c = c->chain;
    return c;
}

static void unlink_idle(struct dz_fetch *f, struct dz_cached *c) {
    *(c->older ? &c->older->newer : &f->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &f->newest) = c->older;
    c->older = c->newer = NULL;
    f->idle_bytes -= c->cost;
}

static void link_idle(struct dz_fetch *f, struct dz_cached *c) {
    c->older = f->newest;
    c->newer = NULL;
    *(f->newest ? &f->newest->newer : &f->oldest) = c;
    f->newest = c;
    f->idle_bytes += c->cost;
}

static void forget(struct dz_fetch *f, struct dz_cached *c) {
    struct dz_cached **p = bucket_of(f, &c->at);

    while (*p != c)
        p = &(*p)->chain;
    *p = c->chain;
    dz_segment_release(&c->segment);
    free(c);
}

static void trim(struct dz_fetch *f, size_t limit) {
    while (f->oldest && f->idle_bytes > limit) {
        struct dz_cached *c = f->oldest;
        unlink_idle(f, c);
        forget(f, c);
    }
}

static void let_go(struct dz_fetch *f, struct dz_cached *c) {
    if (--c->holders > 0)
        return;
    if (c->state == READY) {
        link_idle(f, c);
        trim(f, f->cache_bytes);
    } else {
        forget(f, c);
    }
}

/* --- reading a segment; f->lock is not held --------------------------------------------------- */

static dz_status take_coder(struct dz_fetch *f, struct dz_coder **ret_coder, dz_err *err) {
    struct dz_coder *c = NULL;

    (void) pthread_mutex_lock(&f->lock);
    if (f->n_coders)
        c = f->coders[--f->n_coders];
    (void) pthread_mutex_unlock(&f->lock);
    if (!c)
        return dz_coder_new(ret_coder, err);
    *ret_coder = c;
    return DZ_OK;
}

static void give_coder(struct dz_fetch *f, struct dz_coder *c) {
    (void) pthread_mutex_lock(&f->lock);
    if (f->n_coders < CODERS_MAX)
        f->coders[f->n_coders++] = DZ_TAKE(c);
    (void) pthread_mutex_unlock(&f->lock);
    dz_coder_free(c);
}

static dz_status pack_missing(const dz_place *at, dz_err *err) {
    char name[DZ_PACK_NAME_TEXT];

    dz_hex(at->pack, sizeof at->pack, name);
    return DZ_FAIL(err, DZ_E_CORRUPT, "pack %s is missing", name);
}

/* DZ_E_NOT_FOUND: there is no such pack (any more). */
static dz_status read_sealed(struct dz_fetch *f, const dz_place *at, dz_buf *sealed, dz_err *err) {
    char name[DZ_PACK_NAME_TEXT];
    int fd;

    dz_hex(at->pack, sizeof at->pack, name);
    if (at->seg_len > DZ_SEGMENT_SEALED_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment of %u bytes, limit is %d", at->seg_len,
                       DZ_SEGMENT_SEALED_MAX);
    if (!dz_buf_extend(sealed, at->seg_len))
        return DZ_FAIL(err, DZ_E_NOMEM, "segment of %u bytes: out of memory", at->seg_len);
    fd = dz_os->openat(f->vault->packsfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOENT ? DZ_FAIL(err, DZ_E_NOT_FOUND, "pack %s is missing", name)
                               : DZ_FAIL_ERRNO(err, "opening pack %s", name);
    if (dz_pread_all(fd, sealed->data, at->seg_len, at->seg_offset) < 0) {
        dz_status s = errno == ENODATA ? DZ_FAIL(err, DZ_E_CORRUPT, "pack %s is cut short", name)
                                       : DZ_FAIL_ERRNO(err, "reading pack %s", name);
        (void) dz_os->close(fd);
        return s;
    }
    (void) dz_os->close(fd);
    return DZ_OK;
}

static dz_status load(struct dz_fetch *f, const dz_place *at, struct dz_segment *ret_segment,
                      dz_err *err) {
    dz_autobuf dz_buf sealed = { 0 };
    char name[DZ_PACK_NAME_TEXT];
    struct dz_coder *coder;
    dz_status s;

    DZ_TRY(read_sealed(f, at, &sealed, err));
    DZ_TRY(take_coder(f, &coder, err));
    s = dz_segment_open(coder, f->vault->host, f->vault->open, dz_buf_slice(&sealed), ret_segment,
                        err);
    give_coder(f, coder);
    if (s == DZ_E_MALFORMED || s == DZ_E_LIMIT) /* the table placed a segment here */
        s = DZ_FAIL(err, DZ_E_CORRUPT, "no sound segment");
    dz_hex(at->pack, sizeof at->pack, name);
    return dz_err_context(err, s, "pack %s, offset %u", name, at->seg_offset);
}

/* Gives the segment, opened by us or by whoever came first, and held. */
static dz_status hold_segment(struct dz_fetch *f, const dz_place *at, struct dz_cached **ret_cached,
                              dz_err *err) {
    struct dz_segment segment = { 0 };
    struct dz_cached *c;
    dz_err why = { 0 };
    dz_status s;

    (void) pthread_mutex_lock(&f->lock);
    c = lookup(f, at);
    if (c) {
        if (c->holders++ == 0)
            unlink_idle(f, c);
        while (c->state == LOADING)
            (void) pthread_cond_wait(&f->changed, &f->lock);
        s = c->state == READY ? DZ_OK : c->why.status;
        if (s != DZ_OK) {
            if (err)
                *err = c->why;
            let_go(f, c);
        }
        (void) pthread_mutex_unlock(&f->lock);
        if (s == DZ_OK)
            *ret_cached = c;
        return s;
    }
    c = calloc(1, sizeof *c);
    if (c) {
        c->at = *at;
        c->holders = 1;
        c->chain = *bucket_of(f, at);
        *bucket_of(f, at) = c;
    }
    (void) pthread_mutex_unlock(&f->lock);
    if (!c)
        return DZ_FAIL(err, DZ_E_NOMEM, "segment cache: out of memory");

    s = load(f, at, &segment, &why);
    (void) pthread_mutex_lock(&f->lock);
    c->segment = segment;
    c->cost = segment.raw.cap + segment.count * sizeof *segment.ends + sizeof *c;
    c->state = s == DZ_OK ? READY : FAILED;
    c->why = why;
    if (s != DZ_OK) {
        if (err)
            *err = why;
        let_go(f, c);
    }
    (void) pthread_cond_broadcast(&f->changed);
    (void) pthread_mutex_unlock(&f->lock);
    if (s == DZ_OK)
        *ret_cached = c;
    return s;
}

/* --- finding an object ------------------------------------------------------------------------ */

/* Places that were tried and found bad, so that another copy may serve. */
struct bad_places {
    struct dz_fetch *f;
    dz_place at[TRIES];
    size_t n;
};

static bool acceptable(void *ctx, const dz_place *place) {
    struct bad_places *bad = ctx;

    for (size_t i = 0; i < bad->n; i++)
        if (bad->at[i].seg_offset == place->seg_offset &&
            memcmp(bad->at[i].pack, place->pack, sizeof place->pack) == 0)
            return false;
    return true;
}

/* Drops damaged runs and reads the tables of packs that nothing covers. */
static dz_status renew_catalog(struct dz_fetch *f, dz_err *err) {
    struct dz_catalog fresh = { 0 };
    char tmp[DZ_VAULT_TMP_NAME];
    dz_status s;
    int tmpfd;

    (void) pthread_rwlock_wrlock(&f->catalog_lock);
    if (f->healed) {
        (void) pthread_rwlock_unlock(&f->catalog_lock);
        return DZ_OK;
    }
    f->healed = true;
    s = dz_vault_tmp_make(f->vault, tmp, &tmpfd, err);
    if (s == DZ_OK) {
        size_t dropped;
        if (f->catalog.index) {
            /* finds what is damaged and drops it; what stays is found again when it is asked */
            DZ_IGNORE(dz_index_check(f->catalog.index, NULL));
            DZ_IGNORE(dz_index_drop_damaged(f->catalog.index, f->vault->indexfd, &dropped, NULL));
        }
        s = dz_catalog_open(f->vault, tmpfd, false, &fresh, NULL, err);
        dz_vault_tmp_drop(f->vault, tmp, tmpfd);
    }
    if (s == DZ_E_IO) { /* read-only, or full: what was kept must come out all the same */
        s = dz_catalog_open_aside(f->vault, &fresh, err);
        f->aside = true;
    }
    if (s == DZ_OK) {
        dz_catalog_close(&f->catalog);
        f->catalog = fresh;
        f->generation++;
    }
    (void) pthread_rwlock_unlock(&f->catalog_lock);
    return s;
}

/* A pack went while we read: prune moved what is needed of it, and published where to before. */
static void reopen_index(struct dz_fetch *f, unsigned generation) {
    struct dz_index *fresh = NULL;

    (void) pthread_rwlock_wrlock(&f->catalog_lock);
    if (f->generation == generation && !f->aside &&
        dz_index_open(f->vault->indexfd, f->vault->host->vault.b, &fresh, NULL) == DZ_OK) {
        dz_index_close(f->catalog.index);
        f->catalog.index = fresh;
        f->generation++;
    }
    (void) pthread_rwlock_unlock(&f->catalog_lock);
}

static dz_status find_place(struct dz_fetch *f, const dz_name *name, struct bad_places *bad,
                            unsigned *ret_generation, dz_place *ret_place, bool *ret_found,
                            dz_err *err) {
    dz_status s;

    (void) pthread_rwlock_rdlock(&f->catalog_lock);
    *ret_generation = f->generation;
    s = dz_index_find(f->catalog.index, name->b, acceptable, bad, ret_place, ret_found, err);
    (void) pthread_rwlock_unlock(&f->catalog_lock);
    return s;
}

static dz_status check(const struct dz_cached *c, const dz_place *place, const dz_id *id,
                       dz_slice *ret_bytes, dz_err *err) {
    uint8_t hash[DZ_SHA256_BYTES];

    if (place->slot >= c->segment.count)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment has %u objects, the index says number %u",
                       c->segment.count, place->slot);
    *ret_bytes = dz_segment_object(&c->segment, place->slot);
    dz_sha256(*ret_bytes, hash);
    if (memcmp(hash, id->b, sizeof hash) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "object %02x%02x%02x%02x: content is not what it should be", id->b[0],
                       id->b[1], id->b[2], id->b[3]);
    return DZ_OK;
}

dz_status dz_fetch_hold(struct dz_fetch *f, enum dz_kind kind, const dz_id *id,
                        struct dz_held *ret_held, dz_err *err) {
    dz_name name = dz_name_of(f->vault->host->name, (uint8_t) kind, id);
    struct bad_places bad = { .f = f };
    dz_status last = DZ_E_NOT_FOUND;
    bool renewed = false, reopened = false;

    while (bad.n < TRIES) {
        struct dz_cached *c = NULL;
        dz_place place;
        bool found = false;
        dz_slice bytes = { 0 };
        unsigned generation;
        dz_status s = find_place(f, &name, &bad, &generation, &place, &found, err);

        /* whoever else is renewing it is waited for: until then nothing is known to be missing */
        if (!renewed && (s == DZ_E_CORRUPT || (s == DZ_OK && !found && last == DZ_E_NOT_FOUND))) {
            renewed = true;
            DZ_TRY(renew_catalog(f, err));
            s = find_place(f, &name, &bad, &generation, &place, &found, err);
        }
        DZ_TRY(s);
        if (!found)
            break;
        s = hold_segment(f, &place, &c, err);
        if (s == DZ_OK && c) {
            s = check(c, &place, id, &bytes, err);
            if (s == DZ_OK) {
                *ret_held = (struct dz_held){ .bytes = bytes, .segment = c };
                return DZ_OK;
            }
            (void) pthread_mutex_lock(&f->lock);
            let_go(f, c);
            (void) pthread_mutex_unlock(&f->lock);
        }
        if (s == DZ_E_NOT_FOUND && !reopened) {
            reopened = true;
            reopen_index(f, generation);
            continue;
        }
        if (s == DZ_E_NOT_FOUND)
            s = pack_missing(&place, err);
        if (s != DZ_E_CORRUPT)
            return s;
        last = s; /* perhaps another pack holds it too */
        bad.at[bad.n++] = place;
    }
    if (last == DZ_E_CORRUPT)
        return last; /* err tells of the last place */
    return DZ_FAIL(err, DZ_E_NOT_FOUND, "object %02x%02x%02x%02x is in no pack", id->b[0], id->b[1],
                   id->b[2], id->b[3]);
}

void dz_fetch_drop(struct dz_fetch *f, struct dz_held *held) {
    if (!held->segment)
        return;
    (void) pthread_mutex_lock(&f->lock);
    let_go(f, held->segment);
    (void) pthread_mutex_unlock(&f->lock);
    *held = (struct dz_held){ 0 };
}

static dz_status source_get(void *ctx, enum dz_kind kind, const dz_id *id, dz_buf *ret_bytes,
                            dz_err *err) {
    struct dz_held held = { 0 };
    bool ok;

    DZ_TRY(dz_fetch_hold(ctx, kind, id, &held, err));
    dz_buf_clear(ret_bytes);
    dz_buf_put_slice(ret_bytes, held.bytes);
    ok = dz_buf_ok(ret_bytes);
    dz_fetch_drop(ctx, &held);
    return ok ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "object: out of memory");
}

struct dz_source dz_fetch_source(struct dz_fetch *f) {
    return (struct dz_source){ .get = source_get, .ctx = f };
}

uint64_t dz_fetch_locality(struct dz_fetch *f, enum dz_kind kind, const dz_id *id) {
    dz_name name = dz_name_of(f->vault->host->name, (uint8_t) kind, id);
    struct bad_places none = { .f = f };
    dz_place place;
    unsigned generation;
    bool found = false;

    if (find_place(f, &name, &none, &generation, &place, &found, NULL) != DZ_OK || !found)
        return 0;
    return dz_load_le(place.pack, 4) << 32 | place.seg_offset;
}

void dz_fetch_free(struct dz_fetch *f) {
    if (!f)
        return;
    trim(f, 0);
    while (f->n_coders)
        dz_coder_free(f->coders[--f->n_coders]);
    dz_catalog_close(&f->catalog);
    (void) pthread_cond_destroy(&f->changed);
    (void) pthread_mutex_destroy(&f->lock);
    (void) pthread_rwlock_destroy(&f->catalog_lock);
    free(f);
}

dz_status dz_fetch_new(struct dz_vault *vault, size_t cache_bytes, struct dz_fetch **ret_fetch,
                       dz_err *err) {
    DZ_AUTO(dz_fetch) f = calloc(1, sizeof *f);

    if (!f)
        return DZ_FAIL(err, DZ_E_NOMEM, "reader: out of memory");
    f->vault = vault;
    f->cache_bytes = cache_bytes;
    (void) pthread_mutex_init(&f->lock, NULL);
    (void) pthread_cond_init(&f->changed, NULL);
    (void) pthread_rwlock_init(&f->catalog_lock, NULL);
    /* what the index lacks or got wrong is noticed, and mended, when it is asked */
    DZ_TRY(dz_index_open(vault->indexfd, vault->host->vault.b, &f->catalog.index, err));
    *ret_fetch = DZ_TAKE(f);
    return DZ_OK;
}
