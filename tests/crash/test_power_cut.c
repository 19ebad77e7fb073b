/* The power is cut before and after every sync of: a vault is made, a tree is kept, changed, kept,
 * changed and kept again.  What then is found opens; every snapshot that was reported is there,
 * whole; no other is there in part; every truth file is sound; and the next backup works as if
 * nothing had happened.
 *
 * usage: test_power_cut [SEED] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/os.h"
#include "tests/crash/crash_os.h"
#include "tests/crash/world.h"

enum { BACKUPS = 3 };

static uint64_t seed = 1;
static char base[64], source[80], recorded[80];
static struct promises promises;

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

/* Marks: 0 the vault is there, then the number of snapshots. */
static void record(uint64_t *random) {
    char vault[96];
    dz_err err = { 0 };

    (void) snprintf(vault, sizeof vault, "%s/vault", recorded);
    MUST(mkdir(recorded, 0700) == 0);
    world_tree(source, random);
    crash_os_record(recorded);
    assert_int_equal(world_create(vault, &err), DZ_OK);
    crash_os_mark(0);
    for (int i = 1; i <= BACKUPS; i++) {
        world_settle();
        if (world_keep(vault, "tree", source, 2, &promises, &err) != DZ_OK)
            fail_msg("%s", err.what);
        crash_os_mark(i);
        world_change(source, random);
    }
    crash_os_stop();
}

/* Whether the directory that a cut left behaves; `marked` is what was promised before. */
static bool behaves(const char *image, int marked, bool thorough, char why[WHY]) {
    char vault[160];
    DZ_AUTO(dz_vault) v = NULL;
    struct promises now = { 0 };
    bool ok;
    dz_err err = { 0 };
    dz_status s;

    (void) snprintf(vault, sizeof vault, "%s/vault", image);
    s = dz_vault_open(vault, &v, &err);
    if (s == DZ_E_NOT_FOUND && marked < 0)
        return true; /* not yet a vault: init is run again, in another directory */
    if (s != DZ_OK) {
        (void) snprintf(why, WHY, "open: %s", err.what);
        return false;
    }
    for (int i = 0; i < BACKUPS; i++) {
        struct promise *p = promise_add(&now, promises.list[i].tree);
        *p = promises.list[i];
        p->acknowledged = i < marked;
    }
    ok = world_check(vault, &now, !thorough, why);
    if (ok && world_keep(vault, "tree", source, 1, &now, &err) != DZ_OK) {
        (void) snprintf(why, WHY, "the next backup: %s", err.what);
        ok = false;
    }
    if (ok && now.list[BACKUPS].problems > 0) {
        (void) snprintf(why, WHY, "the next backup had problems");
        ok = false;
    }
    ok = ok && world_check(vault, &now, true, why);
    if (ok && world_names_in(vault, "tmp") > 0) {
        (void) snprintf(why, WHY, "leftovers in tmp");
        ok = false;
    }
    if (now.n > BACKUPS)
        tree_free(now.list[BACKUPS].tree);
    free(now.list);
    return ok;
}

static void every_cut_leaves_what_was_promised(void **state) {
    uint64_t random = seed;
    unsigned images = 0, bad = 0;

    (void) state;
    print_message("seed %llu\n", (unsigned long long) seed);
    record(&random);
    print_message("%zu moments, %zu calls\n", crash_os_moments(),
                  crash_os_call(crash_os_moments() - 1));
    for (size_t m = 0; m < crash_os_moments(); m++)
        for (int variant = 0; variant < CRASH_VARIANTS; variant++) {
            uint64_t chance = seed * 1000003 + m * CRASH_VARIANTS + (uint64_t) variant;
            char image[96], why[WHY] = "";

            (void) snprintf(image, sizeof image, "%s/image", base);
            crash_os_image(m, (enum crash_variant) variant, chance, image);
            images++;
            if (!behaves(image, crash_os_marked(m), m % 8 == 0, why)) {
                print_error("moment %zu (call %zu, mark %d), variant %d: %s\n", m, crash_os_call(m),
                            crash_os_marked(m), variant, why);
                bad++;
            }
            world_remove(image);
        }
    print_message("%u images\n", images);
    assert_int_equal(bad, 0);
}

static ino_t unlucky_dir;
static int lucky; /* times that its sync still works */
static const struct dz_os *recording;

static int refuse_one_sync(int fd) {
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_ino == unlucky_dir && lucky-- == 0) {
        errno = EIO;
        return -1;
    }
    return recording->fsync(fd);
}

/* A pack got its name, and then the name's sync failed: the run is over, the pack is there, and
 * the next run finds all it needs in it.  Its snapshot must not rest on a name that may go. */
static void names_that_others_gave_are_synced_too(void **state) {
    char place[80], vault[160], packs[180], image[96], why[WHY] = "";
    struct promises kept = { 0 };
    struct dz_os unlucky;
    uint64_t random = seed;
    struct stat st;
    dz_err err = { 0 };

    (void) state;
    (void) snprintf(place, sizeof place, "%s/place", base);
    (void) snprintf(vault, sizeof vault, "%s/vault", place);
    (void) snprintf(packs, sizeof packs, "%s/packs", vault);
    (void) snprintf(image, sizeof image, "%s/image", base);
    world_remove(source);
    world_tree(source, &random);
    MUST(mkdir(place, 0700) == 0);
    crash_os_record(place);
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    MUST(stat(packs, &st) == 0);
    unlucky_dir = st.st_ino;
    lucky = 1; /* the pack of data; the pack of trees comes last */
    recording = dz_os;
    unlucky = *dz_os;
    unlucky.fsync = refuse_one_sync;
    dz_os = &unlucky;
    assert_int_equal(world_keep(vault, "tree", source, 1, &kept, NULL), DZ_E_IO);
    dz_os = recording;
    if (world_keep(vault, "tree", source, 1, &kept, &err) != DZ_OK)
        fail_msg("%s", err.what);
    crash_os_mark(1);
    crash_os_stop();
    crash_os_image(crash_os_moments() - 1, CRASH_DROPPED, seed, image);
    (void) snprintf(vault, sizeof vault, "%s/vault", image);
    if (!world_check(vault, &kept, false, why))
        fail_msg("%s", why);
    world_remove(image);
    promises_free(&kept);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_leaves_what_was_promised),
        cmocka_unit_test(names_that_others_gave_are_synced_too),
    };
    struct dz_os os = dz_os_real;
    int failed;

    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    world_dir(base);
    (void) snprintf(source, sizeof source, "%s/source", base);
    (void) snprintf(recorded, sizeof recorded, "%s/recorded", base);
    failed = cmocka_run_group_tests_name("power cuts", tests, NULL, NULL);
    crash_os_free();
    promises_free(&promises);
    world_remove(base);
    return failed;
}
