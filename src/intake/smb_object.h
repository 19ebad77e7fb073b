/* intake/smb_object.h -- one object of a share: its entry, and what Windows keeps beside it.
 *
 *   dz_smb_entry ─▶ [object: security descriptor, attributes, streams] ─▶ field DZ_TAG_XATTRS,
 * dz_entry
 *
 * A share belongs to one thread, and so do these. */
#pragma once

#include "intake/smb_tree.h"
#include "store/entry.h"

/* Says what could not be kept as it was.  `what` is an enum dz_problem_kind; a stream is named
 * FILE:STREAM. */
struct dz_smb_notes {
    void (*problem)(void *ctx, dz_slice path, uint8_t what, int sys_errno);
    void *ctx;
};

/* Appends the field, in the form of intake/samba_attr.h.  Of streams, those of a well-known name
 * are kept: libsmbclient does not list them.  What cannot be had is a note, not a failure; where a
 * share gives no descriptors at all, that is one note, of its root.  Asks the server several times.
 * DZ_E_NOMEM. */
dz_status dz_smb_put_xattrs(struct dz_smb *smb, const struct dz_smb_entry *of,
                            const struct dz_smb_notes *notes, dz_buf *fields,
                            dz_err *err) DZ_MUST_CHECK;

/* The entry, which borrows `fields`.  Windows has no owner and mode as Linux has them: it is
 * root's, and nobody else's until somebody says so. */
dz_entry dz_smb_entry_of(const struct dz_smb_entry *of, uint32_t flags, dz_slice fields);
