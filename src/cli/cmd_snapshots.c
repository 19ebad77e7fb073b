#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/durable.h"
#include "core/hex.h"
#include "crypto/note.h"
#include "custody/clock_guard.h"
#include "custody/survey.h"
#include "custody/witness.h"

enum { OPT_SOURCE = DZ_OPT_FIRST, OPT_CHECKPOINT };

const struct dz_option dz_snapshots_options[] = {
    { OPT_SOURCE, "source", "NAME", N_("only the snapshots of this source") },
    { OPT_CHECKPOINT, "checkpoint", "FILE",
      N_("say by this checkpoint, kept outside, what was witnessed") },
    { 0 },
};

struct listing {
    bool json;
    const char *source;
    uint64_t shown, damaged;
    uint64_t witnessed;      /* leaves below this one */
    struct dz_survey survey; /* only if operators approved some deletion */
};

/* "2f9c01...": the request by which it goes before its time, or an empty text. */
static void early(const struct listing *l, const struct dz_snapshot *snap,
                  char ret_request[2 * 32 + 1]) {
    const dz_survey_row *row = dz_survey_find(&l->survey, snap->file);

    ret_request[0] = '\0';
    if (row && row->fate.why == DZ_RETENTION_APPROVED)
        dz_hex(row->request, sizeof row->request, ret_request);
}

static void put_json(const struct dz_snapshot *snap, bool witnessed, const char *request) {
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
    (void) json_object_set_new(j, "witnessed", json_boolean(witnessed));
    (void) json_object_set_new(j, "deletion", request[0] ? json_string(request) : json_null());
    dz_json_put(j);
}

static void put_row(const struct dz_snapshot *snap, bool witnessed, const char *request) {
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
    if (!witnessed)
        (void) printf("  %s", T_("not witnessed"));
    if (request[0])
        (void) printf(T_("  early deletion approved by request %.12s"), request);
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
    char request[2 * 32 + 1];

    (void) err;
    if (status != DZ_OK) { /* the log says there was one: it is never passed over in silence */
        dz_say_error(why);
        l->damaged++;
        return DZ_OK;
    }
    if (l->source && strcmp(l->source, snap->commit.source) != 0)
        return DZ_OK;
    early(l, snap, request);
    if (l->json) {
        put_json(snap, snap->leaf < l->witnessed, request);
    } else {
        if (l->shown == 0)
            put_head();
        put_row(snap, snap->leaf < l->witnessed, request);
    }
    l->shown++;
    return DZ_OK;
}

/* What the log says of its witnesses is its own word; a checkpoint from outside proves it. */
static int find_witnessed(struct dz_vault *v, const char *file, struct listing *l) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    struct dz_witnesses known = { 0 };
    dz_autobuf dz_buf bytes = { 0 };
    dz_checkpoint old = { 0 };
    dz_err err = { 0 };
    dz_status s;

    if (!file) {
        if (dz_ledger_read(v, &ledger, &err) != DZ_OK ||
            dz_witnesses_read(ledger, &known, &err) != DZ_OK)
            return dz_cli_fail(&err);
        l->witnessed = known.size;
        dz_witnesses_release(&known);
        return DZ_EXIT_OK;
    }
    s = dz_read_file(AT_FDCWD, file, DZ_NOTE_MAX, &bytes, &err);
    if (s == DZ_OK)
        s = dz_tlog_check_consistency(v->log, dz_buf_slice(&bytes), &err);
    if (s == DZ_OK)
        s = dz_checkpoint_read(dz_buf_slice(&bytes), &v->config.id, v->config.log_public, &old,
                               &err);
    l->witnessed = old.size;
    if (s == DZ_OK)
        return DZ_EXIT_OK;
    (void) dz_err_context(&err, s, "%.90s", file);
    dz_say_error(&err);
    if (s != DZ_E_CORRUPT)
        return dz_exit_of(s);
    dz_say_next(T_("The log does NOT continue this checkpoint. Keep both: somebody may have "
                   "rewritten the log."));
    return DZ_EXIT_FOUND;
}

/* What goes before its time.  Others wait for `dozo prune --dry-run` to say what is of them. */
static dz_status find_deletions(struct dz_vault *v, struct dz_survey *ret, dz_err *err) {
    struct dz_custody c = { .v = v };
    dz_status s = dz_custody_read(&c, err);
    bool some = false, frozen;

    for (size_t i = 0; s == DZ_OK && i < c.quorum.n_asks; i++)
        some |= c.quorum.asks[i].done && c.quorum.asks[i].request.kind == DZ_REQUEST_DELETE;
    if (some)
        s = dz_survey_of(&c, dz_clock_guard_now(c.ledger, &c.quorum, &frozen), NULL, ret, err);
    dz_custody_release(&c);
    return s;
}

int dz_cmd_snapshots(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct listing l = { 0 };
    const char *checkpoint = NULL;
    dz_err err = { 0 };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        *(option == OPT_SOURCE ? &l.source : &checkpoint) = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    l.json = cli->json;
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    code = find_witnessed(v, checkpoint, &l);
    if (code != DZ_EXIT_OK)
        return code;
    if (find_deletions(v, &l.survey, &err) != DZ_OK ||
        dz_snapshots_each(v, each, &l, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    dz_survey_release(&l.survey);
    if (code != DZ_EXIT_OK)
        return code;
    if (l.shown == 0 && !cli->json && !cli->quiet)
        dz_say(l.source ? T_("no snapshot of this source") : T_("no snapshot yet"));
    return l.damaged ? DZ_EXIT_FOUND : DZ_EXIT_OK;
}
