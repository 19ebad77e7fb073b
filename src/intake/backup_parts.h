/* intake/backup_parts.h -- what the parts of a backup share; see intake/backup.h.
 *
 *   backup.c           all together: opens, starts the threads, commits
 *   backup_walk.c      the walker: from the scan to items        backup_ring.c  items in order
 *   backup_work.c      the workers: from items to fields         backup_assemble.c  to a manifest
 */
#pragma once

#include <pthread.h>

#include "intake/backup.h"
#include "intake/gather.h"
#include "intake/local.h"
#include "intake/path_cache.h"
#include "intake/read_spans.h"

enum {
    DZ_BACKUP_RING = 64, /* items between walker and assembler */
    DZ_BACKUP_WORKERS_MAX = 64,
};

/* One file-system object on its way. */
struct dz_backup_node {
    size_t path_at, path_len; /* in its item's text; NUL behind */
    size_t name_at;
    struct dz_dir *dir; /* held until it is read */
    struct dz_local local;
    bool ready; /* its fields are there already */
    uint64_t read;
    struct dz_path_key key;
    size_t fields_at, fields_len; /* in its item's fields */
};

/* A file of several spans. */
struct dz_backup_big {
    atomic_uint refs;
    int fd;
    struct dz_extents extents;
};

struct dz_backup_item {
    bool done;
    bool span;                    /* else a batch */
    struct dz_backup_node *nodes; /* a span has one: its file */
    size_t n;
    uint64_t weight; /* bytes of the batch's files */
    dz_buf text, fields;
    /* of a span */
    struct dz_backup_big *big;
    uint64_t from, len;
    bool last;
    struct dz_span result;
};

struct dz_backup {
    struct dz_vault *v;
    const struct dz_backup_how *how;
    struct dz_session *session;
    struct dz_chunker *chunker;
    struct dz_path_cache *cache;
    struct dz_scan *scan;
    struct dz_local_how local; /* its secret is also the context of the path cache's keys */
    uint8_t digest_key[DZ_KEY_BYTES];
    unsigned dirs_max; /* directories that may be open */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct dz_backup_item *ring[DZ_BACKUP_RING];
    uint64_t head, run, tail; /* next to assemble, to work on, to add */
    size_t held;              /* bytes of fields of items that are done */
    bool closed;              /* no more items come */
    dz_status failed;
    dz_err why;
};

/* --- the ring: thread-safe --- */

/* Remembers the first failure; every wait ends. */
void dz_backup_fail(struct dz_backup *b, dz_status s, const dz_err *why);
/* The first failure, or DZ_OK. */
dz_status dz_backup_failed(struct dz_backup *b, dz_err *err);

/* An item with room for so many nodes; NULL: out of memory. */
struct dz_backup_item *dz_backup_item_new(size_t nodes);
void dz_backup_item_free(struct dz_backup_item *it); /* NULL is fine */
void dz_backup_big_unref(struct dz_backup_big *big); /* closes with the last; NULL is fine */

/* Adds an item; waits while the ring is full.  Takes it over, also when the backup has failed. */
bool dz_backup_ring_add(struct dz_backup *b, struct dz_backup_item *it);
/* No more items come. */
void dz_backup_ring_close(struct dz_backup *b);
/* The next item to work on, and that it is done; NULL at the end or after a failure. */
struct dz_backup_item *dz_backup_ring_work(struct dz_backup *b);
void dz_backup_ring_done(struct dz_backup *b, struct dz_backup_item *it);
/* The next item in order, when it is done; NULL at the end or after a failure. */
struct dz_backup_item *dz_backup_ring_take(struct dz_backup *b);
/* Waits while more than dirs_max directories are open and some item may close them. */
void dz_backup_ring_wait_dirs(struct dz_backup *b);

/* --- the walker --- */

void *dz_backup_walk(void *backup); /* for pthread_create() */

/* --- the workers --- */

struct dz_backup_worker {
    struct dz_backup *b;
    pthread_t thread;
    struct dz_lane *lane;
    struct dz_sink sink;
    struct dz_file_reader *reader;
    struct dz_content_builder *content;
    struct dz_path_window window;
    struct dz_span span;
};
dz_status dz_backup_worker_open(struct dz_backup_worker *w, struct dz_backup *b,
                                dz_err *err) DZ_MUST_CHECK;
void dz_backup_worker_close(struct dz_backup_worker *w);
void *dz_backup_work(void *worker); /* for pthread_create() */

/* Known and not due to be read again: its fields come from the cache. */
bool dz_backup_from_cache(struct dz_backup *b, struct dz_backup_node *n, dz_slice path,
                          struct dz_path_window *window, dz_buf *fields);
/* Appends everything after the content: in the order of tags. */
void dz_backup_put_tail(const struct dz_backup *b, struct dz_backup_node *n, const char *name,
                        int fd, const struct dz_extents *x, const struct dz_features *features,
                        const uint8_t identity[DZ_SHA256_BYTES], dz_buf *fields);

/* --- the assembler: the thread that called dz_backup_run() --- */

struct dz_backup_assembler {
    struct dz_backup *b;
    struct dz_lane *lane;
    struct dz_gather gather;
    struct dz_content_builder *content;
    struct dz_path_writer *cache;
    struct dz_hasher *hasher;
    struct dz_backup_progress progress;
    /* the large file whose spans are coming in */
    struct dz_features features;
    uint64_t span_read;
    int span_failed;
    bool span_short;
};
dz_status dz_backup_assembler_open(struct dz_backup_assembler *a, struct dz_backup *b,
                                   struct dz_commit *commit, dz_err *err) DZ_MUST_CHECK;
void dz_backup_assembler_close(struct dz_backup_assembler *a);
/* All items, to the last. */
dz_status dz_backup_assemble(struct dz_backup_assembler *a, dz_err *err) DZ_MUST_CHECK;
