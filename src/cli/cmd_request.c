#include <getopt.h>
#include <stdio.h>

#include "cli/asks.h"
#include "cli/output.h"
#include "cli/table.h"

enum { OPT_WHY = DZ_OPT_FIRST, OPT_FOR, OPT_NAME };

const struct dz_option dz_request_options[] = {
    { OPT_WHY, "why", "TEXT", N_("the reason; whoever approves reads it") },
    { OPT_FOR, "for", "TIME",
      N_("how long it may be approved, such as 12h; else 7d, at most 31d") },
    { OPT_NAME, "name", "NAME", N_("operator-add: what the new operator is called") },
    { 0 },
};

static int unknown(const struct dz_cli *cli, const char *word) {
    enum { KINDS_MAX = 16 };
    const char *names[KINDS_MAX + 1] = { 0 };
    const char *nearest;
    size_t n = 0;
    int code;

    for (const struct dz_action *a = dz_actions; a->word && n < KINDS_MAX; a++)
        names[n++] = a->word;
    nearest = dz_cli_nearest(word, names);
    code = nearest
               ? dz_cli_usage(cli, T_("there is no request %s; did you mean %s?"), word, nearest)
               : dz_cli_usage(cli, T_("there is no request %s"), word);
    for (const struct dz_action *a = dz_actions; a->word; a++)
        dz_say_next("%s%s%s%s: %s", a->word, a->operand ? " " : "", a->operand ? a->operand : "",
                    a->several ? "..." : "", dz_text(a->summary));
    return code;
}

int dz_cmd_request(struct dz_cli *cli, int argc, char **argv) {
    int64_t life_us = DZ_REQUEST_LIFE_US;
    const struct dz_action *action;
    struct dz_operands typed = { 0 };
    const char *why = NULL;
    struct dz_asks a;
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_WHY)
            why = optarg;
        else if (option == OPT_NAME)
            typed.name = optarg;
        else if (!dz_asks_life(cli, optarg, &life_us))
            return DZ_EXIT_USAGE;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind >= argc)
        return dz_cli_usage(cli, T_("what is asked for?"));
    action = dz_action_find(argv[optind]);
    if (!action)
        return unknown(cli, argv[optind]);
    if (action->operand && (argc - optind < 2 || (argc - optind > 2 && !action->several)))
        return dz_cli_usage(cli,
                            action->several ? T_("%s wants one or more operands: %s")
                                            : T_("%s wants one operand: %s"),
                            action->word, action->operand);
    if (!action->operand && argc - optind != 1)
        return dz_cli_usage(cli, T_("%s wants no operand"), action->word);
    if (!why)
        return dz_cli_usage(cli, T_("--why is needed: whoever approves reads it"));
    if (typed.name && action->kind != DZ_REQUEST_OPERATOR_ADD)
        return dz_cli_usage(cli, T_("--name belongs to operator-add"));
    typed.what = argv + optind + 1;
    typed.n = (size_t) (argc - optind - 1);
    code = dz_asks_open(cli, true, &a);
    if (code != DZ_EXIT_OK)
        return code;
    code = dz_asks_ask(&a, action, &typed, why, life_us);
    dz_asks_close(&a);
    return code;
}
