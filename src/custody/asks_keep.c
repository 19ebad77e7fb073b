#include "custody/asks_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "custody/clock_guard.h"
#include "custody/hold.h"
#include "custody/settled.h"
#include "custody/shown.h"
#include "custody/survey.h"

/* --- snapshots -------------------------------------------------------------------------------- */

/* What becomes of a snapshot, and why; whoever signs reads it, so it is in both languages. */
static const char *const if_nothing_else[] = {
    [DZ_RETENTION_EXPIRES] = "may go: no rule keeps it / 削除可: 保存規則の対象外",
    [DZ_RETENTION_UNREADABLE] = "stays: its record is damaged / 保持: 記録が破損",
    [DZ_RETENTION_HELD] = "stays: held by another hold / 保持: 別の保全あり",
    [DZ_RETENTION_ALARM] = "stays: an alarm needs it / 保持: 警報に関係",
    [DZ_RETENTION_APPROVED] = "goes: its deletion is approved / 削除: 削除承認済み",
    [DZ_RETENTION_NO_RULES] = "stays: its source has no rules / 保持: 保存規則なし",
    [DZ_RETENTION_NEWEST] = "stays: newest of its source / 保持: ソースの最新",
    [DZ_RETENTION_MINIMUM] = "stays: within the minimum / 保持: 最低保存期間内",
    [DZ_RETENTION_DAILY] = "stays: first or last of its day / 保持: 日の最初か最後",
    [DZ_RETENTION_MONTHLY] = "stays: first or last of its month / 保持: 月の最初か最後",
    [DZ_RETENTION_YEARLY] = "stays: first or last of its year / 保持: 年の最初か最後",
};

static const char *const if_deleted[] = {
    [DZ_RETENTION_EXPIRES] = "goes; no rule keeps it anyway / 削除: 保存規則の対象外",
    [DZ_RETENTION_UNREADABLE] = "stays: its record is damaged / 保持: 記録が破損",
    [DZ_RETENTION_HELD] = "stays while it is held, then goes / 保全の解除後に削除",
    [DZ_RETENTION_ALARM] = "stays while an alarm needs it, then goes / 警報の確認後に削除",
    [DZ_RETENTION_APPROVED] = "goes: approved before / 削除: 承認済み",
    [DZ_RETENTION_NO_RULES] = "goes; its source keeps all / 削除: 本来は無期限保存",
    [DZ_RETENTION_NEWEST] = "goes; it is the newest of its source / 削除: ソースの最新",
    [DZ_RETENTION_MINIMUM] = "goes; within the minimum / 削除: 最低保存期間内",
    [DZ_RETENTION_DAILY] = "goes; first or last of its day / 削除: 日の最初か最後",
    [DZ_RETENTION_MONTHLY] = "goes; first or last of its month / 削除: 月の最初か最後",
    [DZ_RETENTION_YEARLY] = "goes; first or last of its year / 削除: 年の最初か最後",
};

/* The snapshots of some commit records. */
struct chosen {
    const uint8_t (*files)[DZ_SHA256_BYTES];
    size_t n;
    struct dz_subject *to;
};

static dz_status show(void *ctx, const struct dz_snapshot *snap, dz_status status,
                      const dz_err *why, dz_err *err) {
    struct chosen *c = ctx;

    (void) why;
    (void) err;
    for (size_t i = 0; status == DZ_OK && i < c->n; i++)
        if (memcmp(snap->file, c->files[i], sizeof snap->file) == 0)
            dz_shown_put(snap, c->to->snapshot[i]);
    return DZ_OK;
}

/* Shows these snapshots in this order, and what would be of them. */
static dz_status show_all(const struct dz_custody *c, const uint8_t (*files)[DZ_SHA256_BYTES],
                          size_t n, const struct dz_survey_if *what_if, const char *const *words,
                          struct dz_subject *ret, dz_err *err) {
    struct chosen chosen = { .files = files, .n = n, .to = ret };
    struct dz_survey survey = { 0 };
    bool frozen;
    dz_status s =
        dz_survey_of(c, dz_clock_guard_now(c->ledger, &c->quorum, &frozen), what_if, &survey, err);

    if (s == DZ_OK)
        s = dz_snapshots_each(c->v, show, &chosen, err);
    for (size_t i = 0; s == DZ_OK && i < n; i++) {
        const dz_survey_row *row = dz_survey_find(&survey, files[i]);

        if (!row || row->fate.why == DZ_RETENTION_UNREADABLE)
            s = DZ_FAIL(err, DZ_E_POLICY, "its snapshot is gone, or its record cannot be read");
        else
            dz_buf_printf(&ret->snapshot[i][DZ_REQUEST_THEN], "%s", words[row->fate.why]);
    }
    dz_survey_release(&survey);
    ret->n_snapshots = n;
    return s;
}

/* The leaf that carries out what is asked of these snapshots. */
static dz_status note(struct dz_custody *c, int tmpfd, const dz_ask *a, json_t *text,
                      uint64_t *ret_leaf, dz_err *err) {
    dz_leaf_object objects[1 + DZ_REQUEST_SNAPSHOTS_MAX] = { { .type = DZ_LEAF_OBJ_REQUEST } };

    memcpy(objects[0].name, a->request.id, sizeof objects[0].name);
    for (size_t i = 0; i < a->request.n_snapshots; i++) {
        objects[1 + i].type = DZ_LEAF_OBJ_COMMIT;
        memcpy(objects[1 + i].name, a->request.snapshots[i].file, sizeof objects[1 + i].name);
    }
    return dz_ledger_note(c->v, tmpfd, (enum dz_leaf_kind) dz_quorum_effect(a->request.kind), 0,
                          objects, 1 + a->request.n_snapshots, text, ret_leaf, err);
}

/* --- deletion --------------------------------------------------------------------------------- */

dz_status dz_describe_delete(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err) {
    uint8_t files[DZ_REQUEST_SNAPSHOTS_MAX][DZ_SHA256_BYTES];
    const struct dz_survey_if as_it_is = { 0 };

    if (typed->n > DZ_REQUEST_SNAPSHOTS_MAX)
        return DZ_FAIL(err, DZ_E_USAGE, "a request names up to %d snapshots",
                       (int) DZ_REQUEST_SNAPSHOTS_MAX);
    for (size_t i = 0; i < typed->n; i++) {
        struct dz_snapshot snap = { 0 };

        DZ_TRY(dz_snapshot_find(c->v, typed->what[i], &snap, err));
        memcpy(files[i], snap.file, sizeof files[i]);
        dz_snapshot_release(&snap);
        for (size_t k = 0; k < i; k++)
            if (memcmp(files[k], files[i], sizeof files[i]) == 0)
                return DZ_FAIL(err, DZ_E_USAGE, "%.100s is named twice", typed->what[i]);
    }
    return show_all(c, files, typed->n, &as_it_is, if_deleted, ret, err);
}

/* The announcement, like any other, but with the request: a week later they may go. */
dz_status dz_carry_out_delete(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                              dz_err *err) {
    return note(c, tmpfd, a,
                json_pack("{s:s,s:I}", "event", "approved", "snapshots",
                          (json_int_t) a->request.n_snapshots),
                ret_leaf, err);
}

/* --- rules ------------------------------------------------------------------------------------ */

static dz_status set_rule(dz_keep *keep, char *rule, dz_err *err) {
    const struct {
        const char *name;
        uint32_t *to;
    } rules[] = { { "minimum", &keep->minimum_days },
                  { "daily", &keep->daily },
                  { "monthly", &keep->monthly },
                  { "yearly", &keep->yearly } };
    char *value = strchr(rule, '='), *end;
    unsigned long n;

    if (value)
        *value++ = '\0';
    if (value && strcmp(rule, "timezone") == 0) {
        DZ_TRY(dz_zone_enter(value, err));
        dz_zone_leave();
        (void) snprintf(keep->zone, sizeof keep->zone, "%s", value);
        return DZ_OK;
    }
    for (size_t i = 0; value && i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rule, rules[i].name) == 0) {
            n = strtoul(value, &end, 10);
            if (*value < '0' || *value > '9' || *end != '\0' || n > DZ_KEEP_DAYS_MAX)
                return DZ_FAIL(err, DZ_E_USAGE, "%s wants a number from 0 to %d", rule,
                               (int) DZ_KEEP_DAYS_MAX);
            *rules[i].to = (uint32_t) n;
            return DZ_OK;
        }
    return DZ_FAIL(err, DZ_E_USAGE,
                   "\"%.60s\" is no rule: minimum=, daily=, monthly=, yearly= or timezone=", rule);
}

/* "SOURCE,RULE=N,...": writes zeros into `text`. */
static dz_status parse_rules(const struct dz_custody *c, char *text, dz_policy *ret_old,
                             dz_keep *ret_new, dz_err *err) {
    char *save, *word = strtok_r(text, ",", &save);
    const dz_policy *old;
    dz_status s = DZ_OK;

    if (!word)
        return DZ_FAIL(err, DZ_E_USAGE, "the rules of which source?");
    old = dz_policies_find(&c->quorum.policies, word);
    if (!old)
        return DZ_FAIL(err, DZ_E_POLICY, "source %.100s has no rules: dozo policy sets the first",
                       word);
    *ret_old = *old;
    *ret_new = old->keep;
    while (s == DZ_OK && (word = strtok_r(NULL, ",", &save)))
        s = set_rule(ret_new, word, err);
    return s;
}

/* How many snapshots of the source have no reason to stay. */
static dz_status count_loose(const struct dz_custody *c, const char *source,
                             const struct dz_survey_if *what_if, size_t *ret_loose, size_t *ret_all,
                             dz_err *err) {
    struct dz_survey survey = { 0 };
    bool frozen;
    dz_status s =
        dz_survey_of(c, dz_clock_guard_now(c->ledger, &c->quorum, &frozen), what_if, &survey, err);

    *ret_loose = *ret_all = 0;
    for (size_t i = 0; s == DZ_OK && i < survey.n; i++)
        if (strcmp(survey.rows[i].source, source) == 0) {
            *ret_loose += dz_retention_goes(survey.rows[i].fate.why);
            ++*ret_all;
        }
    dz_survey_release(&survey);
    return s;
}

static dz_status count_loosened(const struct dz_custody *c, const char *source,
                                const dz_keep *instead, dz_buf *to, dz_err *err) {
    const struct dz_survey_if what_if = { .source = source, .instead = instead };
    size_t before, after, all;

    DZ_TRY(count_loose(c, source, NULL, &before, &all, err));
    DZ_TRY(count_loose(c, source, &what_if, &after, &all, err));
    dz_buf_printf(to,
                  "%zu of %zu snapshots lose their reason to stay today, %zu have none already / "
                  "本日時点で全%zu件中%zu件が保存対象から外れる",
                  after > before ? after - before : 0, all, before, all,
                  after > before ? after - before : 0);
    return DZ_OK;
}

dz_status dz_describe_loosen(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err) {
    dz_autofree char *text = strdup(typed->what[0]);
    char from[DZ_KEEP_TEXT], to[DZ_KEEP_TEXT];
    dz_keep keep = { 0 };
    dz_policy old = { 0 };

    if (!text)
        return DZ_FAIL(err, DZ_E_NOMEM, "request: out of memory");
    DZ_TRY(parse_rules(c, text, &old, &keep, err));
    if (!dz_keep_loosens(&old.keep, &keep))
        return DZ_FAIL(err, DZ_E_POLICY,
                       "this loosens nothing: dozo policy set needs nobody's "
                       "approval");
    dz_keep_text(&old.keep, from);
    dz_keep_text(&keep, to);
    dz_buf_printf(&ret->line[0], "%s", old.source);
    dz_buf_printf(&ret->line[1], "%s", from);
    dz_buf_printf(&ret->line[2], "%s", to);
    return count_loosened(c, old.source, &keep, &ret->line[3], err);
}

dz_status dz_carry_out_loosen(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                              dz_err *err) {
    dz_slice source = dz_request_value(&a->request, "source");
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
    char name[DZ_SOURCE_NAME_MAX + 1];
    dz_keep keep;

    if (source.len >= sizeof name || !dz_keep_parse(dz_request_value(&a->request, "to"), &keep))
        return DZ_FAIL(err, DZ_E_POLICY, "the request names no rules that can be read");
    memcpy(name, source.data, source.len);
    name[source.len] = '\0';
    memcpy(object.name, a->request.id, sizeof object.name);
    return dz_ledger_note(c->v, tmpfd, DZ_LEAF_POLICY, 0, &object, 1, dz_policy_text(name, &keep),
                          ret_leaf, err);
}

/* --- holds ------------------------------------------------------------------------------------ */

/* The leaf of this kind that the text numbers, or NULL. */
static const dz_ledger_leaf *leaf_at(const struct dz_custody *c, enum dz_leaf_kind kind,
                                     const char *text) {
    char *end;
    unsigned long long index = strtoull(text, &end, 10);

    return *text >= '0' && *text <= '9' && *end == '\0' ? dz_ledger_leaf_at(c->ledger, kind, index)
                                                        : NULL;
}

dz_status dz_describe_release(const struct dz_custody *c, const struct dz_operands *typed,
                              struct dz_subject *ret, dz_err *err) {
    const dz_ledger_leaf *hold = leaf_at(c, DZ_LEAF_HOLD, typed->what[0]);
    uint8_t files[DZ_REQUEST_SNAPSHOTS_MAX][DZ_SHA256_BYTES];
    struct dz_survey_if what_if = { 0 };
    const dz_leaf_object *o;
    size_t n = 0;

    if (!hold)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "leaf %.20s is no hold: dozo hold lists them",
                       typed->what[0]);
    if (dz_hold_ended(&c->quorum, hold->index))
        return DZ_FAIL(err, DZ_E_POLICY, "this hold has ended already");
    for (; (o = dz_ledger_object(hold, DZ_LEAF_OBJ_COMMIT, n)); n++) {
        if (n == DZ_REQUEST_SNAPSHOTS_MAX)
            return DZ_FAIL(err, DZ_E_LIMIT, "this hold names more than %d snapshots", (int) n);
        memcpy(files[n], o->name, sizeof files[n]);
    }
    dz_buf_printf(&ret->line[0], "%llu", (unsigned long long) hold->index);
    dz_hold_why(hold, &ret->line[1]);
    what_if.ended = hold->index;
    return show_all(c, files, n, &what_if, if_nothing_else, ret, err);
}

dz_status dz_carry_out_release(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                               dz_err *err) {
    return note(c, tmpfd, a, json_object(), ret_leaf, err);
}

/* --- alarms ----------------------------------------------------------------------------------- */

enum { LEAF_DIGITS = 8 }; /* fewer decimal digits are a leaf, never the beginning of an id */

/* The snapshot of the same source before this one; false: it is the first. */
static dz_status find_before(const struct dz_custody *c, const struct dz_snapshot *snap,
                             uint8_t ret_file[DZ_SHA256_BYTES], bool *ret_found, dz_err *err) {
    struct dz_survey survey = { 0 };
    dz_status s = dz_survey_of(c, dz_now_us(), NULL, &survey, err);

    *ret_found = false;
    for (size_t i = 1; s == DZ_OK && i < survey.n; i++)
        if (survey.rows[i].leaf == snap->leaf &&
            strcmp(survey.rows[i - 1].source, snap->commit.source) == 0) {
            memcpy(ret_file, survey.rows[i - 1].file, DZ_SHA256_BYTES);
            *ret_found = true;
        }
    dz_survey_release(&survey);
    return s;
}

static dz_status describe_snapshot(const struct dz_custody *c, const struct dz_snapshot *snap,
                                   struct dz_subject *ret, dz_err *err) {
    const struct dz_survey_if what_if = { .settled = snap->leaf };
    uint8_t files[2][DZ_SHA256_BYTES];
    bool before;

    if (snap->commit.alarms == 0)
        return DZ_FAIL(err, DZ_E_POLICY, "this snapshot raised no alarm");
    if (dz_settled_snapshot(&c->quorum, snap))
        return DZ_FAIL(err, DZ_E_POLICY, "the alarms of this snapshot are settled already");
    memcpy(files[0], snap->file, sizeof files[0]);
    DZ_TRY(find_before(c, snap, files[1], &before, err));
    dz_settled_put_snapshot(snap, ret->line);
    return show_all(c, files, before ? 2 : 1, &what_if, if_nothing_else, ret, err);
}

dz_status dz_describe_alarm(const struct dz_custody *c, const struct dz_operands *typed,
                            struct dz_subject *ret, dz_err *err) {
    const dz_ledger_leaf *alarm = leaf_at(c, DZ_LEAF_ALARM, typed->what[0]);
    const char *reason = alarm ? dz_ledger_text(alarm, "reason") : NULL;
    struct dz_snapshot snap = { 0 };
    dz_status s;

    if (alarm) {
        if (reason && strcmp(reason, "clock-jumped") == 0)
            return DZ_FAIL(err, DZ_E_POLICY,
                           "a clock is not settled but set right: dozo request unfreeze-clock");
        dz_settled_put(alarm, ret->line);
        return DZ_OK;
    }
    if (strlen(typed->what[0]) < LEAF_DIGITS &&
        typed->what[0][strspn(typed->what[0], "0123456789")] == '\0')
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "leaf %s is no alarm: dozo status lists them",
                       typed->what[0]);
    DZ_TRY(dz_snapshot_find(c->v, typed->what[0], &snap, err));
    s = describe_snapshot(c, &snap, ret, err);
    dz_snapshot_release(&snap);
    return s;
}

dz_status dz_carry_out_alarm(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                             dz_err *err) {
    return note(c, tmpfd, a, json_object(), ret_leaf, err);
}
