#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/wait.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "recover/mount.h"

enum { OPT_FOREGROUND = 'f', OPT_ALLOW_OTHER = DZ_OPT_FIRST };

const struct dz_option dz_mount_options[] = {
    { OPT_FOREGROUND, "foreground", NULL, N_("stay in the foreground until it is unmounted") },
    { OPT_ALLOW_OTHER, "allow-other", NULL, N_("other users may read too, as the modes say") },
    { 0 },
};

struct mounting {
    const struct dz_cli *cli;
    const char *at;
    int ready; /* the parent waits at the other end; -1 in the foreground */
};

/* The mount is up: the parent may go, and this process needs no terminal any more. */
static void ready(void *ctx) {
    struct mounting *m = ctx;
    int null;

    if (m->ready < 0) {
        if (!m->cli->quiet)
            dz_say_next(T_("mounted on %s; fusermount3 -u %s, or an interrupt, ends it"), m->at,
                        m->at);
        return;
    }
    if (write(m->ready, "", 1) < 0)
        dz_say("%s", strerror(errno));
    (void) close(m->ready);
    (void) setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        (void) dup2(null, fd);
}

static int serve(struct mounting *m, const char *snapshot, bool allow_other) {
    struct dz_reading in = { 0 };
    char name[DZ_SNAPSHOT_ID_TEXT + 8];
    char id[DZ_SNAPSHOT_ID_TEXT];
    struct dz_mount_how how = {
        .at = m->at, .name = name, .allow_other = allow_other, .ready = ready, .ctx = m
    };
    struct dz_supply supply;
    dz_err err = { 0 };
    int code = dz_cli_read(m->cli, snapshot, &in);

    if (code != DZ_EXIT_OK)
        return code;
    dz_snapshot_id_text(in.snap.commit.id, id);
    (void) snprintf(name, sizeof name, "dozo:%s", id);
    supply = dz_supply_of(in.fetch);
    if (dz_mount(&supply, &in.snap.commit.root, &how, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    dz_reading_close(&in);
    return code;
}

/* Forks before there is any thread or key, and without an exec: the keys that the child takes shall
 * pass through no file, argument or environment.  The parent returns once the mount is up. */
static int serve_behind(struct mounting *m, const char *snapshot, bool allow_other) {
    int ends[2], status = 0;
    char byte;
    ssize_t n;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        dz_say("%s", strerror(errno));
        return DZ_EXIT_COULD_NOT;
    }
    if (pid == 0) {
        (void) close(ends[0]);
        m->ready = ends[1];
        return serve(m, snapshot, allow_other);
    }
    (void) close(ends[1]);
    while ((n = read(ends[0], &byte, 1)) < 0 && errno == EINTR)
        ;
    (void) close(ends[0]);
    if (n == 1)
        return DZ_EXIT_OK;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) /* it has said why */
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : (int) DZ_EXIT_COULD_NOT;
}

int dz_cmd_mount(struct dz_cli *cli, int argc, char **argv) {
    struct mounting m = { .cli = cli, .ready = -1 };
    bool foreground = false, allow_other = false;
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        *(option == OPT_FOREGROUND ? &foreground : &allow_other) = true;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind != 2)
        return dz_cli_usage(cli, T_("mount takes a snapshot and a directory"));
    m.at = argv[optind + 1];
    code = dz_cli_outside(cli, m.at);
    if (code != DZ_EXIT_OK)
        return code;
    return foreground ? serve(&m, argv[optind], allow_other)
                      : serve_behind(&m, argv[optind], allow_other);
}
