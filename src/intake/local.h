/* intake/local.h -- one object of a local tree, read into its entry.
 *
 *   dz_scan_item ─▶ [local: open, look again, attributes] ─▶ entry      content: intake/read_file.h
 *
 * What goes wrong with an object is its own problem, kept with it: a tree that changes while it is
 * read is the rule.  A dz_local belongs to one thread at a time. */
#pragma once

#include "crypto/keys.h"
#include "intake/read_file.h"
#include "intake/scan.h"

/* The same for all objects of a run. */
struct dz_local_how {
    uint8_t secret[DZ_KEY_BYTES]; /* names inodes: the same for all runs of a source */
    int64_t began_us;             /* of the run, UTC since 1970 */
};

struct dz_local {
    struct stat st;
    uint64_t fs;
    int problem;    /* errno, 0: none */
    uint8_t what;   /* enum dz_problem_kind */
    uint32_t flags; /* enum dz_entry_flag */
    bool gone;      /* not in the manifest */
    bool remember;  /* as it was read it will be while its stat stays the same */
};
struct dz_local dz_local_of(const struct dz_scan_item *from);

/* Notes what went wrong; what is unreadable counts for more than what is only partly kept. */
void dz_local_problem(struct dz_local *l, uint8_t what, int e);

/* Not touched so lately that the same time stamp could hide another change. */
bool dz_local_settled(const struct dz_local_how *how, const struct stat *st);
/* Size and times are the same. */
bool dz_local_same(const struct stat *a, const struct stat *b);

/* Opens a regular file, never through a link, if it can without touching its access time, and looks
 * at it again.  -1 when that cannot be: `l` says why. */
int dz_local_open(struct dz_local *l, const struct dz_dir *dir, const char *name);
/* After `read` of `wanted` bytes of content; `failed` is the errno of a read, or 0: was the file
 * the same all the time?  If not its content may mix two states, and that is said. */
void dz_local_finish(const struct dz_local_how *how, struct dz_local *l, int fd, uint64_t read,
                     uint64_t wanted, int failed);
/* Appends the fields of a file from its extents to its link, in the order of tags. */
void dz_local_put_file(const struct dz_local_how *how, struct dz_local *l, const char *name, int fd,
                       const struct dz_extents *x, dz_buf *fields);

/* Appends all fields of whatever is no regular file. */
void dz_local_put_other(const struct dz_local_how *how, struct dz_local *l,
                        const struct dz_dir *dir, const char *name, dz_buf *fields);

/* The entry, which borrows `path` and `fields`. */
dz_entry dz_local_entry(const struct dz_local *l, dz_slice path, dz_slice fields);
