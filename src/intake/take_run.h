/* intake/take_run.h -- one run of a source: what comes between READY and DONE; see intake/take.h.
 *
 *   CHUNK, REFS ─▶ content ─▶ ENTRY ─▶ [gather] ─▶ COMMIT ─▶ snapshot
 *
 * When a function fails and run->refused.code is not 0, the source broke a rule and that is the
 * answer; else the vault failed.  Either way the run can only be freed.  One thread at a time. */
#pragma once

#include "guard/features.h"
#include "intake/gather.h"
#include "intake/sent.h"
#include "intake/take.h"
#include "store/content.h"

struct dz_take_run {
    struct dz_vault *v;
    struct dz_take_limits limits;
    struct dz_session *session;
    struct dz_lane *lane;
    struct dz_sent *sent;
    struct dz_quota *quota;
    struct dz_gather gather;
    struct dz_commit commit;
    struct dz_content_builder *content;
    struct dz_hasher *hasher;
    uint8_t digest_key[DZ_KEY_BYTES];
    struct dz_wire_refused refused;
    uint64_t entries, arrived; /* arrived: bytes of payloads */

    /* the content that waits for its entry */
    struct dz_features features;
    uint64_t bytes;
    bool begun;
    bool seen; /* all of it came as CHUNK */
    /* the entry before */
    dz_buf path;
    uint8_t type; /* 0: there is none */
    dz_buf fields;
};

/* Takes the source's turn and begins.  *ret_again: a run of this id was kept; *ret_done is what it
 * was answered, and there is nothing to take.  The source is proven.
 * DZ_E_POLICY (its day is full: *ret_refused says so), DZ_E_BUSY, DZ_E_IO, DZ_E_NOMEM,
 * DZ_E_CORRUPT. */
dz_status dz_take_run_new(const struct dz_take_how *how, const struct dz_wire_begin *begin,
                          struct dz_take_run **ret_run, bool *ret_again,
                          struct dz_wire_done *ret_done, struct dz_wire_refused *ret_refused,
                          dz_err *err) DZ_MUST_CHECK;
void dz_take_run_free(struct dz_take_run *run); /* NULL is fine */
DZ_DEFINE_AUTO(dz_take_run, dz_take_run_free)

/* How chunks are to be cut. */
void dz_take_run_ready(const struct dz_take_run *run, struct dz_wire_ready *ret_ready);

/* Any message of a run but COMMIT; `payload_len` is counted.  Appends the answer, if there is one.
 */
dz_status dz_take_run_message(struct dz_take_run *run, const struct dz_wire_message *m,
                              size_t payload_len, dz_buf *out, dz_err *err) DZ_MUST_CHECK;
/* Makes the snapshot. */
dz_status dz_take_run_commit(struct dz_take_run *run, const struct dz_wire_commit *m,
                             struct dz_wire_done *ret_done, dz_err *err) DZ_MUST_CHECK;
/* Keeps what came, without a snapshot.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_take_run_keep(struct dz_take_run *run, dz_err *err) DZ_MUST_CHECK;

/* --- take_entry.c --- */

/* ENTRY: checks it, joins it with the content that came before, and adds it. */
dz_status dz_take_run_entry(struct dz_take_run *run, const dz_entry *e, dz_err *err) DZ_MUST_CHECK;

/* Notes which rule was broken, and gives DZ_E_POLICY. */
#define DZ_TAKE_REFUSE(run, what, ...) \
    ((run)->refused.code = (what), DZ_FAIL(err, DZ_E_POLICY, __VA_ARGS__))
