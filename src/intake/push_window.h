/* intake/push_window.h -- what waits to be sent until the vault has said whether it needs it.
 *
 *   chunks, frames, in order ─▶ [batch] ─▶ HAVE ... HELD ─▶ CHUNK or REFS, frames, in order
 *
 * A few batches are under way at a time, so that the vault's answers cost no waiting, and so that
 * answers nobody has read yet fit into any socket.  One thread at a time. */
#pragma once

#include "intake/push_wire.h"

struct dz_push_window;
/* `talk` is borrowed until it is freed.  DZ_E_NOMEM. */
dz_status dz_push_window_new(struct dz_push_talk *talk, struct dz_push_window **ret_window,
                             dz_err *err) DZ_MUST_CHECK;
void dz_push_window_free(struct dz_push_window *w); /* NULL is fine */
DZ_DEFINE_AUTO(dz_push_window, dz_push_window_free)

/* A chunk (copied) of the file that comes next, and its identity.  Any of these may send and
 * hear: errors as dz_push_hear(). */
dz_status dz_push_window_chunk(struct dz_push_window *w, dz_slice bytes, dz_id *ret_id,
                               dz_err *err) DZ_MUST_CHECK;
/* A chunk whose bytes are not at hand: if the vault lacks it, DZ_E_BUSY. */
dz_status dz_push_window_known(struct dz_push_window *w, const dz_id *id, uint32_t length,
                               dz_err *err) DZ_MUST_CHECK;
/* The frames (copied) stand behind the chunks that came before. */
dz_status dz_push_window_frames(struct dz_push_window *w, dz_slice frames,
                                dz_err *err) DZ_MUST_CHECK;
/* Sends all of it. */
dz_status dz_push_window_finish(struct dz_push_window *w, dz_err *err) DZ_MUST_CHECK;

/* Bytes of chunks that had to be sent. */
uint64_t dz_push_window_sent(const struct dz_push_window *w);
