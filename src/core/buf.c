#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>

void dz_buf_release(dz_buf *b) {
    free(b->data);
    *b = (dz_buf){ 0 };
}

void dz_buf_release_secret(dz_buf *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap);
    dz_buf_release(b);
}

uint8_t *dz_buf_extend(dz_buf *b, size_t n) {
    size_t want, cap;

    if (b->bad)
        return NULL;
    if (__builtin_add_overflow(b->len, n, &want)) {
        b->bad = true;
        return NULL;
    }
    if (want > b->cap || !b->data) {
        uint8_t *grown;

        cap = b->cap ? b->cap : 64;
        while (cap < want)
            cap += cap / 2 + 64;
        grown = malloc(cap); /* not realloc: a secret must not stay behind in a freed block */
        if (!grown) {
            b->bad = true;
            return NULL;
        }
        if (b->data) {
            memcpy(grown, b->data, b->len);
            explicit_bzero(b->data, b->len);
            free(b->data);
        }
        b->data = grown;
        b->cap = cap;
    }
    b->len = want;
    return b->data + (want - n);
}

void dz_buf_put(dz_buf *b, const void *bytes, size_t n) {
    uint8_t *to;

    if (n > 0 && (to = dz_buf_extend(b, n)))
        memcpy(to, bytes, n);
}

void dz_buf_put_le(dz_buf *b, uint64_t v, size_t bytes) {
    uint8_t *to = dz_buf_extend(b, bytes);
    if (to)
        dz_store_le(to, bytes, v);
}

void dz_buf_put_varint(dz_buf *b, uint64_t v) {
    uint8_t tmp[10];
    size_t n = 0;

    do {
        tmp[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    } while (v);
    tmp[n - 1] &= 0x7f;
    dz_buf_put(b, tmp, n);
}

void dz_buf_printf(dz_buf *b, const char *fmt, ...) {
    va_list ap, again;
    uint8_t *to;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->bad = true;
    else if ((to = dz_buf_extend(b, (size_t) n + 1))) {
        (void) vsnprintf((char *) to, (size_t) n + 1, fmt, again);
        b->len--; /* the NUL does not count */
    }
    va_end(again);
}
