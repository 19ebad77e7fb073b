#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "core/os.h"
#include "recover/export.h"

enum { OPT_TAR = DZ_OPT_FIRST };
enum { PROBLEMS_SHOWN = 20 };

const struct dz_option dz_export_options[] = {
    { OPT_TAR, "tar", "FILE", N_("where to write the tar archive; - is standard output") },
    { 0 },
};

struct exporting {
    struct dz_progress progress;
    uint64_t problems;
};

static void problem(void *ctx, dz_slice path, const char *what) {
    struct exporting *x = ctx;

    if (x->problems++ < PROBLEMS_SHOWN)
        dz_say_path(path, dz_text(what), 0);
}

static void show(void *ctx, uint64_t files, uint64_t bytes) {
    struct exporting *x = ctx;
    dz_progress_show(&x->progress, files, bytes);
}

/* Results go to stdout, unless the archive does. */
static void put_result(const struct dz_cli *cli, const struct dz_export_result *got, double seconds,
                       bool to_stdout) {
    char bytes[DZ_SIZE_TEXT];

    if (to_stdout)
        return;
    if (cli->json) {
        json_t *j = json_object();
        (void) json_object_set_new(j, "files", dz_json_count(got->files));
        (void) json_object_set_new(j, "dirs", dz_json_count(got->dirs));
        (void) json_object_set_new(j, "others", dz_json_count(got->others));
        (void) json_object_set_new(j, "bytes", dz_json_count(got->bytes));
        (void) json_object_set_new(j, "seconds", json_real(seconds));
        (void) json_object_set_new(j, "errors", dz_json_count(got->left_out));
        dz_json_put(j);
    } else if (!cli->quiet) {
        dz_size_text(got->bytes, bytes);
        (void) printf(T_("%llu files, %llu directories, %s in %.1f s; not encrypted any more\n"),
                      (unsigned long long) got->files, (unsigned long long) got->dirs, bytes,
                      seconds);
    }
}

static int export_to(const struct dz_cli *cli, struct dz_reading *in, int fd) {
    struct dz_supply supply = dz_supply_of(in->fetch);
    struct exporting x = { 0 };
    struct dz_export_how how = { .fd = fd, .problem = problem, .progress = show, .ctx = &x };
    struct dz_export_result got = { 0 };
    dz_err err = { 0 };
    dz_status s;

    dz_progress_start(&x.progress, cli, T_("export"), in->snap.commit.bytes);
    s = dz_export(&supply, &in->snap.commit.root, &how, &got, &err);
    if (s == DZ_OK && fd != STDOUT_FILENO && dz_os->fsync(fd) < 0 && errno != EINVAL)
        s = DZ_FAIL_ERRNO(&err, "syncing the archive");
    dz_progress_end(&x.progress);
    if (s != DZ_OK)
        return dz_cli_fail(&err);
    put_result(cli, &got, dz_progress_seconds(&x.progress), fd == STDOUT_FILENO);
    if (got.left_out)
        dz_say(T_("%llu could not be exported whole"), (unsigned long long) got.left_out);
    return got.left_out ? DZ_EXIT_FOUND : DZ_EXIT_OK;
}

static int open_archive(const struct dz_cli *cli, const char *file, int *ret_fd) {
    if (strcmp(file, "-") == 0) {
        if (isatty(STDOUT_FILENO))
            return dz_cli_usage(cli, T_("an archive is not for a terminal: send it to a pipe"));
        *ret_fd = STDOUT_FILENO;
        return DZ_EXIT_OK;
    }
    *ret_fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*ret_fd >= 0)
        return DZ_EXIT_OK;
    dz_say("%s: %s", file, strerror(errno));
    return DZ_EXIT_COULD_NOT;
}

int dz_cmd_export(struct dz_cli *cli, int argc, char **argv) {
    const char *file = NULL;
    struct dz_reading in = { 0 };
    int option, code, fd = -1;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        file = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind != 1)
        return dz_cli_usage(cli, T_("export takes one snapshot"));
    if (!file)
        return dz_cli_usage(cli, T_("where to? Give --tar FILE, or --tar - for standard output"));
    code = strcmp(file, "-") == 0 ? (int) DZ_EXIT_OK : dz_cli_outside(cli, file);
    if (code == DZ_EXIT_OK)
        code = dz_cli_read(cli, argv[optind], &in);
    if (code == DZ_EXIT_OK)
        code = open_archive(cli, file, &fd);
    if (code == DZ_EXIT_OK) {
        code = export_to(cli, &in, fd);
        if (fd != STDOUT_FILENO) {
            (void) close(fd);
            if (code != DZ_EXIT_OK && code != DZ_EXIT_FOUND)
                (void) unlink(file); /* half an archive looks like a whole one */
        }
    }
    dz_reading_close(&in);
    return code;
}
