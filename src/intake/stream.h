/* intake/stream.h -- what a program writes, kept as one file: from a pipe to a snapshot.
 *
 *   pipe ─▶ [spans of 16 MiB] ─▶ chunks ─▶ lane      end ─▶ finish() ─▶ commit, or nothing at all
 *
 * For dumps of databases.  The snapshot has one entry, a regular file with mode 0600, our owner and
 * the time of its end.  Whether the bytes are whole, only who wrote them can say: finish() is asked
 * after the last byte and before anything is committed.  A stream without a single byte is no dump,
 * whatever its writer says, and is not kept: it would stand in front of the last good one.
 *
 * Works on a closed vault, in the calling thread; memory does not grow with the stream. */
#pragma once

#include "intake/backup.h"

struct dz_stream_how {
    const char *source; /* dz_source_name_ok() */
    const char *name;   /* of the file: dz_stream_name_ok() */
    int fd;             /* read to its end; borrowed */
    /* DZ_OK when all that was to come has come.  May be NULL: the end of fd is good enough. */
    dz_status (*finish)(void *finish_ctx, dz_err *err);
    void *finish_ctx;
    /* called now and then; may be NULL */
    void (*progress)(void *ctx, const struct dz_backup_progress *p);
    void *ctx;
};

/* One component of a path, at most 255 bytes: no slash, not ".", "..". */
bool dz_stream_name_ok(const char *name);

/* Makes one snapshot; the caller releases the commit.  DZ_E_USAGE (names), DZ_E_NOT_FOUND (no byte
 * came), DZ_E_IO, DZ_E_NOMEM, DZ_E_LIMIT, and whatever finish() says: nothing was kept. */
dz_status dz_stream_run(struct dz_vault *v, const struct dz_stream_how *how,
                        struct dz_commit *ret_commit, dz_err *err) DZ_MUST_CHECK;
