/* intake/smb_login.h -- which share, and who we are there.
 *
 *   //server[:port]/share[/directory] ─▶ dz_smb_where      credentials file ─▶ dz_smb_login
 *
 * All functions are thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

enum {
    DZ_SMB_SERVER_MAX = 253,    /* RFC 1035 */
    DZ_SMB_SHARE_MAX = 80,      /* MS-SRVS 2.2.4.23: NNLEN */
    DZ_SMB_PATH_MAX = 64 << 10, /* bytes of a path in a share: 32,767 units of UTF-16 and less */
    DZ_SMB_LOGIN_MAX = 255,     /* bytes of a name or password that libsmbclient takes */
    DZ_SMB_LOGIN_FILE_MAX = 4096,
};

struct dz_smb_where {
    char server[DZ_SMB_SERVER_MAX + 1]; /* letters, digits, '.', '-', '_' */
    uint16_t port;                      /* 0: the usual one */
    char share[DZ_SMB_SHARE_MAX + 1];
    const char *directory; /* below the share, no '/' at either end; "" is all; borrowed */
};
/* `text` is borrowed as long as ret_where is used.  In front of the directory, '\' may stand for
 * '/'.  DZ_E_USAGE. */
dz_status dz_smb_where_read(const char *text, struct dz_smb_where *ret_where,
                            dz_err *err) DZ_MUST_CHECK;
/* Appends the URL that libsmbclient takes for a path in the share (any bytes but NUL; empty: the
 * share itself), NUL-terminated.  Memory running out shows in dz_buf_ok(). */
void dz_smb_url(const struct dz_smb_where *w, dz_slice path, dz_buf *to);

struct dz_smb_login {
    char domain[DZ_SMB_LOGIN_MAX + 1]; /* may be empty */
    char user[DZ_SMB_LOGIN_MAX + 1];
    char password[DZ_SMB_LOGIN_MAX + 1];
};
void dz_smb_login_wipe(struct dz_smb_login *l);
/* Reads lines `username = ...`, `password = ...`, `domain = ...` as smbclient and mount.cifs do.
 * The file must be a plain one, ours or root's, and nobody else may read or write it.
 * DZ_E_POLICY (others may), DZ_E_IO, DZ_E_USAGE (names the line, never what is in it), DZ_E_LIMIT.
 */
dz_status dz_smb_login_read(const char *file, struct dz_smb_login *ret_login,
                            dz_err *err) DZ_MUST_CHECK;
/* The same, of the file's bytes.  DZ_E_USAGE, DZ_E_LIMIT. */
dz_status dz_smb_login_parse(dz_slice text, struct dz_smb_login *ret_login,
                             dz_err *err) DZ_MUST_CHECK;
