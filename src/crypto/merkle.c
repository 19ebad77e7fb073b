#include "crypto/merkle.h"

#include <inttypes.h>

#include "crypto/hash.h"

dz_merkle_hash dz_merkle_empty(void) {
    dz_merkle_hash h;

    dz_sha256((dz_slice){ 0 }, h.b);
    return h;
}

dz_merkle_hash dz_merkle_leaf(dz_slice entry) {
    const uint8_t prefix = 0;
    const dz_slice parts[] = { { &prefix, 1 }, entry };
    dz_merkle_hash h;

    dz_sha256v(parts, 2, h.b);
    return h;
}

dz_merkle_hash dz_merkle_node(const dz_merkle_hash *left, const dz_merkle_hash *right) {
    uint8_t both[65] = { 1 };
    dz_merkle_hash h;

    memcpy(both + 1, left->b, 32);
    memcpy(both + 33, right->b, 32);
    dz_sha256((dz_slice){ both, sizeof both }, h.b);
    return h;
}

/* The largest power of two below n, for n >= 2. */
static uint64_t split_of(uint64_t n) {
    return (uint64_t) 1 << (63 - __builtin_clzll(n - 1));
}

dz_merkle_hash dz_merkle_fold(const dz_merkle_hash *hashes, size_t n) {
    dz_merkle_hash l, r;
    size_t k;

    if (n == 1)
        return hashes[0];
    k = (size_t) split_of(n);
    l = dz_merkle_fold(hashes, k);
    r = dz_merkle_fold(hashes + k, n - k);
    return dz_merkle_node(&l, &r);
}

/* MTH(D[from:to]) for the ranges that the RFC's recursion meets: `from` is a multiple of a power
 * of two that is not below to - from, so every left part is one complete subtree. */
static dz_status range(const struct dz_merkle_nodes *nodes, uint64_t from, uint64_t to,
                       dz_merkle_hash *ret_hash, dz_err *err) {
    dz_merkle_hash left[64];
    size_t count = 0;
    dz_merkle_hash h;

    for (;;) { /* walk down the right side, then hash back up */
        uint64_t n = to - from;
        uint64_t part = (n & (n - 1)) == 0 ? n : split_of(n);
        unsigned level = (unsigned) __builtin_ctzll(part);

        DZ_TRY(nodes->get(nodes->ctx, level, from >> level, &h, err));
        if (part == n)
            break;
        left[count++] = h;
        from += part;
    }
    while (count > 0)
        h = dz_merkle_node(&left[--count], &h);
    *ret_hash = h;
    return DZ_OK;
}

dz_status dz_merkle_root(const struct dz_merkle_nodes *nodes, uint64_t size,
                         dz_merkle_hash *ret_root, dz_err *err) {
    if (size == 0) {
        *ret_root = dz_merkle_empty();
        return DZ_OK;
    }
    return range(nodes, 0, size, ret_root, err);
}

/* Both proofs walk down from the root and note the sibling at each step; the RFC lists them from
 * the bottom up. */
static void turn_round(dz_merkle_proof *p) {
    for (size_t i = 0; i < p->count / 2; i++) {
        dz_merkle_hash h = p->hash[i];
        p->hash[i] = p->hash[p->count - 1 - i];
        p->hash[p->count - 1 - i] = h;
    }
}

dz_status dz_merkle_prove_inclusion(const struct dz_merkle_nodes *nodes, uint64_t index,
                                    uint64_t size, dz_merkle_proof *ret_proof, dz_err *err) {
    dz_merkle_proof p = { 0 };
    uint64_t from = 0, to = size;

    if (index >= size)
        return DZ_FAIL(err, DZ_E_USAGE, "inclusion proof: leaf %" PRIu64 " of %" PRIu64, index,
                       size);
    while (to - from > 1) {
        uint64_t mid = from + split_of(to - from);

        if (index < mid) {
            DZ_TRY(range(nodes, mid, to, &p.hash[p.count++], err));
            to = mid;
        } else {
            DZ_TRY(range(nodes, from, mid, &p.hash[p.count++], err));
            from = mid;
        }
    }
    turn_round(&p);
    *ret_proof = p;
    return DZ_OK;
}

dz_status dz_merkle_prove_consistency(const struct dz_merkle_nodes *nodes, uint64_t old_size,
                                      uint64_t size, dz_merkle_proof *ret_proof, dz_err *err) {
    dz_merkle_proof p = { 0 };
    uint64_t from = 0, to = size;

    if (old_size == 0 || old_size > size)
        return DZ_FAIL(err, DZ_E_USAGE, "consistency proof: from size %" PRIu64 " to %" PRIu64,
                       old_size, size);
    while (old_size < to) {
        uint64_t mid = from + split_of(to - from);

        if (old_size <= mid) {
            DZ_TRY(range(nodes, mid, to, &p.hash[p.count++], err));
            to = mid;
        } else {
            DZ_TRY(range(nodes, from, mid, &p.hash[p.count++], err));
            from = mid;
        }
    }
    if (from > 0) /* else the rest is the whole old tree, whose root the verifier has */
        DZ_TRY(range(nodes, from, to, &p.hash[p.count++], err));
    turn_round(&p);
    *ret_proof = p;
    return DZ_OK;
}

bool dz_merkle_included(const dz_merkle_hash *leaf, uint64_t index, uint64_t size,
                        const dz_merkle_proof *proof, const dz_merkle_hash *root) {
    uint64_t fn = index, sn;
    dz_merkle_hash r = *leaf;

    if (index >= size || proof->count > DZ_MERKLE_PROOF_MAX)
        return false;
    sn = size - 1;
    for (size_t i = 0; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            r = dz_merkle_node(&proof->hash[i], &r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            r = dz_merkle_node(&r, &proof->hash[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && dz_merkle_eq(&r, root);
}

bool dz_merkle_consistent(uint64_t old_size, const dz_merkle_hash *old_root, uint64_t size,
                          const dz_merkle_hash *root, const dz_merkle_proof *proof) {
    dz_merkle_hash fr, sr;
    uint64_t fn, sn;
    size_t i = 0;

    if (old_size > size || proof->count > DZ_MERKLE_PROOF_MAX)
        return false;
    if (old_size == size)
        return proof->count == 0 && dz_merkle_eq(old_root, root);
    if (old_size == 0) { /* every log continues the empty one, if that is what the old root says */
        dz_merkle_hash empty = dz_merkle_empty();
        return proof->count == 0 && dz_merkle_eq(old_root, &empty);
    }
    fn = old_size - 1;
    sn = size - 1;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    if ((old_size & (old_size - 1)) == 0) { /* the old tree is complete: its root starts */
        fr = *old_root;
    } else {
        if (proof->count == 0)
            return false;
        fr = proof->hash[i++];
    }
    sr = fr;
    for (; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            fr = dz_merkle_node(&proof->hash[i], &fr);
            sr = dz_merkle_node(&proof->hash[i], &sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            sr = dz_merkle_node(&sr, &proof->hash[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && dz_merkle_eq(&fr, old_root) && dz_merkle_eq(&sr, root);
}
