/* net/keep.h -- the process that keeps what one connection brings: a take at the end of a gate.
 *
 *   plain bytes of a gate ─▶ [keep: take, for one source alone] ─▶ snapshot, or enrolment
 *
 * A program of its own for each run: what a hostile source makes of it, it makes of a process that
 * serves nobody else, can open nothing outside the vault, and goes away.  It believes the gate that
 * a source is connected only as far as the source signs for itself; and asks the log at the
 * beginning and again before the snapshot whether the key still counts.  It ends when the gate
 * does; SIGTERM is ignored, so that what came is kept.  Exit status 0, or 3: the vault could not.
 */
#pragma once

/* In the environment: nothing is given away.  For development. */
#define DZ_WITHOUT_SANDBOX "DOZO_WITHOUT_SANDBOX"

/* `key`: of the certificate that was shown, in hexadecimal. */
int dz_keep_run(const char *vault, int pair, const char *source, const char *key);
/* Somebody without a certificate, who has a token. */
int dz_keep_enrol(const char *vault, int pair);
