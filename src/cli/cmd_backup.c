#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "intake/backup.h"

enum { OPT_SOURCE = DZ_OPT_FIRST, OPT_EXCLUDE, OPT_ONE_FILE_SYSTEM, OPT_REREAD };
enum { PROBLEMS_SHOWN = 20 };

const struct dz_option dz_backup_options[] = {
    { OPT_SOURCE, "source", "NAME", N_("whose files these are") },
    { OPT_EXCLUDE, "exclude", "GLOB", N_("leave out what matches; may be given several times") },
    { OPT_ONE_FILE_SYSTEM, "one-file-system", NULL, N_("do not enter other file systems") },
    { OPT_REREAD, "reread", NULL, N_("read every file, changed or not") },
    { 0 },
};

static void show(void *ctx, const struct dz_backup_progress *p) {
    dz_progress_show(ctx, p->files, p->bytes);
}

/* What the source held last time: the best guess of what is coming. */
static uint64_t expected_bytes(struct dz_vault *v, const char *source) {
    char name[DZ_SOURCE_NAME_MAX + 16];
    struct dz_snapshot last = { 0 };
    uint64_t bytes = 0;

    (void) snprintf(name, sizeof name, "latest:%s", source);
    if (dz_snapshot_find(v, name, &last, NULL) == DZ_OK) {
        bytes = last.commit.bytes;
        dz_snapshot_release(&last);
    }
    return bytes;
}

static const char *problem_name(uint8_t what) {
    switch (what) {
    case DZ_PROBLEM_UNREADABLE:
        return "unreadable";
    case DZ_PROBLEM_CHANGED:
        return "changed";
    case DZ_PROBLEM_PARTIAL:
        return "partial";
    default:
        return "unknown";
    }
}

static const char *problem_text(uint8_t what) {
    switch (what) {
    case DZ_PROBLEM_UNREADABLE:
        return T_("could not be read");
    case DZ_PROBLEM_CHANGED:
        return T_("changed while it was read");
    default:
        return T_("kept without some of its attributes");
    }
}

static void put_problems(const struct dz_commit *c) {
    dz_reader r = dz_reader_over(dz_buf_slice(&c->problems));
    uint64_t all = c->errors + c->changed, shown = 0;
    dz_problem p;

    for (; shown < PROBLEMS_SHOWN && dz_commit_next_problem(&r, &p); shown++)
        dz_say_path(p.path, problem_text(p.what),
                    p.what == DZ_PROBLEM_CHANGED ? 0 : (int) p.sys_errno);
    if (all > shown)
        dz_say(T_("... and %llu more (--json lists up to %d)"), (unsigned long long) (all - shown),
               (int) DZ_COMMIT_PROBLEMS_MAX);
}

static json_t *problems_json(const struct dz_commit *c) {
    dz_reader r = dz_reader_over(dz_buf_slice(&c->problems));
    json_t *list = json_array();
    dz_problem p;

    while (dz_commit_next_problem(&r, &p)) {
        json_t *row = json_object();
        dz_json_path(row, "path", p.path);
        (void) json_object_set_new(row, "problem", json_string(problem_name(p.what)));
        (void) json_object_set_new(row, "errno", json_integer((json_int_t) p.sys_errno));
        (void) json_object_set_new(row, "reason", json_string(strerror((int) p.sys_errno)));
        (void) json_array_append_new(list, row);
    }
    return list;
}

static void put_json(const struct dz_commit *c, double seconds) {
    char id[DZ_SNAPSHOT_ID_TEXT];
    json_t *j = json_object();

    dz_snapshot_id_text(c->id, id);
    (void) json_object_set_new(j, "snapshot", json_string(id));
    dz_json_text(j, "source", c->source);
    (void) json_object_set_new(j, "arrived", dz_json_time(c->arrived_us));
    (void) json_object_set_new(j, "files", dz_json_count(c->files));
    (void) json_object_set_new(j, "dirs", dz_json_count(c->dirs));
    (void) json_object_set_new(j, "others", dz_json_count(c->others));
    (void) json_object_set_new(j, "bytes", dz_json_count(c->bytes));
    (void) json_object_set_new(j, "new_bytes", dz_json_count(c->new_bytes));
    (void) json_object_set_new(j, "stored_bytes", dz_json_count(c->stored_bytes));
    (void) json_object_set_new(j, "seconds", json_real(seconds));
    (void) json_object_set_new(j, "alarms", dz_json_count(c->alarms));
    (void) json_object_set_new(j, "changed", dz_json_count(c->changed));
    (void) json_object_set_new(j, "errors", dz_json_count(c->errors));
    (void) json_object_set_new(j, "problems", problems_json(c));
    dz_json_put(j);
}

static void put_text(const struct dz_commit *c, double seconds) {
    char id[DZ_SNAPSHOT_ID_TEXT], bytes[DZ_SIZE_TEXT], fresh[DZ_SIZE_TEXT], stored[DZ_SIZE_TEXT];

    dz_snapshot_id_text(c->id, id);
    dz_size_text(c->bytes, bytes);
    dz_size_text(c->new_bytes, fresh);
    dz_size_text(c->stored_bytes, stored);
    (void) printf(T_("snapshot %s of %s is kept\n"), id, c->source);
    (void) printf(T_("  %llu files, %llu directories, %s in %.1f s\n"),
                  (unsigned long long) c->files, (unsigned long long) c->dirs, bytes, seconds);
    (void) printf(T_("  new content %s, stored in %s\n"), fresh, stored);
    if (c->errors)
        (void) printf(T_("  %llu could not be kept as they were\n"),
                      (unsigned long long) c->errors);
    if (c->changed)
        (void) printf(T_("  %llu changed while they were read\n"), (unsigned long long) c->changed);
    if (c->alarms)
        (void) printf(T_("  %llu alarms\n"), (unsigned long long) c->alarms);
}

static int run_backup(const struct dz_cli *cli, struct dz_backup_how *how) {
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_commit commit = { 0 };
    struct dz_progress progress;
    dz_err err = { 0 };
    double seconds;
    dz_status s;
    int code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);

    if (code != DZ_EXIT_OK)
        return code;
    for (size_t i = 0; i < how->n_paths; i++)
        if (dz_vault_contains(cli->vault, how->paths[i])) {
            dz_say(T_("%s lies inside the vault: a vault does not keep itself"), how->paths[i]);
            return DZ_EXIT_REFUSED;
        }
    dz_progress_start(&progress, cli, T_("backup"), expected_bytes(v, how->source));
    how->progress = show;
    how->ctx = &progress;
    s = dz_backup_run(v, how, &commit, &err);
    seconds = dz_progress_seconds(&progress);
    dz_progress_end(&progress);
    if (s != DZ_OK) {
        dz_say_error(&err);
        dz_say_next(T_("No snapshot was made."));
        return dz_exit_of(s);
    }
    put_problems(&commit);
    if (cli->json)
        put_json(&commit, seconds);
    else if (!cli->quiet)
        put_text(&commit, seconds);
    code = commit.errors || commit.changed || commit.alarms ? DZ_EXIT_FOUND : DZ_EXIT_OK;
    dz_commit_release(&commit);
    return code;
}

int dz_cmd_backup(struct dz_cli *cli, int argc, char **argv) {
    dz_autofree const char **excludes = calloc((size_t) argc, sizeof *excludes);
    struct dz_backup_how how = { .excludes = excludes };
    int option;

    if (!excludes) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        switch (option) {
        case OPT_SOURCE:
            how.source = optarg;
            break;
        case OPT_EXCLUDE:
            excludes[how.n_excludes++] = optarg;
            break;
        case OPT_ONE_FILE_SYSTEM:
            how.one_file_system = true;
            break;
        default:
            how.reread = true;
            break;
        }
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (!how.source)
        return dz_cli_usage(cli, T_("whose files are these? Give --source NAME"));
    if (!dz_source_name_ok(how.source))
        return dz_cli_usage(cli,
                            T_("a source's name has letters, digits, '.', '_' and '-', at most "
                               "%d bytes, and does not begin with '.' or '-'"),
                            (int) DZ_SOURCE_NAME_MAX);
    if (optind >= argc)
        return dz_cli_usage(cli, T_("which paths are to be kept?"));
    how.paths = (const char *const *) (argv + optind);
    how.n_paths = (size_t) (argc - optind);
    return run_backup(cli, &how);
}
