#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/durable.h"
#include "core/hex.h"
#include "store/leaf.h"

enum { OPT_SINCE = DZ_OPT_FIRST, OPT_VERIFY };
enum { CHECKPOINT_MAX = 64 << 10 /* bytes of a checkpoint with its witnesses' signatures */ };

const struct dz_option dz_log_options[] = {
    { OPT_SINCE, "since", "N", N_("begin at leaf N; the first is 0") },
    { OPT_VERIFY, "verify", "CHECKPOINT",
      N_("prove that the log still holds what this older checkpoint covers") },
    { 0 },
};

static const char *object_type(uint8_t type) {
    static const char *const names[] = { "unknown", "commit",   "pack",       "manifest",
                                         "ref",     "key",      "policy",     "request",
                                         "feed",    "evidence", "checkpoint", "other" };
    return names[type < sizeof names / sizeof *names ? type : 0];
}

static void put_json(uint64_t index, const dz_leaf *leaf) {
    json_t *j = json_object(), *objects = json_array();
    char name[2 * 32 + 1];

    (void) json_object_set_new(j, "index", dz_json_count(index));
    (void) json_object_set_new(j, "time", dz_json_time(leaf->time_us));
    (void) json_object_set_new(j, "kind", json_string(dz_leaf_kind_name(leaf->kind)));
    (void) json_object_set_new(j, "flags", json_integer(leaf->flags));
    for (size_t i = 0; i < leaf->object_count; i++) {
        json_t *o = json_object();
        dz_hex(leaf->objects[i].name, 32, name);
        (void) json_object_set_new(o, "type", json_string(object_type(leaf->objects[i].type)));
        (void) json_object_set_new(o, "name", json_string(name));
        (void) json_array_append_new(objects, o);
    }
    (void) json_object_set_new(j, "objects", objects);
    dz_hex(leaf->commitment, 32, name);
    (void) json_object_set_new(j, "commitment", leaf->sealed.len ? json_string(name) : json_null());
    dz_json_put(j);
}

static dz_status each(void *ctx, uint64_t index, dz_slice entry, dz_err *err) {
    const struct dz_cli *cli = ctx;
    char when[DZ_WHEN_TEXT], name[2 * 32 + 1];
    dz_leaf leaf;
    dz_status s = dz_leaf_read(entry, &leaf, err);

    if (s != DZ_OK)
        return dz_err_context(err, s, "leaf %llu", (unsigned long long) index);
    if (cli->json) {
        put_json(index, &leaf);
        return DZ_OK;
    }
    dz_when_text(leaf.time_us, when);
    (void) printf("%8llu  %s  %-15s", (unsigned long long) index, when,
                  dz_leaf_kind_name(leaf.kind));
    for (size_t i = 0; i < leaf.object_count; i++) {
        dz_hex(leaf.objects[i].name, 32, name);
        (void) printf(" %s:%.16s", object_type(leaf.objects[i].type), name);
    }
    (void) putchar('\n');
    return DZ_OK;
}

static int list(const struct dz_cli *cli, struct dz_vault *v, uint64_t since) {
    struct dz_cli copy = *cli;
    dz_err err = { 0 };
    dz_status s = dz_tlog_each(v->log, since, UINT64_MAX, each, &copy, &err);

    if (s == DZ_OK)
        return DZ_EXIT_OK;
    dz_say_error(&err);
    return s == DZ_E_CORRUPT || s == DZ_E_MALFORMED ? (int) DZ_EXIT_FOUND : dz_exit_of(s);
}

static int check(const struct dz_cli *cli, struct dz_vault *v, const char *file) {
    dz_autobuf dz_buf bytes = { 0 };
    dz_checkpoint head = dz_tlog_head(v->log), old = { 0 };
    dz_slice origin;
    dz_err err = { 0 };
    dz_status s = dz_read_file(AT_FDCWD, file, CHECKPOINT_MAX, &bytes, &err);

    if (s != DZ_OK) {
        (void) dz_err_context(&err, s, "%.90s", file);
        return dz_cli_fail(&err);
    }
    s = dz_tlog_check_consistency(v->log, dz_buf_slice(&bytes), &err);
    if (s != DZ_OK && s != DZ_E_CORRUPT)
        return dz_cli_fail(&err);
    if (dz_checkpoint_read(dz_buf_slice(&bytes), &v->config.id, v->config.log_public, &old, NULL) !=
        DZ_OK)
        DZ_IGNORE(dz_checkpoint_parse_text(dz_buf_slice(&bytes), &origin, &old, NULL));
    if (cli->json) {
        json_t *j = json_object();
        (void) json_object_set_new(j, "consistent", json_boolean(s == DZ_OK));
        (void) json_object_set_new(j, "checkpoint_size", dz_json_count(old.size));
        (void) json_object_set_new(j, "size", dz_json_count(head.size));
        (void) json_object_set_new(j, "reason", s == DZ_OK ? json_null() : json_string(err.what));
        dz_json_put(j);
    } else if (s == DZ_OK) {
        (void) printf(T_("The log continues this checkpoint: all %llu leaves that it covers are "
                         "there, unchanged; the log has %llu.\n"),
                      (unsigned long long) old.size, (unsigned long long) head.size);
    }
    if (s == DZ_OK)
        return DZ_EXIT_OK;
    dz_say_error(&err);
    dz_say_next(T_("The log does NOT continue this checkpoint. Keep both: somebody may have "
                   "rewritten the log."));
    return DZ_EXIT_FOUND;
}

int dz_cmd_log(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    const char *checkpoint = NULL;
    uint64_t since = 0;
    dz_err log = { 0 };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        if (option == OPT_VERIFY)
            checkpoint = optarg;
        else if (!dz_cli_number(cli, "--since", optarg, 0, DZ_LOG_SIZE_MAX, &since))
            return DZ_EXIT_USAGE;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open_damaged(cli, DZ_NEED_CLOSED, &v, &log);
    if (code != DZ_EXIT_OK)
        return code;
    if (log.status != DZ_OK) {
        dz_say_error(&log);
        dz_say_next(T_("See what is damaged with: dozo verify"));
        return log.status == DZ_E_CORRUPT ? (int) DZ_EXIT_FOUND : dz_exit_of(log.status);
    }
    return checkpoint ? check(cli, v, checkpoint) : list(cli, v, since);
}
