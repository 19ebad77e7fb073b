#include "core/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "core/cleanup.h"
#include "core/text.h"

extern char **environ;

/* Each step gives an errno, or 0. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int out) {
    sigset_t none, usual;
    int e;

    (void) sigemptyset(&none);
    (void) sigemptyset(&usual);
    (void) sigaddset(&usual, SIGPIPE);
    if ((e = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) ==
            0 &&
        (e = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO)) == 0 &&
        (e = posix_spawnattr_setsigmask(attr, &none)) == 0 &&
        (e = posix_spawnattr_setsigdefault(attr, &usual)) == 0)
        e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return e;
}

static int spawn(const char *const argv[], int out, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char *const *args;
    int e = posix_spawn_file_actions_init(&actions);

    if (e != 0)
        return e;
    e = posix_spawnattr_init(&attr);
    if (e != 0) {
        (void) posix_spawn_file_actions_destroy(&actions);
        return e;
    }
    memcpy(&args, &argv, sizeof args); /* POSIX promises not to change them */
    e = prepare(&actions, &attr, out);
    if (e == 0)
        e = posix_spawnp(ret_pid, argv[0], &actions, &attr, args, environ);
    (void) posix_spawnattr_destroy(&attr);
    (void) posix_spawn_file_actions_destroy(&actions);
    return e;
}

dz_status dz_child_start(const char *const argv[], enum dz_child_output where,
                         struct dz_child *ret_child, dz_err *err) {
    int fds[2] = { -1, -1 };
    pid_t pid = 0;
    int e;

    *ret_child = DZ_CHILD_NONE;
    if (where == DZ_CHILD_TO_PIPE && pipe2(fds, O_CLOEXEC) != 0)
        return DZ_FAIL_ERRNO(err, "making a pipe");
    e = spawn(argv, where == DZ_CHILD_TO_PIPE ? fds[1] : STDERR_FILENO, &pid);
    dz_close_at(&fds[1]);
    if (e != 0) {
        dz_close_at(&fds[0]);
        errno = e;
        return DZ_FAIL_ERRNO(err, "starting %.80s", argv[0]);
    }
    *ret_child = (struct dz_child){ .pid = pid, .out = fds[0] };
    return DZ_OK;
}

dz_status dz_child_start_line(const char *line, enum dz_child_output where,
                              struct dz_child *ret_child, dz_err *err) {
    const char *const argv[] = { "/bin/sh", "-c", line, NULL };

    return dz_child_start(argv, where, ret_child, err);
}

static void close_out(struct dz_child *c) {
    dz_close_at(&c->out);
    c->out = -1;
}

struct dz_child_end dz_child_end_of(int wait_status) {
    struct dz_child_end end = { 0 };

    if (WIFEXITED(wait_status))
        end.code = WEXITSTATUS(wait_status);
    else
        end.signal = WTERMSIG(wait_status);
    return end;
}

struct dz_child_end dz_child_wait(struct dz_child *c) {
    pid_t pid = c->pid, got;
    int status = 0;

    close_out(c);
    c->pid = 0;
    do
        got = pid > 0 ? waitpid(pid, &status, 0) : 0;
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return (struct dz_child_end){ .lost = got < 0 ? errno : ECHILD };
    return dz_child_end_of(status);
}

void dz_child_stop(struct dz_child *c, int grace_ms) {
    struct pollfd p = { .events = POLLIN };
    dz_autoclose int fd = -1;
    int ready;

    close_out(c);
    if (c->pid <= 0)
        return;
    (void) kill(c->pid, SIGTERM);
    fd = p.fd = pidfd_open(c->pid, 0);
    do
        ready = fd < 0 ? 0 : poll(&p, 1, grace_ms);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        (void) kill(c->pid, SIGKILL);
    (void) dz_child_wait(c);
}

void dz_child_end_text(const struct dz_child_end *e, char ret_text[DZ_CHILD_END_TEXT]) {
    if (e->lost)
        (void) snprintf(ret_text, DZ_CHILD_END_TEXT, "%s", T_("its end is not known"));
    else if (e->signal)
        (void) snprintf(ret_text, DZ_CHILD_END_TEXT, T_("signal %d (%s)"), e->signal,
                        strsignal(e->signal));
    else
        (void) snprintf(ret_text, DZ_CHILD_END_TEXT, T_("exit status %d"), e->code);
}
