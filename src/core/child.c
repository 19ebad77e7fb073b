#include "core/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "core/cleanup.h"
#include "core/launch.h"
#include "core/text.h"

dz_status dz_child_start(const char *const argv[], enum dz_child_output where,
                         struct dz_child *ret_child, dz_err *err) {
    dz_autoclose int in = -1;
    int fds[2] = { -1, -1 };
    pid_t pid = 0;
    int e;

    *ret_child = DZ_CHILD_NONE;
    in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return DZ_FAIL_ERRNO(err, "opening /dev/null");
    if (where == DZ_CHILD_TO_PIPE && pipe2(fds, O_CLOEXEC) != 0)
        return DZ_FAIL_ERRNO(err, "making a pipe");
    e = dz_launch(argv, in, where == DZ_CHILD_TO_PIPE ? fds[1] : STDERR_FILENO, false, &pid);
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
