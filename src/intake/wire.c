#include "intake/wire.h"

enum {
    NUMBER_MAX = 10, /* bytes of a varint */
    LISTS_FIELDS_MAX = 4096,
    PROBLEM_MAX = 1 + 5 + 3 + DZ_PATH_MAX,
};

/* Bytes of a payload, by type: limits stand here and nowhere else. */
static const uint32_t limits[] = {
    [DZ_WIRE_HELLO] = 64,
    [DZ_WIRE_WELCOME] = 64,
    [DZ_WIRE_BEGIN] = 2 * DZ_WIRE_LISTS_MAX + 1024,
    [DZ_WIRE_READY] = 64,
    [DZ_WIRE_HAVE] = DZ_WIRE_HAVE_MAX * DZ_SHA256_BYTES,
    [DZ_WIRE_HELD] = 2 + DZ_WIRE_HAVE_MAX / 8,
    [DZ_WIRE_CHUNK] = DZ_SHA256_BYTES + DZ_OBJECT_MAX,
    [DZ_WIRE_WAIT] = 1,
    [DZ_WIRE_REFS] = DZ_WIRE_REFS_MAX * (3 + DZ_SHA256_BYTES),
    [DZ_WIRE_DONE] = 128,
    [DZ_WIRE_ENTRY] = DZ_ENTRY_MAX,
    [DZ_WIRE_CERT] = 2 * DZ_WIRE_CERT_MAX + 1024,
    [DZ_WIRE_PROBLEM] = PROBLEM_MAX,
    [DZ_WIRE_REFUSED] = 64,
    [DZ_WIRE_COMMIT] = 2 * NUMBER_MAX,
    [DZ_WIRE_ENROL] = DZ_WIRE_TOKEN + DZ_WIRE_KEY + DZ_WIRE_PROOF,
};

size_t dz_wire_limit(uint8_t type) {
    return type < sizeof limits / sizeof *limits ? limits[type] : 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_header(dz_buf *to, enum dz_wire_type type, size_t len) {
    dz_buf_put_u8(to, (uint8_t) type);
    dz_buf_put_u8(to, 0);
    dz_buf_put_le32(to, (uint32_t) len);
}

/* Where a payload of unknown length begins. */
static size_t open_frame(dz_buf *to, enum dz_wire_type type) {
    put_header(to, type, 0);
    return to->len;
}

static void close_frame(dz_buf *to, size_t start) {
    if (dz_buf_ok(to))
        dz_store_le(to->data + start - 4, 4, to->len - start);
}

void dz_wire_put_hello(dz_buf *to, const struct dz_wire_hello *m) {
    put_header(to, DZ_WIRE_HELLO, 8);
    dz_buf_put(to, "DOZO", 4);
    dz_buf_put_le16(to, m->lowest);
    dz_buf_put_le16(to, m->highest);
}

void dz_wire_put_welcome(dz_buf *to, const struct dz_wire_welcome *m) {
    put_header(to, DZ_WIRE_WELCOME, 2 + DZ_WIRE_NONCE);
    dz_buf_put_le16(to, m->version);
    dz_buf_put(to, m->nonce, sizeof m->nonce);
}

static void put_begin_payload(dz_buf *to, const struct dz_wire_begin *m, dz_slice proof) {
    dz_buf_put_field(to, m->source);
    dz_buf_put(to, m->run, sizeof m->run);
    dz_buf_put_field(to, m->host);
    dz_buf_put_field(to, m->paths);
    dz_buf_put_field(to, m->excludes);
    dz_buf_put_field(to, proof);
}

void dz_wire_put_begin(dz_buf *to, const struct dz_wire_begin *m) {
    size_t start = open_frame(to, DZ_WIRE_BEGIN);

    put_begin_payload(to, m, m->proof);
    close_frame(to, start);
}

void dz_wire_put_ready(dz_buf *to, const struct dz_wire_ready *m) {
    put_header(to, DZ_WIRE_READY, 12 + sizeof m->chunk_key);
    dz_buf_put_le32(to, m->chunk_min);
    dz_buf_put_le32(to, m->chunk_avg);
    dz_buf_put_le32(to, m->chunk_max);
    dz_buf_put(to, m->chunk_key, sizeof m->chunk_key);
}

void dz_wire_put_have(dz_buf *to, const dz_id *ids, size_t n) {
    put_header(to, DZ_WIRE_HAVE, n * DZ_SHA256_BYTES);
    dz_buf_put(to, ids, n * DZ_SHA256_BYTES);
}

void dz_wire_put_held(dz_buf *to, const bool *held, size_t n) {
    size_t start = open_frame(to, DZ_WIRE_HELD);

    dz_buf_put_le16(to, (uint16_t) n);
    for (size_t i = 0; i < n; i += 8) {
        uint8_t bits = 0;
        for (size_t j = 0; j < 8 && i + j < n; j++)
            bits |= (uint8_t) (held[i + j] << j);
        dz_buf_put_u8(to, bits);
    }
    close_frame(to, start);
}

void dz_wire_put_chunk(dz_buf *to, const struct dz_wire_chunk *m) {
    put_header(to, DZ_WIRE_CHUNK, sizeof m->id + m->bytes.len);
    dz_buf_put(to, m->id.b, sizeof m->id);
    dz_buf_put_slice(to, m->bytes);
}

void dz_wire_put_ref(dz_buf *rows, uint32_t length, const dz_id *id) {
    dz_buf_put_varint(rows, length);
    dz_buf_put(rows, id->b, sizeof id->b);
}

void dz_wire_put_refs(dz_buf *to, dz_slice rows) {
    put_header(to, DZ_WIRE_REFS, rows.len);
    dz_buf_put_slice(to, rows);
}

void dz_wire_put_entry(dz_buf *to, const dz_entry *e) {
    size_t start = open_frame(to, DZ_WIRE_ENTRY);

    dz_entry_encode(e, (dz_slice){ 0 }, to);
    close_frame(to, start);
}

void dz_wire_put_problem(dz_buf *to, const dz_problem *m) {
    size_t start = open_frame(to, DZ_WIRE_PROBLEM);

    dz_buf_put_u8(to, m->what);
    dz_buf_put_varint(to, m->sys_errno);
    dz_buf_put_field(to, m->path);
    close_frame(to, start);
}

void dz_wire_put_commit(dz_buf *to, const struct dz_wire_commit *m) {
    size_t start = open_frame(to, DZ_WIRE_COMMIT);

    dz_buf_put_varint(to, m->entries);
    dz_buf_put_varint(to, m->bytes);
    close_frame(to, start);
}

void dz_wire_put_done(dz_buf *to, const struct dz_wire_done *m) {
    size_t start = open_frame(to, DZ_WIRE_DONE);

    dz_buf_put(to, m->snapshot, sizeof m->snapshot);
    dz_buf_put_svarint(to, m->arrived_us);
    dz_buf_put_varint(to, m->entries);
    dz_buf_put_varint(to, m->bytes);
    dz_buf_put_varint(to, m->sent);
    close_frame(to, start);
}

void dz_wire_put_enrol(dz_buf *to, const struct dz_wire_enrol *m) {
    put_header(to, DZ_WIRE_ENROL, sizeof m->token + sizeof m->key + sizeof m->proof);
    dz_buf_put(to, m->token, sizeof m->token);
    dz_buf_put(to, m->key, sizeof m->key);
    dz_buf_put(to, m->proof, sizeof m->proof);
}

void dz_wire_put_cert(dz_buf *to, const struct dz_wire_cert *m) {
    size_t start = open_frame(to, DZ_WIRE_CERT);

    dz_buf_put_field(to, m->source);
    dz_buf_put_field(to, m->cert);
    dz_buf_put_field(to, m->ca);
    close_frame(to, start);
}

void dz_wire_put_refused(dz_buf *to, const struct dz_wire_refused *m) {
    size_t start = open_frame(to, DZ_WIRE_REFUSED);

    dz_buf_put_le16(to, m->code);
    dz_buf_put_varint(to, m->after_s);
    dz_buf_put_varint(to, m->number);
    dz_buf_put_varint(to, m->limit);
    close_frame(to, start);
}

void dz_wire_put_wait(dz_buf *to) {
    put_header(to, DZ_WIRE_WAIT, 0);
}

void dz_wire_put(dz_buf *to, const struct dz_wire_message *m) {
    switch ((enum dz_wire_type) m->type) {
    case DZ_WIRE_HELLO:
        dz_wire_put_hello(to, &m->hello);
        break;
    case DZ_WIRE_WELCOME:
        dz_wire_put_welcome(to, &m->welcome);
        break;
    case DZ_WIRE_BEGIN:
        dz_wire_put_begin(to, &m->begin);
        break;
    case DZ_WIRE_READY:
        dz_wire_put_ready(to, &m->ready);
        break;
    case DZ_WIRE_HAVE:
        put_header(to, DZ_WIRE_HAVE, m->have.ids.len);
        dz_buf_put_slice(to, m->have.ids);
        break;
    case DZ_WIRE_HELD:
        put_header(to, DZ_WIRE_HELD, 2 + m->held.bits.len);
        dz_buf_put_le16(to, (uint16_t) m->held.n);
        dz_buf_put_slice(to, m->held.bits);
        break;
    case DZ_WIRE_CHUNK:
        dz_wire_put_chunk(to, &m->chunk);
        break;
    case DZ_WIRE_WAIT:
        dz_wire_put_wait(to);
        break;
    case DZ_WIRE_REFS:
        dz_wire_put_refs(to, m->refs.rows);
        break;
    case DZ_WIRE_DONE:
        dz_wire_put_done(to, &m->done);
        break;
    case DZ_WIRE_ENTRY:
        dz_wire_put_entry(to, &m->entry);
        break;
    case DZ_WIRE_CERT:
        dz_wire_put_cert(to, &m->cert);
        break;
    case DZ_WIRE_PROBLEM:
        dz_wire_put_problem(to, &m->problem);
        break;
    case DZ_WIRE_REFUSED:
        dz_wire_put_refused(to, &m->refused);
        break;
    case DZ_WIRE_COMMIT:
        dz_wire_put_commit(to, &m->commit);
        break;
    case DZ_WIRE_ENROL:
        dz_wire_put_enrol(to, &m->enrol);
        break;
    default:
        to->bad = true; /* no such message: a bug of the caller */
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool fields_ok(dz_slice list) {
    dz_reader r = dz_reader_over(list);

    for (size_t n = 0; dz_reader_left(&r) > 0; n++) {
        dz_slice field = dz_read_field(&r);
        if (!dz_reader_ok(&r) || n == LISTS_FIELDS_MAX ||
            (field.len && memchr(field.data, 0, field.len)))
            return false;
    }
    return list.len <= DZ_WIRE_LISTS_MAX;
}

static bool name_ok(dz_slice name) {
    char text[DZ_SOURCE_NAME_MAX + 1];

    if (name.len == 0 || name.len > DZ_SOURCE_NAME_MAX || memchr(name.data, 0, name.len))
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    return dz_source_name_ok(text);
}

static void read_begin(dz_reader *r, struct dz_wire_begin *m) {
    dz_slice run;

    m->source = dz_read_field(r);
    run = dz_read_bytes(r, sizeof m->run);
    m->host = dz_read_field(r);
    m->paths = dz_read_field(r);
    m->excludes = dz_read_field(r);
    m->proof = dz_read_field(r);
    if (!dz_reader_ok(r))
        return;
    memcpy(m->run, run.data, sizeof m->run);
    if (!name_ok(m->source) || m->host.len > DZ_WIRE_HOST_MAX ||
        (m->host.len && memchr(m->host.data, 0, m->host.len)) || !fields_ok(m->paths) ||
        !fields_ok(m->excludes) || (m->proof.len != 0 && m->proof.len != DZ_WIRE_PROOF))
        r->bad = true;
}

static void read_held(dz_reader *r, struct dz_wire_message *m) {
    size_t n = dz_read_le16(r), spare = 8 * ((n + 7) / 8) - n;

    m->held.n = n;
    m->held.bits = dz_read_bytes(r, (n + 7) / 8);
    if (!dz_reader_ok(r) || n == 0 || n > DZ_WIRE_HAVE_MAX ||
        (spare && m->held.bits.data[m->held.bits.len - 1] >> (8 - spare)))
        r->bad = true; /* spare bits are zero */
}

bool dz_wire_next_ref(dz_reader *r, uint32_t *ret_length, dz_id *ret_id) {
    uint64_t length;
    dz_slice id;

    if (dz_reader_left(r) == 0)
        return false;
    length = dz_read_varint(r);
    id = dz_read_bytes(r, DZ_SHA256_BYTES);
    if (!dz_reader_ok(r) || length == 0 || length > DZ_OBJECT_MAX) {
        r->bad = true;
        return false;
    }
    *ret_length = (uint32_t) length;
    memcpy(ret_id->b, id.data, sizeof ret_id->b);
    return true;
}

static void read_refs(dz_reader *r, struct dz_wire_message *m) {
    dz_reader rows = *r;
    uint32_t length;
    size_t n = 0;
    dz_id id;

    while (n <= DZ_WIRE_REFS_MAX && dz_wire_next_ref(&rows, &length, &id))
        n++;
    m->refs.n = n;
    m->refs.rows = dz_read_bytes(r, dz_reader_left(r));
    if (!dz_reader_ok(&rows) || n == 0 || n > DZ_WIRE_REFS_MAX)
        r->bad = true;
}

static void read_problem(dz_reader *r, dz_problem *m) {
    uint64_t e;

    m->what = dz_read_u8(r);
    e = dz_read_varint(r);
    m->path = dz_read_field(r);
    m->sys_errno = (uint32_t) e;
    if (m->what < DZ_PROBLEM_UNREADABLE || m->what > DZ_PROBLEM_PARTIAL || e > INT32_MAX ||
        !dz_path_ok(m->path))
        r->bad = true;
}

static void read_cert(dz_reader *r, struct dz_wire_cert *m) {
    m->source = dz_read_field(r);
    m->cert = dz_read_field(r);
    m->ca = dz_read_field(r);
    if (!name_ok(m->source) || m->cert.len > DZ_WIRE_CERT_MAX || m->ca.len > DZ_WIRE_CERT_MAX ||
        m->cert.len == 0 || m->ca.len == 0)
        r->bad = true;
}

static void read_bytes(dz_reader *r, void *to, size_t len) {
    dz_slice from = dz_read_bytes(r, len);
    if (from.len == len)
        memcpy(to, from.data, len);
}

static void read_payload(dz_reader *r, struct dz_wire_message *m) {
    uint64_t n;

    switch ((enum dz_wire_type) m->type) {
    case DZ_WIRE_HELLO:
        if (!dz_slice_eq(dz_read_bytes(r, 4), DZ_SLICE_LIT("DOZO")))
            r->bad = true;
        m->hello.lowest = dz_read_le16(r);
        m->hello.highest = dz_read_le16(r);
        if (m->hello.lowest > m->hello.highest)
            r->bad = true;
        break;
    case DZ_WIRE_WELCOME:
        m->welcome.version = dz_read_le16(r);
        read_bytes(r, m->welcome.nonce, sizeof m->welcome.nonce);
        break;
    case DZ_WIRE_BEGIN:
        read_begin(r, &m->begin);
        break;
    case DZ_WIRE_READY:
        m->ready.chunk_min = dz_read_le32(r);
        m->ready.chunk_avg = dz_read_le32(r);
        m->ready.chunk_max = dz_read_le32(r);
        read_bytes(r, m->ready.chunk_key, sizeof m->ready.chunk_key);
        break;
    case DZ_WIRE_HAVE:
        m->have.n = dz_reader_left(r) / DZ_SHA256_BYTES;
        m->have.ids = dz_read_bytes(r, m->have.n * DZ_SHA256_BYTES);
        if (m->have.n == 0)
            r->bad = true;
        break;
    case DZ_WIRE_HELD:
        read_held(r, m);
        break;
    case DZ_WIRE_CHUNK:
        read_bytes(r, m->chunk.id.b, sizeof m->chunk.id);
        m->chunk.bytes = dz_read_bytes(r, dz_reader_left(r));
        if (m->chunk.bytes.len == 0)
            r->bad = true;
        break;
    case DZ_WIRE_WAIT:
        break;
    case DZ_WIRE_REFS:
        read_refs(r, m);
        break;
    case DZ_WIRE_PROBLEM:
        read_problem(r, &m->problem);
        break;
    case DZ_WIRE_DONE:
        read_bytes(r, m->done.snapshot, sizeof m->done.snapshot);
        m->done.arrived_us = dz_read_svarint(r);
        m->done.entries = dz_read_varint(r);
        m->done.bytes = dz_read_varint(r);
        m->done.sent = dz_read_varint(r);
        break;
    case DZ_WIRE_CERT:
        read_cert(r, &m->cert);
        break;
    case DZ_WIRE_REFUSED:
        m->refused.code = dz_read_le16(r);
        n = dz_read_varint(r);
        m->refused.after_s = (uint32_t) n;
        m->refused.number = dz_read_varint(r);
        m->refused.limit = dz_read_varint(r);
        if (n > UINT32_MAX)
            r->bad = true;
        break;
    case DZ_WIRE_COMMIT:
        m->commit.entries = dz_read_varint(r);
        m->commit.bytes = dz_read_varint(r);
        break;
    case DZ_WIRE_ENROL:
        read_bytes(r, m->enrol.token, sizeof m->enrol.token);
        read_bytes(r, m->enrol.key, sizeof m->enrol.key);
        read_bytes(r, m->enrol.proof, sizeof m->enrol.proof);
        break;
    case DZ_WIRE_ENTRY: /* dz_wire_read() does it */
    default:
        r->bad = true;
    }
}

/* Content is what came before in CHUNK and REFS; fields that no version of ours knows could mean
 * something to a later reader that nobody has checked. */
static bool fields_allowed(const dz_entry *e) {
    dz_reader r = dz_reader_over(e->fields);

    while (dz_reader_left(&r) > 0) {
        uint64_t tag = dz_read_varint(&r);
        (void) dz_read_field(&r);
        if (tag == DZ_TAG_CONTENT || tag > DZ_TAG_STREAMS)
            return false;
    }
    return true;
}

static dz_status read_entry(dz_reader *r, dz_buf *path, dz_entry *m, dz_err *err) {
    dz_status s;

    dz_buf_clear(path);
    s = dz_entry_decode(r, true, path, m, err);
    if (s == DZ_E_CORRUPT && err)
        err->status = DZ_E_MALFORMED;
    DZ_TRY(s == DZ_E_CORRUPT ? DZ_E_MALFORMED : s);
    if (!fields_allowed(m))
        return DZ_FAIL(err, DZ_E_MALFORMED, "an entry with a field that a source may not set");
    return DZ_OK;
}

dz_status dz_wire_read(uint8_t type, dz_slice payload, dz_buf *path,
                       struct dz_wire_message *ret_message, dz_err *err) {
    struct dz_wire_message m = { .type = type };
    dz_reader r = dz_reader_over(payload);

    if (dz_wire_limit(type) == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of type %d, which there is not", type);
    if (payload.len > dz_wire_limit(type))
        return DZ_FAIL(err, DZ_E_LIMIT, "a message of type %d of %zu bytes, limit is %zu", type,
                       payload.len, dz_wire_limit(type));
    if (type == DZ_WIRE_ENTRY)
        DZ_TRY(read_entry(&r, path, &m.entry, err));
    else
        read_payload(&r, &m);
    if (!dz_reader_done(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of type %d that is not written so", type);
    *ret_message = m;
    return DZ_OK;
}

/* --- order, proofs, frames -------------------------------------------------------------------- */

bool dz_wire_step(enum dz_wire_state *state, uint8_t type) {
    switch (*state) {
    case DZ_WIRE_NEW:
        if (type != DZ_WIRE_HELLO)
            return false;
        *state = DZ_WIRE_GREETED;
        return true;
    case DZ_WIRE_GREETED:
        if (type != DZ_WIRE_BEGIN && type != DZ_WIRE_ENROL)
            return false;
        *state = type == DZ_WIRE_BEGIN ? DZ_WIRE_RUNNING : DZ_WIRE_FINISHED;
        return true;
    case DZ_WIRE_RUNNING:
        if (type == DZ_WIRE_COMMIT)
            *state = DZ_WIRE_FINISHED;
        return type == DZ_WIRE_HAVE || type == DZ_WIRE_CHUNK || type == DZ_WIRE_REFS ||
               type == DZ_WIRE_ENTRY || type == DZ_WIRE_PROBLEM || type == DZ_WIRE_COMMIT;
    case DZ_WIRE_FINISHED:
    default:
        return false;
    }
}

dz_status dz_wire_begin_digest(const uint8_t nonce[DZ_WIRE_NONCE], const struct dz_wire_begin *m,
                               uint8_t ret[DZ_SHA256_BYTES], dz_err *err) {
    static const char label[] = "dozo wire v1 begin";
    dz_autobuf dz_buf payload = { 0 };

    put_begin_payload(&payload, m, (dz_slice){ 0 });
    if (!dz_buf_ok(&payload))
        return DZ_FAIL(err, DZ_E_NOMEM, "proof: out of memory");
    dz_sha256v((const dz_slice[]){ { (const uint8_t *) label, sizeof label },
                                   { nonce, DZ_WIRE_NONCE },
                                   dz_buf_slice(&payload) },
               3, ret);
    return DZ_OK;
}

void dz_wire_enrol_digest(const uint8_t nonce[DZ_WIRE_NONCE], const struct dz_wire_enrol *m,
                          uint8_t ret[DZ_SHA256_BYTES]) {
    static const char label[] = "dozo wire v1 enrol";
    const dz_slice parts[] = { { (const uint8_t *) label, sizeof label },
                               { nonce, DZ_WIRE_NONCE },
                               { m->token, sizeof m->token },
                               { m->key, sizeof m->key } };

    dz_sha256v(parts, sizeof parts / sizeof *parts, ret);
}

dz_status dz_wire_frame(dz_slice bytes, uint8_t *ret_type, dz_slice *ret_payload, size_t *ret_used,
                        dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    uint8_t type, flags;
    uint32_t len;

    *ret_used = 0;
    if (bytes.len < DZ_WIRE_HEADER)
        return DZ_OK;
    type = dz_read_u8(&r);
    flags = dz_read_u8(&r);
    len = dz_read_le32(&r);
    if (dz_wire_limit(type) == 0 || flags != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "a frame of type %d with flags %d, which there is not",
                       type, flags);
    if (len > dz_wire_limit(type))
        return DZ_FAIL(err, DZ_E_LIMIT, "a frame of type %d of %u bytes, limit is %zu", type, len,
                       dz_wire_limit(type));
    if (dz_reader_left(&r) < len)
        return DZ_OK;
    *ret_type = type;
    *ret_payload = dz_read_bytes(&r, len);
    *ret_used = DZ_WIRE_HEADER + len;
    return DZ_OK;
}
