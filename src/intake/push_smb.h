/* intake/push_smb.h -- a share as a tree to push.
 *
 *   dz_smb ─▶ tree ─▶ [push_smb: open, look twice, attributes] ─▶ dz_push_tree
 *
 * A file is recognised by its path, size, times and attributes as its directory lists them.  What
 * is sparse on the server is searched for blocks of zeros, which become holes again: the protocol
 * could say where they are, libsmbclient does not.  A tree belongs to one thread. */
#pragma once

#include "intake/push.h"
#include "intake/smb_object.h"

struct dz_push_smb;
/* `smb` and the globs are borrowed until the tree is freed.  `secret` keys the cache: the same for
 * all runs of a source, and nobody else's.  DZ_E_NOMEM. */
dz_status dz_push_smb_new(struct dz_smb *smb, const char *const *excludes, size_t n_excludes,
                          const uint8_t secret[DZ_KEY_BYTES], struct dz_push_smb **ret_tree,
                          dz_err *err) DZ_MUST_CHECK;
void dz_push_smb_free(struct dz_push_smb *t); /* NULL is fine */
DZ_DEFINE_AUTO(dz_push_smb, dz_push_smb_free)

/* Valid as long as `t`; to be walked once.  Besides what dz_push_tree says: DZ_E_IO, the server is
 * gone. */
struct dz_push_tree dz_push_smb_tree(struct dz_push_smb *t);
