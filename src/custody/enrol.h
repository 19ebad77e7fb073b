/* custody/enrol.h -- which machine may send as which source: invitations, keys, revocations.
 *
 *   dozo enrol ─▶ INVITE leaf (hash of a token)     token, key ─▶ [take] ─▶ ENROL leaf ─▶
 * certificate dozo enrol --revoke ─▶ REVOKE leaf
 *
 * The log is the list of who may send and the list of who no longer may: nothing else has to be
 * kept, handed out or brought up to date.  A source has one key, the newest; one invitation, the
 * newest, which is used once.  A key belongs to one source.  Who has the host's keys may enrol:
 * that adds somebody who can add, and takes nothing away.  Layout of the leaves:
 * docs/format/log.md. One thread at a time. */
#pragma once

#include "custody/ledger.h"
#include "store/commit.h"

enum {
    DZ_ENROL_TOKEN = 16, /* random bytes: what is guessed is never there */
    DZ_ENROL_KEY = 32,   /* an Ed25519 public key (RFC 8032) */
};
#define DZ_ENROL_VALID_MAX_US (INT64_C(7) * 86400 * 1000000)

/* A source's machine. */
typedef struct dz_enrolled {
    char source[DZ_SOURCE_NAME_MAX + 1];
    uint8_t key[DZ_ENROL_KEY];
    int64_t since_us;
    uint64_t invite; /* the leaf that it was invited by */
} dz_enrolled;

/* An invitation; of each source the newest. */
typedef struct dz_invite {
    char source[DZ_SOURCE_NAME_MAX + 1];
    uint8_t token_hash[32]; /* SHA-256 of the token, which is kept nowhere */
    int64_t until_us;
    uint64_t leaf;
    bool used;
} dz_invite;

struct dz_enrolment {
    dz_enrolled *machines;
    size_t n_machines;
    dz_invite *invites;
    size_t n_invites;
    uint64_t size;     /* leaves that were read */
    int64_t logged_us; /* the greatest time among them */
    int64_t now_us;    /* the clock, or that, where it is later */
};

/* Takes in what the log says beyond what `e` has; a zeroed one has nothing.  The caller releases
 * it.  As dz_ledger_read(). */
dz_status dz_enrolment_update(struct dz_vault *v, struct dz_enrolment *e,
                              dz_err *err) DZ_MUST_CHECK;
void dz_enrolment_release(struct dz_enrolment *e); /* a zeroed one is fine */
/* NULL: there is none. */
const dz_enrolled *dz_enrolled_source(const struct dz_enrolment *e, const char *source);
const dz_enrolled *dz_enrolled_key(const struct dz_enrolment *e, const uint8_t key[DZ_ENROL_KEY]);
/* It was not used and is not over. */
bool dz_invite_is_open(const struct dz_enrolment *e, const dz_invite *i);
bool dz_enrolment_invites(const struct dz_enrolment *e); /* some invitation is open */

/* Invites a machine to become this source.  The token is the caller's to show once, and to wipe.
 * DZ_E_USAGE (the name; longer than DZ_ENROL_VALID_MAX_US), else as dz_ledger_add(). */
dz_status dz_enrol_invite(struct dz_vault *v, const char *source, int64_t valid_us,
                          uint8_t ret_token[DZ_ENROL_TOKEN], int64_t *ret_until_us,
                          dz_err *err) DZ_MUST_CHECK;

/* Takes who shows a token and has proved to have the key.  When it returns DZ_OK the leaf is
 * durable and the token used up.  The same token with the same key once more gives the same answer,
 * as long as the token lives: the first one may have been lost on its way. DZ_E_POLICY (no open
 * invitation; a key of another source), else as dz_ledger_add(). */
dz_status dz_enrol_take(struct dz_vault *v, const uint8_t token[DZ_ENROL_TOKEN],
                        const uint8_t key[DZ_ENROL_KEY], dz_enrolled *ret,
                        dz_err *err) DZ_MUST_CHECK;

/* From this leaf on the source's key counts for nothing, nor an invitation that is open.
 * DZ_E_NOT_FOUND: it has neither; else as dz_ledger_add(). */
dz_status dz_enrol_revoke(struct dz_vault *v, const char *source, dz_err *err) DZ_MUST_CHECK;
