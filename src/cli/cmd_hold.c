#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "custody/action.h"
#include "custody/hold.h"

enum { OPT_WHY = DZ_OPT_FIRST };

const struct dz_option dz_hold_options[] = {
    { OPT_WHY, "why", "TEXT", N_("the reason, for the log") },
    { 0 },
};

static void put(const struct dz_cli *cli, const dz_ledger_leaf *leaf) {
    const char *id = dz_ledger_text(leaf, "snapshot"), *why = dz_ledger_text(leaf, "why");
    char when[DZ_WHEN_TEXT];

    if (cli->json) {
        json_t *j = json_object();

        (void) json_object_set_new(j, "hold", dz_json_count(leaf->index));
        (void) json_object_set_new(j, "snapshot", id ? json_string(id) : json_null());
        (void) json_object_set_new(j, "why", why ? json_string(why) : json_null());
        (void) json_object_set_new(j, "time", dz_json_time(leaf->time_us));
        dz_json_put(j);
        return;
    }
    dz_when_text(leaf->time_us, when);
    (void) printf("%-8llu %.12s  %s  ", (unsigned long long) leaf->index, id ? id : "?           ",
                  when);
    dz_put_path(stdout, (dz_slice){ (const uint8_t *) (why ? why : "?"), strlen(why ? why : "?") });
    (void) putchar('\n');
}

static int list(const struct dz_cli *cli, struct dz_vault *v) {
    struct dz_custody c = { .v = v };
    dz_err err = { 0 };
    size_t shown = 0;

    if (dz_custody_read(&c, &err) != DZ_OK) {
        dz_custody_release(&c);
        return dz_cli_fail(&err);
    }
    for (size_t i = 0; i < c.ledger->n; i++) {
        const dz_ledger_leaf *leaf = &c.ledger->leaves[i];

        if (leaf->kind != DZ_LEAF_HOLD || dz_hold_ended(&c.quorum, leaf->index))
            continue;
        put(cli, leaf);
        shown++;
    }
    dz_custody_release(&c);
    if (shown == 0 && !cli->json && !cli->quiet)
        dz_say(T_("no snapshot is held"));
    return DZ_EXIT_OK;
}

static int add(const struct dz_cli *cli, struct dz_vault *v, const char *name, const char *why) {
    struct dz_snapshot snap = { 0 };
    uint64_t leaf = 0;
    dz_err err = { 0 };
    dz_status s = dz_snapshot_find(v, name, &snap, &err);

    if (s != DZ_OK)
        return dz_cli_fail(&err);
    s = dz_hold_add(v, &snap, why, &leaf, &err);
    dz_snapshot_release(&snap);
    if (s != DZ_OK)
        return dz_cli_fail(&err);
    if (!cli->json && !cli->quiet)
        (void) printf(T_("held; the log's leaf %llu says so\n"), (unsigned long long) leaf);
    return DZ_EXIT_OK;
}

int dz_cmd_hold(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    const char *why = NULL, *name;
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        why = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    name = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    if ((name != NULL) != (why != NULL))
        return dz_cli_usage(cli, T_("a hold wants a snapshot and --why; without both, holds are "
                                    "listed"));
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    return name ? add(cli, v, name, why) : list(cli, v);
}
