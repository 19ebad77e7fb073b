/* store/segment.h -- the unit of compression, sealing and moving: several objects under one key.
 *
 *   objects ─▶ zstd ─▶ AES-256-GCM under a fresh key ─▶ the key sealed to the recipients
 *
 * A sealed segment stands on its own: associated data are vault, segment id, kind and the number
 * of the message inside the segment, never pack or offset, so that compaction moves ciphertext
 * without opening it.  Layout: docs/format/segment.md.
 *
 * A coder holds the compression state and scratch memory of one thread. */
#pragma once

#include "crypto/keys.h"
#include "store/object.h"

enum {
    DZ_SEGMENT_ID_BYTES = 16,
    DZ_SEGMENT_RAW_MAX = 16 << 20,    /* bytes before compression */
    DZ_SEGMENT_SEALED_MAX = 17 << 20, /* bytes on disk */
    DZ_SEGMENT_OBJECTS_MAX = 65535,
    DZ_SEGMENT_HEADER_BYTES = 32,
};

enum dz_codec { DZ_CODEC_NONE = 0, DZ_CODEC_ZSTD = 1 }; /* on disk */

struct dz_coder;
/* DZ_E_NOMEM. */
dz_status dz_coder_new(struct dz_coder **ret_coder, dz_err *err) DZ_MUST_CHECK;
void dz_coder_free(struct dz_coder *c); /* NULL is fine */
DZ_DEFINE_AUTO(dz_coder, dz_coder_free)

/* Seals raw, which is n objects of lengths[] bytes one after the other, and appends the segment to
 * `to`.  Kind REF is sealed to the host, every other kind to the recipients.  `level` is zstd's,
 * 0 stores as is.  DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_segment_seal(struct dz_coder *c, const struct dz_host_keys *host, enum dz_kind kind,
                          dz_slice raw, const uint32_t *lengths, size_t n, int level, dz_buf *to,
                          dz_err *err) DZ_MUST_CHECK;

/* What the plain header says, without any key. */
typedef struct dz_segment_head {
    uint8_t kind;
    uint32_t length; /* of the whole sealed segment, bytes */
    uint8_t id[DZ_SEGMENT_ID_BYTES];
} dz_segment_head;

/* Reads the header at the start of `bytes`; the segment may go on beyond them.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_UNSUPPORTED. */
dz_status dz_segment_peek(dz_slice bytes, dz_segment_head *ret_head, dz_err *err) DZ_MUST_CHECK;

/* An opened segment; release with dz_segment_release(). */
struct dz_segment {
    uint8_t kind;
    uint32_t count;
    uint32_t *ends; /* owned; end offset of each object in raw */
    dz_buf raw;     /* owned */
};
void dz_segment_release(struct dz_segment *s);
/* The object in this slot, borrowed from the segment; `slot` < s->count. */
dz_slice dz_segment_object(const struct dz_segment *s, uint32_t slot);

/* Opens a whole sealed segment.  `open` may be NULL (then only kind REF opens).
 * DZ_E_CLOSED, DZ_E_CORRUPT, DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_segment_open(struct dz_coder *c, const struct dz_host_keys *host,
                          const struct dz_open_keys *open, dz_slice sealed,
                          struct dz_segment *ret_segment, dz_err *err) DZ_MUST_CHECK;
