/* The log keeps what it was given, at every size; several processes append to it; every damaged
 * byte is found and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/wait.h>

#include "core/durable.h"
#include "store/tlog.h"
#include "tests/tlog_fixture.h"

static dz_merkle_hash root_of(uint64_t size) {
    dz_merkle_hash root, *leaves = calloc(size ? size : 1, sizeof *leaves);
    char text[40];

    for (uint64_t i = 0; i < size; i++)
        leaves[i] = dz_merkle_leaf(entry_of(i, text));
    root = size ? dz_merkle_fold(leaves, size) : dz_merkle_empty();
    free(leaves);
    return root;
}

static dz_status expect_entry(void *ctx, uint64_t index, dz_slice entry, dz_err *err) {
    char text[40];

    (void) err;
    assert_true(dz_slice_eq(entry, entry_of(index, text)));
    ++*(uint64_t *) ctx;
    return DZ_OK;
}

static void check_whole(const struct place *p, uint64_t size) {
    DZ_AUTO(dz_tlog) log = open_log(p);
    dz_merkle_hash root = root_of(size);
    dz_checkpoint head = dz_tlog_head(log);
    uint64_t seen = 0;

    assert_int_equal(head.size, size);
    assert_true(dz_merkle_eq(&head.root, &root));
    assert_int_equal(dz_tlog_each(log, 0, UINT64_MAX, expect_entry, &seen, NULL), DZ_OK);
    assert_int_equal(seen, size);
    expect_clean(p, size);
}

static void one_by_one(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    check_whole(&p, 0);
    log = open_log(&p);
    for (uint64_t size = 1; size <= 600; size++) {
        append_to(&p, log, size);
        if (size % 37 == 0 || size % 256 < 2 || size % 256 > 254)
            check_whole(&p, size);
    }
    place_drop(&p);
}

static void in_leaps(void **state) {
    static const uint64_t sizes[] = { 3, 255, 257, 511, 512, 1025, 65535, 65793, 66100 };
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;
    dz_autobuf dz_buf old = { 0 };

    (void) state;
    place_make(&p);
    log = open_log(&p);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        dz_merkle_proof proof;
        dz_buf entry = { 0 };
        dz_merkle_hash leaf;
        dz_checkpoint head;
        char text[40];

        dz_buf_clear(&old);
        dz_buf_put_slice(&old, dz_tlog_checkpoint(log));
        append_to(&p, log, sizes[i]);
        check_whole(&p, sizes[i]);
        assert_int_equal(dz_tlog_check_consistency(log, dz_buf_slice(&old), NULL), DZ_OK);
        leaf = dz_merkle_leaf(entry_of(sizes[i] / 2, text));
        assert_int_equal(dz_tlog_prove_inclusion(log, sizes[i] / 2, &proof, NULL), DZ_OK);
        head = dz_tlog_head(log);
        assert_true(dz_merkle_included(&leaf, sizes[i] / 2, sizes[i], &proof, &head.root));
        assert_int_equal(dz_tlog_read(log, sizes[i] / 2, &entry, NULL), DZ_OK);
        assert_true(dz_slice_eq(dz_buf_slice(&entry), entry_of(sizes[i] / 2, text)));
        assert_int_equal(dz_tlog_read(log, sizes[i], &entry, NULL), DZ_E_NOT_FOUND);
        dz_buf_release(&entry);
    }
    place_drop(&p);
}

static void two_processes_append(void **state) {
    enum { EACH = 300 };
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;
    unsigned seen[2] = { 0 };
    pid_t child[2];

    (void) state;
    place_make(&p);
    for (unsigned c = 0; c < 2; c++) {
        child[c] = fork();
        if (child[c] == 0) {
            struct dz_tlog *mine = NULL;
            bool ok = dz_tlog_open(p.logfd, &VAULT, p.pub, &mine, NULL) == DZ_OK;

            for (unsigned i = 0; i < EACH && ok; i++) {
                const uint8_t bytes[3] = { (uint8_t) c, (uint8_t) i, (uint8_t) (i >> 8) };
                dz_slice entry = { bytes, sizeof bytes };
                uint64_t first;

                ok = dz_tlog_append(mine, p.tmpfd, p.sec, &entry, 1, &first, NULL) == DZ_OK;
            }
            _exit(ok ? 0 : 1);
        }
    }
    for (unsigned c = 0; c < 2; c++) {
        int status = -1;

        assert_int_equal(waitpid(child[c], &status, 0), child[c]);
        assert_int_equal(status, 0);
    }
    expect_clean(&p, 2 * EACH);
    log = open_log(&p);
    assert_int_equal(dz_tlog_head(log).size, 2 * EACH);
    for (uint64_t i = 0; i < 2 * EACH; i++) { /* each process's entries, in its order */
        dz_autobuf dz_buf e = { 0 };

        assert_int_equal(dz_tlog_read(log, i, &e, NULL), DZ_OK);
        assert_int_equal(e.len, 3);
        assert_true(e.data[0] < 2);
        assert_int_equal(e.data[1] | e.data[2] << 8, seen[e.data[0]]);
        seen[e.data[0]]++;
    }
    place_drop(&p);
}

/* A reader that opened the log before it grew still reads it; then it takes in the growth. */
static void an_older_handle_reads_on(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) writer = NULL;
    DZ_AUTO(dz_tlog) reader = NULL;
    uint64_t seen = 0;

    (void) state;
    place_make(&p);
    writer = open_log(&p);
    append_to(&p, writer, 200);
    reader = open_log(&p);
    append_to(&p, writer, 300); /* the partial tiles of 200 are gone now */
    assert_int_equal(dz_tlog_each(reader, 0, UINT64_MAX, expect_entry, &seen, NULL), DZ_OK);
    assert_int_equal(seen, 200);
    assert_int_equal(dz_tlog_refresh(reader, NULL), DZ_OK);
    assert_int_equal(dz_tlog_head(reader).size, 300);
    place_drop(&p);
}

static void put(int dirfd, const char *name, dz_slice content) {
    dz_autoclose int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(dz_write_all(fd, content), 0);
}

static void leftovers_are_overwritten(void **state) {
    struct place p;
    struct findings f;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 5);
    /* as if appends of 6, 9 and 300 entries had died before their checkpoints */
    put(p.logfd, "tile/entries/000.p/6", DZ_SLICE_LIT("rubbish"));
    put(p.logfd, "tile/entries/000.p/9", DZ_SLICE_LIT("rubbish"));
    put(p.logfd, "tile/0/000.p/9", DZ_SLICE_LIT("rubbish"));
    put(p.logfd, "tile/0/000", DZ_SLICE_LIT("rubbish"));
    put(p.logfd, "tile/entries/000", DZ_SLICE_LIT("rubbish"));
    f = verify(&p, 5);
    assert_string_equal(f.last, "");
    assert_int_equal(f.count[DZ_TLOG_LEFTOVER], 5);
    append_to(&p, log, 6);
    append_to(&p, log, 9);
    append_to(&p, log, 10);
    f = verify(&p, 10);
    assert_string_equal(f.last, "");
    assert_int_equal(f.count[DZ_TLOG_LEFTOVER], 2);
    append_to(&p, log, 300);
    f = verify(&p, 300);
    assert_string_equal(f.last, "");
    assert_int_equal(f.count[DZ_TLOG_LEFTOVER], 0);
    place_drop(&p);
}

static void a_rewound_log_is_refused(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;
    dz_autobuf dz_buf old = { 0 }, late = { 0 };
    char text[40];
    dz_slice entry = entry_of(1, text);
    uint64_t first;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 3);
    dz_buf_put_slice(&old, dz_tlog_checkpoint(log));
    append_to(&p, log, 8);
    dz_buf_put_slice(&late, dz_tlog_checkpoint(log));
    assert_int_equal(unlinkat(p.logfd, "checkpoint", 0), 0);
    put(p.logfd, "checkpoint", dz_buf_slice(&old));
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 1, &first, NULL), DZ_E_CORRUPT);
    assert_int_equal(dz_tlog_head(log).size, 8);
    dz_tlog_close(log);
    log = open_log(&p); /* who never saw the later one cannot know ... */
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 1, &first, NULL), DZ_OK);
    /* ... but the holder of that checkpoint does, now and when the log has grown past it */
    assert_int_equal(dz_tlog_check_consistency(log, dz_buf_slice(&late), NULL), DZ_E_CORRUPT);
    append_to(&p, log, 20);
    assert_int_equal(dz_tlog_check_consistency(log, dz_buf_slice(&late), NULL), DZ_E_CORRUPT);
    assert_int_equal(dz_tlog_check_consistency(log, dz_buf_slice(&old), NULL), DZ_OK);
    place_drop(&p);
}

/* ---- damage ---- */

/* A file that is part of the tree at this size, with what must be said about it. */
static void damage_file(const struct place *p, const char *name, uint64_t size, size_t step) {
    dz_autobuf dz_buf good = { 0 }, bad = { 0 };
    struct findings f;

    assert_int_equal(dz_read_file(p->logfd, name, DZ_BUNDLE_MAX, &good, NULL), DZ_OK);
    dz_buf_put_slice(&bad, dz_buf_slice(&good));
    assert_int_equal(unlinkat(p->logfd, name, 0), 0);
    f = verify(p, size);
    assert_int_equal(f.count[DZ_TLOG_MISSING], 1);
    assert_int_equal(f.count[DZ_TLOG_DAMAGED], 0);
    assert_string_equal(f.last, name);
    for (size_t at = 0; at < good.len; at += step) {
        bad.data[at] ^= (uint8_t) (1u << at % 8);
        put(p->logfd, name, dz_buf_slice(&bad));
        f = verify(p, size);
        if (f.count[DZ_TLOG_DAMAGED] != 1 || strcmp(f.last, name) != 0)
            print_error("byte %zu of %s: %u damaged, the last is %s\n", at, name,
                        f.count[DZ_TLOG_DAMAGED], f.last);
        assert_int_equal(f.count[DZ_TLOG_DAMAGED], 1);
        assert_int_equal(f.count[DZ_TLOG_MISSING], 0);
        assert_string_equal(f.last, name);
        bad.data[at] = good.data[at];
    }
    for (size_t len = 0; len < good.len; len += step) {
        put(p->logfd, name, (dz_slice){ good.data, len });
        f = verify(p, size);
        assert_int_equal(f.count[DZ_TLOG_DAMAGED], 1);
        assert_string_equal(f.last, name);
    }
    put(p->logfd, name, dz_buf_slice(&good));
    expect_clean(p, size);
}

static void every_byte_counts(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 3);
    append_to(&p, log, 4);
    damage_file(&p, "checkpoint", 4, 1);
    damage_file(&p, "tile/0/000.p/4", 4, 1);
    damage_file(&p, "tile/entries/000.p/4", 4, 1);
    append_to(&p, log, 513);
    damage_file(&p, "checkpoint", 513, 5);
    damage_file(&p, "tile/0/000", 513, 97);
    damage_file(&p, "tile/0/002.p/1", 513, 1);
    damage_file(&p, "tile/1/000.p/2", 513, 1);
    damage_file(&p, "tile/entries/000", 513, 53);
    damage_file(&p, "tile/entries/002.p/1", 513, 1);
    place_drop(&p);
}

static void damage_high_up_is_named(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 65536 + 300);
    damage_file(&p, "tile/2/000.p/1", 65836, 16);
    damage_file(&p, "tile/1/000", 65836, 4096);
    damage_file(&p, "tile/1/001.p/1", 65836, 16);
    damage_file(&p, "tile/0/255", 65836, 4096);
    damage_file(&p, "tile/entries/256", 65836, 4096);
    place_drop(&p);
}

static void older_tiles_and_foreign_files_are_named(void **state) {
    struct place p;
    struct findings f;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 3);
    append_to(&p, log, 5);
    assert_int_equal(unlinkat(p.logfd, "tile/0/000.p/3", 0), 0); /* C2SP lets them go */
    expect_clean(&p, 5);
    put(p.logfd, "tile/0/000.p/3", DZ_SLICE_LIT("rubbish"));
    f = verify(&p, 5);
    assert_int_equal(f.count[DZ_TLOG_DAMAGED], 1);
    assert_string_equal(f.last, "tile/0/000.p/3");
    assert_int_equal(unlinkat(p.logfd, "tile/0/000.p/3", 0), 0);

    put(p.logfd, "tile/0/0\x01x", DZ_SLICE_LIT(""));
    f = verify(&p, 5);
    assert_int_equal(f.count[DZ_TLOG_UNEXPECTED], 1);
    assert_string_equal(f.last, "tile/0/0?x");
    assert_int_equal(unlinkat(p.logfd, "tile/0/0\x01x", 0), 0);
    assert_int_equal(symlinkat("/", p.logfd, "tile/1"), 0);
    f = verify(&p, 5);
    assert_int_equal(f.count[DZ_TLOG_UNEXPECTED], 1);
    assert_string_equal(f.last, "tile/1");
    place_drop(&p);
}

static void reading_finds_damage(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;
    dz_autobuf dz_buf good = { 0 }, e = { 0 };

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 600);
    assert_int_equal(dz_read_file(p.logfd, "tile/entries/001", DZ_BUNDLE_MAX, &good, NULL), DZ_OK);
    good.data[good.len / 2] ^= 1;
    assert_int_equal(unlinkat(p.logfd, "tile/entries/001", 0), 0);
    put(p.logfd, "tile/entries/001", dz_buf_slice(&good));
    assert_int_equal(dz_tlog_read(log, 100, &e, NULL), DZ_OK);
    assert_int_equal(dz_tlog_read(log, 300, &e, NULL), DZ_E_CORRUPT);
    assert_int_equal(dz_tlog_read(log, 599, &e, NULL), DZ_OK);
    assert_int_equal(unlinkat(p.logfd, "tile/1/000.p/2", 0), 0);
    dz_tlog_close(DZ_TAKE(log));
    assert_int_equal(dz_tlog_open(p.logfd, &VAULT, p.pub, &log, NULL), DZ_E_CORRUPT);
    place_drop(&p);
}

/* Signed, but by nobody who ever wrote so many leaves. */
static void a_huge_empty_log_is_told_soon(void **state) {
    dz_checkpoint head = { .size = DZ_LOG_SIZE_MAX };
    dz_autobuf dz_buf note = { 0 };
    struct findings f;
    struct dz_tlog *log;
    struct place p;

    (void) state;
    place_make(&p);
    assert_int_equal(unlinkat(p.logfd, "checkpoint", 0), 0);
    assert_int_equal(dz_checkpoint_write(&head, &VAULT, p.sec, &note, NULL), DZ_OK);
    put(p.logfd, "checkpoint", dz_buf_slice(&note));
    assert_int_equal(dz_tlog_open(p.logfd, &VAULT, p.pub, &log, NULL), DZ_E_CORRUPT);
    f = verify(&p, 0);
    assert_int_equal(f.count[DZ_TLOG_MISSING], DZ_TLOG_FINDINGS_MAX);
    place_drop(&p);
}

static void limits_hold(void **state) {
    static const uint8_t big[DZ_LOG_ENTRY_MAX + 1];
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;
    dz_slice entry = { big, DZ_LOG_ENTRY_MAX + 1 };
    dz_autobuf dz_buf e = { 0 };
    uint64_t first;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 1, &first, NULL), DZ_E_LIMIT);
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 0, &first, NULL), DZ_E_LIMIT);
    entry.len = DZ_LOG_ENTRY_MAX;
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 1, &first, NULL), DZ_OK);
    entry.len = 0;
    assert_int_equal(dz_tlog_append(log, p.tmpfd, p.sec, &entry, 1, &first, NULL), DZ_OK);
    assert_int_equal(dz_tlog_read(log, 0, &e, NULL), DZ_OK);
    assert_int_equal(e.len, DZ_LOG_ENTRY_MAX);
    assert_int_equal(dz_tlog_read(log, 1, &e, NULL), DZ_OK);
    assert_int_equal(e.len, 0);
    assert_int_equal(dz_tlog_create(p.logfd, p.tmpfd, &VAULT, p.sec, NULL), DZ_E_EXISTS);
    place_drop(&p);
}

static unsigned syncs; /* counted; what they do is the crash tests' matter */

static int counted_fsync(int fd) {
    (void) fd;
    syncs++;
    return 0;
}

static void an_append_costs_few_syncs(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) log = NULL;

    (void) state;
    place_make(&p);
    log = open_log(&p);
    append_to(&p, log, 1);
    for (uint64_t size = 2; size < 520; size++) {
        syncs = 0;
        append_to(&p, log, size);
        assert_int_equal(syncs, size == 256 ? 11 : size % 256 < 2 ? 8 : 6);
    }
    place_drop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(in_leaps),
        cmocka_unit_test(two_processes_append),
        cmocka_unit_test(an_older_handle_reads_on),
        cmocka_unit_test(leftovers_are_overwritten),
        cmocka_unit_test(a_rewound_log_is_refused),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(damage_high_up_is_named),
        cmocka_unit_test(older_tiles_and_foreign_files_are_named),
        cmocka_unit_test(reading_finds_damage),
        cmocka_unit_test(a_huge_empty_log_is_told_soon),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(an_append_costs_few_syncs),
    };

    struct dz_os os = dz_os_real;

    if (sodium_init() < 0)
        return 1;
    os.fsync = counted_fsync;
    dz_os = &os;
    return cmocka_run_group_tests_name("transparency log", tests, NULL, NULL);
}
