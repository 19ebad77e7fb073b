/* Memory that runs out while a manifest is built: the builder says so, every time.  A snapshot that
 * is reported as kept has all its nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "crypto/keys.h"
#include "store/manifest.h"
#include "tests/fault/fault_alloc.h"

enum { ENTRIES = 6000 }; /* three levels of nodes */

static dz_status hash_only(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id,
                           dz_err *err) {
    (void) ctx;
    (void) kind;
    (void) err;
    dz_sha256(bytes, ret_id->b);
    return DZ_OK;
}

static dz_status build(dz_manifest_root *ret_root) {
    static const uint8_t key[32];
    const struct dz_sink sink = { .put = hash_only };
    DZ_AUTO(dz_manifest_builder) b = NULL;

    DZ_TRY(dz_manifest_builder_new(&sink, key, 1, &b, NULL));
    for (int i = 0; i < ENTRIES; i++) {
        char path[16];
        int n = snprintf(path, sizeof path, "f%06d", i);
        dz_entry e = { .path = { (const uint8_t *) path, (size_t) n },
                       .type = DZ_ENTRY_FIFO,
                       .mode = 0644 };
        DZ_TRY(dz_manifest_builder_add(b, &e, NULL));
    }
    return dz_manifest_builder_finish(b, ret_root, NULL);
}

static void every_allocation_fails_once(void **state) {
    dz_manifest_root whole = { 0 };
    long n = 0, told = 0;

    (void) state;
    assert_int_equal(build(&whole), DZ_OK);
    assert_int_equal(whole.entries, ENTRIES);
    for (bool refused = true; refused; n++) {
        dz_manifest_root root = { 0 };
        dz_status s;

        fault_alloc_arm(n);
        s = build(&root);
        refused = fault_alloc_disarm();
        told += s == DZ_E_NOMEM;
        if (s != DZ_OK) {
            assert_int_equal(s, DZ_E_NOMEM);
            assert_true(refused);
        } else { /* what was refused was not needed after all: for a level above the root */
            assert_memory_equal(&root.node, &whole.node, sizeof root.node);
            assert_memory_equal(&root.ref, &whole.ref, sizeof root.ref);
        }
    }
    assert_true(told > 10);
    print_message("each of %ld allocations was refused once; %ld were told\n", n - 1, told);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once) };

    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests_name("a manifest when memory runs out", tests, NULL, NULL);
}
