#include <getopt.h>
#include <stdio.h>

#include "cli/asks.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/clock.h"

enum { OPT_ALL = DZ_OPT_FIRST, OPT_TEXT };

const struct dz_option dz_requests_options[] = {
    { OPT_ALL, "all", NULL, N_("also those that are done, expired or overtaken") },
    { OPT_TEXT, "text", "ID", N_("write the text of this request, the bytes that are signed") },
    { 0 },
};

static int list(const struct dz_asks *a, bool all) {
    const struct dz_quorum *q = &a->custody.quorum;
    size_t shown = 0;

    for (size_t i = 0; i < q->n_asks; i++) {
        dz_err err = { 0 };

        if (!all) {
            dz_status s = dz_quorum_check_open(q, &q->asks[i], dz_now_us(), &err);

            if (s == DZ_E_NOMEM)
                return dz_cli_fail(&err);
            if (s != DZ_OK)
                continue;
        }
        shown++;
        if (a->cli->json)
            dz_json_put(dz_ask_json(a, &q->asks[i]));
        else
            dz_ask_put(a, &q->asks[i]);
    }
    if (shown == 0 && !a->cli->json && !a->cli->quiet)
        dz_say(T_("nothing is asked for"));
    return dz_asks_forged(a);
}

int dz_cmd_requests(struct dz_cli *cli, int argc, char **argv) {
    const char *text = NULL;
    const dz_ask *ask;
    struct dz_asks a;
    bool all = false;
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_ALL)
            all = true;
        else
            text = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_asks_open(cli, false, &a);
    if (code != DZ_EXIT_OK)
        return code;
    if (!text)
        code = list(&a, all);
    else if ((code = dz_asks_find(&a, text, &ask)) == DZ_EXIT_OK)
        (void) fwrite(ask->request.text.data, 1, ask->request.text.len, stdout);
    dz_asks_close(&a);
    return code;
}
