#include "custody/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hex.h"
#include "custody/action.h"
#include "custody/hold.h"

struct reading {
    struct dz_survey *survey;
    const struct dz_custody *custody;
    size_t room;
    int64_t latest_us; /* arrival of the snapshots so far */
};

static bool deletion_approved(const struct dz_quorum *q, const uint8_t file[DZ_SHA256_BYTES]) {
    char name[2 * DZ_SHA256_BYTES + 1];

    dz_hex(file, DZ_SHA256_BYTES, name);
    for (size_t i = 0; i < q->n_asks; i++)
        if (q->asks[i].done && q->asks[i].request.kind == DZ_REQUEST_DELETE &&
            dz_request_says(&q->asks[i].request, "commit", name))
            return true;
    return false;
}

static dz_status visit(void *ctx, const struct dz_snapshot *snap, dz_status status,
                       const dz_err *why, dz_err *err) {
    struct reading *r = ctx;
    dz_survey_row *row;

    (void) why;
    if (r->survey->n == r->room) {
        size_t room = r->room ? r->room * 2 : 64;
        dz_survey_row *rows = reallocarray(r->survey->rows, room, sizeof *rows);

        if (!rows)
            return DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
        r->survey->rows = rows;
        r->room = room;
    }
    row = &r->survey->rows[r->survey->n++];
    *row = (dz_survey_row){ .leaf = snap->leaf };
    memcpy(row->file, snap->file, sizeof row->file);
    row->fate.held = dz_held(r->custody->ledger, &r->custody->quorum, snap->file);
    row->fate.approved = deletion_approved(&r->custody->quorum, snap->file);
    if (status != DZ_OK) {
        row->fate.why = DZ_RETENTION_UNREADABLE;
        return DZ_OK;
    }
    (void) snprintf(row->source, sizeof row->source, "%s", snap->commit.source);
    memcpy(row->id, snap->commit.id, sizeof row->id);
    row->arrived_us = snap->commit.arrived_us;
    row->fate.alarm = snap->commit.alarms > 0;
    if (row->arrived_us > r->latest_us)
        r->latest_us = row->arrived_us;
    row->fate.when_us = r->latest_us;
    return DZ_OK;
}

static int by_source(const void *a, const void *b) {
    const dz_survey_row *x = a, *y = b;
    int order = strcmp(x->source, y->source);

    return order ? order : (x->leaf > y->leaf) - (x->leaf < y->leaf);
}

/* The rows of one source, from `rows` on. */
static dz_status decide(const struct dz_policies *policies, dz_survey_row *rows, size_t n,
                        int64_t now_us, dz_err *err) {
    const dz_policy *policy = dz_policies_find(policies, rows[0].source);
    dz_autofree dz_retention_row *fates = calloc(n, sizeof *fates);

    if (!fates)
        return DZ_FAIL(err, DZ_E_NOMEM, "retention: out of memory");
    for (size_t i = 0; i < n; i++)
        fates[i] = rows[i].fate;
    DZ_TRY(dz_retention_decide(policy ? &policy->keep : NULL, fates, n, now_us, err));
    for (size_t i = 0; i < n; i++)
        rows[i].fate = fates[i];
    return DZ_OK;
}

static dz_status decide_all(const struct dz_custody *c, struct dz_survey *s, int64_t now_us,
                            dz_err *err) {
    dz_status status = DZ_OK;
    size_t end;

    for (size_t i = 0; i < s->n && status == DZ_OK; i = end) {
        for (end = i + 1; end < s->n && strcmp(s->rows[end].source, s->rows[i].source) == 0;)
            end++;
        if (s->rows[i].source[0] != '\0') /* else unreadable: that is the answer */
            status = decide(&c->quorum.policies, &s->rows[i], end - i, now_us, err);
    }
    return status;
}

dz_status dz_survey_read(struct dz_vault *v, int64_t now_us, struct dz_survey *ret, dz_err *err) {
    struct dz_custody c = { .v = v };
    struct reading r = { .survey = ret, .custody = &c };
    dz_status s;

    *ret = (struct dz_survey){ 0 };
    s = dz_custody_read(&c, err);
    if (s == DZ_OK)
        s = dz_snapshots_each(v, visit, &r, err);
    if (s == DZ_OK && ret->n > 0)
        qsort(ret->rows, ret->n, sizeof *ret->rows, by_source);
    if (s == DZ_OK)
        s = decide_all(&c, ret, now_us, err);
    dz_custody_release(&c);
    return s;
}

void dz_survey_release(struct dz_survey *s) {
    free(s->rows);
    *s = (struct dz_survey){ 0 };
}
