/* core/buf.h -- a growing byte buffer: the one way dozo writes its formats.
 *
 * Like dz_reader it fails once: when memory runs out, `bad` is set, every later put is a no-op,
 * and the caller asks dz_buf_ok() once before it uses the bytes.  A zeroed dz_buf is empty and
 * ready.  One buffer belongs to one thread. */
#pragma once

#include "core/cleanup.h"
#include "core/slice.h"

typedef struct dz_buf {
    uint8_t *data; /* owned */
    size_t len;    /* bytes in use */
    size_t cap;
    bool bad; /* memory ran out */
} dz_buf;

/* Releases the memory and leaves an empty buffer.  A zeroed buffer is fine. */
void dz_buf_release(dz_buf *b);
/* The same, but wipes the bytes first: for buffers that held secrets. */
void dz_buf_release_secret(dz_buf *b);
#define dz_autobuf DZ_CLEANUP(dz_buf_release)
#define dz_autobuf_secret DZ_CLEANUP(dz_buf_release_secret)

static inline bool dz_buf_ok(const dz_buf *b) {
    return !b->bad;
}
/* Borrowed until the next put or release. */
static inline dz_slice dz_buf_slice(const dz_buf *b) {
    return (dz_slice){ b->data, b->len };
}
static inline void dz_buf_clear(dz_buf *b) {
    b->len = 0;
    b->bad = false;
}

/* Makes room for n more bytes and gives where they start, or NULL when memory ran out.  The bytes
 * count as written: fill all of them, or take the rest back with b->len. */
uint8_t *dz_buf_extend(dz_buf *b, size_t n);

void dz_buf_put(dz_buf *b, const void *bytes, size_t n);
static inline void dz_buf_put_slice(dz_buf *b, dz_slice s) {
    dz_buf_put(b, s.data, s.len);
}
static inline void dz_buf_put_u8(dz_buf *b, uint8_t v) {
    dz_buf_put(b, &v, 1);
}
void dz_buf_put_le(dz_buf *b, uint64_t v, size_t bytes);
static inline void dz_buf_put_le16(dz_buf *b, uint16_t v) {
    dz_buf_put_le(b, v, 2);
}
static inline void dz_buf_put_le32(dz_buf *b, uint32_t v) {
    dz_buf_put_le(b, v, 4);
}
static inline void dz_buf_put_le64(dz_buf *b, uint64_t v) {
    dz_buf_put_le(b, v, 8);
}
void dz_buf_put_varint(dz_buf *b, uint64_t v);
static inline void dz_buf_put_svarint(dz_buf *b, int64_t v) {
    dz_buf_put_varint(b, ((uint64_t) v << 1) ^ (uint64_t) (v >> 63));
}
static inline void dz_buf_put_field(dz_buf *b, dz_slice s) {
    dz_buf_put_varint(b, s.len);
    dz_buf_put_slice(b, s);
}
/* printf into the buffer, without the NUL. */
void dz_buf_printf(dz_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
