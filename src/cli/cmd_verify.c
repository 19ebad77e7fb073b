#include <getopt.h>
#include <stdio.h>

#include "cli/asks.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "custody/prune.h"
#include "store/verify.h"

enum { OPT_DATA = DZ_OPT_FIRST, OPT_SAMPLE };
enum { PATHS_SHOWN = 10, SNAPSHOTS_SHOWN = 6 };

const struct dz_option dz_verify_options[] = {
    { OPT_DATA, "data", NULL, N_("open the content too; needs --key") },
    { OPT_SAMPLE, "sample", "PCT", N_("check a random share of the packs, in percent") },
    { 0 },
};

struct verifying {
    struct dz_progress progress;
    json_t *list; /* of damage; NULL without --json */
};

static void show(void *ctx, const struct dz_verify_progress *p) {
    struct verifying *w = ctx;

    w->progress.total_bytes = p->bytes_total;
    dz_progress_show(&w->progress, p->packs, p->bytes);
}

static json_t *damage_json(const struct dz_verify_damage *d) {
    json_t *j = json_object(), *snapshots = json_array(), *paths = json_array();

    (void) json_object_set_new(j, "object", json_string(d->object));
    (void) json_object_set_new(j, "what", json_string(dz_verify_what_text(d->what)));
    (void) json_object_set_new(j, "detail", json_string(d->detail));
    for (size_t i = 0; i < d->n_snapshots; i++) {
        char id[DZ_SNAPSHOT_ID_TEXT];
        dz_snapshot_id_text(d->snapshots[i], id);
        (void) json_array_append_new(snapshots, json_string(id));
    }
    for (size_t i = 0; i < d->n_paths; i++) {
        json_t *row = json_object();
        dz_json_path(row, "path", d->paths[i].path);
        (void) json_object_set_new(row, "entries", dz_json_count(d->paths[i].entries));
        (void) json_array_append_new(paths, row);
    }
    (void) json_object_set_new(j, "snapshots", snapshots);
    (void) json_object_set_new(j, "paths", paths);
    (void) json_object_set_new(j, "entries", dz_json_count(d->entries));
    return j;
}

static void put_damage(const struct dz_verify_damage *d) {
    (void) printf(T_("DAMAGED  %s %s"), d->object, dz_text(dz_verify_what_text(d->what)));
    (void) printf("%s%s%s\n", d->detail[0] ? " (" : "", d->detail, d->detail[0] ? ")" : "");
    for (size_t i = 0; i < d->n_snapshots && i < SNAPSHOTS_SHOWN; i++) {
        char id[DZ_SNAPSHOT_ID_TEXT];
        dz_snapshot_id_text(d->snapshots[i], id);
        (void) printf(T_("  needed by snapshot %s\n"), id);
    }
    if (d->n_snapshots > SNAPSHOTS_SHOWN)
        (void) printf(T_("  ... and %zu more snapshots\n"), d->n_snapshots - SNAPSHOTS_SHOWN);
    for (size_t i = 0; i < d->n_paths && i < PATHS_SHOWN; i++) {
        (void) fputs("  ", stdout);
        dz_put_path(stdout, d->paths[i].path);
        if (d->paths[i].entries > 1)
            (void) printf(T_(" and what follows: %llu entries"),
                          (unsigned long long) d->paths[i].entries);
        (void) putchar('\n');
    }
    if (d->n_paths > PATHS_SHOWN)
        (void) printf(T_("  ... and %zu more paths (--json lists them)\n"),
                      d->n_paths - PATHS_SHOWN);
}

static void damage(void *ctx, const struct dz_verify_damage *d) {
    struct verifying *w = ctx;

    dz_progress_end(&w->progress);
    if (w->list)
        (void) json_array_append_new(w->list, damage_json(d));
    else
        put_damage(d);
}

/* --- what stands in the log ------------------------------------------------------------------- */

/* Leaves that nobody approved, and removals that nothing announced: they have no effect, and who
 * wrote them has this host's keys. */
struct leaves {
    uint64_t forged, untimely;
};

static dz_status look_at_leaves(const struct dz_cli *cli, struct dz_vault *v, struct leaves *ret,
                                dz_err *err) {
    struct dz_asks a = { .cli = cli, .custody = { .v = v }, .tmpfd = -1 };
    struct dz_clock_sample now;
    dz_status s = dz_custody_read(&a.custody, err);

    dz_clock_sample(&now);
    if (s == DZ_OK)
        s = dz_prune_untimely(a.custody.ledger, &a.custody.quorum, &now, &ret->untimely, err);
    if (s == DZ_OK) {
        ret->forged = a.custody.quorum.forged;
        (void) dz_asks_forged(&a);
    }
    if (s == DZ_OK && ret->untimely > 0) {
        dz_say(T_("the log says of %llu snapshots that they were removed, without a week's "
                  "announcement"),
               (unsigned long long) ret->untimely);
        dz_say_next(T_("Nothing is deleted because of it. Somebody who has the keys of this host "
                       "may have written it."));
    }
    dz_custody_release(&a.custody);
    return s;
}

/* --- output ----------------------------------------------------------------------------------- */

static void put_json(const struct dz_verify_result *r, const struct leaves *leaves, json_t *damaged,
                     double seconds) {
    json_t *j = json_object();

    (void) json_object_set_new(j, "checked", dz_json_count(r->objects));
    (void) json_object_set_new(j, "damaged", damaged);
    (void) json_object_set_new(j, "damaged_count", dz_json_count(r->damaged));
    (void) json_object_set_new(j, "opened", dz_json_count(r->opened));
    (void) json_object_set_new(j, "log_entries", dz_json_count(r->log_entries));
    (void) json_object_set_new(j, "forged", dz_json_count(leaves->forged));
    (void) json_object_set_new(j, "removed_early", dz_json_count(leaves->untimely));
    (void) json_object_set_new(j, "snapshots", dz_json_count(r->snapshots));
    (void) json_object_set_new(j, "packs", dz_json_count(r->packs));
    (void) json_object_set_new(j, "bytes", dz_json_count(r->bytes));
    (void) json_object_set_new(j, "nodes", dz_json_count(r->nodes));
    (void) json_object_set_new(j, "leftovers", dz_json_count(r->leftovers));
    (void) json_object_set_new(j, "rebuilt", dz_json_count(r->rebuilt));
    (void) json_object_set_new(j, "seconds", json_real(seconds));
    dz_json_put(j);
}

static void put_text(const struct dz_verify_result *r, bool data, double seconds) {
    char bytes[DZ_SIZE_TEXT];

    dz_size_text(r->bytes, bytes);
    (void) printf(T_("%llu snapshots, %llu objects in %llu packs (%s), %llu leaves of the log; "
                     "%.1f s\n"),
                  (unsigned long long) r->snapshots, (unsigned long long) r->objects,
                  (unsigned long long) r->packs, bytes, (unsigned long long) r->log_entries,
                  seconds);
    if (data)
        (void) printf(T_("%llu objects opened and compared with their identity\n"),
                      (unsigned long long) r->opened);
    if (r->rebuilt)
        (void) printf(T_("the index had damage, and was mended: %llu\n"),
                      (unsigned long long) r->rebuilt);
    if (r->damaged)
        (void) printf(T_("%llu damaged. What they do not name can be restored; the next backup "
                         "stores anew what its sources still have.\n"),
                      (unsigned long long) r->damaged);
    else
        (void) printf("%s\n", T_("No damage."));
}

int dz_cmd_verify(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_verify_how how = { 0 };
    struct dz_verify_result r = { 0 };
    struct leaves leaves = { 0 };
    struct verifying w = { 0 };
    dz_err err = { 0 };
    uint64_t sample = 0;
    double seconds;
    int option, code;
    dz_status s;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_DATA)
            how.data = true;
        else if (!dz_cli_number(cli, "--sample", optarg, 1, 100, &sample))
            return DZ_EXIT_USAGE;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open_damaged(cli, how.data ? DZ_NEED_KEY : DZ_NEED_IF_GIVEN, &v, &err);
    if (code != DZ_EXIT_OK)
        return code;
    dz_progress_start(&w.progress, cli, T_("verify"), 0);
    w.list = cli->json ? json_array() : NULL;
    how.sample_pct = (unsigned) sample;
    how.progress = show;
    how.damage = damage;
    how.ctx = &w;
    err = (dz_err){ 0 };
    s = dz_verify_run(v, &how, &r, &err);
    seconds = dz_progress_seconds(&w.progress);
    dz_progress_end(&w.progress);
    if (s == DZ_OK && v->log) { /* a damaged log was named already */
        s = look_at_leaves(cli, v, &leaves, &err);
        if (s == DZ_E_CORRUPT && r.damaged)
            s = DZ_OK;
    }
    if (s != DZ_OK) {
        json_decref(w.list);
        return dz_cli_fail(&err);
    }
    if (cli->json)
        put_json(&r, &leaves, w.list, seconds);
    else if (!cli->quiet || r.damaged)
        put_text(&r, how.data, seconds);
    return r.damaged || leaves.forged || leaves.untimely ? DZ_EXIT_FOUND : DZ_EXIT_OK;
}
