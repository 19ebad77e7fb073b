/* Several backups of different sources run into one vault at once, from threads that share a vault,
 * from threads with one each, and from processes; afterwards every snapshot is whole.  Then many
 * threads read them through one dz_fetch.  Runs under ThreadSanitizer too.
 *
 * usage: test_together                       the test
 *        test_together VAULT SOURCE NAME     keeps SOURCE a few times: a process of its own */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "core/hex.h"
#include "core/os.h"
#include "intake/path_cache.h"
#include "store/fetch.h"
#include "store/leaf.h"
#include "store/snapshot.h"
#include "store/sweep.h"
#include "tests/crash/world.h"

enum { TOGETHER = 4, TIMES = 4 };

static const char *self;
static char base[64], vault[80];
static struct dz_vault *shared; /* NULL: each opens its own */

static struct keeper {
    int number;
    pthread_t thread;
    char source[80], name[16];
    struct promises promises;
    char failed[WHY];
} keepers[TOGETHER];

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

static void *keep(void *arg) {
    struct keeper *k = arg;
    uint64_t random = (uint64_t) k->number;

    for (int i = 0; i < TIMES; i++) {
        struct promise *p = promise_add(&k->promises, tree_of(k->source));
        struct dz_vault *v = shared;
        struct dz_commit c = { 0 };
        dz_err err = { 0 };
        dz_status s = v ? DZ_OK : world_open(vault, &v, &err);

        if (s == DZ_OK)
            s = world_backup(v, k->name, k->source, 2, &c, &err);
        if (s == DZ_OK) {
            memcpy(p->id, c.id, sizeof c.id);
            p->known = p->acknowledged = true;
            p->problems = c.errors + c.changed;
            dz_commit_release(&c);
        } else {
            (void) snprintf(k->failed, sizeof k->failed, "%s", err.what);
        }
        if (v != shared)
            dz_vault_free(v);
        world_change(k->source, &random);
    }
    return NULL;
}

/* All sources hold much of the same, so that the writers meet. */
static void make_sources(void) {
    for (int i = 0; i < TOGETHER; i++) {
        struct keeper *k = &keepers[i];
        uint64_t random = 5;

        *k = (struct keeper){ .number = i };
        (void) snprintf(k->source, sizeof k->source, "%s/source-%d", base, i);
        (void) snprintf(k->name, sizeof k->name, "s%d", i);
        world_tree(k->source, &random);
    }
}

static void check_and_drop(void) {
    struct promises all = { 0 };
    char why[WHY];

    for (int i = 0; i < TOGETHER; i++) {
        struct keeper *k = &keepers[i];

        if (k->failed[0])
            fail_msg("source %d: %s", i, k->failed);
        for (size_t n = 0; n < k->promises.n; n++) {
            struct promise *p = promise_add(&all, NULL);
            *p = k->promises.list[n];
        }
        free(k->promises.list);
        world_remove(k->source);
    }
    if (!world_check(vault, &all, false, why))
        fail_msg("%s", why);
    promises_free(&all);
    assert_int_equal(world_names_in(vault, "tmp"), 0);
    world_remove(vault);
}

static void keep_in_threads(void) {
    for (int i = 0; i < TOGETHER; i++)
        MUST(pthread_create(&keepers[i].thread, NULL, keep, &keepers[i]) == 0);
    for (int i = 0; i < TOGETHER; i++)
        MUST(pthread_join(keepers[i].thread, NULL) == 0);
}

static void threads_that_share_a_vault(void **state) {
    (void) state;
    make_sources();
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    assert_int_equal(world_open(vault, &shared, NULL), DZ_OK);
    keep_in_threads();
    dz_vault_free(shared);
    shared = NULL;
    check_and_drop();
}

static void threads_with_a_vault_each(void **state) {
    (void) state;
    make_sources();
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    keep_in_threads();
    check_and_drop();
}

static void processes(void **state) {
    pid_t pid[TOGETHER];

    (void) state;
    make_sources();
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    for (int i = 0; i < TOGETHER; i++) {
        pid[i] = fork();
        MUST(pid[i] >= 0);
        if (pid[i] == 0) {
            (void) execl(self, self, vault, keepers[i].source, keepers[i].name, (char *) NULL);
            _exit(127);
        }
    }
    for (int i = 0; i < TOGETHER; i++) {
        int status = -1;
        MUST(waitpid(pid[i], &status, 0) == pid[i]);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < TOGETHER; i++) { /* the trees stand still now: what was kept last is this */
        dz_err err = { 0 };
        if (world_keep(vault, keepers[i].name, keepers[i].source, 2, &keepers[i].promises, &err))
            fail_msg("%s", err.what);
    }
    {
        DZ_AUTO(dz_vault) v = NULL;
        char why[WHY] = "";

        assert_int_equal(world_open(vault, &v, NULL), DZ_OK);
        assert_int_equal(dz_tlog_head(v->log).size, 1 + TOGETHER * (TIMES + 1));
        if (!world_verify(v, why))
            fail_msg("%s", why);
    }
    for (int i = 0; i < TOGETHER; i++) {
        promises_free(&keepers[i].promises);
        world_remove(keepers[i].source);
    }
    assert_int_equal(world_names_in(vault, "tmp"), 0);
    world_remove(vault);
}

/* --- and while packs are removed -------------------------------------------------------------- */

static atomic_bool keeping;
/* Snapshots are removed and packs swept by one prune at a time: custody/prune.c has a lock for it.
 */
static pthread_mutex_t pruning = PTHREAD_MUTEX_INITIALIZER;

struct helper {
    pthread_t thread;
    uint64_t done; /* what it did, so many times */
    atomic_ullong packs, compacted;
    char failed[WHY];
};

/* The snapshot is gone: announced a week ago, removed now, and then its record. */
static dz_status remove_snapshot(struct dz_vault *v, int tmpfd, const uint8_t file[DZ_SHA256_BYTES],
                                 dz_err *err) {
    static const struct {
        enum dz_leaf_kind kind;
        int64_t days;
    } steps[] = { { DZ_LEAF_PRUNE_INTENT, -7 }, { DZ_LEAF_PRUNE_DONE, 0 } };
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT };
    char name[2 * DZ_SHA256_BYTES + 1];

    memcpy(object.name, file, sizeof object.name);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        dz_leaf leaf = { .kind = (uint16_t) steps[i].kind,
                         .time_us = dz_now_us() + steps[i].days * 86400 * 1000000,
                         .objects = &object,
                         .object_count = 1 };
        dz_autobuf dz_buf entry = { 0 };

        DZ_TRY(dz_leaf_write(&leaf, &entry, err));
        DZ_TRY(dz_vault_append(v, tmpfd, dz_buf_slice(&entry), err));
    }
    dz_hex(file, DZ_SHA256_BYTES, name);
    return dz_os->unlinkat(v->commitsfd, name, 0) < 0 ? DZ_FAIL_ERRNO(err, "removing a record")
                                                      : DZ_OK;
}

static dz_status keep_and_remove(const char *source, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_commit c = { 0 };
    struct dz_snapshot snap = { 0 };
    char tmp[DZ_VAULT_TMP_NAME], id[DZ_SNAPSHOT_ID_TEXT];
    int tmpfd;
    dz_status s;

    DZ_TRY(world_open(vault, &v, err));
    DZ_TRY(world_backup(v, "litter", source, 1, &c, err));
    dz_snapshot_id_text(c.id, id);
    dz_commit_release(&c);
    DZ_TRY(dz_snapshot_find(v, id, &snap, err));
    (void) pthread_mutex_lock(&pruning);
    s = dz_vault_tmp_make(v, tmp, &tmpfd, err);
    if (s == DZ_OK) {
        s = remove_snapshot(v, tmpfd, snap.file, err);
        dz_vault_tmp_drop(v, tmp, tmpfd);
    }
    (void) pthread_mutex_unlock(&pruning);
    dz_snapshot_release(&snap);
    return s;
}

/* Keeps what the others are about to keep, and removes it at once. */
static void *litter(void *arg) {
    struct helper *h = arg;
    char source[80];
    uint64_t random = 5, after = 77;
    dz_err err = { 0 };

    (void) snprintf(source, sizeof source, "%s/litter", base);
    world_tree(source, &random);
    while (atomic_load(&keeping)) {
        if (keep_and_remove(source, &err) != DZ_OK) {
            (void) snprintf(h->failed, sizeof h->failed, "litter: %s", err.what);
            break;
        }
        h->done++;
        world_change(source, &after);
    }
    world_remove(source);
    return NULL;
}

static dz_status drop_caches(void *ctx, const uint8_t *ids, size_t n, dz_err *err) {
    return dz_path_caches_keep(ctx, ids, n, err);
}

static dz_status sweep_once(struct helper *h, dz_err *err) {
    struct dz_sweep_how how = { .sparse_pct = 100, .survivors = drop_caches };
    struct dz_sweep_result r = { 0 };
    DZ_AUTO(dz_vault) v = NULL;
    char tmp[DZ_VAULT_TMP_NAME];
    int tmpfd;
    dz_status s;

    DZ_TRY(dz_vault_open(vault, &v, err));
    how.ctx = v;
    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    (void) pthread_mutex_lock(&pruning);
    s = dz_sweep(v, tmpfd, tmp, &how, &r, err);
    (void) pthread_mutex_unlock(&pruning);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    h->done += r.removed > 0;
    atomic_fetch_add(&h->packs, r.removed);
    atomic_fetch_add(&h->compacted, r.compacted);
    return s;
}

static void *sweep(void *arg) {
    struct helper *h = arg;
    dz_err err = { 0 };

    while (atomic_load(&keeping))
        if (sweep_once(h, &err) != DZ_OK) {
            (void) snprintf(h->failed, sizeof h->failed, "sweep: %s", err.what);
            break;
        }
    return NULL;
}

/* One reader all the while: what it reads moves under it. */
static void *read_on(void *arg) {
    struct helper *h = arg;
    const struct promise *first = &keepers[0].promises.list[0];
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_fetch) fetch = NULL;
    struct dz_snapshot snap = { 0 };
    char id[DZ_SNAPSHOT_ID_TEXT];
    dz_err err = { 0 };

    dz_snapshot_id_text(first->id, id);
    if (world_open(vault, &v, &err) != DZ_OK || dz_fetch_new(v, 0, &fetch, &err) != DZ_OK ||
        dz_snapshot_find(v, id, &snap, &err) != DZ_OK)
        (void) snprintf(h->failed, sizeof h->failed, "reader: %s", err.what);
    while (h->failed[0] == '\0' && atomic_load(&keeping)) {
        (void) tree_is_kept(first->tree, fetch, &snap.commit, h->failed);
        h->done++;
    }
    dz_snapshot_release(&snap);
    return NULL;
}

static void threads_while_packs_are_removed(void **state) {
    void *(*const mains[])(void *) = { litter, sweep, read_on };
    enum { HELPERS = sizeof mains / sizeof *mains, ROUNDS = 40, PACKS = 40 };
    struct helper helpers[HELPERS] = { 0 };

    (void) state;
    make_sources();
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    (void) keep(&keepers[0]); /* something to read */
    atomic_store(&keeping, true);
    for (int i = 0; i < HELPERS; i++)
        MUST(pthread_create(&helpers[i].thread, NULL, mains[i], &helpers[i]) == 0);
    for (int round = 0; round < ROUNDS && atomic_load(&helpers[1].packs) < PACKS; round++) {
        for (int i = 1; i < TOGETHER; i++)
            MUST(pthread_create(&keepers[i].thread, NULL, keep, &keepers[i]) == 0);
        for (int i = 1; i < TOGETHER; i++)
            MUST(pthread_join(keepers[i].thread, NULL) == 0);
    }
    atomic_store(&keeping, false);
    for (int i = 0; i < HELPERS; i++) {
        MUST(pthread_join(helpers[i].thread, NULL) == 0);
        if (helpers[i].failed[0])
            fail_msg("%s", helpers[i].failed);
        assert_true(helpers[i].done > 0);
    }
    print_message("%llu packs removed, %llu of them compacted\n",
                  (unsigned long long) helpers[1].packs, (unsigned long long) helpers[1].compacted);
    assert_true(helpers[1].packs > 0 && helpers[1].compacted > 0);
    check_and_drop();
}

struct reader {
    pthread_t thread;
    struct dz_fetch *fetch;
    struct dz_commit *commit;
    struct tree *tree;
    bool ok;
    char why[WHY];
};

static void *read_all(void *arg) {
    struct reader *r = arg;

    r->ok = true;
    for (int i = 0; i < TIMES && r->ok; i++)
        r->ok = tree_is_kept(r->tree, r->fetch, r->commit, r->why);
    return NULL;
}

/* The index is gone when they start: it is made again while they read. */
static void readers_that_share_a_fetch(void **state) {
    struct reader readers[TOGETHER];
    struct promises p = { 0 };
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_fetch) fetch = NULL;
    struct dz_snapshot snap = { 0 };
    char index[96];

    (void) state;
    make_sources();
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    assert_int_equal(world_keep(vault, "s0", keepers[0].source, 2, &p, NULL), DZ_OK);
    (void) snprintf(index, sizeof index, "%s/index", vault);
    world_remove(index);
    assert_int_equal(world_open(vault, &v, NULL), DZ_OK);
    assert_int_equal(dz_snapshot_find(v, "latest", &snap, NULL), DZ_OK);
    /* a small cache, so that segments come and go */
    assert_int_equal(dz_fetch_new(v, 1000, &fetch, NULL), DZ_OK);
    for (int i = 0; i < TOGETHER; i++) {
        readers[i] =
            (struct reader){ .fetch = fetch, .commit = &snap.commit, .tree = p.list[0].tree };
        MUST(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0);
    }
    for (int i = 0; i < TOGETHER; i++)
        MUST(pthread_join(readers[i].thread, NULL) == 0);
    for (int i = 0; i < TOGETHER; i++)
        if (!readers[i].ok)
            fail_msg("reader %d: %s", i, readers[i].why);
    dz_snapshot_release(&snap);
    promises_free(&p);
    for (int i = 0; i < TOGETHER; i++)
        world_remove(keepers[i].source);
    world_remove(vault);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_share_a_vault),
        cmocka_unit_test(threads_with_a_vault_each),
        cmocka_unit_test(threads_while_packs_are_removed),
        cmocka_unit_test(processes),
        cmocka_unit_test(readers_that_share_a_fetch),
    };
    struct dz_os os = dz_os_real;
    int failed;

    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    self = argv[0];
    if (argc == 4) {
        struct keeper k = { .number = argv[3][1] };

        MUST(snprintf(vault, sizeof vault, "%s", argv[1]) < (int) sizeof vault);
        MUST(snprintf(k.source, sizeof k.source, "%s", argv[2]) < (int) sizeof k.source);
        MUST(snprintf(k.name, sizeof k.name, "%s", argv[3]) < (int) sizeof k.name);
        (void) keep(&k);
        if (k.failed[0])
            fprintf(stderr, "%s\n", k.failed);
        promises_free(&k.promises);
        return k.failed[0] != '\0';
    }
    world_dir(base);
    (void) snprintf(vault, sizeof vault, "%s/vault", base);
    failed = cmocka_run_group_tests_name("together", tests, NULL, NULL);
    world_remove(base);
    return failed;
}
