#include "daemon/starter.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/launch.h"
#include "core/text.h"
#include "daemon/board.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/notify_socket.h"
#include "store/commit.h"

enum { LEAVE_MS = 5000 /* for the supervisor to end when it is alone */ };

struct job {
    uint32_t number; /* 0: this place is free */
    enum dz_job_kind kind;
    pid_t pid; /* and its process group */
    char source[DZ_EXPECTED_NAME_MAX + 1];
    int64_t kill_ms; /* it was told to end; INT64_MAX: it was not */
};

struct starter {
    const struct dz_starter_how *how;
    struct dz_config config;
    uint32_t generation, ready; /* sent; in force */
    enum state { STARTING, SERVING, LEAVING } state;
    int manager, signals, sock, null;
    pid_t supervisor;     /* 0: it has ended */
    int64_t leave_end_ms; /* the supervisor is made to end; INT64_MAX: not yet */
    struct job jobs[DZ_BOARD_JOBS_MAX];
};

/* --- jobs ------------------------------------------------------------------------------------- */

static struct job *find_job(struct starter *s, uint32_t number) {
    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number == number)
            return &s->jobs[i];
    return NULL;
}

static unsigned count(const struct starter *s, enum dz_job_kind kind) {
    unsigned n = 0;

    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        n += s->jobs[i].number && s->jobs[i].kind == kind;
    return n;
}

static bool any_job(const struct starter *s) {
    return count(s, DZ_JOB_RUN) + count(s, DZ_JOB_TELL) + count(s, DZ_JOB_CHORE) > 0;
}

/* The supervisor never fills its socket, unless it has stopped to work. */
static dz_status say(const struct starter *s, const dz_message *m, int fd, dz_err *err) {
    return s->sock < 0 ? DZ_OK : dz_message_send(s->sock, m, fd, err);
}

static dz_status say_ended(const struct starter *s, uint32_t number, const struct dz_child_end *end,
                           dz_err *err) {
    const dz_message m = { .kind = DZ_MESSAGE_ENDED, .job = number, .end = *end };

    return say(s, &m, -1, err);
}

static dz_status begin(struct starter *s, const dz_message *m, enum dz_job_kind kind,
                       const char *source, const dz_job_argv *argv, dz_err *err) {
    struct job *place = find_job(s, 0);
    struct dz_child_end end = { 0 };
    pid_t pid = 0;

    if (!place || find_job(s, m->job))
        return DZ_FAIL(err, DZ_E_MALFORMED, "job %u: it runs already, or there is no place",
                       m->job);
    end.lost =
        dz_launch(argv->list, s->null, kind == DZ_JOB_CHORE ? s->null : STDERR_FILENO, true, &pid);
    if (end.lost)
        return say_ended(s, m->job, &end, err);
    *place = (struct job){ .number = m->job, .kind = kind, .pid = pid, .kill_ms = INT64_MAX };
    (void) snprintf(place->source, sizeof place->source, "%s", source);
    return DZ_OK;
}

/* Asks the job and all it started to end, and makes them some time later. */
static void stop(const struct starter *s, struct job *job) {
    if (job->kill_ms != INT64_MAX)
        return;
    job->kill_ms = dz_monotonic_us() / 1000 + s->config.limits.grace_us / 1000;
    (void) kill(-job->pid, SIGTERM);
}

static void kill_overdue(struct starter *s) {
    int64_t now_ms = dz_monotonic_us() / 1000;

    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number && s->jobs[i].kill_ms <= now_ms)
            (void) kill(-s->jobs[i].pid, SIGKILL);
    if (s->supervisor && s->leave_end_ms <= now_ms)
        (void) kill(s->supervisor, SIGKILL);
}

static dz_status reap_one(struct starter *s, pid_t pid, dz_err *err) {
    struct job *job = NULL;
    struct dz_child_end end;
    uint32_t number;
    int status = 0;

    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number && s->jobs[i].pid == pid)
            job = &s->jobs[i];
    /* what it left behind, while its number is still its own */
    if (job && job->kill_ms != INT64_MAX)
        (void) kill(-pid, SIGKILL);
    if (waitpid(pid, &status, WNOHANG) != pid)
        return DZ_OK;
    if (pid == s->supervisor) {
        s->supervisor = 0;
        return s->state == LEAVING ? DZ_OK : DZ_FAIL(err, DZ_E_CLOSED, "the supervisor has ended");
    }
    if (!job)
        return DZ_OK;
    number = job->number;
    *job = (struct job){ 0 };
    end = dz_child_end_of(status);
    return say_ended(s, number, &end, err);
}

static dz_status reap(struct starter *s, dz_err *err) {
    for (;;) {
        siginfo_t info = { 0 };

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return DZ_OK;
        DZ_TRY(reap_one(s, info.si_pid, err));
    }
}

/* --- what the supervisor asks ----------------------------------------------------------------- */

static dz_status on_ready(struct starter *s, const dz_message *m, dz_err *err) {
    if (m->generation <= s->ready || m->generation > s->generation)
        return DZ_FAIL(err, DZ_E_MALFORMED, "configuration %u is ready, %u is in force",
                       m->generation, s->ready);
    s->ready = m->generation;
    s->state = SERVING;
    if (s->ready < s->generation)
        return DZ_OK; /* a newer one is on its way */
    dz_log(LOG_INFO, T_("%zu sources feed the vault"), s->config.n_feeds);
    dz_notify(s->manager, "READY=1");
    return DZ_OK;
}

static dz_status on_alive(struct starter *s, const dz_message *m, dz_err *err) {
    (void) m;
    (void) err;
    dz_notify(s->manager, "WATCHDOG=1");
    return DZ_OK;
}

static dz_status on_run(struct starter *s, const dz_message *m, dz_err *err) {
    const struct dz_child_end stale = { .lost = ESTALE };
    DZ_CLEANUP(dz_job_argv_release) dz_job_argv argv = { 0 };
    const struct dz_feed *f;

    if (m->generation != s->generation) /* it has not heard of the new one yet */
        return say_ended(s, m->job, &stale, err);
    if (m->feed >= s->config.n_feeds || count(s, DZ_JOB_RUN) >= s->config.limits.at_once)
        return DZ_FAIL(err, DZ_E_MALFORMED, "source %u of %zu is to run, %u do", m->feed,
                       s->config.n_feeds, count(s, DZ_JOB_RUN));
    f = &s->config.feeds[m->feed];
    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number && strcmp(s->jobs[i].source, f->name) == 0)
            return DZ_FAIL(err, DZ_E_MALFORMED, "source %.80s is to run twice", f->name);
    DZ_TRY(dz_job_backup(&s->config, f, s->how->dozo, &argv, err));
    return begin(s, m, DZ_JOB_RUN, f->name, &argv, err);
}

static dz_status on_stop(struct starter *s, const dz_message *m, dz_err *err) {
    struct job *job = find_job(s, m->job);

    (void) err;
    if (job) /* else it has just ended */
        stop(s, job);
    return DZ_OK;
}

static dz_status on_tell(struct starter *s, const dz_message *m, dz_err *err) {
    const struct dz_child_end done = { 0 };
    DZ_CLEANUP(dz_job_argv_release) dz_job_argv argv = { 0 };
    dz_status st;

    if (m->source[0] && !dz_source_name_ok(m->source))
        return DZ_FAIL(err, DZ_E_MALFORMED, "it tells of a source without a proper name");
    if (count(s, DZ_JOB_TELL) >= DZ_BOARD_TELLS_MAX)
        return DZ_FAIL(err, DZ_E_MALFORMED, "it tells too much at once");
    if (s->config.notify.syslog)
        syslog(LOG_DAEMON | LOG_ERR, "vault %s: %s %s: %s", s->config.vault,
               dz_event_name(m->event), m->source, m->detail);
    if (s->config.notify.command.n == 0)
        return say_ended(s, m->job, &done, err);
    DZ_TRY(dz_job_tell(&s->config, &argv, err));
    dz_job_facts_set(&s->config, m);
    st = begin(s, m, DZ_JOB_TELL, "", &argv, err);
    dz_job_facts_unset();
    return st;
}

static dz_status on_chore(struct starter *s, const dz_message *m, dz_err *err) {
    DZ_CLEANUP(dz_job_argv_release) dz_job_argv argv = { 0 };

    if (count(s, DZ_JOB_CHORE) > 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "two chores at once");
    DZ_TRY(dz_job_chore(&s->config, m->chore, s->how->dozo, &argv, err));
    return begin(s, m, DZ_JOB_CHORE, "", &argv, err);
}

/* Who may say what, in which state; what is not here is never for us.  What was said before LEAVE
 * was heard is passed over while leaving. */
static const struct {
    enum dz_message_kind kind;
    unsigned states; /* 1 << state */
    dz_status (*handle)(struct starter *, const dz_message *, dz_err *);
} table[] = {
    { DZ_MESSAGE_READY, 1 << STARTING | 1 << SERVING, on_ready },
    { DZ_MESSAGE_ALIVE, 1 << SERVING, on_alive },
    { DZ_MESSAGE_RUN, 1 << SERVING, on_run },
    { DZ_MESSAGE_STOP, 1 << SERVING, on_stop },
    { DZ_MESSAGE_TELL, 1 << SERVING, on_tell },
    { DZ_MESSAGE_CHORE, 1 << SERVING, on_chore },
};

static dz_status obey(struct starter *s, dz_err *err) {
    dz_autoclose int fd = -1;
    dz_message m;

    DZ_TRY(dz_message_receive(s->sock, &m, &fd, err));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].kind != m.kind)
            continue;
        if (s->state == LEAVING)
            return DZ_OK;
        if (table[i].states >> s->state & 1)
            return table[i].handle(s, &m, err);
    }
    return DZ_FAIL(err, DZ_E_MALFORMED, "a message of the kind %d, out of turn", m.kind);
}

/* --- the configuration ------------------------------------------------------------------------ */

static dz_status send_config(struct starter *s, dz_slice text, dz_err *err) {
    const dz_message m = { .kind = DZ_MESSAGE_CONFIG, .generation = s->generation };
    dz_autoclose int fd = memfd_create("dozod.yaml", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || dz_write_all(fd, text) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return DZ_FAIL_ERRNO(err, "handing over the configuration");
    return say(s, &m, fd, err);
}

/* The new one is checked before anything is given up of the old one. */
static dz_status reload(struct starter *s, dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    struct dz_config config = { 0 };
    dz_err why = { 0 };
    dz_status st;

    dz_notify_reloading(s->manager);
    st = dz_config_load(s->how->path, &text, &config, &why);
    if (st == DZ_OK && strcmp(config.vault, s->config.vault) != 0)
        st = DZ_FAIL(&why, DZ_E_POLICY, "%.80s: vault: another one needs a restart", s->how->path);
    if (st != DZ_OK) {
        dz_config_release(&config);
        dz_log_error(&why);
        dz_log(LOG_ERR, T_("the new configuration is wrong: the old one stays in force"));
        dz_notify(s->manager, "READY=1");
        return DZ_OK;
    }
    dz_config_release(&s->config);
    s->config = config;
    s->generation++;
    return send_config(s, dz_buf_slice(&text), err);
}

/* --- signals ---------------------------------------------------------------------------------- */

static dz_status leave(struct starter *s, dz_err *err) {
    const dz_message m = { .kind = DZ_MESSAGE_LEAVE };

    if (s->state != LEAVING) {
        dz_notify(s->manager, "STOPPING=1");
        s->state = LEAVING;
        DZ_TRY(say(s, &m, -1, err));
    }
    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number)
            stop(s, &s->jobs[i]);
    return DZ_OK;
}

static dz_status on_signal(struct starter *s, dz_err *err) {
    struct signalfd_siginfo info;

    if (read(s->signals, &info, sizeof info) != (ssize_t) sizeof info)
        return errno == EAGAIN || errno == EINTR ? DZ_OK : DZ_FAIL_ERRNO(err, "reading a signal");
    if (info.ssi_signo == SIGCHLD)
        return DZ_OK; /* the turn ends with it */
    if (info.ssi_signo == SIGHUP)
        return s->state == LEAVING ? DZ_OK : reload(s, err);
    return leave(s, err);
}

/* --- the loop --------------------------------------------------------------------------------- */

static dz_status prepare(struct starter *s, dz_err *err) {
    sigset_t ours;

    (void) close_range(STDERR_FILENO + 1, ~0U, 0); /* whatever we were started with */
    s->manager = dz_notify_open();
    (void) sigemptyset(&ours);
    (void) sigaddset(&ours, SIGHUP);
    (void) sigaddset(&ours, SIGINT);
    (void) sigaddset(&ours, SIGTERM);
    (void) sigaddset(&ours, SIGCHLD);
    (void) signal(SIGCHLD, SIG_DFL); /* ignored, it would take the ends away */
    if (sigprocmask(SIG_BLOCK, &ours, NULL) != 0)
        return DZ_FAIL_ERRNO(err, "blocking signals");
    s->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s->signals < 0 || s->null < 0)
        return DZ_FAIL_ERRNO(err, "signals, /dev/null");
    return DZ_OK;
}

static dz_status start_supervisor(struct starter *s, dz_slice text, dz_err *err) {
    const char *const argv[] = { "/proc/self/exe", "--role=supervisor",
                                 s->how->sandbox ? NULL : "--no-sandbox", NULL };
    dz_autoclose int theirs = -1;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return DZ_FAIL_ERRNO(err, "making a socket");
    s->sock = pair[0];
    theirs = pair[1];
    if (fcntl(s->sock, F_SETFL, O_NONBLOCK) != 0)
        return DZ_FAIL_ERRNO(err, "making a socket");
    if (!s->how->sandbox)
        dz_log(LOG_WARNING, T_("without a sandbox: not for a hospital's vault"));
    errno = dz_launch(argv, theirs, STDERR_FILENO, true, &s->supervisor);
    if (errno != 0)
        return DZ_FAIL_ERRNO(err, "starting the supervisor");
    s->generation = 1;
    return send_config(s, text, err);
}

static int wait_ms(const struct starter *s) {
    int64_t next = s->leave_end_ms, now_ms = dz_monotonic_us() / 1000;

    for (size_t i = 0; i < DZ_BOARD_JOBS_MAX; i++)
        if (s->jobs[i].number && s->jobs[i].kill_ms < next)
            next = s->jobs[i].kill_ms;
    if (next == INT64_MAX)
        return -1;
    /* killed, they still have to be waited for */
    return next > now_ms ? (int) (next - now_ms) : 100;
}

static dz_status turn(struct starter *s, dz_err *err) {
    struct pollfd p[] = { { .fd = s->signals, .events = POLLIN },
                          { .fd = s->sock, .events = POLLIN } };
    int ready;

    kill_overdue(s);
    ready = poll(p, 2, wait_ms(s));
    if (ready < 0 && errno != EINTR)
        return DZ_FAIL_ERRNO(err, "waiting");
    if (ready > 0 && p[0].revents)
        DZ_TRY(on_signal(s, err));
    if (ready > 0 && p[1].revents && s->sock >= 0)
        DZ_TRY(obey(s, err));
    return reap(s, err);
}

static void hang_up(struct starter *s) {
    if (s->sock < 0)
        return;
    dz_close_at(&s->sock);
    s->sock = -1;
    if (s->leave_end_ms == INT64_MAX)
        s->leave_end_ms = dz_monotonic_us() / 1000 + LEAVE_MS;
}

/* Jobs first: the supervisor hears of their ends.  Then it hears the socket close, and ends. */
static void finish(struct starter *s) {
    dz_err err = { 0 };

    s->state = LEAVING;
    for (;;) {
        if (reap(s, &err) != DZ_OK || !any_job(s))
            hang_up(s);
        if (!any_job(s) && !s->supervisor)
            return;
        if (turn(s, &err) != DZ_OK)
            hang_up(s);
    }
}

static dz_status serve(struct starter *s, dz_slice text, dz_err *err) {
    dz_status st = start_supervisor(s, text, err);

    while (st == DZ_OK && s->state != LEAVING)
        st = turn(s, err);
    if (st != DZ_OK) {
        dz_err why = { 0 };
        s->leave_end_ms = dz_monotonic_us() / 1000;
        DZ_IGNORE(leave(s, &why)); /* whom it would be said to is the one who failed */
    }
    finish(s);
    return st;
}

int dz_starter_run(const struct dz_starter_how *how, dz_slice text, struct dz_config *config) {
    struct starter s = { .how = how,
                         .config = *config,
                         .manager = -1,
                         .signals = -1,
                         .sock = -1,
                         .null = -1,
                         .leave_end_ms = INT64_MAX };
    dz_err err = { 0 };
    dz_status st;

    *config = (struct dz_config){ 0 };
    (void) unsetenv("DOZO_KEYS"); /* no program that we start has a use for keys */
    st = prepare(&s, &err);
    if (st == DZ_OK)
        st = serve(&s, text, &err);
    if (st != DZ_OK)
        dz_log_error(&err);
    dz_config_release(&s.config);
    dz_close_at(&s.null);
    dz_close_at(&s.signals);
    dz_close_at(&s.manager);
    return st == DZ_OK ? 0 : 3;
}
