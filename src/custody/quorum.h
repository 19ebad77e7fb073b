/* custody/quorum.h -- who may approve, what is asked for, and what was approved by enough of them.
 *
 *   genesis: operators, k ─┐
 *   REQUEST, APPROVE and ──┴▶ [replay, leaf by leaf] ─▶ operators, requests, "leaf N is approved"
 *   OPERATOR-* leaves
 *
 * The log is written by the host, and who has stolen the host's keys writes it too.  So nothing
 * counts because it stands there.  A request counts if it is of this vault, names a head that this
 * log has had, and was logged while it was valid.  An approval counts if the request's own text is
 * signed by somebody who was an operator when it was logged; each key once.  What carries a request
 * out counts if at that leaf k of those who signed are operators still, the request has not
 * expired, was never used, what it says of the log is so, and the leaf says the same as the
 * request (custody/effect.h).  Everything is verified from the log each time.
 *
 * A request's time is the greatest that the log has shown since the request: a clock that is turned
 * back later does not bring it to life again.  Design: docs/design/custody.md.  Layout of the
 * leaves: docs/format/requests.md.  One thread at a time. */
#pragma once

#include "crypto/sshsig.h"
#include "custody/policy.h"
#include "custody/request.h"

enum { DZ_OPERATOR_NAME_MAX = 64 };
/* A request may be dated this much after its leaf: it is made and logged in one go. */
#define DZ_REQUEST_SLACK_US (INT64_C(600) * 1000000)

typedef struct dz_operator {
    dz_ssh_key key;
    char name[DZ_OPERATOR_NAME_MAX + 1];
    char fingerprint[DZ_SSH_FINGERPRINT_TEXT];
    uint64_t since; /* the leaf that made them one; 0: from the start */
    uint64_t until; /* the leaf that ended it; UINT64_MAX: they still are */
} dz_operator;

/* A request of the log. */
typedef struct dz_ask {
    struct dz_request request;
    uint64_t leaf; /* where it stands */
    int64_t time_us;
    int64_t latest_us; /* the greatest time of the log from there on, or until it was done */
    uint64_t done;     /* the leaf that carried it out; 0: none has */
} dz_ask;

enum dz_ask_state {
    DZ_ASK_OPEN,
    DZ_ASK_READY, /* approved by enough, and not carried out */
    DZ_ASK_DONE,  /* carried out */
    DZ_ASK_EXPIRED,
    DZ_ASK_OVERTAKEN, /* it no longer says what would happen */
};

typedef struct dz_approval {
    size_t ask, by; /* places in the lists below */
    uint64_t leaf;
    int64_t time_us;
} dz_approval;

struct dz_quorum {
    unsigned needed;        /* k; 0: the vault has no operators, nothing can be approved */
    dz_operator *operators; /* everybody who ever was one */
    size_t n_operators, n_present;
    dz_ask *asks;
    size_t n_asks;
    dz_approval *approvals;
    size_t n_approvals;
    uint64_t forged;                /* leaves that claim or need an approval that is not there */
    uint64_t first_forged;          /* the first of them */
    struct dz_policies policies;    /* rules as they are: tightened by one, loosened by enough */
    const struct dz_ledger *ledger; /* that it was read from; borrowed */
};

/* Where the replay starts, and what it asks the log. */
struct dz_quorum_start {
    dz_vault_id vault;
    const char *fingerprint; /* of the vault */
    char *const *operators;  /* public key lines */
    size_t n_operators;
    unsigned approvals; /* k */
    /* Whether the log has had this head.  A failure is handed up. */
    dz_status (*was_head)(void *ctx, const dz_checkpoint *head, bool *ret_was, dz_err *err);
    void *ctx;
};

/* Replays.  The caller releases *ret before the ledger.
 * DZ_E_CORRUPT (an operator of the genesis is no key; the log is damaged), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_quorum_replay(const struct dz_quorum_start *start, const struct dz_ledger *ledger,
                           struct dz_quorum *ret, dz_err *err) DZ_MUST_CHECK;
/* The same for a vault and what dz_ledger_read() gave of it. */
dz_status dz_quorum_read(struct dz_vault *v, const struct dz_ledger *ledger, struct dz_quorum *ret,
                         dz_err *err) DZ_MUST_CHECK;
void dz_quorum_release(struct dz_quorum *q); /* a zeroed one is fine */

/* The request that the leaf at this index carried out, approved by enough, or NULL.  Whoever acts
 * on a leaf that needs approval asks here, and holds its own content against the request's text. */
const dz_ask *dz_quorum_approved(const struct dz_quorum *q, uint64_t leaf);
/* The request of this name, or NULL. */
const dz_ask *dz_quorum_ask(const struct dz_quorum *q, const uint8_t id[32]);
/* The kind of leaf that carries out requests of this kind (enum dz_leaf_kind); 0: none yet. */
uint16_t dz_quorum_effect(enum dz_request_kind kind);

/* Whether k of those who signed are operators still. */
bool dz_quorum_enough(const struct dz_quorum *q, const dz_ask *a);
/* How many of those who signed are. */
size_t dz_quorum_count(const struct dz_quorum *q, const dz_ask *a);

/* How it stands at this time.  DZ_E_NOMEM. */
dz_status dz_quorum_state(const struct dz_quorum *q, const dz_ask *a, int64_t now_us,
                          enum dz_ask_state *ret_state, dz_err *err) DZ_MUST_CHECK;
/* "open", "ready", "done", "expired", "overtaken".  Static. */
const char *dz_ask_state_name(enum dz_ask_state state);
/* Whether a request could still be approved or carried out at this time.  DZ_E_POLICY: not; used,
 * expired, overtaken by another (says which), or the vault has no operators.  DZ_E_NOMEM. */
dz_status dz_quorum_check_open(const struct dz_quorum *q, const dz_ask *a, int64_t now_us,
                               dz_err *err) DZ_MUST_CHECK;
/* Whether this signature (armored) would count now.  *ret_by is whose it is.
 * DZ_E_POLICY: not an operator's, not of this text, theirs counts already; or as above.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_UNSUPPORTED (no signature that can be read), DZ_E_NOMEM. */
dz_status dz_quorum_check_signature(const struct dz_quorum *q, const dz_ask *a, dz_slice armor,
                                    int64_t now_us, size_t *ret_by, dz_err *err) DZ_MUST_CHECK;

/* The present operator with this name or fingerprint, or with this key; NULL: none. */
const dz_operator *dz_quorum_find(const struct dz_quorum *q, const char *who);
const dz_operator *dz_quorum_find_key(const struct dz_quorum *q, const dz_ssh_key *key);
/* What an operator's request says of afterwards: "any 2 of these 3 approve: alice, bob, carol".
 * One of the two is NULL: who leaves, the name of who comes.  Fails by to->bad only. */
void dz_quorum_afterwards(const struct dz_quorum *q, const dz_operator *leaves, const char *comes,
                          dz_buf *to);
/* 1 to DZ_OPERATOR_NAME_MAX bytes, all visible, no spaces, quotes or backslashes. */
bool dz_operator_name_ok(dz_slice name);
