/* A pack that was given can be read again, however small and many its objects are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include "store/pack.h"
#include "store/segment.h"

static char top[] = "/tmp/dozo-pack-XXXXXX";

static void test_a_pack_of_tiny_objects_is_full_before_its_table_is_too_long(void **state) {
    static dz_name names[DZ_SEGMENT_OBJECTS_MAX];
    static uint32_t lengths[DZ_SEGMENT_OBJECTS_MAX];
    static const uint8_t segment[1024];
    const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    const dz_vault_id id = { { 2 } };
    DZ_AUTO(dz_host_keys) host = NULL;
    DZ_AUTO(dz_pack_writer) w = NULL;
    dz_autoclose int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dz_pack_table t = { 0 };
    dz_err err = { 0 };
    dz_pack_id pack;
    unsigned added = 0, most = 0;

    (void) state;
    assert_int_equal(dz_keys_derive(root, &id, 1, &host, NULL, NULL), DZ_OK);
    assert_int_equal(dz_pack_writer_new(dir, host, &w, NULL), DZ_OK);
    for (size_t i = 0; i < DZ_SEGMENT_OBJECTS_MAX; i++)
        lengths[i] = 8;
    for (; added < 100; added++) {
        if (most == 0 && dz_pack_writer_full(w))
            most = added;
        if (dz_pack_writer_add(w, DZ_KIND_DATA, (dz_slice){ segment, sizeof segment }, names,
                               lengths, DZ_SEGMENT_OBJECTS_MAX, NULL) != DZ_OK)
            break;
    }
    assert_true(most > 0 && most < added && added < 100); /* it says so, and means it */
    assert_int_equal(dz_pack_writer_finish(DZ_TAKE(w), dir, &pack, NULL, NULL), DZ_OK);
    if (dz_pack_table_load(dir, &pack, host, &t, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(t.n_names, (size_t) added * DZ_SEGMENT_OBJECTS_MAX);
    dz_pack_table_release(&t);
}

static void test_a_planted_fifo_is_no_pack_and_holds_nobody(void **state) {
    static const char name[] = "1111111111111111111111111111111111111111111111111111111111111111";
    const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    const dz_vault_id id = { { 2 } };
    DZ_AUTO(dz_host_keys) host = NULL;
    dz_autoclose int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dz_pack_table t;
    dz_pack_id pack;

    (void) state;
    memset(&pack, 0x11, sizeof pack);
    assert_int_equal(dz_keys_derive(root, &id, 1, &host, NULL, NULL), DZ_OK);
    assert_int_equal(mkfifoat(dir, name, 0600), 0);
    assert_int_equal(dz_pack_table_load(dir, &pack, host, &t, NULL), DZ_E_CORRUPT);
    assert_int_equal(unlinkat(dir, name, 0), 0);
}

static int setup(void **state) {
    (void) state;
    return sodium_init() >= 0 && mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state) {
    char command[64];
    (void) state;
    (void) snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pack_of_tiny_objects_is_full_before_its_table_is_too_long),
        cmocka_unit_test(test_a_planted_fifo_is_no_pack_and_holds_nobody),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
