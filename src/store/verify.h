/* store/verify.h -- is everything still what it was?  Finds damage, names it, says who suffers.
 *
 *   log ─▶ commits ─▶ packs (all cores) ─▶ index (healed) ─▶ reference trees ─▶ [damage]
 *                       └ open: segments, objects              └ open: lists of files ─▶ paths
 *
 * Closed, every stored byte is held against the name that binds it: the log's checkpoint binds the
 * leaves, they bind the commits, these bind packs and reference trees, and a pack's name is the
 * SHA-256 of its bytes.  Opened, it also proves that each reference tree says what the list of
 * files says, and with `data` that every object opens and is what its name stands for.
 *
 * Caches are not damage: a bad index is dropped and made again.  Nothing that is true is changed.
 * One verification belongs to one thread, which it also calls back on; its workers are joined
 * before it returns. */
#pragma once

#include "store/snapshot.h"
#include "store/vault.h"

enum {
    DZ_VERIFY_DAMAGE_MAX = 10000, /* damaged things told one by one; all are counted */
    DZ_VERIFY_PATHS_MAX = 1000,   /* paths told of each; all are counted */
};

enum dz_verify_what {
    DZ_VERIFY_CHANGED,    /* its bytes are not those that its name, or the log, binds */
    DZ_VERIFY_MISSING,    /* it is not there */
    DZ_VERIFY_FORGED,     /* a pack that this vault did not make */
    DZ_VERIFY_UNREADABLE, /* the system refused to read it */
    DZ_VERIFY_WRONG,      /* whole, but what is in it is not what is promised */
    DZ_VERIFY_DISAGREES,  /* a reference tree and a list of files that do not say the same */
    DZ_VERIFY_UNEXPECTED, /* no such file belongs there */
    DZ_VERIFY_NEWER,      /* written by a newer dozo */
    DZ_VERIFY_WHAT_COUNT
};
/* A clause for people: "is missing".  Static. */
const char *dz_verify_what_text(enum dz_verify_what what);

/* An entry that suffers.  Of a lost page of the list of files only its first path is known, and
 * how many entries it held, which come right after each other in tree order. */
typedef struct dz_verify_path {
    dz_slice path;    /* as in the manifest: any bytes but NUL */
    uint64_t entries; /* 1, or those of the lost page */
} dz_verify_path;

/* One damaged thing.  All is borrowed for the call. */
struct dz_verify_damage {
    /* "packs/<hex>", "commits/<hex>", "log/...", "vault.yaml", or "object <hex name>" of what no
     * pack holds any more.  Printable ASCII; safe to log. */
    const char *object;
    enum dz_verify_what what;
    const char *detail; /* more of it, for people; may be empty; safe to log */
    const uint8_t (*snapshots)[DZ_SNAPSHOT_ID_BYTES]; /* that need it, in log order */
    size_t n_snapshots;
    const dz_verify_path *paths; /* that need it; none while closed */
    size_t n_paths;              /* at most DZ_VERIFY_PATHS_MAX, each once */
    uint64_t entries;            /* that suffer, counted in every snapshot */
};

struct dz_verify_progress {
    uint64_t packs, packs_total;
    uint64_t bytes, bytes_total; /* of packs */
    uint64_t snapshots, snapshots_total;
};

struct dz_verify_how {
    bool data;           /* open everything; the vault must be open */
    unsigned sample_pct; /* 1..99: of the packs, a random share; 0 and 100: all */
    unsigned threads;    /* 0: one per processor */
    /* Called several times a second; may be NULL. */
    void (*progress)(void *ctx, const struct dz_verify_progress *p);
    /* Called at the end for each damaged thing, the log first; may be NULL. */
    void (*damage)(void *ctx, const struct dz_verify_damage *d);
    void *ctx;
};

struct dz_verify_result {
    uint64_t log_entries;
    uint64_t snapshots; /* commits read and held against the log */
    uint64_t packs, bytes;
    uint64_t objects; /* that the packs' tables name */
    uint64_t opened;  /* objects opened and compared with their names */
    uint64_t nodes;   /* distinct reference nodes walked */
    uint64_t damaged; /* things, told or not */
    /* no damage */
    uint64_t leftovers; /* files that nothing refers to: of a crash, or not ours */
    uint64_t rebuilt;   /* index runs dropped, or packs that the index lacked */
};

/* Verifies the vault; `v` may come from dz_vault_open_damaged().  `DZ_OK` also when there is
 * damage: see ret_result->damaged.  After a verification of all packs, what was found damaged is
 * marked, so that the next backup stores it anew, or marks of earlier ones are taken off; and a
 * leaf of kind DZ_LEAF_VERIFY is appended if the log is whole.  A vault that cannot be written is
 * verified without these. DZ_E_CLOSED  `data` and the vault is not open DZ_E_IO, DZ_E_NOMEM  it
 * could not go on: nothing is said about the vault */
dz_status dz_verify_run(struct dz_vault *v, const struct dz_verify_how *how,
                        struct dz_verify_result *ret_result, dz_err *err) DZ_MUST_CHECK;

/* The last whole verification, as the log has it. */
typedef struct dz_verify_last {
    int64_t when_us;
    bool data;        /* content was opened */
    uint64_t damaged; /* what it found */
    uint64_t packs, bytes, objects, snapshots;
    uint64_t leaf;
} dz_verify_last;
/* Looks through the log backwards; *ret_found is false when there never was one.  Closed is enough.
 * DZ_E_CORRUPT (the log), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_verify_last_read(struct dz_vault *v, dz_verify_last *ret_last, bool *ret_found,
                              dz_err *err) DZ_MUST_CHECK;
