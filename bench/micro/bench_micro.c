/* How fast one core does each thing that every byte of a backup goes through.
 *
 *   bench_micro FILE [MIB]
 *
 * Reads up to MIB (64) of the file into memory, then works on it there in pieces of 1 MiB, each
 * step five times.  Prints the best time of the thread's own clock, so that others on the machine
 * count little: ns per byte, MB (10^6 bytes) per second. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <zstd.h>

#include "core/cpu.h"
#include "core/durable.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "guard/features.h"
#include "store/chunker.h"

enum { PIECE = 1 << 20, ROUNDS = 5, SMALL = 4096 };

struct work {
    dz_slice data;
    uint8_t *out; /* room for one compressed or sealed piece */
    size_t out_size;
    struct dz_chunker *chunker;
    ZSTD_CCtx *zstd;
    int level;
    uint64_t made; /* bytes or chunks, for the last column */
};

static double now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static dz_slice piece(const struct work *w, size_t at, size_t size) {
    size_t left = w->data.len - at;
    return (dz_slice){ w->data.data + at, left < size ? left : size };
}

static void cut(struct work *w) {
    for (size_t at = 0; at < w->data.len; w->made++)
        at += dz_chunker_next(w->chunker, w->data.data + at, w->data.len - at, true);
}

static void features(struct work *w) {
    struct dz_features f;
    dz_feature_record r;

    dz_features_init(&f);
    for (size_t at = 0; at < w->data.len; at += PIECE)
        dz_features_update(&f, piece(w, at, PIECE));
    dz_features_finish(&f, DZ_SLICE_LIT("a.txt"), NULL, &r);
    w->made = f.tally.blocks;
}

static void small_features(struct work *w) {
    dz_autobuf dz_buf b = { 0 };

    for (size_t at = 0; at < w->data.len; at += SMALL, w->made++) {
        struct dz_features f;
        dz_feature_record r;

        dz_features_init(&f);
        dz_features_update(&f, piece(w, at, SMALL));
        dz_features_finish(&f, DZ_SLICE_LIT("a.txt"), NULL, &r);
        dz_buf_clear(&b);
        dz_feature_record_put(&b, &r);
    }
}

static void glance(struct work *w) {
    for (size_t at = 0; at < w->data.len; at += PIECE) {
        dz_slice p = piece(w, at, PIECE);
        w->made += dz_histogram_says_incompressible(p.data, p.len);
    }
}

static void sha256(struct work *w) {
    uint8_t hash[DZ_SHA256_BYTES];

    for (size_t at = 0; at < w->data.len; at += PIECE, w->made++)
        dz_sha256(piece(w, at, PIECE), hash);
}

static void seal(struct work *w) {
    static const uint8_t key[DZ_AEAD_KEY_BYTES] = "a key for measuring, 32 bytes...";
    dz_err err;

    for (size_t at = 0; at < w->data.len; at += PIECE, w->made++)
        if (dz_aead_seal(key, (uint32_t) w->made, DZ_SLICE_LIT(""), piece(w, at, PIECE), w->out,
                         &err) != DZ_OK)
            abort();
}

static void compress(struct work *w) {
    for (size_t at = 0; at < w->data.len; at += PIECE) {
        dz_slice p = piece(w, at, PIECE);
        size_t n = ZSTD_compressCCtx(w->zstd, w->out, w->out_size, p.data, p.len, w->level);

        if (ZSTD_isError(n))
            abort();
        w->made += n;
    }
}

static void measure(const char *name, const char *made, struct work *w,
                    void (*run)(struct work *)) {
    double best = 1e9;

    for (int i = 0; i < ROUNDS; i++) {
        double start = now(), took;

        w->made = 0;
        run(w);
        took = now() - start;
        best = took < best ? took : best;
    }
    printf("%-24s %8.3f ns/byte %8.0f MB/s   %llu %s\n", name, best * 1e9 / (double) w->data.len,
           (double) w->data.len / best / 1e6, (unsigned long long) w->made, made);
}

static void measure_level(enum dz_cpu_level level, struct work *w) {
    static const uint8_t key[DZ_CHUNK_KEY_BYTES] = "a key for measuring, 32 bytes...";
    DZ_AUTO(dz_chunker) c = NULL;
    char name[64];

    dz_cpu_force(level);
    if (dz_chunker_new(key, DZ_CHUNKER_DEFAULTS, &c, NULL) != DZ_OK)
        abort();
    w->chunker = c;
    (void) snprintf(name, sizeof name, "chunker %s", dz_cpu_level_name(level));
    measure(name, "chunks", w, cut);
    (void) snprintf(name, sizeof name, "features %s", dz_cpu_level_name(level));
    measure(name, "blocks", w, features);
    (void) snprintf(name, sizeof name, "features 4 KiB %s", dz_cpu_level_name(level));
    measure(name, "files", w, small_features);
    w->chunker = NULL;
}

int main(int argc, char **argv) {
    size_t limit = (argc > 2 ? strtoull(argv[2], NULL, 10) : 64) << 20;
    dz_autobuf dz_buf data = { 0 };
    struct work w = { .out_size = ZSTD_compressBound(PIECE) + DZ_AEAD_TAG_BYTES };
    dz_autoclose int fd = -1;
    struct stat st;

    if (argc < 2 || limit == 0) {
        (void) fprintf(stderr, "usage: bench_micro FILE [MIB]\n");
        return 2;
    }
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0) {
        (void) fprintf(stderr, "cannot read %s, or it is empty\n", argv[1]);
        return 1;
    }
    if (limit > (size_t) st.st_size)
        limit = (size_t) st.st_size;
    w.out = malloc(w.out_size);
    w.zstd = ZSTD_createCCtx();
    if (!w.out || !w.zstd || !dz_buf_extend(&data, limit) ||
        dz_pread_all(fd, data.data, limit, 0) != 0) {
        (void) fprintf(stderr, "cannot read %s\n", argv[1]);
        return 1;
    }
    w.data = dz_buf_slice(&data);
    printf("%s, %zu bytes\n", argv[1], w.data.len);
    measure_level(DZ_CPU_PLAIN, &w);
    if (dz_cpu_level() == DZ_CPU_PLAIN)
        dz_cpu_force(DZ_CPU_AVX512);
    if (dz_cpu_level() == DZ_CPU_AVX512)
        measure_level(DZ_CPU_AVX512, &w);
    measure("incompressible?", "dense pieces", &w, glance);
    measure("sha256", "pieces", &w, sha256);
    measure("aes-256-gcm", "pieces", &w, seal);
    w.level = 1;
    measure("zstd 1", "bytes out", &w, compress);
    w.level = 3;
    measure("zstd 3", "bytes out", &w, compress);
    ZSTD_freeCCtx(w.zstd);
    free(w.out);
    return 0;
}
