#include "custody/retention.h"

#define DAY_US (INT64_C(86400) * 1000000)

static const char *const names[] = {
    [DZ_RETENTION_EXPIRES] = "expires",   [DZ_RETENTION_UNREADABLE] = "unreadable",
    [DZ_RETENTION_HELD] = "held",         [DZ_RETENTION_ALARM] = "alarm",
    [DZ_RETENTION_APPROVED] = "approved", [DZ_RETENTION_NO_RULES] = "no-rules",
    [DZ_RETENTION_NEWEST] = "newest",     [DZ_RETENTION_MINIMUM] = "minimum",
    [DZ_RETENTION_DAILY] = "daily",       [DZ_RETENTION_MONTHLY] = "monthly",
    [DZ_RETENTION_YEARLY] = "yearly",
};

const char *dz_retention_name(enum dz_retention why) {
    return names[why];
}

/* A number that is the same for two times of one slot, and greater for a later slot. */
static int64_t slot_of(int64_t us, enum dz_retention rule) {
    dz_date d = dz_zone_date(us);

    if (rule == DZ_RETENTION_YEARLY)
        return d.year;
    if (rule == DZ_RETENTION_MONTHLY)
        return (int64_t) d.year * 12 + d.month;
    return ((int64_t) d.year * 12 + d.month) * 31 + d.day;
}

static void keep_row(dz_retention_row *row, enum dz_retention rule) {
    if (row->why == DZ_RETENTION_EXPIRES)
        row->why = rule;
}

/* The nearest row before `end` that takes a place; 0: none, else its place plus one. */
static size_t before(const dz_retention_row *rows, size_t end) {
    while (end > 0 && rows[end - 1].why == DZ_RETENTION_APPROVED)
        end--;
    return end;
}

/* From the newest slot back.  Times ascend, so a slot's snapshots stand side by side. */
static void keep_slots(dz_retention_row *rows, size_t n, int64_t now_us, enum dz_retention rule,
                       uint32_t slots) {
    int64_t today = slot_of(now_us, rule);

    for (size_t end = before(rows, n); end > 0 && slots > 0;) {
        int64_t slot = slot_of(rows[end - 1].when_us, rule);
        size_t first = end, next;

        while ((next = before(rows, first - 1)) > 0 &&
               slot_of(rows[next - 1].when_us, rule) == slot)
            first = next;
        keep_row(&rows[end - 1], rule);
        keep_row(&rows[first - 1], rule);
        slots -= slot <= today;
        end = next;
    }
}

dz_status dz_retention_decide(const dz_keep *keep, dz_retention_row *rows, size_t n, int64_t now_us,
                              dz_err *err) {
    size_t newest = n;

    if (keep)
        DZ_TRY(dz_zone_enter(keep->zone, err));
    for (size_t i = 0; i < n; i++)
        if (!rows[i].approved)
            newest = i;
    for (size_t i = 0; i < n; i++) {
        dz_retention_row *r = &rows[i];

        r->why = DZ_RETENTION_EXPIRES;
        if (r->held)
            r->why = DZ_RETENTION_HELD;
        else if (r->alarm || (i + 1 < n && rows[i + 1].alarm))
            r->why = DZ_RETENTION_ALARM;
        else if (r->approved)
            r->why = DZ_RETENTION_APPROVED;
        else if (!keep)
            r->why = DZ_RETENTION_NO_RULES;
        else if (i == newest)
            r->why = DZ_RETENTION_NEWEST;
        else if (now_us < r->when_us || now_us - r->when_us < keep->minimum_days * DAY_US)
            r->why = DZ_RETENTION_MINIMUM;
    }
    if (!keep)
        return DZ_OK;
    keep_slots(rows, n, now_us, DZ_RETENTION_DAILY, keep->daily);
    keep_slots(rows, n, now_us, DZ_RETENTION_MONTHLY, keep->monthly);
    keep_slots(rows, n, now_us, DZ_RETENTION_YEARLY, keep->yearly);
    dz_zone_leave();
    return DZ_OK;
}
