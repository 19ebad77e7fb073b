/* custody/ledger.h -- what the log says of custody, in order: the one thing that custody rests on.
 *
 *   log, each leaf proved to be under the checkpoint ─▶ [ledger] ─▶ policy, holds, clock, quorum
 * ...
 *
 * Requests, approvals, policies, holds, prunings, clock events: each is a leaf with a JSON object
 * for its text.  Every module of custody folds over this array and keeps no state of its own; files
 * beside the log are caches.  Commits are only counted: there are many of them, and
 * store/snapshot.h has them.
 *
 * That a leaf stands here says that who holds the host's keys appended it, and no more: what needs
 * approval is held against the operators' signatures by whoever acts on it.  Belongs to one
 * thread. */
#pragma once

#include <jansson.h>

#include "store/leaf.h"
#include "store/vault.h"

typedef struct dz_ledger_leaf {
    uint64_t index;
    uint16_t kind, flags; /* enum dz_leaf_kind */
    int64_t time_us;
    int64_t until_us; /* the greatest time of this leaf and of the commits passed over before it */
    const dz_leaf_object *objects;
    size_t n_objects;
    json_t *text; /* an object; NULL: none, of another form (a verification's), or not to be opened
                     with this host's keys */
} dz_ledger_leaf;

struct dz_ledger {
    dz_ledger_leaf *leaves;
    size_t n;
    uint64_t commits; /* passed over */
    int64_t tail_us;  /* the greatest time of the commits after the last leaf; INT64_MIN: none */
    uint64_t size;    /* of the log */
};

/* Takes in what other processes appended (dz_tlog_refresh), and reads.  The caller frees
 * *ret_ledger.  DZ_E_CORRUPT (the log), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_ledger_read(struct dz_vault *v, struct dz_ledger **ret_ledger,
                         dz_err *err) DZ_MUST_CHECK;
/* The same of the leaves from `since` on, for who has read those before. */
dz_status dz_ledger_read_since(struct dz_vault *v, uint64_t since, struct dz_ledger **ret_ledger,
                               dz_err *err) DZ_MUST_CHECK;
void dz_ledger_free(struct dz_ledger *l); /* NULL is fine */
DZ_DEFINE_AUTO(dz_ledger, dz_ledger_free)

/* The leaf of this kind with this index, or NULL. */
const dz_ledger_leaf *dz_ledger_leaf_at(const struct dz_ledger *l, enum dz_leaf_kind kind,
                                        uint64_t index);
/* The leaf's n-th object (from 0) of this type, or NULL. */
const dz_leaf_object *dz_ledger_object(const dz_ledger_leaf *l, enum dz_leaf_object_type type,
                                       size_t n);
/* The text's member; NULL when there is none or it is no string. */
const char *dz_ledger_text(const dz_ledger_leaf *l, const char *member);

/* Appends a custody leaf: its text is this object.  Steals the reference to `text` whatever
 * happens; NULL counts as out of memory.  As dz_vault_note() (store/leaf_text.h). */
dz_status dz_ledger_note(struct dz_vault *v, int tmpfd, enum dz_leaf_kind kind, uint16_t flags,
                         const dz_leaf_object *objects, size_t n, json_t *text, uint64_t *ret_index,
                         dz_err *err) DZ_MUST_CHECK;
/* The same for who is no writer: makes a writer's directory for it. */
dz_status dz_ledger_add(struct dz_vault *v, enum dz_leaf_kind kind, uint16_t flags,
                        const dz_leaf_object *objects, size_t n, json_t *text, uint64_t *ret_index,
                        dz_err *err) DZ_MUST_CHECK;
