#include "custody/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "custody/hold.h"
#include "custody/settled.h"
#include "custody/shown.h"

struct reading {
    struct dz_survey *survey;
    const struct dz_quorum *quorum;
    const struct dz_survey_if *what_if;
    size_t room;
    int64_t latest_us; /* arrival of the snapshots so far */
};

static void look_for_deletion(const struct dz_quorum *q, const struct dz_snapshot *snap,
                              dz_survey_row *row) {
    for (size_t i = 0; i < q->n_asks && !row->fate.approved; i++) {
        const dz_ask *a = &q->asks[i];

        if (!a->done || a->request.kind != DZ_REQUEST_DELETE || !dz_shown_is(&a->request, snap))
            continue;
        row->fate.approved = true;
        memcpy(row->request, a->request.id, sizeof row->request);
    }
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
    row->fate.held = dz_held(r->quorum, snap, r->what_if->ended);
    if (status != DZ_OK) {
        row->fate.why = DZ_RETENTION_UNREADABLE;
        return DZ_OK;
    }
    look_for_deletion(r->quorum, snap, row);
    (void) snprintf(row->source, sizeof row->source, "%s", snap->commit.source);
    memcpy(row->id, snap->commit.id, sizeof row->id);
    row->arrived_us = snap->commit.arrived_us;
    row->fate.alarm = snap->commit.alarms > 0 && snap->leaf != r->what_if->settled &&
                      !dz_settled_snapshot(r->quorum, snap);
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

static const dz_keep *rules(const struct reading *r, const char *source) {
    const dz_policy *policy = dz_policies_find(&r->quorum->policies, source);

    if (r->what_if->source && strcmp(r->what_if->source, source) == 0)
        return r->what_if->instead;
    return policy ? &policy->keep : NULL;
}

/* The rows of one source, from `rows` on. */
static dz_status decide(const struct reading *r, dz_survey_row *rows, size_t n, int64_t now_us,
                        dz_err *err) {
    dz_autofree dz_retention_row *fates = calloc(n, sizeof *fates);

    if (!fates)
        return DZ_FAIL(err, DZ_E_NOMEM, "retention: out of memory");
    for (size_t i = 0; i < n; i++)
        fates[i] = rows[i].fate;
    DZ_TRY(dz_retention_decide(rules(r, rows[0].source), fates, n, now_us, err));
    for (size_t i = 0; i < n; i++)
        rows[i].fate = fates[i];
    return DZ_OK;
}

static dz_status decide_all(const struct reading *r, int64_t now_us, dz_err *err) {
    struct dz_survey *s = r->survey;
    size_t end;

    for (size_t i = 0; i < s->n; i = end) {
        for (end = i + 1; end < s->n && strcmp(s->rows[end].source, s->rows[i].source) == 0;)
            end++;
        if (s->rows[i].source[0] != '\0') /* else unreadable: that is the answer */
            DZ_TRY(decide(r, &s->rows[i], end - i, now_us, err));
    }
    return DZ_OK;
}

dz_status dz_survey_of(const struct dz_custody *c, int64_t now_us,
                       const struct dz_survey_if *what_if, struct dz_survey *ret, dz_err *err) {
    const struct dz_survey_if as_it_is = { 0 };
    struct reading r = { .survey = ret,
                         .quorum = &c->quorum,
                         .what_if = what_if ? what_if : &as_it_is };

    *ret = (struct dz_survey){ 0 };
    DZ_TRY(dz_snapshots_each(c->v, visit, &r, err));
    if (ret->n > 0)
        qsort(ret->rows, ret->n, sizeof *ret->rows, by_source);
    return decide_all(&r, now_us, err);
}

dz_status dz_survey_read(struct dz_vault *v, int64_t now_us, struct dz_survey *ret, dz_err *err) {
    struct dz_custody c = { .v = v };
    dz_status s;

    *ret = (struct dz_survey){ 0 };
    s = dz_custody_read(&c, err);
    if (s == DZ_OK)
        s = dz_survey_of(&c, now_us, NULL, ret, err);
    dz_custody_release(&c);
    return s;
}

const dz_survey_row *dz_survey_find(const struct dz_survey *s,
                                    const uint8_t file[DZ_SHA256_BYTES]) {
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->rows[i].file, file, DZ_SHA256_BYTES) == 0)
            return &s->rows[i];
    return NULL;
}

void dz_survey_release(struct dz_survey *s) {
    free(s->rows);
    *s = (struct dz_survey){ 0 };
}
