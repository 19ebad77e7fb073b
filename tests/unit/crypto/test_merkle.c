/* Roots and proofs are those of RFC 6962; a proof for one thing proves no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hex.h"
#include "crypto/merkle.h"

/* The leaves and roots that implementations of RFC 6962 are checked with. */
static const struct {
    const char *name, *entry, *root;
} known[] = {
    { "the empty tree", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "one empty leaf", "", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
    { "two leaves", "00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125" },
    { "three leaves", "10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77" },
    { "four leaves", "2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" },
    { "five leaves", "3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4" },
    { "six leaves", "40414243",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef" },
    { "seven leaves", "5051525354555657",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c" },
    { "eight leaves", "606162636465666768696a6b6c6d6e6f",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328" },
};

enum { TREE_MAX = 70 };
static dz_merkle_hash leaves[TREE_MAX];

static dz_status node(void *ctx, unsigned level, uint64_t index, dz_merkle_hash *ret_hash,
                      dz_err *err) {
    uint64_t size = *(const uint64_t *) ctx;

    (void) err;
    assert_true(((index + 1) << level) <= size); /* only what such a tree has */
    *ret_hash = dz_merkle_fold(leaves + (index << level), (size_t) 1 << level);
    return DZ_OK;
}

static dz_merkle_hash root_of(uint64_t size) {
    struct dz_merkle_nodes nodes = { node, &size };
    dz_merkle_hash root, folded = size ? dz_merkle_fold(leaves, size) : dz_merkle_empty();

    assert_int_equal(dz_merkle_root(&nodes, size, &root, NULL), DZ_OK);
    assert_true(dz_merkle_eq(&root, &folded));
    return root;
}

static void roots_are_the_known_ones(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        dz_merkle_hash want, have;
        uint8_t entry[32];
        size_t len = strlen(known[i].entry) / 2;

        assert_true(dz_unhex(known[i].root, 64, want.b, 32));
        assert_true(dz_unhex(known[i].entry, 2 * len, entry, len));
        if (i > 0)
            leaves[i - 1] = dz_merkle_leaf((dz_slice){ entry, len });
        have = root_of(i);
        if (!dz_merkle_eq(&have, &want))
            fail_msg("%s", known[i].name);
    }
}

static void fill(void) {
    for (uint8_t i = 0; i < TREE_MAX; i++)
        leaves[i] = dz_merkle_leaf((dz_slice){ &i, 1 });
}

static void every_leaf_is_proved_and_no_other(void **state) {
    (void) state;
    fill();
    for (uint64_t size = 1; size <= TREE_MAX; size++) {
        dz_merkle_hash root = root_of(size);
        struct dz_merkle_nodes nodes = { node, &size };

        for (uint64_t i = 0; i < size; i++) {
            dz_merkle_proof p;
            size_t count;

            assert_int_equal(dz_merkle_prove_inclusion(&nodes, i, size, &p, NULL), DZ_OK);
            assert_true(dz_merkle_included(&leaves[i], i, size, &p, &root));
            for (uint64_t j = 0; j < size; j++)
                if (j != i)
                    assert_false(dz_merkle_included(&leaves[i], j, size, &p, &root));
            assert_false(dz_merkle_included(&leaves[i], size + i, size, &p, &root));
            count = p.count;
            for (size_t h = 0; h < count; h++) {
                p.hash[h].b[h] ^= 1;
                assert_false(dz_merkle_included(&leaves[i], i, size, &p, &root));
                p.hash[h].b[h] ^= 1;
            }
            p.count = count + 1;
            assert_false(dz_merkle_included(&leaves[i], i, size, &p, &root));
            p.count = count - 1;
            if (count > 0)
                assert_false(dz_merkle_included(&leaves[i], i, size, &p, &root));
        }
    }
}

static void every_growth_is_proved_and_no_other(void **state) {
    dz_merkle_hash other = dz_merkle_leaf(DZ_SLICE_LIT("another tree"));

    (void) state;
    fill();
    for (uint64_t size = 1; size <= TREE_MAX; size++) {
        dz_merkle_hash root = root_of(size), empty = dz_merkle_empty();
        struct dz_merkle_nodes nodes = { node, &size };
        dz_merkle_proof p = { 0 };

        assert_true(dz_merkle_consistent(0, &empty, size, &root, &p));
        assert_false(dz_merkle_consistent(0, &other, size, &root, &p));
        for (uint64_t old = 1; old <= size; old++) {
            dz_merkle_hash old_root = root_of(old);

            assert_int_equal(dz_merkle_prove_consistency(&nodes, old, size, &p, NULL), DZ_OK);
            assert_true(dz_merkle_consistent(old, &old_root, size, &root, &p));
            assert_false(dz_merkle_consistent(old, &other, size, &root, &p));
            assert_false(dz_merkle_consistent(old, &old_root, size, &other, &p));
            assert_false(dz_merkle_consistent(size + 1, &old_root, size, &root, &p));
            if (old < size)
                assert_false(dz_merkle_consistent(old + 1, &old_root, size, &root, &p));
            for (size_t h = 0; h < p.count; h++) {
                p.hash[h].b[h] ^= 1;
                assert_false(dz_merkle_consistent(old, &old_root, size, &root, &p));
                p.hash[h].b[h] ^= 1;
            }
            p.hash[p.count++] = other;
            assert_false(dz_merkle_consistent(old, &old_root, size, &root, &p));
        }
    }
}

static void questions_out_of_range_are_refused(void **state) {
    uint64_t size = 5;
    struct dz_merkle_nodes nodes = { node, &size };
    dz_merkle_proof p;

    (void) state;
    assert_int_equal(dz_merkle_prove_inclusion(&nodes, 5, 5, &p, NULL), DZ_E_USAGE);
    assert_int_equal(dz_merkle_prove_consistency(&nodes, 0, 5, &p, NULL), DZ_E_USAGE);
    assert_int_equal(dz_merkle_prove_consistency(&nodes, 6, 5, &p, NULL), DZ_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_are_the_known_ones),
        cmocka_unit_test(every_leaf_is_proved_and_no_other),
        cmocka_unit_test(every_growth_is_proved_and_no_other),
        cmocka_unit_test(questions_out_of_range_are_refused),
    };

    return cmocka_run_group_tests_name("Merkle tree", tests, NULL, NULL);
}
