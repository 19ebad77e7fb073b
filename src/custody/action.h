/* custody/action.h -- what can be asked for, and how it is described, approved and carried out.
 *
 *   "operator-add KEYFILE" ─▶ row of the table ─▶ [describe] ─▶ text ─▶ REQUEST leaf
 *   signature ─▶ would it count? ─▶ APPROVE leaf       enough of them ─▶ [carry out] ─▶ its leaf
 *
 * A kind of request stands in the table once its effect exists; nothing else can be asked for.  To
 * add one: a row here, what its leaf is and what it needs in custody/effect.c, and whoever acts on
 * that leaf asks dz_quorum_approved().  Each step is durable in the log before the next.
 *
 * What stands in the log is judged by custody/quorum.h alone; the checks here spare people a
 * request that could not be carried out.  One thread at a time. */
#pragma once

#include "custody/quorum.h"

/* The vault as its log has it now. */
struct dz_custody {
    struct dz_vault *v; /* borrowed */
    struct dz_ledger *ledger;
    struct dz_quorum quorum;
    dz_checkpoint head; /* that the two were read at, or later */
};
/* Reads log and quorum, again if they were read before.  As dz_ledger_read(), dz_quorum_read(). */
dz_status dz_custody_read(struct dz_custody *c, dz_err *err) DZ_MUST_CHECK;
/* Nobody else sets rules or carries out a request until *ret_fd is closed: who looks, and then
 * writes what is right by what they saw.  Waits for them.  DZ_E_IO. */
dz_status dz_custody_lock(struct dz_vault *v, int *ret_fd, dz_err *err) DZ_MUST_CHECK;
void dz_custody_release(struct dz_custody *c); /* but not the vault; a zeroed one is fine */

/* What the asker typed. */
struct dz_operands {
    char *const *what; /* the row's operands, at least one if it has any */
    size_t n;
    const char *name; /* what a new operator is to be called; NULL: as in the key's file */
};

/* The lines of a subject, without newlines. */
struct dz_subject {
    dz_buf line[DZ_REQUEST_SUBJECT_MAX];
    dz_buf snapshot[DZ_REQUEST_SNAPSHOTS_MAX][DZ_REQUEST_LINES];
    size_t n_snapshots;
};
void dz_subject_release(struct dz_subject *s);

struct dz_action {
    const char *word;    /* "operator-add": as it is typed */
    const char *operand; /* "KEYFILE"; NULL: takes none */
    const char *summary; /* N_() */
    enum dz_request_kind kind;
    bool several; /* takes more than one operand */
    /* Fills in the subject's lines: what is, and what would be. */
    dz_status (*describe)(const struct dz_custody *c, const struct dz_operands *typed,
                          struct dz_subject *ret, dz_err *err);
    /* Appends the leaf that carries out what was approved, and does what follows from it. */
    dz_status (*carry_out)(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                           dz_err *err);
};
extern const struct dz_action dz_actions[]; /* ends with a zeroed row */
/* By its word; `delete` will do for `delete-snapshot`. */
const struct dz_action *dz_action_find(const char *word);
const struct dz_action *dz_action_of(enum dz_request_kind kind); /* NULL: no effect yet */

/* Asks: the request's leaf is in the log, and *ret_request the caller's to release.
 * DZ_E_POLICY (it could not be carried out, or there are no operators), DZ_E_USAGE (an operand, the
 * reason, the time it may live), DZ_E_NOT_FOUND, DZ_E_LIMIT, else as dz_ledger_note(). */
dz_status dz_ask_for(struct dz_custody *c, int tmpfd, const struct dz_action *action,
                     const struct dz_operands *typed, const char *asked_by, const char *why,
                     int64_t life_us, struct dz_request *ret_request, dz_err *err) DZ_MUST_CHECK;

/* Logs an approval, if it counts.  *ret_by (may be NULL) is whose it is.
 * As dz_quorum_check_signature() and dz_ledger_note().  `a` is no longer valid afterwards: reads
 * log and quorum again. */
dz_status dz_ask_approve(struct dz_custody *c, int tmpfd, const dz_ask *a, dz_slice armor,
                         size_t *ret_by, dz_err *err) DZ_MUST_CHECK;

/* Carries out a request that enough have approved, and reads log and quorum again (`a` is no longer
 * valid).  DZ_E_POLICY: not enough, or no longer open; else as the action. */
dz_status dz_ask_carry_out(struct dz_custody *c, int tmpfd, const dz_ask *a,
                           dz_err *err) DZ_MUST_CHECK;

/* The request whose name begins so (hexadecimal).  DZ_E_NOT_FOUND; DZ_E_USAGE: several do, or it is
 * no such name. */
dz_status dz_ask_find(const struct dz_custody *c, const char *prefix, const dz_ask **ret_ask,
                      dz_err *err) DZ_MUST_CHECK;
