#include "guard/features.h"

#include <assert.h>

#include "guard/histogram.h"

enum {
    /* Chi-square with 255 degrees of freedom: mean 255, deviation 22.6.  Four deviations to either
     * side: random bytes are outside once in 10,000, and counters and the like are inside never. */
    CHI2_RANDOM_LEAST = 165,
    CHI2_RANDOM_MOST = 345,
    /* Collisions at most 1.25 times those of random bytes.  Measured on 2,800 archives, pictures
     * and packages, 233 MB: with it, and 15 blocks in 16, nearly all that zstd could not shrink by
     * 3 % is left alone, and 0.9 % of space is lost; with 1.5 and 3 blocks in 4 it was 3 %. */
    DENSE_COLLISIONS = (1 << 24) + (1 << 22),
};
static_assert((int) DZ_FEATURE_BLOCK == (int) DZ_HISTOGRAM_MAX,
              "a block is what a histogram holds");

/* ---- numbers ---- */

/* Below 2048 the value itself; above, six bits of exponent and ten bits after the leading one. */
static uint16_t chi2_code(uint64_t v) {
    unsigned shift;

    if (v < 2048)
        return (uint16_t) v;
    shift = 53u - (unsigned) __builtin_clzll(v); /* leaves 11 significant bits */
    return (uint16_t) ((shift << 10) + (v >> shift));
}

uint64_t dz_chi2_value(uint16_t code) {
    unsigned shift;

    if (code < 2048)
        return code;
    shift = (code >> 10) - 1u;
    return shift > 53 ? UINT64_MAX : (uint64_t) (1024u + (code & 1023u)) << shift;
}

static dz_randomness randomness_of(const struct dz_spread *s) {
    return (dz_randomness){ (uint16_t) (s->entropy >> 4), chi2_code(s->chi2) };
}

static bool looks_random(const struct dz_spread *s) {
    return s->chi2 >= CHI2_RANDOM_LEAST && s->chi2 <= CHI2_RANDOM_MOST;
}

/* part/all in steps of 1/most, rounded down; but only none is 0. */
static uint32_t share(uint64_t part, uint64_t all, uint32_t most) {
    uint64_t s;

    if (part == 0 || all == 0)
        return 0;
    s = (uint64_t) ((unsigned __int128) part * most / all);
    return s ? (uint32_t) s : 1;
}

/* ---- blocks ---- */

static void tally_block(struct dz_block_tally *t, const struct dz_spread *s) {
    struct dz_block_stat b = { s->collisions, randomness_of(s) };

    if (t->blocks == 0)
        t->first = t->most = t->least = b;
    if (b.collisions < t->most.collisions) /* of equals, the earlier */
        t->most = b;
    if (b.collisions > t->least.collisions)
        t->least = b;
    t->blocks++;
    t->random_blocks += looks_random(s);
    t->dense_blocks += s->collisions < DENSE_COLLISIONS;
}

static void end_block(struct dz_features *f, const uint16_t counts[256]) {
    struct dz_spread s = dz_spread_of_block(counts, DZ_FEATURE_BLOCK);

    tally_block(&f->tally, &s);
    dz_histogram_add(f->whole, counts);
}

void dz_features_init(struct dz_features *f) {
    /* Not the head: its length says how much of it counts. */
    memset(f, 0, offsetof(struct dz_features, head));
}

static void take_head(struct dz_features *f, dz_slice bytes) {
    size_t n = DZ_MAGIC_HEAD - f->head_len;

    if (n > bytes.len)
        n = bytes.len;
    if (n > 0)
        memcpy(f->head + f->head_len, bytes.data, n);
    f->head_len += (uint32_t) n;
}

void dz_features_update(struct dz_features *f, dz_slice bytes) {
    uint64_t blocks = f->tally.blocks, dense = f->tally.dense_blocks;

    take_head(f, bytes);
    f->len += bytes.len;
    while (bytes.len > 0) {
        size_t n = DZ_FEATURE_BLOCK - f->part_len;

        if (n > bytes.len)
            n = bytes.len;
        dz_histogram_count(f->part, bytes.data, n);
        f->part_len += (uint32_t) n;
        bytes = (dz_slice){ bytes.data + n, bytes.len - n };
        if (f->part_len == DZ_FEATURE_BLOCK) {
            end_block(f, f->part);
            memset(f->part, 0, sizeof f->part);
            f->part_len = 0;
        }
    }
    f->last_blocks = f->tally.blocks - blocks;
    f->last_dense = f->tally.dense_blocks - dense;
}

void dz_features_merge(struct dz_features *f, const struct dz_features *next) {
    struct dz_block_tally *a = &f->tally;
    const struct dz_block_tally *b = &next->tally;

    assert(f->part_len == 0);
    if (f->len == 0) {
        *f = *next;
        return;
    }
    f->len += next->len;
    if (b->blocks > 0) {
        if (b->most.collisions < a->most.collisions)
            a->most = b->most;
        if (b->least.collisions > a->least.collisions)
            a->least = b->least;
        a->blocks += b->blocks;
        a->random_blocks += b->random_blocks;
        a->dense_blocks += b->dense_blocks;
    }
    for (size_t i = 0; i < 256; i++)
        f->whole[i] += next->whole[i];
    memcpy(f->part, next->part, sizeof f->part);
    f->part_len = next->part_len;
    /* The head is f's: it holds a block at least, which is more than a head. */
}

/* ---- text ---- */

static uint64_t sum(const uint64_t counts[256], unsigned from, unsigned to) {
    uint64_t n = 0;
    for (unsigned b = from; b <= to; b++)
        n += counts[b];
    return n;
}

/* The counts alone cannot prove a character set, but they rule sets out, and random bytes are
 * ruled out of all: one byte in eight of theirs is a control character that text does not use. */
static dz_text_kind text_kind(const struct dz_features *f, const uint64_t counts[256]) {
    static const uint8_t bom_le[] = { 0xff, 0xfe }, bom_be[] = { 0xfe, 0xff };
    uint64_t control = sum(counts, 0, 31) + counts[127] - counts['\t'] - counts['\n'] -
                       counts['\f'] - counts['\r'] - counts[27];
    uint64_t high = sum(counts, 128, 255);
    uint64_t tails, want;

    if (f->len == 0)
        return DZ_TEXT_NOT;
    if (f->len % 2 == 0 && counts[0] >= f->len / 32 && f->head_len >= 4 &&
        (memcmp(f->head, bom_le, 2) == 0 || memcmp(f->head, bom_be, 2) == 0))
        return DZ_TEXT_UTF16;
    if (control > f->len / 128 || counts[27] > f->len / 16)
        return DZ_TEXT_NOT;
    if (high == 0)
        return counts[27] > 1 ? DZ_TEXT_ISO2022JP : DZ_TEXT_ASCII;

    tails = sum(counts, 0x80, 0xbf);
    want = sum(counts, 0xc2, 0xdf) + 2 * sum(counts, 0xe0, 0xef) + 3 * sum(counts, 0xf0, 0xf4);
    if (counts[0xc0] + counts[0xc1] + sum(counts, 0xf5, 0xff) == 0 && tails <= want + 3 &&
        want <= tails + 3) /* a file may be cut inside a character, at either end */
        return DZ_TEXT_UTF8;
    if (sum(counts, 0x80, 0x8d) + sum(counts, 0x90, 0xa0) + counts[0xff] == 0)
        return DZ_TEXT_EUC_JP;
    if (counts[0x80] + counts[0xa0] + sum(counts, 0xfd, 0xff) == 0)
        return DZ_TEXT_SHIFT_JIS;
    return DZ_TEXT_NOT;
}

static void describe_text(const struct dz_features *f, const uint64_t counts[256],
                          dz_feature_record *r) {
    uint64_t ends = counts['\n'] + counts['\r'];
    uint64_t text = sum(counts, ' ', '~') + counts['\t'] + counts['\f'] + ends;
    uint64_t base64 = sum(counts, 'A', 'Z') + sum(counts, 'a', 'z') + sum(counts, '0', '9') +
                      counts['+'] + counts['/'] + counts['='] + ends;
    uint64_t line = counts['\n'] ? f->len / counts['\n'] : 0;

    r->text_kind = (uint8_t) text_kind(f, counts);
    r->text_share = (uint8_t) share(text, f->len, UINT8_MAX);
    r->base64_share = (uint8_t) share(base64, f->len, UINT8_MAX);
    r->line_len = (uint8_t) (line < UINT8_MAX ? line : UINT8_MAX);
}

void dz_features_finish(const struct dz_features *f, dz_slice name,
                        const uint8_t digest[DZ_FEATURE_DIGEST], dz_feature_record *ret_record) {
    dz_feature_record r = { .len = f->len };
    struct dz_block_tally tally = f->tally;
    uint64_t counts[256];
    dz_type type = dz_magic_type((dz_slice){ f->head, f->head_len }, f->len);

    memcpy(counts, f->whole, sizeof counts);
    if (f->part_len > 0)
        dz_histogram_add(counts, f->part);
    if (f->part_len >= DZ_FEATURE_BLOCK_LEAST || (f->part_len > 0 && tally.blocks == 0)) {
        struct dz_spread s = dz_spread_of_block(f->part, f->part_len);
        tally_block(&tally, &s);
    }
    if (f->len <= DZ_FEATURE_BLOCK) {
        r.whole = tally.first.r;
    } else {
        struct dz_spread s = dz_spread_of_file(counts, f->len);
        r.whole = randomness_of(&s);
    }
    r.first = tally.first.r;
    r.most = tally.most.r;
    r.least = tally.least.r;
    r.random_share = (uint16_t) share(tally.random_blocks, tally.blocks, UINT16_MAX);
    describe_text(f, counts, &r);
    r.type = (uint16_t) type;
    r.fit = (uint8_t) dz_magic_fit(name, type, r.text_kind != DZ_TEXT_NOT);
    r.has_digest = digest != NULL;
    if (digest)
        memcpy(r.digest, digest, DZ_FEATURE_DIGEST);
    *ret_record = r;
}

/* ---- is it worth compressing? ---- */

static bool nearly_all(uint64_t part, uint64_t all) {
    return all > 0 && part >= all - all / 16;
}

bool dz_features_last_incompressible(const struct dz_features *f) {
    return nearly_all(f->last_dense, f->last_blocks);
}

bool dz_histogram_says_incompressible(const uint8_t *data, size_t len) {
    enum { LOOKS = 4 };
    size_t blocks = len / DZ_FEATURE_BLOCK;
    size_t looks = blocks == 0 ? len >= DZ_FEATURE_BLOCK_LEAST : blocks < LOOKS ? blocks : LOOKS;
    size_t n = blocks == 0 ? len : DZ_FEATURE_BLOCK;
    size_t dense = 0;

    for (size_t i = 0; i < looks; i++) {
        uint16_t counts[256] = { 0 };
        struct dz_spread s;

        dz_histogram_count(counts, data + i * blocks / looks * DZ_FEATURE_BLOCK, n);
        s = dz_spread_of_block(counts, (uint32_t) n);
        dense += s.collisions < DENSE_COLLISIONS;
    }
    return nearly_all(dense, looks);
}

/* ---- the record as bytes ---- */

enum {
    FIT_MASK = 7,
    TEXT_SHIFT = 3,
    TEXT_MASK = 7,
    DIGEST_BIT = 1 << 6,
    UNUSED_BIT = 1 << 7,
    ENTROPY_MOST = 8 * 4096,
    CHI2_CODE_MOST = (53 << 10) + 2047,
    BODY_MOST = 1024, /* bytes; version 1 needs 51 */
};

static void put_randomness(dz_buf *out, dz_randomness r) {
    dz_buf_put_le16(out, r.entropy);
    dz_buf_put_le16(out, r.chi2);
}

void dz_feature_record_put(dz_buf *out, const dz_feature_record *r) {
    size_t len_at = out->len + 1;

    dz_buf_put_u8(out, DZ_FEATURE_VERSION);
    dz_buf_put_u8(out, 0); /* the length, below: one byte does, as the body is at most 51 */
    dz_buf_put_varint(out, r->len);
    dz_buf_put_u8(
        out, (uint8_t) (r->fit | r->text_kind << TEXT_SHIFT | (r->has_digest ? DIGEST_BIT : 0)));
    dz_buf_put_varint(out, r->type);
    dz_buf_put_u8(out, r->text_share);
    dz_buf_put_u8(out, r->base64_share);
    dz_buf_put_u8(out, r->line_len);
    dz_buf_put_le16(out, r->random_share);
    put_randomness(out, r->whole);
    if (r->len > DZ_FEATURE_BLOCK) {
        put_randomness(out, r->first);
        put_randomness(out, r->most);
        put_randomness(out, r->least);
    }
    if (r->has_digest)
        dz_buf_put(out, r->digest, DZ_FEATURE_DIGEST);
    if (dz_buf_ok(out))
        out->data[len_at] = (uint8_t) (out->len - len_at - 1);
}

static dz_randomness read_randomness(dz_reader *in, bool *ok) {
    dz_randomness r;

    r.entropy = dz_read_le16(in);
    r.chi2 = dz_read_le16(in);
    *ok = *ok && r.entropy <= ENTROPY_MOST && r.chi2 <= CHI2_CODE_MOST;
    return r;
}

dz_status dz_feature_record_read(dz_reader *in, dz_feature_record *ret_record, dz_err *err) {
    dz_feature_record r = { 0 };
    uint8_t version = dz_read_u8(in);
    dz_slice field = dz_read_field(in);
    dz_reader body = dz_reader_over(field);
    bool newer = version > DZ_FEATURE_VERSION;
    bool ok = true;
    uint64_t type;
    uint8_t bits;

    if (!dz_reader_ok(in) || version == 0 || field.len > BODY_MOST)
        return DZ_FAIL(err, DZ_E_MALFORMED, "feature record: version %u, %zu bytes (at most %d)",
                       version, field.len, BODY_MOST);
    r.len = dz_read_varint(&body);
    bits = dz_read_u8(&body);
    type = dz_read_varint(&body);
    r.text_share = dz_read_u8(&body);
    r.base64_share = dz_read_u8(&body);
    r.line_len = dz_read_u8(&body);
    r.random_share = dz_read_le16(&body);
    r.whole = read_randomness(&body, &ok);
    if (r.len > DZ_FEATURE_BLOCK) {
        r.first = read_randomness(&body, &ok);
        r.most = read_randomness(&body, &ok);
        r.least = read_randomness(&body, &ok);
    } else {
        r.first = r.most = r.least = r.whole;
    }
    r.fit = bits & FIT_MASK;
    r.text_kind = bits >> TEXT_SHIFT & TEXT_MASK;
    r.has_digest = (bits & DIGEST_BIT) != 0;
    if (r.has_digest) {
        dz_slice digest = dz_read_bytes(&body, DZ_FEATURE_DIGEST);
        if (digest.len)
            memcpy(r.digest, digest.data, digest.len);
    }
    r.type = (uint16_t) type;
    if (newer) { /* it may have more fields, and more values in these */
        r.fit = r.fit < DZ_FIT_COUNT ? r.fit : DZ_FIT_UNKNOWN;
        r.text_kind = r.text_kind < DZ_TEXT_KIND_COUNT ? r.text_kind : DZ_TEXT_NOT;
    } else {
        ok = ok && dz_reader_done(&body) && r.fit < DZ_FIT_COUNT &&
             r.text_kind < DZ_TEXT_KIND_COUNT && (bits & UNUSED_BIT) == 0;
    }
    if (!ok || !dz_reader_ok(&body) || type > UINT16_MAX)
        return DZ_FAIL(err, DZ_E_MALFORMED, "feature record of %zu bytes breaks its format",
                       field.len);
    *ret_record = r;
    return DZ_OK;
}
