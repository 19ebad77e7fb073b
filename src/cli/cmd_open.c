#include <getopt.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/table.h"
#include "core/clock.h"
#include "custody/holder.h"

enum { OPT_FOR = DZ_OPT_FIRST, OPT_RENEW, OPT_COLLECT };

const struct dz_option dz_open_options[] = {
    { OPT_FOR, "for", "TIME", N_("how long it stays open, such as 8h; else 72h, at most 7d") },
    { OPT_RENEW, "renew", NULL, N_("let it stay open for longer, from now on") },
    { OPT_COLLECT, "collect", NULL,
      N_("give one share, and wait for those of the other custodians, from their terminals") },
    { 0 },
};

struct call {
    struct dz_cli *cli;
    int64_t life_us;
    bool renew, collect;

    struct dz_vault *v;
    struct dz_holder *holder; /* NULL: the vault is not open */
};

static void say_state(const struct call *c, const dz_holder_state *state) {
    int64_t until = dz_now_us() + state->left_us;
    char when[DZ_WHEN_TEXT], left[DZ_AGE_TEXT];
    bool waits = state->need > 0;

    if (c->cli->json) {
        json_t *j = json_object();

        (void) json_object_set_new(j, "open", json_boolean(state->open));
        (void) json_object_set_new(
            j, "shares",
            waits ? json_pack("{s:i, s:i}", "have", (int) state->have, "need", (int) state->need)
                  : json_null());
        (void) json_object_set_new(j, "opened",
                                   state->open ? dz_json_time(state->opened_us) : json_null());
        (void) json_object_set_new(j, "until", dz_json_time(until));
        (void) json_object_set_new(j, "seconds_left", json_integer(state->left_us / 1000000));
        (void) json_object_set_new(j, "pid", json_integer(state->pid));
        dz_json_put(j);
        return;
    }
    dz_when_text(until, when);
    dz_age_text(state->left_us, left);
    if (waits) {
        (void) printf(T_("%u of %u shares are there\n"), state->have, state->need);
        if (!c->cli->quiet)
            dz_say_next(T_("the next custodian, within 15 minutes: dozo open %s--key SHARE"),
                        state->open ? "--renew --collect " : "--collect ");
    }
    if (state->open)
        (void) printf(T_("the vault is open until %s, for %s; before that: dozo close\n"), when,
                      left);
}

/* The account, and which keys; nobody has proved the former. */
static void put_who(dz_buf *to) {
    const struct passwd *p = getpwuid(geteuid());

    if (p)
        dz_buf_printf(to, "%s, ", p->pw_name);
    else
        dz_buf_printf(to, "uid %u, ", (unsigned) geteuid());
}

static dz_status start(const struct call *c, const uint8_t *root, const char *who,
                       dz_holder_state *ret_state, dz_err *err) {
    char program[PATH_MAX];

    if (!dz_cli_program("dozo-keyholder", program))
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "dozo-keyholder is not installed");
    return dz_holder_start(program, c->v, root, c->life_us, who, ret_state, err);
}

static int with_root(struct call *c, uint8_t *root) {
    dz_autobuf dz_buf who = { 0 };
    dz_holder_state state = { 0 };
    dz_err err = { 0 };
    dz_status s;
    int code;

    put_who(&who);
    code = dz_cli_root(c->cli, c->v, root, &who);
    if (code != DZ_EXIT_OK)
        return code;
    dz_buf_put_u8(&who, 0);
    if (!dz_buf_ok(&who)) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    s = c->holder
            ? dz_holder_renew(c->holder, root, c->life_us, (const char *) who.data, &state, &err)
            : start(c, root, (const char *) who.data, &state, &err);
    if (s != DZ_OK)
        return dz_cli_fail(&err);
    say_state(c, &state);
    return DZ_EXIT_OK;
}

static dz_status give(struct call *c, const dz_share *share, dz_holder_state *ret_state,
                      dz_err *err) {
    dz_autobuf dz_buf who = { 0 };
    char program[PATH_MAX];

    put_who(&who);
    dz_buf_printf(&who, "share %u", share->x);
    dz_buf_put_u8(&who, 0);
    if (!dz_buf_ok(&who))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    if (c->holder)
        return dz_holder_give(c->holder, share, c->life_us, (const char *) who.data, ret_state,
                              err);
    if (!dz_cli_program("dozo-keyholder", program))
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "dozo-keyholder is not installed");
    DZ_TRY(dz_holder_start_with(program, c->v, share, c->life_us, (const char *) who.data,
                                ret_state, err));
    return dz_holder_find(c->v, &c->holder, err);
}

static int with_shares(struct call *c) {
    dz_share *list = sodium_allocarray(DZ_CLI_KEYS_MAX, sizeof *list);
    dz_holder_state state = { 0 };
    dz_err err = { 0 };
    dz_status s = DZ_OK;
    size_t n = 0;
    int code;

    if (!list) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    code = dz_cli_shares(c->cli, c->v, list, &n);
    /* what comes after the last share that was needed is not given: it would begin a renewal */
    for (size_t i = 0; code == DZ_EXIT_OK && s == DZ_OK && i < n && (i == 0 || state.need); i++)
        s = give(c, &list[i], &state, &err);
    sodium_free(list);
    if (code != DZ_EXIT_OK)
        return code;
    if (s != DZ_OK)
        return dz_cli_fail(&err);
    say_state(c, &state);
    return DZ_EXIT_OK;
}

static int run(struct call *c) {
    dz_holder_state state = { 0 };
    dz_err err = { 0 };
    dz_status s = dz_holder_find(c->v, &c->holder, &err);
    uint8_t *root;
    int code;

    if (s == DZ_OK)
        s = dz_holder_ask_state(c->holder, &state, &err);
    if (s != DZ_OK && s != DZ_E_NOT_FOUND)
        return dz_cli_fail(&err);
    if (c->renew && !(c->holder && state.open)) {
        dz_say(T_("the vault is not open"));
        return DZ_EXIT_COULD_NOT;
    }
    if (c->holder && !c->renew &&
        (state.open || c->cli->n_keys == 0)) { /* nobody's keys are needed to see that */
        say_state(c, &state);
        return DZ_EXIT_OK;
    }
    if (c->cli->n_keys == 0) {
        dz_say(T_("give what opens the vault with --key"));
        return DZ_EXIT_REFUSED;
    }
    if (c->collect)
        return with_shares(c);
    root = sodium_malloc(DZ_ROOT_BYTES);
    if (!root) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    code = with_root(c, root);
    sodium_free(root);
    return code;
}

int dz_cmd_open(struct dz_cli *cli, int argc, char **argv) {
    struct call c = { .cli = cli, .life_us = DZ_HOLDER_LIFE_US };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0) {
        if (option == OPT_RENEW)
            c.renew = true;
        else if (option == OPT_COLLECT)
            c.collect = true;
        else if (!dz_duration_parse(optarg, &c.life_us) || c.life_us > DZ_HOLDER_LIFE_MAX_US)
            return dz_cli_usage(cli,
                                T_("--for wants a time such as 8h or 3d, at most %d days, not "
                                   "\"%s\""),
                                (int) (DZ_HOLDER_LIFE_MAX_US / 1000000 / 86400), optarg);
    }
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &c.v);
    if (code != DZ_EXIT_OK)
        return code;
    code = run(&c);
    dz_holder_free(c.holder);
    dz_vault_free(c.v);
    return code;
}
