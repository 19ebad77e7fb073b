/* intake/read_spans.h -- turns the content of a file into objects of the vault, a span at a time.
 *
 *   extents ─▶ [spans of 16 MiB] ─▶ chunks ─▶ lane
 *                      └▶ features
 *
 * A file of more than one span is read by several threads, a span each: cuts start afresh at each
 * span, which costs at most one chunk of deduplication in 16 MiB.  A reader belongs to one thread.
 */
#pragma once

#include "intake/read_file.h"
#include "store/session.h"

struct dz_file_reader;
/* `chunker` and `lane` are borrowed until the reader is freed.  DZ_E_NOMEM. */
dz_status dz_file_reader_new(const struct dz_chunker *chunker, struct dz_lane *lane,
                             struct dz_file_reader **ret_reader, dz_err *err) DZ_MUST_CHECK;
void dz_file_reader_free(struct dz_file_reader *r); /* NULL is fine */
DZ_DEFINE_AUTO(dz_file_reader, dz_file_reader_free)

/* Reads content bytes [from, from + len) and gives them to the lane.  What cannot be read is said
 * in the span, not as a status.  ret_span is cleared first; the caller releases chunks.
 * DZ_E_NOMEM and the lane's. */
dz_status dz_file_reader_span(struct dz_file_reader *r, int fd, const struct dz_extents *x,
                              uint64_t from, uint64_t len, struct dz_span *ret_span,
                              dz_err *err) DZ_MUST_CHECK;
