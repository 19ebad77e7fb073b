/* recover/restore.h -- gives a snapshot back as files, below one directory and never outside it.
 *
 *   cursor ─▶ [walker: makes directories] ─▶ jobs of consecutive files ─▶ [workers] ─▶ files
 *                                             last child done ─▶ directory's attributes set
 *
 * Whatever stands in the target may be hostile: every name is made relative to a directory that is
 * held open, directories are opened without following links, files are created and never opened.
 * What the rules are when something is there already, and how an interrupted restore goes on:
 * docs/design/restore.md.
 *
 * One restore runs at a time in a process: it sets the umask, and puts it back. */
#pragma once

#include "core/error.h"
#include "recover/supply.h"

enum dz_restore_problem {
    DZ_RESTORE_LEFT_OUT = 1, /* is not in the target */
    DZ_RESTORE_PARTIAL,      /* is there, but something could not be set */
    DZ_RESTORE_NOTE,         /* nothing is wrong: a socket, which only its program can make */
};

struct dz_restore_result {
    uint64_t files;    /* regular files made, names of hardlinks included */
    uint64_t bytes;    /* their sizes, each inode once */
    uint64_t dirs;     /* directories made or found */
    uint64_t others;   /* symlinks, FIFOs, devices made */
    uint64_t present;  /* files and others that were there already, complete */
    uint64_t sockets;  /* noted, not made */
    uint64_t unowned;  /* made, but the owner is whoever ran this: only root gives files away */
    uint64_t left_out; /* problems of kind LEFT_OUT */
    uint64_t partial;  /* problems of kind PARTIAL */
};

struct dz_restore_how {
    const dz_slice *paths; /* what to restore, with all below it; as in the manifest */
    size_t n_paths;        /* 0: everything */
    const char *to;        /* the target directory; made if only its last component is missing */
    unsigned strip;        /* leading components to drop from each path */
    bool overwrite;        /* replace what is in the way of a file (never a directory) */
    unsigned threads;      /* that write; 0: as many as CPUs */

    /* Both may be NULL; called by one thread at a time, any thread.
     * `what` is English for dz_text(), static.  `path` is the snapshot's, borrowed; it holds
     * whatever bytes the source had: escape it before it reaches a terminal. */
    void (*problem)(void *ctx, enum dz_restore_problem kind, dz_slice path, const char *what,
                    int sys_errno);
    void (*progress)(void *ctx, const struct dz_restore_result *so_far);
    void *ctx;
};

/* Restores, then syncs the target's file system.  DZ_OK means that every entry was restored or has
 * been named to how->problem: ask left_out and partial.  `supply` is borrowed for the call.
 *   DZ_E_IO       the target cannot be opened, or is full or read-only: nothing more could be done
 *   DZ_E_USAGE    a path of how->paths can be none (absolute, "..")
 *   DZ_E_NOMEM, DZ_E_CLOSED
 *   DZ_E_CORRUPT  the root of the tree is lost
 * After a failure the same call goes on where this one ended. */
dz_status dz_restore(const struct dz_supply *supply, const dz_manifest_root *root,
                     const struct dz_restore_how *how, struct dz_restore_result *ret_result,
                     dz_err *err) DZ_MUST_CHECK;
