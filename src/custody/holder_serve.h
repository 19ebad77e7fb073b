/* custody/holder_serve.h -- what dozo-keyholder does: holds the opened key and answers for it.
 *
 *   root, once ─▶ pair ─▶ OPEN leaf ─▶ [answers on the socket] ─▶ CLOSE leaf, wiped
 *
 * Ends when the time is over, when it is told to, or on SIGTERM, SIGINT and SIGHUP.  60 and 15
 * minutes before the end it writes an alarm leaf and a line to syslog.  Killed otherwise, it leaves
 * no CLOSE leaf, and no key either: the memory is locked and never dumped.  One thread; the whole
 * process is its. */
#pragma once

#include "core/error.h"

/* Reads the first message from `startfd` (custody/holder.h), answers there whether the vault is
 * open, and returns when it is closed.  Whatever failed was said there.
 * DZ_E_EXISTS, DZ_E_POLICY, DZ_E_MALFORMED, DZ_E_IO, DZ_E_NOMEM, and as dz_vault_open(). */
dz_status dz_holder_serve(const char *vault, int startfd, dz_err *err) DZ_MUST_CHECK;
