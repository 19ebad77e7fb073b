/* store/object.h -- an object: bytes that the vault keeps once, under the identity of their
 * content.
 *
 *   data chunk, manifest node, content list, reference node ─▶ [object] ─▶ segment ─▶ pack
 *
 * What stores objects and what finds them again stand behind two small interfaces, so that trees
 * are built and walked without knowing of packs. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "crypto/hash.h"

/* Kinds never share a name even when their bytes are equal.  Numbers are on disk: append only. */
enum dz_kind {
    DZ_KIND_DATA = 1, /* a chunk of a file's content, or of an attribute too large for its entry */
    DZ_KIND_NODE = 2, /* manifest nodes and content lists: sealed */
    DZ_KIND_REF = 3,  /* reference nodes: object names only, readable by the closed host */
    /* reserved: 4 feed batch, 5 postings, 6 evidence block, 7 parity, 8 key ring */
};

enum { DZ_OBJECT_MAX = 1 << 20 /* bytes of any one object */ };

/* Keeps `bytes` (borrowed for the call) unless the vault has them; gives their identity.
 * On DZ_OK the object is *accepted*: durable only once the session commits. */
struct dz_sink {
    dz_status (*put)(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id, dz_err *err);
    void *ctx;
};

/* Finds an object and checks it against its identity.  *ret_bytes is cleared, then filled.
 * DZ_E_NOT_FOUND (not in the vault: named), DZ_E_CORRUPT, DZ_E_CLOSED, DZ_E_IO, DZ_E_NOMEM. */
struct dz_source {
    dz_status (*get)(void *ctx, enum dz_kind kind, const dz_id *id, dz_buf *ret_bytes, dz_err *err);
    void *ctx;
};
