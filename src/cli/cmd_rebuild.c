#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "store/packlist.h"

struct rebuilt {
    uint64_t packs, read, entries;
    double seconds;
};

static dz_status rebuild(struct dz_vault *v, struct rebuilt *to, dz_err *err) {
    struct dz_catalog catalog = { 0 };
    char tmp[DZ_VAULT_TMP_NAME];
    dz_status s;
    int tmpfd;

    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    s = dz_catalog_open(v, tmpfd, true, &catalog, &to->read, err);
    if (s == DZ_OK) {
        to->packs = catalog.packs.n;
        to->entries = dz_index_stats_of(catalog.index).entries;
        dz_catalog_close(&catalog);
    }
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}

int dz_cmd_rebuild(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct rebuilt r = { 0 };
    struct dz_progress clock;
    dz_err err = { 0 };
    int code;

    if (dz_cli_option(cli, argc, argv) == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    dz_progress_start(&clock, cli, "", 0);
    if (rebuild(v, &r, &err) != DZ_OK)
        return dz_cli_fail(&err);
    r.seconds = dz_progress_seconds(&clock);
    if (cli->json) {
        json_t *j = json_object();
        (void) json_object_set_new(j, "packs", dz_json_count(r.packs));
        (void) json_object_set_new(j, "read", dz_json_count(r.read));
        (void) json_object_set_new(j, "objects", dz_json_count(r.entries));
        (void) json_object_set_new(j, "seconds", json_real(r.seconds));
        dz_json_put(j);
    } else if (!cli->quiet) {
        (void) printf(T_("index made again: %llu objects in %llu packs\n"),
                      (unsigned long long) r.entries, (unsigned long long) r.read);
    }
    if (r.read >= r.packs)
        return DZ_EXIT_OK;
    dz_say(T_("%llu packs are damaged and were left out; dozo verify names them"),
           (unsigned long long) (r.packs - r.read));
    return DZ_EXIT_FOUND;
}
