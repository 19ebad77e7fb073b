#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/hex.h"
#include "custody/prune.h"
#include "custody/survey.h"
#include "intake/path_cache.h"

enum { OPT_DRY_RUN = DZ_OPT_FIRST, OPT_SOURCE };
enum { SPARSE_PCT = 50, NAMES_MAX = 4 << 20 };

const struct dz_option dz_prune_options[] = {
    { OPT_DRY_RUN, "dry-run", NULL, N_("only say what would expire, and why the rest stays") },
    { OPT_SOURCE, "source", "NAME", N_("with --dry-run: only the snapshots of this source") },
    { 0 },
};

/* --- what would be ---------------------------------------------------------------------------- */

static const char *const reasons[] = {
    [DZ_RETENTION_EXPIRES] = N_("EXPIRES"),
    [DZ_RETENTION_APPROVED] = N_("GOES before its time"),
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

static void put_row(const struct dz_cli *cli, const dz_survey_row *row) {
    bool readable = row->fate.why != DZ_RETENTION_UNREADABLE;
    bool expires = dz_retention_goes(row->fate.why);
    char id[DZ_SNAPSHOT_ID_TEXT], when[DZ_WHEN_TEXT], request[2 * 32 + 1];

    dz_snapshot_id_text(row->id, id);
    dz_hex(row->request, sizeof row->request, request);
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
        (void) json_object_set_new(j, "request",
                                   row->fate.approved ? json_string(request) : json_null());
        dz_json_put(j);
        return;
    }
    dz_when_text(row->arrived_us, when);
    (void) printf("%.12s  %s  ", readable ? id : "?           ",
                  readable ? when : "?                  ");
    dz_put_padded(stdout, row->source, 20);
    (void) printf(" %s", dz_text(reasons[row->fate.why]));
    if (row->fate.approved)
        (void) printf(T_(" (early deletion approved by request %.12s)"), request);
    (void) putchar('\n');
}

/* As of the vault's own time. */
static dz_status survey_now(struct dz_vault *v, struct dz_survey *ret, int64_t *ret_us,
                            bool *ret_frozen, dz_err *err) {
    struct dz_custody c = { .v = v };
    dz_status s = dz_custody_read(&c, err);

    if (s == DZ_OK) {
        *ret_us = dz_clock_guard_now(c.ledger, &c.quorum, ret_frozen);
        s = dz_survey_of(&c, *ret_us, NULL, ret, err);
    }
    dz_custody_release(&c);
    return s;
}

static int explain(const struct dz_cli *cli, struct dz_vault *v, const char *source) {
    struct dz_survey survey = { 0 };
    size_t expire = 0, shown = 0;
    char when[DZ_WHEN_TEXT];
    dz_err err = { 0 };
    int64_t now_us;
    bool frozen;

    if (survey_now(v, &survey, &now_us, &frozen, &err) != DZ_OK) {
        dz_survey_release(&survey);
        return dz_cli_fail(&err);
    }
    for (size_t i = 0; i < survey.n; i++) {
        const dz_survey_row *row = &survey.rows[i];

        if (source && strcmp(row->source, source) != 0)
            continue;
        put_row(cli, row);
        shown++;
        expire += dz_retention_goes(row->fate.why);
    }
    dz_survey_release(&survey);
    if (cli->json || cli->quiet)
        return DZ_EXIT_OK;
    (void) printf(T_("%zu of %zu snapshots would expire\n"), expire, shown);
    dz_when_text(now_us, when);
    if (frozen)
        (void) printf(T_("the vault's clock stands still at %s: nothing expires\n"), when);
    else
        (void) printf(T_("by the vault's own clock it is %s\n"), when);
    return DZ_EXIT_OK;
}

/* --- what is done ----------------------------------------------------------------------------- */

struct run {
    const struct dz_cli *cli;
    struct dz_vault *vault;
    struct dz_progress progress;
    enum dz_sweep_stage stage;
    bool started;
};

static bool show(void *ctx, enum dz_sweep_stage stage, uint64_t done) {
    static const char *const labels[] = {
        [DZ_SWEEP_WALK] = N_("looking through snapshots"),
        [DZ_SWEEP_WAIT] = N_("waiting for backups that run"),
        [DZ_SWEEP_MOVE] = N_("moving what is needed"),
        [DZ_SWEEP_REMOVE] = N_("removing packs"),
    };
    struct run *r = ctx;

    if (!r->started || r->stage != stage) {
        if (r->started)
            dz_progress_end(&r->progress);
        dz_progress_start(&r->progress, r->cli, dz_text(labels[stage]), 0);
        r->started = true;
        r->stage = stage;
    }
    if (stage == DZ_SWEEP_MOVE)
        dz_progress_show(&r->progress, 0, done);
    else
        dz_progress_show(&r->progress, done, 0);
    return true;
}

static dz_status drop_caches(void *ctx, const uint8_t *ids, size_t n, dz_err *err) {
    struct run *r = ctx;

    return dz_path_caches_keep(r->vault, ids, n, err);
}

static void put_json(const struct dz_prune_result *r) {
    json_t *j = json_object();

    (void) json_object_set_new(j, "announced", dz_json_count(r->announced));
    (void) json_object_set_new(j, "waiting", dz_json_count(r->waiting));
    (void) json_object_set_new(j, "next", r->next_us ? dz_json_time(r->next_us) : json_null());
    (void) json_object_set_new(j, "removed", dz_json_count(r->removed));
    (void) json_object_set_new(j, "packs_removed", dz_json_count(r->swept.removed));
    (void) json_object_set_new(j, "packs_compacted", dz_json_count(r->swept.compacted));
    (void) json_object_set_new(j, "packs_left", dz_json_count(r->swept.left));
    (void) json_object_set_new(j, "freed", dz_json_count(r->swept.freed));
    (void) json_object_set_new(j, "time", dz_json_time(r->guard.trusted_us));
    (void) json_object_set_new(j, "frozen", json_boolean(r->guard.frozen));
    dz_json_put(j);
}

static void put_text(const struct dz_prune_result *r) {
    char when[DZ_WHEN_TEXT], freed[DZ_SIZE_TEXT];

    dz_size_text(r->swept.freed, freed);
    (void) printf(T_("%llu snapshots removed; %llu packs removed, %llu of them after what is "
                     "needed was moved; %s freed\n"),
                  (unsigned long long) r->removed, (unsigned long long) r->swept.removed,
                  (unsigned long long) r->swept.compacted, freed);
    if (r->announced + r->waiting > 0) {
        dz_when_text(r->next_us, when);
        (void) printf(T_("%llu snapshots newly announced, %llu wait; the first may go on %s, by "
                         "the vault's own clock\n"),
                      (unsigned long long) r->announced, (unsigned long long) r->waiting, when);
    }
    if (r->swept.left > 0)
        (void) printf(T_("%llu packs were left for the next run\n"),
                      (unsigned long long) r->swept.left);
}

static int prune(const struct dz_cli *cli, struct dz_vault *v) {
    struct run run = { .cli = cli, .vault = v };
    struct dz_prune_how how = { .sweep = { .sparse_pct = SPARSE_PCT,
                                           .names_max = NAMES_MAX,
                                           .survivors = drop_caches,
                                           .progress = show,
                                           .ctx = &run } };
    struct dz_prune_result r;
    char when[DZ_WHEN_TEXT];
    dz_err err = { 0 };
    dz_status s;

    dz_clock_sample(&how.now);
    s = dz_prune_run(v, &how, &r, &err);
    if (run.started)
        dz_progress_end(&run.progress);
    if (s == DZ_OK || r.announced || r.removed) {
        if (cli->json)
            put_json(&r);
        else if (!cli->quiet)
            put_text(&r);
    }
    if (s != DZ_OK)
        return dz_cli_fail(&err);
    if (!r.guard.frozen)
        return DZ_EXIT_OK;
    dz_when_text(r.guard.trusted_us, when);
    dz_say(T_("the clock of this host jumped; for the vault it is still %s, and nothing expires"),
           when);
    return DZ_EXIT_FOUND;
}

int dz_cmd_prune(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    const char *source = NULL;
    bool dry = false;
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
    if (source && !dry)
        return dz_cli_usage(cli, T_("--source goes with --dry-run: prune is for the whole vault"));
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    return dry ? explain(cli, v, source) : prune(cli, v);
}
