/* cli/ssh_sign.h -- has a text signed by the ssh-keygen that is installed.
 *
 *   text ─▶ ssh-keygen -Y sign -n NAMESPACE -f KEY ─▶ armor
 *
 * It asks for a passphrase, or to touch a token, on our own terminal.  Single-threaded. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

/* `key` is a private key's file, or a public one's whose private half an agent holds.  *ret_armor
 * is appended to. DZ_E_UNSUPPORTED (no ssh-keygen here), DZ_E_IO (it did not sign; it said why),
 * DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_ssh_sign(const char *key, const char *name_space, dz_slice text, dz_buf *ret_armor,
                      dz_err *err) DZ_MUST_CHECK;
