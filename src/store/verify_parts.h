/* store/verify_parts.h -- what the parts of a verification share; see store/verify.h.
 *
 *   verify.c         the order of things: log, commits, index, marks
 *   verify_packs.c   packs, on all cores
 *   verify_refs.c    reference trees                  verify_files.c  lists of files
 *   verify_rows.c    what was found, and who suffers  verify_leaf.c   what the log keeps of it */
#pragma once

#include "store/fetch.h"
#include "store/id_set.h"
#include "store/packlist.h"
#include "store/verify.h"

/* A snapshot whose commit was read. */
struct dz_verify_snap {
    uint8_t id[DZ_SNAPSHOT_ID_BYTES];
    uint8_t file[DZ_SHA256_BYTES];
    dz_id ref_root;
    dz_manifest_root root; /* where `opened` */
    bool opened;
};

/* A pack that the commit of a snapshot says it wrote. */
struct dz_verify_wrote {
    dz_pack_id pack;
    uint64_t snap;
};

/* Where a pack is bad though the rest of it can be relied on. */
struct dz_verify_place {
    dz_pack_id pack;
    uint32_t seg_offset;
    uint32_t slot; /* DZ_VERIFY_ALL_SLOTS: the whole segment */
};
enum { DZ_VERIFY_ALL_SLOTS = UINT16_MAX };

struct dz_verify_row;

struct dz_verify {
    struct dz_vault *v;
    const struct dz_verify_how *how;
    struct dz_verify_result result;
    bool whole; /* not a sample */
    bool log_bad;
    int tmpfd; /* -1: the vault cannot be written */

    dz_buf snaps; /* struct dz_verify_snap, in log order */
    dz_buf wrote; /* struct dz_verify_wrote */

    struct dz_catalog catalog;
    uint8_t *bad_packs;   /* of each of catalog.all: nothing in it can be relied on */
    uint8_t *found_packs; /* of each of catalog.all: damage of some sort */
    bool *covered_packs;  /* of each of catalog.all: some index run has it */
    uint32_t *pack_names; /* of each of catalog.all: names in its table */
    uint64_t index_names; /* entries the index should have */
    bool tables_known;    /* every pack's table was read */
    bool index_lacks;     /* a name that a table has is not found at its place */
    bool index_twice;     /* a pack is in two of its runs */
    dz_buf bad_places;    /* struct dz_verify_place; sorted once the packs are done */

    uint64_t packs_total, bytes_total; /* to be read */

    pthread_mutex_t lock;     /* guards all below, result and bad_places, while packs are read */
    struct dz_id_map *row_of; /* what was found -> its number, little-endian */
    dz_buf rows;              /* struct dz_verify_row; in the order found */
    size_t path_bytes;        /* kept in all rows */
    uint8_t *suffers;         /* of each snapshot */
};

static inline struct dz_verify_snap *dz_verify_snaps(const struct dz_verify *x) {
    void *data = x->snaps.data;
    return data;
}
static inline size_t dz_verify_snap_count(const struct dz_verify *x) {
    return x->snaps.len / sizeof(struct dz_verify_snap);
}

/* --- verify_rows.c ---------------------------------------------------------------------------- */

/* Notes a damaged thing, once for each `object`.  Thread-safe.  DZ_E_NOMEM. */
dz_status dz_verify_note(struct dz_verify *x, const char *object, enum dz_verify_what what,
                         const char *detail, dz_err *err) DZ_MUST_CHECK;
dz_status dz_verify_note_pack(struct dz_verify *x, const dz_pack_id *pack, enum dz_verify_what what,
                              const char *detail, dz_err *err) DZ_MUST_CHECK;
/* The same for a thing that one snapshot needs, and an entry of it if `path` is not NULL. */
dz_status dz_verify_note_for(struct dz_verify *x, const char *object, enum dz_verify_what what,
                             const char *detail, size_t snap, const dz_verify_path *path,
                             dz_err *err) DZ_MUST_CHECK;
dz_status dz_verify_note_pack_for(struct dz_verify *x, const dz_pack_id *pack,
                                  enum dz_verify_what what, const char *detail, size_t snap,
                                  const dz_verify_path *path, dz_err *err) DZ_MUST_CHECK;

/* Asks for an object that a snapshot needs; if no pack that can be relied on has it, the snapshot
 * (and entry) is added to what is damaged, and *ret_lost is true.  `got` is what reading it said:
 * a failure makes it lost though the index has a place; DZ_OK: it was not read, or read well. */
dz_status dz_verify_need(struct dz_verify *x, const dz_name *name, dz_status got, const dz_err *why,
                         size_t snap, const dz_verify_path *path, bool *ret_lost,
                         dz_err *err) DZ_MUST_CHECK;

/* Calls how->damage for all. */
dz_status dz_verify_tell(struct dz_verify *x, dz_err *err) DZ_MUST_CHECK;
void dz_verify_rows_release(struct dz_verify *x);

/* What a failure to read means. */
enum dz_verify_what dz_verify_what_of(dz_status status);

/* --- verify_packs.c --------------------------------------------------------------------------- */

/* Reads the packs (or a share of them), notes what is bad.  DZ_E_IO (threads), DZ_E_NOMEM. */
dz_status dz_verify_packs(struct dz_verify *x, dz_err *err) DZ_MUST_CHECK;
/* Where pack stands in catalog.all; SIZE_MAX: it is not there. */
size_t dz_verify_pack_at(const struct dz_verify *x, const uint8_t pack[DZ_SHA256_BYTES]);
/* Whether what lies there can be relied on; a dz_index_accept. */
bool dz_verify_place_good(void *x, const dz_place *place);
void dz_verify_tell_progress(const struct dz_verify *x, uint64_t snapshots);

/* --- verify_refs.c, verify_files.c ------------------------------------------------------------ */

dz_status dz_verify_refs(struct dz_verify *x, struct dz_fetch *f, dz_err *err) DZ_MUST_CHECK;
dz_status dz_verify_files(struct dz_verify *x, struct dz_fetch *f, dz_err *err) DZ_MUST_CHECK;

/* --- verify_leaf.c ---------------------------------------------------------------------------- */

/* Appends the leaf that says what was found. */
dz_status dz_verify_log(struct dz_verify *x, const dz_pack_id *bad, size_t n_bad,
                        dz_err *err) DZ_MUST_CHECK;
