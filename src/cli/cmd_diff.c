#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "store/diff.h"

struct differences {
    bool json;
    uint64_t n;
};

static const char *change_text(enum dz_change change) {
    switch (change) {
    case DZ_CHANGE_ADDED:
        return T_("added");
    case DZ_CHANGE_REMOVED:
        return T_("removed");
    case DZ_CHANGE_TYPE:
        return T_("type");
    case DZ_CHANGE_CONTENT:
        return T_("content");
    case DZ_CHANGE_META:
    default:
        return T_("meta");
    }
}

static dz_status each(void *ctx, enum dz_change change, const dz_entry *before,
                      const dz_entry *after, dz_err *err) {
    const dz_entry *e = after ? after : before;
    struct differences *d = ctx;

    (void) err;
    d->n++;
    if (d->json) {
        json_t *j = json_object();
        (void) json_object_set_new(j, "change", json_string(dz_change_name(change)));
        dz_json_path(j, "path", e->path);
        dz_json_put(j);
        return DZ_OK;
    }
    dz_put_padded(stdout, change_text(change), 9);
    dz_put_path(stdout, e->path);
    (void) fputs(e->type == DZ_ENTRY_DIR ? "/\n" : "\n", stdout);
    return DZ_OK;
}

int dz_cmd_diff(struct dz_cli *cli, int argc, char **argv) {
    struct dz_reading a = { 0 };
    struct dz_snapshot b = { 0 };
    struct differences d = { 0 };
    dz_err err = { 0 };
    int code;

    if (dz_cli_option(cli, argc, argv) == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind != 2)
        return dz_cli_usage(cli, T_("diff takes two snapshots"));
    d.json = cli->json;
    code = dz_cli_read(cli, argv[optind], &a);
    if (code != DZ_EXIT_OK)
        return code;
    if (dz_snapshot_find(a.vault, argv[optind + 1], &b, &err) != DZ_OK ||
        dz_diff(&a.source, &a.snap.commit.root, &a.source, &b.commit.root, each, &d, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    else if (d.n > 0)
        code = DZ_EXIT_FOUND;
    dz_snapshot_release(&b);
    dz_reading_close(&a);
    return code;
}
