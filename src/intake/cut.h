/* intake/cut.h -- cuts a content into chunks while it is read, and takes its features.
 *
 *   read() ─▶ [cutter] ─▶ chunks ─▶ put(): a lane, or a vault far away
 *                 └▶ features
 *
 * A content of more than one span is cut afresh at each: so several threads can read it, a span
 * each, at the price of one chunk's deduplication in 16 MiB.  A cutter belongs to one thread. */
#pragma once

#include <sys/types.h>

#include "crypto/hash.h"
#include "guard/features.h"
#include "store/chunker.h"
#include "store/content.h"

enum { DZ_SPAN = 16 << 20 };

/* What a span gave. */
struct dz_span {
    dz_buf chunks; /* rows: id (32), length (4) */
    struct dz_features features;
    uint64_t read; /* bytes; less than asked for when the content ended early */
    int failed;    /* errno of a read that failed, or 0 */
};

/* Where bytes come from and chunks go to. */
struct dz_cutter_ends {
    /* The next bytes, at most `room`; 0 at the end, -1 with errno. */
    ssize_t (*read)(void *ctx, uint8_t *to, size_t room);
    /* Takes a chunk, which is borrowed for the call, and gives its identity. */
    dz_status (*put)(void *ctx, dz_slice bytes, bool incompressible, dz_id *ret_id, dz_err *err);
    void *ctx;
};

struct dz_cutter;
/* `chunker` is borrowed until the cutter is freed.  DZ_E_NOMEM. */
dz_status dz_cutter_new(const struct dz_chunker *chunker, struct dz_cutter **ret_cutter,
                        dz_err *err) DZ_MUST_CHECK;
void dz_cutter_free(struct dz_cutter *c); /* NULL is fine */
DZ_DEFINE_AUTO(dz_cutter, dz_cutter_free)

/* Cuts the next `len` bytes.  What cannot be read is said in the span, not as a status.  ret_span
 * is cleared first; the caller releases chunks.  DZ_E_NOMEM, and what put() says. */
dz_status dz_cutter_span(struct dz_cutter *c, const struct dz_cutter_ends *ends, uint64_t len,
                         struct dz_span *ret_span, dz_err *err) DZ_MUST_CHECK;

/* The identity of a whole content is the hash of its chunks' identities: the span's next. */
void dz_span_identity(const struct dz_span *span, struct dz_hasher *h);
/* Gives the span's chunks to the builder, whose errors these are. */
dz_status dz_span_put(const struct dz_span *span, struct dz_content_builder *content,
                      dz_err *err) DZ_MUST_CHECK;
