#include <getopt.h>
#include <stdio.h>

#include "cli/asks.h"
#include "cli/output.h"
#include "cli/table.h"

enum { OPT_WHY = DZ_OPT_FIRST, OPT_FOR };

const struct dz_option dz_operator_options[] = {
    { OPT_WHY, "why", "TEXT", N_("the reason; whoever approves reads it") },
    { OPT_FOR, "for", "TIME",
      N_("how long it may be approved, such as 12h; else 7d, at most 31d") },
    { 0 },
};

static void put(const struct dz_cli *cli, const dz_operator *o) {
    if (cli->json) {
        json_t *j = json_object();

        dz_json_text(j, "operator", o->name);
        (void) json_object_set_new(j, "fingerprint", json_string(o->fingerprint));
        (void) json_object_set_new(j, "type", json_string(dz_ssh_type_name(o->key.type)));
        (void) json_object_set_new(j, "since", dz_json_count(o->since));
        dz_json_put(j);
        return;
    }
    dz_put_padded(stdout, o->name, 20);
    (void) printf(" %s  %s", o->fingerprint, dz_ssh_type_name(o->key.type));
    if (o->since)
        (void) printf(T_(", since leaf %llu"), (unsigned long long) o->since);
    (void) putchar('\n');
}

static int list(const struct dz_asks *a) {
    const struct dz_quorum *q = &a->custody.quorum;

    for (size_t i = 0; i < q->n_operators; i++)
        if (q->operators[i].until == UINT64_MAX)
            put(a->cli, &q->operators[i]);
    if (!a->cli->json && !a->cli->quiet) {
        if (q->needed)
            dz_say(T_("any %u of these %zu approve"), q->needed, q->n_present);
        else
            dz_say(T_("none: this vault was made without operators, and nothing can be approved"));
    }
    return dz_asks_forged(a);
}

/* `add NAME PUBKEY` and `remove NAME` are requests, too. */
static int change(struct dz_asks *a, char **operands, bool add, const char *why, int64_t life_us) {
    const struct dz_operands typed = { .what = &operands[add ? 1 : 0],
                                       .n = 1,
                                       .name = add ? operands[0] : NULL };
    const struct dz_action *action =
        dz_action_of(add ? DZ_REQUEST_OPERATOR_ADD : DZ_REQUEST_OPERATOR_REMOVE);

    return dz_asks_ask(a, action, &typed, why ? why : action->word, life_us);
}

int dz_cmd_operator(struct dz_cli *cli, int argc, char **argv) {
    int64_t life_us = DZ_REQUEST_LIFE_US;
    const char *verb, *why = NULL;
    struct dz_asks a;
    int option, code;
    bool add, remove;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_WHY)
            why = optarg;
        else if (!dz_asks_life(cli, optarg, &life_us))
            return DZ_EXIT_USAGE;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    verb = optind < argc ? argv[optind++] : "list";
    add = strcmp(verb, "add") == 0;
    remove = strcmp(verb, "remove") == 0;
    if (!add && !remove && strcmp(verb, "list") != 0)
        return dz_cli_usage(cli, T_("operator takes list, add or remove, not \"%s\""), verb);
    if (argc - optind != (add ? 2 : remove ? 1 : 0))
        return dz_cli_usage(cli, T_("add wants a name and a public key, remove a name, list "
                                    "nothing"));
    code = dz_asks_open(cli, add || remove, &a);
    if (code != DZ_EXIT_OK)
        return code;
    code = add || remove ? change(&a, argv + optind, add, why, life_us) : list(&a);
    dz_asks_close(&a);
    return code;
}
