/* core/durable.h -- the only ways a file becomes part of the vault.
 *
 * Order, always: content, sync, name, sync of the directory.  A failed sync is final for that
 * file: it is given up, never retried.  Temporary files are created in `tmpfd`, a directory of
 * the same file system that belongs to one live writer and is swept when that writer is gone.
 *
 *   bytes ─▶ [durable] ─▶ tmp/x ─▶ fsync ─▶ rename ─▶ fsync(dir) */
#pragma once

#include "core/error.h"
#include "core/os.h"
#include "core/slice.h"

enum { DZ_TEMP_NAME_MAX = 24 };

/* Publishes `content` under `name` in `dirfd`, once and for good.
 *
 * On DZ_OK the bytes and the name survive a power cut.  On any failure the name was either not
 * created or, where the last directory sync failed, holds the whole content but may not survive:
 * callers treat it as not stored.  A reader never sees part of a file under `name`.
 *
 *   tmpfd, dirfd  borrowed; open directories of one file system
 *   name          one path component; the caller derives it from the content
 *   content       borrowed for the call
 *
 *   DZ_E_EXISTS  the name is taken; nothing was changed
 *   DZ_E_IO      see err->sys_errno */
dz_status dz_durable_publish(int tmpfd, int dirfd, const char *name, dz_slice content,
                             dz_err *err) DZ_MUST_CHECK;

/* The same, but replaces what `name` held.  Only for caches, and for the log's head (the C2SP
 * tlog-tiles `checkpoint` file and tiles not yet covered by it): everything else is immutable. */
dz_status dz_durable_replace(int tmpfd, int dirfd, const char *name, dz_slice content,
                             dz_err *err) DZ_MUST_CHECK;

/* For files that are filled bit by bit (packs, index runs): creates a temporary file, open for
 * reading and writing.  The caller owns *ret_fd, and the name, to publish or unlink. */
dz_status dz_durable_temp(int tmpfd, char ret_name[DZ_TEMP_NAME_MAX], int *ret_fd,
                          dz_err *err) DZ_MUST_CHECK;

/* Syncs and closes fd (always consumed), then gives the temporary file its name as in
 * dz_durable_publish(); on failure the temporary file is unlinked. */
dz_status dz_durable_publish_temp(int tmpfd, const char *temp, int fd, int dirfd, const char *name,
                                  dz_err *err) DZ_MUST_CHECK;

/* The same, but replaces what `name` held: for caches. */
dz_status dz_durable_replace_temp(int tmpfd, const char *temp, int fd, int dirfd, const char *name,
                                  dz_err *err) DZ_MUST_CHECK;

/* Writes all of s at the file's position, through short writes and EINTR.  0, or -1 with errno. */
int dz_write_all(int fd, dz_slice s);
/* Reads exactly len bytes at `at`.  0, or -1 with errno; end of file is ENODATA. */
int dz_pread_all(int fd, void *to, size_t len, off_t at);

/* Reads a whole small file.  *ret_content is owned by the caller (dz_buf_release).
 * DZ_E_NOT_FOUND, DZ_E_LIMIT (larger than `limit` bytes), DZ_E_IO, DZ_E_NOMEM. */
struct dz_buf;
dz_status dz_read_file(int dirfd, const char *name, size_t limit, struct dz_buf *ret_content,
                       dz_err *err) DZ_MUST_CHECK;

/* Makes the directory durably if it is not there.  DZ_E_IO. */
dz_status dz_durable_mkdir(int dirfd, const char *name, mode_t mode, dz_err *err) DZ_MUST_CHECK;
