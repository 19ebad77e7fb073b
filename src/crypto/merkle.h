/* crypto/merkle.h -- the Merkle tree of the log: RFC 6962 section 2.1 (= RFC 9162), SHA-256.
 *
 *   leaf = SHA-256(0x00 || entry)     node = SHA-256(0x01 || left || right)
 *
 * A *complete subtree* (level k, index i) covers the leaves [i * 2^k, (i + 1) * 2^k).  Whoever can
 * give the hashes of complete subtrees (the log from its tiles, a test from an array) gets roots
 * and proofs of any size here.  Verifying needs nothing but the proof.  Thread-safe. */
#pragma once

#include "core/error.h"
#include "core/slice.h"

typedef struct dz_merkle_hash {
    uint8_t b[32];
} dz_merkle_hash;

enum { DZ_MERKLE_PROOF_MAX = 64 }; /* hashes; trees of fewer than 2^63 leaves */

typedef struct dz_merkle_proof {
    size_t count;
    dz_merkle_hash hash[DZ_MERKLE_PROOF_MAX];
} dz_merkle_proof;

static inline bool dz_merkle_eq(const dz_merkle_hash *a, const dz_merkle_hash *b) {
    return memcmp(a->b, b->b, sizeof a->b) == 0; /* public values: no need for constant time */
}

dz_merkle_hash dz_merkle_empty(void); /* root of the tree without leaves */
dz_merkle_hash dz_merkle_leaf(dz_slice entry);
dz_merkle_hash dz_merkle_node(const dz_merkle_hash *left, const dz_merkle_hash *right);
/* Root over `n` >= 1 neighbouring hashes of one level. */
dz_merkle_hash dz_merkle_fold(const dz_merkle_hash *hashes, size_t n);

/* Gives the hash of a complete subtree.  A failure is handed up as it is. */
struct dz_merkle_nodes {
    dz_status (*get)(void *ctx, unsigned level, uint64_t index, dz_merkle_hash *ret_hash,
                     dz_err *err);
    void *ctx;
};

/* Root of the first `size` leaves. */
dz_status dz_merkle_root(const struct dz_merkle_nodes *nodes, uint64_t size,
                         dz_merkle_hash *ret_root, dz_err *err) DZ_MUST_CHECK;
/* RFC 9162 section 2.1.3.1.  DZ_E_USAGE unless index < size. */
dz_status dz_merkle_prove_inclusion(const struct dz_merkle_nodes *nodes, uint64_t index,
                                    uint64_t size, dz_merkle_proof *ret_proof,
                                    dz_err *err) DZ_MUST_CHECK;
/* RFC 9162 section 2.1.4.1.  DZ_E_USAGE unless 0 < old_size <= size; equal sizes: empty proof. */
dz_status dz_merkle_prove_consistency(const struct dz_merkle_nodes *nodes, uint64_t old_size,
                                      uint64_t size, dz_merkle_proof *ret_proof,
                                      dz_err *err) DZ_MUST_CHECK;

/* RFC 9162 sections 2.1.3.2 and 2.1.4.2. */
bool dz_merkle_included(const dz_merkle_hash *leaf, uint64_t index, uint64_t size,
                        const dz_merkle_proof *proof, const dz_merkle_hash *root);
bool dz_merkle_consistent(uint64_t old_size, const dz_merkle_hash *old_root, uint64_t size,
                          const dz_merkle_hash *root, const dz_merkle_proof *proof);
