#include "daemon/chore.h"

#include "daemon/feed.h"

static const struct dz_chore_kind kinds[DZ_CHORES] = {
    [DZ_CHORE_WITNESS] = { { "witness", "check" },
                           DZ_DAY_US,
                           DZ_DAY_US / 144,
                           DZ_EVENT_WITNESS_FAILED },
    [DZ_CHORE_PRUNE] = { { "prune" }, DZ_DAY_US, DZ_DAY_US, DZ_EVENT_PRUNE_FAILED },
    [DZ_CHORE_VERIFY] = { { "verify" }, 0, 2 * DZ_DAY_US, DZ_EVENT_VERIFY_FAILED },
};

const struct dz_chore_kind *dz_chore_kind(enum dz_chore chore) {
    return &kinds[chore];
}
