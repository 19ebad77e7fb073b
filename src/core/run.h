/* core/run.h -- runs another program to its end: bytes in, bytes out, within limits.
 *
 *   input ─▶ its standard input     its standard output ─▶ output     (its errors go where ours go)
 *
 * The program gets a process group of its own; when time is up the whole group is killed.  The
 * caller ignores SIGPIPE.  Thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

enum { DZ_RUN_INPUT_MAX = 32 << 10 /* bytes: fits a pipe, so that writing never waits */ };

/* argv[0], looked for along PATH if it has no '/', is run with argv (NULL ends it).  *ret_code is
 * its exit status, or 128 and the signal that ended it.  What it wrote is appended to `output`.
 * DZ_E_LIMIT (input or output too long), DZ_E_IO (not started; time is up: ETIMEDOUT), DZ_E_NOMEM.
 */
dz_status dz_run(const char *const argv[], dz_slice input, size_t output_max, int timeout_ms,
                 dz_buf *output, int *ret_code, dz_err *err) DZ_MUST_CHECK;
