#include "intake/take_run.h"

#include <sodium.h>

#include "core/clock.h"
#include "intake/last_runs.h"
#include "store/chunker.h"

/* --- beginning -------------------------------------------------------------------------------- */

/* From source and run alone, so that a run that is tried again is found without any cache; keyed,
 * so that no source can choose another's. */
static dz_status snapshot_id(const struct dz_vault *v, const struct dz_wire_begin *begin,
                             uint8_t ret_id[DZ_SNAPSHOT_ID_BYTES], dz_err *err) {
    dz_autobuf dz_buf context = { 0 };
    uint8_t child[DZ_KEY_BYTES];

    dz_buf_put_field(&context, begin->source);
    dz_buf_put(&context, begin->run, sizeof begin->run);
    if (!dz_buf_ok(&context))
        return DZ_FAIL(err, DZ_E_NOMEM, "run: out of memory");
    dz_key_derive(v->host->text, "snapshot of a run", dz_buf_slice(&context), child);
    memcpy(ret_id, child, DZ_SNAPSHOT_ID_BYTES);
    return DZ_OK;
}

static void done_of(const struct dz_commit *c, struct dz_wire_done *ret_done) {
    memcpy(ret_done->snapshot, c->id, sizeof c->id);
    ret_done->arrived_us = c->arrived_us;
    ret_done->entries = c->files + c->dirs + c->others;
    ret_done->bytes = c->bytes;
    ret_done->sent = c->sent_bytes;
}

static dz_status fill_commit(struct dz_commit *c, const struct dz_wire_begin *begin, dz_err *err) {
    memcpy(c->source, begin->source.data, begin->source.len);
    c->started_us = dz_now_us();
    c->host = strndup(begin->host.len ? (const char *) begin->host.data : "", begin->host.len);
    dz_buf_put_slice(&c->paths, begin->paths);
    dz_buf_put_slice(&c->excludes, begin->excludes);
    return c->host && dz_buf_ok(&c->paths) && dz_buf_ok(&c->excludes)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_NOMEM, "run: out of memory");
}

static void no_content(struct dz_take_run *run) {
    dz_features_init(&run->features);
    run->bytes = 0;
    run->begun = false;
    run->seen = true;
}

static dz_status take_of_day(struct dz_take_run *run, enum dz_wire_what what, uint64_t n,
                             dz_err *err) {
    bool fits;

    DZ_TRY(dz_quota_take(run->quota, what, n, &fits, err));
    if (fits)
        return DZ_OK;
    run->refused.number = (uint64_t) what;
    run->refused.limit = dz_quota_limit(run->quota, what);
    run->refused.after_s = dz_quota_left_s(run->quota);
    return DZ_TAKE_REFUSE(run, DZ_WIRE_QUOTA, "the source's day is full");
}

static dz_status open_all(struct dz_take_run *run, const struct dz_wire_begin *begin,
                          const struct dz_quota_limits *day, bool *ret_again,
                          struct dz_wire_done *ret_done, dz_err *err) {
    DZ_TRY(fill_commit(&run->commit, begin, err));
    DZ_TRY(snapshot_id(run->v, begin, run->commit.id, err));
    DZ_TRY(dz_session_begin(run->v, &run->session, err));
    /* from here on no other run of the source goes on: what was kept by now can be seen */
    DZ_TRY(dz_sent_open(run->v, run->commit.source, dz_session_tmp(run->session), &run->sent, err));
    DZ_TRY(dz_quota_open(run->v, run->commit.source, dz_session_tmp(run->session), day, &run->quota,
                         err));
    DZ_TRY(take_of_day(run, DZ_WIRE_RUNS, 1, err));
    DZ_TRY(dz_last_runs_find(run->v, dz_session_tmp(run->session), run->commit.source,
                             run->commit.id, ret_again, ret_done, err));
    if (*ret_again)
        return DZ_OK;
    DZ_TRY(dz_session_lane(run->session, &run->lane, err));
    DZ_TRY(dz_gather_open(&run->gather, run->v, run->lane, &run->commit, err));
    DZ_TRY(dz_content_builder_new(&run->gather.sink, run->v->host->name, &run->content, err));
    DZ_TRY(dz_hasher_new(&run->hasher, err));
    dz_gather_digest_key(run->v, run->digest_key);
    no_content(run);
    return DZ_OK;
}

dz_status dz_take_run_new(const struct dz_take_how *how, const struct dz_wire_begin *begin,
                          struct dz_take_run **ret_run, bool *ret_again,
                          struct dz_wire_done *ret_done, struct dz_wire_refused *ret_refused,
                          dz_err *err) {
    DZ_AUTO(dz_take_run) run = calloc(1, sizeof *run);
    dz_status s;

    if (!run)
        return DZ_FAIL(err, DZ_E_NOMEM, "run: out of memory");
    run->v = how->vault;
    run->limits = how->limits;
    s = open_all(run, begin, &how->day, ret_again, ret_done, err);
    if (s != DZ_OK) {
        *ret_refused = run->refused;
        return s;
    }
    *ret_run = DZ_TAKE(run);
    return DZ_OK;
}

void dz_take_run_free(struct dz_take_run *run) {
    if (!run)
        return;
    dz_hasher_free(run->hasher);
    dz_content_builder_free(run->content);
    dz_gather_close(&run->gather);
    dz_quota_close(run->quota);
    dz_sent_free(run->sent); /* before the session, whose directory it uses */
    dz_session_free(run->session);
    dz_commit_release(&run->commit);
    dz_buf_release(&run->path);
    dz_buf_release(&run->fields);
    sodium_memzero(run->digest_key, sizeof run->digest_key);
    free(run);
}

/* One key for all sources: a cut tells nothing that the bytes do not, and what two sources have in
 * common is stored once.  It is not the vault's own, which says how what is kept was cut. */
void dz_take_run_ready(const struct dz_take_run *run, struct dz_wire_ready *ret_ready) {
    ret_ready->chunk_min = DZ_CHUNK_MIN;
    ret_ready->chunk_avg = DZ_CHUNK_AVG;
    ret_ready->chunk_max = DZ_CHUNK_MAX;
    dz_key_derive(run->v->host->chunk, "take", (dz_slice){ 0 }, ret_ready->chunk_key);
}

/* --- content ---------------------------------------------------------------------------------- */

/* Whether the source may refer to the chunk.  *ret_length is 0 when it may not. */
static dz_status held_length(struct dz_take_run *run, const dz_id *id, uint32_t *ret_length,
                             dz_err *err) {
    bool has = false;

    DZ_TRY(dz_sent_length(run->sent, id, ret_length, err));
    if (*ret_length)
        DZ_TRY(dz_lane_has(run->lane, DZ_KIND_DATA, id, &has, err));
    if (!has)
        *ret_length = 0;
    return DZ_OK;
}

static dz_status take_have(struct dz_take_run *run, dz_slice ids, size_t n, dz_buf *out,
                           dz_err *err) {
    bool held[DZ_WIRE_HAVE_MAX];

    for (size_t i = 0; i < n; i++) {
        uint32_t length;
        dz_id id;

        memcpy(id.b, ids.data + i * sizeof id, sizeof id);
        DZ_TRY(held_length(run, &id, &length, err));
        held[i] = length > 0;
    }
    dz_wire_put_held(out, held, n);
    return DZ_OK;
}

static dz_status add_piece(struct dz_take_run *run, const dz_id *id, uint32_t length, dz_err *err) {
    if (run->bytes > (uint64_t) INT64_MAX - length)
        return DZ_TAKE_REFUSE(run, DZ_WIRE_BAD_FRAME, "a file of more than 2^63 - 1 bytes");
    DZ_TRY(dz_sent_add(run->sent, id, length, err));
    DZ_TRY(dz_content_builder_add(run->content, id, length, err));
    dz_hasher_update(run->hasher, (dz_slice){ id->b, sizeof id->b });
    run->bytes += length;
    run->begun = true;
    return DZ_OK;
}

static dz_status take_chunk(struct dz_take_run *run, const struct dz_wire_chunk *m, dz_err *err) {
    uint32_t known;
    bool dense;
    dz_id id;

    if (run->seen) {
        dz_features_update(&run->features, m->bytes);
        dense = dz_features_last_incompressible(&run->features);
    } else {
        dense = dz_histogram_says_incompressible(m->bytes.data, m->bytes.len);
    }
    DZ_TRY(dz_sent_length(run->sent, &m->id, &known, err));
    DZ_TRY(dz_lane_put(run->lane, DZ_KIND_DATA, m->bytes, dense, &id, NULL, err));
    if (memcmp(id.b, m->id.b, sizeof id.b) != 0)
        return DZ_TAKE_REFUSE(run, DZ_WIRE_BAD_CHUNK,
                              "a chunk of %zu bytes that do not have its identity", m->bytes.len);
    if (!known)
        run->commit.sent_bytes += m->bytes.len;
    return add_piece(run, &id, (uint32_t) m->bytes.len, err);
}

static dz_status take_refs(struct dz_take_run *run, dz_slice rows, dz_err *err) {
    dz_reader r = dz_reader_over(rows);
    uint32_t length, held;
    dz_id id;

    run->seen = false;
    while (dz_wire_next_ref(&r, &length, &id)) {
        DZ_TRY(held_length(run, &id, &held, err));
        if (held != length)
            return DZ_TAKE_REFUSE(run, DZ_WIRE_NOT_YOURS,
                                  "a reference to a chunk that this source has not sent");
        DZ_TRY(add_piece(run, &id, length, err));
    }
    return DZ_OK;
}

/* --- messages --------------------------------------------------------------------------------- */

static dz_status count(struct dz_take_run *run, uint8_t type, size_t payload_len, dz_err *err) {
    run->arrived += payload_len;
    run->entries += type == DZ_WIRE_ENTRY;
    if (run->entries > run->limits.entries) {
        run->refused.number = DZ_WIRE_ENTRIES;
        run->refused.limit = run->limits.entries;
        return DZ_TAKE_REFUSE(run, DZ_WIRE_LIMIT, "a run of more than %llu entries",
                              (unsigned long long) run->limits.entries);
    }
    if (run->arrived > run->limits.bytes) {
        run->refused.number = DZ_WIRE_BYTES;
        run->refused.limit = run->limits.bytes;
        return DZ_TAKE_REFUSE(run, DZ_WIRE_LIMIT, "a run of more than %llu bytes",
                              (unsigned long long) run->limits.bytes);
    }
    if (type == DZ_WIRE_ENTRY)
        DZ_TRY(take_of_day(run, DZ_WIRE_ENTRIES, 1, err));
    return take_of_day(run, DZ_WIRE_BYTES, payload_len, err);
}

dz_status dz_take_run_message(struct dz_take_run *run, const struct dz_wire_message *m,
                              size_t payload_len, dz_buf *out, dz_err *err) {
    dz_status s = DZ_OK;

    DZ_TRY(count(run, m->type, payload_len, err));
    if (m->type == DZ_WIRE_HAVE) {
        s = take_have(run, m->have.ids, m->have.n, out, err);
    } else if (m->type == DZ_WIRE_CHUNK) {
        s = take_chunk(run, &m->chunk, err);
    } else if (m->type == DZ_WIRE_REFS) {
        s = take_refs(run, m->refs.rows, err);
    } else if (m->type == DZ_WIRE_ENTRY) {
        s = dz_take_run_entry(run, &m->entry, err);
        no_content(run);
    } else {
        dz_gather_problem(&run->gather, m->problem.path, m->problem.what,
                          (int) m->problem.sys_errno);
    }
    return s;
}

static dz_status check_counts(struct dz_take_run *run, const struct dz_wire_commit *m,
                              dz_err *err) {
    bool entries = m->entries != run->entries;

    if (run->begun)
        return DZ_TAKE_REFUSE(run, DZ_WIRE_BAD_FRAME, "content without an entry");
    if (!entries && m->bytes == run->commit.bytes)
        return DZ_OK;
    run->refused.number = entries ? run->entries : run->commit.bytes;
    run->refused.limit = entries ? m->entries : m->bytes;
    return DZ_TAKE_REFUSE(run, DZ_WIRE_MISMATCH, "%llu %s came, and %llu should have",
                          (unsigned long long) run->refused.number, entries ? "entries" : "bytes",
                          (unsigned long long) run->refused.limit);
}

dz_status dz_take_run_commit(struct dz_take_run *run, const struct dz_wire_commit *m,
                             struct dz_wire_done *ret_done, dz_err *err) {
    DZ_TRY(check_counts(run, m, err));
    if (!dz_buf_ok(&run->commit.problems))
        return DZ_FAIL(err, DZ_E_NOMEM, "run: out of memory");
    DZ_TRY(dz_gather_commit(&run->gather, run->session, err));
    done_of(&run->commit, ret_done);
    dz_last_runs_note(run->v, dz_session_tmp(run->session), run->commit.source, ret_done);
    DZ_IGNORE(dz_sent_keep(run->sent, true, NULL)); /* the next run sends more: nothing is lost */
    return DZ_OK;
}

dz_status dz_take_run_keep(struct dz_take_run *run, dz_err *err) {
    DZ_TRY(dz_session_keep(run->session, err));
    return dz_sent_keep(run->sent, false, err);
}
