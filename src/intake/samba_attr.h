/* intake/samba_attr.h -- what Windows keeps beside the content of a file, in the form that Samba
 * keeps it on Linux.
 *
 *   attributes, security descriptor, streams ─▶ [samba_attr] ─▶ extended attributes of an entry
 *
 * So a tree that is restored below a share of Samba has them back without another step, and one
 * restored elsewhere still carries them.  Why so, and what is lost: docs/design/smb.md.
 * All functions are thread-safe. */
#pragma once

#include <time.h>

#include "core/buf.h"
#include "core/error.h"

/* In the order in which they stand in an entry; streams come last, sorted. */
#define DZ_SAMBA_ACL "security.NTACL"
#define DZ_SAMBA_DOS "user.DOSATTRIB"
#define DZ_SAMBA_STREAM "user.DosStream." /* and NAME:$DATA */

enum { /* MS-FSCC 2.6 */
       DZ_DOS_DIRECTORY = 0x10,
       DZ_DOS_NORMAL = 0x80, /* none of the others */
       DZ_DOS_SPARSE = 0x200,
       DZ_DOS_REPARSE = 0x400, /* a junction, a link, or content that is kept elsewhere */
};

enum {
    DZ_SAMBA_VALUE_MAX = 65536, /* of Linux: XATTR_SIZE_MAX */
    DZ_SAMBA_STREAM_MAX = DZ_SAMBA_VALUE_MAX - 1,
    DZ_SAMBA_ACL_TEXT_MAX = 512 << 10,
};

/* Appends the value of DZ_SAMBA_DOS (xattr_DosInfo5 of Samba's xattr.idl).  `created` may be
 * zero: not known. */
void dz_samba_put_dos(dz_buf *to, uint32_t attributes, const struct timespec *created);

/* Appends the value of DZ_SAMBA_ACL: version 1, a security descriptor (MS-DTYP 2.4.6) without a
 * hash of POSIX permissions, so that Samba takes it as it is.  `text` is what libsmbclient says:
 *     REVISION:1,OWNER:S-1-...,GROUP:S-1-...,ACL:S-1-...:TYPE/FLAGS/0xMASK,ACL:...
 * It does not say whether permissions are inherited from above: they are marked as protected
 * exactly when none of them was inherited, so that nothing opens that was closed.
 * DZ_E_MALFORMED, DZ_E_LIMIT (what Linux can hold), DZ_E_UNSUPPORTED (a permission that carries
 * more than a mask: conditions, object types), DZ_E_NOMEM; `to` is then as it was. */
dz_status dz_samba_put_acl(dz_buf *to, dz_slice text, dz_err *err) DZ_MUST_CHECK;

/* Appends the value of a stream: the bytes, at most DZ_SAMBA_STREAM_MAX, and a zero byte. */
void dz_samba_put_stream(dz_buf *to, dz_slice bytes);
