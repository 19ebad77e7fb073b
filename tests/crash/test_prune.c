/* Snapshots expire while the power is cut before and after every sync of it.
 *
 * A tree is kept a few times; the rules let all but the newest go; a prune announces that, and one
 * that runs later carries it out.  Whatever moment the power goes: the newest snapshot is whole, so
 * are the others until the log says that they are gone, the vault is sound, the next backup works,
 * and in the end a prune leaves what one that was never cut off left.
 *
 * usage: test_prune [SEED] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/os.h"
#include "custody/policy.h"
#include "custody/prune.h"
#include "intake/path_cache.h"
#include "tests/crash/crash_os.h"
#include "tests/crash/world.h"

#define DAY (INT64_C(86400) * 1000000)

enum { BACKUPS = 4, ANNOUNCED = 100, REMOVED = 101 /* marks */ };

static uint64_t seed = 1;
static char base[64], source[80], recorded[80];
static struct promises promises;
static unsigned packs_in_the_end;

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

static dz_status drop_caches(void *ctx, const uint8_t *ids, size_t n, dz_err *err) {
    return dz_path_caches_keep(ctx, ids, n, err);
}

static dz_status prune(const char *vault, struct dz_prune_result *ret, dz_err *err) {
    struct dz_prune_how how = { .sweep = { .sparse_pct = 100, .survivors = drop_caches } };
    DZ_AUTO(dz_vault) v = NULL;

    *ret = (struct dz_prune_result){ 0 };
    DZ_TRY(dz_vault_open(vault, &v, err)); /* closed */
    how.sweep.ctx = v;
    dz_clock_sample(&how.now);
    return dz_prune_run(v, &how, ret, err);
}

static struct dz_prune_result must_prune(const char *vault, uint64_t announced, uint64_t removed) {
    struct dz_prune_result r;
    dz_err err = { 0 };

    if (prune(vault, &r, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(r.announced, announced);
    assert_int_equal(r.removed, removed);
    assert_false(r.guard.frozen);
    return r;
}

static void set_rules(const char *vault) {
    const dz_keep keep = { .minimum_days = 60, .daily = 1, .zone = "UTC" };
    DZ_AUTO(dz_vault) v = NULL;
    dz_err err = { 0 };

    if (world_open(vault, &v, &err) != DZ_OK || dz_policy_set(v, "tree", &keep, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* Marks: the number of snapshots; then ANNOUNCED, REMOVED. */
static void record(uint64_t *random) {
    struct dz_prune_result r;
    char vault[96];
    dz_err err = { 0 };

    (void) snprintf(vault, sizeof vault, "%s/vault", recorded);
    MUST(mkdir(recorded, 0700) == 0);
    world_tree(source, random);
    crash_os_record(recorded);
    assert_int_equal(world_create(vault, &err), DZ_OK);
    set_rules(vault);
    for (int i = 1; i <= BACKUPS; i++) {
        world_settle();
        if (world_keep(vault, "tree", source, 2, &promises, &err) != DZ_OK)
            fail_msg("%s", err.what);
        (void) must_prune(vault, 0, 0); /* the clock's ticks */
        dz_clock_ahead_us += DAY;
        if (i < BACKUPS)
            world_change(source, random);
    }
    dz_clock_ahead_us += 70 * DAY;
    crash_os_mark(BACKUPS);
    (void) must_prune(vault, BACKUPS - 1, 0);
    crash_os_mark(ANNOUNCED);
    dz_clock_ahead_us += 6 * DAY;
    (void) must_prune(vault, 0, 0); /* a week has not passed */
    dz_clock_ahead_us += DAY;
    r = must_prune(vault, 0, BACKUPS - 1);
    print_message("%llu packs removed, %llu of them compacted, %llu bytes freed\n",
                  (unsigned long long) r.swept.removed, (unsigned long long) r.swept.compacted,
                  (unsigned long long) r.swept.freed);
    assert_true(r.swept.removed > r.swept.compacted && r.swept.compacted > 0 && r.swept.freed > 0);
    crash_os_mark(REMOVED);
    crash_os_stop();
    (void) snprintf(vault, sizeof vault, "%s/vault/packs", recorded);
    packs_in_the_end = world_names_in(vault, ".");
}

static bool again(const char *vault, char why[WHY]) {
    struct dz_prune_result r;
    dz_err err = { 0 };

    if (prune(vault, &r, &err) != DZ_OK) {
        (void) snprintf(why, WHY, "prune: %s", err.what);
        return false;
    }
    return true;
}

/* Whether the directory that a cut left behaves; `marked` is what was done before. */
static bool behaves(const char *image, int marked, bool thorough, char why[WHY]) {
    const int64_t then = dz_clock_ahead_us;
    struct promises now = { 0 };
    char vault[160], path[180];
    dz_err err = { 0 };
    bool ok;

    (void) snprintf(vault, sizeof vault, "%s/vault", image);
    (void) snprintf(path, sizeof path, "%s/packs", vault);
    for (int i = 0; i < BACKUPS; i++) {
        struct promise *p = promise_add(&now, promises.list[i].tree);
        *p = promises.list[i];
        /* once announced they may go at any moment; before that they may not */
        p->acknowledged = i == BACKUPS - 1 || marked < ANNOUNCED;
    }
    ok = world_check(vault, &now, !thorough, why);
    for (int i = 0; i + 1 < BACKUPS; i++)
        now.list[i].acknowledged = false;
    ok = ok && again(vault, why) && world_check(vault, &now, !thorough, why);
    if (ok && world_keep(vault, "tree", source, 1, &now, &err) != DZ_OK) {
        (void) snprintf(why, WHY, "the next backup: %s", err.what);
        ok = false;
    }
    dz_clock_ahead_us += 8 * DAY; /* whatever was announced is due */
    ok = ok && again(vault, why) && world_check(vault, &now, true, why);
    if (ok && world_names_in(vault, "packs") > packs_in_the_end + 2) { /* the backup's own */
        (void) snprintf(why, WHY, "%u packs are left, not %u and at most 2",
                        world_names_in(vault, "packs"), packs_in_the_end);
        ok = false;
    }
    if (ok && (world_names_in(vault, "tmp") > 0 || world_names_in(vault, "commits") != 2)) {
        (void) snprintf(why, WHY, "leftovers: %u in tmp, %u in commits",
                        world_names_in(vault, "tmp"), world_names_in(vault, "commits"));
        ok = false;
    }
    dz_clock_ahead_us = then;
    if (now.n > BACKUPS)
        tree_free(now.list[BACKUPS].tree);
    free(now.list);
    return ok;
}

static void every_cut_leaves_what_is_needed(void **state) {
    uint64_t random = seed;
    unsigned images = 0, bad = 0;

    (void) state;
    print_message("seed %llu\n", (unsigned long long) seed);
    record(&random);
    print_message("%u packs in the end\n", packs_in_the_end);
    for (size_t m = 0; m < crash_os_moments(); m++)
        for (int variant = 0; variant < CRASH_VARIANTS; variant++) {
            uint64_t chance = seed * 1000003 + m * CRASH_VARIANTS + (uint64_t) variant;
            char image[96], why[WHY] = "";

            if (crash_os_marked(m) < BACKUPS)
                continue; /* test_power_cut has what comes before */
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
    assert_true(images > 100);
    assert_int_equal(bad, 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_cut_leaves_what_is_needed) };
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
    failed = cmocka_run_group_tests_name("prune and power cuts", tests, NULL, NULL);
    crash_os_free();
    promises_free(&promises);
    world_remove(base);
    return failed;
}
