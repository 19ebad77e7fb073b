#include "intake/push_window.h"

#include "store/id_set.h"

enum {
    BATCHES = 4,           /* asked about and not answered */
    BATCH_BYTES = 4 << 20, /* of chunks and frames */
    OUT_BYTES = 1 << 20,   /* sent at a time, or a little more */
    RECENT_MAX = 64 << 10, /* identities that were sent lately */
};

/* A chunk (frames: its identity is not looked at), or frames. */
struct piece {
    dz_id id;
    uint32_t length;
    bool frames;
    bool absent; /* a chunk without its bytes */
};

struct batch {
    dz_buf pieces; /* struct piece, in order */
    dz_buf bytes;  /* of those that have some, one after the other */
    dz_buf ids;    /* of the chunks */
};

struct dz_push_window {
    struct dz_push_talk *talk;
    struct batch ring[BATCHES];
    unsigned first, asked; /* batches that wait for an answer; the one behind them is filled */
    dz_buf rows;           /* of REFS */
    size_t n_rows;
    struct dz_id_set *recent; /* sent in this run: a reference will do */
    uint64_t sent;
};

static struct batch *filling(struct dz_push_window *w) {
    return &w->ring[(w->first + w->asked) % BATCHES];
}

dz_status dz_push_window_new(struct dz_push_talk *talk, struct dz_push_window **ret_window,
                             dz_err *err) {
    DZ_AUTO(dz_push_window) w = calloc(1, sizeof *w);

    if (!w)
        return DZ_FAIL(err, DZ_E_NOMEM, "window: out of memory");
    w->talk = talk;
    DZ_TRY(dz_id_set_new(&w->recent, err));
    *ret_window = DZ_TAKE(w);
    return DZ_OK;
}

void dz_push_window_free(struct dz_push_window *w) {
    if (!w)
        return;
    for (unsigned i = 0; i < BATCHES; i++) {
        dz_buf_release(&w->ring[i].pieces);
        dz_buf_release(&w->ring[i].bytes);
        dz_buf_release(&w->ring[i].ids);
    }
    dz_buf_release(&w->rows);
    dz_id_set_free(w->recent);
    free(w);
}

/* --- sending what was answered ---------------------------------------------------------------- */

static void flush_rows(struct dz_push_window *w) {
    if (w->n_rows > 0)
        dz_wire_put_refs(&w->talk->out, dz_buf_slice(&w->rows));
    if (!dz_buf_ok(&w->rows))
        w->talk->out.bad = true;
    dz_buf_clear(&w->rows);
    w->n_rows = 0;
}

static dz_status send_chunk(struct dz_push_window *w, const struct piece *p, dz_slice bytes,
                            dz_err *err) {
    bool added;

    if (p->absent)
        return DZ_FAIL(err, DZ_E_BUSY, "the vault lacks a chunk that it had: all is read again");
    flush_rows(w);
    dz_wire_put_chunk(&w->talk->out, &(struct dz_wire_chunk){ p->id, bytes });
    w->sent += p->length;
    if (dz_id_set_count(w->recent) >= RECENT_MAX) {
        dz_id_set_free(DZ_TAKE(w->recent));
        DZ_TRY(dz_id_set_new(&w->recent, err));
    }
    return dz_id_set_add(w->recent, &p->id, &added, err);
}

static dz_status send_batch(struct dz_push_window *w, const struct batch *b, dz_slice held,
                            dz_err *err) {
    dz_reader pieces = dz_reader_over(dz_buf_slice(&b->pieces));
    dz_reader bytes = dz_reader_over(dz_buf_slice(&b->bytes));
    size_t chunk = 0;

    while (dz_reader_left(&pieces) > 0) {
        struct piece p;

        memcpy(&p, dz_read_bytes(&pieces, sizeof p).data, sizeof p);
        if (p.frames) {
            flush_rows(w);
            dz_buf_put_slice(&w->talk->out, dz_read_bytes(&bytes, p.length));
        } else {
            dz_slice of = dz_read_bytes(&bytes, p.absent ? 0 : p.length);

            if (dz_wire_held(held, chunk++) || dz_id_set_has(w->recent, &p.id)) {
                dz_wire_put_ref(&w->rows, p.length, &p.id);
                if (++w->n_rows == DZ_WIRE_REFS_MAX)
                    flush_rows(w);
            } else {
                DZ_TRY(send_chunk(w, &p, of, err));
            }
        }
        if (w->talk->out.len >= OUT_BYTES)
            DZ_TRY(dz_push_flush(w->talk, err));
    }
    flush_rows(w);
    return DZ_OK;
}

/* The oldest batch: waits for its answer, and sends it. */
static dz_status settle(struct dz_push_window *w, dz_err *err) {
    struct batch *b = &w->ring[w->first];
    size_t n = b->ids.len / sizeof(dz_id);
    struct dz_wire_message m = { 0 };

    if (n > 0)
        DZ_TRY(dz_push_hear(w->talk, DZ_WIRE_HELD, DZ_WIRE_HELD, &m, err));
    if (n > 0 && m.held.n != n)
        return DZ_FAIL(err, DZ_E_MALFORMED, "the vault answers for %zu chunks and not for %zu",
                       m.held.n, n);
    DZ_TRY(send_batch(w, b, m.held.bits, err));
    dz_buf_clear(&b->pieces);
    dz_buf_clear(&b->bytes);
    dz_buf_clear(&b->ids);
    w->first = (w->first + 1) % BATCHES;
    w->asked--;
    return DZ_OK;
}

/* Asks about the batch that was filled, and makes room for another. */
static dz_status ask(struct dz_push_window *w, dz_err *err) {
    const struct batch *b = filling(w);

    if (!dz_buf_ok(&b->pieces) || !dz_buf_ok(&b->bytes) || !dz_buf_ok(&b->ids))
        return DZ_FAIL(err, DZ_E_NOMEM, "window: out of memory");
    if (b->ids.len > 0) {
        const void *ids = b->ids.data;
        dz_wire_put_have(&w->talk->out, ids, b->ids.len / sizeof(dz_id));
        DZ_TRY(dz_push_flush(w->talk, err));
    }
    w->asked++;
    return w->asked == BATCHES ? settle(w, err) : DZ_OK;
}

/* --- taking ----------------------------------------------------------------------------------- */

static dz_status add(struct dz_push_window *w, const struct piece *p, dz_slice bytes, dz_err *err) {
    struct batch *b = filling(w);

    dz_buf_put(&b->pieces, p, sizeof *p);
    dz_buf_put_slice(&b->bytes, bytes);
    if (!p->frames)
        dz_buf_put(&b->ids, p->id.b, sizeof p->id);
    return b->bytes.len >= BATCH_BYTES || b->pieces.len >= BATCH_BYTES ||
                   b->ids.len == DZ_WIRE_HAVE_MAX * sizeof(dz_id)
               ? ask(w, err)
               : DZ_OK;
}

dz_status dz_push_window_chunk(struct dz_push_window *w, dz_slice bytes, dz_id *ret_id,
                               dz_err *err) {
    struct piece p = { .length = (uint32_t) bytes.len };

    dz_sha256(bytes, p.id.b);
    *ret_id = p.id;
    return add(w, &p, bytes, err);
}

dz_status dz_push_window_known(struct dz_push_window *w, const dz_id *id, uint32_t length,
                               dz_err *err) {
    struct piece p = { .id = *id, .length = length, .absent = true };

    return add(w, &p, (dz_slice){ 0 }, err);
}

dz_status dz_push_window_frames(struct dz_push_window *w, dz_slice frames, dz_err *err) {
    struct piece p = { .length = (uint32_t) frames.len, .frames = true };

    return add(w, &p, frames, err);
}

dz_status dz_push_window_finish(struct dz_push_window *w, dz_err *err) {
    DZ_TRY(ask(w, err));
    while (w->asked > 0)
        DZ_TRY(settle(w, err));
    return dz_push_flush(w->talk, err);
}

uint64_t dz_push_window_sent(const struct dz_push_window *w) {
    return w->sent;
}
