/* intake/push.h -- the source's side of the take protocol: sends a tree to a vault.
 *
 *   [tree: entries, bytes] ─▶ chunks ─▶ HAVE ─▶ [window] ─▶ CHUNK or REFS, ENTRY ─▶ COMMIT ─▶ DONE
 *
 * Where the entries come from is the caller's: a local tree (intake/push_local.h), a share.  How
 * the bytes travel, too: a socket pair (intake/push_wire.h), TLS.  Only what the vault lacks from
 * this source is sent.  A run that broke off is tried again with the same run id; what came before
 * is not sent twice, and a snapshot whose DONE was lost is not made twice.
 *
 * Runs in the calling thread.  Memory: below 64 MiB, and what a tree keeps itself. */
#pragma once

#include "intake/path_cache.h"
#include "intake/wire.h"

/* How bytes travel.  Both give DZ_E_IO when that is over. */
struct dz_push_wire {
    /* Sends all of them. */
    dz_status (*send)(void *ctx, dz_slice bytes, dz_err *err);
    /* Waits until something has come, and gives at most `room` bytes of it. */
    dz_status (*receive)(void *ctx, uint8_t *to, size_t room, size_t *ret_len, dz_err *err);
    void *ctx;
};

/* One object of a tree.  Slices are borrowed until the next next() or finish(). */
struct dz_push_item {
    dz_entry entry; /* without content and features; what cannot be sent is said instead of it */
    bool content;   /* has bytes, for read() */
    /* Equal keys: equal content and fields.  Only with content; what read() gives may lead to
     * another key in finish(), where `remember` says that the key may be relied on. */
    bool keyed, remember;
    struct dz_path_key key;
    uint8_t what;  /* enum dz_problem_kind; 0: nothing is wrong */
    int sys_errno; /* why */
    bool gone;     /* only the problem is sent.  Not after read() gave bytes */
};

struct dz_push_tree {
    /* The next object, in the order of a manifest (store/entry.h), with each directory before what
     * is below it. */
    dz_status (*next)(void *ctx, struct dz_push_item *ret_item, bool *ret_end, dz_err *err);
    /* The next bytes of the item's content, at most `room`: as read(2), 0 at the end. */
    ssize_t (*read)(void *ctx, uint8_t *to, size_t room);
    /* After read() gave 0 or -1 (then `failed` is its errno), or nothing was read because the key
     * was known (then it is not called): the item as it is now.  Its size, or the data of its
     * extents, must be `bytes`, unless its flags say that it could not be read. */
    dz_status (*finish)(void *ctx, uint64_t bytes, int failed, struct dz_push_item *item,
                        dz_err *err);
    void *ctx;
};

struct dz_push_progress {
    uint64_t entries;
    uint64_t bytes;      /* of their files */
    uint64_t read_bytes; /* that had to be read */
    uint64_t sent_bytes; /* of chunks that had to be sent */
};

struct dz_push_how {
    const char *source;
    uint8_t run[DZ_WIRE_RUN]; /* random; the same when a run is tried again */
    const char *host;         /* for people; at most DZ_WIRE_HOST_MAX bytes */
    dz_slice paths, excludes; /* fields: for people, too */
    /* Signs a digest with the key that was enrolled; NULL on the vault's own host. */
    dz_status (*sign)(void *ctx, const uint8_t digest[DZ_SHA256_BYTES],
                      uint8_t ret_proof[DZ_WIRE_PROOF], dz_err *err);
    void *sign_ctx;
    const struct dz_push_wire *wire;
    const struct dz_push_tree *tree;
    /* Where files that did not change are remembered; cachefd -1: nowhere. */
    int cachefd;
    const char *cache_name;
    bool reread; /* trust no cache */
    /* called now and then; may be NULL */
    void (*progress)(void *ctx, const struct dz_push_progress *p);
    void *ctx;
};

/* How it ended; filled whatever happened. */
struct dz_push_end {
    struct dz_wire_done done;       /* where it is DZ_OK */
    bool again;                     /* the run had been kept before: nothing was sent */
    uint64_t problems;              /* that were said */
    struct dz_wire_refused refused; /* code 0: it was not */
    /* The vault no longer has what the cache relied on, and the cache is gone: to be tried again at
     * once, with the same run id. */
    bool stale;
};

/* Sends the tree.  DZ_OK: the snapshot stands.
 * DZ_E_POLICY (refused: end->refused says why and when to try again), DZ_E_BUSY (end->stale),
 * DZ_E_IO (the connection), DZ_E_MALFORMED (not a vault that speaks this), DZ_E_NOMEM, the tree's.
 */
dz_status dz_push_run(const struct dz_push_how *how, struct dz_push_end *end,
                      dz_err *err) DZ_MUST_CHECK;
