#include "daemon/job.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "core/clock.h"
#include "daemon/chore.h"
#include "daemon/log.h"

/* --- arguments -------------------------------------------------------------------------------- */

void dz_job_argv_release(dz_job_argv *a) {
    free((void *) a->list);
    *a = (dz_job_argv){ 0 };
}

static void put(dz_job_argv *a, const char *word) {
    if (a->n + 1 >= a->room) {
        size_t room = a->room ? 2 * a->room : 32;
        const char **more = a->bad ? NULL : realloc((void *) a->list, room * sizeof *more);

        if (!more) {
            a->bad = true;
            return;
        }
        a->list = more;
        a->room = room;
    }
    a->list[a->n++] = word;
    a->list[a->n] = NULL;
}

static void put_option(dz_job_argv *a, const char *option, const char *value) {
    if (value) {
        put(a, option);
        put(a, value);
    }
}

static void put_texts(dz_job_argv *a, const char *option, const dz_texts *texts) {
    for (size_t i = 0; i < texts->n; i++) {
        if (option)
            put(a, option);
        put(a, texts->list[i]);
    }
}

static void put_front(dz_job_argv *a, const struct dz_config *config) {
    (void) snprintf(a->parent, sizeof a->parent, "%d", (int) getpid());
    (void) snprintf(a->grace, sizeof a->grace, "%lld",
                    (long long) config->limits.grace_us / 1000000);
    put(a, "/proc/self/exe"); /* this program, whatever happened to its file since */
    put(a, "--role=job");
    put(a, a->parent);
    put(a, a->grace);
}

static void put_dozo(dz_job_argv *a, const struct dz_config *config, const char *dozo) {
    put_front(a, config);
    put(a, dozo);
    put(a, "--vault");
    put(a, config->vault);
    put(a, "--quiet");
}

static dz_status done(const dz_job_argv *a, dz_err *err) {
    return a->bad ? DZ_FAIL(err, DZ_E_NOMEM, "a program's arguments: out of memory") : DZ_OK;
}

dz_status dz_job_backup(const struct dz_config *config, const struct dz_feed *feed,
                        const char *dozo, dz_job_argv *ret_argv, dz_err *err) {
    dz_job_argv *a = ret_argv;

    put_dozo(a, config, dozo);
    put(a, "backup");
    put(a, "--no-names");
    put_option(a, "--source", feed->name);
    put_option(a, "--pre", feed->pre);
    put_option(a, "--post", feed->post);
    put_option(a, "--smb", feed->share);
    put_option(a, "--credentials", feed->credentials);
    if (feed->no_encryption)
        put(a, "--smb-no-encryption");
    put_option(a, "--stdin-as", feed->file);
    put_texts(a, "--exclude", &feed->excludes);
    if (feed->one_file_system)
        put(a, "--one-file-system");
    put(a, "--");
    put_texts(a, NULL, feed->kind == DZ_FEED_TREE ? &feed->paths : &feed->argv);
    return done(a, err);
}

dz_status dz_job_chore(const struct dz_config *config, enum dz_chore chore, const char *dozo,
                       dz_job_argv *ret_argv, dz_err *err) {
    const char *const *word = dz_chore_kind(chore)->words;

    put_dozo(ret_argv, config, dozo);
    for (; *word; word++)
        put(ret_argv, *word);
    return done(ret_argv, err);
}

dz_status dz_job_tell(const struct dz_config *config, dz_job_argv *ret_argv, dz_err *err) {
    put_front(ret_argv, config);
    put_texts(ret_argv, NULL, &config->notify.command);
    return done(ret_argv, err);
}

/* --- facts ------------------------------------------------------------------------------------ */

static const char *const facts[] = { "DOZO_EVENT", "DOZO_SOURCE", "DOZO_DETAIL", "DOZO_NEWEST",
                                     "DOZO_VAULT" };

void dz_job_facts_set(const struct dz_config *config, const dz_message *tell) {
    char newest[DZ_TIME_TEXT] = "";
    const char *const values[] = { dz_event_name(tell->event), tell->source, tell->detail, newest,
                                   config->vault };

    if (tell->newest_us != INT64_MIN)
        dz_time_text(tell->newest_us, newest);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        (void) setenv(facts[i], values[i], 1); /* out of memory: it is told less */
}

void dz_job_facts_unset(void) {
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        (void) unsetenv(facts[i]);
}

/* --- beside a program ------------------------------------------------------------------------- */

static _Noreturn void become(char **argv) {
    sigset_t none;

    (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    (void) execvp(argv[0], argv);
    dz_log(LOG_ERR, "%s: %s", argv[0], strerror(errno));
    _exit(127);
}

/* Ends as the program did. */
static int end_like(int status) {
    sigset_t one;

    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    (void) signal(WTERMSIG(status), SIG_DFL);
    (void) sigemptyset(&one);
    (void) sigaddset(&one, WTERMSIG(status));
    (void) sigprocmask(SIG_UNBLOCK, &one, NULL);
    (void) raise(WTERMSIG(status));
    return 128 + WTERMSIG(status);
}

/* When the starter has died, all that the program has started is to end: the group is asked once,
 * and made to after the grace.  When the starter lives, it has asked the group itself. */
static int watch(pid_t pid, pid_t parent, long grace_s, const sigset_t *ours) {
    const struct timespec tick = { .tv_nsec = 100000000 };
    int64_t end_ms = INT64_MAX;

    for (;;) {
        int status = 0;

        if (waitpid(pid, &status, WNOHANG) == pid)
            return end_like(status);
        if (end_ms == INT64_MAX)
            (void) sigwaitinfo(ours, NULL);
        else
            (void) sigtimedwait(ours, NULL, &tick);
        if (getppid() != parent && end_ms == INT64_MAX) {
            end_ms = dz_monotonic_us() / 1000 + 1000 * grace_s;
            (void) kill(0, SIGTERM);
        }
        if (dz_monotonic_us() / 1000 >= end_ms)
            (void) kill(0, SIGKILL); /* and us */
    }
}

int dz_job_exec(int argc, char **argv) {
    long parent, grace_s;
    sigset_t ours;
    pid_t pid;

    if (argc < 3)
        return 126;
    parent = strtol(argv[0], NULL, 10);
    grace_s = strtol(argv[1], NULL, 10);
    (void) sigemptyset(&ours);
    (void) sigaddset(&ours, SIGTERM);
    (void) sigaddset(&ours, SIGCHLD);
    (void) signal(SIGCHLD, SIG_DFL);
    (void) sigprocmask(SIG_BLOCK, &ours, NULL);
    (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != (pid_t) parent) /* it has died already */
        return 126;
    pid = fork();
    if (pid == 0)
        become(argv + 2);
    if (pid < 0) {
        dz_log(LOG_ERR, "%s: %s", argv[2], strerror(errno));
        return 126;
    }
    return watch(pid, (pid_t) parent, grace_s, &ours);
}
