/* Places as people write them, and whose they are. */
#include "net/listen.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void what_is_no_place_is_refused(void **state) {
    static const char *const bad[] = { "", ":", "a:", ":1", "1", "::1", "::1:80", "[]:1", "[::1]" };
    dz_err err = { 0 };
    int fd = -1;

    (void) state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dz_listen_at(bad[i], &fd, &err), DZ_E_USAGE);
        assert_int_equal(dz_connect_to(bad[i], 1, &fd, &err), DZ_E_USAGE);
    }
    assert_int_equal(dz_listen_at("127.0.0.1:port", &fd, &err), DZ_E_IO);
    assert_int_equal(fd, -1);
}

static void who_listens_is_reached(void **state) {
    struct sockaddr_storage place = { 0 };
    socklen_t len = sizeof place;
    char text[DZ_PLACE_TEXT];
    int listens = -1, reaches = -1;

    (void) state;
    assert_int_equal(dz_listen_at("127.0.0.1:0", &listens, NULL), DZ_OK);
    assert_int_equal(getsockname(listens, (struct sockaddr *) &place, &len), 0);
    dz_place_text(&place, text);
    assert_int_equal(strncmp(text, "127.0.0.1:", 10), 0);
    assert_int_equal(dz_connect_to(text, 10000, &reaches, NULL), DZ_OK);
    (void) close(reaches);
    (void) close(listens);
    assert_int_equal(dz_connect_to(text, 10000, &reaches, NULL), DZ_E_IO); /* nobody any more */
}

static struct dz_place_key key_of(const char *text) {
    struct sockaddr_storage place = { 0 };
    struct sockaddr_in four = { .sin_family = AF_INET };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        memcpy(&place, &four, sizeof four);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
        memcpy(&place, &six, sizeof six);
    }
    return dz_place_key(&place);
}

static void addresses_of_one_machine_are_one(void **state) {
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { "192.0.2.1", "192.0.2.1", true },
        { "192.0.2.1", "192.0.2.2", false },
        { "192.0.2.1", "::ffff:192.0.2.1", true },
        { "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true },
        { "2001:db8:0:1::1", "2001:db8:0:2::1", false },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_place_key a = key_of(rows[i].a), b = key_of(rows[i].b);
        assert_int_equal(memcmp(&a, &b, sizeof a) == 0, rows[i].same);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_place_is_refused),
        cmocka_unit_test(who_listens_is_reached),
        cmocka_unit_test(addresses_of_one_machine_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
