/* core/slice.h -- borrowed bytes, and the one way dozo reads bytes it does not trust.
 *
 * A dz_slice points into memory someone else owns and keeps alive.  It is never freed, never
 * NUL-terminated, and may be empty.  A dz_reader walks a slice and cannot step outside it: the
 * first read that does not fit sets `bad`, and from then on every read gives zero or an empty
 * slice.  So a parser reads straight through its format and asks dz_reader_ok() once, before it
 * acts on what it read.  Loops are the exception: check inside, or bound the count first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct dz_slice {
    const uint8_t *data;
    size_t len; /* bytes */
} dz_slice;

#define DZ_SLICE_LIT(s) ((dz_slice){ (const uint8_t *) (s), sizeof(s) - 1 })

static inline bool dz_slice_eq(dz_slice a, dz_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

typedef struct dz_reader {
    const uint8_t *cur;
    const uint8_t *end;
    bool bad;
} dz_reader;

static inline dz_reader dz_reader_over(dz_slice s) {
    const uint8_t *start = s.data ? s.data : (const uint8_t *) "";
    return (dz_reader){ .cur = start, .end = start + s.len };
}

static inline size_t dz_reader_left(const dz_reader *r) {
    return (size_t) (r->end - r->cur);
}
static inline bool dz_reader_ok(const dz_reader *r) {
    return !r->bad;
}
/* True when everything was read and everything fitted: formats with no trailing bytes end here. */
static inline bool dz_reader_done(const dz_reader *r) {
    return !r->bad && r->cur == r->end;
}

/* Takes exactly n bytes.  The only place the cursor moves. */
static inline dz_slice dz_read_bytes(dz_reader *r, size_t n) {
    dz_slice out = { r->cur, n };

    if (r->bad || n > dz_reader_left(r)) { /* compare lengths; never compute cur + n first */
        r->bad = true;
        out.len = 0; /* empty, yet not NULL: memcpy() of no bytes from it is defined */
        return out;
    }
    r->cur += n;
    return out;
}

static inline uint8_t dz_read_u8(dz_reader *r) {
    dz_slice s = dz_read_bytes(r, 1);
    return s.len ? s.data[0] : 0;
}

static inline uint64_t dz_load_le(const uint8_t *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t) p[i] << (8 * i);
    return v;
}
static inline void dz_store_le(uint8_t *p, size_t bytes, uint64_t v) {
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t) (v >> (8 * i));
}

static inline uint16_t dz_read_le16(dz_reader *r) {
    dz_slice s = dz_read_bytes(r, 2);
    return s.len ? (uint16_t) dz_load_le(s.data, 2) : 0;
}
static inline uint32_t dz_read_le32(dz_reader *r) {
    dz_slice s = dz_read_bytes(r, 4);
    return s.len ? (uint32_t) dz_load_le(s.data, 4) : 0;
}
static inline uint64_t dz_read_le64(dz_reader *r) {
    dz_slice s = dz_read_bytes(r, 8);
    return s.len ? dz_load_le(s.data, 8) : 0;
}

/* LEB128, at most 10 bytes, shortest form only: one number has one spelling, so what was accepted
 * re-serialises to the same bytes.  Anything else sets `bad`. */
static inline uint64_t dz_read_varint(dz_reader *r) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = dz_read_u8(r);
        if (r->bad || (shift == 63 && b > 1) || (shift > 0 && b == 0)) {
            r->bad = true;
            return 0;
        }
        v |= (uint64_t) (b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}
/* Signed numbers travel zigzag: 0, -1, 1, -2 ... so that small ones stay short. */
static inline int64_t dz_read_svarint(dz_reader *r) {
    uint64_t v = dz_read_varint(r);
    return (int64_t) (v >> 1) ^ -(int64_t) (v & 1);
}
/* A length-prefixed field: varint length, then that many bytes. */
static inline dz_slice dz_read_field(dz_reader *r) {
    uint64_t n = dz_read_varint(r);
    if (r->bad || n > dz_reader_left(r)) {
        r->bad = true;
        return (dz_slice){ r->cur, 0 };
    }
    return dz_read_bytes(r, (size_t) n);
}

/* Takes the bytes before the next `stop` and steps over it.  No `stop` left: bad. */
static inline dz_slice dz_read_until(dz_reader *r, uint8_t stop) {
    const uint8_t *hit = NULL;
    dz_slice out;

    if (!r->bad && dz_reader_left(r) > 0)
        hit = memchr(r->cur, stop, dz_reader_left(r));
    if (!hit) {
        r->bad = true;
        return (dz_slice){ r->cur, 0 };
    }
    out = dz_read_bytes(r, (size_t) (hit - r->cur));
    (void) dz_read_u8(r);
    return out;
}
