/* What dozo-smb is told arrives whole; what it says when it fails is believed as far as it makes
 * sense. */
#include "intake/smb_job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "core/durable.h"

static void test_a_job_arrives_whole(void **state) {
    static const char *const excludes[] = { "*.tmp", "", "/患者/旧" };
    struct dz_smb_job job = { .source = "files",
                              .where = "//fs1/部門/記録",
                              .login = { "DOZO", "backup", "合言葉 = x" },
                              .guard = DZ_SMB_SIGNED,
                              .run = "a run",
                              .secret = "a secret",
                              .cachefd = 7,
                              .reread = true,
                              .excludes = excludes,
                              .n_excludes = 3 };
    struct dz_smb_job_room room = { 0 };
    struct dz_smb_job got;
    char behind;
    int pair[2];

    (void) state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(dz_smb_job_send(pair[0], &job, NULL), DZ_OK);
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(dz_smb_job_receive(pair[1], &room, &got, NULL), DZ_OK);
    assert_int_equal(read(pair[1], &behind, 1), 1); /* what is behind it is the protocol's */
    assert_string_equal(got.source, job.source);
    assert_string_equal(got.where, job.where);
    assert_memory_equal(&got.login, &job.login, sizeof job.login);
    assert_int_equal(got.guard, job.guard);
    assert_memory_equal(got.run, job.run, sizeof job.run);
    assert_memory_equal(got.secret, job.secret, sizeof job.secret);
    assert_int_equal(got.cachefd, 7);
    assert_true(got.reread);
    assert_int_equal(got.n_excludes, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(got.excludes[i], excludes[i]);
    dz_smb_job_room_done(&room);
    (void) close(pair[0]);
    (void) close(pair[1]);
}

static void test_a_job_is_not_too_long(void **state) {
    enum { LONG = DZ_SMB_JOB_MAX };
    char *glob = calloc(1, LONG + 1);
    const char *const excludes[] = { glob };
    const struct dz_smb_job job = {
        .source = "files", .where = "//s/x", .excludes = excludes, .n_excludes = 1
    };

    (void) state;
    assert_non_null(glob);
    memset(glob, 'x', LONG);
    assert_int_equal(dz_smb_job_send(-1, &job, NULL), DZ_E_LIMIT);
    free(glob);
}

static void test_half_a_job_is_none(void **state) {
    static const uint8_t starts[][12] = { { 0 },
                                          { 8, 0, 0, 0, 2, 'a' },
                                          { 0xff, 0xff, 0xff, 0xff } };

    (void) state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct dz_smb_job_room room = { 0 };
        struct dz_smb_job got;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_int_equal(write(pair[0], starts[i], sizeof starts[i]), sizeof starts[i]);
        assert_int_equal(shutdown(pair[0], SHUT_WR), 0);
        assert_int_equal(dz_smb_job_receive(pair[1], &room, &got, NULL), DZ_E_MALFORMED);
        dz_smb_job_room_done(&room);
        (void) close(pair[0]);
        (void) close(pair[1]);
    }
}

static void test_a_reason_is_handed_over(void **state) {
    dz_err why = { 0 }, got = { 0 };
    int fds[2];

    (void) state;
    errno = EACCES;
    assert_int_equal(DZ_FAIL_ERRNO(&why, "//fs1/部門: not with this password"), DZ_E_IO);
    assert_int_equal(pipe(fds), 0);
    dz_smb_report(fds[1], &why);
    (void) close(fds[1]);
    assert_true(dz_smb_report_read(fds[0], &got));
    assert_string_equal(got.what, why.what);
    assert_int_equal(got.status, DZ_E_IO);
    assert_int_equal(got.sys_errno, EACCES);
    (void) close(fds[0]);
}

static void test_nonsense_is_no_reason(void **state) {
    static const struct {
        const char *name;
        char bytes[512];
        size_t n;
    } rows[] = {
        { "nothing at all", "", 0 },
        { "a head without text", { DZ_E_IO }, 5 },
        { "that it went well", { DZ_OK, 0, 0, 0, 0, 'x' }, 6 },
        { "a status that is none", { DZ_STATUS_COUNT, 0, 0, 0, 0, 'x' }, 6 },
        { "what moves a cursor", { DZ_E_IO, 0, 0, 0, 0, '\033', '[', 'H' }, 8 },
        { "two lines", { DZ_E_IO, 0, 0, 0, 0, 'x', '\n', 'x' }, 8 },
        { "no UTF-8", { DZ_E_IO, 0, 0, 0, 0, '\xff' }, 6 },
        { "more than there is room for", { DZ_E_IO }, 512 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_err got = { 0 };
        int fds[2];

        assert_int_equal(pipe(fds), 0);
        assert_int_equal(
            dz_write_all(fds[1], (dz_slice){ (const uint8_t *) rows[i].bytes, rows[i].n }), 0);
        (void) close(fds[1]);
        if (dz_smb_report_read(fds[0], &got))
            fail_msg("%s", rows[i].name);
        assert_int_equal(got.status, DZ_OK);
        (void) close(fds[0]);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_arrives_whole),
        cmocka_unit_test(test_a_job_is_not_too_long),
        cmocka_unit_test(test_half_a_job_is_none),
        cmocka_unit_test(test_a_reason_is_handed_over),
        cmocka_unit_test(test_nonsense_is_no_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
