/* intake/scan.h -- walks local trees in the order of a manifest.
 *
 *   paths, excludes ─▶ [scan] ─▶ one item per file-system object, in tree order
 *
 * Every directory is opened relative to its parent and never through a symbolic link, so a tree
 * that is renamed or swapped under us cannot lead elsewhere, and paths may be of any length.  An
 * item's directory stays open as long as somebody holds it.  A scan belongs to one thread. */
#pragma once

#include <stdatomic.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/error.h"
#include "core/slice.h"

/* An open directory, shared by the scan and by whoever still reads files in it.  Thread-safe. */
struct dz_dir {
    int fd;
    atomic_uint refs;
    atomic_uint *open_count; /* of the scan: how many are open */
};
struct dz_dir *dz_dir_ref(struct dz_dir *d);
void dz_dir_unref(struct dz_dir *d); /* closes with the last reference; NULL is fine */

struct dz_scan_how {
    const char *const *paths; /* what to keep; symbolic links named here are followed */
    size_t n_paths;
    const char *const *excludes; /* globs: without '/' against names, else against absolute
                                     paths; the directories above `paths` are never left out */
    size_t n_excludes;
    /* Does not enter what is mounted below a path, unless that was named too (or leads to what
     * was); a path that is a mount point itself is entered. */
    bool one_file_system;
    size_t depth_max; /* directories inside each other that are entered; 0: 65536 */
    dev_t skip_dev;   /* a directory to leave out wherever it is met: the vault itself */
    ino_t skip_ino;
};

struct dz_scan_item {
    dz_slice path;    /* as in the manifest; NUL-terminated behind; borrowed until the next call */
    const char *name; /* the last component, borrowed like path */
    struct dz_dir *dir; /* its directory; borrowed, take a reference to keep it */
    struct stat st;
    uint64_t fs;      /* names the file system across reboots */
    bool mount_point; /* another file system than its directory's */
    int list_errno;   /* a directory whose content could not be listed (to its end): why; else 0 */
    bool gone;        /* not even stat worked: list_errno says why, st is empty */
};

struct dz_scan;
/* Resolves and sorts the paths.  DZ_E_NOT_FOUND (a path that is not there: named), DZ_E_IO,
 * DZ_E_NOMEM. */
dz_status dz_scan_new(const struct dz_scan_how *how, struct dz_scan **ret_scan,
                      dz_err *err) DZ_MUST_CHECK;
void dz_scan_free(struct dz_scan *s); /* NULL is fine; held directories stay open */
DZ_DEFINE_AUTO(dz_scan, dz_scan_free)

/* The next object; *ret_end after the last.  What cannot be read is an item too, never an end.
 * DZ_E_NOMEM, DZ_E_LIMIT (no more files may be open). */
dz_status dz_scan_next(struct dz_scan *s, struct dz_scan_item *ret_item, bool *ret_end,
                       dz_err *err) DZ_MUST_CHECK;

/* Directories open at the moment, by whomever.  Thread-safe. */
unsigned dz_scan_open_dirs(const struct dz_scan *s);

/* The resolved paths, absolute; borrowed until the scan is freed. */
size_t dz_scan_roots(const struct dz_scan *s, char *const **ret_roots);
