/* intake/take.h -- the vault's side of the take protocol: one connection, bytes in and bytes out.
 *
 *   bytes ─▶ [take: frames, turns, proof] ─▶ [run: chunks, entries] ─▶ session ─▶ one snapshot
 *                        bytes ◀─ WELCOME, READY, HELD, DONE, REFUSED
 *
 * Whatever the source sends, the outcome is one snapshot of what it sent, or none.  It never blocks
 * on the source: who carries the bytes does (a socket pair, TLS), and says when time is up.  It
 * does block on the vault.  The rules: docs/format/wire.md; why: docs/design/intake.md.
 *
 * A take belongs to one thread at a time.  Memory: at most DZ_TAKE_MEMORY bytes while a run is
 * under way, 4 MiB before. */
#pragma once

#include "intake/quota.h"
#include "intake/wire.h"
#include "store/vault.h"

/* Bytes of heap that one run may have: the session's queue and lane (64 MiB), what was sent
 * (32 MiB), one content list a level, and two frames. */
enum { DZ_TAKE_MEMORY = 128 << 20 };

/* How much one run may bring; docs/format/wire.md says how it is counted. */
struct dz_take_limits {
    uint64_t entries;
    uint64_t bytes;
};
#define DZ_TAKE_LIMITS_DEFAULT \
    ((struct dz_take_limits){ .entries = 100 * 1000 * 1000, .bytes = UINT64_C(16) << 40 })

struct dz_take_how {
    struct dz_vault *vault; /* borrowed, as is all that follows */
    /* A program of the vault's own host, which proves nothing and may speak for this source alone;
     * NULL: key() knows. */
    const char *source;
    /* Gives the key that the source enrolled; asked at BEGIN, and at COMMIT whether it still
     * counts.  DZ_E_POLICY: it may not send.  NULL: nobody sends here. */
    dz_status (*key)(void *ctx, const char *source, uint8_t ret_key[DZ_WIRE_KEY], dz_err *err);
    /* Takes who shows a token and has proved to have the key: gives the source, and appends its
     * certificate and the authority's (DER).  DZ_E_POLICY: it may not.  NULL: nobody enrols here.
     */
    dz_status (*enrol)(void *ctx, const struct dz_wire_enrol *m,
                       char ret_source[DZ_SOURCE_NAME_MAX + 1], dz_buf *cert, dz_buf *authority,
                       dz_err *err);
    void *ctx;
    bool wait; /* HELLO is answered when dz_take_admit() says so */
    struct dz_take_limits limits;
    struct dz_quota_limits day;
    /* Where DONE of a new run leaves the commit, with what is sealed in it: for who tells people
     * what was left out.  The caller releases it; NULL: nobody asks. */
    struct dz_commit *commit;
};

/* How it stands with a connection. */
struct dz_take_state {
    enum { DZ_TAKE_OPEN, DZ_TAKE_DONE, DZ_TAKE_REFUSED, DZ_TAKE_CUT } is;
    bool waiting;                        /* for dz_take_admit() */
    bool running;                        /* READY was said */
    char source[DZ_SOURCE_NAME_MAX + 1]; /* proven; "" before */
    struct dz_wire_done done;            /* of DONE */
    bool again;                          /* DONE of a run that was kept before */
    bool enrolled;                       /* done, but with CERT */
    struct dz_wire_refused refused;      /* of REFUSED */
    dz_err why;                          /* of REFUSED, for the vault's own log */
};

struct dz_take;
/* DZ_E_NOMEM. */
dz_status dz_take_new(const struct dz_take_how *how, struct dz_take **ret_take,
                      dz_err *err) DZ_MUST_CHECK;
/* Abandons a run that is not done.  NULL is fine. */
void dz_take_free(struct dz_take *t);
DZ_DEFINE_AUTO(dz_take, dz_take_free)

/* Takes what the source sent, in pieces of any size.  Nothing once the state is not OPEN. */
void dz_take_feed(struct dz_take *t, dz_slice bytes);

/* What is to be sent, borrowed until the next call; the first n bytes of it were. */
dz_slice dz_take_out(const struct dz_take *t);
void dz_take_sent(struct dz_take *t, size_t n);

const struct dz_take_state *dz_take_state(const struct dz_take *t);

/* It is the source's turn: WELCOME.  Only while waiting. */
void dz_take_admit(struct dz_take *t);
/* It is not, yet: WAIT, so that the source knows that somebody is there.  Only while waiting. */
void dz_take_wait(struct dz_take *t);
/* Ends it from outside: too slow, busy. */
void dz_take_refuse(struct dz_take *t, const struct dz_wire_refused *refused);
/* The source is gone.  What it sent is kept without a snapshot, so that it need not come again. */
void dz_take_cut(struct dz_take *t);
