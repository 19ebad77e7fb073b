/* A cache that can be lost and never be wrong. */
#include "intake/path_cache.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/durable.h"
#include "core/hex.h"
#include "crypto/hash.h"
#include "store/packlist.h"
#include "tests/unit/intake/scratch.h"

static const int64_t hour_us = 3600LL * 1000000, day_us = 24 * 3600LL * 1000000;

static struct stat some_stat(unsigned i) {
    return (struct stat){ .st_ino = 1000 + i,
                          .st_size = 4096 + i,
                          .st_nlink = 1,
                          .st_mtim = { 1700000000 + i, 1 },
                          .st_ctim = { 1700000000 + i, 2 } };
}

static void some_key(const uint8_t context[DZ_KEY_BYTES], unsigned i, struct dz_path_key *ret) {
    struct stat st = some_stat(i);
    char path[32];

    (void) snprintf(path, sizeof path, "srv/file-%u", i);
    dz_path_key(context, (dz_slice){ (const uint8_t *) path, strlen(path) }, 77, &st, ret);
}

/* Different for each file, in content and in length; some empty, some beyond the window. */
static void some_value(unsigned i, dz_buf *to) {
    size_t len = i % 7 == 0 ? 0 : i == 11 ? 3 * DZ_PATH_WINDOW : 40 + i * 13 % 300;
    uint8_t *p;

    dz_buf_clear(to);
    p = dz_buf_extend(to, len);
    for (size_t k = 0; k < len; k++)
        p[k] = (uint8_t) (i * 31 + k);
}

static const uint8_t snapshot[DZ_SNAPSHOT_ID_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static void write_cache(struct dz_vault *v, const char *source, unsigned n) {
    DZ_AUTO(dz_path_writer) w = NULL;
    dz_autobuf dz_buf value = { 0 };
    uint8_t context[DZ_KEY_BYTES];

    dz_path_context(v->host, source, context);
    assert_int_equal(dz_path_writer_new(v, v->tmpfd, source, 123456789, &w, NULL), DZ_OK);
    for (unsigned i = 0; i < n; i++) {
        struct dz_path_key key;

        some_key(context, i, &key);
        some_value(i, &value);
        assert_int_equal(dz_path_writer_add(w, &key, dz_buf_slice(&value), NULL), DZ_OK);
    }
    assert_int_equal(dz_path_writer_finish(w, snapshot, NULL), DZ_OK);
}

/* Looks all up: how many are found.  What is found is right. */
static unsigned count_found(struct dz_vault *v, const char *source, unsigned n) {
    DZ_AUTO(dz_path_cache) c = NULL;
    dz_autobuf dz_buf got = { 0 }, want = { 0 };
    struct dz_path_window window = { 0 };
    uint8_t context[DZ_KEY_BYTES];
    unsigned found = 0;

    dz_path_context(v->host, source, context);
    assert_int_equal(dz_path_cache_open(v, source, &c, NULL), DZ_OK);
    for (unsigned i = 0; i < n; i++) {
        struct dz_path_key key;

        some_key(context, i, &key);
        some_value(i, &want);
        dz_buf_clear(&got);
        dz_buf_put(&got, "before", 6); /* values are appended */
        if (dz_path_cache_get(c, &key, &window, &got)) {
            assert_int_equal(got.len, 6 + want.len);
            assert_true(want.len == 0 || memcmp(got.data + 6, want.data, want.len) == 0);
            found++;
        } else {
            assert_int_equal(got.len, 6);
        }
    }
    dz_buf_release(&window.bytes);
    return found;
}

/* The file of the only cache there is. */
static void cache_file(struct dz_vault *v, const char *source, char ret_path[160],
                       struct scratch *s) {
    uint8_t context[DZ_KEY_BYTES], id[16];
    char hex[33];

    dz_path_context(v->host, source, context);
    /* docs/format/cache.md: BLAKE2b keyed with the context over "file" */
    (void) crypto_generichash(id, sizeof id, (const uint8_t *) "file", 4, context, sizeof context);
    dz_hex(id, sizeof id, hex);
    (void) snprintf(ret_path, 160, "%s/cache/path-%s", s->vault, hex);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void a_key_depends_on_every_field(void **state) {
    static const uint8_t context[DZ_KEY_BYTES] = { 1 }, other[DZ_KEY_BYTES] = { 2 };
    const dz_slice path = DZ_SLICE_LIT("srv/a");
    struct dz_path_key keys[12];
    struct stat st = some_stat(0), changed;
    size_t n = 0;

    (void) state;
    dz_path_key(context, path, 5, &st, &keys[n++]);
    dz_path_key(other, path, 5, &st, &keys[n++]);
    dz_path_key(context, DZ_SLICE_LIT("srv/b"), 5, &st, &keys[n++]);
    dz_path_key(context, path, 6, &st, &keys[n++]);
#define OTHER(field)                                         \
    do {                                                     \
        changed = st;                                        \
        changed.field++;                                     \
        dz_path_key(context, path, 5, &changed, &keys[n++]); \
    } while (0)
    OTHER(st_ino);
    OTHER(st_size);
    OTHER(st_nlink);
    OTHER(st_mtim.tv_sec);
    OTHER(st_mtim.tv_nsec);
    OTHER(st_ctim.tv_sec);
    OTHER(st_ctim.tv_nsec);
#undef OTHER
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(keys[i].tag, keys[k].tag, sizeof keys->tag);
            assert_memory_not_equal(keys[i].cipher, keys[k].cipher, sizeof keys->cipher);
            assert_memory_not_equal(keys[i].mac, keys[k].mac, sizeof keys->mac);
        }
    dz_path_key(context, path, 5, &st, &keys[n]); /* and on nothing else */
    assert_memory_equal(keys[n].tag, keys[0].tag, sizeof keys->tag);
}

static void every_file_is_due_once_in_thirty_days(void **state) {
    static const uint8_t context[DZ_KEY_BYTES] = { 9 };
    enum { FILES = 2000, RUNS = 30 * 24 };
    const int64_t start = 1750000000LL * 1000000;
    unsigned per_run[RUNS] = { 0 };

    (void) state;
    for (unsigned i = 0; i < FILES; i++) {
        struct dz_path_key key;
        unsigned due = 0;
        int64_t last = start;

        some_key(context, i, &key);
        for (unsigned r = 0; r < RUNS; r++) {
            /* not quite on time, but the last one is */
            int64_t now = start + (r + 1) * hour_us +
                          (r + 1 < RUNS ? (int64_t) (r * 7919 % 600) * 1000000 : 0);
            bool is = dz_path_due(&key, last, now);

            due += is;
            per_run[r] += is;
            last = now;
        }
        assert_int_equal(due, 1);
    }
    for (unsigned r = 0; r < RUNS; r++)
        assert_in_range(per_run[r], 0, 20); /* 2.8 on average: no run re-reads everything */
}

static void after_a_pause_or_a_clock_set_back_all_is_due(void **state) {
    static const uint8_t context[DZ_KEY_BYTES] = { 9 };
    const int64_t now = 1750000000LL * 1000000;

    (void) state;
    for (unsigned i = 0; i < 100; i++) {
        struct dz_path_key key;

        some_key(context, i, &key);
        assert_true(dz_path_due(&key, now - 30 * day_us, now));
        assert_true(dz_path_due(&key, 0, now));
        assert_true(dz_path_due(&key, now + 1, now));
        assert_false(dz_path_due(&key, now, now));
    }
}

/* --- the file --------------------------------------------------------------------------------- */

static void what_was_written_is_found(void **state) {
    struct scratch *s = *state;
    static const unsigned sizes[] = { 0, 1, 2, 1000, 30000 };

    scratch_vault(s);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        DZ_AUTO(dz_vault) v = scratch_open(s, false);
        DZ_AUTO(dz_path_cache) c = NULL;

        write_cache(v, "src", sizes[i]); /* replaces the one before */
        assert_int_equal(count_found(v, "src", sizes[i] + 100), sizes[i]);
        assert_int_equal(dz_path_cache_open(v, "src", &c, NULL), DZ_OK);
        assert_int_equal(dz_path_cache_time(c), 123456789);
    }
}

static void no_cache_is_an_empty_cache(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_path_cache) c = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_int_equal(count_found(v, "src", 10), 0);
    assert_int_equal(dz_path_cache_open(v, "src", &c, NULL), DZ_OK);
    assert_int_equal(dz_path_cache_time(c), 0);
}

static void an_unfinished_cache_replaces_nothing(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_path_writer *w = NULL;
    struct dz_path_key key = { .tag = { 1 } };

    scratch_vault(s);
    v = scratch_open(s, false);
    write_cache(v, "src", 10);
    assert_int_equal(dz_path_writer_new(v, v->tmpfd, "src", 5, &w, NULL), DZ_OK);
    assert_int_equal(dz_path_writer_add(w, &key, DZ_SLICE_LIT("x"), NULL), DZ_OK);
    dz_path_writer_free(w);
    assert_int_equal(count_found(v, "src", 10), 10);
}

static void the_cache_of_another_source_opens_nothing(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    char one[160], two[160];

    scratch_vault(s);
    v = scratch_open(s, false);
    write_cache(v, "one", 50);
    assert_int_equal(count_found(v, "two", 50), 0);
    /* not even under its name */
    cache_file(v, "one", one, s);
    cache_file(v, "two", two, s);
    assert_int_equal(rename(one, two), 0);
    assert_int_equal(count_found(v, "two", 50), 0);
    assert_int_equal(count_found(v, "one", 50), 0);
}

static void no_key_of_a_file_is_in_the_cache(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    dz_autobuf dz_buf file = { 0 };
    char path[160];

    scratch_vault(s);
    v = scratch_open(s, false);
    write_cache(v, "src", 50);
    cache_file(v, "src", path, s);
    assert_int_equal(dz_read_file(AT_FDCWD, path, 1 << 20, &file, NULL), DZ_OK);
    assert_null(memmem(file.data, file.len, "file-", 5));
    assert_null(memmem(file.data, file.len, "\x1f\x20\x21\x22\x23", 5)); /* of a value */
}

/* A flipped byte may cost a record or all of them, and never gives a wrong one. */
static void damage_anywhere_is_a_miss(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    enum { N = 10 }; /* below the large value, so that the file is small */
    dz_autobuf dz_buf file = { 0 };
    char path[160];
    int fd;

    scratch_vault(s);
    v = scratch_open(s, false);
    write_cache(v, "src", N);
    cache_file(v, "src", path, s);
    assert_int_equal(dz_read_file(AT_FDCWD, path, 1 << 20, &file, NULL), DZ_OK);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < file.len; i++)
        for (unsigned bit = 1; bit < 256; bit *= 16) {
            uint8_t b = file.data[i] ^ (uint8_t) bit;

            assert_int_equal(pwrite(fd, &b, 1, (off_t) i), 1);
            (void) count_found(v, "src", N); /* asserts what it finds */
            assert_int_equal(pwrite(fd, &file.data[i], 1, (off_t) i), 1);
        }
    assert_int_equal(count_found(v, "src", N), N);
    for (size_t len = 0; len < file.len; len += 1 + len / 16) {
        assert_int_equal(ftruncate(fd, (off_t) len), 0);
        assert_int_equal(count_found(v, "src", N), 0);
        assert_int_equal(pwrite(fd, file.data, file.len, 0), (ssize_t) file.len);
    }
    assert_int_equal(pwrite(fd, "x", 1, (off_t) file.len), 1); /* longer */
    assert_int_equal(count_found(v, "src", N), 0);
    (void) close(fd);
}

static void a_file_of_another_kind_in_its_place_is_passed_over(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    char path[160];

    scratch_vault(s);
    v = scratch_open(s, false);
    cache_file(v, "src", path, s);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(count_found(v, "src", 5), 0);
    write_cache(v, "src", 5);
    assert_int_equal(count_found(v, "src", 5), 5);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(count_found(v, "src", 5), 0);
}

/* Records rest on packs: without all of them they are worth nothing. */
static void a_pack_that_is_gone_empties_the_cache(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    char name[2 * DZ_SHA256_BYTES + 1];
    uint8_t id[DZ_SHA256_BYTES] = { 0 };
    int fd;

    scratch_vault(s);
    v = scratch_open(s, false);
    for (unsigned i = 0; i < 3; i++) {
        id[0] = (uint8_t) (i * 50);
        dz_hex(id, sizeof id, name);
        fd = openat(v->packsfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void) close(fd);
    }
    write_cache(v, "src", 20);
    assert_int_equal(count_found(v, "src", 20), 20);
    id[0] = 200; /* one more changes nothing */
    dz_hex(id, sizeof id, name);
    (void) close(openat(v->packsfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(count_found(v, "src", 20), 20);
    id[0] = 50;
    dz_hex(id, sizeof id, name);
    assert_int_equal(unlinkat(v->packsfd, name, 0), 0);
    assert_int_equal(count_found(v, "src", 20), 0);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

static void plant_pack(struct dz_vault *v, uint8_t first, char ret_name[DZ_PACK_NAME_TEXT]) {
    dz_pack_id id = { { first } };

    dz_hex(id.b, sizeof id.b, ret_name);
    assert_int_equal(
        dz_durable_publish(v->tmpfd, v->packsfd, ret_name, DZ_SLICE_LIT("not a pack"), NULL),
        DZ_OK);
}

static void a_pack_that_is_lost_costs_the_cache_and_one_that_was_pruned_does_not(void **state) {
    struct scratch *s = *state;
    const dz_pack_id gone = { { 7 } };
    DZ_AUTO(dz_vault) v = NULL;
    char name[DZ_PACK_NAME_TEXT];

    scratch_vault(s);
    v = scratch_open(s, false);
    plant_pack(v, 7, name);
    write_cache(v, "src", 10);
    assert_int_equal(count_found(v, "src", 10), 10);
    assert_int_equal(unlinkat(v->packsfd, name, 0), 0);
    assert_int_equal(count_found(v, "src", 10), 0);
    assert_int_equal(dz_packlist_pruned_add(v, v->tmpfd, &gone, 1, NULL), DZ_OK);
    assert_int_equal(count_found(v, "src", 10), 10);
}

static void a_cache_goes_with_its_snapshot(void **state) {
    struct scratch *s = *state;
    uint8_t ids[2 * DZ_SNAPSHOT_ID_BYTES] = { 9 };
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    memcpy(ids + DZ_SNAPSHOT_ID_BYTES, snapshot, sizeof snapshot);
    write_cache(v, "src", 10);
    assert_int_equal(dz_path_caches_keep(v, ids, 2, NULL), DZ_OK);
    assert_int_equal(count_found(v, "src", 10), 10);
    assert_int_equal(dz_path_caches_keep(v, ids, 1, NULL), DZ_OK);
    assert_int_equal(count_found(v, "src", 10), 0);
}

int main(void) {
    const struct CMUnitTest rows[] = {
        cmocka_unit_test(a_key_depends_on_every_field),
        cmocka_unit_test(every_file_is_due_once_in_thirty_days),
        cmocka_unit_test(after_a_pause_or_a_clock_set_back_all_is_due),
        ROW(what_was_written_is_found),
        ROW(no_cache_is_an_empty_cache),
        ROW(an_unfinished_cache_replaces_nothing),
        ROW(the_cache_of_another_source_opens_nothing),
        ROW(no_key_of_a_file_is_in_the_cache),
        ROW(damage_anywhere_is_a_miss),
        ROW(a_file_of_another_kind_in_its_place_is_passed_over),
        ROW(a_pack_that_is_gone_empties_the_cache),
        ROW(a_pack_that_is_lost_costs_the_cache_and_one_that_was_pruned_does_not),
        ROW(a_cache_goes_with_its_snapshot),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
