/* Commit records: what makes a snapshot exist.
 *
 * Properties: what is accepted, written and read again has equal values; read closed, it has the
 * same values for the host and nothing of the sealed part; its problems end.
 *
 * Byte 0 chooses: bit 0 clear, the rest is a whole record (its vault is set to ours); set, bytes
 * 1..2 say how long the host's part is, and the rest is the sealed part; both are sealed here. */
#include "crypto/aead.h"
#include "crypto/recipient.h"
#include "store/commit.h"
#include "tests/fuzz/fuzz_keys.h"

enum { HEADER = 48 };

static void put_part(dz_buf *to, const uint8_t key[DZ_KEY_BYTES], dz_slice aad, dz_slice plain) {
    dz_autobuf dz_buf sealed = { 0 };
    uint8_t *out = dz_buf_extend(&sealed, plain.len + DZ_AEAD_TAG_BYTES);

    MUST(out && dz_aead_seal(key, 0, aad, plain, out, NULL) == DZ_OK);
    dz_buf_put_field(to, dz_buf_slice(&sealed));
}

static void fabricate(dz_buf *to, dz_slice for_host, dz_slice sealed) {
    uint8_t header[HEADER] = "DZCOMMIT\1", key[DZ_KEY_BYTES];
    const dz_slice id = { header + 32, DZ_SNAPSHOT_ID_BYTES };

    memcpy(header + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    memcpy(header + 32, "snapshot number1", DZ_SNAPSHOT_ID_BYTES);
    dz_buf_put(to, header, sizeof header);
    dz_key_derive(host->text, "commit", id, key);
    put_part(to, key, (dz_slice){ header, sizeof header }, for_host);
    MUST(dz_recipient_seal(host, id, to, key, NULL) == DZ_OK);
    put_part(to, key, (dz_slice){ header, sizeof header }, sealed);
}

static void must_agree_closed(const struct dz_commit *a, const struct dz_commit *b) {
    MUST(memcmp(a->id, b->id, sizeof a->id) == 0 && strcmp(a->source, b->source) == 0);
    MUST(a->arrived_us == b->arrived_us && a->started_us == b->started_us);
    MUST(a->files == b->files && a->dirs == b->dirs && a->others == b->others);
    MUST(a->bytes == b->bytes && a->new_bytes == b->new_bytes &&
         a->stored_bytes == b->stored_bytes && a->sent_bytes == b->sent_bytes);
    MUST(a->alarms == b->alarms && a->changed == b->changed && a->errors == b->errors);
    MUST(memcmp(a->ref_root.b, b->ref_root.b, sizeof a->ref_root.b) == 0);
    MUST(dz_slice_eq(dz_buf_slice(&a->packs), dz_buf_slice(&b->packs)));
}

static void must_agree(const struct dz_commit *a, const struct dz_commit *b) {
    must_agree_closed(a, b);
    MUST(a->opened && b->opened && strcmp(a->host, b->host) == 0);
    MUST(memcmp(a->root.node.b, b->root.node.b, sizeof a->root.node.b) == 0 &&
         memcmp(a->root.ref.b, b->root.ref.b, sizeof a->root.ref.b) == 0 &&
         a->root.depth == b->root.depth && a->root.entries == b->root.entries &&
         a->root.bytes == b->root.bytes);
    MUST(dz_slice_eq(dz_buf_slice(&a->paths), dz_buf_slice(&b->paths)));
    MUST(dz_slice_eq(dz_buf_slice(&a->excludes), dz_buf_slice(&b->excludes)));
    MUST(dz_slice_eq(dz_buf_slice(&a->problems), dz_buf_slice(&b->problems)));
}

static void must_end(const struct dz_commit *c) {
    dz_reader r = dz_reader_over(dz_buf_slice(&c->problems));
    size_t n = 0;
    dz_problem p;

    while (dz_commit_next_problem(&r, &p)) {
        MUST(p.path.len <= c->problems.len);
        n++;
    }
    MUST(dz_reader_done(&r)); /* an accepted commit names all its problems */
    MUST(n <= DZ_COMMIT_PROBLEMS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader r = dz_reader_over((dz_slice){ data, size });
    bool fabricated = dz_read_u8(&r) & 1;
    struct dz_commit c = { 0 }, again = { 0 }, closed = { 0 };
    dz_autobuf dz_buf bytes = { 0 }, written = { 0 };
    dz_slice first = { 0 }, rest;

    need_keys();
    if (fabricated)
        first = dz_read_bytes(&r, dz_read_le16(&r));
    rest = dz_read_bytes(&r, dz_reader_left(&r));
    if (!dz_reader_ok(&r))
        return 0;
    if (fabricated)
        fabricate(&bytes, first, rest);
    else
        dz_buf_put_slice(&bytes, rest);
    if (!fabricated && bytes.len >= 32)
        memcpy(bytes.data + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    if (dz_commit_read(dz_buf_slice(&bytes), host, open_keys, &c, NULL) != DZ_OK)
        return 0;
    MUST(fabricated); /* or AES-GCM is broken */
    must_end(&c);
    MUST(dz_commit_write(&c, host, &written, NULL) == DZ_OK);
    MUST(dz_commit_read(dz_buf_slice(&written), host, open_keys, &again, NULL) == DZ_OK);
    must_agree(&c, &again);
    MUST(dz_commit_read(dz_buf_slice(&bytes), host, NULL, &closed, NULL) == DZ_OK);
    must_agree_closed(&c, &closed);
    MUST(!closed.opened && !closed.host && closed.paths.len == 0 && closed.excludes.len == 0 &&
         closed.problems.len == 0);
    dz_commit_release(&c);
    dz_commit_release(&again);
    dz_commit_release(&closed);
    return 0;
}
