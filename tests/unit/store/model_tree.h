/* tests/unit/store/model_tree.h -- what a manifest must hold: a sorted array, and random ones.
 *
 * Also the small random generator of these tests: a failure is repeated with its printed seed. */
#pragma once

#include "core/cleanup.h"
#include "store/entry.h"
#include "store/manifest.h"
#include "tests/unit/store/memory_objects.h"

struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n - 1 */

/* Prints the seed.  DZ_TEST_SEED in the environment takes the place of `seed`. */
struct rng rng_start(const char *what, uint64_t seed);

struct model_entry {
    dz_entry e; /* path and fields point to the two blocks below */
    uint8_t *path;
    uint8_t *fields;
};

struct model_tree {
    struct model_entry *entries; /* in tree order */
    size_t count, cap;
};

void model_tree_done(struct model_tree *t);

/* Index of the first entry at or after the path. */
size_t model_tree_find(const struct model_tree *t, dz_slice path);
/* Adds or replaces (everything is copied). */
void model_tree_set(struct model_tree *t, const dz_entry *e);
void model_tree_remove(struct model_tree *t, size_t at);

/* A random path: few names, so that directories fill and paths meet; sometimes odd bytes, names of
 * 255 bytes, or long paths. */
void random_path(struct rng *r, dz_buf *to);
/* A random entry with this path: of any type, sometimes with contents, xattrs and features. */
void random_entry_set(struct model_tree *t, struct rng *r, dz_slice path);
/* Inserts, removes or changes one entry. */
void random_change(struct model_tree *t, struct rng *r);

enum { MODEL_SEED = 0x5eed };
extern const uint8_t model_name_key[32];

/* Builds the manifest; any failure ends the test. */
dz_manifest_root model_tree_build(const struct model_tree *t, struct dz_memory_objects *m);

bool entries_equal(const dz_entry *a, const dz_entry *b);
