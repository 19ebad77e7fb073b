/* store/tlog.h -- the transparency log on disk: C2SP tlog-tiles files and a signed checkpoint.
 *
 *   leaves ─▶ [append] ─▶ entries, tiles ─▶ fsync ─▶ checkpoint ─▶ fsync ─▶ they count
 *   checkpoint ─▶ signature ─▶ tiles up to the root ─▶ [read] ─▶ an entry that is in the log
 *
 * The checkpoint decides: files beyond it are leftovers of a crash and are overwritten by the next
 * append; files that it covers never change.  Partial tiles stay until their full tile is covered.
 * Anybody can check the files with the public key alone (docs/format/log.md, tools/verify_log.py).
 *
 * Several processes may append and read; a lock file orders the appends.  One handle belongs to
 * one thread at a time. */
#pragma once

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/error.h"
#include "store/checkpoint.h"
#include "store/tile.h"

enum { DZ_TLOG_APPEND_MAX = 1 << 20 /* entries of one append */ };

struct dz_tlog;

/* Makes the empty log: a checkpoint of size 0 in `logfd`.  Borrowed for the call: logfd, an open
 * directory; tmpfd, the writer's temporary directory on the same file system.
 *   DZ_E_EXISTS  there is a checkpoint already;  DZ_E_IO, DZ_E_NOMEM */
dz_status dz_tlog_create(int logfd, int tmpfd, const dz_vault_id *vault,
                         const uint8_t log_secret[64], dz_err *err) DZ_MUST_CHECK;

/* Opens the log in `logfd` (kept as a duplicate).  Checks the checkpoint's origin and signature,
 * and that the tiles on the right edge give its root.  Tiles inside are checked when they are
 * used, each against the one above it.
 *   DZ_E_NOT_FOUND  no checkpoint
 *   DZ_E_CORRUPT    checkpoint or edge tiles do not verify (dz_tlog_verify_all() names the file)
 *   DZ_E_IO, DZ_E_NOMEM */
dz_status dz_tlog_open(int logfd, const dz_vault_id *vault, const uint8_t log_public[32],
                       struct dz_tlog **ret_log, dz_err *err) DZ_MUST_CHECK;
void dz_tlog_close(struct dz_tlog *log); /* NULL is fine */
DZ_DEFINE_AUTO(dz_tlog, dz_tlog_close)

/* Size and root that this handle has verified; they move with append and refresh only. */
dz_checkpoint dz_tlog_head(const struct dz_tlog *log);
/* The checkpoint's bytes; borrowed until the next append, refresh or close. */
dz_slice dz_tlog_checkpoint(const struct dz_tlog *log);

/* Takes in what other processes appended.  The new checkpoint must continue ours: a log that went
 * back or changed is DZ_E_CORRUPT, and the handle keeps the head that it had. */
dz_status dz_tlog_refresh(struct dz_tlog *log, dz_err *err) DZ_MUST_CHECK;

/* Appends `n` >= 1 entries, all or none, under the log's lock, and makes them durable.
 * *ret_first is the index of the first.  One entry costs 6 fsyncs; 8 when it ends or starts a tile
 * of 256, 11 where a level of tiles starts.
 *
 * On failure the entries count as not appended: the old checkpoint is there, or, where only the
 * last sync of the directory failed, the new one (seen at the next refresh).
 *   DZ_E_LIMIT    an entry above 65535 bytes, too many entries, or the log is full
 *   DZ_E_CORRUPT  as in refresh; DZ_E_IO, DZ_E_NOMEM */
dz_status dz_tlog_append(struct dz_tlog *log, int tmpfd, const uint8_t log_secret[64],
                         const dz_slice *entries, size_t n, uint64_t *ret_first,
                         dz_err *err) DZ_MUST_CHECK;

/* Gives entry `index`, checked to be in the tree of the checkpoint.  *ret_entry is cleared first.
 *   DZ_E_NOT_FOUND  beyond the log's size
 *   DZ_E_CORRUPT    bundle or tiles are damaged or missing (named);  DZ_E_IO, DZ_E_NOMEM */
dz_status dz_tlog_read(struct dz_tlog *log, uint64_t index, dz_buf *ret_entry,
                       dz_err *err) DZ_MUST_CHECK;

/* Calls `each` for the entries [from, to), checked as in dz_tlog_read(); `to` beyond the size means
 * up to the end.  The entry is borrowed for the call.  A failure of `each` ends the walk and is
 * handed up. */
typedef dz_status dz_tlog_each_fn(void *ctx, uint64_t index, dz_slice entry, dz_err *err);
dz_status dz_tlog_each(struct dz_tlog *log, uint64_t from, uint64_t to, dz_tlog_each_fn *each,
                       void *ctx, dz_err *err) DZ_MUST_CHECK;

/* Proofs for those who hold an older or the present checkpoint; DZ_E_USAGE for sizes out of range,
 * else as dz_tlog_read(). */
dz_status dz_tlog_prove_inclusion(struct dz_tlog *log, uint64_t index, dz_merkle_proof *ret_proof,
                                  dz_err *err) DZ_MUST_CHECK;
dz_status dz_tlog_prove_consistency(struct dz_tlog *log, uint64_t old_size,
                                    dz_merkle_proof *ret_proof, dz_err *err) DZ_MUST_CHECK;

/* Does this log continue the log of an older checkpoint (its whole bytes, from a printout or a
 * witness)?  DZ_OK: yes.  DZ_E_CORRUPT: no: that checkpoint is larger, or of another tree, or not
 * signed by this log.  DZ_E_MALFORMED: not a checkpoint. */
dz_status dz_tlog_check_consistency(struct dz_tlog *log, dz_slice old_checkpoint,
                                    dz_err *err) DZ_MUST_CHECK;

enum dz_tlog_finding {
    DZ_TLOG_DAMAGED,    /* the file is not what the checkpoint says */
    DZ_TLOG_MISSING,    /* the checkpoint covers it, and it is not there */
    DZ_TLOG_UNEXPECTED, /* not a file of a log */
    DZ_TLOG_LEFTOVER,   /* harmless: beyond the checkpoint (a crash), or superseded */
};
/* `name` is the path below the log's directory; borrowed for the call.  For unexpected files it
 * is cut, and bytes that are not printable ASCII are shown as '?'. */
typedef void dz_tlog_finding_fn(void *ctx, enum dz_tlog_finding finding, const char *name);

enum { DZ_TLOG_FINDINGS_MAX = 10000 }; /* a log in such a state is not worth more words */

typedef struct dz_tlog_report {
    uint64_t entries; /* that proved to be in the tree */
    uint64_t files;   /* read */
    uint64_t bytes;
    uint64_t bad; /* findings other than leftovers; at the maximum, the check ended there */
} dz_tlog_report;

/* Re-derives the root from all entries and checks every file in the log's directory.  Goes on after
 * each finding.  Works where dz_tlog_open() refuses.  DZ_OK also with findings;
 * DZ_E_IO, DZ_E_NOMEM when it could not go on. */
dz_status dz_tlog_verify_all(int logfd, const dz_vault_id *vault, const uint8_t log_public[32],
                             dz_tlog_finding_fn *found, void *ctx, dz_tlog_report *ret_report,
                             dz_err *err) DZ_MUST_CHECK;
