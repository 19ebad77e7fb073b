#include "custody/effect.h"

#include <stdio.h>

#include "custody/hold.h"
#include "custody/settled.h"

/* What carries out a request. */
static const uint16_t effects[DZ_REQUEST_KIND_COUNT] = {
    [DZ_REQUEST_DELETE] = DZ_LEAF_PRUNE_INTENT,
    [DZ_REQUEST_POLICY] = DZ_LEAF_POLICY,
    [DZ_REQUEST_RELEASE] = DZ_LEAF_RELEASE,
    [DZ_REQUEST_ALARM] = DZ_LEAF_SETTLED,
    [DZ_REQUEST_UNFREEZE] = DZ_LEAF_CLOCK_EVENT,
    [DZ_REQUEST_OPERATOR_ADD] = DZ_LEAF_OPERATOR_ADD,
    [DZ_REQUEST_OPERATOR_REMOVE] = DZ_LEAF_OPERATOR_REMOVE,
};

uint16_t dz_quorum_effect(enum dz_request_kind kind) {
    return effects[kind];
}

/* --- operators -------------------------------------------------------------------------------- */

/* A value of the subject as a string; false when it does not fit. */
static bool value(const struct dz_request *r, const char *field, char *to, size_t size) {
    dz_slice s = dz_request_value(r, field);

    return (size_t) snprintf(to, size, "%.*s", (int) s.len, (const char *) s.data) < size;
}

static dz_status check_afterwards(const struct dz_quorum *q, const struct dz_request *r,
                                  const dz_operator *leaves, const char *comes, dz_err *err) {
    dz_autobuf dz_buf text = { 0 };

    dz_quorum_afterwards(q, leaves, comes, &text);
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "quorum: out of memory");
    return dz_slice_eq(dz_request_value(r, "afterwards"), dz_buf_slice(&text))
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_POLICY,
                         "the operators have changed since it was asked for: ask again");
}

/* Name, key and fingerprint of an operator's request, which must belong together. */
static bool subject_of(const struct dz_request *r, char name[DZ_OPERATOR_NAME_MAX + 1],
                       dz_ssh_key *key) {
    char fingerprint[DZ_SSH_FINGERPRINT_TEXT];
    dz_slice comment;

    if (!dz_operator_name_ok(dz_request_value(r, "name")) ||
        !value(r, "name", name, DZ_OPERATOR_NAME_MAX + 1) ||
        dz_ssh_key_parse(dz_request_value(r, "key"), key, &comment, NULL) != DZ_OK)
        return false;
    dz_ssh_key_fingerprint(key, fingerprint);
    return comment.len == 0 && dz_request_says(r, "key-fingerprint", fingerprint);
}

static dz_status check_operator(const struct dz_quorum *q, const struct dz_request *r,
                                dz_err *err) {
    char name[DZ_OPERATOR_NAME_MAX + 1];
    const dz_operator *o;
    dz_ssh_key key;

    if (!subject_of(r, name, &key))
        return DZ_FAIL(err, DZ_E_POLICY, "its key, name and fingerprint do not belong together");
    o = dz_quorum_find_key(q, &key);
    if (r->kind == DZ_REQUEST_OPERATOR_ADD) {
        if (o || dz_quorum_find(q, name))
            return DZ_FAIL(err, DZ_E_POLICY, "an operator has this key or this name already");
        if (q->n_present >= DZ_OPERATORS_MAX)
            return DZ_FAIL(err, DZ_E_POLICY, "there are %d operators, and no room for more",
                           (int) DZ_OPERATORS_MAX);
        return check_afterwards(q, r, NULL, name, err);
    }
    if (!o || strcmp(o->name, name) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "this key is no operator's");
    if (q->n_present - 1 < q->needed)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "%u must approve, so %zu operators are not enough: add one first", q->needed,
                       q->n_present - 1);
    return check_afterwards(q, r, o, NULL, err);
}

void dz_effect_join(struct dz_quorum *q, const dz_ssh_key *key, dz_slice name, uint64_t leaf) {
    dz_operator *o = &q->operators[q->n_operators++];

    *o = (dz_operator){ .key = *key, .since = leaf, .until = UINT64_MAX };
    dz_ssh_key_fingerprint(key, o->fingerprint);
    if (name.len > 0 && name.len <= DZ_OPERATOR_NAME_MAX)
        memcpy(o->name, name.data, name.len);
    else
        (void) snprintf(o->name, sizeof o->name, "%s", o->fingerprint);
    q->n_present++;
}

static void change_operators(struct dz_quorum *q, const struct dz_request *r, uint64_t leaf) {
    char name[DZ_OPERATOR_NAME_MAX + 1];
    const dz_operator *o;
    dz_ssh_key key;

    if (!subject_of(r, name, &key))
        return;
    o = dz_quorum_find_key(q, &key);
    if (r->kind == DZ_REQUEST_OPERATOR_ADD) {
        dz_effect_join(q, &key, dz_request_value(r, "name"), leaf);
    } else if (o) {
        q->operators[o - q->operators].until = leaf;
        q->n_present--;
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

/* The source and the new rules; false: the text has none that can be read. */
static bool rules_of(const struct dz_request *r, char source[DZ_SOURCE_NAME_MAX + 1],
                     dz_keep *ret_to) {
    return value(r, "source", source, DZ_SOURCE_NAME_MAX + 1) && dz_source_name_ok(source) &&
           dz_keep_parse(dz_request_value(r, "to"), ret_to);
}

static dz_status check_rules(const struct dz_quorum *q, const struct dz_request *r, dz_err *err) {
    char source[DZ_SOURCE_NAME_MAX + 1], now[DZ_KEEP_TEXT];
    const dz_policy *old;
    dz_keep to;

    if (!rules_of(r, source, &to))
        return DZ_FAIL(err, DZ_E_POLICY, "it names no rules that can be read");
    old = dz_policies_find(&q->policies, source);
    if (!old)
        return DZ_FAIL(err, DZ_E_POLICY, "source %.100s has no rules: dozo policy sets the first",
                       source);
    dz_keep_text(&old->keep, now);
    return dz_request_says(r, "from", now)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_POLICY,
                         "the rules have changed since it was asked for: ask again");
}

static bool says_rules(const struct dz_request *r, const dz_ledger_leaf *leaf) {
    char source[DZ_SOURCE_NAME_MAX + 1], to[DZ_KEEP_TEXT];
    dz_keep keep;

    if (!dz_policy_of(leaf, source, &keep) || !dz_request_says(r, "source", source))
        return false;
    dz_keep_text(&keep, to);
    return dz_request_says(r, "to", to);
}

static void change_rules(struct dz_quorum *q, const struct dz_request *r, uint64_t leaf) {
    char source[DZ_SOURCE_NAME_MAX + 1];
    dz_keep to;

    if (rules_of(r, source, &to))
        dz_policies_set(&q->policies, source, &to, leaf);
}

/* --- holds ------------------------------------------------------------------------------------ */

static dz_status check_hold(const struct dz_quorum *q, const struct dz_request *r, dz_err *err) {
    const dz_ledger_leaf *hold = dz_hold_of(q->ledger, r);

    if (!hold)
        return DZ_FAIL(err, DZ_E_POLICY, "the log has no such hold, or it says something else");
    if (dz_hold_ended(q, hold->index))
        return DZ_FAIL(err, DZ_E_POLICY, "this hold has ended already");
    return DZ_OK;
}

/* --- alarms ----------------------------------------------------------------------------------- */

static dz_status check_alarm(const struct dz_quorum *q, const struct dz_request *r, dz_err *err) {
    const dz_ledger_leaf *alarm;

    if (r->n_snapshots > 0) /* custody/survey.h holds the text against the snapshot */
        return DZ_OK;
    alarm = dz_settled_leaf(q->ledger, r);
    if (!alarm)
        return DZ_FAIL(err, DZ_E_POLICY, "the log has no such alarm, or it says something else");
    if (dz_settled_alarm(q, alarm))
        return DZ_FAIL(err, DZ_E_POLICY, "this alarm is settled already");
    return DZ_OK;
}

/* --- by kind ---------------------------------------------------------------------------------- */

dz_status dz_effect_check(const struct dz_quorum *q, const struct dz_request *r, dz_err *err) {
    switch (r->kind) {
    case DZ_REQUEST_OPERATOR_ADD:
    case DZ_REQUEST_OPERATOR_REMOVE:
        return check_operator(q, r, err);
    case DZ_REQUEST_POLICY:
        return check_rules(q, r, err);
    case DZ_REQUEST_RELEASE:
        return check_hold(q, r, err);
    case DZ_REQUEST_ALARM:
        return check_alarm(q, r, err);
    case DZ_REQUEST_DELETE:   /* custody/survey.h holds the text against the snapshots */
    case DZ_REQUEST_UNFREEZE: /* custody/clock_guard.h */
    case DZ_REQUEST_KIND_COUNT:
        break;
    }
    return DZ_OK;
}

bool dz_effect_says(const struct dz_request *r, const dz_ledger_leaf *leaf) {
    return leaf->kind == effects[r->kind] && dz_request_names(r, leaf) &&
           (r->kind != DZ_REQUEST_POLICY || says_rules(r, leaf));
}

void dz_effect_take(struct dz_quorum *q, const struct dz_request *r, uint64_t leaf) {
    if (r->kind == DZ_REQUEST_OPERATOR_ADD || r->kind == DZ_REQUEST_OPERATOR_REMOVE)
        change_operators(q, r, leaf);
    else if (r->kind == DZ_REQUEST_POLICY)
        change_rules(q, r, leaf);
}
