#include "crypto/share.h"

#include <sodium.h>

#include "crypto/gf256.h"
#include "crypto/hash.h"

dz_status dz_share_split(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                         unsigned n, unsigned k, dz_share *ret_shares, dz_err *err) {
    uint8_t *coefficients; /* of x^1 .. x^(k-1), DZ_ROOT_BYTES each */
    uint8_t set[sizeof ret_shares->set];

    if (k == 1)
        return DZ_FAIL(err, DZ_E_USAGE, "a threshold of 1 splits nothing: use a key file");
    if (k < 2 || k > n || n > DZ_SHARES_MAX)
        return DZ_FAIL(err, DZ_E_USAGE,
                       "%u custodians with a threshold of %u: 2 <= threshold <= custodians <= %d",
                       n, k, DZ_SHARES_MAX);
    coefficients = sodium_malloc((size_t) (k - 1) * DZ_ROOT_BYTES);
    if (!coefficients)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory to split a key");
    dz_random(coefficients, (size_t) (k - 1) * DZ_ROOT_BYTES);
    dz_random(set, sizeof set);

    for (unsigned i = 0; i < n; i++) {
        dz_share *s = &ret_shares[i];

        *s = (dz_share){ .vault = host->vault,
                         .epoch = host->epoch,
                         .x = (uint8_t) (i + 1),
                         .threshold = (uint8_t) k,
                         .count = (uint8_t) n };
        memcpy(s->set, set, sizeof set);
        for (unsigned c = k - 1; c-- > 0;) /* Horner's rule, highest power first */
            for (unsigned b = 0; b < DZ_ROOT_BYTES; b++)
                s->y[b] = dz_gf256_mul(s->y[b] ^ coefficients[c * DZ_ROOT_BYTES + b], s->x);
        for (unsigned b = 0; b < DZ_ROOT_BYTES; b++)
            s->y[b] ^= root[b];
    }
    sodium_free(coefficients); /* wipes */
    return DZ_OK;
}

void dz_share_commitment(const dz_share *share, uint8_t ret[32]) {
    uint8_t epoch[4], numbers[3] = { share->x, share->threshold, share->count };
    const dz_slice parts[] = {
        DZ_SLICE_LIT("dozo share v1"), { share->vault.b, sizeof share->vault.b },
        { epoch, sizeof epoch },       { share->set, sizeof share->set },
        { numbers, sizeof numbers },   { share->y, sizeof share->y },
    };

    dz_store_le(epoch, sizeof epoch, share->epoch);
    dz_sha256v(parts, sizeof parts / sizeof parts[0], ret);
}

static bool same_set(const dz_share *a, const dz_share *b) {
    return memcmp(a->set, b->set, sizeof a->set) == 0 && a->threshold == b->threshold &&
           a->count == b->count;
}

/* The splitting that most shares belong to: so one stray share is the one that is named. */
static const dz_share *common_set(const dz_share *shares, size_t n) {
    const dz_share *best = shares;
    size_t best_size = 0;

    for (size_t i = 0; i < n; i++) {
        size_t size = 0;
        for (size_t j = 0; j < n; j++)
            size += same_set(&shares[i], &shares[j]);
        if (size > best_size) {
            best = &shares[i];
            best_size = size;
        }
    }
    return best;
}

static dz_status check_share(const dz_share *s, size_t place, const dz_share *set,
                             const struct dz_host_keys *host, const uint8_t *commitments,
                             size_t n_commitments, dz_err *err) {
    if (memcmp(s->vault.b, host->vault.b, sizeof s->vault.b) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "share %zu is of another vault", place);
    if (s->epoch != host->epoch)
        return DZ_FAIL(err, DZ_E_POLICY, "share %zu is of epoch %u; the vault is in epoch %u",
                       place, s->epoch, host->epoch);
    if (!same_set(s, set))
        return DZ_FAIL(err, DZ_E_POLICY,
                       "share %zu (number %u) is of another splitting than the others", place,
                       s->x);
    if (s->threshold < 2 || s->threshold > s->count || s->x < 1 || s->x > s->count)
        return DZ_FAIL(err, DZ_E_MALFORMED, "share %zu says it is number %u of %u, threshold %u",
                       place, s->x, s->count, s->threshold);
    if (commitments) {
        uint8_t made[32];

        dz_share_commitment(s, made);
        if (s->x > n_commitments ||
            memcmp(made, commitments + (size_t) (s->x - 1) * sizeof made, sizeof made) != 0)
            return DZ_FAIL(err, DZ_E_MALFORMED,
                           "share %zu (number %u) is wrong: it is not what the vault gave out",
                           place, s->x);
    }
    return DZ_OK;
}

/* The polynomial through k points (xs[i], ys[i]), at `at` (Lagrange).  The xs are public. */
static void interpolate(const uint8_t *xs, const uint8_t *const *ys, unsigned k, uint8_t at,
                        uint8_t ret[DZ_ROOT_BYTES]) {
    sodium_memzero(ret, DZ_ROOT_BYTES);
    for (unsigned i = 0; i < k; i++) {
        uint8_t over = 1, under = 1;

        for (unsigned j = 0; j < k; j++)
            if (j != i) {
                over = dz_gf256_mul(over, at ^ xs[j]);
                under = dz_gf256_mul(under, xs[i] ^ xs[j]);
            }
        over = dz_gf256_mul(over, dz_gf256_inv(under));
        for (unsigned b = 0; b < DZ_ROOT_BYTES; b++)
            ret[b] ^= dz_gf256_mul(over, ys[i][b]);
    }
}

/* Whether this root is the one whose public half the vault holds. */
static dz_status check_root(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                            dz_err *err) {
    DZ_AUTO(dz_open_keys) open = NULL;

    DZ_TRY(dz_keys_derive(root, &host->vault, host->epoch, NULL, &open, err));
    if (memcmp(open->recipient, host->recipient, sizeof open->recipient) != 0)
        return DZ_FAIL(
            err, DZ_E_MALFORMED,
            "the shares fit each other but do not open this vault: at least one is wrong");
    return DZ_OK;
}

dz_status dz_share_combine(const dz_share *shares, size_t n, const struct dz_host_keys *host,
                           const uint8_t *commitments, size_t n_commitments,
                           uint8_t ret_root[DZ_ROOT_BYTES], size_t *reterr_share, dz_err *err) {
    const uint8_t *ys[DZ_SHARES_MAX];
    uint8_t xs[DZ_SHARES_MAX], made[DZ_ROOT_BYTES];
    const dz_share *set;
    unsigned have = 0;
    size_t nobody;
    size_t *about = reterr_share ? reterr_share : &nobody;
    dz_status st = DZ_OK;

    *about = 0;
    if (n == 0)
        return DZ_FAIL(err, DZ_E_CLOSED, "no share was given");
    if (n > 4 * DZ_SHARES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%zu shares; at most %d are taken", n, 4 * DZ_SHARES_MAX);
    set = common_set(shares, n);
    for (size_t i = 0; i < n; i++) {
        unsigned seen = 0;

        *about = i + 1;
        DZ_TRY(check_share(&shares[i], i + 1, set, host, commitments, n_commitments, err));
        while (seen < have && xs[seen] != shares[i].x)
            seen++;
        if (seen == have) {
            xs[have] = shares[i].x;
            ys[have++] = shares[i].y;
        } else if (sodium_memcmp(ys[seen], shares[i].y, DZ_ROOT_BYTES) != 0)
            return DZ_FAIL(err, DZ_E_MALFORMED, "share %zu is a second, different number %u", i + 1,
                           shares[i].x);
    }
    *about = 0;
    if (have < set->threshold)
        return DZ_FAIL(err, DZ_E_CLOSED, "%u of %u shares needed: %u still missing", have,
                       set->threshold, set->threshold - have);

    for (unsigned i = set->threshold; i < have && st == DZ_OK; i++) {
        interpolate(xs, ys, set->threshold, xs[i], made);
        if (sodium_memcmp(made, ys[i], sizeof made) != 0)
            st = DZ_FAIL(err, DZ_E_MALFORMED,
                         "the shares do not fit each other: at least one of them is wrong");
    }
    if (st == DZ_OK) {
        interpolate(xs, ys, set->threshold, 0, made);
        st = check_root(made, host, err);
    }
    if (st == DZ_OK)
        memcpy(ret_root, made, sizeof made);
    sodium_memzero(made, sizeof made);
    return st;
}
