#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/asks.h"
#include "cli/output.h"
#include "cli/ssh_sign.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/durable.h"

enum { OPT_SIGN_WITH = DZ_OPT_FIRST, OPT_SIGNATURE, OPT_YES };

const struct dz_option dz_approve_options[] = {
    { OPT_SIGN_WITH, "sign-with", "KEY",
      N_("have ssh-keygen sign with this private key, or the public key of one in an agent") },
    { OPT_SIGNATURE, "signature", "FILE", N_("the signature that was made elsewhere") },
    { OPT_YES, "yes", NULL, N_("do not ask before signing") },
    { 0 },
};

struct call {
    struct dz_cli *cli;
    struct dz_asks asks;
    const char *id, *key, *file;
    bool yes;
};

/* Who signs on a terminal has read the text first. */
static bool agreed(const struct call *c) {
    char answer[8] = "";

    if (c->yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return true;
    (void) fputs(T_("Sign this? Type yes: "), stderr);
    return fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0;
}

static dz_status sign(const struct call *c, const dz_ask *ask, dz_buf *armor, dz_err *err) {
    dz_slice text = dz_buf_slice(&ask->request.text);
    FILE *to = c->cli->json ? stderr : stdout;

    if (c->file)
        return dz_read_file(AT_FDCWD, c->file, DZ_SSHSIG_ARMOR_MAX, armor, err);
    /* nobody is asked to sign what could not count */
    DZ_TRY(dz_quorum_check_open(&c->asks.custody.quorum, ask, dz_now_us(), err));
    (void) fwrite(text.data, 1, text.len, to);
    (void) fflush(to);
    if (!agreed(c))
        return DZ_FAIL(err, DZ_E_POLICY, "not signed");
    return dz_ssh_sign(c->key, DZ_REQUEST_NAMESPACE, text, armor, err);
}

/* The one that the user named, after log and quorum were read again. DZ_E_CORRUPT: the log shrank.
 */
static dz_status again(const struct call *c, const uint8_t id[32], const dz_ask **ret_ask,
                       dz_err *err) {
    const dz_ask *ask = dz_quorum_ask(&c->asks.custody.quorum, id);

    if (ask) {
        *ret_ask = ask;
        return DZ_OK;
    }
    return DZ_FAIL(err, DZ_E_CORRUPT, "the request is no longer in the log");
}

static dz_status approve(struct call *c, const dz_ask **ask, size_t *ret_by, dz_err *err) {
    dz_autobuf dz_buf armor = { 0 };
    uint8_t id[32];

    memcpy(id, (*ask)->request.id, sizeof id);
    DZ_TRY(sign(c, *ask, &armor, err));
    DZ_TRY(
        dz_ask_approve(&c->asks.custody, c->asks.tmpfd, *ask, dz_buf_slice(&armor), ret_by, err));
    return again(c, id, ask, err);
}

static dz_status carry_out(struct call *c, const dz_ask **ask, dz_err *err) {
    uint8_t id[32];

    memcpy(id, (*ask)->request.id, sizeof id);
    DZ_TRY(dz_ask_carry_out(&c->asks.custody, c->asks.tmpfd, *ask, err));
    return again(c, id, ask, err);
}

static void say_result(const struct call *c, const dz_ask *ask, const dz_operator *by) {
    const struct dz_quorum *q = &c->asks.custody.quorum;
    char id[DZ_ASK_SHORT + 1];

    if (c->cli->json) {
        json_t *j = dz_ask_json(&c->asks, ask);

        (void) json_object_set_new(j, "approved_by", by ? json_string(by->name) : json_null());
        dz_json_put(j);
        return;
    }
    dz_ask_short(ask->request.id, id);
    if (by)
        (void) printf(T_("%s: approved by %s, %zu of %u approvals"), id, by->name,
                      dz_quorum_count(q, ask), q->needed);
    else
        (void) printf(T_("%s: %zu of %u approvals"), id, dz_quorum_count(q, ask), q->needed);
    (void) putchar('\n');
    if (ask->done) {
        (void) printf(T_("%s: carried out, leaf %llu"), id, (unsigned long long) ask->done);
        (void) putchar('\n');
    }
}

static int run(struct call *c) {
    const dz_operator *by = NULL;
    const dz_ask *ask = NULL;
    dz_err err = { 0 };
    size_t who = 0;
    int code = dz_asks_find(&c->asks, c->id, &ask);

    if (code != DZ_EXIT_OK)
        return code;
    if (c->key || c->file) {
        if (approve(c, &ask, &who, &err) != DZ_OK)
            return dz_cli_fail(&err);
        by = &c->asks.custody.quorum.operators[who]; /* places do not change: the log only grows */
    }
    if ((!by || dz_quorum_enough(&c->asks.custody.quorum, ask)) &&
        carry_out(c, &ask, &err) != DZ_OK)
        return dz_cli_fail(&err);
    if (by)
        by = &c->asks.custody.quorum.operators[who];
    say_result(c, ask, by);
    return DZ_EXIT_OK;
}

int dz_cmd_approve(struct dz_cli *cli, int argc, char **argv) {
    struct call c = { .cli = cli };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_SIGN_WITH)
            c.key = optarg;
        else if (option == OPT_SIGNATURE)
            c.file = optarg;
        else
            c.yes = true;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind != 1)
        return dz_cli_usage(cli, T_("one request is approved at a time: dozo requests names them"));
    if (c.key && c.file)
        return dz_cli_usage(cli, T_("--sign-with or --signature, not both"));
    c.id = argv[optind];
    code = dz_asks_open(cli, true, &c.asks);
    if (code != DZ_EXIT_OK)
        return code;
    code = run(&c);
    dz_asks_close(&c.asks);
    return code;
}
