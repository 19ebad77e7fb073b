/* custody/holder_sandbox.h -- what the key holder gives away before it answers anybody.
 *
 * It keeps what is open, the vault's directory (its log is written), that of its socket, callers,
 * timers and syslog.  No program is run, nobody is called but syslog, nothing else is opened. */
#pragma once

#include "core/error.h"

/* `vault` and `socket` are absolute paths.  The socket listens already.  Where the environment has
 * DOZO_NO_SANDBOX, nothing is given away: for development.
 * DZ_E_UNSUPPORTED (the kernel has no Landlock), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_holder_give_away(const char *vault, const char *socket, dz_err *err) DZ_MUST_CHECK;
