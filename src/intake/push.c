#include "intake/push.h"

#include "core/clock.h"
#include "core/os.h"
#include "intake/cut.h"
#include "intake/push_window.h"

enum {
    FIELDS_MAX = DZ_ENTRY_MAX - (32 << 10), /* of an entry: room for content and features */
    ROWS_MAX = DZ_PATH_VALUE_MAX - DZ_ENTRY_MAX - 1024, /* bytes of chunks that are remembered */
};

struct push {
    const struct dz_push_how *how;
    struct dz_push_end *end;
    struct dz_push_talk talk;
    struct dz_push_window *window;
    struct dz_chunker *chunker;
    struct dz_cutter *cutter;
    struct dz_path_cache *cache;
    struct dz_path_window cache_window;
    struct dz_path_writer *remember;
    struct dz_span span;
    dz_buf frame, fields, value;
    int64_t began_us;
    struct dz_push_progress progress;
};

static void tell(struct push *p) {
    p->progress.sent_bytes = dz_push_window_sent(p->window);
    if (p->how->progress)
        p->how->progress(p->how->ctx, &p->progress);
}

/* --- the conversation before and after -------------------------------------------------------- */

static dz_status say_begin(struct push *p, const uint8_t nonce[DZ_WIRE_NONCE], dz_err *err) {
    const struct dz_push_how *how = p->how;
    uint8_t digest[DZ_SHA256_BYTES], proof[DZ_WIRE_PROOF];
    struct dz_wire_begin m = {
        .source = { (const uint8_t *) how->source, strlen(how->source) },
        .host = { (const uint8_t *) how->host, strnlen(how->host, DZ_WIRE_HOST_MAX) },
        .paths = how->paths,
        .excludes = how->excludes,
    };

    memcpy(m.run, how->run, sizeof m.run);
    if (how->sign) {
        DZ_TRY(dz_wire_begin_digest(nonce, &m, digest, err));
        DZ_TRY(how->sign(how->sign_ctx, digest, proof, err));
        m.proof = (dz_slice){ proof, sizeof proof };
    }
    dz_wire_put_begin(&p->talk.out, &m);
    return dz_push_flush(&p->talk, err);
}

/* Up to READY or DONE. */
static dz_status begin(struct push *p, struct dz_wire_message *ret_answer, dz_err *err) {
    struct dz_wire_message m;

    dz_wire_put_hello(&p->talk.out, &(struct dz_wire_hello){ DZ_WIRE_VERSION, DZ_WIRE_VERSION });
    DZ_TRY(dz_push_flush(&p->talk, err));
    DZ_TRY(dz_push_hear(&p->talk, DZ_WIRE_WELCOME, DZ_WIRE_WELCOME, &m, err));
    if (m.welcome.version != DZ_WIRE_VERSION)
        return DZ_FAIL(err, DZ_E_MALFORMED, "the vault chose version %u, which was not offered",
                       m.welcome.version);
    DZ_TRY(say_begin(p, m.welcome.nonce, err));
    return dz_push_hear(&p->talk, DZ_WIRE_READY, DZ_WIRE_DONE, ret_answer, err);
}

static dz_status commit(struct push *p, dz_err *err) {
    struct dz_wire_message m;
    const struct dz_wire_commit said = { p->progress.entries, p->progress.bytes };

    DZ_TRY(dz_push_window_finish(p->window, err));
    dz_wire_put_commit(&p->talk.out, &said);
    DZ_TRY(dz_push_flush(&p->talk, err));
    DZ_TRY(dz_push_hear(&p->talk, DZ_WIRE_DONE, DZ_WIRE_DONE, &m, err));
    p->end->done = m.done;
    tell(p);
    return DZ_OK;
}

/* --- frames of an item ------------------------------------------------------------------------ */

static dz_status say_problem(struct push *p, dz_slice path, uint8_t what, int sys_errno,
                             dz_err *err) {
    const dz_problem m = { path, sys_errno > 0 ? (uint32_t) sys_errno : EIO, what };

    if (!dz_path_ok(path))
        return DZ_OK; /* it cannot even be named */
    p->end->problems++;
    dz_buf_clear(&p->frame);
    dz_wire_put_problem(&p->frame, &m);
    if (!dz_buf_ok(&p->frame))
        return DZ_FAIL(err, DZ_E_NOMEM, "push: out of memory");
    return dz_push_window_frames(p->window, dz_buf_slice(&p->frame), err);
}

static dz_status say_entry(struct push *p, const dz_entry *e, dz_err *err) {
    dz_buf_clear(&p->frame);
    dz_wire_put_entry(&p->frame, e);
    if (!dz_buf_ok(&p->frame))
        return DZ_FAIL(err, DZ_E_NOMEM, "push: out of memory");
    DZ_TRY(dz_push_window_frames(p->window, dz_buf_slice(&p->frame), err));
    p->progress.entries++;
    p->progress.bytes += e->type == DZ_ENTRY_FILE ? e->size : 0;
    tell(p);
    return DZ_OK;
}

static bool fits(const dz_entry *e) {
    return dz_entry_check(e, NULL) == DZ_OK && e->path.len + e->fields.len <= FIELDS_MAX;
}

/* The entry, or what can be said of it when it is beyond the format's limits: what stands below a
 * directory needs it, and content that was sent belongs to some entry. */
static dz_status say_item(struct push *p, const struct dz_push_item *item, bool begun,
                          dz_err *err) {
    dz_entry e = item->entry;
    bool needed = begun || e.type == DZ_ENTRY_DIR;

    if (item->what)
        DZ_TRY(say_problem(p, e.path, item->what, item->sys_errno, err));
    if (item->gone && !begun)
        return DZ_OK;
    if (fits(&e))
        return say_entry(p, &e, err);
    DZ_TRY(say_problem(p, e.path, DZ_PROBLEM_UNREADABLE, EOVERFLOW, err));
    e.fields = (dz_slice){ 0 };
    e.size = 0;
    e.flags = DZ_ENTRY_UNREADABLE;
    return needed && fits(&e) ? say_entry(p, &e, err) : DZ_OK;
}

/* --- files ------------------------------------------------------------------------------------ */

static dz_status put_chunk(void *ctx, dz_slice bytes, bool incompressible, dz_id *ret_id,
                           dz_err *err) {
    struct push *p = ctx;

    (void) incompressible;
    return dz_push_window_chunk(p->window, bytes, ret_id, err);
}

static ssize_t read_tree(void *ctx, uint8_t *to, size_t room) {
    const struct push *p = ctx;

    return p->how->tree->read(p->how->tree->ctx, to, room);
}

/* Reads the content to its end, span by span.  The rows of its chunks are left in p->value, while
 * they are few enough to be remembered. */
static dz_status read_content(struct push *p, struct dz_features *features, uint64_t *ret_bytes,
                              int *ret_failed, bool *ret_few, dz_err *err) {
    const struct dz_cutter_ends ends = { read_tree, put_chunk, p };
    uint64_t bytes = 0;

    dz_features_init(features);
    dz_buf_clear(&p->value);
    *ret_few = true;
    do {
        DZ_TRY(dz_cutter_span(p->cutter, &ends, DZ_SPAN, &p->span, err));
        dz_features_merge(features, &p->span.features);
        bytes += p->span.read;
        *ret_few = *ret_few && p->value.len + p->span.chunks.len <= ROWS_MAX;
        if (*ret_few)
            dz_buf_put_slice(&p->value, dz_buf_slice(&p->span.chunks));
    } while (p->span.read == DZ_SPAN && !p->span.failed);
    p->progress.read_bytes += bytes;
    *ret_bytes = bytes;
    *ret_failed = p->span.failed;
    return DZ_OK;
}

/* The item's fields with the judge's record at its place among them. */
static void add_features(struct push *p, struct dz_push_item *item,
                         const struct dz_features *features) {
    dz_autobuf dz_buf value = { 0 };
    dz_reader r = dz_reader_over(item->entry.fields);
    size_t from = item->entry.path.len;
    dz_feature_record record;
    bool put = false;

    while (from > 0 && item->entry.path.data[from - 1] != '/')
        from--;
    dz_features_finish(features,
                       (dz_slice){ item->entry.path.data + from, item->entry.path.len - from },
                       NULL, &record);
    dz_feature_record_put(&value, &record);
    dz_buf_clear(&p->fields);
    while (dz_reader_left(&r) > 0) {
        uint64_t tag = dz_read_varint(&r);
        dz_slice field = dz_read_field(&r);

        if (!put && tag > DZ_TAG_FEATURES)
            dz_entry_put_field(&p->fields, DZ_TAG_FEATURES, dz_buf_slice(&value));
        put = put || tag > DZ_TAG_FEATURES;
        dz_entry_put_field(&p->fields, (enum dz_entry_tag) tag, field);
    }
    if (!put)
        dz_entry_put_field(&p->fields, DZ_TAG_FEATURES, dz_buf_slice(&value));
    if (!dz_buf_ok(&value))
        p->fields.bad = true;
    item->entry.fields = dz_buf_slice(&p->fields);
}

/* What is remembered of a file: its fields, and behind them the rows of its chunks. */
static dz_status remember(struct push *p, const struct dz_push_item *item, dz_slice rows,
                          dz_err *err) {
    dz_autobuf dz_buf value = { 0 };

    if (!p->remember || !item->keyed || !item->remember || item->what)
        return DZ_OK;
    dz_buf_put_field(&value, item->entry.fields);
    dz_buf_put_slice(&value, rows);
    return dz_buf_ok(&value)
               ? dz_path_writer_add(p->remember, &item->key, dz_buf_slice(&value), err)
               : DZ_FAIL(err, DZ_E_NOMEM, "push: out of memory");
}

/* Sends a file that is remembered, if it is. */
static dz_status send_known(struct push *p, struct dz_push_item *item, bool *ret_known,
                            dz_err *err) {
    dz_reader r, rows;
    dz_slice fields;

    *ret_known = false;
    if (!p->cache || !item->keyed || p->how->reread ||
        dz_path_due(&item->key, dz_path_cache_time(p->cache), p->began_us))
        return DZ_OK;
    dz_buf_clear(&p->value);
    if (!dz_path_cache_get(p->cache, &item->key, &p->cache_window, &p->value))
        return DZ_OK;
    r = dz_reader_over(dz_buf_slice(&p->value));
    fields = dz_read_field(&r);
    rows = r;
    if (!dz_reader_ok(&r) || dz_reader_left(&r) % (sizeof(dz_id) + 4) != 0)
        return DZ_OK;
    while (dz_reader_left(&r) > 0) {
        dz_id id;

        memcpy(id.b, dz_read_bytes(&r, sizeof id).data, sizeof id);
        DZ_TRY(dz_push_window_known(p->window, &id, dz_read_le32(&r), err));
    }
    *ret_known = true;
    item->entry.fields = fields;
    DZ_TRY(say_item(p, item, true, err));
    return remember(p, item, dz_read_bytes(&rows, dz_reader_left(&rows)), err);
}

static dz_status send_file(struct push *p, struct dz_push_item *item, dz_err *err) {
    struct dz_features features;
    uint64_t bytes;
    bool known, few;
    int failed;

    DZ_TRY(send_known(p, item, &known, err));
    if (known)
        return DZ_OK;
    DZ_TRY(read_content(p, &features, &bytes, &failed, &few, err));
    DZ_TRY(p->how->tree->finish(p->how->tree->ctx, bytes, failed, item, err));
    if (bytes > 0 || !(item->entry.flags & DZ_ENTRY_UNREADABLE))
        add_features(p, item, &features);
    if (!dz_buf_ok(&p->fields) || !dz_buf_ok(&p->value))
        return DZ_FAIL(err, DZ_E_NOMEM, "push: out of memory");
    DZ_TRY(say_item(p, item, bytes > 0, err));
    return few ? remember(p, item, dz_buf_slice(&p->value), err) : DZ_OK;
}

/* --- all together ----------------------------------------------------------------------------- */

static dz_status send_tree(struct push *p, dz_err *err) {
    const struct dz_push_tree *tree = p->how->tree;

    for (;;) {
        struct dz_push_item item = { 0 };
        bool end = false;

        DZ_TRY(tree->next(tree->ctx, &item, &end, err));
        if (end)
            return DZ_OK;
        if (item.content)
            DZ_TRY(send_file(p, &item, err));
        else
            DZ_TRY(say_item(p, &item, false, err));
    }
}

static dz_status open_all(struct push *p, const struct dz_wire_ready *ready, dz_err *err) {
    const struct dz_push_how *how = p->how;
    const struct dz_chunker_params params = { ready->chunk_min, ready->chunk_avg,
                                              ready->chunk_max };

    if (params.max > DZ_OBJECT_MAX ||
        dz_chunker_new(ready->chunk_key, params, &p->chunker, err) != DZ_OK)
        return DZ_FAIL(err, DZ_E_MALFORMED, "the vault wants chunks of %u to %u bytes", params.min,
                       params.max);
    DZ_TRY(dz_cutter_new(p->chunker, &p->cutter, err));
    DZ_TRY(dz_push_window_new(&p->talk, &p->window, err));
    if (how->cachefd < 0)
        return DZ_OK;
    DZ_TRY(dz_path_cache_open_at(how->cachefd, how->cache_name, &p->cache, err));
    return dz_path_writer_new_at(how->cachefd, how->cache_name, p->began_us, &p->remember, err);
}

static void close_all(struct push *p) {
    dz_path_writer_free(p->remember);
    dz_path_cache_free(p->cache);
    dz_push_window_free(p->window);
    dz_cutter_free(p->cutter);
    dz_chunker_free(p->chunker);
    dz_push_talk_done(&p->talk);
    dz_buf_release(&p->cache_window.bytes);
    dz_buf_release(&p->span.chunks);
    dz_buf_release(&p->frame);
    dz_buf_release(&p->fields);
    dz_buf_release(&p->value);
}

static dz_status run(struct push *p, dz_err *err) {
    struct dz_wire_message m;
    dz_status s;

    DZ_TRY(begin(p, &m, err));
    if (m.type == DZ_WIRE_DONE) {
        p->end->again = true;
        p->end->done = m.done;
        return DZ_OK;
    }
    DZ_TRY(open_all(p, &m.ready, err));
    s = send_tree(p, err);
    if (s == DZ_OK)
        s = commit(p, err);
    p->end->stale = s == DZ_E_BUSY;
    if (p->end->stale && p->cache)
        (void) dz_os->unlinkat(p->how->cachefd, p->how->cache_name, 0);
    if (s == DZ_OK &&
        p->remember) /* the snapshot stands; without a cache the next run reads more */
        DZ_IGNORE(dz_path_writer_finish(p->remember, p->end->done.snapshot, NULL));
    return s;
}

dz_status dz_push_run(const struct dz_push_how *how, struct dz_push_end *end, dz_err *err) {
    struct push p = { .how = how, .end = end, .talk = { .wire = how->wire } };
    dz_status s;

    *end = (struct dz_push_end){ 0 };
    DZ_TRY(dz_source_name_check(how->source, err));
    p.began_us = dz_now_us();
    s = run(&p, err);
    end->refused = p.talk.refused;
    close_all(&p);
    return s;
}
