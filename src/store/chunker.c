#include "store/chunker.h"

#include <assert.h>
#include <sodium.h>

#include "core/cpu.h"
#include "store/chunker_scan.h"

enum {
    LEVEL = 2, /* normalisation: 2 bits harder before avg, 2 bits easier after it */
    AVG_LEAST = 1024,
    AVG_MOST = 4 * 1024 * 1024,
    MAX_MOST = 64 * 1024 * 1024,
};

struct dz_chunker {
    struct dz_gear gear; /* first: sodium_malloc aligns what is a multiple of 64 bytes long */
    dz_chunker_scan *scan;
    uint32_t early_limit; /* a hash below this cuts before avg */
    uint32_t late_limit;  /* and below this, from avg on */
    struct dz_chunker_params params;
    uint8_t pad[64 - sizeof(dz_chunker_scan *) - 5 * sizeof(uint32_t)];
};
static_assert(sizeof(struct dz_chunker) % 64 == 0, "keeps the gear table on cache lines");

static dz_status check_params(struct dz_chunker_params p, dz_err *err) {
    if (p.avg < AVG_LEAST || p.avg > AVG_MOST || (p.avg & (p.avg - 1)) != 0)
        return DZ_FAIL(err, DZ_E_LIMIT,
                       "average chunk size %u is not a power of two in %d..%d bytes", p.avg,
                       AVG_LEAST, AVG_MOST);
    if (p.min < DZ_CHUNK_WINDOW || p.min > p.avg)
        return DZ_FAIL(err, DZ_E_LIMIT, "least chunk size %u is not in %d..%u bytes", p.min,
                       DZ_CHUNK_WINDOW, p.avg);
    if (p.max <= p.avg || p.max > MAX_MOST)
        return DZ_FAIL(err, DZ_E_LIMIT, "largest chunk size %u is not above %u and within %d bytes",
                       p.max, p.avg, MAX_MOST);
    return DZ_OK;
}

static void derive_gear(struct dz_gear *gear, const uint8_t key[DZ_CHUNK_KEY_BYTES]) {
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = "dozo-gear-v1";
    uint8_t stream[256 * 4];

    (void) crypto_stream_chacha20_ietf(stream, sizeof stream, nonce, key);
    for (size_t i = 0; i < 256; i++) {
        uint32_t g = (uint32_t) dz_load_le(stream + 4 * i, 4);

        /* A run of this byte hashes to -g for ever.  Were that a cut, the run would fall into
         * chunks of the least size; so keep it far from one. */
        if ((0u - g) >> 24 == 0)
            g ^= 0x80000000u;
        gear->word[i] = g;
        for (size_t k = 0; k < 4; k++)
            gear->plane[k][i] = (uint8_t) (g >> (8 * k));
    }
    sodium_memzero(stream, sizeof stream);
}

dz_status dz_chunker_new(const uint8_t key[DZ_CHUNK_KEY_BYTES], struct dz_chunker_params params,
                         struct dz_chunker **ret_chunker, dz_err *err) {
    struct dz_chunker *c;
    unsigned bits;

    DZ_TRY(check_params(params, err));
    if (sodium_init() < 0 || !(c = sodium_malloc(sizeof *c)))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for the chunker's table");
    bits = (unsigned) __builtin_ctz(params.avg);
    derive_gear(&c->gear, key);
    c->scan = dz_chunker_scan_for(dz_cpu_level());
    c->early_limit = 1u << (32 - bits - LEVEL);
    c->late_limit = 1u << (32 - bits + LEVEL);
    c->params = params;
    *ret_chunker = c;
    return DZ_OK;
}

void dz_chunker_free(struct dz_chunker *c) {
    sodium_free(c); /* wipes; takes NULL */
}

struct dz_chunker_params dz_chunker_params(const struct dz_chunker *c) {
    return c->params;
}

size_t dz_chunker_next(const struct dz_chunker *c, const uint8_t *data, size_t len, bool last) {
    size_t end = len < c->params.max ? len : c->params.max;
    size_t cut = c->params.min;

    assert(last || len >= c->params.max);
    (void) last;
    if (end <= cut)
        return end;
    if (cut < c->params.avg) {
        size_t early_end = end < c->params.avg ? end : c->params.avg;

        cut = c->scan(&c->gear, data, cut, early_end, c->early_limit);
        if (cut < early_end)
            return cut;
    }
    return c->scan(&c->gear, data, cut, end, c->late_limit);
}
