/* guard/features.h -- what the judge remembers of a file's bytes, taken while they pass.
 *
 *   file bytes ─▶ update, update, ... ─▶ finish ─▶ feature record, in the manifest entry
 *
 * A large file is cut into spans at multiples of DZ_FEATURE_BLOCK; each thread takes the features
 * of its own spans, and dz_features_merge() joins them in order.  The result does not depend on
 * where the cuts were, how the updates were sliced, or on the processor: all arithmetic is in
 * integers.  Layout and definitions: docs/format/features.md.
 *
 * A dz_features is a value of a few KiB.  One thread at a time; nothing is allocated. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/slice.h"
#include "guard/magic.h"

enum {
    DZ_FEATURE_BLOCK = 4096,      /* bytes */
    DZ_FEATURE_BLOCK_LEAST = 256, /* a shorter last block is left out, unless it is the only one */
    DZ_FEATURE_DIGEST = 16,       /* bytes */
    DZ_FEATURE_VERSION = 1,
};

/* Two measures of randomness of some bytes. */
typedef struct dz_randomness {
    uint16_t entropy; /* Shannon, in bits per byte times 4096: 0 .. 32768 */
    uint16_t chi2;    /* chi-square against equal shares, 255 degrees of freedom; dz_chi2_value() */
} dz_randomness;

/* The chi-square statistic, rounded down to 11 significant bits.  Random bytes give about 255,
 * more than 345 once in 10,000; saturates never. */
uint64_t dz_chi2_value(uint16_t code);

typedef enum dz_text_kind {                  /* the numbers are in the record */
                            DZ_TEXT_NOT = 0, /* binary */
                            DZ_TEXT_ASCII = 1,
                            DZ_TEXT_UTF8 = 2,
                            DZ_TEXT_ISO2022JP = 3,
                            DZ_TEXT_SHIFT_JIS = 4,
                            DZ_TEXT_EUC_JP = 5,
                            DZ_TEXT_UTF16 = 6,
                            DZ_TEXT_KIND_COUNT
} dz_text_kind;

/* The record.  Shares are n/255 (bytes) or n/65535 (random_share), rounded down, except that only
 * none is 0.  In a file of at most one block, first, most and least equal whole. */
typedef struct dz_feature_record {
    uint64_t len; /* bytes of the whole file */
    dz_randomness whole;
    dz_randomness first;   /* the first block */
    dz_randomness most;    /* the block that is most like random bytes */
    dz_randomness least;   /* and the one that is least */
    uint16_t random_share; /* of the blocks that chi-square cannot tell from random bytes */
    uint16_t type;         /* dz_type; possibly one that a newer dozo knows */
    uint8_t fit;           /* dz_type_fit */
    uint8_t text_kind;     /* dz_text_kind */
    uint8_t text_share;    /* of ASCII text bytes: printable, tab, line and page ends */
    uint8_t base64_share;  /* of the base64 alphabet, '=' and line ends */
    uint8_t line_len;      /* bytes per line feed, 255 and more as 255; 0: no line feed */
    bool has_digest;
    uint8_t digest[DZ_FEATURE_DIGEST]; /* keyed, of the whole content; the caller's choice */
} dz_feature_record;

/* ---- while the bytes pass ---- */

/* What is kept of one block. */
struct dz_block_stat {
    uint32_t collisions; /* chance that two of its bytes are equal, times 2^32; random: 2^24 */
    dz_randomness r;
};
struct dz_block_tally {
    uint64_t blocks;
    uint64_t random_blocks; /* chi-square cannot tell them from random bytes */
    uint64_t dense_blocks;  /* zstd would gain next to nothing */
    struct dz_block_stat first, most, least;
};

struct dz_features {
    uint64_t len; /* bytes taken */
    struct dz_block_tally tally;
    uint64_t last_blocks; /* ended by the latest update */
    uint64_t last_dense;
    uint32_t head_len;
    uint32_t part_len;   /* bytes in the block that has not ended */
    uint64_t whole[256]; /* how often each byte value occurs in the blocks that ended */
    uint16_t part[256];  /* and in the one that has not */
    uint8_t head[DZ_MAGIC_HEAD];
};

void dz_features_init(struct dz_features *f);

/* Takes the next bytes; `bytes` is borrowed for the call and may have any length. */
void dz_features_update(struct dz_features *f, dz_slice bytes);

/* Appends what `next` has seen: its bytes follow f's.  f must hold a multiple of
 * DZ_FEATURE_BLOCK bytes (a bug otherwise).  `next` is left as it is. */
void dz_features_merge(struct dz_features *f, const struct dz_features *next);

/* Makes the record.  `name`: last path component, borrowed for the call, used for `fit` only.
 * `digest` is copied; NULL: none.  `f` may go on taking bytes. */
void dz_features_finish(const struct dz_features *f, dz_slice name,
                        const uint8_t digest[DZ_FEATURE_DIGEST], dz_feature_record *ret_record);

/* Whether zstd would gain next to nothing on the bytes of the latest update: 15 in 16 of the blocks
 * that it ended are dense.  False when it ended none. */
bool dz_features_last_incompressible(const struct dz_features *f);

/* The same for bytes that passed no dz_features: looks at up to four blocks of `data`. */
bool dz_histogram_says_incompressible(const uint8_t *data, size_t len);

/* ---- the record as bytes ---- */

void dz_feature_record_put(dz_buf *out, const dz_feature_record *r);

/* Reads one record and nothing after it.  A record of a newer version gives the fields that this
 * dozo knows.  DZ_E_MALFORMED. */
dz_status dz_feature_record_read(dz_reader *in, dz_feature_record *ret_record,
                                 dz_err *err) DZ_MUST_CHECK;
