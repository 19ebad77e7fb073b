/* recover/mount.h -- a snapshot as a read-only file system (FUSE).
 *
 *   kernel ─▶ lookup, readdir, read ─▶ [mount] ─▶ cursors and chunks of the supply
 *
 * Attributes are exact; nothing ever changes, so the kernel may keep what it has read for as long
 * as it likes.  A damaged chunk is EIO for the read that needs it and for nothing else. */
#pragma once

#include "core/error.h"
#include "recover/supply.h"

struct dz_mount_how {
    const char *at;   /* an existing directory */
    const char *name; /* shown as the file system's source, e.g. the snapshot's id; or NULL */
    bool allow_other; /* users other than the one who mounts may read, as modes say */
    void (*ready)(void *ctx); /* may be NULL; called once the mount is there */
    void *ctx;
};

/* Serves until the file system is unmounted or SIGINT, SIGTERM or SIGHUP arrives.  `supply` is
 * borrowed for the call.  One mount at a time in a process: it takes the signals.
 * DZ_E_IO (no /dev/fuse, not permitted, no such directory), DZ_E_NOMEM, DZ_E_CORRUPT (the root of
 * the tree is lost). */
dz_status dz_mount(const struct dz_supply *supply, const dz_manifest_root *root,
                   const struct dz_mount_how *how, dz_err *err) DZ_MUST_CHECK;
