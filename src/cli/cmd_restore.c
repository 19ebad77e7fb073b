#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "recover/restore.h"
#include "store/cursor.h"

enum { OPT_TO = DZ_OPT_FIRST, OPT_OVERWRITE, OPT_STRIP };
enum { PROBLEMS_SHOWN = 20, PROBLEMS_LISTED = 1000, STRIP_MAX = 4096 };

const struct dz_option dz_restore_options[] = {
    { OPT_TO, "to", "DIR", N_("where to write; made if it does not exist") },
    { OPT_OVERWRITE, "overwrite", NULL, N_("replace files that exist and differ") },
    { OPT_STRIP, "strip", "N", N_("drop the first N components of each path") },
    { 0 },
};

struct restoring {
    struct dz_progress progress;
    uint64_t problems;
    json_t *list; /* of problems; NULL without --json */
};

static void problem(void *ctx, enum dz_restore_problem kind, dz_slice path, const char *what,
                    int sys_errno) {
    static const char *const kinds[] = { "", "left-out", "partial", "note" };
    struct restoring *r = ctx;

    if (kind == DZ_RESTORE_NOTE && !r->list)
        return;
    if (kind != DZ_RESTORE_NOTE && r->problems++ < PROBLEMS_SHOWN)
        dz_say_path(path, dz_text(what), sys_errno);
    if (r->list && json_array_size(r->list) < PROBLEMS_LISTED) {
        json_t *row = json_object();
        dz_json_path(row, "path", path);
        (void) json_object_set_new(row, "problem", json_string(kinds[kind]));
        (void) json_object_set_new(row, "what", json_string(what));
        (void) json_object_set_new(row, "errno", json_integer(sys_errno));
        (void) json_array_append_new(r->list, row);
    }
}

static void show(void *ctx, const struct dz_restore_result *so_far) {
    struct restoring *r = ctx;
    dz_progress_show(&r->progress, so_far->files, so_far->bytes);
}

/* A mistyped path is said before anything is written. */
static int check_paths(struct dz_reading *in, const dz_slice *paths, size_t n) {
    DZ_AUTO(dz_cursor) c = NULL;
    dz_entry e;

    if (n == 0 || dz_cursor_new(&in->source, &in->snap.commit.root, &c, NULL) != DZ_OK)
        return DZ_EXIT_OK; /* restoring says what is wrong */
    for (size_t i = 0; i < n; i++)
        if (paths[i].len > 0 && dz_cursor_find(c, paths[i], &e, NULL) == DZ_E_NOT_FOUND) {
            dz_say_path(paths[i], T_("no such path in the snapshot"), 0);
            return DZ_EXIT_COULD_NOT;
        }
    return DZ_EXIT_OK;
}

static void put_json(const struct dz_restore_result *got, const struct restoring *r,
                     double seconds) {
    json_t *j = json_object();

    (void) json_object_set_new(j, "files", dz_json_count(got->files));
    (void) json_object_set_new(j, "dirs", dz_json_count(got->dirs));
    (void) json_object_set_new(j, "others", dz_json_count(got->others));
    (void) json_object_set_new(j, "bytes", dz_json_count(got->bytes));
    (void) json_object_set_new(j, "seconds", json_real(seconds));
    (void) json_object_set_new(j, "errors", dz_json_count(got->left_out + got->partial));
    (void) json_object_set_new(j, "left_out", dz_json_count(got->left_out));
    (void) json_object_set_new(j, "partial", dz_json_count(got->partial));
    (void) json_object_set_new(j, "present", dz_json_count(got->present));
    (void) json_object_set_new(j, "sockets", dz_json_count(got->sockets));
    (void) json_object_set_new(j, "unowned", dz_json_count(got->unowned));
    (void) json_object_set(j, "problems", r->list);
    dz_json_put(j);
}

static void put_text(const struct dz_restore_result *got, const char *to, double seconds) {
    char bytes[DZ_SIZE_TEXT];

    dz_size_text(got->bytes, bytes);
    (void) printf(T_("restored to %s: %llu files, %llu directories, %s in %.1f s\n"), to,
                  (unsigned long long) got->files, (unsigned long long) got->dirs, bytes, seconds);
    if (got->present)
        (void) printf(T_("  %llu were there already, whole\n"), (unsigned long long) got->present);
    if (got->unowned)
        (void) printf(T_("  %llu belong to you: only root can give files to their owners\n"),
                      (unsigned long long) got->unowned);
    if (got->sockets)
        (void) printf(T_("  %llu sockets left out: their programs make them\n"),
                      (unsigned long long) got->sockets);
    if (got->left_out)
        (void) printf(T_("  %llu left out\n"), (unsigned long long) got->left_out);
    if (got->partial)
        (void) printf(T_("  %llu restored without some attribute\n"),
                      (unsigned long long) got->partial);
}

static int restore(const struct dz_cli *cli, struct dz_reading *in, struct dz_restore_how *how) {
    struct dz_supply supply = dz_supply_of(in->fetch);
    struct restoring r = { .list = cli->json ? json_array() : NULL };
    struct dz_restore_result got = { 0 };
    dz_err err = { 0 };
    double seconds;
    dz_status s;

    dz_progress_start(&r.progress, cli, T_("restore"), how->n_paths ? 0 : in->snap.commit.bytes);
    how->problem = problem;
    how->progress = show;
    how->ctx = &r;
    s = dz_restore(&supply, &in->snap.commit.root, how, &got, &err);
    seconds = dz_progress_seconds(&r.progress);
    dz_progress_end(&r.progress);
    if (r.problems > PROBLEMS_SHOWN)
        dz_say(T_("... and %llu more (--json lists up to %d)"),
               (unsigned long long) (r.problems - PROBLEMS_SHOWN), (int) PROBLEMS_LISTED);
    if (s != DZ_OK) {
        dz_say_error(&err);
        dz_say_next(T_("The same command goes on where this one ended."));
        json_decref(r.list);
        return dz_exit_of(s);
    }
    if (cli->json)
        put_json(&got, &r, seconds);
    else if (!cli->quiet)
        put_text(&got, how->to, seconds);
    json_decref(r.list);
    return got.left_out + got.partial > 0 ? DZ_EXIT_FOUND : DZ_EXIT_OK;
}

static int parse(struct dz_cli *cli, int argc, char **argv, struct dz_restore_how *how) {
    uint64_t strip = 0;
    int option;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        switch (option) {
        case OPT_TO:
            how->to = optarg;
            break;
        case OPT_OVERWRITE:
            how->overwrite = true;
            break;
        default:
            if (!dz_cli_number(cli, "--strip", optarg, 0, STRIP_MAX, &strip))
                return DZ_EXIT_USAGE;
            how->strip = (unsigned) strip;
            break;
        }
    if (option == DZ_CLI_STOP)
        return -1;
    if (optind >= argc)
        return dz_cli_usage(cli, T_("restore takes a snapshot, and paths in it"));
    if (!how->to)
        return dz_cli_usage(cli, T_("where to? Give --to DIR"));
    return DZ_EXIT_OK;
}

int dz_cmd_restore(struct dz_cli *cli, int argc, char **argv) {
    dz_autofree dz_slice *paths = calloc((size_t) argc, sizeof *paths);
    struct dz_restore_how how = { 0 };
    struct dz_reading in = { 0 };
    int code = paths ? parse(cli, argc, argv, &how) : (int) DZ_EXIT_COULD_NOT;

    if (code < 0)
        return cli->stop_code;
    if (code == DZ_EXIT_OK)
        code = dz_cli_outside(cli, how.to);
    if (code == DZ_EXIT_OK)
        code = dz_cli_read(cli, argv[optind], &in);
    if (code != DZ_EXIT_OK)
        return code;
    for (int i = optind + 1; i < argc; i++)
        paths[how.n_paths++] = dz_cli_path(argv[i]);
    how.paths = paths;
    code = check_paths(&in, paths, how.n_paths);
    if (code == DZ_EXIT_OK)
        code = restore(cli, &in, &how);
    dz_reading_close(&in);
    return code;
}
