/* store/leaf.h -- an entry of the transparency log: what happened, when, to which objects.
 *
 *   kind, time, flags, objects, salted commitment, sealed text ─▶ [leaf] ─▶ tlog
 *
 * Whoever audits the log reads kind, time and object names.  The text (who, why, counts) is sealed;
 * the commitment SHA-256(salt || text) binds it, so that one text can be shown later without
 * opening the others.  Layout: docs/format/log.md.  Thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

enum dz_leaf_kind {                           /* numbers are on disk: append only */
                    DZ_LEAF_GENESIS = 1,      /* leaf 0: public key, operators, policy */
                    DZ_LEAF_COMMIT = 2,       /* a snapshot exists */
                    DZ_LEAF_HOLD = 3,         /* a snapshot must not expire ... */
                    DZ_LEAF_RELEASE = 4,      /* ... and may again */
                    DZ_LEAF_PRUNE_INTENT = 5, /* will be deleted after the delay */
                    DZ_LEAF_PRUNE_DONE = 6,
                    DZ_LEAF_OPEN = 7, /* custodians opened the vault */
                    DZ_LEAF_CLOSE = 8,
                    DZ_LEAF_POLICY = 9,
                    DZ_LEAF_CLOCK_TICK = 10,  /* the vault's own uptime goes on */
                    DZ_LEAF_CLOCK_EVENT = 11, /* the clock jumped, was set, or is trusted again */
                    DZ_LEAF_OPERATOR_ADD = 12,
                    DZ_LEAF_OPERATOR_REMOVE = 13,
                    DZ_LEAF_WITNESS = 14,    /* a witness was added, or cosigned */
                    DZ_LEAF_FEED_BATCH = 15, /* messages journaled since the last one */
                    DZ_LEAF_EVIDENCE = 16,
                    DZ_LEAF_VERIFY = 17, /* a verification ran; what it found is in the text */
                    DZ_LEAF_ALARM = 18,
                    DZ_LEAF_MARK =
                        19, /* the snapshots before or after this one are (not) trusted */
                    DZ_LEAF_EPOCH = 20,   /* a new recipient epoch starts */
                    DZ_LEAF_REQUEST = 21, /* an early deletion or a loosening is asked for ... */
                    DZ_LEAF_APPROVE = 22, /* ... and approved by an operator */
                    DZ_LEAF_SETTLED = 23, /* operators have looked at an alarm */
                    DZ_LEAF_INVITE = 24,  /* a machine may enrol as a source ... */
                    DZ_LEAF_ENROL = 25,   /* ... and has ... */
                    DZ_LEAF_REVOKE = 26,  /* ... and may no longer send */
};

enum dz_leaf_object_type {                           /* numbers are on disk: append only */
                           DZ_LEAF_OBJ_COMMIT = 1,   /* a commit record (names a snapshot) */
                           DZ_LEAF_OBJ_PACK = 2,     /* a pack, by the SHA-256 of its bytes */
                           DZ_LEAF_OBJ_MANIFEST = 3, /* a manifest root */
                           DZ_LEAF_OBJ_REF = 4,      /* a reference tree's root */
                           DZ_LEAF_OBJ_KEY = 5, /* SHA-256 of a public key: recipient, operator,
                                                   witness, source */
                           DZ_LEAF_OBJ_POLICY = 6,
                           DZ_LEAF_OBJ_REQUEST = 7,
                           DZ_LEAF_OBJ_FEED = 8, /* a feed journal batch */
                           DZ_LEAF_OBJ_EVIDENCE = 9,
                           DZ_LEAF_OBJ_CHECKPOINT = 10,
                           DZ_LEAF_OBJ_OTHER = 11,
};

enum {
    DZ_LEAF_VERSION = 1,
    DZ_LEAF_MAX = 65535, /* bytes of a whole leaf: what an entry bundle can hold */
    DZ_LEAF_OBJECTS_MAX = 1024,
    DZ_LEAF_TEXT_MAX = 16 * 1024, /* bytes of sealed text */
    DZ_LEAF_SALT_BYTES = 16,
};

/* As it stands on disk, so that a leaf's objects can be read where they lie. */
typedef struct dz_leaf_object {
    uint8_t type; /* enum dz_leaf_object_type */
    uint8_t name[32];
} dz_leaf_object;
_Static_assert(sizeof(dz_leaf_object) == 33, "objects are read in place");

typedef struct dz_leaf {
    uint16_t kind;   /* enum dz_leaf_kind; numbers we do not know are read and passed on */
    uint16_t flags;  /* by kind; 0 where a kind says nothing else */
    int64_t time_us; /* UTC, since 1970, by the vault's clock */
    const dz_leaf_object *objects; /* borrowed */
    size_t object_count;
    uint8_t commitment[32]; /* all zero when there is no text */
    dz_slice sealed;        /* borrowed; may be empty */
    dz_slice more;          /* fields of later versions, as they stand; borrowed; mostly empty */
} dz_leaf;

/* SHA-256(salt || text): publish the hash, seal salt and text. */
void dz_leaf_commit_text(const uint8_t salt[DZ_LEAF_SALT_BYTES], dz_slice text,
                         uint8_t ret_commitment[32]);

/* Appends the leaf to `to`.  DZ_E_LIMIT (named), DZ_E_USAGE (`more` is not a list of fields),
 * DZ_E_NOMEM. */
dz_status dz_leaf_write(const dz_leaf *leaf, dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* Reads one leaf; slices and objects are borrowed from `bytes`.  What is accepted is written back
 * as the same bytes.  DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_UNSUPPORTED (newer version or a feature
 * that must be understood). */
dz_status dz_leaf_read(dz_slice bytes, dz_leaf *ret_leaf, dz_err *err) DZ_MUST_CHECK;

/* "commit", "prune-intent", ...; "unknown" for numbers of a later version. */
const char *dz_leaf_kind_name(uint16_t kind);
