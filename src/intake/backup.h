/* intake/backup.h -- one backup of local trees: from paths to a snapshot.
 *
 *   [walker] ─▶ batches, spans ─▶ [workers: cache, read, chunk, seal] ─▶ in order ─▶ [assembler]
 *                                                                     manifest, cache, commit
 *
 * Works on a closed vault.  The calling thread assembles; the others are joined before it returns.
 */
#pragma once

#include "store/commit.h"
#include "store/vault.h"

struct dz_backup_progress {
    uint64_t entries; /* put into the manifest so far */
    uint64_t files;
    uint64_t bytes;      /* of the files among them */
    uint64_t read_bytes; /* that had to be read */
};

struct dz_backup_how {
    const char *source; /* dz_source_name_ok() */
    const char *const *paths;
    size_t n_paths;
    const char *const *excludes; /* intake/scan.h */
    size_t n_excludes;
    bool one_file_system;
    bool reread;      /* trust no cache */
    unsigned threads; /* workers; 0: one per processor */
    /* called now and then by the calling thread; may be NULL */
    void (*progress)(void *ctx, const struct dz_backup_progress *p);
    void *ctx;
};

/* Makes one snapshot.  What could not be read is counted and named in the commit, which the caller
 * releases; a snapshot with such problems is still a snapshot.
 * DZ_E_NOT_FOUND (a path that is not there), DZ_E_USAGE, DZ_E_IO, DZ_E_NOMEM, DZ_E_LIMIT: nothing
 * was kept. */
dz_status dz_backup_run(struct dz_vault *v, const struct dz_backup_how *how,
                        struct dz_commit *ret_commit, dz_err *err) DZ_MUST_CHECK;
