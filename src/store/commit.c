#include "store/commit.h"

#include "crypto/aead.h"
#include "crypto/recipient.h"

static const uint8_t magic[8] = { 'D', 'Z', 'C', 'O', 'M', 'M', 'I', 'T' };
enum { VERSION = 1, HEADER_BYTES = 48, HOST_MAX = 256 };

bool dz_source_name_ok(const char *name) {
    size_t n = strlen(name);

    if (n == 0 || n > DZ_SOURCE_NAME_MAX || name[0] == '.' || name[0] == '-')
        return false;
    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char) *p;
        if (!(c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
              (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

dz_status dz_source_name_check(const char *name, dz_err *err) {
    if (dz_source_name_ok(name))
        return DZ_OK;
    return DZ_FAIL(err, DZ_E_USAGE,
                   "a source is named by letters, digits, '.', '_' and '-', at most %d bytes",
                   DZ_SOURCE_NAME_MAX);
}

void dz_commit_release(struct dz_commit *c) {
    free(c->host);
    dz_buf_release(&c->packs);
    dz_buf_release(&c->paths);
    dz_buf_release(&c->excludes);
    dz_buf_release(&c->problems);
    *c = (struct dz_commit){ 0 };
}

static void put_host_part(const struct dz_commit *c, dz_buf *to) {
    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) c->source, strlen(c->source) });
    dz_buf_put_svarint(to, c->arrived_us);
    dz_buf_put_svarint(to, c->started_us);
    dz_buf_put_varint(to, c->files);
    dz_buf_put_varint(to, c->dirs);
    dz_buf_put_varint(to, c->others);
    dz_buf_put_varint(to, c->bytes);
    dz_buf_put_varint(to, c->new_bytes);
    dz_buf_put_varint(to, c->stored_bytes);
    dz_buf_put_varint(to, c->alarms);
    dz_buf_put_varint(to, c->changed);
    dz_buf_put_varint(to, c->errors);
    dz_buf_put(to, c->ref_root.b, sizeof c->ref_root.b);
    dz_buf_put_field(to, dz_buf_slice(&c->packs));
    dz_buf_put_varint(to, c->sent_bytes);
}

static void put_sealed_part(const struct dz_commit *c, dz_buf *to) {
    const char *host = c->host ? c->host : "";

    dz_manifest_root_write(&c->root, to);
    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) host, strlen(host) });
    dz_buf_put_field(to, dz_buf_slice(&c->paths));
    dz_buf_put_field(to, dz_buf_slice(&c->excludes));
    dz_buf_put_field(to, dz_buf_slice(&c->problems));
}

static dz_status put_aead(const uint8_t key[DZ_KEY_BYTES], dz_slice aad, dz_buf *plain, dz_buf *to,
                          dz_err *err) {
    size_t len = plain->len;

    if (!dz_buf_extend(plain, DZ_AEAD_TAG_BYTES))
        return DZ_FAIL(err, DZ_E_NOMEM, "commit: out of memory");
    DZ_TRY(dz_aead_seal(key, 0, aad, (dz_slice){ plain->data, len }, plain->data, err));
    dz_buf_put_field(to, dz_buf_slice(plain));
    return DZ_OK;
}

dz_status dz_commit_write(const struct dz_commit *c, const struct dz_host_keys *host, dz_buf *to,
                          dz_err *err) {
    dz_autobuf dz_buf plain = { 0 }, sealed = { 0 };
    uint8_t header[HEADER_BYTES] = { 0 }, key[DZ_KEY_BYTES];
    const dz_slice aad = { header, sizeof header }, id = { c->id, sizeof c->id };
    size_t start = to->len;
    dz_status s;

    memcpy(header, magic, sizeof magic);
    dz_store_le(header + 8, 2, VERSION);
    memcpy(header + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    memcpy(header + 32, c->id, sizeof c->id);
    dz_buf_put(to, header, sizeof header);

    put_host_part(c, &plain);
    dz_key_derive(host->text, "commit", id, key);
    s = put_aead(key, aad, &plain, to, err);
    if (s == DZ_OK) {
        put_sealed_part(c, &sealed);
        s = dz_recipient_seal(host, id, to, key, err);
    }
    if (s == DZ_OK)
        s = put_aead(key, aad, &sealed, to, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    if (!dz_buf_ok(to) || !dz_buf_ok(&plain) || !dz_buf_ok(&sealed))
        return DZ_FAIL(err, DZ_E_NOMEM, "commit: out of memory");
    if (to->len - start > DZ_COMMIT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "commit of %zu bytes, limit is %d", to->len - start,
                       DZ_COMMIT_MAX);
    return DZ_OK;
}

static dz_status get_aead(const uint8_t key[DZ_KEY_BYTES], dz_slice aad, dz_slice sealed,
                          dz_buf *plain, dz_err *err) {
    if (sealed.len < DZ_AEAD_TAG_BYTES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit: a part is cut short");
    if (!dz_buf_extend(plain, sealed.len - DZ_AEAD_TAG_BYTES))
        return DZ_FAIL(err, DZ_E_NOMEM, "commit: out of memory");
    return dz_aead_open(key, 0, aad, sealed, plain->data, err);
}

static dz_status read_host_part(dz_slice plain, struct dz_commit *c, dz_err *err) {
    dz_reader r = dz_reader_over(plain);
    dz_slice source = dz_read_field(&r), ref, packs;

    c->arrived_us = dz_read_svarint(&r);
    c->started_us = dz_read_svarint(&r);
    c->files = dz_read_varint(&r);
    c->dirs = dz_read_varint(&r);
    c->others = dz_read_varint(&r);
    c->bytes = dz_read_varint(&r);
    c->new_bytes = dz_read_varint(&r);
    c->stored_bytes = dz_read_varint(&r);
    c->alarms = dz_read_varint(&r);
    c->changed = dz_read_varint(&r);
    c->errors = dz_read_varint(&r);
    ref = dz_read_bytes(&r, sizeof c->ref_root.b);
    packs = dz_read_field(&r);
    c->sent_bytes = dz_reader_left(&r) > 0 ? dz_read_varint(&r) : 0; /* older records end here */
    if (!dz_reader_ok(&r) || source.len > DZ_SOURCE_NAME_MAX ||
        packs.len % DZ_SHA256_BYTES != 0) /* later versions may add fields */
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit: the host's part is malformed");
    memcpy(c->source, source.data, source.len);
    c->source[source.len] = '\0';
    if (!dz_source_name_ok(c->source) || strlen(c->source) != source.len)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit: not a source name");
    memcpy(c->ref_root.b, ref.data, sizeof c->ref_root.b);
    dz_buf_put_slice(&c->packs, packs);
    return dz_buf_ok(&c->packs) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "commit: out of memory");
}

/* True when the bytes are whole fields and nothing else. */
static bool fields_ok(dz_slice fields) {
    dz_reader r = dz_reader_over(fields);

    while (dz_reader_left(&r) > 0 && dz_reader_ok(&r))
        (void) dz_read_field(&r);
    return dz_reader_done(&r);
}

/* True when every problem can be read, so that none is passed over in silence. */
static bool problems_ok(dz_slice problems) {
    dz_reader r = dz_reader_over(problems);
    unsigned n = 0;
    dz_problem p;

    while (n <= DZ_COMMIT_PROBLEMS_MAX && dz_commit_next_problem(&r, &p))
        n++;
    return dz_reader_done(&r);
}

static dz_status read_sealed_part(dz_slice plain, struct dz_commit *c, dz_err *err) {
    dz_reader r = dz_reader_over(plain);
    dz_slice host, paths, excludes, problems;

    DZ_TRY(dz_manifest_root_read(&r, &c->root, err));
    host = dz_read_field(&r);
    paths = dz_read_field(&r);
    excludes = dz_read_field(&r);
    problems = dz_read_field(&r);
    if (!dz_reader_ok(&r) || host.len > HOST_MAX || memchr(host.data, 0, host.len) ||
        !fields_ok(paths) || !fields_ok(excludes) || !problems_ok(problems))
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit: the sealed part is malformed");
    c->host = strndup((const char *) host.data, host.len);
    dz_buf_put_slice(&c->paths, paths);
    dz_buf_put_slice(&c->excludes, excludes);
    dz_buf_put_slice(&c->problems, problems);
    if (!c->host || !dz_buf_ok(&c->paths) || !dz_buf_ok(&c->excludes) || !dz_buf_ok(&c->problems))
        return DZ_FAIL(err, DZ_E_NOMEM, "commit: out of memory");
    if (memcmp(c->root.ref.b, c->ref_root.b, sizeof c->ref_root.b) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit: its two parts name different reference trees");
    c->opened = true;
    return DZ_OK;
}

static dz_status read_parts(dz_reader *r, dz_slice aad, const struct dz_host_keys *host,
                            const struct dz_open_keys *open, struct dz_commit *c, dz_err *err) {
    dz_autobuf dz_buf plain = { 0 };
    const dz_slice id = { c->id, sizeof c->id };
    dz_slice part = dz_read_field(r);
    uint8_t key[DZ_KEY_BYTES];
    dz_status s;

    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "commit: cut short");
    dz_key_derive(host->text, "commit", id, key);
    s = get_aead(key, aad, part, &plain, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    DZ_TRY(read_host_part(dz_buf_slice(&plain), c, err));

    if (!open) {
        DZ_TRY(dz_recipient_skip(r, err));
        (void) dz_read_field(r);
    } else {
        DZ_TRY(dz_recipient_open(host, open, id, r, key, err));
        part = dz_read_field(r);
        dz_buf_release_secret(&plain);
        s = get_aead(key, aad, part, &plain, err);
        explicit_bzero(key, sizeof key);
        DZ_TRY(s);
        DZ_TRY(read_sealed_part(dz_buf_slice(&plain), c, err));
    }
    return dz_reader_done(r) ? DZ_OK
                             : DZ_FAIL(err, DZ_E_MALFORMED, "commit: cut short, or too long");
}

dz_status dz_commit_read(dz_slice bytes, const struct dz_host_keys *host,
                         const struct dz_open_keys *open, struct dz_commit *ret_commit,
                         dz_err *err) {
    struct dz_commit c = { 0 };
    dz_reader r = dz_reader_over(bytes);
    dz_slice header = dz_read_bytes(&r, HEADER_BYTES);
    dz_status s;

    if (!dz_reader_ok(&r) || memcmp(header.data, magic, sizeof magic) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "not a commit record");
    if (bytes.len > DZ_COMMIT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "commit of %zu bytes, limit is %d", bytes.len,
                       DZ_COMMIT_MAX);
    if (dz_load_le(header.data + 8, 2) != VERSION || dz_load_le(header.data + 12, 2) != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "commit version %u: a newer dozo wrote it",
                       (unsigned) dz_load_le(header.data + 8, 2));
    if (memcmp(header.data + 16, host->vault.b, DZ_VAULT_ID_BYTES) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit of another vault");
    memcpy(c.id, header.data + 32, sizeof c.id);
    s = read_parts(&r, header, host, open, &c, err);
    if (s != DZ_OK) {
        dz_commit_release(&c);
        return s;
    }
    *ret_commit = c;
    return DZ_OK;
}

bool dz_commit_next_problem(dz_reader *r, dz_problem *ret_problem) {
    uint64_t sys_errno;
    dz_problem p;

    if (dz_reader_left(r) == 0)
        return false;
    p.what = dz_read_u8(r);
    sys_errno = dz_read_varint(r);
    p.path = dz_read_field(r);
    r->bad |= sys_errno > INT32_MAX;
    if (!dz_reader_ok(r))
        return false;
    p.sys_errno = (uint32_t) sys_errno;
    *ret_problem = p;
    return true;
}
