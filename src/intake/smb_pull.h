/* intake/smb_pull.h -- a share becomes a snapshot: dozo-smb reads it, we keep it.
 *
 *   [pull] ─▶ job ─▶ dozo-smb ─▶ server
 *   vault ◀─ take ◀─ socket pair ◀─┘
 *
 * Thread-safe, but for the process's children; a pull belongs to the calling thread, and dozo-smb
 * dies with it.  The caller ignores SIGPIPE. */
#pragma once

#include "intake/smb_job.h"
#include "store/vault.h"

struct dz_smb_pull_how {
    const char *program; /* dozo-smb; borrowed, as is all that follows */
    const char *source;
    const char *where;
    const struct dz_smb_login *login;
    enum dz_smb_guard guard;
    const char *const *excludes; /* as dz_smb_tree_new() */
    size_t n_excludes;
    bool reread;
};

/* One snapshot, or none: what came before it broke off need not come again.  The caller releases
 * *ret_commit, which has the sealed part.  As dz_smb_open() and dz_take_serve(); DZ_E_WORKER
 * (dozo-smb died). */
dz_status dz_smb_pull(struct dz_vault *v, const struct dz_smb_pull_how *how,
                      struct dz_commit *ret_commit, dz_err *err) DZ_MUST_CHECK;
