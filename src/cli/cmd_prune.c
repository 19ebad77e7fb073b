#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/clock.h"
#include "custody/survey.h"

enum { OPT_DRY_RUN = DZ_OPT_FIRST, OPT_SOURCE };

const struct dz_option dz_prune_options[] = {
    { OPT_DRY_RUN, "dry-run", NULL, N_("only say what would expire, and why the rest stays") },
    { OPT_SOURCE, "source", "NAME", N_("only the snapshots of this source") },
    { 0 },
};

static const char *const reasons[] = {
    [DZ_RETENTION_EXPIRES] = N_("EXPIRES"),
    [DZ_RETENTION_UNREADABLE] = N_("kept: its record is missing or damaged (dozo verify)"),
    [DZ_RETENTION_HELD] = N_("kept: held (dozo hold)"),
    [DZ_RETENTION_ALARM] = N_("kept: an alarm, or the last one before it"),
    [DZ_RETENTION_NO_RULES] = N_("kept: its source has no rules (dozo policy)"),
    [DZ_RETENTION_NEWEST] = N_("kept: the newest of its source"),
    [DZ_RETENTION_MINIMUM] = N_("kept: within the minimum"),
    [DZ_RETENTION_DAILY] = N_("kept: first or last of its day"),
    [DZ_RETENTION_MONTHLY] = N_("kept: first or last of its month"),
    [DZ_RETENTION_YEARLY] = N_("kept: first or last of its year"),
};

static void put(const struct dz_cli *cli, const dz_survey_row *row) {
    bool readable = row->fate.why != DZ_RETENTION_UNREADABLE;
    bool expires = row->fate.why == DZ_RETENTION_EXPIRES;
    char id[DZ_SNAPSHOT_ID_TEXT], when[DZ_WHEN_TEXT];

    dz_snapshot_id_text(row->id, id);
    if (cli->json) {
        json_t *j = json_object();

        (void) json_object_set_new(j, "id", readable ? json_string(id) : json_null());
        if (readable)
            dz_json_text(j, "source", row->source);
        (void) json_object_set_new(j, "arrived",
                                   readable ? dz_json_time(row->arrived_us) : json_null());
        (void) json_object_set_new(j, "leaf", dz_json_count(row->leaf));
        (void) json_object_set_new(j, "decision", json_string(expires ? "expires" : "keep"));
        (void) json_object_set_new(j, "reason", json_string(dz_retention_name(row->fate.why)));
        dz_json_put(j);
        return;
    }
    dz_when_text(row->arrived_us, when);
    (void) printf("%.12s  %s  ", readable ? id : "?           ",
                  readable ? when : "?                  ");
    dz_put_padded(stdout, row->source, 20);
    (void) printf(" %s\n", dz_text(reasons[row->fate.why]));
}

int dz_cmd_prune(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_survey survey = { 0 };
    const char *source = NULL;
    bool dry = false;
    size_t expire = 0, shown = 0;
    dz_err err = { 0 };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_SOURCE)
            source = optarg;
        else
            dry = true;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    if (!dry)
        return dz_cli_usage(cli, T_("this version removes nothing: give --dry-run"));
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    if (dz_survey_read(v, dz_now_us(), &survey, &err) != DZ_OK) {
        dz_survey_release(&survey);
        return dz_cli_fail(&err);
    }
    for (size_t i = 0; i < survey.n; i++) {
        const dz_survey_row *row = &survey.rows[i];

        if (source && strcmp(row->source, source) != 0)
            continue;
        put(cli, row);
        shown++;
        expire += row->fate.why == DZ_RETENTION_EXPIRES;
    }
    dz_survey_release(&survey);
    if (!cli->json && !cli->quiet)
        (void) printf(T_("%zu of %zu snapshots would expire\n"), expire, shown);
    return DZ_EXIT_OK;
}
