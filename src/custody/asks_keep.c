#include "custody/asks_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/hex.h"
#include "custody/hold.h"
#include "custody/policy.h"

/* The request, and the commit record that its subject names. */
static dz_status objects_of(const dz_ask *a, dz_leaf_object objects[2], dz_err *err) {
    dz_slice commit = dz_request_value(&a->request, "commit");

    objects[0].type = DZ_LEAF_OBJ_REQUEST;
    memcpy(objects[0].name, a->request.id, sizeof objects[0].name);
    objects[1].type = DZ_LEAF_OBJ_COMMIT;
    if (!dz_unhex((const char *) commit.data, commit.len, objects[1].name, sizeof objects[1].name))
        return DZ_FAIL(err, DZ_E_POLICY, "the request names no commit record");
    return DZ_OK;
}

/* --- deletion --------------------------------------------------------------------------------- */

enum { SNAPSHOT, COMMIT, SOURCE, ARRIVED, CONTENT }; /* lines of the subject */

dz_status dz_describe_delete(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err) {
    char id[DZ_SNAPSHOT_ID_TEXT], file[2 * DZ_SHA256_BYTES + 1], arrived[DZ_TIME_TEXT];
    struct dz_snapshot snap = { 0 };

    DZ_TRY(dz_snapshot_find(c->v, typed->what, &snap, err));
    dz_snapshot_id_text(snap.commit.id, id);
    dz_hex(snap.file, sizeof snap.file, file);
    dz_time_text(snap.commit.arrived_us, arrived);
    dz_buf_printf(&ret->line[SNAPSHOT], "%s", id);
    dz_buf_printf(&ret->line[COMMIT], "%s", file);
    dz_buf_printf(&ret->line[SOURCE], "%s", snap.commit.source);
    dz_buf_printf(&ret->line[ARRIVED], "%s", arrived);
    dz_buf_printf(&ret->line[CONTENT], "%llu files, %llu bytes",
                  (unsigned long long) snap.commit.files, (unsigned long long) snap.commit.bytes);
    dz_snapshot_release(&snap);
    return DZ_OK;
}

/* The announcement, like any other, but with the request: a week later it may go. */
dz_status dz_carry_out_delete(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                              dz_err *err) {
    dz_leaf_object objects[2];

    DZ_TRY(objects_of(a, objects, err));
    return dz_ledger_note(c->v, tmpfd, DZ_LEAF_PRUNE_INTENT, 0, objects, 2,
                          json_pack("{s:s,s:i}", "event", "approved", "snapshots", 1), ret_leaf,
                          err);
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

dz_status dz_describe_loosen(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err) {
    dz_autofree char *text = strdup(typed->what);
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
    return DZ_OK;
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

static const dz_ledger_leaf *hold_at(const struct dz_custody *c, const char *text) {
    char *end;
    unsigned long long index = strtoull(text, &end, 10);

    for (size_t i = 0; *text >= '0' && *text <= '9' && *end == '\0' && i < c->ledger->n; i++)
        if (c->ledger->leaves[i].index == index && c->ledger->leaves[i].kind == DZ_LEAF_HOLD)
            return &c->ledger->leaves[i];
    return NULL;
}

dz_status dz_describe_release(const struct dz_custody *c, const struct dz_operands *typed,
                              struct dz_subject *ret, dz_err *err) {
    const dz_ledger_leaf *hold = hold_at(c, typed->what);
    const dz_leaf_object *commit = hold ? dz_ledger_object(hold, DZ_LEAF_OBJ_COMMIT, 0) : NULL;
    const char *snapshot = hold ? dz_ledger_text(hold, "snapshot") : NULL;
    char file[2 * DZ_SHA256_BYTES + 1];

    if (!commit || !snapshot)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "leaf %.20s is no hold: dozo hold lists them",
                       typed->what);
    if (dz_hold_released(&c->quorum, hold->index))
        return DZ_FAIL(err, DZ_E_POLICY, "this hold has ended already");
    dz_hex(commit->name, sizeof commit->name, file);
    dz_buf_printf(&ret->line[0], "%llu", (unsigned long long) hold->index);
    dz_buf_printf(&ret->line[1], "%s", snapshot);
    dz_buf_printf(&ret->line[2], "%s", file);
    dz_hold_why(hold, &ret->line[3]);
    return DZ_OK;
}

dz_status dz_carry_out_release(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                               dz_err *err) {
    dz_leaf_object objects[2];

    DZ_TRY(objects_of(a, objects, err));
    return dz_ledger_note(c->v, tmpfd, DZ_LEAF_RELEASE, 0, objects, 2, json_object(), ret_leaf,
                          err);
}
