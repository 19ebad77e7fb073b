/* custody/clock_guard.h -- how much time has passed, by the vault's own account.
 *
 *   CLOCK_TICK, WITNESS, approved CLOCK_EVENT leaves ─▶ [replay] ─▶ trusted time, frozen or not ─▶
 *                                                                                           expiry
 *   the clocks now ─▶ [tick] ─▶ a leaf, and an alarm where they disagree
 *
 * A tick says what the wall clock and the time since boot were.  Between two ticks of one boot both
 * must have gone on alike (within a minute and a thousandth); then trusted time goes on by the
 * lesser.  Where they disagree, or the wall clock went back over a reboot, trusted time stands
 * still: `clock-frozen` in `dozo status`.  It goes on when operators approve that the time which a
 * request shows is right (`unfreeze-clock`): from that time, and from the tick in the CLOCK_EVENT
 * leaf that carries it out.  Time off, and time between the last tick and a reboot, does not count:
 * things expire later.  It counts afterwards when a witness's own clock has passed it, too, the
 * wall clock says the same as the witness, and it was not more than DZ_CLOCK_OFF_MAX_US.  Intake
 * never asks.
 *
 * Against NTP and a battery clock, not against root, who writes the log.  docs/design/retention.md.
 * One thread at a time. */
#pragma once

#include "core/clock.h"
#include "custody/quorum.h"
#include "custody/witness.h"

enum {
    DZ_TICK_EVERY_S = 6 * 3600, /* what comes by often repeats no younger tick */
    DZ_CLOCK_WITNESSES = 4,     /* whose clocks are followed: the first that have one */
};
/* As much time off counts between two meetings with a witness (14 days). */
#define DZ_CLOCK_OFF_MAX_US (INT64_C(14) * 86400 * 1000000)

/* What a witness's clock said, and ours, when they last met. */
struct dz_clock_meeting {
    char name[DZ_WITNESS_NAME_MAX + 1];
    int64_t clock_us, trusted_us;
};

struct dz_clock_guard {
    int64_t trusted_us; /* UTC since 1970; never ahead of the wall clock of an honest host */
    bool frozen;
    uint64_t frozen_leaf; /* where it was seen, when frozen */
    struct dz_clock_sample last;
    uint64_t ticks;
    int64_t off_us; /* by the wall clock, not counted, since the last meeting */
    struct dz_clock_meeting met[DZ_CLOCK_WITNESSES];
    unsigned n_met;
};

/* Takes the next leaf of a ledger; a zeroed guard has seen none.  `q` is what dz_quorum_read() gave
 * of the whole ledger. */
void dz_clock_guard_take(struct dz_clock_guard *g, const struct dz_quorum *q,
                         const dz_ledger_leaf *leaf);
/* All of a ledger. */
void dz_clock_guard_read(const struct dz_ledger *ledger, const struct dz_quorum *q,
                         struct dz_clock_guard *ret);

/* What the trusted time would be with a tick now.  *ret_frozen: there is none, the clocks jumped.
 */
int64_t dz_clock_guard_at(const struct dz_clock_guard *g, const struct dz_clock_sample *now,
                          bool *ret_frozen);

/* What the trusted time is, by the clocks of now. */
int64_t dz_clock_guard_now(const struct dz_ledger *ledger, const struct dz_quorum *q,
                           bool *ret_frozen);

/* The text of a leaf that holds a sample; NULL: out of memory. */
json_t *dz_clock_sample_text(const struct dz_clock_sample *s);

/* Appends a tick, if the last one is of another boot, `every_s` seconds old, or in disagreement
 * with `now`; then also the alarm `clock-jumped`, once.  *ret (may be NULL) is the guard
 * afterwards. As dz_ledger_read() and dz_ledger_note(). */
dz_status dz_clock_tick(struct dz_vault *v, int tmpfd, const struct dz_clock_sample *now,
                        int64_t every_s, struct dz_clock_guard *ret, dz_err *err) DZ_MUST_CHECK;

/* For who comes by often: a tick every DZ_TICK_EVERY_S.  A note in the cache spares it the log.
 * As dz_clock_tick(). */
dz_status dz_clock_tick_if_due(struct dz_vault *v, const struct dz_clock_sample *now,
                               dz_err *err) DZ_MUST_CHECK;
