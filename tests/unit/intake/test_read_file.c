/* Files that change while they are read: attributes that grow between two calls, sparse files that
 * end early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/types.h>

#include "intake/read_file.h"

/* An attribute that is empty when its length is asked for, and long when it is read. */
enum { GROWN = 4096 };
ssize_t __wrap_flistxattr(int fd, char *list, size_t room);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t room);

ssize_t __wrap_flistxattr(int fd, char *list, size_t room) {
    (void) fd;
    if (room < 7)
        return 7;
    memcpy(list, "user.a", 7);
    return 7;
}

ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t room) {
    static unsigned calls;

    (void) fd;
    (void) name;
    if (calls++ == 0)
        return 0;
    if (room == 0)
        return GROWN; /* as the kernel: a length, and nothing copied */
    if (room < GROWN) {
        errno = ERANGE;
        return -1;
    }
    memset(value, 0, GROWN);
    return GROWN;
}

static void test_an_attribute_that_grows_is_not_read_beyond_its_memory(void **state) {
    dz_autobuf dz_buf fields = { 0 };

    (void) state;
    assert_int_equal(dz_xattrs_put(3, -1, "name", &fields), ERANGE);
    assert_int_equal(fields.len, 0);
}

/* clang-format off */
static const struct row {
    const char *what;
    bool sparse;
    uint64_t content; /* bytes that were there */
    uint64_t size, n, last_length;
} rows[] = { /* data at 0..100 and 1000..1100 of 2000 */
    { "a file without holes is as long as what was read",       false, 150,  150, 0,   0 },
    { "a cut in an extent ends the file there, at its place",    true,  150, 1050, 2,  50 },
    { "a cut at an extent's end drops those behind it",          true,  100,  100, 1, 100 },
    { "a cut in the first extent leaves no hole",                true,   30,   30, 1,  30 },
    { "a file with nothing left is empty",                       true,    0,    0, 0,   0 },
};
/* clang-format on */

static void test_files_that_end_early(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct dz_extents x = { .size = 2000, .content = 200 };

        print_message("%s\n", r->what);
        if (r->sparse) {
            x.list = calloc(2, sizeof *x.list);
            assert_non_null(x.list);
            x.list[0] = (struct dz_extent){ .content = 0, .file = 0, .length = 100 };
            x.list[1] = (struct dz_extent){ .content = 100, .file = 1000, .length = 100 };
            x.n = 2;
        }
        dz_extents_cut(&x, r->content);
        assert_int_equal(x.size, r->size);
        assert_int_equal(x.content, r->content);
        assert_int_equal(x.n, r->n);
        if (x.n)
            assert_int_equal(x.list[x.n - 1].length, r->last_length);
        dz_extents_release(&x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_attribute_that_grows_is_not_read_beyond_its_memory),
        cmocka_unit_test(test_files_that_end_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
