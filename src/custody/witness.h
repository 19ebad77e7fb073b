/* custody/witness.h -- the head of the log, kept by somebody outside who would notice a rewrite.
 *
 *   what the witness keeps ─▶ does our log continue it? ─▶ it keeps our new head ─▶ WITNESS leaf
 *                                     └─ no: the log was rewritten or rolled back ─▶ alarm
 *
 * A witness is a file on another disk or host, a command that speaks to another host, or paper.
 * It need not be trusted with anything but keeping: a checkpoint is signed and tells nothing.
 * Who the witnesses are and what they had seen stands in WITNESS leaves (docs/format/log.md).  Such
 * a leaf is the vault's own word: who has stolen the host's keys can write one.  What proves
 * something is the checkpoint that lies outside (dz_witness_check()).
 *
 * One thread at a time. */
#pragma once

#include "custody/ledger.h"

enum {
    DZ_WITNESS_NAME_MAX = 64,
    DZ_WITNESS_PLACE_MAX = 4096, /* bytes of a path or a command */
    DZ_WITNESS_TIMEOUT_MS = 60000,
};
/* A witness is fresh when it was met within this time (7 days). */
#define DZ_WITNESS_FRESH_US (INT64_C(7) * 86400 * 1000000)

enum dz_witness_kind { DZ_WITNESS_PAPER, DZ_WITNESS_FILE, DZ_WITNESS_COMMAND };

/* All text is borrowed from the ledger. */
typedef struct dz_witness {
    const char *name;
    enum dz_witness_kind kind;
    const char *place; /* path or command; NULL for paper */
    uint64_t size;     /* leaves that it has confirmed; 0: none yet */
    int64_t when_us;   /* when that was; for paper, the time of the last leaf it covers */
} dz_witness;

struct dz_witnesses {
    dz_witness *list;
    size_t n;
    uint64_t size;   /* the most leaves that any of them has confirmed */
    int64_t when_us; /* the newest of their times; 0: never */
};

/* Folds over the ledger, which must outlive *ret.  DZ_E_NOMEM. */
dz_status dz_witnesses_read(const struct dz_ledger *ledger, struct dz_witnesses *ret,
                            dz_err *err) DZ_MUST_CHECK;
void dz_witnesses_release(struct dz_witnesses *w); /* a zeroed one is fine */
const dz_witness *dz_witnesses_find(const struct dz_witnesses *w, const char *name);
/* True when some witness was met within DZ_WITNESS_FRESH_US before now; times of the future do not
 * count. */
bool dz_witnesses_fresh(const struct dz_witnesses *w, int64_t now_us);

/* "paper", "file", "command". */
const char *dz_witness_kind_name(enum dz_witness_kind kind);

/* Makes a witness known, and hands the present checkpoint to it (not to paper).  A name that is
 * known already gets the new place; what lies there already is checked first.
 * DZ_E_USAGE (name: letters, digits, '.', '_', '-'; length), DZ_E_POLICY (a file inside the vault);
 * else as dz_witness_check(). */
dz_status dz_witness_add(struct dz_vault *v, int tmpfd, const char *name, enum dz_witness_kind kind,
                         const char *place, dz_err *err) DZ_MUST_CHECK;

/* Holds what a witness keeps against the log and, if the log continues it, hands over the present
 * head.  `kept` is what was read from paper; for other kinds it is NULL and is fetched.
 * *ret_size is how many leaves are now confirmed.
 *   DZ_E_CORRUPT    the log does not continue it: rewritten or rolled back.  Nothing was handed
 *                   over; an ALARM leaf was appended
 *   DZ_E_NOT_FOUND  it keeps nothing any more
 *   DZ_E_POLICY     a command is run only for the owner of the vault's directory
 *   DZ_E_IO         it cannot be reached, or the log cannot be written;  DZ_E_MALFORMED, DZ_E_NOMEM
 */
dz_status dz_witness_check(struct dz_vault *v, int tmpfd, const dz_witness *w, const dz_slice *kept,
                           uint64_t *ret_size, dz_err *err) DZ_MUST_CHECK;
