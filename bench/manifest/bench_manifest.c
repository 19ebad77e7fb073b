/* How fast manifests are built and compared, in memory.
 *
 *   bench_manifest [ENTRIES [CHANGED]]
 *
 * Builds a synthetic manifest twice, with a few files changed in between, and reads it back.  The
 * objects are hashed and kept in memory: no packs, no sealing, no disk.  Three rounds, best of;
 * CPU seconds of the one thread. */
#include <stdio.h>
#include <time.h>

#include "crypto/keys.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/diff.h"
#include "tests/unit/store/memory_objects.h"

static const uint8_t name_key[32] = "the name key of the benchmark...";

static void must(dz_status status, const dz_err *err) {
    if (status != DZ_OK) {
        fprintf(stderr, "bench_manifest: %s\n", err->what);
        exit(1);
    }
}

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Files as a hospital has them: 1,000 to a directory, one chunk, a feature record of 40 bytes. */
struct row {
    char path[64];
    uint8_t fields[96];
    dz_entry e;
};

static void row_make(struct row *row, unsigned long n, bool changed) {
    dz_autobuf dz_buf content = { 0 }, fields = { 0 };
    uint8_t seed[9], features[64];
    dz_id id;

    dz_store_le(seed, 8, n);
    seed[8] = changed;
    dz_sha256((dz_slice){ seed, sizeof seed }, id.b);
    dz_buf_put_varint(&content, 0);
    dz_buf_put_varint(&content, 1);
    dz_buf_put_varint(&content, 1000 + n % 100000);
    dz_buf_put(&content, id.b, sizeof id.b);
    dz_entry_put_field(&fields, DZ_TAG_CONTENT, dz_buf_slice(&content));
    dz_sha256((dz_slice){ id.b, sizeof id.b }, features);
    dz_sha256((dz_slice){ features, 32 }, features + 32);
    dz_entry_put_field(&fields, DZ_TAG_FEATURES, (dz_slice){ features, 40 });
    memcpy(row->fields, fields.data, fields.len);
    (void) snprintf(row->path, sizeof row->path, "srv/share/ward%03lu/patient%07lu.hl7", n / 1000,
                    n * 7);
    row->e = (dz_entry){ .path = { (const uint8_t *) row->path, strlen(row->path) },
                         .type = DZ_ENTRY_FILE,
                         .mode = 0640,
                         .uid = 1001,
                         .gid = 1001,
                         .mtime_s = 1700000000 + (int64_t) n + changed,
                         .mtime_ns = (uint32_t) (n * 7919 % 1000000000),
                         .size = 1000 + n % 100000,
                         .fields = { row->fields, fields.len } };
}

static double build(const struct row *rows, unsigned long count, struct dz_memory_objects *m,
                    dz_manifest_root *ret_root) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_manifest_builder) b = NULL;
    double start = now();
    dz_err err = { 0 };

    must(dz_manifest_builder_new(&sink, name_key, 1, &b, &err), &err);
    for (unsigned long i = 0; i < count; i++)
        must(dz_manifest_builder_add(b, &rows[i].e, &err), &err);
    must(dz_manifest_builder_finish(b, ret_root, &err), &err);
    return now() - start;
}

static dz_status count_change(void *ctx, enum dz_change change, const dz_entry *before,
                              const dz_entry *after, dz_err *err) {
    (void) change, (void) before, (void) after, (void) err;
    ++*(size_t *) ctx;
    return DZ_OK;
}

static double read_all(struct dz_memory_objects *m, const dz_manifest_root *root) {
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_cursor) c = NULL;
    double start = now();
    dz_err err = { 0 };
    dz_entry e;

    must(dz_cursor_new(&source, root, &c, &err), &err);
    for (bool end = false; !end;)
        must(dz_cursor_next(c, &e, &end, &err), &err);
    return now() - start;
}

static double least(double a, double b) {
    return b < a ? b : a;
}

int main(int argc, char **argv) {
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    unsigned long changed = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
    dz_autofree struct row *rows = calloc(count ? count : 1, sizeof *rows);
    double first = 1e9, second = 1e9, compare = 1e9, read = 1e9;
    dz_memory_stats a = { 0 }, b = { 0 };
    dz_manifest_root root_a = { 0 }, root_b = { 0 };
    size_t told = 0, gets = 0;
    dz_err crypto_err = { 0 };

    must(dz_crypto_init(&crypto_err), &crypto_err);

    if (!rows || count == 0 || changed > count) {
        fprintf(stderr, "usage: bench_manifest [ENTRIES [CHANGED]]\n");
        return 2;
    }
    for (int round = 0; round < 3; round++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        struct dz_source source = dz_memory_source(m);
        dz_err err = { 0 };
        double start;

        for (unsigned long i = 0; i < count; i++)
            row_make(&rows[i], i, false);
        first = least(first, build(rows, count, m, &root_a));
        a = dz_memory_objects_stats(m);
        for (unsigned long i = 0; i < changed; i++) {
            unsigned long at = count / (changed ? changed : 1) * i;
            row_make(&rows[at], at, true);
        }
        second = least(second, build(rows, count, m, &root_b));
        b = dz_memory_objects_stats(m);
        told = 0;
        start = now();
        must(dz_diff(&source, &root_a, &source, &root_b, count_change, &told, &err), &err);
        compare = least(compare, now() - start);
        gets = dz_memory_objects_stats(m).gets - b.gets;
        read = least(read, read_all(m, &root_b));
    }
    printf("entries %lu, changed %lu, depth %u\n", count, changed, root_a.depth);
    printf("build               %8.3f s\n", first);
    printf("build again         %8.3f s\n", second);
    printf("read all            %8.3f s\n", read);
    printf("compare             %8.3f ms, %zu differences, %zu nodes read\n", 1e3 * compare, told,
           gets);
    printf("nodes               %8zu, %zu bytes, %.1f bytes per entry\n", a.objects[DZ_KIND_NODE],
           a.bytes[DZ_KIND_NODE], (double) a.bytes[DZ_KIND_NODE] / (double) count);
    printf("reference nodes     %8zu, %zu bytes, %.1f bytes per entry\n", a.objects[DZ_KIND_REF],
           a.bytes[DZ_KIND_REF], (double) a.bytes[DZ_KIND_REF] / (double) count);
    printf("new in the second   %8zu nodes of %zu bytes, %zu reference nodes of %zu bytes\n",
           b.objects[DZ_KIND_NODE] - a.objects[DZ_KIND_NODE],
           b.bytes[DZ_KIND_NODE] - a.bytes[DZ_KIND_NODE],
           b.objects[DZ_KIND_REF] - a.objects[DZ_KIND_REF],
           b.bytes[DZ_KIND_REF] - a.bytes[DZ_KIND_REF]);
    return 0;
}
