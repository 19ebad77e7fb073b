/* intake/smb_tree.h -- walks a share in the order of a manifest.
 *
 *   dz_smb ─▶ [tree] ─▶ one item per file and directory, in tree order
 *
 * One directory is listed at a time; its names are sorted and kept until it has been walked, and so
 * are those of the directories above it: at most DZ_SMB_NAMES_MAX bytes in all.  Links and mounted
 * volumes (directories with a reparse point) are items, but never entered: they lead elsewhere, and
 * often in circles.  What a server says is checked: a name that could stand in no path, or twice in
 * a directory, is an item with a problem.  A tree belongs to one thread. */
#pragma once

#include "intake/smb_share.h"

enum {
    DZ_SMB_NAMES_MAX = 512 << 20, /* bytes of names and what is known of them */
    DZ_SMB_DEPTH_MAX = 4096,      /* directories inside each other */
};

struct dz_smb_entry {
    dz_slice path; /* as in the manifest; NUL behind; borrowed until the next call */
    const char *name;
    struct dz_smb_item is; /* without a name */
    bool dir;
    /* of a directory: it could not be listed, ELOOP: it was not entered; of a name that can stand
     * in no path: EILSEQ, and `path` is its directory's; else 0 */
    int problem;
};

struct dz_smb_tree;
/* The share and the globs are borrowed until the tree is freed.  Globs are as in intake/scan.h, but
 * upper and lower case are the same, and paths begin with '/' at the root of the tree.
 * DZ_E_NOMEM. */
dz_status dz_smb_tree_new(struct dz_smb *smb, const char *const *excludes, size_t n_excludes,
                          struct dz_smb_tree **ret_tree, dz_err *err) DZ_MUST_CHECK;
void dz_smb_tree_free(struct dz_smb_tree *t); /* NULL is fine */
DZ_DEFINE_AUTO(dz_smb_tree, dz_smb_tree_free)

/* The next item, the root (with an empty path) first; *ret_end after the last.  What cannot be read
 * is an item too.  DZ_E_NOMEM, DZ_E_IO (the connection is lost). */
dz_status dz_smb_tree_next(struct dz_smb_tree *t, struct dz_smb_entry *ret_entry, bool *ret_end,
                           dz_err *err) DZ_MUST_CHECK;
