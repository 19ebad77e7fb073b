/* recover/mount_tree.h -- what the kernel knows of a mounted snapshot, and cursors to learn more.
 *
 *   (parent, name) ─▶ [node, as long as the kernel or a child refers to it] ─▶ path ─▶ cursor
 *
 * A node holds attributes only; content, links and xattrs are looked up when they are asked for.
 * All functions may be called by many threads. */
#pragma once

#include <sys/stat.h>

#include "recover/supply.h"
#include "store/cursor.h"

struct dz_node {
    struct dz_node *parent; /* NULL: the root */
    struct dz_node *next;   /* in its bucket */
    uint64_t refs;          /* the kernel's lookups, and children */
    uint64_t hash;
    struct stat st;
    bool has_xattrs, unreadable;
    char name[]; /* NUL-terminated */
};

struct dz_mount_tree;

/* `supply` is borrowed; `root` copied.  The root node has one reference of the tree's own.
 * DZ_E_CORRUPT, DZ_E_NOMEM, the supply's. */
dz_status dz_mount_tree_new(const struct dz_supply *supply, const dz_manifest_root *root,
                            struct dz_mount_tree **ret_tree, dz_err *err) DZ_MUST_CHECK;
void dz_mount_tree_free(struct dz_mount_tree *t); /* NULL is fine */
DZ_DEFINE_AUTO(dz_mount_tree, dz_mount_tree_free)

struct dz_node *dz_mount_tree_root(struct dz_mount_tree *t);

/* The child's node, with one more reference: known already, or found in the snapshot.
 * DZ_E_NOT_FOUND, DZ_E_NOMEM, the cursor's. */
dz_status dz_mount_tree_lookup(struct dz_mount_tree *t, struct dz_node *parent, const char *name,
                               struct dz_node **ret_node, dz_err *err) DZ_MUST_CHECK;
/* The same where the entry is at hand. */
dz_status dz_mount_tree_enter(struct dz_mount_tree *t, struct dz_node *parent, const char *name,
                              const dz_entry *e, struct dz_node **ret_node,
                              dz_err *err) DZ_MUST_CHECK;
/* Gives back n references. */
void dz_mount_tree_forget(struct dz_mount_tree *t, struct dz_node *n, uint64_t refs);

/* Appends the node's path. */
void dz_mount_tree_path(const struct dz_node *n, dz_buf *to);
/* The number that stands for child `name` in st_ino and d_ino. */
uint64_t dz_mount_tree_ino(const struct dz_mount_tree *t, const struct dz_node *parent,
                           const char *name, const dz_entry *e);

/* A cursor of one's own, until it is given back. */
dz_status dz_mount_tree_cursor(struct dz_mount_tree *t, struct dz_cursor **ret_cursor,
                               dz_err *err) DZ_MUST_CHECK;
void dz_mount_tree_cursor_back(struct dz_mount_tree *t, struct dz_cursor *c);

/* Finds the node's entry by a cursor taken for it: ret_entry is borrowed until the caller gives
 * *ret_cursor back. */
dz_status dz_mount_tree_entry(struct dz_mount_tree *t, const struct dz_node *n,
                              struct dz_cursor **ret_cursor, dz_entry *ret_entry,
                              dz_err *err) DZ_MUST_CHECK;
