/* recover/layout.h -- where a file's content stands in it: data after holes.
 *
 *   DZ_TAG_EXTENTS ─▶ [layout] ─▶ (place in the file, length) for the next bytes of content
 *
 * A value; keeps nothing. */
#pragma once

#include "core/buf.h"
#include "store/entry.h"

typedef struct dz_layout {
    uint64_t at;   /* place in the file of the next byte of content */
    uint64_t left; /* bytes of content that follow without a hole */
    dz_reader extents;
    bool sparse;
} dz_layout;

/* True when the entry's extents and size agree with `content` bytes of content; ret_size is the
 * file's.  A file that changed while it was read may have another size than its entry says. */
bool dz_layout_fits(const dz_entry *e, uint64_t content, uint64_t *ret_size);

/* Stands before the content of a file of `size` bytes.  `extents` is a value of DZ_TAG_EXTENTS that
 * fits, or has no data: then there is no hole. */
dz_layout dz_layout_begin(dz_slice extents, uint64_t size);

/* Appends extents that cover those of a sparse entry that fits, where every run but the last is a
 * multiple of `block` bytes: a format whose runs are whole blocks.  ret_data is their sum. */
void dz_layout_align(dz_slice extents, uint32_t block, dz_buf *to, uint64_t *ret_data);

/* Steps over holes until data is left; false at the end of the content. */
bool dz_layout_step(dz_layout *l);
/* Takes n <= left bytes. */
static inline void dz_layout_take(dz_layout *l, uint64_t n) {
    l->at += n;
    l->left -= n;
}
