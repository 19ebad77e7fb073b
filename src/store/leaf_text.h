/* store/leaf_text.h -- what a custody leaf says, readable by the closed host and by nobody else.
 *
 *   text ─▶ [note] ─▶ salt, commitment, sealed under the text key ─▶ leaf ─▶ log
 *   leaf of the log ─▶ [open] ─▶ text, the one that the commitment binds
 *
 * Sealed is a nonce (16 random bytes), then AES-256-GCM message 0 of salt and text, under the child
 * of the text key with label "leaf text" and the nonce as context; associated data: the nonce and
 * the leaf's kind, so that no text is passed off as another kind's.  What the texts are is each
 * module's own; custody's are JSON objects (custody/ledger.h).  Layout: docs/format/log.md.
 * Thread-safe as store/vault.h. */
#pragma once

#include "store/leaf.h"
#include "store/vault.h"

enum { DZ_LEAF_PLAIN_MAX = 12 * 1024 /* bytes of text */ };

/* Appends a leaf of this kind to the log, durably, with the time of now.  `tmpfd` is a writer's
 * directory.  *ret_index (may be NULL) is its index.
 * DZ_E_LIMIT (text or objects; named), else as dz_vault_append(). */
dz_status dz_vault_note(struct dz_vault *v, int tmpfd, enum dz_leaf_kind kind, uint16_t flags,
                        const dz_leaf_object *objects, size_t n, dz_slice text, uint64_t *ret_index,
                        dz_err *err) DZ_MUST_CHECK;

/* Gives the text of a leaf that dz_vault_note() made.  *ret_text is cleared first; the caller
 * releases it.  DZ_E_CORRUPT: sealed otherwise, or not what the commitment binds.  DZ_E_NOMEM. */
dz_status dz_leaf_text_open(const struct dz_host_keys *host, const dz_leaf *leaf, dz_buf *ret_text,
                            dz_err *err) DZ_MUST_CHECK;
