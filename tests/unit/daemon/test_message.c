/* Messages between the two processes of dozod: bytes, and packets with a descriptor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "daemon/message.h"

static const dz_message samples[] = {
    { .kind = DZ_MESSAGE_CONFIG, .generation = 1 },
    { .kind = DZ_MESSAGE_ENDED, .job = 7, .end = { .code = 3 } },
    { .kind = DZ_MESSAGE_ENDED, .job = UINT32_MAX, .end = { .signal = 15 } },
    { .kind = DZ_MESSAGE_ENDED, .job = 1, .end = { .lost = ESTALE } },
    { .kind = DZ_MESSAGE_LEAVE },
    { .kind = DZ_MESSAGE_READY, .generation = UINT32_MAX },
    { .kind = DZ_MESSAGE_ALIVE },
    { .kind = DZ_MESSAGE_RUN, .generation = 300, .job = 2, .feed = 999 },
    { .kind = DZ_MESSAGE_STOP, .job = 2 },
    { .kind = DZ_MESSAGE_TELL,
      .job = 9,
      .event = DZ_EVENT_SOURCE_LATE,
      .newest_us = INT64_MIN,
      .source = "電子カルテ",
      .detail = "due at 02:30" },
    { .kind = DZ_MESSAGE_TELL, .job = 9, .event = DZ_EVENT_LOG_DAMAGED, .newest_us = 1 },
    { .kind = DZ_MESSAGE_CHORE, .job = 4, .chore = DZ_CHORE_PRUNE },
};

static void every_kind_comes_back_as_it_was(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        dz_autobuf dz_buf bytes = { 0 };
        dz_message back = { 0 };

        dz_message_write(&samples[i], &bytes);
        assert_true(dz_buf_ok(&bytes) && bytes.len <= DZ_MESSAGE_MAX);
        assert_int_equal(dz_message_read(dz_buf_slice(&bytes), &back, NULL), DZ_OK);
        assert_memory_equal(&back, &samples[i], sizeof back);
        /* nothing is missing, and nothing more */
        for (size_t len = 0; len < bytes.len; len++)
            assert_int_equal(dz_message_read((dz_slice){ bytes.data, len }, &back, NULL),
                             DZ_E_MALFORMED);
        dz_buf_put_u8(&bytes, 0);
        assert_int_equal(dz_message_read(dz_buf_slice(&bytes), &back, NULL), DZ_E_MALFORMED);
    }
}

static void what_makes_no_sense_is_refused(void **state) {
    static const struct {
        const char *what;
        size_t n;
        const char *bytes;
    } rows[] = {
        { "kind 0", 1, "\0" },
        { "an unknown kind", 1, "\4" },
        { "kind 255", 1, "\xff" },
        { "generation 0", 2, "\1\0" },
        { "a generation of 33 bits", 6, "\1\x80\x80\x80\x80\x10" },
        { "job 0", 2, "\x13\0" },
        { "an exit status of 256", 6, "\2\1\x80\2\0\0" },
        { "event 0", 6, "\x14\1\0\0\0\0" },
        { "event 7", 6, "\x14\1\7\0\0\0" },
        { "chore 3", 3, "\x15\1\3" },
        { "a line break in a detail", 8, "\x14\1\1\0\0\2a\n" },
        { "no UTF-8 in a source", 7, "\x14\1\1\0\1\xff\0" },
        { "a NUL in a source", 7, "\x14\1\1\0\1\0\0" },
        { "a text longer than the message", 6, "\x14\1\1\0\0\x7f" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_message m = { 0 };

        if (dz_message_read((dz_slice){ (const uint8_t *) rows[i].bytes, rows[i].n }, &m, NULL) !=
            DZ_E_MALFORMED)
            fail_msg("%s is taken", rows[i].what);
    }
}

static void long_texts_are_refused(void **state) {
    (void) state;
    for (unsigned i = 0; i < 2; i++) {
        const size_t most = i ? DZ_MESSAGE_DETAIL_MAX : DZ_MESSAGE_SOURCE_MAX;

        for (size_t n = most; n <= most + 1; n++) {
            dz_autobuf dz_buf bytes = { 0 };
            dz_message m = { 0 };

            dz_buf_put(&bytes, "\x14\1\1\0", 4);
            if (i)
                dz_buf_put_u8(&bytes, 0);
            dz_buf_put_varint(&bytes, n);
            for (size_t k = 0; k < n; k++)
                dz_buf_put_u8(&bytes, 'x');
            if (!i)
                dz_buf_put_u8(&bytes, 0);
            assert_int_equal(dz_message_read(dz_buf_slice(&bytes), &m, NULL),
                             n == most ? DZ_OK : DZ_E_MALFORMED);
        }
    }
}

/* --- packets ---------------------------------------------------------------------------------- */

struct pair {
    int here, there;
};

static int open_pair(void **state) {
    static struct pair p;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    p = (struct pair){ fds[0], fds[1] };
    *state = &p;
    return 0;
}

static int close_pair(void **state) {
    struct pair *p = *state;

    dz_close_at(&p->here);
    dz_close_at(&p->there);
    return 0;
}

static void a_descriptor_goes_with_its_message(void **state) {
    struct pair *p = *state;
    dz_autoclose int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct stat sent, came;
    dz_message m = { 0 };
    int fd = -1;

    assert_int_equal(dz_message_send(p->here, &samples[0], null, NULL), DZ_OK);
    assert_int_equal(dz_message_send(p->here, &samples[1], -1, NULL), DZ_OK);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_OK);
    assert_int_equal(m.kind, DZ_MESSAGE_CONFIG);
    assert_true(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(fstat(fd, &came), 0);
    assert_int_equal(fstat(null, &sent), 0);
    assert_int_equal(came.st_rdev, sent.st_rdev);
    dz_close_at(&fd);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_OK);
    assert_int_equal(m.kind, DZ_MESSAGE_ENDED);
    assert_int_equal(fd, -1);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_E_BUSY);
}

static int open_descriptors(void) {
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void descriptors_that_nobody_asked_for_are_not_kept(void **state) {
    struct pair *p = *state;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = { .head = { .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(3 * sizeof(int)) } };
    const int three[3] = { 0, 1, 2 };
    struct iovec part = { (char[]){ 3 }, 1 };
    const struct msghdr packet = { .msg_iov = &part,
                                   .msg_iovlen = 1,
                                   .msg_control = control.bytes,
                                   .msg_controllen = sizeof control.bytes };
    int before = open_descriptors(), fd = -1;
    dz_message m = { 0 };

    memcpy(CMSG_DATA(&control.head), three, sizeof three);
    assert_int_equal(sendmsg(p->here, &packet, 0), 1);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_OK);
    dz_close_at(&fd);
    assert_int_equal(open_descriptors(), before);
    ((char *) part.iov_base)[0] = 99; /* nor with a message that is refused */
    assert_int_equal(sendmsg(p->here, &packet, 0), 1);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_E_MALFORMED);
    assert_int_equal(open_descriptors(), before);
}

static void the_other_may_be_gone_or_not_reading(void **state) {
    struct pair *p = *state;
    char big[DZ_MESSAGE_MAX + 1] = { DZ_MESSAGE_LEAVE };
    dz_status s = DZ_OK;
    dz_message m = { 0 };
    int fd = -1;

    assert_int_equal(send(p->here, big, sizeof big, 0), sizeof big);
    assert_int_equal(dz_message_receive(p->there, &m, &fd, NULL), DZ_E_MALFORMED);
    for (unsigned i = 0; i < 1000000 && s == DZ_OK; i++)
        s = dz_message_send(p->here, &samples[9], -1, NULL);
    assert_int_equal(s, DZ_E_BUSY);
    dz_close_at(&p->there);
    p->there = -1;
    assert_int_equal(dz_message_send(p->here, &samples[9], -1, NULL), DZ_E_CLOSED);
    assert_int_equal(dz_message_receive(p->here, &m, &fd, NULL), DZ_E_CLOSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back_as_it_was),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(long_texts_are_refused),
        cmocka_unit_test_setup_teardown(a_descriptor_goes_with_its_message, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(descriptors_that_nobody_asked_for_are_not_kept, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(the_other_may_be_gone_or_not_reading, open_pair,
                                        close_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
