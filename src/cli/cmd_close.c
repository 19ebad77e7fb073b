#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "custody/holder.h"

static void say(const struct dz_cli *cli, bool was_open) {
    if (cli->json) {
        json_t *j = json_object();

        (void) json_object_set_new(j, "was_open", json_boolean(was_open));
        dz_json_put(j);
    } else {
        (void) printf("%s\n", was_open ? T_("the vault is closed") : T_("the vault was not open"));
    }
}

int dz_cmd_close(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_holder) h = NULL;
    dz_err err = { 0 };
    dz_status s;
    int code;

    if (dz_cli_option(cli, argc, argv) == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    /* damage to the log is no reason to leave it open */
    code = dz_cli_open_damaged(cli, DZ_NEED_CLOSED, &v, &err);
    if (code != DZ_EXIT_OK)
        return code;
    s = dz_holder_find(v, &h, &err);
    if (s != DZ_OK && s != DZ_E_NOT_FOUND)
        return dz_cli_fail(&err);
    if (s == DZ_OK && dz_holder_end(h, &err) != DZ_OK)
        return dz_cli_fail(&err);
    say(cli, s == DZ_OK);
    return DZ_EXIT_OK;
}
