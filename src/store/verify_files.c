#include "store/verify_parts.h"
dz_status dz_verify_files(struct dz_verify *x, struct dz_fetch *f, dz_err *err) {
    (void) x, (void) f, (void) err;
    return DZ_OK;
}
