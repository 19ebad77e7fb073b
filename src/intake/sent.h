/* intake/sent.h -- which chunks a source has sent: what HELD may confirm and REFS may name.
 *
 *   CHUNK, REFS ─▶ [sent: memory] ─▶ now/<id>.run, now and then     cache/sent-<hex>/
 *                                    a snapshot stands: now ─▶ last
 *
 * Of each source apart, so that nobody learns of another's chunks, by names under a key of the
 * source's own.  Holds what its last snapshot has (last), and what runs since then sent that broke
 * off (now).  A cache: what is lost is sent again; what it remembers may be gone from the vault
 * (dz_lane_has() knows).  The files are index runs (docs/format/index.md) whose places say nothing
 * but the chunk's length, masked: lengths of small files would be theirs.  Memory is below 32 MiB
 * however much is sent.
 *
 * One of a source is open at a time, in whatever process.  One thread at a time. */
#pragma once

#include "crypto/hash.h"
#include "store/vault.h"

struct dz_sent;

/* `tmpfd` is a writer's directory, borrowed until dz_sent_free().  Files that cannot be read are
 * dropped.  DZ_E_BUSY (the source's is open already), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_sent_open(struct dz_vault *v, const char *source, int tmpfd, struct dz_sent **ret_sent,
                       dz_err *err) DZ_MUST_CHECK;
/* Forgets what was not kept.  NULL is fine. */
void dz_sent_free(struct dz_sent *s);
DZ_DEFINE_AUTO(dz_sent, dz_sent_free)

/* The length of a chunk that the source has sent; 0: it has not, or that cannot be told.
 * DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_sent_length(struct dz_sent *s, const dz_id *id, uint32_t *ret_length,
                         dz_err *err) DZ_MUST_CHECK;

/* This run sent it, or refers to it.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_sent_add(struct dz_sent *s, const dz_id *id, uint32_t length,
                      dz_err *err) DZ_MUST_CHECK;

/* Keeps what was added; call once.  `snapshot`: it stands, and what is no part of it or of the runs
 * before it that broke off is forgotten.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_sent_keep(struct dz_sent *s, bool snapshot, dz_err *err) DZ_MUST_CHECK;
