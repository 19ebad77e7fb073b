#include "custody/settled.h"

#include <stdio.h>

#include "custody/shown.h"

static void put_head(uint64_t leaf, int64_t us, const char *reason, dz_buf line[]) {
    char raised[DZ_TIME_UTC_TEXT];

    dz_time_utc_text(us, raised);
    dz_buf_printf(&line[DZ_SETTLED_ALARM], "%llu", (unsigned long long) leaf);
    dz_buf_printf(&line[DZ_SETTLED_RAISED], "%s", raised);
    dz_request_put_visible(reason, &line[DZ_SETTLED_REASON]);
}

void dz_settled_put(const dz_ledger_leaf *alarm, dz_buf line[]) {
    const char *source = dz_ledger_text(alarm, "source"), *detail = dz_ledger_text(alarm, "detail");
    dz_buf *about = &line[DZ_SETTLED_ABOUT];

    put_head(alarm->index, alarm->time_us, dz_ledger_text(alarm, "reason"), line);
    if (source && detail) {
        dz_request_put_visible(source, about);
        dz_buf_printf(about, ": ");
    }
    dz_request_put_visible(detail ? detail : source, about);
}

void dz_settled_put_snapshot(const struct dz_snapshot *snap, dz_buf line[]) {
    put_head(snap->leaf, snap->commit.arrived_us, DZ_SETTLED_SNAPSHOT, line);
    dz_buf_printf(&line[DZ_SETTLED_ABOUT], "%llu alarms of the first snapshot below",
                  (unsigned long long) snap->commit.alarms);
}

/* Whether the request shows an alarm as it is. */
static bool shows(const struct dz_request *r, const dz_ledger_leaf *alarm,
                  const struct dz_snapshot *snap) {
    enum { LINES = DZ_SETTLED_ABOUT + 1 };
    dz_buf line[LINES] = { 0 };
    bool good = true;

    if (alarm)
        dz_settled_put(alarm, line);
    else
        dz_settled_put_snapshot(snap, line);
    for (size_t l = 0; l < LINES; l++) {
        good &= dz_buf_ok(&line[l]) && dz_slice_eq(dz_buf_slice(&line[l]), r->subject[l]);
        dz_buf_release(&line[l]);
    }
    return good;
}

static bool same(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool dz_settled_alike(const dz_ledger_leaf *a, const dz_ledger_leaf *b) {
    const char *source = dz_ledger_text(a, "source");

    return same(dz_ledger_text(a, "reason"), dz_ledger_text(b, "reason")) &&
           same(source, dz_ledger_text(b, "source")) &&
           (source || same(dz_ledger_text(a, "detail"), dz_ledger_text(b, "detail")));
}

const dz_ledger_leaf *dz_settled_leaf(const struct dz_ledger *ledger, const struct dz_request *r) {
    const dz_ledger_leaf *alarm = NULL;
    uint64_t index;

    if (dz_request_index(r, "alarm", &index))
        alarm = dz_ledger_leaf_at(ledger, DZ_LEAF_ALARM, index);
    return alarm && shows(r, alarm, NULL) ? alarm : NULL;
}

const dz_ask *dz_settled_alarm(const struct dz_quorum *q, const dz_ledger_leaf *alarm) {
    for (size_t i = 0; i < q->n_asks; i++) {
        const dz_ask *a = &q->asks[i];
        const dz_ledger_leaf *named;

        if (!a->done || a->request.kind != DZ_REQUEST_ALARM || a->request.n_snapshots > 0)
            continue;
        named = dz_settled_leaf(q->ledger, &a->request);
        if (named && named->index >= alarm->index && dz_settled_alike(named, alarm))
            return a;
    }
    return NULL;
}

const dz_ask *dz_settled_snapshot(const struct dz_quorum *q, const struct dz_snapshot *snap) {
    for (size_t i = 0; i < q->n_asks; i++) {
        const struct dz_request *r = &q->asks[i].request;

        if (q->asks[i].done && r->kind == DZ_REQUEST_ALARM && r->n_snapshots > 0 &&
            memcmp(r->snapshots[0].file, snap->file, sizeof snap->file) == 0 &&
            dz_shown_is(r, snap) && shows(r, NULL, snap))
            return &q->asks[i];
    }
    return NULL;
}
