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
