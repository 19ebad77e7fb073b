#include <getopt.h>
#include <stdio.h>

#include "cli/around.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "core/child.h"
#include "core/clock.h"
#include "custody/alarm.h"
#include "custody/clock_guard.h"
#include "intake/smb_pull.h"
#include "intake/stream.h"

enum {
    OPT_SOURCE = DZ_OPT_FIRST,
    OPT_EXCLUDE,
    OPT_ONE_FILE_SYSTEM,
    OPT_REREAD,
    OPT_STDIN_AS,
    OPT_SMB,
    OPT_CREDENTIALS,
    OPT_SMB_NO_ENCRYPTION,
    OPT_PRE,
    OPT_POST,
    OPT_NO_NAMES
};
enum { PROBLEMS_SHOWN = 20, GRACE_MS = 10000 /* for a program whose output nobody takes */ };

const struct dz_option dz_backup_options[] = {
    { OPT_SOURCE, "source", "NAME", N_("whose files these are") },
    { OPT_EXCLUDE, "exclude", "GLOB", N_("leave out what matches; may be given several times") },
    { OPT_ONE_FILE_SYSTEM, "one-file-system", NULL, N_("do not enter other file systems") },
    { OPT_REREAD, "reread", NULL, N_("read every file, changed or not") },
    { OPT_STDIN_AS, "stdin-as", "FILE",
      N_("keep what CMD writes, or standard input, as one file of this name") },
    { OPT_SMB, "smb", "SHARE", N_("keep a Windows share: //SERVER/SHARE or //SERVER/SHARE/DIR") },
    { OPT_CREDENTIALS, "credentials", "FILE", N_("the user of the share and the password") },
    { OPT_SMB_NO_ENCRYPTION, "smb-no-encryption", NULL,
      N_("let the network read what the share sends; it is still signed") },
    { OPT_PRE, "pre", "CMD", N_("run this before; if it fails, nothing is kept") },
    { OPT_POST, "post", "CMD", N_("run this after, whatever happened") },
    { OPT_NO_NAMES, "no-names", NULL, N_("messages count files and name none: for logs") },
    { 0 },
};

struct call {
    const struct dz_cli *cli;
    struct dz_backup_how how;
    bool no_names;
    const char *stdin_as;
    const char *const *command; /* with stdin_as: NULL ends it; of none, standard input is read */
    const char *share, *credentials; /* of --smb */
    enum dz_smb_guard guard;
    bool login_refused;
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

/* What the log of a daemon may hold: a file's name may be a patient's. */
static void put_problem_counts(const struct dz_commit *c) {
    if (c->errors)
        dz_say(T_("source %s: %llu could not be kept as they were"), c->source,
               (unsigned long long) c->errors);
    if (c->changed)
        dz_say(T_("source %s: %llu changed while they were read"), c->source,
               (unsigned long long) c->changed);
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

/* --- running -----------------------------------------------------------------------------------
 */

/* The log is told what the operator is told; when even that fails, its reason is said as well. */
static void raise_alarm(struct dz_vault *v, const char *source, const char *detail) {
    dz_err err = { 0 };

    if (dz_alarm_raise(v, DZ_ALARM_SERIOUS, "source-failed", source, detail, &err) != DZ_OK)
        dz_say_error(&err);
}

struct program {
    struct dz_child child;
    const char *name;
};

static dz_status program_ended(void *ctx, dz_err *err) {
    struct program *p = ctx;
    struct dz_child_end end = dz_child_wait(&p->child);
    char how[DZ_CHILD_END_TEXT];

    if (dz_child_ended_well(&end))
        return DZ_OK;
    dz_child_end_text(&end, how);
    return DZ_FAIL(err, DZ_E_IO, T_("%.80s failed: %s"), p->name, how);
}

static dz_status keep_stream(struct dz_vault *v, const struct call *c, struct dz_commit *commit,
                             dz_err *err) {
    struct program p = { .child = DZ_CHILD_NONE, .name = c->command[0] };
    struct dz_stream_how how = { .source = c->how.source,
                                 .name = c->stdin_as,
                                 .fd = STDIN_FILENO,
                                 .progress = c->how.progress,
                                 .ctx = c->how.ctx };
    dz_status s = DZ_OK;

    if (p.name) {
        s = dz_child_start(c->command, DZ_CHILD_TO_PIPE, &p.child, err);
        how.fd = p.child.out;
        how.finish = program_ended;
        how.finish_ctx = &p;
    }
    if (s == DZ_OK)
        s = dz_stream_run(v, &how, commit, err);
    dz_child_stop(&p.child, GRACE_MS);
    if (s != DZ_OK)
        raise_alarm(v, c->how.source, err->what);
    return s;
}

static dz_status pull(struct dz_vault *v, struct call *c, struct dz_commit *commit, dz_err *err) {
    char program[PATH_MAX];
    struct dz_smb_login login;
    const struct dz_smb_pull_how how = { .program = program,
                                         .source = c->how.source,
                                         .where = c->share,
                                         .login = &login,
                                         .guard = c->guard,
                                         .excludes = c->how.excludes,
                                         .n_excludes = c->how.n_excludes,
                                         .reread = c->how.reread };
    dz_status s = dz_smb_login_read(c->credentials, &login, err);

    c->login_refused = s != DZ_OK;
    DZ_TRY(s);
    if (dz_cli_program("dozo-smb", program))
        s = dz_smb_pull(v, &how, commit, err);
    else
        s = DZ_FAIL(err, DZ_E_UNSUPPORTED, "dozo-smb is not installed");
    dz_smb_login_wipe(&login);
    return s;
}

static dz_status keep_share(struct dz_vault *v, struct call *c, struct dz_commit *commit,
                            dz_err *err) {
    dz_status s = pull(v, c, commit, err);

    if (s != DZ_OK)
        raise_alarm(v, c->how.source, err->what);
    return s;
}

static int share_not_kept(const struct call *c, const dz_err *err) {
    dz_say_next(T_("No snapshot was made; the last one stands. What came so far need not come "
                   "again."));
    if (c->login_refused)
        dz_say_next(T_("The file has lines 'username = ...' and 'password = ...', belongs to root "
                       "or to who runs dozo, and nobody else may read it: chmod 600 %s"),
                    c->credentials);
    else if (err->status == DZ_E_POLICY && c->guard == DZ_SMB_ENCRYPTED)
        dz_say_next(T_("With --smb-no-encryption the share is read all the same, and whoever is on "
                       "the network between can read it too."));
    return dz_exit_of(err->status);
}

static int not_kept(const struct call *c, const dz_err *err) {
    dz_say_error(err);
    if (c->share)
        return share_not_kept(c, err);
    if (!c->stdin_as)
        dz_say_next(T_("No snapshot was made."));
    else if (c->command[0])
        dz_say_next(T_("No snapshot was made; the last one stands. Run %s by hand and see why."),
                    c->command[0]);
    else
        dz_say_next(T_("No snapshot was made; the last one stands. See why what writes to dozo "
                       "failed."));
    return dz_exit_of(err->status);
}

/* So that the vault's own time goes on where nobody else sees to it. */
static void tick(struct dz_vault *v) {
    struct dz_clock_sample now;
    dz_err err = { 0 };

    dz_clock_sample(&now);
    if (dz_clock_tick_if_due(v, &now, &err) != DZ_OK)
        dz_say(T_("the snapshot is kept, but the vault's clock could not be noted: %s"), err.what);
}

static int run_backup(void *ctx) {
    struct call *c = ctx;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_commit commit = { 0 };
    struct dz_progress progress;
    dz_err err = { 0 };
    double seconds;
    dz_status s;
    int code = dz_cli_open(c->cli, DZ_NEED_CLOSED, &v);

    if (code != DZ_EXIT_OK)
        return code;
    dz_progress_start(&progress, c->cli, T_("backup"), expected_bytes(v, c->how.source));
    c->how.progress = show;
    c->how.ctx = &progress;
    s = c->share      ? keep_share(v, c, &commit, &err)
        : c->stdin_as ? keep_stream(v, c, &commit, &err)
                      : dz_backup_run(v, &c->how, &commit, &err);
    seconds = dz_progress_seconds(&progress);
    dz_progress_end(&progress);
    if (s != DZ_OK)
        return not_kept(c, &err);
    tick(v);
    if (c->no_names)
        put_problem_counts(&commit);
    else
        put_problems(&commit);
    if (c->cli->json)
        put_json(&commit, seconds);
    else if (!c->cli->quiet)
        put_text(&commit, seconds);
    code = commit.errors || commit.changed || commit.alarms ? DZ_EXIT_FOUND : DZ_EXIT_OK;
    dz_commit_release(&commit);
    return code;
}

static int pre_failed(void *ctx, const char *how) {
    struct call *c = ctx;
    DZ_AUTO(dz_vault) v = NULL;
    char detail[DZ_CHILD_END_TEXT + 16];

    dz_say(T_("the command before the backup (--pre) failed: %s"), how);
    dz_say_next(T_("No snapshot was made."));
    (void) snprintf(detail, sizeof detail, "--pre: %s", how);
    if (dz_cli_open(c->cli, DZ_NEED_CLOSED, &v) == DZ_EXIT_OK)
        raise_alarm(v, c->how.source, detail);
    return DZ_EXIT_COULD_NOT;
}

/* --- the call ----------------------------------------------------------------------------------
 */

/* These give DZ_EXIT_OK, or what is wrong was said. */

static int check_share(const struct call *c) {
    struct dz_smb_where where;
    dz_err err = { 0 };

    if (!c->share)
        return dz_cli_usage(c->cli,
                            T_("--credentials and --smb-no-encryption are for --smb SHARE"));
    if (!c->credentials)
        return dz_cli_usage(c->cli, T_("who are we on that server? Give --credentials FILE"));
    if (c->how.n_paths || c->stdin_as || c->how.one_file_system)
        return dz_cli_usage(c->cli, T_("--smb keeps one share: no paths, no --stdin-as, no "
                                       "--one-file-system"));
    if (dz_smb_where_read(c->share, &where, &err) != DZ_OK)
        return dz_cli_usage(c->cli, "%s", err.what);
    return DZ_EXIT_OK;
}

static int check_call(const struct call *c) {
    const struct dz_cli *cli = c->cli;
    const struct dz_backup_how *how = &c->how;

    if (!how->source)
        return dz_cli_usage(cli, T_("whose files are these? Give --source NAME"));
    if (!dz_source_name_ok(how->source))
        return dz_cli_usage(cli,
                            T_("a source's name has letters, digits, '.', '_' and '-', at most "
                               "%d bytes, and does not begin with '.' or '-'"),
                            (int) DZ_SOURCE_NAME_MAX);
    if (c->share || c->credentials || c->guard != DZ_SMB_ENCRYPTED)
        return check_share(c);
    if (c->stdin_as) {
        if (!dz_stream_name_ok(c->stdin_as))
            return dz_cli_usage(cli, T_("--stdin-as wants the name of a file, without a slash"));
        if (how->n_excludes || how->one_file_system || how->reread)
            return dz_cli_usage(cli, T_("--exclude, --one-file-system and --reread are for trees, "
                                        "not for --stdin-as"));
        if (!c->command[0] && isatty(STDIN_FILENO))
            return dz_cli_usage(cli, T_("standard input is a terminal: give a command after --, "
                                        "or a pipe"));
        return DZ_EXIT_OK;
    }
    if (how->n_paths == 0)
        return dz_cli_usage(cli, T_("which paths are to be kept?"));
    for (size_t i = 0; cli->vault && i < how->n_paths; i++)
        if (dz_vault_contains(cli->vault, how->paths[i])) {
            dz_say(T_("%s lies inside the vault: a vault does not keep itself"), how->paths[i]);
            return DZ_EXIT_REFUSED;
        }
    return DZ_EXIT_OK;
}

int dz_cmd_backup(struct dz_cli *cli, int argc, char **argv) {
    dz_autofree const char **excludes = calloc((size_t) argc, sizeof *excludes);
    struct call c = { .cli = cli, .how = { .excludes = excludes } };
    struct dz_around around = { .body = run_backup, .pre_failed = pre_failed, .ctx = &c };
    int option, code;

    if (!excludes) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        switch (option) {
        case OPT_SOURCE:
            c.how.source = optarg;
            break;
        case OPT_EXCLUDE:
            excludes[c.how.n_excludes++] = optarg;
            break;
        case OPT_ONE_FILE_SYSTEM:
            c.how.one_file_system = true;
            break;
        case OPT_STDIN_AS:
            c.stdin_as = optarg;
            break;
        case OPT_NO_NAMES:
            c.no_names = true;
            break;
        case OPT_SMB:
            c.share = optarg;
            break;
        case OPT_CREDENTIALS:
            c.credentials = optarg;
            break;
        case OPT_SMB_NO_ENCRYPTION:
            c.guard = DZ_SMB_SIGNED;
            break;
        case OPT_PRE:
            around.pre = optarg;
            break;
        case OPT_POST:
            around.post = optarg;
            break;
        default:
            c.how.reread = true;
            break;
        }
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    c.how.paths = c.command = (const char *const *) (argv + optind);
    c.how.n_paths = (size_t) (argc - optind);
    code = check_call(&c);
    return code == DZ_EXIT_OK ? dz_around_run(&around) : code;
}
