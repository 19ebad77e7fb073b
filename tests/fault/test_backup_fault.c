/* Every system call and every allocation of making a vault and of two backups fails once.  Then
 * either it worked all the same, and what was kept is whole, or it says what went wrong; nothing is
 * left open, earlier snapshots are all there, and the next backup works and sweeps up.
 *
 * A run uses several threads, so its n-th call is not always the same one: enough for a search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>

#include "core/os.h"
#include "tests/crash/world.h"
#include "tests/fault/fault_alloc.h"
#include "tests/fault/fault_os.h"

enum { WATCH_S = 60 };

static char base[64], source[80], vault[80];
static char empty_vault[80], used_vault[80]; /* copied for each run */
static struct promises used;                 /* what used_vault holds */
static struct tree *now;                     /* the source as it is */

static const struct work {
    const char *name;
    const char *start; /* a vault to copy; NULL: none yet */
} works[] = {
    { "making a vault", NULL },
    { "a first backup", empty_vault },
    { "a second backup", used_vault },
};

/* The first fails every call; the others every second or third, to save time. */
static const struct {
    const char *name;
    long step;
    struct fault_plan plan;
} plans[] = {
    { "an I/O error", 1, { .error = EIO, .skip_syncs = true } },
    { "no space, from then on", 2, { .error = ENOSPC, .forever = true, .skip_syncs = true } },
    { "too many open files", 2, { .error = EMFILE, .forever = true, .skip_syncs = true } },
    { "short writes, then an I/O error",
      3,
      { .error = EIO, .short_io = true, .skip_syncs = true } },
};

static void copy(const char *from, const char *to) {
    char command[256];

    MUST(snprintf(command, sizeof command, "cp -a %s %s", from, to) < (int) sizeof command);
    MUST(system(command) == 0);
}

/* One run under a fault; `arm` and `disarm` are around nothing but the work itself. */
static dz_status run(const struct work *work, void (*arm)(long n, const struct fault_plan *plan),
                     bool (*disarm)(void), long n, const struct fault_plan *plan,
                     struct promises *p, bool *ret_fired, dz_err *err) {
    struct promise *promise = work->start ? promise_add(p, now) : NULL;
    struct dz_vault *v = NULL;
    struct dz_commit c = { 0 };
    dz_status s;

    arm(n, plan);
    if (work->start) {
        s = world_open(vault, &v, err);
        if (s == DZ_OK)
            s = world_backup(v, "tree", source, 1, &c, err);
        dz_vault_free(v);
    } else {
        s = world_create(vault, err);
    }
    *ret_fired = disarm();
    if (promise && s == DZ_OK) {
        memcpy(promise->id, c.id, sizeof c.id);
        promise->known = promise->acknowledged = true;
        promise->problems = c.errors + c.changed;
        dz_commit_release(&c);
    }
    return s;
}

static void no_arm(long n, const struct fault_plan *plan) {
    (void) n;
    (void) plan;
}
static bool no_disarm(void) {
    return false;
}

/* With the real system again: is all as it must be, whatever happened? */
static bool sound(const struct work *work, dz_status s, struct promises *p, char why[WHY]) {
    DZ_AUTO(dz_vault) v = NULL;
    bool fired;
    dz_err err = { 0 };

    if (!work->start && s != DZ_OK && dz_vault_open(vault, &v, &err) == DZ_E_NOT_FOUND)
        return true; /* not yet a vault */
    work = &works[1];
    if (!world_check(vault, p, true, why))
        return false;
    if (run(work, no_arm, no_disarm, 0, NULL, p, &fired, &err) != DZ_OK)
        (void) snprintf(why, WHY, "the next backup: %s", err.what);
    else if (p->list[p->n - 1].problems > 0)
        (void) snprintf(why, WHY, "the next backup had problems");
    else if (!world_check(vault, p, true, why))
        return false;
    else if (world_names_in(vault, "tmp") > 0)
        (void) snprintf(why, WHY, "leftovers in tmp");
    return why[0] == '\0';
}

static bool one_run(const struct work *work, void (*arm)(long n, const struct fault_plan *plan),
                    bool (*disarm)(void), long n, const struct fault_plan *plan, bool *ret_fired) {
    struct promises p = { 0 };
    char why[WHY] = "";
    unsigned fds;
    dz_err err = { 0 };
    dz_status s;

    (void) alarm(WATCH_S);
    if (work->start)
        copy(work->start, vault);
    if (work->start == used_vault) {
        struct promise *before = promise_add(&p, NULL);
        *before = used.list[0];
    }
    fds = world_open_fds();
    s = run(work, arm, disarm, n, plan, &p, ret_fired, &err);
    if (world_open_fds() != fds)
        (void) snprintf(why, WHY, "%u descriptors were left open", world_open_fds() - fds);
    else if (s != DZ_OK && (!*ret_fired || err.status != s || err.what[0] == '\0'))
        (void) snprintf(why, WHY, "it failed and does not say how");
    else if (plan && plan->forever && s != DZ_OK && err.sys_errno != plan->error)
        (void) snprintf(why, WHY, "it does not say why it failed");
    else
        (void) sound(work, s, &p, why);
    if (why[0])
        print_error("%s, %ld: %s: %s; then: %s\n", work->name, n, dz_status_name(s), err.what, why);
    free(p.list);
    if (access(vault, F_OK) == 0)
        world_remove(vault);
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
        }
    assert_int_equal(bad, 0);
}

/* A file of several spans, most of it one hole. */
static void large_file(void) {
    char path[96];
    int fd;

    (void) snprintf(path, sizeof path, "%s/large", source);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd >= 0 && ftruncate(fd, (17 << 20) + 5) == 0);
    MUST(pwrite(fd, "far away", 8, 17 << 20) == 8 && close(fd) == 0);
    world_settle();
    tree_free(now);
    now = tree_of(source);
}

static void arm_alloc(long n, const struct fault_plan *plan) {
    (void) plan;
    fault_alloc_arm(n);
}

static void allocations_fail(void **state) {
    unsigned bad = 0;

    (void) state;
    large_file();
    for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
        bool fired = true;
        long n = 0, runs = 0;

        for (; fired; n += 1 + n / 100, runs++)
            bad += !one_run(&works[w], arm_alloc, fault_alloc_disarm, n, NULL, &fired);
        print_message("%s: %ld runs, about %ld allocations\n", works[w].name, runs, n);
    }
    assert_int_equal(bad, 0);
}

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_system_call_fails_once),
        cmocka_unit_test(allocations_fail),
    };
    struct dz_os os = dz_os_real;
    uint64_t random = 7;
    int failed;

    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    world_dir(base);
    (void) snprintf(source, sizeof source, "%s/source", base);
    (void) snprintf(vault, sizeof vault, "%s/vault", base);
    (void) snprintf(empty_vault, sizeof empty_vault, "%s/empty", base);
    (void) snprintf(used_vault, sizeof used_vault, "%s/used", base);
    world_tree(source, &random);
    world_settle();
    MUST(world_create(empty_vault, NULL) == DZ_OK);
    copy(empty_vault, used_vault);
    MUST(world_keep(used_vault, "tree", source, 1, &used, NULL) == DZ_OK);
    world_change(source, &random);
    world_settle();
    now = tree_of(source);
    failed = cmocka_run_group_tests_name("backups under faults", tests, NULL, NULL);
    tree_free(now);
    promises_free(&used);
    world_remove(base);
    return failed;
}
