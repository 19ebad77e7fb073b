#include "custody/action.h"

#include <fcntl.h>
#include <sys/file.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "core/os.h"
#include "core/text.h"
#include "crypto/hash.h"
#include "custody/asks_keep.h"
#include "custody/clock_guard.h"
#include "custody/operators.h"

enum { PREFIX_MIN = 4 };

void dz_custody_release(struct dz_custody *c) {
    dz_quorum_release(&c->quorum);
    dz_ledger_free(c->ledger);
    c->ledger = NULL;
}

dz_status dz_custody_lock(struct dz_vault *v, int *ret_fd, dz_err *err) {
    int fd = dz_os->openat(v->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "opening the vault's directory");
    while (dz_os->flock(fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            (void) DZ_FAIL_ERRNO(err, "waiting for who changes custody");
            (void) dz_os->close(fd);
            return DZ_E_IO;
        }
    *ret_fd = fd;
    return DZ_OK;
}

dz_status dz_custody_read(struct dz_custody *c, dz_err *err) {
    dz_custody_release(c);
    DZ_TRY(dz_ledger_read(c->v, &c->ledger, err));
    DZ_TRY(dz_quorum_read(c->v, c->ledger, &c->quorum, err));
    (void) pthread_mutex_lock(&c->v->log_lock);
    c->head = dz_tlog_head(c->v->log);
    (void) pthread_mutex_unlock(&c->v->log_lock);
    return DZ_OK;
}

void dz_subject_release(struct dz_subject *s) {
    for (size_t i = 0; i < DZ_REQUEST_SUBJECT_MAX; i++)
        dz_buf_release(&s->line[i]);
    for (size_t i = 0; i < DZ_REQUEST_SNAPSHOTS_MAX; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            dz_buf_release(&s->snapshot[i][l]);
}

/* --- operators -------------------------------------------------------------------------------- */

static dz_slice slice_of(const char *text) {
    return (dz_slice){ (const uint8_t *) text, strlen(text) };
}

enum { NAME, KEY, KEY_FINGERPRINT, AFTERWARDS }; /* lines of the subject */

static void put_operator(struct dz_subject *to, const char *name, const dz_ssh_key *key) {
    char fingerprint[DZ_SSH_FINGERPRINT_TEXT];

    dz_ssh_key_fingerprint(key, fingerprint);
    dz_buf_printf(&to->line[NAME], "%s", name);
    dz_ssh_key_write(key, &to->line[KEY]);
    dz_buf_printf(&to->line[KEY_FINGERPRINT], "%s", fingerprint);
}

/* "TYPE BASE64 [COMMENT]": the name is the comment's first word, or empty. */
static dz_status parse_key(dz_slice line, dz_ssh_key *ret_key, char **ret_name, dz_err *err) {
    dz_slice comment;
    size_t n = 0;

    DZ_TRY(dz_ssh_key_parse(line, ret_key, &comment, err));
    while (n < comment.len && comment.data[n] != ' ')
        n++;
    *ret_name = n > 0 ? strndup((const char *) comment.data, n) : strdup("");
    return *ret_name ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
}

/* The key itself, a public key's file, or a file as for `init` with one operator in it. */
static dz_status read_key(const char *what, dz_ssh_key *ret_key, char **ret_name, dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    struct dz_operators o = { 0 };
    dz_slice line;
    size_t n;

    if (strchr(what, ' ') && (strncmp(what, "ssh-", 4) == 0 || strncmp(what, "ecdsa-", 6) == 0 ||
                              strncmp(what, "sk-", 3) == 0))
        return parse_key(slice_of(what), ret_key, ret_name, err);
    DZ_TRY(dz_operators_read(what, &o, NULL) == DZ_OK
               ? DZ_OK
               : dz_read_file(AT_FDCWD, what, DZ_SSH_KEY_LINE_MAX, &text, err));
    if (o.n == 0) { /* a key without a comment names nobody */
        line = dz_buf_slice(&text);
        while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
            line.len--;
        return parse_key(line, ret_key, ret_name, err);
    }
    n = o.n;
    *ret_key = o.keys[0];
    *ret_name = strdup(strrchr(o.lines[0], ' ') + 1);
    dz_operators_release(&o);
    if (!*ret_name)
        return DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
    return n == 1 ? DZ_OK
                  : DZ_FAIL(err, DZ_E_USAGE, "the file names %zu operators: one at a time", n);
}

static dz_status describe_add(const struct dz_custody *c, const struct dz_operands *typed,
                              struct dz_subject *ret, dz_err *err) {
    dz_autofree char *in_file = NULL;
    const char *name;
    dz_ssh_key key;

    DZ_TRY(read_key(typed->what[0], &key, &in_file, err));
    name = typed->name ? typed->name : in_file;
    if (!dz_operator_name_ok(slice_of(name)))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "an operator's name has 1 to %d bytes, all visible, no spaces or quotes",
                       (int) DZ_OPERATOR_NAME_MAX);
    put_operator(ret, name, &key);
    dz_quorum_afterwards(&c->quorum, NULL, name, &ret->line[AFTERWARDS]);
    return DZ_OK;
}

static dz_status describe_remove(const struct dz_custody *c, const struct dz_operands *typed,
                                 struct dz_subject *ret, dz_err *err) {
    const dz_operator *o = dz_quorum_find(&c->quorum, typed->what[0]);

    if (!o)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "no operator has the name or fingerprint %.80s",
                       typed->what[0]);
    put_operator(ret, o->name, &o->key);
    dz_quorum_afterwards(&c->quorum, o, NULL, &ret->line[AFTERWARDS]);
    return DZ_OK;
}

/* The leaf is the effect: the replay takes it from the request. */
static dz_status note_effect(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                             dz_err *err) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };

    memcpy(object.name, a->request.id, sizeof object.name);
    return dz_ledger_note(c->v, tmpfd, (enum dz_leaf_kind) dz_quorum_effect(a->request.kind), 0,
                          &object, 1, json_object(), ret_leaf, err);
}

/* --- the clock -------------------------------------------------------------------------------- */

static dz_status frozen_clock(const struct dz_custody *c, struct dz_clock_guard *ret, dz_err *err) {
    dz_clock_guard_read(c->ledger, &c->quorum, ret);
    return ret->frozen ? DZ_OK
                       : DZ_FAIL(err, DZ_E_POLICY, "the vault trusts its clock: nothing to do");
}

static dz_status describe_unfreeze(const struct dz_custody *c, const struct dz_operands *typed,
                                   struct dz_subject *ret, dz_err *err) {
    char stood[DZ_TIME_TEXT], text[DZ_TIME_UTC_TEXT];
    struct dz_clock_guard g;

    (void) typed;
    DZ_TRY(frozen_clock(c, &g, err));
    dz_time_utc_text(dz_now_us(), text);
    if (text[0] == '\0')
        return DZ_FAIL(err, DZ_E_USAGE, "the clock of this host shows no time at all");
    dz_time_text(g.trusted_us, stood);
    dz_buf_printf(&ret->line[DZ_UNFREEZE_EVENT], "%llu", (unsigned long long) g.frozen_leaf);
    dz_buf_printf(&ret->line[DZ_UNFREEZE_CAUSE],
                  "the clock of the host jumped; the vault's stands still at %s", stood);
    dz_buf_printf(&ret->line[DZ_UNFREEZE_NOW], "%s", text);
    return DZ_OK;
}

static dz_status note_unfreeze(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                               dz_err *err) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
    struct dz_clock_sample now;
    struct dz_clock_guard g;

    DZ_TRY(frozen_clock(c, &g, err));
    memcpy(object.name, a->request.id, sizeof object.name);
    dz_clock_sample(&now);
    return dz_ledger_note(c->v, tmpfd, DZ_LEAF_CLOCK_EVENT, 0, &object, 1,
                          dz_clock_sample_text(&now), ret_leaf, err);
}

/* --- the table -------------------------------------------------------------------------------- */

const struct dz_action dz_actions[] = {
    { "operator-add", "KEYFILE", N_("somebody more may approve"), DZ_REQUEST_OPERATOR_ADD, false,
      describe_add, note_effect },
    { "operator-remove", "FINGERPRINT", N_("an operator may no longer approve"),
      DZ_REQUEST_OPERATOR_REMOVE, false, describe_remove, note_effect },
    { "delete-snapshot", "SNAPSHOT", N_("snapshots go before their time, a week from then"),
      DZ_REQUEST_DELETE, true, dz_describe_delete, dz_carry_out_delete },
    { "loosen-policy", "SOURCE,RULE=N,...", N_("a source's snapshots are kept for a shorter time"),
      DZ_REQUEST_POLICY, false, dz_describe_loosen, dz_carry_out_loosen },
    { "release-hold", "LEAF", N_("a hold ends"), DZ_REQUEST_RELEASE, false, dz_describe_release,
      dz_carry_out_release },
    { "acknowledge-alarm", "LEAF|SNAPSHOT", N_("an alarm is settled, and keeps nothing any more"),
      DZ_REQUEST_ALARM, false, dz_describe_alarm, dz_carry_out_alarm },
    { "unfreeze-clock", NULL, N_("the clock is right again, and snapshots may expire"),
      DZ_REQUEST_UNFREEZE, false, describe_unfreeze, note_unfreeze },
    { 0 },
};

const struct dz_action *dz_action_find(const char *word) {
    if (strcmp(word, "delete") == 0)
        return dz_action_of(DZ_REQUEST_DELETE);
    for (const struct dz_action *a = dz_actions; a->word; a++)
        if (strcmp(a->word, word) == 0)
            return a;
    return NULL;
}

const struct dz_action *dz_action_of(enum dz_request_kind kind) {
    for (const struct dz_action *a = dz_actions; a->word; a++)
        if (a->kind == kind)
            return a;
    return NULL;
}

/* --- asking, approving, carrying out ---------------------------------------------------------- */

/* Borrowed as a string; NULL when memory ran out. */
static const char *string_of(dz_buf *line) {
    dz_buf_put_u8(line, 0);
    return dz_buf_ok(line) ? (const char *) line->data : NULL;
}

static bool name_all(enum dz_request_kind kind, struct dz_subject *s, struct dz_request_new *n) {
    bool good = true;

    for (size_t i = 0; dz_request_fields(kind)[i]; i++)
        good &= (n->subject[i] = string_of(&s->line[i])) != NULL;
    n->n_snapshots = s->n_snapshots;
    for (size_t i = 0; i < s->n_snapshots; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            good &= (n->snapshots[i][l] = string_of(&s->snapshot[i][l])) != NULL;
    return good;
}

static dz_status make(struct dz_custody *c, const struct dz_action *action,
                      const struct dz_operands *typed, struct dz_request_new *n,
                      struct dz_request *ret, dz_err *err) {
    struct dz_subject subject = { 0 };
    dz_status s = action->describe(c, typed, &subject, err);

    if (s == DZ_OK && !name_all(action->kind, &subject, n))
        s = DZ_FAIL(err, DZ_E_NOMEM, "request: out of memory");
    if (s == DZ_OK)
        s = dz_request_make(n, ret, err);
    dz_subject_release(&subject);
    return s;
}

static dz_status note_request(struct dz_custody *c, int tmpfd, const struct dz_request *r,
                              dz_err *err) {
    const dz_ask would = { .request = *r, .latest_us = r->created_us };
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };

    DZ_TRY(dz_quorum_check_open(&c->quorum, &would, r->created_us, err));
    memcpy(object.name, r->id, sizeof object.name);
    return dz_ledger_note(c->v, tmpfd, DZ_LEAF_REQUEST, 0, &object, 1,
                          json_pack("{s:s%}", "text", (const char *) r->text.data, r->text.len),
                          NULL, err);
}

dz_status dz_ask_for(struct dz_custody *c, int tmpfd, const struct dz_action *action,
                     const struct dz_operands *typed, const char *asked_by, const char *why,
                     int64_t life_us, struct dz_request *ret_request, dz_err *err) {
    char fingerprint[DZ_FINGERPRINT_TEXT];
    struct dz_request_new n = { .vault = c->v->config.id,
                                .fingerprint = fingerprint,
                                .head = c->head,
                                .kind = action->kind,
                                .asked_by = asked_by,
                                .why = why,
                                .created_us = dz_now_us() };
    struct dz_request r = { 0 };
    dz_status s;

    if (c->quorum.needed == 0)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "this vault was made without operators: nothing can be approved");
    n.expires_us = n.created_us + life_us;
    dz_keys_fingerprint(c->v->host, fingerprint);
    DZ_TRY(make(c, action, typed, &n, &r, err));
    s = note_request(c, tmpfd, &r, err);
    if (s == DZ_OK)
        *ret_request = r;
    else
        dz_request_release(&r);
    return s;
}

dz_status dz_ask_approve(struct dz_custody *c, int tmpfd, const dz_ask *a, dz_slice armor,
                         size_t *ret_by, dz_err *err) {
    dz_leaf_object objects[2] = { { .type = DZ_LEAF_OBJ_REQUEST }, { .type = DZ_LEAF_OBJ_KEY } };
    dz_autobuf dz_buf blob = { 0 }, text = { 0 };
    const dz_operator *o;
    size_t by = 0;

    DZ_TRY(dz_quorum_check_signature(&c->quorum, a, armor, dz_now_us(), &by, err));
    DZ_TRY(dz_sshsig_dearmor(armor, &blob, err));
    dz_sshsig_armor(dz_buf_slice(&blob), &text); /* as ssh-keygen would write it */
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "approval: out of memory");
    o = &c->quorum.operators[by];
    memcpy(objects[0].name, a->request.id, sizeof objects[0].name);
    dz_sha256((dz_slice){ o->key.blob, o->key.len }, objects[1].name);
    DZ_TRY(dz_ledger_note(c->v, tmpfd, DZ_LEAF_APPROVE, 0, objects, 2,
                          json_pack("{s:s%}", "signature", (const char *) text.data, text.len),
                          NULL, err));
    if (ret_by)
        *ret_by = by;
    return dz_custody_read(c, err);
}

static dz_status carry_out(struct dz_custody *c, int tmpfd, const dz_ask *a, dz_err *err) {
    const struct dz_action *action = dz_action_of(a->request.kind);
    uint64_t leaf = 0;

    if (!action)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "this dozo cannot carry out such a request");
    DZ_TRY(dz_quorum_check_open(&c->quorum, a, dz_now_us(), err));
    if (!dz_quorum_enough(&c->quorum, a))
        return DZ_FAIL(err, DZ_E_POLICY, "%zu of the %u approvals that it needs are there",
                       dz_quorum_count(&c->quorum, a), c->quorum.needed);
    DZ_TRY(action->carry_out(c, tmpfd, a, &leaf, err));
    DZ_TRY(dz_custody_read(c, err));
    return dz_quorum_approved(&c->quorum, leaf)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_POLICY, "something else came first: leaf %llu has no effect",
                         (unsigned long long) leaf);
}

dz_status dz_ask_carry_out(struct dz_custody *c, int tmpfd, const dz_ask *a, dz_err *err) {
    dz_autoclose int lock = -1;
    uint8_t id[sizeof a->request.id];

    if (a->done)
        return dz_quorum_check_open(&c->quorum, a, dz_now_us(), err);
    memcpy(id, a->request.id, sizeof id);
    DZ_TRY(dz_custody_lock(c->v, &lock, err));
    DZ_TRY(dz_custody_read(c, err));
    a = dz_quorum_ask(&c->quorum, id);
    if (!a)
        return DZ_FAIL(err, DZ_E_CORRUPT, "the request is no longer in the log");
    return a->done ? DZ_OK : carry_out(c, tmpfd, a, err); /* done: somebody else was quicker */
}

dz_status dz_ask_find(const struct dz_custody *c, const char *prefix, const dz_ask **ret_ask,
                      dz_err *err) {
    const dz_ask *found = NULL;
    size_t n = strlen(prefix);

    if (n < PREFIX_MIN || strspn(prefix, "0123456789abcdef") != n)
        return DZ_FAIL(err, DZ_E_USAGE,
                       "a request is named by %d or more of its hexadecimal digits",
                       (int) PREFIX_MIN);
    for (size_t i = 0; i < c->quorum.n_asks; i++) {
        char hex[2 * 32 + 1];

        dz_hex(c->quorum.asks[i].request.id, 32, hex);
        if (n > sizeof hex - 1 || memcmp(hex, prefix, n) != 0)
            continue;
        if (found)
            return DZ_FAIL(err, DZ_E_USAGE, "several requests begin with %.64s", prefix);
        found = &c->quorum.asks[i];
    }
    if (!found)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "the log has no request %.64s", prefix);
    *ret_ask = found;
    return DZ_OK;
}
