/* tests/unit/recover/kept_tree.h -- a snapshot made of rows, in memory: what restore, export and
 * mount read in tests.
 *
 *   rows ─▶ manifest builder ─▶ objects in memory ─▶ supply
 *
 * Aborts when anything fails. */
#pragma once

#include "core/cleanup.h"
#include "recover/supply.h"
#include "store/entry.h"

struct kept_tree;

struct kept_tree *kept_new(void);
void kept_free(struct kept_tree *k); /* NULL is fine */
DZ_DEFINE_AUTO(kept_tree, kept_free)

/* One entry; rows may come in any order.  Owner is whoever runs the test, mtime 1e9 + 123456789
 * ns.  The row is borrowed until the next call. */
struct kept_row {
    char *path; /* owned by the tree */
    size_t path_len;
    dz_entry e;        /* change at will; path and fields are set by the tree */
    dz_buf fields[16]; /* values by tag; a tag is present when data is not NULL */
};
struct kept_row *kept_add(struct kept_tree *k, const char *path, enum dz_entry_type type,
                          unsigned mode);
struct kept_row *kept_add_n(struct kept_tree *k, const char *path, size_t len,
                            enum dz_entry_type type, unsigned mode);
/* Content in chunks of 16 KiB; sets the size, unless the row has extents. */
void kept_content(struct kept_tree *k, struct kept_row *row, const void *bytes, size_t len);
void kept_text(struct kept_tree *k, struct kept_row *row, const char *text);
void kept_target(struct kept_row *row, const char *target);
void kept_xattr(struct kept_row *row, const char *name, const void *value, size_t len);
void kept_link(struct kept_row *row, uint8_t identity);
void kept_rdev(struct kept_row *row, unsigned major, unsigned minor);
void kept_extents(struct kept_row *row, uint64_t size, const uint64_t *pairs, size_t n_pairs);

/* Builds the manifest of all rows so far; NULL takes them back only with the tree. */
struct dz_supply kept_supply(struct kept_tree *k);
const dz_manifest_root *kept_root(const struct kept_tree *k);

/* The chunk that is all of `bytes` cannot be had any more. */
void kept_damage(struct kept_tree *k, const void *bytes, size_t len);
/* Every manifest node but the root is lost. */
void kept_lose_nodes(struct kept_tree *k);
