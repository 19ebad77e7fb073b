/* tests/unit/store/memory_objects.h -- a vault in memory: a sink and a source for trees.
 *
 * Keeps every object once, counts what was asked, and can lose or damage objects.  Aborts when
 * memory runs out.  One thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "store/object.h"

struct dz_memory_objects;

struct dz_memory_objects *dz_memory_objects_new(void);
void dz_memory_objects_free(struct dz_memory_objects *m); /* NULL is fine */
DZ_DEFINE_AUTO(dz_memory_objects, dz_memory_objects_free)

/* Borrow `m`. */
struct dz_sink dz_memory_sink(struct dz_memory_objects *m);
struct dz_source dz_memory_source(struct dz_memory_objects *m);

typedef struct dz_memory_stats {
    size_t puts;        /* calls of put */
    size_t gets;        /* calls of get */
    size_t objects[16]; /* distinct, by kind */
    size_t bytes[16];   /* of those, by kind */
} dz_memory_stats;
dz_memory_stats dz_memory_objects_stats(const struct dz_memory_objects *m);

/* The n-th distinct object (0 ..), in the order of their first put. */
size_t dz_memory_objects_count(const struct dz_memory_objects *m);
void dz_memory_objects_at(const struct dz_memory_objects *m, size_t n, enum dz_kind *ret_kind,
                          dz_id *ret_id, dz_slice *ret_bytes);

/* The object is not found any more, until it is put again. */
void dz_memory_objects_lose(struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id);
/* The source then gives these bytes (copied) for the id without checking them: a hostile vault. */
void dz_memory_objects_forge(struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id,
                             dz_slice bytes);
/* The n-th put from now on fails with DZ_E_IO; 0: none does. */
void dz_memory_objects_fail_put(struct dz_memory_objects *m, size_t n);
