/* Several writers of one vault publish at the same time, also under the same name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/durable.h"

enum { WRITERS = 4, NAMES = 25 };

struct writer {
    int dirfd, tmpfd;
    uint8_t letter;       /* what this writer's files hold */
    unsigned won, lost;   /* names it published; names that were taken */
    dz_status unexpected; /* anything but these two */
};

/* Everybody tries every name, so each name is fought for. */
static void *publish_all(void *arg) {
    struct writer *w = arg;
    char name[16];

    for (unsigned i = 0; i < NAMES; i++) {
        dz_status s;

        (void) snprintf(name, sizeof name, "%u", i);
        s = dz_durable_publish(w->tmpfd, w->dirfd, name, (dz_slice){ &w->letter, 1 }, NULL);
        if (s == DZ_OK)
            w->won++;
        else if (s == DZ_E_EXISTS)
            w->lost++;
        else
            w->unexpected = s;
    }
    return NULL;
}

static void each_name_has_exactly_one_winner(void **state) {
    char top[] = "/tmp/dozo-threads-XXXXXX";
    dz_autoclose int dirfd = -1, tmpfd = -1;
    struct writer writers[WRITERS] = { 0 };
    unsigned won = 0, held[WRITERS] = { 0 };
    pthread_t threads[WRITERS];
    char name[16];

    (void) state;
    assert_non_null(mkdtemp(top));
    dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dirfd >= 0);
    assert_int_equal(dz_durable_mkdir(dirfd, "tmp", 0700, NULL), DZ_OK);
    tmpfd = openat(dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(tmpfd >= 0);

    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){ dirfd, tmpfd, (uint8_t) i, 0, 0, DZ_OK };
        assert_int_equal(pthread_create(&threads[i], NULL, publish_all, &writers[i]), 0);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].unexpected, DZ_OK);
        assert_int_equal(writers[i].won + writers[i].lost, NAMES);
        won += writers[i].won;
    }
    assert_int_equal(won, NAMES);

    /* Each file holds what its winner wrote, and the losers left nothing behind. */
    for (unsigned i = 0; i < NAMES; i++) {
        dz_autobuf dz_buf content = { 0 };

        (void) snprintf(name, sizeof name, "%u", i);
        assert_int_equal(dz_read_file(dirfd, name, 1, &content, NULL), DZ_OK);
        assert_int_equal(content.len, 1);
        assert_in_range(content.data[0], 0, WRITERS - 1);
        held[content.data[0]]++;
        assert_int_equal(unlinkat(dirfd, name, 0), 0);
    }
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(held[i], writers[i].won);
    assert_int_equal(unlinkat(dirfd, "tmp", AT_REMOVEDIR), 0);
    assert_int_equal(rmdir(top), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_name_has_exactly_one_winner) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
