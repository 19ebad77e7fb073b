#include "cli/around.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cli/output.h"

/* --- signals ---------------------------------------------------------------------------------- */

struct watch {
    sigset_t ours, before; /* blocked while we wait; what was blocked before */
    int got;               /* the first signal that would have ended us, or 0 */
};

static void watch_begin(struct watch *w) {
    static const int ours[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };

    (void) signal(SIGCHLD, SIG_DFL); /* ignored, it would take the children's ends away */
    (void) sigemptyset(&w->ours);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        (void) sigaddset(&w->ours, ours[i]);
    (void) sigprocmask(SIG_BLOCK, &w->ours, &w->before);
}

/* Waits for a child and passes on to it what was meant to end us. */
static struct dz_child_end watch_wait(struct watch *w, pid_t pid) {
    for (;;) {
        siginfo_t info;
        int status, number;
        pid_t got = waitpid(pid, &status, WNOHANG);

        if (got == pid)
            return dz_child_end_of(status);
        if (got < 0 && errno != EINTR)
            return (struct dz_child_end){ .lost = errno };
        number = sigwaitinfo(&w->ours, &info);
        if (number <= 0 || number == SIGCHLD)
            continue;
        if (!w->got)
            w->got = number;
        if (info.si_pid != 0 || number != SIGINT) /* Ctrl-C has reached the child by itself */
            (void) kill(pid, number);
    }
}

/* --- the three -------------------------------------------------------------------------------- */

/* Runs a line to its end.  False: it did not end well, and ret_text says how. */
static bool run_line(struct watch *w, const char *line, char ret_text[DZ_CHILD_END_TEXT]) {
    struct dz_child child;
    struct dz_child_end end;
    dz_err err = { 0 };

    if (dz_child_start_line(line, DZ_CHILD_TO_STDERR, &child, &err) != DZ_OK) {
        (void) snprintf(ret_text, DZ_CHILD_END_TEXT, "%s", strerror(err.sys_errno));
        return false;
    }
    end = w ? watch_wait(w, child.pid) : dz_child_wait(&child);
    dz_child_end_text(&end, ret_text);
    return dz_child_ended_well(&end);
}

static int run_apart(struct watch *w, const struct dz_around *a) {
    struct dz_child_end end;
    pid_t parent = getpid(), pid = fork();

    if (pid < 0) {
        dz_err err = { 0 };
        (void) DZ_FAIL_ERRNO(&err, "starting a process");
        return dz_cli_fail(&err);
    }
    if (pid == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(DZ_EXIT_COULD_NOT);
        (void) sigprocmask(SIG_SETMASK, &w->before, NULL);
        _exit(dz_out_close(a->body(a->ctx)));
    }
    end = watch_wait(w, pid);
    return end.signal || end.lost ? DZ_EXIT_COULD_NOT : end.code;
}

static int run_post(struct watch *w, const char *post, int code) {
    const char *result = code == DZ_EXIT_OK || code == DZ_EXIT_FOUND ? "ok" : "failed";
    char how[DZ_CHILD_END_TEXT];

    if (setenv("DOZO_RESULT", result, 1) != 0) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    if (run_line(w, post, how))
        return code;
    dz_say(T_("the command after the backup (--post) failed: %s"), how);
    dz_say_next(T_("What it was to clean up may still be there."));
    return code == DZ_EXIT_OK ? DZ_EXIT_FOUND : code;
}

int dz_around_run(const struct dz_around *a) {
    char how[DZ_CHILD_END_TEXT];
    struct watch watch = { 0 }, *w = a->post ? &watch : NULL;
    int code = DZ_EXIT_OK;
    bool ready;

    if (w)
        watch_begin(w);
    ready = !a->pre || run_line(w, a->pre, how);
    if (!ready)
        code = a->pre_failed(a->ctx, how);
    else if (w && w->got)
        code = DZ_EXIT_COULD_NOT; /* told to end while pre ran */
    else
        code = w ? run_apart(w, a) : a->body(a->ctx);
    if (!w)
        return code;
    code = run_post(w, a->post, code);
    (void) sigprocmask(SIG_SETMASK, &w->before, NULL);
    if (w->got) {
        (void) signal(w->got, SIG_DFL);
        (void) raise(w->got);
    }
    return code;
}
