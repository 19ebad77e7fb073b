/* intake/smb_share.h -- a share of a Windows server that we are connected to.
 *
 *   dz_smb_where, dz_smb_login ─▶ [libsmbclient] ─▶ names of a directory, bytes of a file
 *
 * The only file that knows libsmbclient.  That library keeps global state, so a process has at most
 * one share, used by one thread; it blocks SIGPIPE in the thread that opens it, and it writes to
 * standard output, which must lead nowhere.  It reads no configuration but ours: no smb.conf of
 * the system or of $HOME has a say in what is refused.
 * After dz_smb_open() it needs no further socket and no further file: core/sandbox.h can take both
 * away.  A connection that is lost is then lost for good, see dz_smb_lost(). */
#pragma once

#include <sys/types.h>
#include <time.h>

#include "core/cleanup.h"
#include "intake/smb_login.h"

/* What a connection must at least have; less is refused.  SMB 1 always is. */
enum dz_smb_guard {
    DZ_SMB_ENCRYPTED, /* SMB 3, encrypted */
    DZ_SMB_SIGNED,    /* SMB 2.0.2, signed: somebody on the wire can read, not change */
};

struct dz_smb;
/* Connects and logs in.  DZ_E_IO (sys_errno: ENOENT no such share, EACCES not with this name and
 * password, others as connect(2)), DZ_E_POLICY (not encrypted as asked for), DZ_E_NOMEM.  Messages
 * name server and share. */
dz_status dz_smb_open(const struct dz_smb_where *where, const struct dz_smb_login *login,
                      enum dz_smb_guard guard, struct dz_smb **ret_smb, dz_err *err) DZ_MUST_CHECK;
void dz_smb_close(struct dz_smb *s); /* NULL is fine */
DZ_DEFINE_AUTO(dz_smb, dz_smb_close)

/* True when nothing more can be had: asked after something failed, to tell a file that cannot be
 * read from a server that is gone. */
bool dz_smb_lost(struct dz_smb *s);

/* What follows gives 0, or an errno.  Paths are relative to dz_smb_where.directory. */

struct dz_smb_item {
    dz_slice name; /* UTF-8 as a server's UTF-16 gives it; NUL behind; borrowed for the call */
    uint64_t size;
    uint32_t attributes; /* the lower 16 of MS-FSCC 2.6 */
    struct timespec modified, changed, created;
};
/* Calls each() with all that a directory holds, in no order; "." is the directory itself, where a
 * server says it, ".." is left out.  What each() gives other than 0 ends it.  libsmbclient has all
 * names in memory before the first call. */
int dz_smb_list(struct dz_smb *s, dz_slice path,
                int (*each)(void *ctx, const struct dz_smb_item *item), void *ctx);

struct dz_smb_file;
/* `stream` is NULL for the content itself.  EBUSY: somebody holds it and shares it with nobody.
 * Owned by the caller. */
int dz_smb_file_open(struct dz_smb *s, dz_slice path, const char *stream,
                     struct dz_smb_file **ret_file);
void dz_smb_file_close(struct dz_smb_file *f); /* NULL is fine */
/* Size and times as they are now; no name, attributes, or time of creation. */
int dz_smb_file_stat(struct dz_smb_file *f, struct dz_smb_item *ret_item);
/* The next bytes; *ret_n is less than asked for only at the end. */
int dz_smb_file_read(struct dz_smb_file *f, void *to, size_t n, size_t *ret_n);

/* Appends the security descriptor as text: see intake/samba_attr.h.  ERANGE: too long; ENOTSUP:
 * this share gives none. */
int dz_smb_acl(struct dz_smb *s, dz_slice path, dz_buf *to);
