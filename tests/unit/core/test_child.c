/* Programs beside us: what they write, how they end, and that none is left behind. */
#include "core/child.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct dz_child start(const char *line, enum dz_child_output where) {
    struct dz_child c;
    dz_err err = { 0 };

    if (dz_child_start_line(line, where, &c, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return c;
}

static void what_it_writes_is_read_and_its_end_is_told(void **state) {
    struct dz_child c = start("printf abc; exit 3", DZ_CHILD_TO_PIPE);
    struct dz_child_end end;
    char got[8] = "", text[DZ_CHILD_END_TEXT];

    (void) state;
    assert_int_equal(read(c.out, got, sizeof got - 1), 3);
    assert_string_equal(got, "abc");
    assert_int_equal(read(c.out, got, 1), 0);
    end = dz_child_wait(&c);
    assert_false(dz_child_ended_well(&end));
    assert_int_equal(end.code, 3);
    assert_int_equal(c.pid, 0);
    assert_int_equal(c.out, -1);
    dz_child_end_text(&end, text);
    assert_string_equal(text, "exit status 3");
}

static void a_signal_is_told(void **state) {
    struct dz_child c = start("kill -9 $$", DZ_CHILD_TO_STDERR);
    struct dz_child_end end;
    char text[DZ_CHILD_END_TEXT];

    (void) state;
    assert_int_equal(c.out, -1);
    end = dz_child_wait(&c);
    assert_int_equal(end.signal, 9);
    dz_child_end_text(&end, text);
    assert_non_null(strstr(text, "signal 9"));
}

static void what_is_not_there_is_not_started(void **state) {
    const char *const argv[] = { "dozo-no-such-program", NULL };
    struct dz_child c;
    dz_err err = { 0 };

    (void) state;
    assert_int_equal(dz_child_start(argv, DZ_CHILD_TO_PIPE, &c, &err), DZ_E_IO);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_non_null(strstr(err.what, argv[0]));
    dz_child_stop(&c, 0); /* nothing to do */
}

/* We ignore SIGPIPE and block signals; the child does neither. */
static void it_starts_with_signals_as_usual(void **state) {
    sigset_t block, before;
    struct dz_child c;
    struct dz_child_end end;

    (void) state;
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    (void) sigemptyset(&block);
    (void) sigaddset(&block, SIGTERM);
    (void) sigprocmask(SIG_BLOCK, &block, &before);
    c = start("while :; do echo y; done", DZ_CHILD_TO_PIPE);
    end = dz_child_wait(&c); /* closes the pipe first */
    assert_int_equal(end.signal, SIGPIPE);
    c = start("exec sleep 100", DZ_CHILD_TO_PIPE);
    dz_child_stop(&c, 60000); /* by SIGTERM, or the test takes a minute and fails */
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
}

static void who_does_not_listen_is_made_to_end(void **state) {
    struct dz_child c =
        start("trap '' TERM; echo ready; while :; do sleep 1; done", DZ_CHILD_TO_PIPE);
    pid_t pid = c.pid;
    char got[8];

    (void) state;
    assert_int_equal(read(c.out, got, sizeof got), 6);
    dz_child_stop(&c, 50);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void input_is_empty(void **state) {
    struct dz_child c = start("cat; exit 7", DZ_CHILD_TO_PIPE);
    struct dz_child_end end;
    char got[8];

    (void) state;
    assert_int_equal(read(c.out, got, sizeof got), 0);
    end = dz_child_wait(&c);
    assert_int_equal(end.code, 7);
    end = dz_child_wait(&c); /* again: nobody knows */
    assert_false(dz_child_ended_well(&end));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_writes_is_read_and_its_end_is_told),
        cmocka_unit_test(a_signal_is_told),
        cmocka_unit_test(what_is_not_there_is_not_started),
        cmocka_unit_test(it_starts_with_signals_as_usual),
        cmocka_unit_test(who_does_not_listen_is_made_to_end),
        cmocka_unit_test(input_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
