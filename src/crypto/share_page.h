/* crypto/share_page.h -- a share on paper: an A4 PDF with the groups, their check letters, the QR
 * code, and in Japanese and English what it is, how it is kept and how it is used.
 *
 * A library of its own (share_page_dep): only what prints shares loads cairo and pango.  Pango
 * keeps text it has laid out in ordinary memory, so the process that prints must not live on with
 * the vault open.  One call at a time (fontconfig's state is shared). */
#pragma once

#include "crypto/share.h"

/* Appends the PDF; the same share gives the same bytes with the same fonts and libraries.  The
 * caller releases `to` with dz_buf_release_secret().  Needs any font with Japanese glyphs to show
 * Japanese.  DZ_E_NOMEM, DZ_E_IO (cairo refuses), DZ_E_UNSUPPORTED (built without PDF). */
dz_status dz_share_page(const dz_share *share, const char *fingerprint, dz_buf *to,
                        dz_err *err) DZ_MUST_CHECK;

enum { DZ_CHECKPOINT_PAGE_MAX = 1024 /* bytes that a QR code of level Q takes with ease */ };

/* The same for a checkpoint (store/checkpoint.h), as text: no secret.  DZ_E_LIMIT, as above. */
dz_status dz_checkpoint_page(const char *checkpoint, const char *fingerprint, dz_buf *to,
                             dz_err *err) DZ_MUST_CHECK;
