#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/hex.h"
#include "custody/enrol.h"
#include "net/ca.h"

enum { OPT_VALID = DZ_OPT_FIRST, OPT_LIST, OPT_REVOKE };
enum { VALID_MINUTES = 60, KEY_SHOWN = 16 /* digits of its SHA-256 */ };

const struct dz_option dz_enrol_options[] = {
    { OPT_VALID, "valid", "TIME", N_("how long the token may be used, at most 7d (1h)") },
    { OPT_LIST, "list", NULL, N_("list who is enrolled or invited") },
    { OPT_REVOKE, "revoke", "SOURCE", N_("what this machine sends is no longer taken") },
    { 0 },
};

struct call {
    struct dz_cli *cli;
    const char *source, *revoke;
    int64_t valid_us;
    bool list;
};

/* --- list ------------------------------------------------------------------------------------- */

static void put_machine(const struct dz_cli *cli, const dz_enrolled *m) {
    uint8_t hash[DZ_SHA256_BYTES];
    char hex[2 * DZ_SHA256_BYTES + 1], when[DZ_WHEN_TEXT];

    dz_sha256((dz_slice){ m->key, sizeof m->key }, hash);
    dz_hex(hash, sizeof hash, hex);
    if (cli->json) {
        json_t *j = json_object();

        dz_json_text(j, "source", m->source);
        (void) json_object_set_new(j, "state", json_string("enrolled"));
        (void) json_object_set_new(j, "since", dz_json_time(m->since_us));
        (void) json_object_set_new(j, "key_sha256", json_string(hex));
        dz_json_put(j);
        return;
    }
    dz_when_text(m->since_us, when);
    dz_put_padded(stdout, m->source, 24);
    (void) printf(T_(" enrolled since %s, key %.*s\n"), when, (int) KEY_SHOWN, hex);
}

static void put_invite(const struct dz_cli *cli, const dz_invite *i) {
    char when[DZ_WHEN_TEXT];

    if (cli->json) {
        json_t *j = json_object();

        dz_json_text(j, "source", i->source);
        (void) json_object_set_new(j, "state", json_string("invited"));
        (void) json_object_set_new(j, "until", dz_json_time(i->until_us));
        dz_json_put(j);
        return;
    }
    dz_when_text(i->until_us, when);
    dz_put_padded(stdout, i->source, 24);
    (void) printf(T_(" invited until %s\n"), when);
}

static int list(const struct dz_cli *cli, struct dz_vault *v) {
    DZ_CLEANUP(dz_enrolment_release) struct dz_enrolment e = { 0 };
    dz_err err = { 0 };
    size_t shown;

    if (dz_enrolment_update(v, &e, &err) != DZ_OK)
        return dz_cli_fail(&err);
    shown = e.n_machines;
    for (size_t i = 0; i < e.n_machines; i++)
        put_machine(cli, &e.machines[i]);
    for (size_t i = 0; i < e.n_invites; i++)
        if (dz_invite_is_open(&e, &e.invites[i])) {
            put_invite(cli, &e.invites[i]);
            shown++;
        }
    if (shown == 0 && !cli->json && !cli->quiet)
        dz_say(T_("no machine is enrolled: dozo enrol SOURCE"));
    return DZ_EXIT_OK;
}

/* --- enrol ------------------------------------------------------------------------------------ */

static void put_token(const struct call *c, const char *token, const char *authority,
                      int64_t until_us) {
    char when[DZ_WHEN_TEXT];

    if (c->cli->json) {
        json_t *j = json_object();

        dz_json_text(j, "source", c->source);
        (void) json_object_set_new(j, "token", json_string(token));
        (void) json_object_set_new(j, "until", dz_json_time(until_us));
        (void) json_object_set_new(j, "ca_fingerprint", json_string(authority));
        dz_json_put(j);
        return;
    }
    dz_when_text(until_us, when);
    (void) printf(T_("token           %s\n"), token);
    (void) printf(T_("valid until     %s, once\n"), when);
    (void) printf(T_("CA fingerprint  %s\n"), authority);
}

static int invite(const struct call *c, struct dz_vault *v) {
    uint8_t token[DZ_ENROL_TOKEN], fingerprint[DZ_CA_FINGERPRINT];
    char text[2 * DZ_ENROL_TOKEN + 1], authority[2 * DZ_CA_FINGERPRINT + 1];
    DZ_AUTO(dz_ca) ca = NULL;
    int64_t until_us;
    dz_err err = { 0 };

    if (dz_ca_new(v->host, v->config.created_us, &ca, &err) != DZ_OK ||
        dz_enrol_invite(v, c->source, c->valid_us, token, &until_us, &err) != DZ_OK)
        return dz_cli_fail(&err);
    dz_cert_fingerprint(dz_ca_cert(ca), fingerprint);
    dz_hex(fingerprint, sizeof fingerprint, authority);
    dz_hex(token, sizeof token, text);
    put_token(c, text, authority, until_us);
    explicit_bzero(token, sizeof token);
    explicit_bzero(text, sizeof text);
    return DZ_EXIT_OK;
}

static int end_source(const struct call *c, struct dz_vault *v) {
    dz_err err = { 0 };

    if (dz_enrol_revoke(v, c->revoke, &err) != DZ_OK)
        return dz_cli_fail(&err);
    if (!c->cli->json && !c->cli->quiet)
        (void) printf(T_("what %s sends is no longer taken; its snapshots stay\n"), c->revoke);
    return DZ_EXIT_OK;
}

/* --- the call --------------------------------------------------------------------------------- */

/* DZ_EXIT_OK, or what is wrong was said. */
static int parse(struct call *c, int argc, char **argv) {
    bool valid = false;
    int option;

    while ((option = dz_cli_option(c->cli, argc, argv)) >= 0)
        if (option == OPT_LIST) {
            c->list = true;
        } else if (option == OPT_REVOKE) {
            c->revoke = optarg;
        } else if (dz_duration_parse(optarg, &c->valid_us) &&
                   c->valid_us <= DZ_ENROL_VALID_MAX_US) {
            valid = true;
        } else {
            return dz_cli_usage(c->cli,
                                T_("--valid takes a time of at most 7d, such as 30m; not "
                                   "\"%s\""),
                                optarg);
        }
    if (option == DZ_CLI_STOP)
        return -1;
    if (optind < argc)
        c->source = argv[optind++];
    if (optind < argc)
        return dz_cli_usage(c->cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    if ((c->source != NULL) + c->list + (c->revoke != NULL) > 1 || (valid && !c->source))
        return dz_cli_usage(c->cli, T_("one at a time: a source to enrol, --list, or --revoke"));
    return DZ_EXIT_OK;
}

int dz_cmd_enrol(struct dz_cli *cli, int argc, char **argv) {
    struct call c = { .cli = cli, .valid_us = INT64_C(60) * 1000000 * VALID_MINUTES };
    DZ_AUTO(dz_vault) v = NULL;
    int code = parse(&c, argc, argv);

    if (code != DZ_EXIT_OK)
        return code < 0 ? cli->stop_code : code;
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    if (c.revoke)
        return end_source(&c, v);
    return c.source ? invite(&c, v) : list(cli, v);
}
