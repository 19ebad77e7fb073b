#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/hex.h"

enum { OPT_SOURCE = DZ_OPT_FIRST };

const struct dz_option dz_snapshots_options[] = {
    { OPT_SOURCE, "source", "NAME", N_("only the snapshots of this source") },
    { 0 },
};

struct listing {
    bool json;
    const char *source;
    uint64_t shown, damaged;
};

static void put_json(const struct dz_snapshot *snap) {
    const struct dz_commit *c = &snap->commit;
    char id[DZ_SNAPSHOT_ID_TEXT];
    json_t *j = json_object();

    dz_snapshot_id_text(c->id, id);
    (void) json_object_set_new(j, "id", json_string(id));
    dz_json_text(j, "source", c->source);
    (void) json_object_set_new(j, "arrived", dz_json_time(c->arrived_us));
    (void) json_object_set_new(j, "files", dz_json_count(c->files));
    (void) json_object_set_new(j, "dirs", dz_json_count(c->dirs));
    (void) json_object_set_new(j, "bytes", dz_json_count(c->bytes));
    (void) json_object_set_new(j, "new_bytes", dz_json_count(c->new_bytes));
    (void) json_object_set_new(j, "stored_bytes", dz_json_count(c->stored_bytes));
    (void) json_object_set_new(j, "alarms", dz_json_count(c->alarms));
    (void) json_object_set_new(j, "changed", dz_json_count(c->changed));
    (void) json_object_set_new(j, "errors", dz_json_count(c->errors));
    (void) json_object_set_new(j, "leaf", dz_json_count(snap->leaf));
    dz_json_put(j);
}

static void put_row(const struct dz_snapshot *snap) {
    const struct dz_commit *c = &snap->commit;
    char id[DZ_SNAPSHOT_ID_TEXT], when[DZ_WHEN_TEXT];
    char bytes[DZ_SIZE_TEXT], fresh[DZ_SIZE_TEXT], stored[DZ_SIZE_TEXT];

    dz_snapshot_id_text(c->id, id);
    dz_when_text(c->arrived_us, when);
    dz_size_text(c->bytes, bytes);
    dz_size_text(c->new_bytes, fresh);
    dz_size_text(c->stored_bytes, stored);
    (void) printf("%.12s  %s  ", id, when);
    dz_put_padded(stdout, c->source, 16);
    (void) printf("%11llu %11s %11s %11s", (unsigned long long) c->files, bytes, fresh, stored);
    if (c->errors + c->changed)
        (void) printf(T_("  %llu problems"), (unsigned long long) (c->errors + c->changed));
    if (c->alarms)
        (void) printf(T_("  %llu alarms"), (unsigned long long) c->alarms);
    (void) putchar('\n');
}

static void put_head(void) {
    dz_put_padded(stdout, T_("id"), 14);
    dz_put_padded(stdout, T_("arrived"), 21);
    dz_put_padded(stdout, T_("source"), 16);
    dz_put_padded(stdout, T_("files"), -11);
    dz_put_padded(stdout, T_("size"), -12);
    dz_put_padded(stdout, T_("new"), -12);
    dz_put_padded(stdout, T_("stored"), -12);
    (void) putchar('\n');
}

static dz_status each(void *ctx, const struct dz_snapshot *snap, dz_status status,
                      const dz_err *why, dz_err *err) {
    struct listing *l = ctx;

    (void) err;
    if (status != DZ_OK) { /* the log says there was one: it is never passed over in silence */
        dz_say_error(why);
        l->damaged++;
        return DZ_OK;
    }
    if (l->source && strcmp(l->source, snap->commit.source) != 0)
        return DZ_OK;
    if (l->json) {
        put_json(snap);
    } else {
        if (l->shown == 0)
            put_head();
        put_row(snap);
    }
    l->shown++;
    return DZ_OK;
}

int dz_cmd_snapshots(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct listing l = { 0 };
    dz_err err = { 0 };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        l.source = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    l.json = cli->json;
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    if (dz_snapshots_each(v, each, &l, &err) != DZ_OK)
        return dz_cli_fail(&err);
    if (l.shown == 0 && !cli->json && !cli->quiet)
        dz_say(l.source ? T_("no snapshot of this source") : T_("no snapshot yet"));
    return l.damaged ? DZ_EXIT_FOUND : DZ_EXIT_OK;
}
