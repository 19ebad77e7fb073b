/* crypto/share_page.h -- a share on paper: an A4 PDF with the groups, their check letters, the QR
 * code, and in Japanese and English what it is, how it is kept and how it is used. */
#pragma once

#include "crypto/share.h"

/* Appends the PDF.  Uses cairo, pango and libqrencode; needs any font with Japanese glyphs to show
 * Japanese.  DZ_E_NOMEM, DZ_E_UNSUPPORTED (built without PDF). */
dz_status dz_share_page(const dz_share *share, const char *fingerprint, dz_buf *to,
                        dz_err *err) DZ_MUST_CHECK;
