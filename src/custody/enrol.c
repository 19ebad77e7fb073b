#include "custody/enrol.h"

#include "core/clock.h"
#include "core/hex.h"
#include "core/utf8.h"
#include "crypto/hash.h"
#include "custody/action.h"

void dz_enrolment_release(struct dz_enrolment *e) {
    free(e->machines);
    free(e->invites);
    *e = (struct dz_enrolment){ 0 };
}

const dz_enrolled *dz_enrolled_source(const struct dz_enrolment *e, const char *source) {
    for (size_t i = 0; i < e->n_machines; i++)
        if (strcmp(e->machines[i].source, source) == 0)
            return &e->machines[i];
    return NULL;
}

const dz_enrolled *dz_enrolled_key(const struct dz_enrolment *e, const uint8_t key[DZ_ENROL_KEY]) {
    for (size_t i = 0; i < e->n_machines; i++)
        if (memcmp(e->machines[i].key, key, DZ_ENROL_KEY) == 0)
            return &e->machines[i];
    return NULL;
}

static dz_invite *invite_of(const struct dz_enrolment *e, const char *source) {
    for (size_t i = 0; i < e->n_invites; i++)
        if (strcmp(e->invites[i].source, source) == 0)
            return &e->invites[i];
    return NULL;
}

bool dz_invite_is_open(const struct dz_enrolment *e, const dz_invite *i) {
    return !i->used && e->now_us <= i->until_us;
}

bool dz_enrolment_invites(const struct dz_enrolment *e) {
    for (size_t i = 0; i < e->n_invites; i++)
        if (dz_invite_is_open(e, &e->invites[i]))
            return true;
    return false;
}

/* --- what the log says ------------------------------------------------------------------------ */

/* The names of a leaf: false when it is none of ours. */
static bool read_source(const dz_ledger_leaf *leaf, char ret[DZ_SOURCE_NAME_MAX + 1]) {
    const char *source = dz_ledger_text(leaf, "source");

    if (!source || !dz_source_name_ok(source))
        return false;
    (void) snprintf(ret, DZ_SOURCE_NAME_MAX + 1, "%s", source);
    return true;
}

static bool read_hex(const dz_ledger_leaf *leaf, const char *member, uint8_t ret[32]) {
    const char *text = dz_ledger_text(leaf, member);

    return text && dz_unhex(text, strlen(text), ret, 32);
}

static void drop_machine(struct dz_enrolment *e, const char *source) {
    for (size_t i = 0; i < e->n_machines; i++)
        if (strcmp(e->machines[i].source, source) == 0) {
            e->machines[i] = e->machines[--e->n_machines];
            return;
        }
}

static void drop_invite(struct dz_enrolment *e, const char *source) {
    dz_invite *i = invite_of(e, source);

    if (i)
        *i = e->invites[--e->n_invites];
}

static void take_invite(struct dz_enrolment *e, const dz_ledger_leaf *leaf) {
    const json_t *until = json_object_get(leaf->text, "until_us");
    dz_invite i = { .leaf = leaf->index, .until_us = json_integer_value(until) };

    if (!json_is_integer(until) || !read_source(leaf, i.source) ||
        !read_hex(leaf, "token", i.token_hash))
        return;
    drop_invite(e, i.source);
    e->invites[e->n_invites++] = i;
}

static void take_enrol(struct dz_enrolment *e, const dz_ledger_leaf *leaf) {
    const json_t *invite = json_object_get(leaf->text, "invite");
    dz_enrolled m = { .since_us = leaf->time_us, .invite = (uint64_t) json_integer_value(invite) };
    dz_invite *i;

    if (!json_is_integer(invite) || !read_source(leaf, m.source) || !read_hex(leaf, "key", m.key))
        return;
    i = invite_of(e, m.source);
    if (!i || i->leaf != m.invite || i->used || dz_enrolled_key(e, m.key))
        return;
    i->used = true;
    drop_machine(e, m.source);
    e->machines[e->n_machines++] = m;
}

/* Room for as many more as there may be. */
static dz_status make_room(struct dz_enrolment *e, size_t more, dz_err *err) {
    dz_enrolled *machines = reallocarray(e->machines, e->n_machines + more + 1, sizeof *machines);
    dz_invite *invites;

    if (machines)
        e->machines = machines;
    invites = reallocarray(e->invites, e->n_invites + more + 1, sizeof *invites);
    if (invites)
        e->invites = invites;
    return machines && invites ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "enrolments: out of memory");
}

dz_status dz_enrolment_update(struct dz_vault *v, struct dz_enrolment *e, dz_err *err) {
    char source[DZ_SOURCE_NAME_MAX + 1];
    DZ_AUTO(dz_ledger) l = NULL;

    DZ_TRY(dz_ledger_read_since(v, e->size, &l, err));
    DZ_TRY(make_room(e, l->n, err));
    for (size_t i = 0; i < l->n; i++) {
        const dz_ledger_leaf *leaf = &l->leaves[i];

        if (leaf->until_us > e->logged_us)
            e->logged_us = leaf->until_us;
        if (leaf->kind == DZ_LEAF_INVITE)
            take_invite(e, leaf);
        else if (leaf->kind == DZ_LEAF_ENROL)
            take_enrol(e, leaf);
        else if (leaf->kind == DZ_LEAF_REVOKE && read_source(leaf, source)) {
            drop_machine(e, source);
            drop_invite(e, source);
        }
    }
    if (l->tail_us > e->logged_us)
        e->logged_us = l->tail_us;
    e->size = l->size;
    e->now_us = dz_now_us();
    if (e->logged_us > e->now_us)
        e->now_us = e->logged_us;
    return DZ_OK;
}

/* --- what is added to it ---------------------------------------------------------------------- */

/* The log as it is, with nobody else adding to it what depends on it. */
static dz_status begin(struct dz_vault *v, int *ret_lock, struct dz_enrolment *e, dz_err *err) {
    DZ_TRY(dz_custody_lock(v, ret_lock, err));
    return dz_enrolment_update(v, e, err);
}

static dz_status check_name(const char *source, dz_err *err) {
    DZ_TRY(dz_source_name_check(source, err));
    if (!dz_utf8_plain((dz_slice){ (const uint8_t *) source, strlen(source) }))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "the name of a source that enrols is UTF-8, all of it visible");
    return DZ_OK;
}

dz_status dz_enrol_invite(struct dz_vault *v, const char *source, int64_t valid_us,
                          uint8_t ret_token[DZ_ENROL_TOKEN], int64_t *ret_until_us, dz_err *err) {
    DZ_CLEANUP(dz_enrolment_release) struct dz_enrolment e = { 0 };
    uint8_t token[DZ_ENROL_TOKEN], hash[DZ_SHA256_BYTES];
    dz_autoclose int lock = -1;
    char hex[2 * DZ_SHA256_BYTES + 1];
    int64_t until_us;

    DZ_TRY(check_name(source, err));
    if (valid_us <= 0 || valid_us > DZ_ENROL_VALID_MAX_US)
        return DZ_FAIL(err, DZ_E_USAGE, "an invitation is valid for at most 7 days");
    DZ_TRY(begin(v, &lock, &e, err));
    until_us = e.now_us + valid_us;
    dz_random(token, sizeof token);
    dz_sha256((dz_slice){ token, sizeof token }, hash);
    dz_hex(hash, sizeof hash, hex);
    DZ_TRY(dz_ledger_add(v, DZ_LEAF_INVITE, 0, NULL, 0,
                         json_pack("{s:s,s:s,s:I}", "source", source, "token", hex, "until_us",
                                   (json_int_t) until_us),
                         NULL, err));
    memcpy(ret_token, token, sizeof token);
    explicit_bzero(token, sizeof token);
    *ret_until_us = until_us;
    return DZ_OK;
}

/* Appends the leaf. */
static dz_status enrol(struct dz_vault *v, const dz_invite *i, const uint8_t key[DZ_ENROL_KEY],
                       dz_err *err) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_KEY };
    char hex[2 * DZ_ENROL_KEY + 1];

    dz_sha256((dz_slice){ key, DZ_ENROL_KEY }, object.name);
    dz_hex(key, DZ_ENROL_KEY, hex);
    return dz_ledger_add(
        v, DZ_LEAF_ENROL, 0, &object, 1,
        json_pack("{s:s,s:s,s:I}", "source", i->source, "key", hex, "invite", (json_int_t) i->leaf),
        NULL, err);
}

static dz_status take(struct dz_vault *v, const struct dz_enrolment *e,
                      const uint8_t token[DZ_ENROL_TOKEN], const uint8_t key[DZ_ENROL_KEY],
                      dz_err *err) {
    const dz_enrolled *known = dz_enrolled_key(e, key);
    const dz_invite *i = NULL;
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256((dz_slice){ token, DZ_ENROL_TOKEN }, hash);
    for (size_t k = 0; k < e->n_invites && !i; k++)
        if (memcmp(e->invites[k].token_hash, hash, sizeof hash) == 0)
            i = &e->invites[k];
    if (!i)
        return DZ_FAIL(err, DZ_E_POLICY, "a token that no invitation has");
    if (e->now_us > i->until_us)
        return DZ_FAIL(err, DZ_E_POLICY, "the token for %.64s is over", i->source);
    if (known && known->invite == i->leaf)
        return DZ_OK; /* it did not hear our answer */
    if (i->used)
        return DZ_FAIL(err, DZ_E_POLICY, "the token for %.64s was used before", i->source);
    if (known)
        return DZ_FAIL(err, DZ_E_POLICY, "a key that %.64s has enrolled", known->source);
    return enrol(v, i, key, err);
}

dz_status dz_enrol_take(struct dz_vault *v, const uint8_t token[DZ_ENROL_TOKEN],
                        const uint8_t key[DZ_ENROL_KEY], dz_enrolled *ret, dz_err *err) {
    DZ_CLEANUP(dz_enrolment_release) struct dz_enrolment e = { 0 };
    dz_autoclose int lock = -1;
    const dz_enrolled *m;

    DZ_TRY(begin(v, &lock, &e, err));
    DZ_TRY(take(v, &e, token, key, err));
    DZ_TRY(dz_enrolment_update(v, &e, err)); /* what counts is what the log now says */
    m = dz_enrolled_key(&e, key);
    if (!m)
        return DZ_FAIL(err, DZ_E_CORRUPT, "the log does not say what was enrolled");
    *ret = *m;
    return DZ_OK;
}

dz_status dz_enrol_revoke(struct dz_vault *v, const char *source, dz_err *err) {
    DZ_CLEANUP(dz_enrolment_release) struct dz_enrolment e = { 0 };
    dz_autoclose int lock = -1;
    const dz_invite *i;

    DZ_TRY(check_name(source, err));
    DZ_TRY(begin(v, &lock, &e, err));
    i = invite_of(&e, source);
    if (!dz_enrolled_source(&e, source) && !(i && dz_invite_is_open(&e, i)))
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "no machine is enrolled or invited as %.128s", source);
    return dz_ledger_add(v, DZ_LEAF_REVOKE, 0, NULL, 0, json_pack("{s:s}", "source", source), NULL,
                         err);
}
