/* The process that starts programs, with a supervisor of our own that says what it should not.
 *
 * The starter starts this very program again: as the supervisor (a script by name, from the
 * environment) and on the way to a job.  What it is told to start as `dozo` writes down how it was
 * called, and waits if its source is called "slow". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/durable.h"
#include "daemon/job.h"
#include "daemon/starter.h"

static char dir[] = "/tmp/dozo-starter-XXXXXX";

/* --- the supervisor's side: what it hears is checked here, and its end tells ------------------ */

enum { SOCK = STDIN_FILENO, FAILED = 99 };

static void say(const dz_message *m) {
    if (dz_message_send(SOCK, m, -1, NULL) != DZ_OK)
        _exit(FAILED);
}

static dz_message hear(enum dz_message_kind kind) {
    dz_message m = { 0 };
    int fd = -1;

    if (dz_message_receive(SOCK, &m, &fd, NULL) != DZ_OK || m.kind != kind ||
        (fd >= 0) != (kind == DZ_MESSAGE_CONFIG))
        _exit(FAILED);
    return m;
}

static void begin(void) {
    const dz_message ready = { .kind = DZ_MESSAGE_READY, .generation = 1 };

    if (hear(DZ_MESSAGE_CONFIG).generation != 1)
        _exit(FAILED);
    say(&ready);
}

static void ask_run(uint32_t generation, uint32_t job, uint32_t feed) {
    const dz_message m = {
        .kind = DZ_MESSAGE_RUN, .generation = generation, .job = job, .feed = feed
    };
    say(&m);
}

static void ended(uint32_t job, struct dz_child_end end) {
    dz_message m = hear(DZ_MESSAGE_ENDED);

    if (m.job != job || m.end.code != end.code || m.end.signal != end.signal ||
        m.end.lost != end.lost)
        _exit(FAILED);
}

/* As systemd would. */
static void leave(void) {
    (void) kill(getppid(), SIGTERM);
    (void) hear(DZ_MESSAGE_LEAVE);
}

/* Nothing comes but the end. */
static _Noreturn void until_closed(void) {
    dz_message m;
    int fd;

    _exit(dz_message_receive(SOCK, &m, &fd, NULL) == DZ_E_CLOSED ? 0 : FAILED);
}

static void runs_what_the_configuration_says(void) {
    begin();
    ask_run(1, 1, 0);
    ended(1, (struct dz_child_end){ 0 });
    ask_run(1, 2, 1);
    ended(2, (struct dz_child_end){ 0 });
    ask_run(1, 3, 4);
    ended(3, (struct dz_child_end){ 0 });
    leave();
}

static void does_chores(void) {
    begin();
    for (enum dz_chore c = 0; c < DZ_CHORES; c++) {
        const dz_message chore = { .kind = DZ_MESSAGE_CHORE, .job = 5 + c, .chore = c };
        say(&chore);
        ended(5 + c, (struct dz_child_end){ 0 });
    }
    leave();
}

static void tells(void) {
    const dz_message tell = { .kind = DZ_MESSAGE_TELL,
                              .job = 5,
                              .event = DZ_EVENT_SOURCE_LATE,
                              .newest_us = INT64_MIN,
                              .source = "emr",
                              .detail = "due; $(false) \"x\"" };
    begin();
    say(&tell);
    ended(5, (struct dz_child_end){ 0 });
    leave();
}

static void stops(void) {
    const dz_message stop = { .kind = DZ_MESSAGE_STOP, .job = 3 },
                     unknown = { .kind = DZ_MESSAGE_STOP, .job = 4 };

    begin();
    ask_run(1, 3, 2);
    say(&unknown); /* it may just have ended */
    say(&stop);
    say(&stop);
    ended(3, (struct dz_child_end){ .signal = SIGTERM });
    leave();
}

static void leaves_with_jobs(void) {
    begin();
    ask_run(1, 3, 2);
    leave();
    ask_run(1, 4, 0); /* said before LEAVE was heard: passed over */
    ended(3, (struct dz_child_end){ .signal = SIGTERM });
}

static void old_generation(void) {
    begin();
    (void) kill(getppid(), SIGHUP);
    if (hear(DZ_MESSAGE_CONFIG).generation != 2)
        _exit(FAILED);
    ask_run(1, 3, 0);
    ended(3, (struct dz_child_end){ .lost = ESTALE });
    say(&(const dz_message){ .kind = DZ_MESSAGE_READY, .generation = 2 });
    ask_run(2, 4, 0);
    ended(4, (struct dz_child_end){ 0 });
    leave();
}

static void runs_too_early(void) {
    (void) hear(DZ_MESSAGE_CONFIG);
    ask_run(1, 1, 0);
}
static void ready_twice(void) {
    begin();
    say(&(const dz_message){ .kind = DZ_MESSAGE_READY, .generation = 1 });
}
static void ready_ahead(void) {
    (void) hear(DZ_MESSAGE_CONFIG);
    say(&(const dz_message){ .kind = DZ_MESSAGE_READY, .generation = 2 });
}
static void no_such_source(void) {
    begin();
    ask_run(1, 1, 5);
}
static void a_source_twice(void) {
    begin();
    ask_run(1, 1, 2);
    ask_run(1, 2, 2);
    ended(1, (struct dz_child_end){ .signal = SIGTERM });
}
static void more_than_may(void) {
    begin();
    ask_run(1, 1, 2);
    ask_run(1, 2, 3);
    ask_run(1, 3, 0);
    (void) hear(DZ_MESSAGE_LEAVE); /* it ends the service, jobs and all */
    (void) hear(DZ_MESSAGE_ENDED);
    (void) hear(DZ_MESSAGE_ENDED);
}
static void two_chores(void) {
    begin();
    say(&(const dz_message){ .kind = DZ_MESSAGE_CHORE, .job = 1, .chore = DZ_CHORE_PRUNE });
    say(&(const dz_message){ .kind = DZ_MESSAGE_CHORE, .job = 2, .chore = DZ_CHORE_VERIFY });
    (void) hear(DZ_MESSAGE_LEAVE);
    (void) hear(DZ_MESSAGE_ENDED);
}
static void a_number_twice(void) {
    begin();
    ask_run(1, 1, 2);
    say(&(const dz_message){ .kind = DZ_MESSAGE_CHORE, .job = 1 });
    (void) hear(DZ_MESSAGE_LEAVE);
    (void) hear(DZ_MESSAGE_ENDED);
}
static void speaks_as_the_starter(void) {
    begin();
    say(&(const dz_message){ .kind = DZ_MESSAGE_LEAVE });
}
static void nonsense(void) {
    begin();
    (void) send(SOCK, "\xff\xff", 2, MSG_NOSIGNAL);
}
static void a_source_with_a_bad_name(void) {
    begin();
    say(&(const dz_message){
        .kind = DZ_MESSAGE_TELL, .job = 1, .event = DZ_EVENT_SOURCE_LATE, .source = "../x" });
}
static void dies(void) {
    begin();
    _exit(0);
}
static void closes(void) {
    begin();
    (void) shutdown(SOCK, SHUT_RDWR);
    (void) poll(NULL, 0, 60000);
}

static const struct script {
    const char *name;
    void (*act)(void);
    int code;         /* of the service */
    const char *runs; /* what was started in the end, line by line; NULL: not looked at */
} scripts[] = {
    { "what the configuration says is run, as it says", runs_what_the_configuration_says, 0,
      "--vault /v --quiet backup --no-names --source tree --pre p\nq --exclude *.tmp --exclude -x "
      "--one-file-system -- /a /b\n"
      "--vault /v --quiet backup --no-names --source db --post o --stdin-as d.sql -- dump -Fc "
      "--role=job\n"
      "--vault /v --quiet backup --no-names --source ward --smb //s/x/部門 --credentials /c "
      "--smb-no-encryption --exclude *.tmp --\n" },
    { "chores are done", does_chores, 0,
      "--vault /v --quiet witness check\n--vault /v --quiet prune\n--vault /v --quiet verify\n" },
    { "people are told", tells, 0, "source-late|emr|due; $(false) \"x\"||arg 1|arg\n" },
    { "a job is stopped", stops, 0, NULL },
    { "jobs are stopped at the end", leaves_with_jobs, 0, NULL },
    { "an order by an old configuration is not carried out", old_generation, 0, NULL },
    { "an order before it is ready", runs_too_early, 3, "" },
    { "ready twice", ready_twice, 3, "" },
    { "ready for what never was", ready_ahead, 3, "" },
    { "a source that is not there", no_such_source, 3, "" },
    { "a source twice", a_source_twice, 3, NULL },
    { "more at once than may", more_than_may, 3, NULL },
    { "two chores at once", two_chores, 3, NULL },
    { "a number twice", a_number_twice, 3, NULL },
    { "what only the starter may say", speaks_as_the_starter, 3, "" },
    { "nonsense", nonsense, 3, "" },
    { "a source whose name is a path", a_source_with_a_bad_name, 3, "" },
    { "a supervisor that ends", dies, 3, "" },
    { "a supervisor that hangs up", closes, 3, "" },
};
enum { SCRIPTS = sizeof scripts / sizeof *scripts };

static int supervisor(void) {
    const struct script *s = &scripts[strtoul(getenv("TEST_SCRIPT"), NULL, 10) % SCRIPTS];

    s->act();
    if (s->code == 0)
        until_closed();
    /* whatever else is said, it has to end */
    for (;;) {
        dz_message m;
        int fd;
        if (dz_message_receive(SOCK, &m, &fd, NULL) == DZ_E_CLOSED)
            return 0;
    }
}

/* --- the service ------------------------------------------------------------------------------ */

static void put_file(const char *name, mode_t mode, const char *text) {
    char path[128];
    int fd;

    (void) snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(dz_write_all(fd, (dz_slice){ (const uint8_t *) text, strlen(text) }), 0);
    (void) close(fd);
}

static const char config_text[] =
    "vault: /v\n"
    "limits: {at-once: 2}\n"
    "notify: {command: [sh, -c, 'echo \"$DOZO_EVENT|$DOZO_SOURCE|$DOZO_DETAIL|$DOZO_NEWEST|$1|$0\" "
    ">>\"$TEST_RAN\"', arg, arg 1]}\n"
    "sources:\n"
    "- {name: tree, kind: tree, every: 1h, paths: [/a, /b], exclude: ['*.tmp', -x],\n"
    "   one-file-system: yes, pre: \"p\\nq\"}\n"
    "- {name: db, kind: command, every: 1h, file: d.sql, argv: [dump, -Fc, --role=job], post: o}\n"
    "- {name: slow, kind: tree, every: 1h, paths: [/a]}\n"
    "- {name: also-slow, kind: tree, every: 1h, paths: [/a]}\n"
    "- {name: ward, kind: share, every: 1h, share: //s/x/部門, credentials: /c, exclude: "
    "['*.tmp'],\n"
    "   no-encryption: yes}\n";

/* In a process of its own: it changes what happens to signals. */
static int serve(void) {
    char path[128], dozo[128];
    const struct dz_starter_how how = { .path = path, .dozo = dozo, .sandbox = true };
    struct dz_config config = { 0 };
    dz_autobuf dz_buf text = { 0 };

    (void) snprintf(path, sizeof path, "%s/dozod.yaml", dir);
    (void) snprintf(dozo, sizeof dozo, "%s/dozo", dir);
    if (dz_config_load(path, &text, &config, NULL) != DZ_OK)
        return FAILED;
    return dz_starter_run(&how, dz_buf_slice(&text), &config);
}

static void each_order_has_its_answer(void **state) {
    (void) state;
    for (size_t i = 0; i < SCRIPTS; i++) {
        char number[16], path[128], ran[4096] = "";
        int status = 0, fd;
        pid_t pid;

        (void) snprintf(number, sizeof number, "%zu", i);
        (void) snprintf(path, sizeof path, "%s/ran", dir);
        put_file("ran", 0600, "");
        assert_int_equal(setenv("TEST_SCRIPT", number, 1), 0);
        assert_int_equal(setenv("TEST_RAN", path, 1), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(serve());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != scripts[i].code)
            fail_msg("%s: wait status %x", scripts[i].name, (unsigned) status);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0 && read(fd, ran, sizeof ran - 1) >= 0);
        (void) close(fd);
        if (scripts[i].runs && strcmp(ran, scripts[i].runs) != 0)
            fail_msg("%s: ran \"%s\"", scripts[i].name, ran);
    }
}

static int make_dir(void **state) {
    (void) state;
    if (!mkdtemp(dir))
        return -1;
    put_file("dozod.yaml", 0600, config_text);
    put_file("dozo", 0700,
             "#!/bin/sh\n"
             "echo \"$*\" >>\"$TEST_RAN\"\n"
             "case $* in *slow*) exec sleep 60 ;; esac\n");
    return 0;
}

static int remove_dir(void **state) {
    static const char *const names[] = { "dozod.yaml", "dozo", "ran" };

    (void) state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        (void) snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void) unlink(path);
    }
    return rmdir(dir);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_order_has_its_answer) };

    if (argc > 1 && strcmp(argv[1], "--role=supervisor") == 0)
        return supervisor();
    if (argc > 1 && strcmp(argv[1], "--role=job") == 0)
        return dz_job_exec(argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
