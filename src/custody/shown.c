#include "custody/shown.h"

#include "core/hex.h"

void dz_shown_put(const struct dz_snapshot *snap, dz_buf line[DZ_REQUEST_LINES]) {
    char id[DZ_SNAPSHOT_ID_TEXT], file[2 * DZ_SHA256_BYTES + 1], arrived[DZ_TIME_UTC_TEXT];

    dz_snapshot_id_text(snap->commit.id, id);
    dz_hex(snap->file, sizeof snap->file, file);
    dz_time_utc_text(snap->commit.arrived_us, arrived);
    dz_buf_printf(&line[DZ_REQUEST_ID], "%s", id);
    dz_buf_printf(&line[DZ_REQUEST_COMMIT], "%s", file);
    dz_buf_printf(&line[DZ_REQUEST_SOURCE], "%s", snap->commit.source);
    dz_buf_printf(&line[DZ_REQUEST_ARRIVED], "%s", arrived);
    dz_buf_printf(&line[DZ_REQUEST_CONTENT], "%llu files, %llu bytes",
                  (unsigned long long) snap->commit.files, (unsigned long long) snap->commit.bytes);
}

static bool same(const struct dz_request_snapshot *shown, const struct dz_snapshot *snap) {
    dz_buf line[DZ_REQUEST_LINES] = { 0 };
    bool good = true;

    dz_shown_put(snap, line);
    for (size_t l = 0; l < DZ_REQUEST_THEN; l++)
        good &= dz_buf_ok(&line[l]) && dz_slice_eq(dz_buf_slice(&line[l]), shown->line[l]);
    for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
        dz_buf_release(&line[l]);
    return good;
}

bool dz_shown_is(const struct dz_request *r, const struct dz_snapshot *snap) {
    for (size_t i = 0; i < r->n_snapshots; i++)
        if (memcmp(r->snapshots[i].file, snap->file, sizeof snap->file) == 0)
            return same(&r->snapshots[i], snap);
    return false;
}
