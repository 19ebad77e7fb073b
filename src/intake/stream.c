#include "intake/stream.h"

#include <sodium.h>
#include <time.h>

#include "core/clock.h"
#include "intake/gather.h"
#include "intake/read_spans.h"

struct stream {
    struct dz_vault *v;
    const struct dz_stream_how *how;
    struct dz_session *session;
    struct dz_chunker *chunker;
    struct dz_lane *lane;
    struct dz_file_reader *reader;
    struct dz_content_builder *content;
    struct dz_gather gather;
    struct dz_hasher *hasher;
    struct dz_features features;
    struct dz_span span;
    dz_buf fields;
    uint64_t size;
};

bool dz_stream_name_ok(const char *name) {
    size_t len = strlen(name);

    return len > 0 && len <= 255 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static dz_status open_all(struct stream *st, struct dz_commit *c, dz_err *err) {
    struct dz_vault *v = st->v;

    DZ_TRY(dz_chunker_new(v->host->chunk, DZ_CHUNKER_DEFAULTS, &st->chunker, err));
    DZ_TRY(dz_session_begin(v, &st->session, err));
    DZ_TRY(dz_session_lane(st->session, &st->lane, err));
    DZ_TRY(dz_gather_open(&st->gather, v, st->lane, c, err));
    DZ_TRY(dz_content_builder_new(&st->gather.sink, v->host->name, &st->content, err));
    DZ_TRY(dz_hasher_new(&st->hasher, err));
    return dz_file_reader_new(st->chunker, st->lane, &st->reader, err);
}

static void close_all(struct stream *st) {
    dz_buf_release(&st->fields);
    dz_buf_release(&st->span.chunks);
    dz_file_reader_free(st->reader);
    dz_hasher_free(st->hasher);
    dz_content_builder_free(st->content);
    dz_gather_close(&st->gather);
    dz_session_free(st->session);
    dz_chunker_free(st->chunker);
}

/* Span by span to the end of the stream. */
static dz_status take_all(struct stream *st, dz_err *err) {
    const struct dz_extents x = { .stream = true };
    struct dz_backup_progress progress = { 0 };

    dz_features_init(&st->features);
    do {
        DZ_TRY(dz_file_reader_span(st->reader, st->how->fd, &x, st->size, DZ_SPAN, &st->span, err));
        if (st->span.failed) {
            errno = st->span.failed;
            return DZ_FAIL_ERRNO(err, "reading the stream after %llu bytes",
                                 (unsigned long long) (st->size + st->span.read));
        }
        dz_span_identity(&st->span, st->hasher);
        DZ_TRY(dz_span_put(&st->span, st->content, err));
        dz_features_merge(&st->features, &st->span.features);
        st->size += st->span.read;
        progress.bytes = progress.read_bytes = st->size;
        if (st->how->progress)
            st->how->progress(st->how->ctx, &progress);
    } while (st->span.read == DZ_SPAN);
    if (st->how->finish)
        DZ_TRY(st->how->finish(st->how->finish_ctx, err));
    return st->size > 0 ? DZ_OK
                        : DZ_FAIL(err, DZ_E_NOT_FOUND,
                                  "not a single byte came: an empty stream is not kept");
}

static dz_status add_entry(struct stream *st, dz_err *err) {
    uint8_t identity[DZ_SHA256_BYTES], digest_key[DZ_KEY_BYTES];
    struct timespec now;
    bool added;
    dz_entry e;

    dz_hasher_final(st->hasher, identity);
    DZ_TRY(dz_content_builder_finish(st->content, &st->fields, err));
    dz_gather_digest_key(st->v, digest_key);
    dz_features_put(&st->features, st->how->name, digest_key, identity, &st->fields);
    explicit_bzero(digest_key, sizeof digest_key);
    if (!dz_buf_ok(&st->fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "stream: out of memory");
    (void) clock_gettime(CLOCK_REALTIME, &now);
    e = (dz_entry){
        .path = { (const uint8_t *) st->how->name, strlen(st->how->name) },
        .type = DZ_ENTRY_FILE,
        .mode = 0600,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_s = now.tv_sec,
        .mtime_ns = (uint32_t) now.tv_nsec,
        .size = st->size,
        .fields = dz_buf_slice(&st->fields),
    };
    DZ_TRY(dz_gather_add(&st->gather, &e, &added, err));
    return added ? DZ_OK : DZ_E_USAGE;
}

static dz_status fill_commit(const struct stream *st, struct dz_commit *c, dz_err *err) {
    char host[256] = "";

    (void) gethostname(host, sizeof host - 1);
    c->host = strdup(host);
    dz_buf_put_field(&c->paths,
                     (dz_slice){ (const uint8_t *) st->how->name, strlen(st->how->name) });
    memcpy(c->source, st->how->source, strlen(st->how->source) + 1);
    c->started_us = dz_now_us();
    return c->host && dz_buf_ok(&c->paths) ? DZ_OK
                                           : DZ_FAIL(err, DZ_E_NOMEM, "stream: out of memory");
}

static dz_status run(struct stream *st, struct dz_commit *c, dz_err *err) {
    DZ_TRY(fill_commit(st, c, err));
    DZ_TRY(open_all(st, c, err));
    DZ_TRY(take_all(st, err));
    DZ_TRY(add_entry(st, err));
    return dz_gather_commit(&st->gather, st->session, err);
}

dz_status dz_stream_run(struct dz_vault *v, const struct dz_stream_how *how,
                        struct dz_commit *ret_commit, dz_err *err) {
    struct stream st = { .v = v, .how = how };
    struct dz_commit c = { 0 };
    dz_status s;

    DZ_TRY(dz_source_name_check(how->source, err));
    if (!dz_stream_name_ok(how->name))
        return DZ_FAIL(err, DZ_E_USAGE, "a stream's file is named by one component of a path");
    s = run(&st, &c, err);
    close_all(&st);
    if (s != DZ_OK) {
        dz_commit_release(&c);
        return s;
    }
    *ret_commit = c;
    return DZ_OK;
}
