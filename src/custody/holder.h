/* custody/holder.h -- the process that keeps an opened vault's key, so that readers need not.
 *
 *   shares ─▶ root ─▶ [start] ─▶ dozo-keyholder: derives the pair, wipes the root, OPEN leaf
 *   or a share, from each custodian's terminal ─▶ [give] ─▶ the holder joins them when it has k
 *   reader: stanza and context of a segment ─▶ socket ─▶ holder ─▶ that segment's key
 *
 * The private half never leaves the holder.  A reader that crashes at 03:00 starts again without
 * the custodians.  The holder ends by itself when the time is over, counted by the boot clock
 * (suspended time counts), and writes a CLOSE leaf.
 *
 * It listens on a socket in a directory that only its user can enter, and answers that user (and
 * root) only: whoever is that user can have every key opened until it ends.  Design:
 * docs/design/opening.md.  The messages are between programs of one version, and no format.
 *
 * A dz_holder may be shared by threads; the rest belongs to one. */
#pragma once

#include "store/vault.h"

enum {
    DZ_HOLDER_PATH = 108,        /* bytes of a socket's path, with the NUL */
    DZ_HOLDER_WHO_MAX = 200,     /* bytes of who opened */
    DZ_HOLDER_PACKET_MAX = 1024, /* bytes of a message */
    DZ_HOLDER_CONTEXT_MAX = 256,
};
#define DZ_HOLDER_LIFE_US (INT64_C(72) * 3600 * 1000000)      /* when nobody says otherwise */
#define DZ_HOLDER_GATHER_US (INT64_C(15) * 60 * 1000000)      /* for the shares to come together */
#define DZ_HOLDER_LIFE_MAX_US (INT64_C(168) * 3600 * 1000000) /* longer is not taken */

struct dz_holder;

typedef struct dz_holder_state {
    bool open;
    int64_t opened_us; /* UTC; 0 until it is open */
    int64_t left_us;   /* until it ends; not open yet: until the shares are forgotten */
    int64_t pid;
    unsigned have, need; /* shares that were given, of how many; 0 and 0: none waits */
} dz_holder_state;

/* Where this user's holder of the vault listens: below DOZO_RUNTIME_DIR, or /run/dozo (root), or
 * XDG_RUNTIME_DIR/dozo; `make`: makes the directory.
 * DZ_E_NOT_FOUND (there is none), DZ_E_POLICY (not ours alone), DZ_E_LIMIT (too long), DZ_E_IO. */
dz_status dz_holder_place(const struct dz_vault *v, bool make, char ret_path[DZ_HOLDER_PATH],
                          dz_err *err) DZ_MUST_CHECK;

/* Starts one: runs `program` (dozo-keyholder) with the root, which the caller wipes.  It has opened
 * the vault, and the OPEN leaf is in the log, when this returns DZ_OK.
 * DZ_E_EXISTS (there is one), DZ_E_POLICY (another vault's root), DZ_E_IO, DZ_E_NOMEM, ... */
dz_status dz_holder_start(const char *program, const struct dz_vault *v,
                          const uint8_t root[DZ_ROOT_BYTES], int64_t life_us, const char *who,
                          dz_holder_state *ret_state, dz_err *err) DZ_MUST_CHECK;

/* The same with the first share: it is not open yet, and waits DZ_HOLDER_GATHER_US for the others.
 */
dz_status dz_holder_start_with(const char *program, const struct dz_vault *v, const dz_share *share,
                               int64_t life_us, const char *who, dz_holder_state *ret_state,
                               dz_err *err) DZ_MUST_CHECK;

/* Finds the running one.  DZ_E_NOT_FOUND: there is none; DZ_E_POLICY: somebody else's. */
dz_status dz_holder_find(const struct dz_vault *v, struct dz_holder **ret_holder,
                         dz_err *err) DZ_MUST_CHECK;
void dz_holder_free(struct dz_holder *h); /* hangs up; NULL is fine */
DZ_DEFINE_AUTO(dz_holder, dz_holder_free)

/* Each: DZ_E_CLOSED when it has ended meanwhile, DZ_E_IO. */
dz_status dz_holder_ask_state(struct dz_holder *h, dz_holder_state *ret_state,
                              dz_err *err) DZ_MUST_CHECK;
/* Lets it go on for life_us from now: whoever has the root may.  DZ_E_POLICY: it is not the root.
 */
dz_status dz_holder_renew(struct dz_holder *h, const uint8_t root[DZ_ROOT_BYTES], int64_t life_us,
                          const char *who, dz_holder_state *ret_state, dz_err *err) DZ_MUST_CHECK;
/* Gives one custodian's share.  With the last one that is needed, the vault is opened, or, if it is
 * open, may stay so for life_us from now (that of the last share).  Repeated shares count once.
 * DZ_E_POLICY, DZ_E_MALFORMED: not a share of this vault; those given before stay. */
dz_status dz_holder_give(struct dz_holder *h, const dz_share *share, int64_t life_us,
                         const char *who, dz_holder_state *ret_state, dz_err *err) DZ_MUST_CHECK;
/* Ends it: the key is wiped when this returns, whatever else failed. */
dz_status dz_holder_end(struct dz_holder *h, dz_err *err) DZ_MUST_CHECK;

/* Opens the vault for reading through the holder, which the vault takes over, whatever happens. */
dz_status dz_holder_unlock(struct dz_vault *v, struct dz_holder *h, dz_err *err) DZ_MUST_CHECK;

/* --- the messages, for holder_serve.c --------------------------------------------------------- */

/* A request is a letter and its body, an answer a status (1 byte) and its body: the key; the six
 * members of dz_holder_state, 8 bytes each; or, for a failure, its text.  Little-endian. */
enum {
    DZ_HOLDER_KEY = 'K',   /* length of the context (2 bytes), context, sealed */
    DZ_HOLDER_STATE = 'S', /* nothing */
    DZ_HOLDER_RENEW = 'R', /* life (8 bytes), root (32), who; the first message of all ... */
    DZ_HOLDER_GIVE = 'G',  /* life (8), length of the QR text (1), QR text, who; ... or this */
    DZ_HOLDER_END = 'E',   /* nothing */
};
enum {
    DZ_HOLDER_RENEW_HEAD = 1 + 8 + DZ_ROOT_BYTES,
    DZ_HOLDER_GIVE_HEAD = 1 + 8 + 1,
    DZ_HOLDER_STATE_BYTES = 48
};
