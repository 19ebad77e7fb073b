#include "cli/asks.h"

#include <pwd.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "core/clock.h"
#include "core/hex.h"

int dz_asks_open(const struct dz_cli *cli, bool writing, struct dz_asks *ret) {
    struct dz_asks a = { .cli = cli, .tmpfd = -1 };
    dz_err err = { 0 };
    dz_status s = DZ_OK;
    int code = dz_cli_open(cli, DZ_NEED_CLOSED, &a.custody.v);

    if (code != DZ_EXIT_OK)
        return code;
    if (writing)
        s = dz_vault_tmp_make(a.custody.v, a.tmp, &a.tmpfd, &err);
    if (s == DZ_OK)
        s = dz_custody_read(&a.custody, &err);
    if (s != DZ_OK) {
        dz_asks_close(&a);
        return dz_cli_fail(&err);
    }
    *ret = a;
    return DZ_EXIT_OK;
}

void dz_asks_close(struct dz_asks *a) {
    dz_custody_release(&a->custody);
    if (a->custody.v && a->tmpfd >= 0)
        dz_vault_tmp_drop(a->custody.v, a->tmp, a->tmpfd);
    dz_vault_free(a->custody.v);
    *a = (struct dz_asks){ .tmpfd = -1 };
}

int dz_asks_find(const struct dz_asks *a, const char *prefix, const dz_ask **ret_ask) {
    dz_err err = { 0 };

    if (dz_ask_find(&a->custody, prefix, ret_ask, &err) == DZ_OK)
        return DZ_EXIT_OK;
    dz_say_error(&err);
    if (err.status == DZ_E_NOT_FOUND)
        dz_say_next(T_("dozo requests --all names them"));
    return dz_exit_of(err.status);
}

void dz_ask_short(const uint8_t id[32], char ret_text[DZ_ASK_SHORT + 1]) {
    dz_hex(id, DZ_ASK_SHORT / 2, ret_text);
}

int dz_asks_forged(const struct dz_asks *a) {
    const struct dz_quorum *q = &a->custody.quorum;

    if (q->forged == 0)
        return DZ_EXIT_OK;
    dz_say(T_("%llu leaves of the log claim an approval that nobody gave, the first is leaf %llu"),
           (unsigned long long) q->forged, (unsigned long long) q->first_forged);
    dz_say_next(T_("They have no effect. Somebody who has the keys of this host may have written "
                   "them."));
    return DZ_EXIT_FOUND;
}

static enum dz_ask_state state_of(const struct dz_asks *a, const dz_ask *ask) {
    enum dz_ask_state state = DZ_ASK_OPEN;

    /* without memory it is shown as open, and refused when it is approved */
    DZ_IGNORE(dz_quorum_state(&a->custody.quorum, ask, dz_now_us(), &state, NULL));
    return state;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *slice_json(dz_slice s) {
    return json_stringn((const char *) s.data, s.len);
}

static json_t *approvals_json(const struct dz_quorum *q, const dz_ask *ask) {
    json_t *list = json_array();

    for (size_t i = 0; i < q->n_approvals; i++) {
        const dz_approval *p = &q->approvals[i];
        json_t *j;

        if (&q->asks[p->ask] != ask)
            continue;
        j = json_object();
        dz_json_text(j, "operator", q->operators[p->by].name);
        (void) json_object_set_new(j, "fingerprint", json_string(q->operators[p->by].fingerprint));
        (void) json_object_set_new(j, "time", dz_json_time(p->time_us));
        (void) json_object_set_new(j, "leaf", dz_json_count(p->leaf));
        (void) json_object_set_new(j, "counts",
                                   json_boolean(q->operators[p->by].until == UINT64_MAX));
        (void) json_array_append_new(list, j);
    }
    return list;
}

static json_t *snapshots_json(const struct dz_request *r) {
    json_t *list = json_array();

    for (size_t i = 0; i < r->n_snapshots; i++) {
        json_t *j = json_object();

        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            (void) json_object_set_new(j, dz_request_line_name((enum dz_request_line) l),
                                       slice_json(r->snapshots[i].line[l]));
        (void) json_array_append_new(list, j);
    }
    return list;
}

json_t *dz_ask_json(const struct dz_asks *a, const dz_ask *ask) {
    const struct dz_action *action = dz_action_of(ask->request.kind);
    const char *const *fields = dz_request_fields(ask->request.kind);
    const struct dz_quorum *q = &a->custody.quorum;
    json_t *j = json_object(), *subject = json_object();
    char id[2 * 32 + 1];

    dz_hex(ask->request.id, sizeof ask->request.id, id);
    for (size_t i = 0; fields[i]; i++)
        (void) json_object_set_new(subject, fields[i], slice_json(ask->request.subject[i]));
    if (ask->request.n_snapshots)
        (void) json_object_set_new(subject, "snapshots", snapshots_json(&ask->request));
    (void) json_object_set_new(j, "request", json_string(id));
    (void) json_object_set_new(
        j, "kind", json_string(action ? action->word : dz_request_kind_name(ask->request.kind)));
    (void) json_object_set_new(j, "state", json_string(dz_ask_state_name(state_of(a, ask))));
    (void) json_object_set_new(j, "subject", subject);
    (void) json_object_set_new(j, "asked_by", slice_json(ask->request.asked_by));
    (void) json_object_set_new(j, "why", slice_json(ask->request.why));
    (void) json_object_set_new(j, "created", dz_json_time(ask->request.created_us));
    (void) json_object_set_new(j, "expires", dz_json_time(ask->request.expires_us));
    (void) json_object_set_new(j, "leaf", dz_json_count(ask->leaf));
    (void) json_object_set_new(j, "needed", json_integer(q->needed));
    (void) json_object_set_new(j, "counting", dz_json_count(dz_quorum_count(q, ask)));
    (void) json_object_set_new(j, "approvals", approvals_json(q, ask));
    (void) json_object_set_new(j, "done", ask->done ? dz_json_count(ask->done) : json_null());
    return j;
}

/* --- text ------------------------------------------------------------------------------------- */

static const char *state_text(enum dz_ask_state state) {
    static const char *const texts[] = {
        [DZ_ASK_OPEN] = N_("waits for approvals"),
        [DZ_ASK_READY] = N_("approved, not carried out yet"),
        [DZ_ASK_DONE] = N_("carried out"),
        [DZ_ASK_EXPIRED] = N_("expired"),
        [DZ_ASK_OVERTAKEN] = N_("overtaken by another: ask again"),
    };

    return dz_text(texts[state]);
}

static void put_line(const char *name, dz_slice value) {
    (void) printf("    %s: %.*s\n", name, (int) value.len, (const char *) value.data);
}

void dz_ask_put(const struct dz_asks *a, const dz_ask *ask) {
    const struct dz_request *r = &ask->request;
    const char *const *fields = dz_request_fields(r->kind);
    const struct dz_quorum *q = &a->custody.quorum;
    char id[DZ_ASK_SHORT + 1], when[DZ_WHEN_TEXT];

    dz_ask_short(r->id, id);
    dz_when_text(r->expires_us, when);
    (void) printf("%s  %s  ", id, dz_request_kind_name(r->kind));
    (void) printf(T_("%s, %zu of %u approvals, until %s"), state_text(state_of(a, ask)),
                  dz_quorum_count(q, ask), q->needed, when);
    (void) putchar('\n');
    for (size_t i = 0; fields[i]; i++)
        put_line(fields[i], r->subject[i]);
    for (size_t i = 0; i < r->n_snapshots; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            put_line(dz_request_line_name((enum dz_request_line) l), r->snapshots[i].line[l]);
    (void) printf("    %.*s: %.*s\n", (int) r->asked_by.len, (const char *) r->asked_by.data,
                  (int) r->why.len, (const char *) r->why.data);
    for (size_t i = 0; i < q->n_approvals; i++) {
        const dz_approval *p = &q->approvals[i];

        if (&q->asks[p->ask] != ask)
            continue;
        dz_when_text(p->time_us, when);
        (void) printf("    ");
        (void) printf(q->operators[p->by].until == UINT64_MAX
                          ? T_("approved by %s, %s")
                          : T_("approved by %s, %s; no longer an operator, does not count"),
                      q->operators[p->by].name, when);
        (void) putchar('\n');
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

/* What the account is called; nobody has proved it.  Not the host: leaves say nothing of it. */
static void asker(char *to, size_t size) {
    const struct passwd *p = getpwuid(geteuid());

    if (p)
        (void) snprintf(to, size, "%s", p->pw_name);
    else
        (void) snprintf(to, size, "uid %u", (unsigned) geteuid());
}

int dz_asks_ask(struct dz_asks *a, const struct dz_action *action, const struct dz_operands *typed,
                const char *why, int64_t life_us) {
    struct dz_request r = { 0 };
    const dz_ask *ask = NULL;
    char who[160], id[2 * 32 + 1];
    dz_err err = { 0 };
    dz_status s;

    asker(who, sizeof who);
    s = dz_ask_for(&a->custody, a->tmpfd, action, typed, who, why, life_us, &r, &err);
    if (s == DZ_OK) {
        dz_hex(r.id, sizeof r.id, id);
        s = dz_custody_read(&a->custody, &err);
    }
    if (s == DZ_OK)
        s = dz_ask_find(&a->custody, id, &ask, &err);
    if (s != DZ_OK) {
        dz_request_release(&r);
        return dz_cli_fail(&err);
    }
    if (a->cli->json) {
        dz_json_put(dz_ask_json(a, ask));
    } else {
        (void) fwrite(r.text.data, 1, r.text.len, stdout);
        id[DZ_ASK_SHORT] = 0;
        if (!a->cli->quiet) {
            dz_say(T_("request %s waits for %u approvals"), id, a->custody.quorum.needed);
            dz_say_next(T_("an operator who has the key here: dozo approve %s --sign-with KEY"),
                        id);
            dz_say_next(T_("elsewhere: dozo requests --text %s >r.txt; ssh-keygen -Y sign -n %s -f "
                           "KEY r.txt; dozo approve %s --signature r.txt.sig"),
                        id, DZ_REQUEST_NAMESPACE, id);
        }
    }
    dz_request_release(&r);
    return DZ_EXIT_OK;
}

bool dz_asks_life(const struct dz_cli *cli, const char *text, int64_t *ret_us) {
    if (dz_duration_parse(text, ret_us) && *ret_us <= DZ_REQUEST_LIFE_MAX_US)
        return true;
    (void) dz_cli_usage(cli,
                        T_("--for wants a time such as 7d or 12h, at most %d days, not \"%s\""),
                        (int) (DZ_REQUEST_LIFE_MAX_US / 1000000 / 86400), text);
    return false;
}
