#include "store/leaf.h"

#include "crypto/hash.h"

/* "DZLF" */
static const uint8_t MAGIC[4] = { 'D', 'Z', 'L', 'F' };

static const char *const KIND_NAMES[] = {
    [DZ_LEAF_GENESIS] = "genesis",
    [DZ_LEAF_COMMIT] = "commit",
    [DZ_LEAF_HOLD] = "hold",
    [DZ_LEAF_RELEASE] = "release",
    [DZ_LEAF_PRUNE_INTENT] = "prune-intent",
    [DZ_LEAF_PRUNE_DONE] = "prune-done",
    [DZ_LEAF_OPEN] = "open",
    [DZ_LEAF_CLOSE] = "close",
    [DZ_LEAF_POLICY] = "policy",
    [DZ_LEAF_CLOCK_TICK] = "clock-tick",
    [DZ_LEAF_CLOCK_EVENT] = "clock-event",
    [DZ_LEAF_OPERATOR_ADD] = "operator-add",
    [DZ_LEAF_OPERATOR_REMOVE] = "operator-remove",
    [DZ_LEAF_WITNESS] = "witness",
    [DZ_LEAF_FEED_BATCH] = "feed-batch",
    [DZ_LEAF_EVIDENCE] = "evidence",
    [DZ_LEAF_VERIFY] = "verify",
    [DZ_LEAF_ALARM] = "alarm",
    [DZ_LEAF_MARK] = "mark",
    [DZ_LEAF_EPOCH] = "epoch",
    [DZ_LEAF_REQUEST] = "request",
    [DZ_LEAF_APPROVE] = "approve",
    [DZ_LEAF_SETTLED] = "settled",
    [DZ_LEAF_INVITE] = "invite",
    [DZ_LEAF_ENROL] = "enrol",
    [DZ_LEAF_REVOKE] = "revoke",
};

const char *dz_leaf_kind_name(uint16_t kind) {
    if (kind >= sizeof KIND_NAMES / sizeof *KIND_NAMES || !KIND_NAMES[kind])
        return "unknown";
    return KIND_NAMES[kind];
}

void dz_leaf_commit_text(const uint8_t salt[DZ_LEAF_SALT_BYTES], dz_slice text,
                         uint8_t ret_commitment[32]) {
    const dz_slice parts[] = { { salt, DZ_LEAF_SALT_BYTES }, text };

    dz_sha256v(parts, 2, ret_commitment);
}

/* Fields of later versions: varint tag, strictly ascending from 1, then a length-prefixed value. */
static bool fields_are_good(dz_slice more) {
    dz_reader r = dz_reader_over(more);
    uint64_t last = 0;

    while (dz_reader_left(&r) > 0) {
        uint64_t tag = dz_read_varint(&r);

        (void) dz_read_field(&r);
        if (!dz_reader_ok(&r) || tag <= last)
            return false;
        last = tag;
    }
    return true;
}

dz_status dz_leaf_write(const dz_leaf *leaf, dz_buf *to, dz_err *err) {
    size_t start = to->len;

    if (leaf->object_count > DZ_LEAF_OBJECTS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu objects, the limit is %d",
                       leaf->object_count, DZ_LEAF_OBJECTS_MAX);
    if (leaf->sealed.len > DZ_LEAF_TEXT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu bytes of sealed text, the limit is %d",
                       leaf->sealed.len, DZ_LEAF_TEXT_MAX);
    if (leaf->kind == 0 || !fields_are_good(leaf->more))
        return DZ_FAIL(err, DZ_E_USAGE, "log leaf: no kind, or malformed fields");
    dz_buf_put(to, MAGIC, sizeof MAGIC);
    dz_buf_put_le16(to, DZ_LEAF_VERSION);
    dz_buf_put_le16(to, 0); /* features that must be understood */
    dz_buf_put_le16(to, leaf->kind);
    dz_buf_put_le16(to, leaf->flags);
    dz_buf_put_le64(to, (uint64_t) leaf->time_us);
    dz_buf_put_le16(to, (uint16_t) leaf->object_count);
    if (leaf->object_count > 0)
        dz_buf_put(to, leaf->objects, leaf->object_count * sizeof(dz_leaf_object));
    dz_buf_put(to, leaf->commitment, sizeof leaf->commitment);
    dz_buf_put_le16(to, (uint16_t) leaf->sealed.len);
    dz_buf_put_slice(to, leaf->sealed);
    dz_buf_put_slice(to, leaf->more);
    if (!dz_buf_ok(to))
        return DZ_FAIL(err, DZ_E_NOMEM, "log leaf: out of memory");
    if (to->len - start > DZ_LEAF_MAX) {
        size_t len = to->len - start;

        to->len = start;
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu bytes, the limit is %d", len, DZ_LEAF_MAX);
    }
    return DZ_OK;
}

dz_status dz_leaf_read(dz_slice bytes, dz_leaf *ret_leaf, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    dz_slice magic = dz_read_bytes(&r, sizeof MAGIC);
    uint16_t version = dz_read_le16(&r);
    uint16_t must = dz_read_le16(&r);
    dz_leaf leaf = { .kind = dz_read_le16(&r) };
    dz_slice commitment;

    if (bytes.len > DZ_LEAF_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu bytes, the limit is %d", bytes.len,
                       DZ_LEAF_MAX);
    if (!dz_reader_ok(&r) || memcmp(magic.data, MAGIC, sizeof MAGIC) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "log leaf: does not start like one");
    if (version != DZ_LEAF_VERSION || must != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "log leaf: version %u with features %#x; this dozo knows version %d",
                       version, must, DZ_LEAF_VERSION);
    leaf.flags = dz_read_le16(&r);
    leaf.time_us = (int64_t) dz_read_le64(&r);
    leaf.object_count = dz_read_le16(&r);
    if (leaf.object_count > DZ_LEAF_OBJECTS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu objects, the limit is %d", leaf.object_count,
                       DZ_LEAF_OBJECTS_MAX);
    leaf.objects = (const dz_leaf_object *) (const void *) dz_read_bytes(
                       &r, leaf.object_count * sizeof(dz_leaf_object))
                       .data;
    commitment = dz_read_bytes(&r, sizeof leaf.commitment);
    leaf.sealed = dz_read_bytes(&r, dz_read_le16(&r));
    leaf.more = dz_read_bytes(&r, dz_reader_left(&r));
    if (!dz_reader_ok(&r) || leaf.kind == 0 || !fields_are_good(leaf.more))
        return DZ_FAIL(err, DZ_E_MALFORMED, "log leaf: cut short, without kind, or bad fields");
    if (leaf.sealed.len > DZ_LEAF_TEXT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: %zu bytes of sealed text, the limit is %d",
                       leaf.sealed.len, DZ_LEAF_TEXT_MAX);
    memcpy(leaf.commitment, commitment.data, sizeof leaf.commitment);
    *ret_leaf = leaf;
    return DZ_OK;
}
