/* What the service manager is told, by a manager of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "daemon/notify_socket.h"

static void the_manager_hears_it(void **state) {
    char dir[] = "/tmp/dozo-notify-XXXXXX", path[64], name[64];

    (void) state;
    assert_non_null(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/socket", dir);
    (void) snprintf(name, sizeof name, "@%s", dir);
    for (unsigned abstract = 0; abstract < 2; abstract++) {
        dz_autoclose int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        dz_autoclose int ours = -1;
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        const char *where = abstract ? name : path;
        char heard[256] = "";

        memcpy(at.sun_path, where, strlen(where));
        if (abstract)
            at.sun_path[0] = '\0';
        assert_int_equal(bind(manager, (const struct sockaddr *) &at,
                              (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(where))),
                         0);
        assert_int_equal(setenv("NOTIFY_SOCKET", where, 1), 0);
        ours = dz_notify_open();
        assert_true(ours >= 0);
        assert_null(getenv("NOTIFY_SOCKET"));
        dz_notify(ours, "READY=1");
        assert_int_equal(recv(manager, heard, sizeof heard - 1, 0), 7);
        assert_string_equal(heard, "READY=1");
        dz_notify_reloading(ours);
        assert_true(recv(manager, heard, sizeof heard - 1, 0) > 0);
        assert_memory_equal(heard, "RELOADING=1\nMONOTONIC_USEC=", 27);
        dz_close_at(&manager);
        manager = -1;
        dz_notify(ours, "READY=1"); /* nobody listens any more */
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void without_a_manager_nothing_is_told(void **state) {
    static const char *const rows[] = {
        NULL,
        "",
        "relative",
        "@",
        "/nowhere/at/all",
        "/0123456789012345678901234567890123456789012345678901234567"
        "8901234567890123456789012345678901234567890123456789"
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(rows[i] ? setenv("NOTIFY_SOCKET", rows[i], 1) : unsetenv("NOTIFY_SOCKET"),
                         0);
        assert_int_equal(dz_notify_open(), -1);
        assert_null(getenv("NOTIFY_SOCKET"));
    }
    dz_notify(-1, "READY=1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manager_hears_it),
        cmocka_unit_test(without_a_manager_nothing_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
