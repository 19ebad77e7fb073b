/* Every system call and every allocation of a prune fails once: of one that announces, and of one
 * that removes snapshots and packs.  Then either it worked all the same, or it says what went
 * wrong; nothing is left open, the newest snapshot is whole, so is each of the others until it is
 * gone, and the next prune ends as one that never failed. */
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
#include "tests/crash/world.h"
#include "tests/fault/fault_alloc.h"
#include "tests/fault/fault_os.h"

#define DAY (INT64_C(86400) * 1000000)

enum { WATCH_S = 60, BACKUPS = 3 };

static char base[64], source[80], vault[80];
static char full[80], announced[80]; /* vaults, copied for each run */
static struct promises promises;

static const struct work {
    const char *name;
    const char *start;
    int64_t days; /* after the announcement */
} works[] = {
    { "announcing", full, 0 },
    { "removing", announced, 8 },
};

static const struct {
    const char *name;
    long step;
    struct fault_plan plan;
} plans[] = {
    { "an I/O error", 1, { .error = EIO, .skip_syncs = true } },
    { "no space, from then on", 3, { .error = ENOSPC, .forever = true, .skip_syncs = true } },
    { "too many open files", 3, { .error = EMFILE, .forever = true, .skip_syncs = true } },
    { "short writes, then an I/O error",
      7,
      { .error = EIO, .short_io = true, .skip_syncs = true } },
};

static void copy(const char *from, const char *to) {
    char command[256];

    MUST(snprintf(command, sizeof command, "cp -a %s %s", from, to) < (int) sizeof command);
    MUST(system(command) == 0);
}

static dz_status drop_caches(void *ctx, const uint8_t *ids, size_t n, dz_err *err) {
    return dz_path_caches_keep(ctx, ids, n, err);
}

static dz_status prune(const char *path, struct dz_prune_result *ret, dz_err *err) {
    struct dz_prune_how how = { .sweep = { .sparse_pct = 100, .survivors = drop_caches } };
    DZ_AUTO(dz_vault) v = NULL;

    *ret = (struct dz_prune_result){ 0 };
    DZ_TRY(dz_vault_open(path, &v, err));
    how.sweep.ctx = v;
    dz_clock_sample(&how.now);
    return dz_prune_run(v, &how, ret, err);
}

/* With the real system again: is all as it must be, whatever happened? */
static bool sound(const struct work *work, char why[WHY]) {
    struct promises p = { 0 };
    struct dz_prune_result r;
    dz_err err = { 0 };
    bool ok;

    for (int i = 0; i < BACKUPS; i++) {
        struct promise *one = promise_add(&p, NULL);
        *one = promises.list[i];
        one->acknowledged = i + 1 == BACKUPS || work->days == 0;
    }
    ok = world_check(vault, &p, false, why);
    for (int i = 0; i + 1 < BACKUPS; i++)
        p.list[i].acknowledged = false;
    if (ok && prune(vault, &r, &err) != DZ_OK) {
        (void) snprintf(why, WHY, "the next prune: %s", err.what);
        ok = false;
    }
    ok = ok && world_check(vault, &p, true, why);
    if (ok && world_names_in(vault, "commits") != (work->days ? 1 : BACKUPS)) {
        (void) snprintf(why, WHY, "%u commit records", world_names_in(vault, "commits"));
        ok = false;
    }
    if (ok && world_names_in(vault, "tmp") > 0) {
        (void) snprintf(why, WHY, "leftovers in tmp");
        ok = false;
    }
    free(p.list);
    return ok;
}

static bool one_run(const struct work *work, void (*arm)(long n, const struct fault_plan *plan),
                    bool (*disarm)(void), long n, const struct fault_plan *plan, bool *ret_fired) {
    struct dz_prune_result r;
    char why[WHY] = "";
    unsigned fds;
    dz_err err = { 0 };
    dz_status s;

    (void) alarm(WATCH_S);
    copy(work->start, vault);
    dz_clock_ahead_us += work->days * DAY;
    fds = world_open_fds();
    arm(n, plan);
    s = prune(vault, &r, &err);
    *ret_fired = disarm();
    if (world_open_fds() != fds)
        (void) snprintf(why, WHY, "%u descriptors were left open", world_open_fds() - fds);
    else if (s != DZ_OK && (!*ret_fired || err.status != s || err.what[0] == '\0'))
        (void) snprintf(why, WHY, "it failed and does not say how");
    else
        (void) sound(work, why);
    if (why[0])
        print_error("%s, %ld: %s: %s; then: %s\n", work->name, n, dz_status_name(s), err.what, why);
    world_remove(vault);
    dz_clock_ahead_us -= work->days * DAY;
    (void) alarm(0);
    return why[0] == '\0';
}

static void arm_os(long n, const struct fault_plan *plan) {
    struct fault_plan p = *plan;

    p.allowed = n;
    fault_os_arm(p);
}

static void every_system_call_fails_once(void **state) {
    unsigned bad = 0;

    (void) state;
    for (size_t w = 0; w < sizeof works / sizeof *works; w++)
        for (size_t k = 0; k < sizeof plans / sizeof *plans; k++) {
            bool fired = true;
            long n = 0;

            for (; fired; n += plans[k].step)
                bad += !one_run(&works[w], arm_os, fault_os_disarm, n, &plans[k].plan, &fired);
            print_message("%s, %s: about %ld calls\n", works[w].name, plans[k].name, n);
            assert_true(n > 50);
        }
    assert_int_equal(bad, 0);
}

static void arm_alloc(long n, const struct fault_plan *plan) {
    (void) plan;
    fault_alloc_arm(n);
}

static void allocations_fail(void **state) {
    unsigned bad = 0;

    (void) state;
    for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
        bool fired = true;
        long n = 0, runs = 0;

        for (; fired; n += 1 + n / 100, runs++)
            bad += !one_run(&works[w], arm_alloc, fault_alloc_disarm, n, NULL, &fired);
        print_message("%s: about %ld allocations, %ld of them failed\n", works[w].name, n, runs);
    }
    assert_int_equal(bad, 0);
}

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

/* A few snapshots that have expired; and the same, announced. */
static int prepare(void **state) {
    const dz_keep keep = { .minimum_days = 60, .daily = 1, .zone = "UTC" };
    struct dz_prune_result r;
    struct dz_vault *v = NULL;
    uint64_t random = 1;

    (void) state;
    world_dir(base);
    (void) snprintf(source, sizeof source, "%s/source", base);
    (void) snprintf(vault, sizeof vault, "%s/vault", base);
    (void) snprintf(full, sizeof full, "%s/full", base);
    (void) snprintf(announced, sizeof announced, "%s/announced", base);
    world_tree(source, &random);
    MUST(world_create(full, NULL) == DZ_OK && world_open(full, &v, NULL) == DZ_OK &&
         dz_policy_set(v, "tree", &keep, NULL) == DZ_OK);
    dz_vault_free(v);
    for (int i = 0; i < BACKUPS; i++) {
        world_settle();
        MUST(world_keep(full, "tree", source, 1, &promises, NULL) == DZ_OK);
        MUST(prune(full, &r, NULL) == DZ_OK);
        world_change(source, &random);
        dz_clock_ahead_us += DAY;
    }
    dz_clock_ahead_us += 70 * DAY;
    copy(full, announced);
    MUST(prune(announced, &r, NULL) == DZ_OK && r.announced == BACKUPS - 1);
    return 0;
}

static int clean_up(void **state) {
    (void) state;
    promises_free(&promises);
    world_remove(base);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_system_call_fails_once),
        cmocka_unit_test(allocations_fail),
    };
    struct dz_os os = dz_os_real;

    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    return cmocka_run_group_tests_name("prune under faults", tests, prepare, clean_up);
}
