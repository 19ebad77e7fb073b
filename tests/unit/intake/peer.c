#include "tests/unit/intake/peer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/snapshot.h"

void peer_open(struct peer *p, struct dz_vault *v, const struct dz_take_how *how) {
    struct dz_take_how plain = { .source = "emr", .limits = DZ_TAKE_LIMITS_DEFAULT };

    *p = (struct peer){ .v = v };
    if (how)
        plain = *how;
    plain.vault = v;
    assert_int_equal(dz_take_new(&plain, &p->take, NULL), DZ_OK);
}

void peer_close(struct peer *p) {
    dz_take_free(p->take);
    dz_buf_release(&p->say);
    dz_buf_release(&p->heard);
    dz_buf_release(&p->path);
    dz_buf_release(&p->rows);
    *p = (struct peer){ 0 };
}

dz_id peer_id(dz_slice bytes) {
    dz_id id;

    dz_sha256(bytes, id.b);
    return id;
}

void peer_begin(struct peer *p, const char *source, uint8_t run) {
    struct dz_wire_begin m = { .source = { (const uint8_t *) source, strlen(source) },
                               .run = { run },
                               .host = DZ_SLICE_LIT("ward 7") };

    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    peer_send(p, 4096);
    memcpy(p->nonce, peer_must_hear(p, DZ_WIRE_WELCOME).welcome.nonce, sizeof p->nonce);
    dz_wire_put_begin(&p->say, &m);
    peer_send(p, 4096);
}

void peer_chunk(struct peer *p, dz_slice bytes) {
    dz_wire_put_chunk(&p->say, &(struct dz_wire_chunk){ peer_id(bytes), bytes });
}

void peer_ref(struct peer *p, dz_slice bytes) {
    dz_id id = peer_id(bytes);

    dz_buf_clear(&p->rows);
    dz_wire_put_ref(&p->rows, (uint32_t) bytes.len, &id);
    dz_wire_put_refs(&p->say, dz_buf_slice(&p->rows));
}

void peer_have(struct peer *p, dz_slice bytes) {
    dz_id id = peer_id(bytes);

    dz_wire_put_have(&p->say, &id, 1);
}

void peer_entry(struct peer *p, enum dz_entry_type type, const char *path, uint64_t size,
                uint32_t flags, const dz_buf *fields) {
    dz_entry e = { .path = { (const uint8_t *) path, strlen(path) },
                   .type = (uint8_t) type,
                   .mode = 0644,
                   .size = size,
                   .flags = flags,
                   .fields = fields ? dz_buf_slice(fields) : (dz_slice){ 0 } };

    dz_wire_put_entry(&p->say, &e);
}

void peer_file(struct peer *p, const char *path, dz_slice bytes) {
    if (bytes.len)
        peer_chunk(p, bytes);
    peer_entry(p, DZ_ENTRY_FILE, path, bytes.len, 0, NULL);
}

void peer_commit(struct peer *p, uint64_t entries, uint64_t bytes) {
    dz_wire_put_commit(&p->say, &(struct dz_wire_commit){ entries, bytes });
}

void peer_send(struct peer *p, size_t piece) {
    assert_true(dz_buf_ok(&p->say));
    for (size_t at = 0; at < p->say.len; at += piece) {
        size_t n = p->say.len - at < piece ? p->say.len - at : piece;
        dz_take_feed(p->take, (dz_slice){ p->say.data + at, n });
    }
    dz_buf_clear(&p->say);
    dz_buf_put_slice(&p->heard, dz_take_out(p->take));
    dz_take_sent(p->take, dz_take_out(p->take).len);
    assert_true(dz_buf_ok(&p->heard));
}

bool peer_hear(struct peer *p, struct dz_wire_message *ret_message) {
    dz_slice left = { p->heard.data + p->at, p->heard.len - p->at }, payload;
    uint8_t type;
    size_t used;

    if (left.len == 0)
        return false;
    assert_int_equal(dz_wire_frame(left, &type, &payload, &used, NULL), DZ_OK);
    assert_true(used > 0);
    assert_int_equal(dz_wire_read(type, payload, &p->path, ret_message, NULL), DZ_OK);
    p->at += used;
    return true;
}

struct dz_wire_message peer_must_hear(struct peer *p, enum dz_wire_type type) {
    struct dz_wire_message m = { 0 };

    if (!peer_hear(p, &m) || m.type != (uint8_t) type)
        fail_msg("a message of type %d (code %d) and not %d", m.type,
                 m.type == DZ_WIRE_REFUSED ? m.refused.code : 0, (int) type);
    return m;
}

void peer_must_be_refused(struct peer *p, uint16_t code, const char *name) {
    struct dz_wire_message m = { 0 };

    peer_send(p, 4096);
    while (peer_hear(p, &m) && m.type != DZ_WIRE_REFUSED)
        ;
    if (m.type != DZ_WIRE_REFUSED || m.refused.code != code)
        fail_msg("%s: type %d, code %d: %s", name, m.type,
                 m.type == DZ_WIRE_REFUSED ? m.refused.code : 0, dz_take_state(p->take)->why.what);
    assert_int_equal(dz_take_state(p->take)->is, DZ_TAKE_REFUSED);
    /* and that is the end of it, whatever comes */
    peer_commit(p, 0, 0);
    peer_send(p, 4096);
    if (peer_hear(p, &m))
        fail_msg("%s: a message of type %d after the end", name, m.type);
}

static dz_status count(void *ctx, const struct dz_snapshot *snap, dz_status status,
                       const dz_err *why, dz_err *err) {
    size_t *n = ctx;

    (void) snap;
    (void) why;
    (void) err;
    assert_int_equal(status, DZ_OK);
    ++*n;
    return DZ_OK;
}

size_t peer_snapshots(struct dz_vault *v) {
    size_t n = 0;

    assert_int_equal(dz_tlog_refresh(v->log, NULL), DZ_OK);
    assert_int_equal(dz_snapshots_each(v, count, &n, NULL), DZ_OK);
    return n;
}
