/* daemon/supervise.h -- the process that decides: which source runs, which is late, who is told.
 *
 *   log of the vault ─▶ [supervise] ◀─▶ daemon/message.h ◀─▶ daemon/starter.h
 *                            └▶ alarms in the log, cache/expected
 *
 * It holds the vault's host keys and starts no program: it asks the starter, by the table of
 * messages.  It reads what hostile sources have sent (their snapshots' records), so it is the one
 * of the two that is locked up.  docs/design/daemon.md. */
#pragma once

#include <stdbool.h>

/* What dozod --role=supervisor does; `sock` is the socket to the starter.  Once the vault is open
 * it gives away all but that (core/sandbox.h), unless `sandbox` is false; where it cannot, it ends.
 * Gives an exit status. */
int dz_supervise(int sock, bool sandbox);
