/* Every byte of the truth: flipped, cut off, deleted, swapped; verification finds it and names it,
 * and opened it names whoever really cannot be read any more. */
#include "core/durable.h"
#include "tests/honest/vault_fixture.h"

static struct fixture fx;
static struct findings found;

static const char *const truth[] = { "packs/", "commits/", "log/", "vault.yaml", "host.key" };
enum { TRUTHS = sizeof truth / sizeof truth[0] };

static void a_vault_that_nobody_touched_is_whole(void **state) {
    (void) state;
    for (int with = CLOSED; with <= WITH_DATA; with++) {
        fixture_copy(&fx);
        fixture_verify(&fx, fx.vault, (enum fixture_with) with, &found);
        if (found.n != 0 || found.not_opened)
            found_fail(&found, "damage where there is none");
        assert_int_equal(found.result.snapshots, FIXTURE_SNAPS);
        assert_int_equal(found.result.rebuilt, 0);
        assert_int_equal(found.result.leftovers, 0);
        assert_true(found.result.packs >= 3);
        assert_true(found.result.objects > 10);
        assert_int_equal(found.result.opened, with == WITH_DATA ? found.result.objects : 0);
    }
}

/* The file is named, or the vault does not open and says why. */
static void expect_named(const char *file, const char *how) {
    char what[300];

    (void) snprintf(what, sizeof what, "%s: %s", file, how);
    fixture_verify(&fx, fx.vault, CLOSED, &found);
    if (found.not_opened) {
        assert_true(found.why.what[0] != '\0');
        if (strcmp(file, "vault.yaml") != 0 && strcmp(file, "host.key") != 0)
            found_fail(&found, what);
    } else if (!found_object(&found, file)) {
        found_fail(&found, what);
    }
}

/* All of a small file; of a large one its ends and a sample. */
static size_t next_position(size_t at, size_t len) {
    enum { ALL = 1200, END = 160, STEP = 9973 };

    return len <= ALL || at < END || at + END >= len ? at + 1
           : at + STEP < len - END                   ? at + STEP
                                                     : len - END;
}

static void each_flipped_byte_is_found(void **state) {
    (void) state;
    for (size_t t = 0; t < TRUTHS; t++) {
        size_t n, cases = 0;
        char **files = fixture_files(fx.pristine, truth[t], &n);

        assert_true(n > 0);
        for (size_t i = 0; i < n; i++) {
            size_t len;
            uint8_t *bytes = fixture_read(fx.pristine, files[i], &len);

            for (size_t at = 0; at < len; at = next_position(at, len)) {
                char how[64];

                fixture_copy(&fx);
                bytes[at] ^= (uint8_t) (1 << at % 8);
                fixture_write(fx.vault, files[i], bytes, len);
                bytes[at] ^= (uint8_t) (1 << at % 8);
                (void) snprintf(how, sizeof how, "byte %zu of %zu flipped", at, len);
                expect_named(files[i], how);
                cases++;
            }
            free(bytes);
        }
        print_message("%s %zu files, %zu bytes flipped\n", truth[t], n, cases);
        fixture_files_free(files, n);
    }
}

/* A partial tile of the log that a wider one has taken the place of: nobody misses it. */
static bool is_superseded(const char *file) {
    const char *width = strstr(file, ".p/");

    return width && strtol(width + 3, NULL, 10) < 1 + FIXTURE_SNAPS;
}

static void each_file_cut_short_or_deleted_is_found(void **state) {
    (void) state;
    for (size_t t = 0; t < TRUTHS; t++) {
        size_t n;
        char **files = fixture_files(fx.pristine, truth[t], &n);

        for (size_t i = 0; i < n; i++) {
            size_t len;
            uint8_t *bytes = fixture_read(fx.pristine, files[i], &len);
            const size_t lengths[] = { 0, 1, len / 2, len - 1 };
            char path[600];

            for (size_t k = 0; len > 1 && k < sizeof lengths / sizeof lengths[0]; k++) {
                fixture_copy(&fx);
                fixture_write(fx.vault, files[i], bytes, lengths[k]);
                expect_named(files[i], "cut short");
            }
            fixture_copy(&fx);
            (void) snprintf(path, sizeof path, "%s/%s", fx.vault, files[i]);
            assert_int_equal(unlink(path), 0);
            if (len > 0 && !is_superseded(files[i]))
                expect_named(files[i], "deleted");
            free(bytes);
        }
        fixture_files_free(files, n);
    }
}

static void two_files_that_changed_places_are_both_found(void **state) {
    static const char *const dirs[] = { "packs/", "commits/", "log/tile/" };

    (void) state;
    for (size_t t = 0; t < sizeof dirs / sizeof dirs[0]; t++) {
        size_t n;
        char **files = fixture_files(fx.pristine, dirs[t], &n);

        for (size_t i = 0; i + 1 < n; i++) {
            size_t a_len, b_len;
            uint8_t *a = fixture_read(fx.pristine, files[i], &a_len);
            uint8_t *b = fixture_read(fx.pristine, files[i + 1], &b_len);

            fixture_copy(&fx);
            fixture_write(fx.vault, files[i], b, b_len);
            fixture_write(fx.vault, files[i + 1], a, a_len);
            if (a_len != b_len || memcmp(a, b, a_len) != 0) {
                expect_named(files[i], "swapped");
                if (!found_object(&found, files[i + 1]))
                    found_fail(&found, files[i + 1]);
            }
            free(a);
            free(b);
        }
        fixture_files_free(files, n);
    }
}

/* What verification tells, opened, is what a reader meets. */
static void expect_sufferers(const char *how) {
    static struct paths told, met;
    unsigned snaps_told = 0, snaps_met = 0;
    bool exact = true;

    told.n = met.n = 0;
    fixture_verify(&fx, fx.vault, WITH_DATA, &found);
    if (found.not_opened || found.n == 0)
        found_fail(&found, how);
    for (size_t i = 0; i < found.n; i++) {
        for (size_t k = 0; k < found.at[i].n_paths; k++)
            paths_add(&told, found.at[i].paths[k]);
        snaps_told |= found.at[i].snaps;
        /* where the table of a pack is lost, its objects can be read only as long as the index is
         * whole: they suffer, though they can still be read today */
        exact &= strstr(found.at[i].detail, " lost") || found.at[i].what == DZ_VERIFY_MISSING;
    }
    for (size_t s = 0; s < FIXTURE_SNAPS; s++) {
        static struct paths one;

        one.n = 0;
        if (!fixture_read_snapshot(&fx, fx.vault, s, s + 1 == FIXTURE_SNAPS, &one))
            paths_add(&one, "");
        for (size_t i = 0; i < one.n; i++)
            paths_add(&met, one.at[i]);
        snaps_met |= one.n > 0 ? 1U << s : 0;
    }
    for (size_t i = 0; i < met.n; i++)
        if (!paths_have(&told, met.at[i])) {
            print_error("not told: %s\n", met.at[i]);
            found_fail(&found, how);
        }
    for (size_t i = 0; exact && i < told.n; i++)
        if (!paths_have(&met, told.at[i])) {
            print_error("told, and can be read: %s\n", told.at[i]);
            found_fail(&found, how);
        }
    if ((snaps_met & ~snaps_told) != 0)
        found_fail(&found, how);
}

static void opened_it_names_who_really_suffers(void **state) {
    size_t n;
    char **files = fixture_files(fx.pristine, "packs/", &n);

    (void) state;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        uint8_t *bytes = fixture_read(fx.pristine, files[i], &len);
        char path[600], how[64];

        for (size_t at = 7; at<len; at += len> 20000 ? 4999 : 211) {
            fixture_copy(&fx);
            bytes[at] ^= 0x10;
            fixture_write(fx.vault, files[i], bytes, len);
            bytes[at] ^= 0x10;
            (void) snprintf(how, sizeof how, "pack %zu, byte %zu of %zu", i, at, len);
            expect_sufferers(how);
        }
        fixture_copy(&fx);
        (void) snprintf(path, sizeof path, "%s/%s", fx.vault, files[i]);
        assert_int_equal(unlink(path), 0);
        expect_sufferers("deleted");
        free(bytes);
    }
    fixture_files_free(files, n);
}

static void a_damaged_cache_is_made_again_and_alters_nothing(void **state) {
    static const char *const dirs[] = { "index/", "cache/" };
    static struct paths none;

    (void) state;
    for (size_t t = 0; t < 2; t++) {
        size_t n;
        char **files = fixture_files(fx.pristine, dirs[t], &n);

        assert_true(n > 0);
        for (size_t i = 0; i < n; i++) {
            size_t len;
            uint8_t *bytes = fixture_read(fx.pristine, files[i], &len);

            for (size_t k = 0; k < 40; k++) {
                size_t at = len * k / 40;

                fixture_copy(&fx);
                if (k == 0) {
                    fixture_write(fx.vault, files[i], bytes, len / 2);
                } else {
                    bytes[at] ^= 0x80;
                    fixture_write(fx.vault, files[i], bytes, len);
                    bytes[at] ^= 0x80;
                }
                fixture_verify(&fx, fx.vault, WITH_DATA, &found);
                if (found.n != 0 || found.not_opened)
                    found_fail(&found, files[i]);
                none.n = 0;
                for (size_t s = 0; s < FIXTURE_SNAPS; s++)
                    assert_true(fixture_read_snapshot(&fx, fx.vault, s, s == 2, &none));
                assert_int_equal(none.n, 0);
                fixture_verify(&fx, fx.vault, CLOSED, &found);
                assert_int_equal(found.result.rebuilt, 0); /* healed */
            }
            free(bytes);
        }
        fixture_files_free(files, n);
    }
}

/* Things with a pack's name that are none: nobody waits for them, or fails because of them. */
static void what_is_no_file_is_named_and_stops_nobody(void **state) {
    static const char name[] =
        "packs/00000000000000000000000000000000000000000000000000000000000000aa";

    (void) state;
    for (int kind = 0; kind < 3; kind++) {
        char path[600];

        fixture_copy(&fx);
        (void) snprintf(path, sizeof path, "%s/%s", fx.vault, name);
        assert_int_equal(kind == 0   ? mkfifo(path, 0600)
                         : kind == 1 ? mkdir(path, 0700)
                                     : symlink("/dev/zero", path),
                         0);
        fixture_backup(&fx, fx.vault, NULL);
        fixture_verify(&fx, fx.vault, WITH_DATA, &found);
        if (found.n != 1 || !found_object(&found, name) || found.at[0].snaps != 0)
            found_fail(&found, name);
    }
}

static void a_broken_log_does_not_hide_a_broken_pack(void **state) {
    size_t n, len;
    char **files = fixture_files(fx.pristine, "packs/", &n);
    uint8_t *bytes = fixture_read(fx.pristine, files[0], &len);

    (void) state;
    fixture_copy(&fx);
    bytes[len / 2] ^= 1;
    fixture_write(fx.vault, files[0], bytes, len);
    fixture_write(fx.vault, "log/checkpoint", (const uint8_t *) "nothing\n", 8);
    fixture_verify(&fx, fx.vault, CLOSED, &found);
    assert_non_null(found_object(&found, "log/checkpoint"));
    assert_non_null(found_object(&found, files[0]));
    assert_int_equal(found.result.snapshots, FIXTURE_SNAPS); /* not proven, but looked at */
    free(bytes);
    fixture_files_free(files, n);
}

/* Damage of a pack is healed by the next backup, as far as the source still has the content. */
static void what_is_damaged_is_stored_anew_by_the_next_backup(void **state) {
    size_t n, len, largest = 0, which = 0;
    char **files = fixture_files(fx.pristine, "packs/", &n);
    const struct found *x;
    uint8_t *bytes;

    (void) state;
    for (size_t i = 0; i < n; i++) {
        free(fixture_read(fx.pristine, files[i], &len));
        which = len > largest ? i : which;
        largest = len > largest ? len : largest;
    }
    bytes = fixture_read(fx.pristine, files[which], &len);
    fixture_copy(&fx);
    bytes[len / 3] ^= 1;
    fixture_write(fx.vault, files[which], bytes, len);
    fixture_verify(&fx, fx.vault, WITH_DATA, &found);
    x = found_object(&found, files[which]);
    if (!x || x->snaps != 7 || x->n_paths == 0)
        found_fail(&found, "three snapshots suffer");
    fixture_backup(&fx, fx.vault, NULL);
    fixture_verify(&fx, fx.vault, WITH_DATA, &found);
    x = found_object(&found, files[which]);
    /* the pack stays what it is; the first two snapshots had a film that is gone since */
    if (!x || (x->snaps & 4) != 0 || found.result.snapshots != FIXTURE_SNAPS + 1)
        found_fail(&found, "the last snapshot is whole again");
    free(bytes);
    fixture_files_free(files, n);
}

static void the_log_keeps_what_was_found(void **state) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_verify_last last = { 0 };
    bool there = true;
    size_t n, len;
    char **files = fixture_files(fx.pristine, "packs/", &n);
    uint8_t *bytes = fixture_read(fx.pristine, files[0], &len);

    (void) state;
    fixture_copy(&fx);
    assert_int_equal(dz_vault_open(fx.vault, &v, NULL), DZ_OK);
    assert_int_equal(dz_verify_last_read(v, &last, &there, NULL), DZ_OK);
    assert_false(there);
    dz_vault_free(DZ_TAKE(v));
    bytes[len / 2] ^= 1;
    fixture_write(fx.vault, files[0], bytes, len);
    fixture_verify(&fx, fx.vault, OPENED, &found);
    assert_int_equal(dz_vault_open(fx.vault, &v, NULL), DZ_OK);
    assert_int_equal(dz_verify_last_read(v, &last, &there, NULL), DZ_OK);
    assert_true(there);
    assert_int_equal(last.damaged, 1);
    assert_int_equal(last.packs, n);
    assert_int_equal(last.snapshots, FIXTURE_SNAPS);
    assert_int_equal(last.objects, found.result.objects);
    assert_false(last.data);
    assert_int_equal(last.leaf, 1 + FIXTURE_SNAPS);
    free(bytes);
    fixture_files_free(files, n);
}

static int setup(void **state) {
    (void) state;
    fixture_make(&fx);
    return 0;
}

static int teardown(void **state) {
    (void) state;
    fixture_drop(&fx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vault_that_nobody_touched_is_whole),
        cmocka_unit_test(each_flipped_byte_is_found),
        cmocka_unit_test(each_file_cut_short_or_deleted_is_found),
        cmocka_unit_test(two_files_that_changed_places_are_both_found),
        cmocka_unit_test(opened_it_names_who_really_suffers),
        cmocka_unit_test(a_damaged_cache_is_made_again_and_alters_nothing),
        cmocka_unit_test(what_is_no_file_is_named_and_stops_nobody),
        cmocka_unit_test(a_broken_log_does_not_hide_a_broken_pack),
        cmocka_unit_test(what_is_damaged_is_stored_anew_by_the_next_backup),
        cmocka_unit_test(the_log_keeps_what_was_found),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
