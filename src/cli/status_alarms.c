#include "cli/status.h"

#include <stdio.h>

#include "custody/settled.h"

static void copy(const dz_buf *from, char *to, size_t size) {
    size_t n = from->len < size ? from->len : size - 1;

    while (n > 0 && n < from->len && (from->data[n] & 0xc0) == 0x80) /* no half letters */
        n--;
    if (n > 0)
        memcpy(to, from->data, n);
    to[n] = '\0';
}

/* Takes the lines as a request would show them. */
static void stand(struct dz_status_state *s, uint64_t leaf, int64_t time_us,
                  dz_buf line[DZ_SETTLED_ABOUT + 1]) {
    struct dz_status_alarm *a;

    if (s->n_standing < DZ_STATUS_ALARMS) {
        a = &s->standing[s->n_standing];
        *a = (struct dz_status_alarm){ .leaf = leaf, .time_us = time_us };
        copy(&line[DZ_SETTLED_REASON], a->reason, sizeof a->reason);
        copy(&line[DZ_SETTLED_ABOUT], a->about, sizeof a->about);
    }
    s->n_standing++;
    for (size_t l = 0; l <= DZ_SETTLED_ABOUT; l++)
        dz_buf_release(&line[l]);
}

uint64_t dz_status_snapshot_alarms(struct dz_status_state *s, const struct dz_snapshot *snap) {
    dz_buf line[DZ_SETTLED_ABOUT + 1] = { 0 };
    char id[DZ_SNAPSHOT_ID_TEXT];

    if (snap->commit.alarms == 0 || (s->quorum && dz_settled_snapshot(s->quorum, snap)))
        return 0;
    dz_settled_put_snapshot(snap, line);
    dz_buf_clear(&line[DZ_SETTLED_ABOUT]);
    dz_snapshot_id_text(snap->commit.id, id);
    dz_buf_printf(&line[DZ_SETTLED_ABOUT], "%.12s, %s", id, snap->commit.source);
    stand(s, snap->leaf, snap->commit.arrived_us, line);
    return snap->commit.alarms;
}

/* A failed run stands until the source has a newer snapshot; what a witness contradicts, until the
 * log continues again what that witness keeps; both, until operators settle it.  *ret_why is what
 * is red; NULL: it has passed, or is none of those. */
static dz_status stands(struct dz_status_state *s, const dz_ledger_leaf *leaf,
                        const struct dz_witnesses *known, const char **ret_why, dz_err *err) {
    const char *reason = dz_ledger_text(leaf, "reason"), *source = dz_ledger_text(leaf, "source");
    const char *detail = dz_ledger_text(leaf, "detail");

    *ret_why = NULL;
    if (leaf->kind != DZ_LEAF_ALARM || !reason)
        return DZ_OK;
    if (strcmp(reason, "source-failed") == 0 && source && dz_source_name_ok(source)) {
        struct dz_status_source *src = dz_status_source_of(s, source);

        if (!src)
            return DZ_FAIL(err, DZ_E_NOMEM, "status: no memory for the sources");
        if ((src->snapshots > 0 && src->newest_leaf > leaf->index) ||
            dz_settled_alarm(s->quorum, leaf))
            return DZ_OK;
        src->failed_us = leaf->time_us;
        *ret_why = "source-failed";
    } else if (strcmp(reason, "witness-contradicts") == 0 && detail) {
        const dz_witness *w = dz_witnesses_find(known, detail);

        if ((!w || w->when_us < leaf->time_us) && !dz_settled_alarm(s->quorum, leaf))
            *ret_why = "witness-contradicts";
    }
    return DZ_OK;
}

/* Who settles a later one settles this one, too: it need not be shown. */
static bool comes_again(const struct dz_ledger *ledger, size_t i) {
    for (size_t k = i + 1; k < ledger->n; k++)
        if (ledger->leaves[k].kind == DZ_LEAF_ALARM &&
            ledger->leaves[k].time_us >= ledger->leaves[i].time_us &&
            dz_settled_alike(&ledger->leaves[i], &ledger->leaves[k]))
            return true;
    return false;
}

dz_status dz_status_log_alarms(struct dz_status_state *s, const struct dz_ledger *ledger,
                               const struct dz_witnesses *known, dz_err *err) {
    bool failed = false, contradicted = false;

    for (size_t i = 0; i < ledger->n; i++) {
        const dz_ledger_leaf *leaf = &ledger->leaves[i];
        dz_buf line[DZ_SETTLED_ABOUT + 1] = { 0 };
        const char *why;

        DZ_TRY(stands(s, leaf, known, &why, err));
        if (!why)
            continue;
        failed |= strcmp(why, "source-failed") == 0;
        contradicted |= strcmp(why, "witness-contradicts") == 0;
        if (comes_again(ledger, i))
            continue;
        dz_settled_put(leaf, line);
        stand(s, leaf->index, leaf->time_us, line);
    }
    if (failed)
        dz_status_red(s, "source-failed");
    if (contradicted)
        dz_status_red(s, "witness-contradicts");
    return DZ_OK;
}
