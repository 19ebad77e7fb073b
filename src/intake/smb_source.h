/* intake/smb_source.h -- dozo-smb: a share is pushed by a process that holds nothing of the vault.
 *
 *   job ─▶ [sandbox] ─▶ log in ─▶ [less of it] ─▶ walk, read ─▶ take protocol
 *
 * What a server says is read by a large library, so the process that runs it is one of its own. It
 * has a socket to the vault's side, which can add to one source and nothing else (intake/take.h), a
 * directory for its cache, and the share's user and password.  It gives away, in this order: core
 * dumps, privileges, root, all files but those that looking up a server needs, all system calls but
 * for those; and once it is connected, new connections and every file but its cache.
 * One thread. */
#pragma once

#include "core/error.h"

/* Takes a job from `fd`, a stream socket, and pushes what it says there.  DZ_OK: the snapshot
 * stands.  What fails is reported to `reportfd` (intake/smb_job.h) as well.
 * As dz_smb_open(), dz_push_run(); DZ_E_BUSY: to be tried again at once with the same run id. */
dz_status dz_smb_source_run(int fd, int reportfd, dz_err *err) DZ_MUST_CHECK;
