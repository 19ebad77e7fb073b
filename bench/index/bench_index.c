/* Builds an index of made-up chunks through the real interface, and asks it.
 *
 *   bench_index [-n entries] [-q look-ups] [-t threads] [-m builder MiB] [-d directory] [-k]
 *
 * Prints rates, and fails (1) when any answer was wrong or any positive one read more than one
 * page.  Names come from a fixed generator, so every answer is known.  -k keeps the files.
 * bench/index.sh runs it under a memory limit. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/slice.h"
#include "store/index.h"
#include "store/index_write.h"

static const uint8_t vault[DZ_INDEX_ID_LEN] = "bench vault id";

enum { CHUNKS_PER_PACK = 1000 };

static void die(const char *what, const dz_err *err) {
    (void) fprintf(stderr, "bench_index: %s: %s\n", what, err ? err->what : strerror(errno));
    exit(2);
}

static double now_s(void) {
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014) */
static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Chunk i; numbers from 2^40 on are never added. */
static void name_of(uint64_t i, uint8_t ret[DZ_CHUNK_NAME_LEN]) {
    dz_store_le(ret, 8, mix(2 * i));
    dz_store_le(ret + 8, 8, mix(2 * i + 1));
}
#define ABSENT (UINT64_C(1) << 40)

static void pack_of(uint64_t p, uint8_t ret[DZ_PACK_NAME_LEN]) {
    for (size_t k = 0; k < 4; k++)
        dz_store_le(ret + k * 8, 8, mix((UINT64_C(1) << 50) + 4 * p + k));
}

static void place_of(uint64_t i, dz_place *ret) {
    memset(ret, 0, sizeof *ret);
    ret->seg_offset = (uint32_t) (i % CHUNKS_PER_PACK / 16 * 1000000);
    ret->seg_len = (uint32_t) (900000 + i % 7);
    ret->slot = (uint16_t) (i % 16);
    ret->type = 1;
}

static void build(int tmpfd, int indexfd, uint64_t n, size_t memory) {
    DZ_AUTO(dz_index_builder) b = NULL;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_err err = { 0 };
    dz_place place;
    uint8_t pack[DZ_PACK_NAME_LEN] = { 0 };

    if (dz_index_builder_new(tmpfd, vault, memory, &b, &err) != DZ_OK)
        die("builder", &err);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t name[DZ_CHUNK_NAME_LEN];

        if (i % CHUNKS_PER_PACK == 0)
            pack_of(i / CHUNKS_PER_PACK, pack);
        name_of(i, name);
        place_of(i, &place);
        memcpy(place.pack, pack, sizeof pack);
        if (dz_index_builder_add(b, name, &place, &err) != DZ_OK)
            die("adding", &err);
    }
    if (dz_index_builder_finish(b, indexfd, id, &err) != DZ_OK)
        die("finishing", &err);
}

struct asker {
    struct dz_index *idx;
    uint64_t seed, count, entries; /* entries 0: absent names */
    uint64_t wrong, most_pages;
    bool alone; /* then pages per answer are counted */
};

static void *ask(void *arg) {
    struct asker *a = arg;
    dz_err err = { 0 };

    for (uint64_t k = 0; k < a->count; k++) {
        uint64_t i = a->entries ? mix(a->seed + k) % a->entries : ABSENT + a->seed + k;
        uint64_t before = a->alone ? dz_index_stats_of(a->idx).pages_read : 0;
        uint8_t name[DZ_CHUNK_NAME_LEN];
        dz_place got, want;
        bool found = false;

        name_of(i, name);
        if (dz_index_find(a->idx, name, NULL, NULL, &got, &found, &err) != DZ_OK)
            die("look-up", &err);
        if (found != (a->entries > 0)) {
            a->wrong++;
        } else if (found) {
            place_of(i, &want);
            pack_of(i / CHUNKS_PER_PACK, want.pack);
            a->wrong += memcmp(got.pack, want.pack, sizeof got.pack) != 0 ||
                        got.seg_offset != want.seg_offset || got.seg_len != want.seg_len ||
                        got.slot != want.slot || got.type != want.type;
        }
        if (a->alone) {
            uint64_t pages = dz_index_stats_of(a->idx).pages_read - before;
            a->most_pages = pages > a->most_pages ? pages : a->most_pages;
        }
    }
    return NULL;
}

static double cpu_s(void) {
    struct timespec t;
    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static uint64_t wrong, most_pages;

enum { MAX_THREADS = 64 };

static void measure(const char *what, struct dz_index *idx, uint64_t seed, uint64_t count,
                    uint64_t entries, unsigned threads) {
    struct asker asker[MAX_THREADS];
    pthread_t thread[MAX_THREADS];
    uint64_t pages = dz_index_stats_of(idx).pages_read;
    double start = now_s(), cpu = cpu_s(), took;

    for (unsigned i = 0; i < threads; i++) {
        asker[i] = (struct asker){ .idx = idx,
                                   .seed = seed + i * count,
                                   .count = count / threads,
                                   .entries = entries,
                                   .alone = entries && threads == 1 };
        if (pthread_create(&thread[i], NULL, ask, &asker[i]) != 0)
            die("thread", NULL);
    }
    for (unsigned i = 0; i < threads; i++) {
        (void) pthread_join(thread[i], NULL);
        wrong += asker[i].wrong;
        most_pages = asker[i].most_pages > most_pages ? asker[i].most_pages : most_pages;
    }
    took = now_s() - start;
    cpu = cpu_s() - cpu;
    pages = dz_index_stats_of(idx).pages_read - pages;
    count = count / threads * threads;
    printf("%-34s %2u threads %9" PRIu64 " in %7.3f s = %9.0f /s, %9.0f per CPU second, "
           "%.6f pages each\n",
           what, threads, count, took, (double) count / took, (double) count / cpu,
           (double) pages / (double) count);
    (void) fflush(stdout);
}

/* For each file of the directory: its size, or forget its pages in the cache, or unlink it. */
enum file_step { SIZE, FORGET, UNLINK };
static uint64_t each_file(int dirfd, enum file_step step) {
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *d;
    uint64_t sum = 0;

    if (!dir)
        die("listing", NULL);
    while ((d = readdir(dir)) != NULL) {
        dz_autoclose int fd = -1;
        struct stat st;

        if (d->d_name[0] == '.')
            continue;
        if (step == UNLINK) {
            (void) unlinkat(dirfd, d->d_name, 0);
            continue;
        }
        fd = openat(dirfd, d->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
            die(d->d_name, NULL);
        if (step == FORGET)
            (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        sum += (uint64_t) st.st_size;
    }
    (void) closedir(dir);
    return sum;
}

static int subdir(const char *dir, const char *name) {
    dz_autoclose int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (top < 0 || (mkdirat(top, name, 0700) < 0 && errno != EEXIST))
        die(dir, NULL);
    fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die(name, NULL);
    return fd;
}

static long peak_kib(void) {
    struct rusage u;
    (void) getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static struct dz_index *open_timed(int indexfd) {
    struct dz_index *idx = NULL;
    dz_err err = { 0 };
    double start = now_s();

    if (dz_index_open(indexfd, vault, &idx, &err) != DZ_OK)
        die("opening", &err);
    printf("%-34s %.3f ms, %zu run\n", "open", (now_s() - start) * 1e3,
           dz_index_stats_of(idx).runs);
    return idx;
}

int main(int argc, char **argv) {
    uint64_t n = 100000000, q = 20000000;
    unsigned threads = 1;
    size_t memory = DZ_INDEX_BUILD_MEMORY;
    const char *dir = "/var/tmp";
    char path[4096];
    bool keep = false;
    int opt, indexfd, tmpfd;
    double start;

    while ((opt = getopt(argc, argv, "n:q:t:m:d:k")) != -1)
        switch (opt) {
        case 'n':
            n = strtoull(optarg, NULL, 10);
            break;
        case 'q':
            q = strtoull(optarg, NULL, 10);
            break;
        case 't':
            threads = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'm':
            memory = (size_t) strtoull(optarg, NULL, 10) << 20;
            break;
        case 'd':
            dir = optarg;
            break;
        case 'k':
            keep = true;
            break;
        default:
            return 2;
        }
    if (n == 0 || q < 100 || threads == 0 || threads > MAX_THREADS)
        return 2;
    (void) snprintf(path, sizeof path, "%s/dozo-bench-index-XXXXXX", dir);
    if (!mkdtemp(path))
        die(path, NULL);
    indexfd = subdir(path, "index");
    tmpfd = subdir(path, "tmp");

    start = now_s();
    build(tmpfd, indexfd, n, memory);
    start = now_s() - start;
    printf("%-34s %" PRIu64 " entries in %.1f s = %.0f /s; %" PRIu64
           " bytes, %.2f per entry; peak %ld KiB\n",
           "build", n, start, (double) n / start, each_file(indexfd, SIZE),
           (double) each_file(indexfd, SIZE) / (double) n, peak_kib());
    (void) fflush(stdout);

    (void) each_file(indexfd, FORGET);
    {
        DZ_AUTO(dz_index) idx = open_timed(indexfd);

        measure("absent, filter not yet read", idx, 0, q, 0, 1);
        measure("absent", idx, UINT64_C(1) << 38, q, 0, 1);
        if (threads > 1)
            measure("absent", idx, UINT64_C(3) << 37, q, 0, threads);
        measure("present, pages not cached at first", idx, 7, q / 100, n, 1);
        measure("present, cache as it comes", idx, 7 + q, q / 100, n, 1);
        if (threads > 1)
            measure("present, cache as it comes", idx, 7 + 3 * q, q / 100, n, threads);
    }
    printf("%-34s %ld KiB\n", "peak memory of the process", peak_kib());
    printf("%-34s %" PRIu64 "\n", "wrong answers", wrong);
    printf("%-34s %" PRIu64 "\n", "most pages read for one answer", most_pages);

    if (!keep) {
        (void) each_file(indexfd, UNLINK);
        (void) each_file(tmpfd, UNLINK);
        (void) unlinkat(indexfd, "../index", AT_REMOVEDIR);
        (void) unlinkat(tmpfd, "../tmp", AT_REMOVEDIR);
        (void) rmdir(path);
    } else {
        printf("%-34s %s\n", "kept in", path);
    }
    (void) close(indexfd);
    (void) close(tmpfd);
    return wrong == 0 && most_pages <= 1 ? 0 : 1;
}
