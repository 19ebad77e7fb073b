/* intake/wire.h -- the take protocol: what a source and the vault say to each other.
 *
 *   source ─▶ [push] ─▶ frames ─▶ TLS or a socket pair ─▶ frames ─▶ [take] ─▶ snapshot
 *
 * One set of messages serves agents over the network and programs of the vault's own host.  There
 * is no message that reads, lists, deletes or re-dates: whoever speaks it can add, and nothing
 * else. Layout: docs/format/wire.md.  A reader accepts one spelling only: what is accepted is
 * written as the same bytes again.  Slices in a message borrow the payload.  All functions are
 * thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "crypto/hash.h"
#include "store/commit.h"
#include "store/entry.h"
#include "store/object.h"

enum {
    DZ_WIRE_VERSION = 1,
    DZ_WIRE_HEADER = 6, /* bytes before a payload: type, 0, length (32 bits) */
    DZ_WIRE_RUN = 16,
    DZ_WIRE_NONCE = 32,
    DZ_WIRE_KEY = 32,   /* an Ed25519 public key (RFC 8032) */
    DZ_WIRE_PROOF = 64, /* an Ed25519 signature */
    DZ_WIRE_TOKEN = 16,
    DZ_WIRE_HAVE_MAX = 1024, /* identities in one question */
    DZ_WIRE_REFS_MAX = 1024, /* chunks in one reference */
    DZ_WIRE_HOST_MAX = 255,
    DZ_WIRE_LISTS_MAX = 32 << 10, /* bytes of the paths, and of the excludes, of a run */
    DZ_WIRE_CERT_MAX = 4096,
    DZ_WIRE_PAYLOAD_MAX = 32 + DZ_OBJECT_MAX, /* of any frame */
};

enum dz_wire_type { /* numbers are on the wire; odd: from the source */
                    DZ_WIRE_HELLO = 1,
                    DZ_WIRE_WELCOME = 2,
                    DZ_WIRE_BEGIN = 3,
                    DZ_WIRE_READY = 4,
                    DZ_WIRE_HAVE = 5,
                    DZ_WIRE_HELD = 6,
                    DZ_WIRE_CHUNK = 7,
                    DZ_WIRE_WAIT = 8,
                    DZ_WIRE_REFS = 9,
                    DZ_WIRE_DONE = 10,
                    DZ_WIRE_ENTRY = 11,
                    DZ_WIRE_CERT = 12,
                    DZ_WIRE_PROBLEM = 13,
                    DZ_WIRE_REFUSED = 14,
                    DZ_WIRE_COMMIT = 15,
                    DZ_WIRE_ENROL = 17,
};

/* Why the vault ends a connection; numbers are on the wire. */
enum dz_wire_code {
    DZ_WIRE_NO_VERSION = 1,  /* limit: the newest version spoken here */
    DZ_WIRE_NOT_ALLOWED = 2, /* unknown, revoked or expired; or not this name */
    DZ_WIRE_BAD_FRAME = 3,   /* breaks the format, or comes out of turn */
    DZ_WIRE_BAD_CHUNK = 4,   /* its bytes are not what it is called */
    DZ_WIRE_NOT_YOURS = 5,   /* refers to what this source did not send */
    DZ_WIRE_LIMIT = 6,       /* one run: number (enum dz_wire_what), limit */
    DZ_WIRE_QUOTA = 7,       /* one day: likewise */
    DZ_WIRE_BUSY = 8,        /* try again after so many seconds */
    DZ_WIRE_FAILED = 9,      /* the vault could not; its own log says why */
    DZ_WIRE_MISMATCH = 10,   /* COMMIT counts other entries than arrived */
    DZ_WIRE_TOO_SLOW = 11,   /* nothing came for too long, or the run lasts too long */
};

/* What there may be too much of; numbers are on the wire. */
enum dz_wire_what {
    DZ_WIRE_ENTRIES = 1,
    DZ_WIRE_BYTES = 2, /* of payloads between READY and COMMIT */
    DZ_WIRE_RUNS = 3,
};

struct dz_wire_hello {
    uint16_t lowest, highest; /* versions that the source speaks */
};
struct dz_wire_welcome {
    uint16_t version;
    uint8_t nonce[DZ_WIRE_NONCE]; /* what proofs are made over */
};
struct dz_wire_begin {
    dz_slice source;
    uint8_t run[DZ_WIRE_RUN]; /* random; the same when a run is tried again */
    dz_slice host;            /* for people */
    dz_slice paths, excludes; /* fields, as in a commit */
    dz_slice proof;           /* DZ_WIRE_PROOF bytes, or none on the vault's own host */
};
struct dz_wire_ready {
    uint32_t chunk_min, chunk_avg, chunk_max; /* bytes */
    uint8_t chunk_key[32];
};
struct dz_wire_chunk {
    dz_id id;
    dz_slice bytes; /* 1..DZ_OBJECT_MAX */
};
struct dz_wire_commit {
    uint64_t entries, bytes; /* as the source counts them: the vault compares */
};
struct dz_wire_done {
    uint8_t snapshot[DZ_SNAPSHOT_ID_BYTES];
    int64_t arrived_us; /* the vault's clock */
    uint64_t entries, bytes;
    uint64_t sent; /* bytes of chunks that were new from this source */
};
struct dz_wire_enrol {
    uint8_t token[DZ_WIRE_TOKEN];
    uint8_t key[DZ_WIRE_KEY];
    uint8_t proof[DZ_WIRE_PROOF];
};
struct dz_wire_cert {
    dz_slice source;
    dz_slice cert, ca; /* DER (X.509) */
};
struct dz_wire_refused {
    uint16_t code;    /* enum dz_wire_code, or one of a newer version */
    uint32_t after_s; /* trying again is of use after so many seconds; 0: it is not */
    uint64_t number, limit;
};

/* The largest payload of a type; 0: there is no such type. */
size_t dz_wire_limit(uint8_t type);

/* --- writing: appends whole frames.  Memory running out shows in dz_buf_ok(). --- */

void dz_wire_put_hello(dz_buf *to, const struct dz_wire_hello *m);
void dz_wire_put_welcome(dz_buf *to, const struct dz_wire_welcome *m);
void dz_wire_put_begin(dz_buf *to, const struct dz_wire_begin *m);
void dz_wire_put_ready(dz_buf *to, const struct dz_wire_ready *m);
void dz_wire_put_have(dz_buf *to, const dz_id *ids, size_t n);
/* held[i]: the vault need not be sent the i-th. */
void dz_wire_put_held(dz_buf *to, const bool *held, size_t n);
void dz_wire_put_chunk(dz_buf *to, const struct dz_wire_chunk *m);
/* `rows`: n times length (varint) and identity, made with dz_wire_put_ref(). */
void dz_wire_put_refs(dz_buf *to, dz_slice rows);
void dz_wire_put_ref(dz_buf *rows, uint32_t length, const dz_id *id);
void dz_wire_put_entry(dz_buf *to, const dz_entry *e);
void dz_wire_put_problem(dz_buf *to, const dz_problem *m);
void dz_wire_put_commit(dz_buf *to, const struct dz_wire_commit *m);
void dz_wire_put_done(dz_buf *to, const struct dz_wire_done *m);
void dz_wire_put_enrol(dz_buf *to, const struct dz_wire_enrol *m);
void dz_wire_put_cert(dz_buf *to, const struct dz_wire_cert *m);
void dz_wire_put_refused(dz_buf *to, const struct dz_wire_refused *m);
void dz_wire_put_wait(dz_buf *to);

/* --- reading: one payload.  DZ_E_MALFORMED says what is wrong; DZ_E_NOMEM. --- */

struct dz_wire_message {
    uint8_t type;
    union {
        struct dz_wire_hello hello;
        struct dz_wire_welcome welcome;
        struct dz_wire_begin begin;
        struct dz_wire_ready ready;
        struct {
            dz_slice ids; /* n * 32 bytes */
            size_t n;
        } have;
        struct {
            dz_slice bits; /* bit i of byte i / 8, lowest first */
            size_t n;
        } held;
        struct dz_wire_chunk chunk;
        struct {
            dz_slice rows; /* dz_wire_next_ref() */
            size_t n;
        } refs;
        dz_entry entry;
        dz_problem problem;
        struct dz_wire_commit commit;
        struct dz_wire_done done;
        struct dz_wire_enrol enrol;
        struct dz_wire_cert cert;
        struct dz_wire_refused refused;
    };
};
/* `path` is room that the message may borrow from besides the payload. */
dz_status dz_wire_read(uint8_t type, dz_slice payload, dz_buf *path,
                       struct dz_wire_message *ret_message, dz_err *err) DZ_MUST_CHECK;
/* The frame of a message: the bytes that it was read from. */
void dz_wire_put(dz_buf *to, const struct dz_wire_message *m);

/* Steps through rows that dz_wire_read() has accepted. */
bool dz_wire_next_ref(dz_reader *r, uint32_t *ret_length, dz_id *ret_id);
static inline bool dz_wire_held(dz_slice bits, size_t i) {
    return bits.data[i / 8] >> (i % 8) & 1;
}

/* --- whose turn it is --- */

enum dz_wire_state {
    DZ_WIRE_NEW = 0,  /* HELLO is awaited */
    DZ_WIRE_GREETED,  /* BEGIN or ENROL */
    DZ_WIRE_RUNNING,  /* HAVE, CHUNK, REFS, ENTRY, PROBLEM, COMMIT */
    DZ_WIRE_FINISHED, /* nothing more */
};
/* The state after a message of the source; false: it is not its turn. */
bool dz_wire_step(enum dz_wire_state *state, uint8_t type);

/* --- what is signed --- */

/* SHA-256 over "dozo wire v1 begin" and a zero byte, the nonce, and the payload of BEGIN with an
 * empty proof.  DZ_E_NOMEM. */
dz_status dz_wire_begin_digest(const uint8_t nonce[DZ_WIRE_NONCE], const struct dz_wire_begin *m,
                               uint8_t ret[DZ_SHA256_BYTES], dz_err *err) DZ_MUST_CHECK;
/* SHA-256 over "dozo wire v1 enrol" and a zero byte, the nonce, token and key. */
void dz_wire_enrol_digest(const uint8_t nonce[DZ_WIRE_NONCE], const struct dz_wire_enrol *m,
                          uint8_t ret[DZ_SHA256_BYTES]);

/* --- frames out of a stream of bytes --- */

/* The next frame at the start of `bytes`: its type and payload (borrowed).  *ret_used is the bytes
 * it takes, 0 when more must come first.  DZ_E_MALFORMED (no such type, flags), DZ_E_LIMIT (longer
 * than its type may be): known from the header alone, before any of the payload is there. */
dz_status dz_wire_frame(dz_slice bytes, uint8_t *ret_type, dz_slice *ret_payload, size_t *ret_used,
                        dz_err *err) DZ_MUST_CHECK;
