/* store/node.h -- the bytes of manifest nodes: leaves and inner nodes.
 *
 *   manifest builder ─▶ [node] ─▶ tree walk
 *
 * Readers go through a node once, front to back; every step checks what it reads, and what was read
 * to the end spells the same bytes again.  Layout: docs/format/manifest.md. */
#pragma once

#include "store/entry.h"
#include "store/object.h"

enum { /* first byte of what is kept as kind NODE or REF */
       DZ_NODE_LEAF = 'L',
       DZ_NODE_INNER = 'I',
       DZ_NODE_LIST = 'C',
       DZ_NODE_REF = 'R',
};
enum {
    DZ_NODE_HEADER = 4, /* magic, version, compatible bits, incompatible bits */
    DZ_NODE_VERSION = 1,
    DZ_INNER_ITEMS_MAX = 1024,
};

void dz_node_header_put(dz_buf *to, uint8_t magic);
/* DZ_E_CORRUPT (another magic), DZ_E_UNSUPPORTED (newer version, unknown incompatible bits). */
dz_status dz_node_header_read(dz_reader *r, uint8_t magic, dz_err *err) DZ_MUST_CHECK;

/* Sums of sizes stay at UINT64_MAX once they get there: two sparse files can be larger together. */
static inline uint64_t dz_sum_sizes(uint64_t a, uint64_t b) {
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

typedef struct dz_inner_item {
    dz_slice path;    /* of the child's first entry; borrowed from the reader's `path` */
    dz_id node;       /* the child */
    uint64_t entries; /* in and below the child */
    uint64_t bytes;   /* sum of their sizes */
} dz_inner_item;

void dz_inner_item_put(const dz_inner_item *item, dz_slice previous, dz_buf *to);

/* One node being read; zeroed it is empty.  `bytes` is the node, owned. */
struct dz_node {
    dz_buf bytes;
    dz_buf path; /* of the item read last */
    dz_reader r;
    uint8_t height; /* 0: leaf */
    bool first;     /* nothing was read yet */
    uint32_t items; /* read so far */
};
void dz_node_done(struct dz_node *n);

/* Goes to the front of n->bytes, which must be a node of this height.
 * DZ_E_CORRUPT, DZ_E_UNSUPPORTED. */
dz_status dz_node_begin(struct dz_node *n, uint8_t height, dz_err *err) DZ_MUST_CHECK;
static inline bool dz_node_more(const struct dz_node *n) {
    return dz_reader_left(&n->r) > 0;
}
/* The next entry of a leaf, or item of an inner node; there must be more.  Borrowed until the next
 * call.  DZ_E_CORRUPT, DZ_E_NOMEM. */
dz_status dz_leaf_next(struct dz_node *n, dz_entry *ret_entry, dz_err *err) DZ_MUST_CHECK;
dz_status dz_inner_next(struct dz_node *n, dz_inner_item *ret_item, dz_err *err) DZ_MUST_CHECK;

/* Reads all of n->bytes, sums it up, and goes back to the front. */
typedef struct dz_node_sum {
    uint64_t entries;
    uint64_t bytes;
} dz_node_sum;
dz_status dz_node_check(struct dz_node *n, uint8_t height, dz_node_sum *ret_sum,
                        dz_err *err) DZ_MUST_CHECK;
