#include "store/session.h"

#include <pthread.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "store/leaf.h"
#include "store/name_set.h"
#include "store/packlist.h"
#include "store/segment.h"

enum {
    QUEUE_MAX = 8,         /* sealed segments that wait for the pack thread */
    PENDING_MAX = 2 << 20, /* names of this session not yet in an index run */
    LEVEL_DATA = 2,        /* zstd levels; measured in bench/RESULTS.md */
    LEVEL_NODE = 3,
    STREAMS = 4,
};

/* Objects of one sort that will share a segment. */
struct open_segment {
    dz_buf raw;
    dz_name *names;    /* owned */
    uint32_t *lengths; /* owned */
    size_t n, cap;
};

struct dz_lane {
    struct dz_session *session;
    struct dz_coder *coder;
    struct open_segment open[STREAMS];
    struct dz_lane *next;
};

/* What becomes of each sort of object. */
static const struct stream {
    enum dz_kind kind;
    int level;     /* 0: stored as it is */
    size_t target; /* bytes before compression */
    bool meta;     /* goes into the pack of trees */
} streams[STREAMS] = {
    { DZ_KIND_DATA, LEVEL_DATA, DZ_SEGMENT_TARGET, false },
    { DZ_KIND_DATA, 0, DZ_SEGMENT_TARGET, false },
    { DZ_KIND_NODE, LEVEL_NODE, DZ_SEGMENT_NODE_TARGET, true },
    { DZ_KIND_REF, 0, DZ_SEGMENT_REF_TARGET, true },
};

/* A sealed segment on its way to a pack. */
struct job {
    enum dz_kind kind;
    bool meta;
    dz_buf sealed;
    dz_name *names;
    uint32_t *lengths;
    size_t n;
};

struct dz_session {
    struct dz_vault *vault;
    char tmp[DZ_VAULT_TMP_NAME];
    int tmpfd;

    pthread_rwlock_t catalog_lock; /* readers: lanes; writer: the pack thread when it renews it */
    struct dz_catalog catalog;
    struct dz_index_builder *builder; /* the pack thread's */

    pthread_mutex_t lock; /* guards all below */
    struct dz_name_set *pending;
    struct dz_lane *lanes;
    uint64_t new_bytes, stored_bytes;
    bool index_damaged; /* a run could not answer */
    dz_status failed;   /* the first failure; everything after it is refused */
    dz_err why;

    pthread_cond_t changed; /* the queue */
    struct job queue[QUEUE_MAX];
    size_t queue_head, queue_len;
    bool closing;
    bool threaded;
    pthread_t packer;
    struct dz_pack_writer *packs[2]; /* data, trees; the pack thread's */
    dz_buf written;                  /* names of finished packs; the pack thread's */
};

/* --- failure: remembered once ----------------------------------------------------------------- */

static void fail(struct dz_session *s, dz_status status, const dz_err *why) {
    (void) pthread_mutex_lock(&s->lock);
    if (s->failed == DZ_OK) {
        s->failed = status;
        s->why = *why;
    }
    (void) pthread_cond_broadcast(&s->changed);
    (void) pthread_mutex_unlock(&s->lock);
}

static dz_status failed(struct dz_session *s, dz_err *err) {
    dz_status status;

    (void) pthread_mutex_lock(&s->lock);
    status = s->failed;
    if (status != DZ_OK && err)
        *err = s->why;
    (void) pthread_mutex_unlock(&s->lock);
    return status;
}

/* --- the pack thread -------------------------------------------------------------------------- */

static void job_release(struct job *j) {
    dz_buf_release(&j->sealed);
    free(j->names);
    free(j->lengths);
    *j = (struct job){ 0 };
}

static dz_status finish_pack(struct dz_session *s, bool meta, dz_err *err) {
    struct dz_pack_writer *w = s->packs[meta];
    uint64_t size;
    dz_pack_table t = { 0 };
    dz_pack_id id;
    dz_status status;

    if (!w)
        return DZ_OK;
    size = dz_pack_writer_size(w);
    s->packs[meta] = NULL;
    DZ_TRY(dz_pack_writer_finish(w, s->vault->packsfd, &id, &t, err));
    dz_buf_put(&s->written, id.b, sizeof id.b);
    status = dz_buf_ok(&s->written) ? dz_catalog_add_table(s->builder, &id, &t, err)
                                    : DZ_FAIL(err, DZ_E_NOMEM, "list of packs: out of memory");
    dz_pack_table_release(&t);
    (void) pthread_mutex_lock(&s->lock);
    s->stored_bytes += size;
    (void) pthread_mutex_unlock(&s->lock);
    return status;
}

static dz_status new_builder(struct dz_session *s, dz_err *err) {
    return dz_index_builder_new(s->tmpfd, s->vault->host->vault.b, DZ_INDEX_BUILD_MEMORY,
                                &s->builder, err);
}

static dz_status publish_run(struct dz_session *s, dz_err *err) {
    uint8_t run[DZ_INDEX_ID_LEN];
    dz_status status = DZ_OK;

    if (!dz_index_builder_empty(s->builder))
        status = dz_index_builder_finish(s->builder, s->vault->indexfd, run, err);
    dz_index_builder_free(s->builder);
    s->builder = NULL;
    return status;
}

static bool in_catalog(void *ctx, const dz_name *name) {
    struct dz_catalog *c = ctx;
    bool found = false;
    dz_place place;

    return dz_catalog_find(c, name, &place, &found, NULL) == DZ_OK && found;
}

/* What was taken for known rests on the packs that were there.  One that is gone by now, or was
 * found damaged, may have been all there was of it: nothing that rests on it is to be kept. */
static dz_status still_there(const struct dz_packlist *then, const struct dz_packlist *now,
                             dz_err *err) {
    for (size_t i = 0; i < then->n; i++)
        if (!dz_packlist_has(now, then->ids[i].b)) {
            char name[DZ_PACK_NAME_TEXT];
            dz_hex(then->ids[i].b, sizeof then->ids[i].b, name);
            return DZ_FAIL(err, DZ_E_CORRUPT,
                           "pack %.16s was lost or found damaged during this run; run it again",
                           name);
        }
    return DZ_OK;
}

static dz_status check_packs(struct dz_session *s, dz_err *err) {
    struct dz_packlist now = { 0 };
    dz_status status;

    DZ_TRY(dz_packlist_read(s->vault, &now, err));
    status = still_there(&s->catalog.packs, &now, err);
    dz_packlist_release(&now);
    return status;
}

/* Very large sessions: what is durable moves from the set in memory to an index run on disk. */
static dz_status roll_over(struct dz_session *s, dz_err *err) {
    struct dz_catalog fresh = { 0 };
    dz_status status;

    DZ_TRY(finish_pack(s, false, err));
    DZ_TRY(finish_pack(s, true, err));
    DZ_TRY(publish_run(s, err));
    DZ_TRY(new_builder(s, err));
    DZ_TRY(dz_catalog_open(s->vault, s->tmpfd, false, &fresh, NULL, err));
    status = check_packs(s, err); /* the new one may rely on fewer: what is doomed is not lost */
    if (status != DZ_OK) {
        dz_catalog_close(&fresh);
        return status;
    }
    (void) pthread_rwlock_wrlock(&s->catalog_lock);
    (void) pthread_mutex_lock(&s->lock);
    dz_catalog_close(&s->catalog);
    s->catalog = fresh;
    dz_name_set_drop_if(s->pending, in_catalog, &s->catalog);
    (void) pthread_mutex_unlock(&s->lock);
    (void) pthread_rwlock_unlock(&s->catalog_lock);
    return DZ_OK;
}

static dz_status pack_job(struct dz_session *s, const struct job *j, dz_err *err) {
    if (!s->packs[j->meta])
        DZ_TRY(dz_pack_writer_new(s->tmpfd, s->vault->host, &s->packs[j->meta], err));
    DZ_TRY(dz_pack_writer_add(s->packs[j->meta], j->kind, dz_buf_slice(&j->sealed), j->names,
                              j->lengths, j->n, err));
    if (dz_pack_writer_full(s->packs[j->meta]))
        DZ_TRY(finish_pack(s, j->meta, err));
    if (dz_index_builder_count(s->builder) > PENDING_MAX)
        DZ_TRY(roll_over(s, err));
    return DZ_OK;
}

static bool next_job(struct dz_session *s, struct job *ret_job) {
    bool more;

    (void) pthread_mutex_lock(&s->lock);
    while (s->queue_len == 0 && !s->closing && s->failed == DZ_OK)
        (void) pthread_cond_wait(&s->changed, &s->lock);
    more = s->queue_len > 0 && s->failed == DZ_OK;
    if (more) {
        *ret_job = s->queue[s->queue_head];
        s->queue[s->queue_head] = (struct job){ 0 };
        s->queue_head = (s->queue_head + 1) % QUEUE_MAX;
        s->queue_len--;
        (void) pthread_cond_broadcast(&s->changed);
    }
    (void) pthread_mutex_unlock(&s->lock);
    return more;
}

static void *packer_main(void *arg) {
    struct dz_session *s = arg;
    struct job j;
    dz_err err = { 0 };

    while (next_job(s, &j)) {
        dz_status status = pack_job(s, &j, &err);
        job_release(&j);
        if (status != DZ_OK) {
            fail(s, status, &err);
            break;
        }
    }
    return NULL;
}

/* Hands a sealed segment to the pack thread; waits while its queue is full.  Moves *j. */
static dz_status enqueue(struct dz_session *s, struct job *j, dz_err *err) {
    (void) pthread_mutex_lock(&s->lock);
    while (s->queue_len == QUEUE_MAX && s->failed == DZ_OK)
        (void) pthread_cond_wait(&s->changed, &s->lock);
    if (s->failed == DZ_OK) {
        s->queue[(s->queue_head + s->queue_len++) % QUEUE_MAX] = *j;
        *j = (struct job){ 0 };
        (void) pthread_cond_broadcast(&s->changed);
    }
    (void) pthread_mutex_unlock(&s->lock);
    job_release(j);
    return failed(s, err);
}

/* --- lanes ------------------------------------------------------------------------------------ */

static void open_segment_release(struct open_segment *o) {
    dz_buf_release(&o->raw);
    free(o->names);
    free(o->lengths);
    *o = (struct open_segment){ 0 };
}

static dz_status flush_stream(struct dz_lane *lane, size_t i, dz_err *err) {
    struct open_segment *o = &lane->open[i];
    const struct stream *st = &streams[i];
    struct job j = { .kind = st->kind, .meta = st->meta };
    dz_status status;

    if (o->n == 0)
        return DZ_OK;
    status = dz_segment_seal(lane->coder, lane->session->vault->host, st->kind,
                             dz_buf_slice(&o->raw), o->lengths, o->n, st->level, &j.sealed, err);
    if (status != DZ_OK) {
        job_release(&j);
        return status;
    }
    j.names = DZ_TAKE(o->names);
    j.lengths = DZ_TAKE(o->lengths);
    j.n = o->n;
    o->n = o->cap = 0;
    dz_buf_clear(&o->raw);
    return enqueue(lane->session, &j, err);
}

static dz_status append(struct dz_lane *lane, size_t i, dz_slice bytes, const dz_name *name,
                        dz_err *err) {
    struct open_segment *o = &lane->open[i];

    if (o->n > 0 && (o->raw.len + bytes.len > streams[i].target || o->n == DZ_SEGMENT_OBJECTS_MAX))
        DZ_TRY(flush_stream(lane, i, err));
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 64;
        dz_name *names = reallocarray(o->names, cap, sizeof *names);
        uint32_t *lengths;

        if (names)
            o->names = names;
        lengths = names ? reallocarray(o->lengths, cap, sizeof *lengths) : NULL;
        if (!lengths)
            return DZ_FAIL(err, DZ_E_NOMEM, "segment: out of memory");
        o->lengths = lengths;
        o->cap = cap;
    }
    dz_buf_put_slice(&o->raw, bytes);
    if (!dz_buf_ok(&o->raw))
        return DZ_FAIL(err, DZ_E_NOMEM, "segment: out of memory");
    o->names[o->n] = *name;
    o->lengths[o->n++] = (uint32_t) bytes.len;
    return DZ_OK;
}

/* Whether a pack that is relied on has it. */
static dz_status known_of(struct dz_session *s, const dz_name *name, bool *ret_known, dz_err *err) {
    dz_place place;
    dz_status status;

    *ret_known = false;
    (void) pthread_rwlock_rdlock(&s->catalog_lock);
    status = dz_catalog_find(&s->catalog, name, &place, ret_known, err);
    (void) pthread_rwlock_unlock(&s->catalog_lock);
    /* a damaged run cannot say: then the object is stored once more, and the run goes at the end */
    if (status != DZ_E_CORRUPT)
        return status;
    (void) pthread_mutex_lock(&s->lock);
    s->index_damaged = true;
    (void) pthread_mutex_unlock(&s->lock);
    *ret_known = false;
    return DZ_OK;
}

/* Claims the name for this session: true once for each name that the vault lacks. */
static dz_status claim(struct dz_session *s, const dz_name *name, size_t len, bool *ret_new,
                       dz_err *err) {
    bool known, added = false;
    dz_status status;

    DZ_TRY(known_of(s, name, &known, err));
    if (!known) {
        (void) pthread_mutex_lock(&s->lock);
        status = dz_name_set_add(s->pending, name, &added, err);
        if (status == DZ_OK && added)
            s->new_bytes += len;
        (void) pthread_mutex_unlock(&s->lock);
        DZ_TRY(status);
    }
    *ret_new = added;
    return DZ_OK;
}

dz_status dz_lane_put(struct dz_lane *lane, enum dz_kind kind, dz_slice bytes, bool incompressible,
                      dz_id *ret_id, bool *ret_new, dz_err *err) {
    struct dz_session *s = lane->session;
    size_t stream = kind == DZ_KIND_DATA ? (incompressible ? 1 : 0) : kind == DZ_KIND_NODE ? 2 : 3;
    dz_status status;
    dz_name name;
    bool fresh;
    dz_id id;

    if (bytes.len > DZ_OBJECT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "object of %zu bytes, limit is %d", bytes.len,
                       DZ_OBJECT_MAX);
    dz_sha256(bytes, id.b);
    name = dz_name_of(s->vault->host->name, (uint8_t) kind, &id);
    status = claim(s, &name, bytes.len, &fresh, err);
    if (status == DZ_OK && fresh)
        status = append(lane, stream, bytes, &name, err);
    if (status != DZ_OK) {
        dz_err why = { .status = status, .what = "out of memory" };
        if (err)
            why = *err;
        fail(s, status, &why);
        return status;
    }
    *ret_id = id;
    if (ret_new)
        *ret_new = fresh;
    return DZ_OK;
}

dz_status dz_lane_has(struct dz_lane *lane, enum dz_kind kind, const dz_id *id, bool *ret_has,
                      dz_err *err) {
    struct dz_session *s = lane->session;
    dz_name name = dz_name_of(s->vault->host->name, (uint8_t) kind, id);
    bool known;

    DZ_TRY(known_of(s, &name, &known, err));
    if (!known) {
        (void) pthread_mutex_lock(&s->lock);
        known = dz_name_set_has(s->pending, &name);
        (void) pthread_mutex_unlock(&s->lock);
    }
    *ret_has = known;
    return DZ_OK;
}

static dz_status sink_put(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id,
                          dz_err *err) {
    return dz_lane_put(ctx, kind, bytes, false, ret_id, NULL, err);
}

struct dz_sink dz_lane_sink(struct dz_lane *lane) {
    return (struct dz_sink){ .put = sink_put, .ctx = lane };
}

int dz_session_tmp(const struct dz_session *s) {
    return s->tmpfd;
}

dz_status dz_session_lane(struct dz_session *s, struct dz_lane **ret_lane, dz_err *err) {
    struct dz_lane *lane = calloc(1, sizeof *lane);
    dz_status status;

    if (!lane)
        return DZ_FAIL(err, DZ_E_NOMEM, "lane: out of memory");
    lane->session = s;
    status = dz_coder_new(&lane->coder, err);
    if (status != DZ_OK) {
        free(lane);
        return status;
    }
    (void) pthread_mutex_lock(&s->lock);
    lane->next = s->lanes;
    s->lanes = lane;
    (void) pthread_mutex_unlock(&s->lock);
    *ret_lane = lane;
    return DZ_OK;
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void stop_packer(struct dz_session *s) {
    if (!s->threaded)
        return;
    (void) pthread_mutex_lock(&s->lock);
    s->closing = true;
    (void) pthread_cond_broadcast(&s->changed);
    (void) pthread_mutex_unlock(&s->lock);
    (void) pthread_join(s->packer, NULL);
    s->threaded = false;
}

void dz_session_free(struct dz_session *s) {
    if (!s)
        return;
    if (s->threaded) {
        const dz_err why = { .status = DZ_E_IO, .what = "the session was abandoned" };
        fail(s, DZ_E_IO, &why); /* what still waits is not wanted any more */
    }
    stop_packer(s);
    for (size_t i = 0; i < QUEUE_MAX; i++)
        job_release(&s->queue[i]);
    while (s->lanes) {
        struct dz_lane *lane = s->lanes;
        s->lanes = lane->next;
        for (size_t i = 0; i < STREAMS; i++)
            open_segment_release(&lane->open[i]);
        dz_coder_free(lane->coder);
        free(lane);
    }
    dz_pack_writer_free(s->packs[0]);
    dz_pack_writer_free(s->packs[1]);
    dz_index_builder_free(s->builder);
    dz_buf_release(&s->written);
    dz_name_set_free(s->pending);
    dz_catalog_close(&s->catalog);
    if (s->tmpfd >= 0)
        dz_vault_tmp_drop(s->vault, s->tmp, s->tmpfd);
    (void) pthread_cond_destroy(&s->changed);
    (void) pthread_mutex_destroy(&s->lock);
    (void) pthread_rwlock_destroy(&s->catalog_lock);
    free(s);
}

dz_status dz_session_begin(struct dz_vault *vault, struct dz_session **ret_session, dz_err *err) {
    DZ_AUTO(dz_session) s = calloc(1, sizeof *s);

    if (!s)
        return DZ_FAIL(err, DZ_E_NOMEM, "session: out of memory");
    s->vault = vault;
    s->tmpfd = -1;
    (void) pthread_mutex_init(&s->lock, NULL);
    (void) pthread_cond_init(&s->changed, NULL);
    (void) pthread_rwlock_init(&s->catalog_lock, NULL);
    DZ_TRY(dz_vault_tmp_make(vault, s->tmp, &s->tmpfd, err));
    DZ_TRY(dz_catalog_open(vault, s->tmpfd, false, &s->catalog, NULL, err));
    DZ_TRY(dz_name_set_new(&s->pending, err));
    DZ_TRY(new_builder(s, err));
    errno = pthread_create(&s->packer, NULL, packer_main, s);
    if (errno)
        return DZ_FAIL_ERRNO(err, "session: starting a thread");
    s->threaded = true;
    *ret_session = DZ_TAKE(s);
    return DZ_OK;
}

static dz_status flush_lanes(struct dz_session *s, dz_err *err) {
    for (struct dz_lane *lane = s->lanes; lane; lane = lane->next)
        for (size_t i = 0; i < STREAMS; i++)
            DZ_TRY(flush_stream(lane, i, err));
    return DZ_OK;
}

/* The record, then the leaf: only the leaf makes the snapshot exist. */
static dz_status publish_commit(struct dz_session *s, const struct dz_commit *commit, dz_err *err) {
    struct dz_vault *v = s->vault;
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT };
    dz_leaf leaf = {
        .kind = DZ_LEAF_COMMIT, .time_us = commit->arrived_us, .objects = &object, .object_count = 1
    };
    dz_autobuf dz_buf record = { 0 }, entry = { 0 };
    char name[2 * DZ_SHA256_BYTES + 1];

    DZ_TRY(dz_commit_write(commit, v->host, &record, err));
    dz_sha256(dz_buf_slice(&record), object.name);
    dz_hex(object.name, sizeof object.name, name);
    DZ_TRY(dz_leaf_write(&leaf, &entry, err));
    DZ_TRY(dz_durable_publish(s->tmpfd, v->commitsfd, name, dz_buf_slice(&record), err));
    return dz_vault_append(v, s->tmpfd, dz_buf_slice(&entry), err);
}

/* The index is a cache: what cannot be done now, the next run does.  A damaged run stands in the
 * way of merging and costs every run a copy of what it cannot find, so it goes: the next run reads
 * the tables of its packs again. */
static void tidy_index(struct dz_session *s) {
    int indexfd = s->vault->indexfd;
    const uint8_t *id = s->vault->host->vault.b;
    size_t n;

    if (dz_index_merge(indexfd, s->tmpfd, id, &(dz_index_merge_how){ 0 }, &n, NULL) ==
            DZ_E_CORRUPT ||
        s->index_damaged) {
        DZ_AUTO(dz_index) idx = NULL;

        if (dz_index_open(indexfd, id, &idx, NULL) == DZ_OK &&
            dz_index_check(idx, NULL) == DZ_E_CORRUPT)
            DZ_IGNORE(dz_index_drop_damaged(idx, indexfd, &n, NULL));
    }
}

dz_status dz_session_keep(struct dz_session *s, dz_err *err) {
    DZ_TRY(failed(s, err));
    DZ_TRY(flush_lanes(s, err));
    stop_packer(s);
    DZ_TRY(failed(s, err));
    DZ_TRY(finish_pack(s, false, err));
    DZ_TRY(finish_pack(s, true, err));
    DZ_TRY(publish_run(s, err));
    /* also the names of packs that others gave and perhaps did not live to sync: we rely on them */
    if (dz_os->fsync(s->vault->packsfd) < 0)
        return DZ_FAIL_ERRNO(err, "syncing the directory of packs");
    return DZ_OK;
}

dz_status dz_session_commit(struct dz_session *s, struct dz_commit *commit, dz_err *err) {
    static const uint8_t unset[DZ_SNAPSHOT_ID_BYTES];

    DZ_TRY(dz_session_keep(s, err));
    DZ_TRY(check_packs(s, err));
    if (memcmp(commit->id, unset, sizeof unset) == 0)
        dz_random(commit->id, sizeof commit->id);
    commit->arrived_us = dz_now_us();
    commit->new_bytes = s->new_bytes;
    commit->stored_bytes = s->stored_bytes;
    dz_buf_release(&commit->packs);
    commit->packs = s->written;
    s->written = (dz_buf){ 0 };
    DZ_TRY(publish_commit(s, commit, err));
    tidy_index(s);
    return DZ_OK;
}
