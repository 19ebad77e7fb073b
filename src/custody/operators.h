/* custody/operators.h -- the file that names operators: a new vault's, or one who is to come.
 *
 * One a line: a name and an SSH public key, in either order of the two common files
 * ("alice ssh-ed25519 AAAA...", as in allowed_signers; "ssh-ed25519 AAAA... alice", as in
 * id_ed25519.pub).  Empty lines and lines that begin with # are passed over. */
#pragma once

#include "crypto/sshsig.h"
#include "store/vault.h"

struct dz_operators {
    char *lines[DZ_OPERATORS_MAX]; /* "TYPE BASE64 NAME"; owned */
    dz_ssh_key keys[DZ_OPERATORS_MAX];
    size_t n;
};

/* The caller releases *ret_operators.  Keys and names stand once: nobody approves twice.
 * DZ_E_USAGE (names the line), DZ_E_LIMIT, DZ_E_IO, DZ_E_NOT_FOUND, DZ_E_NOMEM. */
dz_status dz_operators_read(const char *file, struct dz_operators *ret_operators,
                            dz_err *err) DZ_MUST_CHECK;
void dz_operators_release(struct dz_operators *o);
