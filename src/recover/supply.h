/* recover/supply.h -- where a snapshot's tree and content come from.
 *
 *   dz_fetch (an opened vault) ─▶ [supply] ─▶ restore, export, mount
 *
 * Production hands in a dz_fetch; tests hand in objects in memory, some of them damaged.  All
 * functions behind a supply may be called by many threads at once. */
#pragma once

#include "store/fetch.h"
#include "store/manifest.h"

struct dz_supply {
    struct dz_source nodes; /* manifest nodes and content lists, as copies */
    /* A chunk, checked against its identity; bytes borrowed until drop.  Errors: dz_fetch_hold. */
    dz_status (*hold)(void *ctx, const dz_id *id, struct dz_held *ret_held, dz_err *err);
    void (*drop)(void *ctx, struct dz_held *held);
    void *ctx;
};

/* Valid as long as `fetch`. */
struct dz_supply dz_supply_of(struct dz_fetch *fetch);

/* True for what is wrong with one object, so that the rest can still be had (missing, damaged,
 * unreadable); false for what stops everything (no memory, closed). */
static inline bool dz_supply_goes_on(dz_status status) {
    switch (status) {
    case DZ_E_NOT_FOUND:
    case DZ_E_CORRUPT:
    case DZ_E_MALFORMED:
    case DZ_E_LIMIT:
    case DZ_E_UNSUPPORTED:
    case DZ_E_IO:
        return true;
    case DZ_OK:
    case DZ_E_NOMEM:
    case DZ_E_EXISTS:
    case DZ_E_WORKER:
    case DZ_E_CLOSED:
    case DZ_E_POLICY:
    case DZ_E_BUSY:
    case DZ_E_USAGE:
    case DZ_STATUS_COUNT:
        break;
    }
    return false;
}
