#include "recover/supply.h"

static dz_status fetch_hold(void *ctx, const dz_id *id, struct dz_held *ret_held, dz_err *err) {
    return dz_fetch_hold(ctx, DZ_KIND_DATA, id, ret_held, err);
}

static void fetch_drop(void *ctx, struct dz_held *held) {
    dz_fetch_drop(ctx, held);
}

struct dz_supply dz_supply_of(struct dz_fetch *fetch) {
    return (struct dz_supply){
        .nodes = dz_fetch_source(fetch), .hold = fetch_hold, .drop = fetch_drop, .ctx = fetch
    };
}

bool dz_supply_goes_on(dz_status status) {
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
