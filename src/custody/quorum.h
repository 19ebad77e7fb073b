/* custody/quorum.h -- who may approve, what was asked for, and whether enough of them did.
 *
 *   vault.yaml, ledger ─▶ [read] ─▶ operators, requests, approvals, each signature verified again
 *   leaf that deletes early or loosens ─▶ [check] ─▶ k operators of that moment signed exactly this
 *
 * Nothing but the log says who the operators are and what they approved: the first ones stand in
 * vault.yaml, bound by leaf 0; each later change is a leaf that names a request, and counts only
 * if k of the operators of that moment had signed it.  A leaf that does not is passed over and
 * told (`refused`): whoever has the host's keys can append leaves, but cannot sign for operators.
 *
 * An approval counts for a leaf when
 *  - the request is of this vault and of this log: the head that it names is in the log's past;
 *  - the signature is by an operator who was one when they signed and has been one since;
 *  - each key counts once;
 *  - the request had not expired: by no leaf's time since it was made (`expires` is compared with
 *    the latest of them, so a clock that is set back revives nothing);
 *  - no earlier leaf was made in its name: a request is used once.
 *
 * Formats: docs/format/requests.md.  One thread at a time. */
#pragma once

#include "crypto/sshsig.h"
#include "custody/ledger.h"
#include "custody/request.h"

enum { DZ_OPERATOR_NAME_MAX = 64 /* bytes */ };

typedef struct dz_operator {
    char name[DZ_OPERATOR_NAME_MAX + 1];
    dz_ssh_key key;
    uint64_t since; /* leaf that added them; 0: there from the beginning */
    uint64_t until; /* leaf that removed them; UINT64_MAX: still there */
} dz_operator;

/* One line of text without blanks and quotes, all of it visible. */
bool dz_operator_name_ok(const char *name);

typedef struct dz_approval {
    size_t who; /* into dz_quorum.operators */
    uint64_t leaf;
    int64_t time_us;
    dz_buf signature; /* owned by the quorum: the blob of crypto/sshsig.h */
} dz_approval;

struct dz_asked {
    struct dz_request request;
    uint64_t leaf;
    int64_t time_us;
    dz_approval *approvals;
    size_t n_approvals;
    uint64_t used; /* leaf made in its name; UINT64_MAX: none yet */
};

/* A leaf that says more than operators signed. */
typedef struct dz_refused {
    uint64_t leaf;
    uint16_t kind; /* enum dz_leaf_kind */
    dz_err why;
} dz_refused;

struct dz_quorum {
    unsigned needed;        /* k; 0: a vault without operators, where nothing can be approved */
    dz_operator *operators; /* also those of the past, in the order of `since` */
    size_t n_operators;
    struct dz_asked *asked; /* in log order */
    size_t n_asked;
    dz_refused *refused;
    size_t n_refused;
    uint64_t size;     /* of the log that was read */
    int64_t *times_us; /* latest time of any custody leaf ... */
    uint64_t *indexes; /* ... up to this one */
    size_t n_times;
};

/* Replays the ledger.  The caller frees *ret_quorum.
 * DZ_E_CORRUPT (the log), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_quorum_read(struct dz_vault *v, const struct dz_ledger *ledger,
                         struct dz_quorum **ret_quorum, dz_err *err) DZ_MUST_CHECK;
void dz_quorum_free(struct dz_quorum *q); /* NULL is fine */
DZ_DEFINE_AUTO(dz_quorum, dz_quorum_free)

/* Whether the leaf with index `at` may do in the name of this request what it does: the request is
 * of this kind, its subject says `value` in the line `field`, and it was approved.  `at` may also
 * be q->size, for a leaf that is yet to be appended, at the time now_us (else not looked at).
 * DZ_E_POLICY (says what is missing), DZ_E_NOT_FOUND (no such request). */
dz_status dz_quorum_check(const struct dz_quorum *q, const uint8_t request[32], uint64_t at,
                          int64_t now_us, enum dz_request_kind kind, const char *field,
                          const char *value, dz_err *err) DZ_MUST_CHECK;

/* Operators that are ones before leaf `at`; the number is returned.  `each` may be NULL. */
bool dz_operator_at(const dz_operator *o, uint64_t at);
size_t dz_quorum_operators_at(const struct dz_quorum *q, uint64_t at);
/* The present operator with this key, or this name; NULL when there is none. */
const dz_operator *dz_quorum_by_key(const struct dz_quorum *q, const dz_ssh_key *key);
const dz_operator *dz_quorum_by_name(const struct dz_quorum *q, const char *name);

/* Approvals that count for a leaf with index `at`. */
unsigned dz_quorum_count(const struct dz_quorum *q, const struct dz_asked *a, uint64_t at);
/* Whether it had expired at leaf `at`; now_us is looked at when `at` is q->size. */
bool dz_quorum_expired(const struct dz_quorum *q, const struct dz_asked *a, uint64_t at,
                       int64_t now_us);

enum dz_asked_state {
    DZ_ASKED_OPEN,     /* waits for approvals */
    DZ_ASKED_APPROVED, /* enough of them, and not yet done: a crash came between; any call of `dozo
                          approve` does it */
    DZ_ASKED_DONE,
    DZ_ASKED_EXPIRED,
};
enum dz_asked_state dz_quorum_state(const struct dz_quorum *q, const struct dz_asked *a,
                                    int64_t now_us);

/* The request that `name` begins: hexadecimal digits, six at least.
 * DZ_E_NOT_FOUND, DZ_E_USAGE (too short; several begin so). */
dz_status dz_quorum_find(const struct dz_quorum *q, const char *name,
                         const struct dz_asked **ret_asked, dz_err *err) DZ_MUST_CHECK;

/* Appends the request to the log.  DZ_E_POLICY: a vault without operators; else as
 * dz_vault_note(). */
dz_status dz_quorum_ask(struct dz_vault *v, int tmpfd, const struct dz_quorum *q,
                        const struct dz_request *request, dz_err *err) DZ_MUST_CHECK;

/* Verifies a signature's blob and appends the approval.  *ret_who (may be NULL) is borrowed from q.
 * DZ_E_POLICY: done or expired; not by an operator; they approved it already; not of this text.
 * DZ_E_MALFORMED, DZ_E_UNSUPPORTED (the signature); else as dz_vault_note(). */
dz_status dz_quorum_approve(struct dz_vault *v, int tmpfd, const struct dz_quorum *q,
                            const struct dz_asked *a, dz_slice signature, int64_t now_us,
                            const dz_operator **ret_who, dz_err *err) DZ_MUST_CHECK;
