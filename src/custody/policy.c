#include "custody/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "custody/action.h"

const char *dz_keep_loosens(const dz_keep *from, const dz_keep *to) {
    const dz_keep none = { .minimum_days = DZ_KEEP_MINIMUM_DAYS };
    const dz_keep *old = from ? from : &none;

    if (to->minimum_days < old->minimum_days)
        return "minimum";
    if (to->daily < old->daily)
        return "daily";
    if (to->monthly < old->monthly)
        return "monthly";
    if (to->yearly < old->yearly)
        return "yearly";
    /* Days that begin elsewhere have other first and last snapshots. */
    if (from && strcmp(to->zone, old->zone) != 0)
        return "timezone";
    return NULL;
}

static dz_policy *find(const struct dz_policies *p, const char *source) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i].source, source) == 0)
            return &p->list[i];
    return NULL;
}

const dz_policy *dz_policies_find(const struct dz_policies *p, const char *source) {
    return find(p, source);
}

static bool number(const json_t *text, const char *member, uint32_t *ret) {
    const json_t *j = json_object_get(text, member);

    if (!json_is_integer(j) || json_integer_value(j) < 0 ||
        json_integer_value(j) > DZ_KEEP_DAYS_MAX)
        return false;
    *ret = (uint32_t) json_integer_value(j);
    return true;
}

static bool read_keep(const dz_ledger_leaf *leaf, dz_keep *ret) {
    const char *zone = dz_ledger_text(leaf, "timezone");

    if (!zone || !dz_zone_name_ok(zone) || !number(leaf->text, "minimum", &ret->minimum_days) ||
        !number(leaf->text, "daily", &ret->daily) ||
        !number(leaf->text, "monthly", &ret->monthly) ||
        !number(leaf->text, "yearly", &ret->yearly))
        return false;
    (void) snprintf(ret->zone, sizeof ret->zone, "%s", zone);
    return true;
}

void dz_keep_text(const dz_keep *keep, char ret_text[DZ_KEEP_TEXT]) {
    (void) snprintf(ret_text, DZ_KEEP_TEXT, "minimum %u days, daily %u, monthly %u, yearly %u, %s",
                    keep->minimum_days, keep->daily, keep->monthly, keep->yearly, keep->zone);
}

json_t *dz_policy_text(const char *source, const dz_keep *keep) {
    return json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:s}", "event", "set", "source", source, "minimum",
                     (int) keep->minimum_days, "daily", (int) keep->daily, "monthly",
                     (int) keep->monthly, "yearly", (int) keep->yearly, "timezone", keep->zone);
}

/* `word` and a number behind it; what else strtoul takes for one is written otherwise. */
static bool take(const char **p, const char *word, uint32_t *ret) {
    size_t len = strlen(word);
    unsigned long n;
    char *end;

    if (strncmp(*p, word, len) != 0)
        return false;
    n = strtoul(*p + len, &end, 10);
    *p = end;
    *ret = (uint32_t) n;
    return n <= DZ_KEEP_DAYS_MAX;
}

bool dz_keep_parse(dz_slice text, dz_keep *ret) {
    char copy[DZ_KEEP_TEXT] = "", again[DZ_KEEP_TEXT];
    const char *p = copy;
    dz_keep k = { 0 };

    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    if (!take(&p, "minimum ", &k.minimum_days) || !take(&p, " days, daily ", &k.daily) ||
        !take(&p, ", monthly ", &k.monthly) || !take(&p, ", yearly ", &k.yearly) ||
        strncmp(p, ", ", 2) != 0 || !dz_zone_name_ok(p + 2))
        return false;
    (void) snprintf(k.zone, sizeof k.zone, "%s", p + 2);
    dz_keep_text(&k, again);
    if (strcmp(copy, again) != 0)
        return false;
    *ret = k;
    return true;
}

bool dz_policy_of(const dz_ledger_leaf *leaf, char ret_source[DZ_SOURCE_NAME_MAX + 1],
                  dz_keep *ret_keep) {
    const char *event = dz_ledger_text(leaf, "event"), *source = dz_ledger_text(leaf, "source");

    if (!event || strcmp(event, "set") != 0 || !source || !dz_source_name_ok(source) ||
        !read_keep(leaf, ret_keep))
        return false;
    (void) snprintf(ret_source, DZ_SOURCE_NAME_MAX + 1, "%s", source);
    return true;
}

dz_status dz_policies_begin(const struct dz_ledger *ledger, struct dz_policies *ret, dz_err *err) {
    size_t most = 1;

    for (size_t i = 0; i < ledger->n; i++)
        most += ledger->leaves[i].kind == DZ_LEAF_POLICY;
    *ret = (struct dz_policies){ .list = calloc(most, sizeof *ret->list) };
    return ret->list ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "policies: out of memory");
}

bool dz_policies_take(struct dz_policies *p, const dz_ledger_leaf *leaf) {
    char source[DZ_SOURCE_NAME_MAX + 1];
    dz_keep keep = { 0 };
    const dz_policy *old;

    if (!dz_policy_of(leaf, source, &keep)) {
        p->passed_over++;
        return true;
    }
    old = find(p, source);
    if (dz_keep_loosens(old ? &old->keep : NULL, &keep))
        return false;
    dz_policies_set(p, source, &keep, leaf->index);
    return true;
}

void dz_policies_set(struct dz_policies *p, const char *source, const dz_keep *keep,
                     uint64_t leaf) {
    dz_policy *old = find(p, source);

    if (!old) {
        old = &p->list[p->n++];
        (void) snprintf(old->source, sizeof old->source, "%s", source);
    }
    old->keep = *keep;
    old->leaf = leaf;
}

void dz_policies_release(struct dz_policies *p) {
    free(p->list);
    *p = (struct dz_policies){ 0 };
}

static dz_status check(const char *source, const dz_keep *keep, dz_err *err) {
    DZ_TRY(dz_source_name_check(source, err));
    if (keep->minimum_days > DZ_KEEP_DAYS_MAX || keep->daily > DZ_KEEP_DAYS_MAX ||
        keep->monthly > DZ_KEEP_DAYS_MAX || keep->yearly > DZ_KEEP_DAYS_MAX)
        return DZ_FAIL(err, DZ_E_USAGE, "a rule may be at most %d", DZ_KEEP_DAYS_MAX);
    DZ_TRY(dz_zone_enter(keep->zone, err));
    dz_zone_leave();
    return DZ_OK;
}

static dz_status set(struct dz_vault *v, const char *source, const dz_keep *keep, dz_err *err) {
    struct dz_custody c = { .v = v };
    const dz_policy *old;
    const char *what = NULL;
    dz_status s = dz_custody_read(&c, err);

    if (s == DZ_OK) {
        old = find(&c.quorum.policies, source);
        what = dz_keep_loosens(old ? &old->keep : NULL, keep);
        if (what && !old)
            s = DZ_FAIL(err, DZ_E_POLICY, "the minimum cannot be below %d days",
                        DZ_KEEP_MINIMUM_DAYS);
        else if (what)
            s = DZ_FAIL(err, DZ_E_POLICY, "this would loosen \"%s\" of source %.100s", what,
                        source);
    }
    dz_custody_release(&c);
    DZ_TRY(s);
    return dz_ledger_add(v, DZ_LEAF_POLICY, 0, NULL, 0, dz_policy_text(source, keep), NULL, err);
}

dz_status dz_policy_set(struct dz_vault *v, const char *source, const dz_keep *keep, dz_err *err) {
    dz_autoclose int lock = -1;

    DZ_TRY(check(source, keep, err));
    DZ_TRY(dz_custody_lock(v, &lock, err));
    return set(v, source, keep, err);
}
