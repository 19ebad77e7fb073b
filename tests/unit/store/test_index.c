/* The chunk index: what goes in comes out, whatever happens to the files in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/durable.h"
#include "core/hex.h"
#include "core/os.h"
#include "store/index.h"
#include "store/index_write.h"

static const uint8_t vault[DZ_INDEX_ID_LEN] = "test vault id 1";

/* ---- a directory with index/ and tmp/ ---- */

struct world {
    char path[64];
    int dirfd, indexfd, tmpfd;
};

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    (void) snprintf(w->path, sizeof w->path, "/tmp/dozo-index-XXXXXX");
    assert_non_null(mkdtemp(w->path));
    w->dirfd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(mkdirat(w->dirfd, "index", 0700), errno);
    assert_return_code(mkdirat(w->dirfd, "tmp", 0700), errno);
    w->indexfd = openat(w->dirfd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->tmpfd = openat(w->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w->indexfd >= 0 && w->tmpfd >= 0);
    *state = w;
    return 0;
}

/* Unlinks (if asked) and counts the files of a directory. */
static size_t files_of(int dirfd, bool unlink_them) {
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *d;
    size_t n = 0;

    assert_non_null(dir);
    while ((d = readdir(dir)) != NULL)
        if (d->d_name[0] != '.') {
            n++;
            if (unlink_them)
                assert_return_code(unlinkat(dirfd, d->d_name, 0), errno);
        }
    (void) closedir(dir);
    return n;
}

static int teardown(void **state) {
    struct world *w = *state;

    dz_os = &dz_os_real;
    (void) files_of(w->indexfd, true);
    assert_int_equal(files_of(w->tmpfd, false), 0); /* nothing may be left behind */
    (void) close(w->indexfd);
    (void) close(w->tmpfd);
    (void) unlinkat(w->dirfd, "index", AT_REMOVEDIR);
    (void) unlinkat(w->dirfd, "tmp", AT_REMOVEDIR);
    (void) close(w->dirfd);
    (void) rmdir(w->path);
    free(w);
    return 0;
}

/* ---- made-up chunks: number i has this name and lies there ---- */

static void name_of(uint64_t i, uint8_t ret[DZ_CHUNK_NAME_LEN]) {
    dz_store_le(ret, 8, XXH3_64bits_withSeed(&i, sizeof i, 1));
    dz_store_le(ret + 8, 8, XXH3_64bits_withSeed(&i, sizeof i, 2));
}

static void pack_of(uint64_t p, uint8_t ret[DZ_PACK_NAME_LEN]) {
    for (unsigned k = 0; k < 4; k++)
        dz_store_le(ret + (size_t) k * 8, 8, XXH3_64bits_withSeed(&p, sizeof p, 10 + k));
}

static dz_place place_in(uint64_t i, uint64_t p) {
    dz_place at = { .seg_offset = (uint32_t) (i * 97),
                    .seg_len = (uint32_t) (i % 100000),
                    .slot = (uint16_t) (i % 999),
                    .type = (uint8_t) (1 + i % 3) };
    pack_of(p, at.pack);
    return at;
}

enum { PER_PACK = 50 };

static dz_place place_of(uint64_t i) {
    return place_in(i, i / PER_PACK);
}

static bool same_place(const dz_place *a, const dz_place *b) {
    return memcmp(a->pack, b->pack, sizeof a->pack) == 0 && a->seg_offset == b->seg_offset &&
           a->seg_len == b->seg_len && a->slot == b->slot && a->type == b->type;
}

static void add(struct dz_index_builder *b, uint64_t i, dz_place at) {
    uint8_t name[DZ_CHUNK_NAME_LEN];
    dz_err err = { 0 };

    name_of(i, name);
    if (dz_index_builder_add(b, name, &at, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static struct dz_index_builder *builder(const struct world *w) {
    struct dz_index_builder *b = NULL;
    assert_int_equal(dz_index_builder_new(w->tmpfd, vault, 1, &b, NULL), DZ_OK);
    return b;
}

static void finish(const struct world *w, struct dz_index_builder *b,
                   uint8_t ret_id[DZ_INDEX_ID_LEN]) {
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_err err = { 0 };

    if (dz_index_builder_finish(b, w->indexfd, id, &err) != DZ_OK)
        fail_msg("%s", err.what);
    dz_index_builder_free(b);
    if (ret_id)
        memcpy(ret_id, id, sizeof id);
}

/* Publishes chunks first .. end-1 as one run. */
static void publish(const struct world *w, uint64_t first, uint64_t end,
                    uint8_t ret_id[DZ_INDEX_ID_LEN]) {
    struct dz_index_builder *b = builder(w);
    for (uint64_t i = first; i < end; i++)
        add(b, i, place_of(i));
    assert_int_equal(dz_index_builder_count(b), end - first);
    finish(w, b, ret_id);
}

static struct dz_index *open_index(const struct world *w) {
    struct dz_index *idx = NULL;
    dz_err err = { 0 };
    if (dz_index_open(w->indexfd, vault, &idx, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return idx;
}

static void assert_finds(struct dz_index *idx, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++) {
        uint8_t name[DZ_CHUNK_NAME_LEN];
        dz_place got, want = place_of(i);
        bool found = false;

        name_of(i, name);
        assert_int_equal(dz_index_find(idx, name, NULL, NULL, &got, &found, NULL), DZ_OK);
        assert_true(found);
        assert_true(same_place(&got, &want));
    }
}

static void assert_lacks(struct dz_index *idx, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++) {
        uint8_t name[DZ_CHUNK_NAME_LEN];
        bool found = true;
        dz_place got;

        name_of(i, name);
        assert_int_equal(dz_index_find(idx, name, NULL, NULL, &got, &found, NULL), DZ_OK);
        assert_false(found);
    }
}

static bool covers(struct dz_index *idx, uint64_t p) {
    uint8_t pack[DZ_PACK_NAME_LEN];
    bool yes = false;

    pack_of(p, pack);
    assert_int_equal(dz_index_covers_pack(idx, pack, &yes, NULL), DZ_OK);
    return yes;
}

/* ---- rows: sizes ---- */

struct size_row {
    const char *what;
    uint64_t entries;
};

static const struct size_row sizes[] = {
    { "an empty run", 0 },
    { "one entry", 1 },
    { "one full page", 127 },
    { "one entry on the second page", 128 },
    { "pages, with filter and fences of more than one region", 1 << 20 },
    { "spilled twice and merged", 75000 },
};

static void what_was_added_is_found_and_nothing_else(void **state) {
    const struct world *w = *state;

    for (size_t row = 0; row < sizeof sizes / sizeof *sizes; row++) {
        uint64_t n = sizes[row].entries;
        DZ_AUTO(dz_index) idx = NULL;
        dz_index_stats st;

        print_message("  %s\n", sizes[row].what);
        publish(w, 0, n, NULL);
        idx = open_index(w);
        assert_finds(idx, 0, n);
        st = dz_index_stats_of(idx);
        assert_int_equal(st.runs, 1);
        assert_int_equal(st.entries, n);
        assert_int_equal(st.packs, (n + PER_PACK - 1) / PER_PACK);
        assert_int_equal(st.pages_read, n); /* one page for an answer, never two */
        assert_lacks(idx, n, n + 20000);
        st = dz_index_stats_of(idx);
        assert_true(st.pages_read - n < 20); /* the filter keeps the rest away; 2 expected */
        assert_int_equal(dz_index_check(idx, NULL), DZ_OK);
        (void) files_of(w->indexfd, true);
    }
}

/* ---- many places of one name ---- */

static bool only_this_pack(void *ctx, const dz_place *place) {
    return memcmp(place->pack, ctx, DZ_PACK_NAME_LEN) == 0;
}

static void assert_place(struct dz_index *idx, uint64_t i, uint64_t p, bool there) {
    uint8_t name[DZ_CHUNK_NAME_LEN], pack[DZ_PACK_NAME_LEN];
    dz_place got, want = place_in(i, p);
    bool found = !there;

    name_of(i, name);
    pack_of(p, pack);
    assert_int_equal(dz_index_find(idx, name, only_this_pack, pack, &got, &found, NULL), DZ_OK);
    assert_int_equal(found, there);
    if (there)
        assert_true(same_place(&got, &want));
}

static void a_chunk_in_many_packs_is_found_in_each(void **state) {
    const struct world *w = *state;
    struct dz_index_builder *b = builder(w);
    DZ_AUTO(dz_index) idx = NULL;

    for (uint64_t i = 0; i < 1000; i++) /* 60 places each: only two names fit a page */
        for (uint64_t p = 0; p < 60; p++)
            add(b, i, place_in(i, p));
    finish(w, b, NULL);
    idx = open_index(w);
    for (uint64_t i = 0; i < 1000; i += 7)
        for (uint64_t p = 0; p < 61; p++)
            assert_place(idx, i, p, p < 60);
    assert_int_equal(dz_index_check(idx, NULL), DZ_OK);
}

static void a_chunk_added_twice_in_one_pack_is_kept_once(void **state) {
    const struct world *w = *state;
    struct dz_index_builder *b = builder(w);
    DZ_AUTO(dz_index) idx = NULL;

    for (unsigned turn = 0; turn < 300; turn++)
        for (uint64_t i = 0; i < 100; i++)
            add(b, i, place_of(i));
    finish(w, b, NULL);
    idx = open_index(w);
    assert_int_equal(dz_index_stats_of(idx).entries, 100);
    assert_finds(idx, 0, 100);
}

static void a_chunk_in_more_packs_than_a_page_holds_stays_found(void **state) {
    const struct world *w = *state;
    struct dz_index_builder *b = builder(w);
    DZ_AUTO(dz_index) idx = NULL;
    uint8_t name[DZ_CHUNK_NAME_LEN];
    bool found = false;
    dz_place got;

    for (uint64_t p = 0; p < 300; p++)
        add(b, 5, place_in(5, p));
    finish(w, b, NULL);
    idx = open_index(w);
    name_of(5, name);
    assert_int_equal(dz_index_find(idx, name, NULL, NULL, &got, &found, NULL), DZ_OK);
    assert_true(found);
    assert_int_equal(dz_index_stats_of(idx).entries, DZ_INDEX_PAGE_ENTRIES);
}

/* ---- packs ---- */

static dz_status count_pack(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN], dz_err *err) {
    (void) pack;
    (void) err;
    ++*(size_t *) ctx;
    return DZ_OK;
}

static void packs_are_covered_also_without_chunks(void **state) {
    const struct world *w = *state;
    struct dz_index_builder *b = builder(w);
    DZ_AUTO(dz_index) idx = NULL;
    uint8_t pack[DZ_PACK_NAME_LEN];
    size_t n = 0;

    assert_true(dz_index_builder_empty(b));
    for (uint64_t p = 0; p < 5000; p++) {
        pack_of(p, pack);
        assert_int_equal(dz_index_builder_cover(b, pack, NULL), DZ_OK);
    }
    assert_false(dz_index_builder_empty(b));
    finish(w, b, NULL);
    idx = open_index(w);
    for (uint64_t p = 0; p < 6000; p++)
        assert_int_equal(covers(idx, p), p < 5000);
    assert_int_equal(dz_index_each_pack(idx, count_pack, &n, NULL), DZ_OK);
    assert_int_equal(n, 5000);
}

/* ---- merging ---- */

static void merge(const struct world *w, dz_index_merge_how how, size_t want) {
    size_t merged = SIZE_MAX;
    dz_err err = { 0 };

    if (dz_index_merge(w->indexfd, w->tmpfd, vault, &how, &merged, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(merged, want);
}

static void four_runs_of_a_size_become_one(void **state) {
    const struct world *w = *state;
    DZ_AUTO(dz_index) old = NULL;
    DZ_AUTO(dz_index) idx = NULL;

    publish(w, 0, 50000, NULL); /* larger: stays apart */
    for (uint64_t i = 0; i < 3; i++)
        publish(w, 50000 + i * 2000, 52000 + i * 2000, NULL);
    merge(w, (dz_index_merge_how){ 0 }, 0);
    publish(w, 56000, 58000, NULL);
    old = open_index(w);
    merge(w, (dz_index_merge_how){ 0 }, 4);
    assert_int_equal(files_of(w->indexfd, false), 2);
    merge(w, (dz_index_merge_how){ 0 }, 0);

    idx = open_index(w);
    assert_finds(idx, 0, 58000);
    assert_lacks(idx, 58000, 60000);
    assert_int_equal(dz_index_stats_of(idx).entries, 58000);
    assert_int_equal(dz_index_check(idx, NULL), DZ_OK);
    assert_finds(old, 0, 58000); /* its files are unlinked, it goes on */
}

static void hourly_runs_stay_few(void **state) {
    const struct world *w = *state;
    DZ_AUTO(dz_index) idx = NULL;
    size_t merged;

    for (uint64_t i = 0; i < 200; i++) {
        publish(w, i * 100, i * 100 + 100, NULL);
        assert_int_equal(
            dz_index_merge(w->indexfd, w->tmpfd, vault, &(dz_index_merge_how){ 0 }, &merged, NULL),
            DZ_OK);
        assert_true(files_of(w->indexfd, false) < 12);
    }
    idx = open_index(w);
    assert_finds(idx, 0, 20000);
    assert_lacks(idx, 20000, 21000);
}

static void merging_again_after_a_crash_changes_nothing(void **state) {
    const struct world *w = *state;
    DZ_AUTO(dz_index) idx = NULL;

    for (unsigned turn = 0; turn < 4; turn++) /* as if old runs had not been unlinked */
        publish(w, 0, 5000, NULL);
    merge(w, (dz_index_merge_how){ 0 }, 4);
    idx = open_index(w);
    assert_int_equal(dz_index_stats_of(idx).entries, 5000);
    assert_finds(idx, 0, 5000);
    assert_lacks(idx, 5000, 6000);
}

static bool keep_all_but(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN]) {
    return memcmp(pack, ctx, DZ_PACK_NAME_LEN) != 0;
}

static void entries_of_pruned_packs_go_and_other_places_stay(void **state) {
    const struct world *w = *state;
    struct dz_index_builder *b = builder(w);
    uint8_t gone[DZ_PACK_NAME_LEN];
    DZ_AUTO(dz_index) idx = NULL;

    for (uint64_t i = 0; i < 1000; i++)
        add(b, i, place_in(i, 1));
    for (uint64_t i = 0; i < 500; i++) /* compacted into another pack before */
        add(b, i, place_in(i, 2));
    finish(w, b, NULL);
    pack_of(1, gone);
    merge(w, (dz_index_merge_how){ .keep = keep_all_but, .ctx = gone, .all = true }, 1);
    merge(w, (dz_index_merge_how){ .keep = keep_all_but, .ctx = gone, .all = true }, 0);
    idx = open_index(w);
    assert_false(covers(idx, 1));
    assert_true(covers(idx, 2));
    for (uint64_t i = 0; i < 500; i++) {
        assert_place(idx, i, 2, true);
        assert_place(idx, i, 1, false);
    }
    assert_lacks(idx, 500, 1000);
    dz_index_close(DZ_TAKE(idx));
    pack_of(2, gone);
    merge(w, (dz_index_merge_how){ .keep = keep_all_but, .ctx = gone, .all = true }, 1);
    assert_int_equal(files_of(w->indexfd, false), 0);
}

/* ---- damage ---- */

static uint8_t *slurp(const struct world *w, const uint8_t *id, size_t *ret_len) {
    char name[DZ_INDEX_FILE_NAME];
    struct stat st;
    uint8_t *bytes;
    dz_autoclose int fd = -1;

    dz_index_file_name(id, name);
    fd = openat(w->indexfd, name, O_RDONLY | O_CLOEXEC);
    assert_return_code(fstat(fd, &st), errno);
    bytes = malloc((size_t) st.st_size);
    assert_non_null(bytes);
    assert_return_code(dz_pread_all(fd, bytes, (size_t) st.st_size, 0), errno);
    *ret_len = (size_t) st.st_size;
    return bytes;
}

static void spit(const struct world *w, const uint8_t *id, const uint8_t *bytes, size_t len) {
    char name[DZ_INDEX_FILE_NAME];
    dz_autoclose int fd = -1;

    dz_index_file_name(id, name);
    (void) unlinkat(w->indexfd, name, 0);
    fd = openat(w->indexfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_return_code(dz_write_all(fd, (dz_slice){ bytes, len }), errno);
}

/* Every answer about packs that are covered is right, or an error.  Gives the number of errors. */
static size_t right_or_error(struct dz_index *idx, uint64_t n) {
    size_t errors = 0;

    for (uint64_t i = 0; i < n + 100; i++) {
        bool was_covered = i < n && covers(idx, i / PER_PACK);
        uint8_t name[DZ_CHUNK_NAME_LEN];
        dz_place got, want = place_of(i);
        bool found = false;
        dz_status s;

        name_of(i, name);
        s = dz_index_find(idx, name, NULL, NULL, &got, &found, NULL);
        if (s != DZ_OK) {
            assert_int_equal(s, DZ_E_CORRUPT);
            errors++;
            continue;
        }
        if (found)
            assert_true(i < n && same_place(&got, &want));
        else
            assert_false(was_covered);
    }
    return errors;
}

static void a_byte_changed_anywhere_never_changes_an_answer(void **state) {
    const struct world *w = *state;
    enum { N = 200 };
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_autofree uint8_t *bytes = NULL;
    size_t len;

    publish(w, 0, N, id);
    bytes = slurp(w, id, &len);
    for (size_t at = 0; at < len; at++) {
        DZ_AUTO(dz_index) idx = NULL;
        size_t dropped = 0;

        bytes[at] ^= (uint8_t) (1u << (at % 8));
        spit(w, id, bytes, len);
        bytes[at] ^= (uint8_t) (1u << (at % 8));
        idx = open_index(w);
        (void) right_or_error(idx, N);
        if (dz_index_check(idx, NULL) != DZ_E_CORRUPT)
            fail_msg("byte %zu of %zu: damage not found", at, len);
        assert_int_equal(dz_index_drop_damaged(idx, w->indexfd, &dropped, NULL), DZ_OK);
        assert_int_equal(dropped, 1);
    }
}

static void a_file_cut_short_or_grown_is_set_aside(void **state) {
    const struct world *w = *state;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_autofree uint8_t *bytes = NULL, *longer = NULL;
    size_t len;

    publish(w, 0, 200, id);
    bytes = slurp(w, id, &len);
    longer = calloc(1, len + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, len);
    for (size_t cut = 0; cut <= len + 1; cut += cut + 5 < len ? 5 : 1) {
        DZ_AUTO(dz_index) idx = NULL;

        if (cut == len)
            continue;
        spit(w, id, longer, cut);
        idx = open_index(w);
        assert_int_equal(dz_index_stats_of(idx).runs, 0);
        assert_int_equal(dz_index_stats_of(idx).damaged_runs, 1);
        assert_false(covers(idx, 0));
    }
}

static void a_file_that_shrinks_while_open_gives_errors(void **state) {
    const struct world *w = *state;
    uint8_t id[DZ_INDEX_ID_LEN];
    char name[DZ_INDEX_FILE_NAME];
    dz_autoclose int fd = -1;
    DZ_AUTO(dz_index) idx = NULL;

    publish(w, 0, 10000, id);
    idx = open_index(w);
    dz_index_file_name(id, name);
    assert_return_code(fchmodat(w->indexfd, name, 0600, 0), errno);
    fd = openat(w->indexfd, name, O_RDWR | O_CLOEXEC);
    assert_return_code(ftruncate(fd, 4096), errno);
    assert_int_equal(right_or_error(idx, 10000), 10100);
    assert_false(covers(idx, 0));
}

static void a_sound_run_answers_beside_a_damaged_one(void **state) {
    const struct world *w = *state;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_autofree uint8_t *bytes = NULL;
    DZ_AUTO(dz_index) idx = NULL;
    size_t len, dropped = 0, merged;

    publish(w, 0, 1000, NULL);
    publish(w, 1000, 3000, id);
    bytes = slurp(w, id, &len);
    for (size_t at = 4096; at < 8192; at++) /* the filter's first page, which every name may hit */
        bytes[at] ^= 1;
    spit(w, id, bytes, len);
    idx = open_index(w);
    assert_int_equal(dz_index_stats_of(idx).runs, 2);
    assert_finds(idx, 0, 1000);
    assert_int_equal(right_or_error(idx, 3000), 2100);
    assert_true(covers(idx, 1));
    assert_false(covers(idx, 30));
    assert_int_equal(dz_index_merge(w->indexfd, w->tmpfd, vault,
                                    &(dz_index_merge_how){ .all = true }, &merged, NULL),
                     DZ_OK); /* a merge needs no filter: it makes a new one */
    assert_int_equal(merged, 2);
    assert_int_equal(dz_index_drop_damaged(idx, w->indexfd, &dropped, NULL), DZ_OK);
    dz_index_close(DZ_TAKE(idx));
    idx = open_index(w);
    assert_finds(idx, 0, 3000);
}

static void a_merge_of_a_damaged_page_publishes_nothing(void **state) {
    const struct world *w = *state;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_autofree uint8_t *bytes = NULL;
    size_t len, merged = 0;
    dz_err err = { 0 };

    publish(w, 0, 1000, NULL);
    publish(w, 1000, 3000, id);
    bytes = slurp(w, id, &len);
    bytes[len / 2] ^= 1; /* in the pages */
    spit(w, id, bytes, len);
    assert_int_equal(dz_index_merge(w->indexfd, w->tmpfd, vault,
                                    &(dz_index_merge_how){ .all = true }, &merged, &err),
                     DZ_E_CORRUPT);
    assert_int_equal(files_of(w->indexfd, false), 2);
}

/* ---- hostile files: the checksums are right, the numbers are not ---- */

struct hostile_row {
    const char *what;
    size_t at; /* in the header */
    size_t bytes;
    uint64_t value;
    dz_status status;
};

static const struct hostile_row hostile[] = {
    { "a newer version", 8, 4, 2, DZ_E_UNSUPPORTED },
    { "an unknown feature that matters", 24, 8, 1, DZ_E_UNSUPPORTED },
    { "another vault", 32, 8, 7, DZ_E_CORRUPT },
    { "another run's name", 48, 8, 7, DZ_E_CORRUPT },
    { "all the entries there can be", 64, 8, UINT64_MAX, DZ_E_CORRUPT },
    { "more entries than its pages hold", 64, 8, 3 * 127 + 1, DZ_E_CORRUPT },
    { "no filter", 72, 8, 0, DZ_E_CORRUPT },
    { "a filter of an odd size", 72, 8, 65, DZ_E_CORRUPT },
    { "a filter as large as the sky", 72, 8, UINT64_MAX & ~63ULL, DZ_E_CORRUPT },
    { "all the pages there can be", 80, 8, UINT64_MAX, DZ_E_CORRUPT },
    { "a page too few", 80, 8, 1, DZ_E_CORRUPT },
    { "all the packs there can be", 88, 8, UINT64_MAX, DZ_E_CORRUPT },
    { "a pack too many", 88, 8, 5, DZ_E_CORRUPT },
    { "another size", 96, 8, 1, DZ_E_CORRUPT },
};

static void seal_header(uint8_t *bytes) {
    dz_store_le(bytes + 4088, 8, XXH3_64bits(bytes, 4088));
}

static void visit_status(void *ctx, const uint8_t id[DZ_INDEX_ID_LEN], dz_status status) {
    (void) id;
    *(dz_status *) ctx = status;
}

static void impossible_headers_are_set_aside(void **state) {
    const struct world *w = *state;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_autofree uint8_t *bytes = NULL;
    size_t len;

    publish(w, 0, 200, id);
    bytes = slurp(w, id, &len);
    for (size_t row = 0; row < sizeof hostile / sizeof *hostile; row++) {
        const struct hostile_row *h = &hostile[row];
        uint64_t keep = dz_load_le(bytes + h->at, h->bytes);
        DZ_AUTO(dz_index) idx = NULL;
        dz_status status = DZ_OK;
        size_t dropped = 9;

        print_message("  %s\n", h->what);
        dz_store_le(bytes + h->at, h->bytes, h->value);
        seal_header(bytes);
        spit(w, id, bytes, len);
        dz_store_le(bytes + h->at, h->bytes, keep);
        idx = open_index(w);
        dz_index_each_damaged(idx, visit_status, &status);
        assert_int_equal(status, h->status);
        assert_int_equal(dz_index_drop_damaged(idx, w->indexfd, &dropped, NULL), DZ_OK);
        assert_int_equal(dropped, h->status == DZ_E_CORRUPT); /* a newer dozo's stays */
    }
}

static void things_that_are_no_run_do_no_harm(void **state) {
    const struct world *w = *state;
    DZ_AUTO(dz_index) idx = NULL;
    size_t dropped = 0;

    publish(w, 0, 100, NULL);
    assert_return_code(mkfifoat(w->indexfd, "00000000000000000000000000000001.run", 0600), errno);
    assert_return_code(symlinkat("/dev/zero", w->indexfd, "00000000000000000000000000000002.run"),
                       errno);
    assert_return_code(close(openat(w->indexfd, "README", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)),
                       errno);
    assert_return_code(close(openat(w->indexfd, "0000000000000000000000000000000Z.run",
                                    O_CREAT | O_WRONLY | O_CLOEXEC, 0600)),
                       errno);
    idx = open_index(w);
    assert_int_equal(dz_index_stats_of(idx).runs, 1);
    assert_int_equal(dz_index_stats_of(idx).damaged_runs, 2);
    assert_finds(idx, 0, 100);
    assert_int_equal(dz_index_drop_damaged(idx, w->indexfd, &dropped, NULL), DZ_OK);
    assert_int_equal(dropped, 2);
    assert_int_equal(files_of(w->indexfd, false), 3);
}

/* ---- threads ---- */

static void *ask(void *arg) {
    assert_finds(arg, 0, 30000);
    assert_lacks(arg, 30000, 60000);
    return NULL;
}

static void many_threads_ask_at_once(void **state) {
    const struct world *w = *state;
    DZ_AUTO(dz_index) idx = NULL;
    pthread_t thread[4];

    publish(w, 0, 15000, NULL);
    publish(w, 15000, 30000, NULL);
    idx = open_index(w);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask, idx), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_added_is_found_and_nothing_else),
        T(a_chunk_in_many_packs_is_found_in_each),
        T(a_chunk_added_twice_in_one_pack_is_kept_once),
        T(a_chunk_in_more_packs_than_a_page_holds_stays_found),
        T(packs_are_covered_also_without_chunks),
        T(four_runs_of_a_size_become_one),
        T(hourly_runs_stay_few),
        T(merging_again_after_a_crash_changes_nothing),
        T(entries_of_pruned_packs_go_and_other_places_stay),
        T(a_byte_changed_anywhere_never_changes_an_answer),
        T(a_file_cut_short_or_grown_is_set_aside),
        T(a_file_that_shrinks_while_open_gives_errors),
        T(a_sound_run_answers_beside_a_damaged_one),
        T(a_merge_of_a_damaged_page_publishes_nothing),
        T(impossible_headers_are_set_aside),
        T(things_that_are_no_run_do_no_harm),
        T(many_threads_ask_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
