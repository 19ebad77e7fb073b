/* Random operations on two source trees and one vault, against what must be there: each snapshot is
 * the tree as it was, whatever happens in between to caches, to the run before, or to one call.
 *
 * usage: test_model [SEED [STEPS]]     without: a few fixed seeds and one of the day, printed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

#include "core/os.h"
#include "store/index.h"
#include "tests/crash/world.h"
#include "tests/fault/fault_os.h"

enum { SOURCES = 2, FILES = 12, DIRS = 3, BIG = 200000 };

static struct model {
    uint64_t seed, random;
    char base[64], vault[96], source[SOURCES][96];
    struct dz_vault *v; /* stays open over many steps */
    struct promises promises;
    char trail[4096]; /* the operations, for messages */
    char why[WHY];
} m;

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

static uint64_t below(uint64_t limit) {
    return random_below(&m.random, limit);
}

/* --- the trees ---------------------------------------------------------------------------------
 */

static const char *some_source(void) {
    return m.source[below(SOURCES)];
}

static void some_name(const char *source, char ret_path[128]) {
    uint64_t dir = below(DIRS + 1);

    if (dir == 0)
        (void) snprintf(ret_path, 128, "%s/f%u", source, (unsigned) below(FILES));
    else
        (void) snprintf(ret_path, 128, "%s/d%u/f%u", source, (unsigned) dir,
                        (unsigned) below(FILES));
}

static size_t some_size(void) {
    switch (below(5)) {
    case 0:
        return 0;
    case 1:
        return below(BIG);
    default:
        return below(3000);
    }
}

static void write_file(void) {
    static uint8_t bytes[BIG];
    char path[128];
    int fd;
    size_t len = some_size();

    some_name(some_source(), path);
    random_fill(&m.random, bytes, len);
    if (below(2)) /* what compresses */
        memset(bytes, 'a' + (int) below(26), len / 2);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, bytes, len) == (ssize_t) len && close(fd) == 0);
}

/* Other bytes, the same size, and then the old time stamp: only the ctime tells. */
static void change_secretly(void) {
    const char more[] = "changed";
    struct timespec times[2];
    struct stat st;
    char path[128];
    int fd;

    some_name(some_source(), path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    MUST(fstat(fd, &st) == 0);
    if (st.st_size > (off_t) sizeof more) {
        off_t at = (off_t) below((uint64_t) st.st_size - sizeof more);
        MUST(pwrite(fd, more, sizeof more, at) == (ssize_t) sizeof more);
    }
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    MUST(futimens(fd, times) == 0 && close(fd) == 0);
}

static void remove_file(void) {
    char path[128];

    some_name(some_source(), path);
    (void) unlink(path);
}

static void move_file(void) {
    const char *source = some_source();
    char from[128], to[128];

    some_name(source, from);
    some_name(source, to);
    (void) rename(from, to);
}

static void link_file(void) {
    const char *source = some_source();
    char from[128], to[128];

    some_name(source, from);
    some_name(source, to);
    MUST(link(from, to) == 0 || errno == ENOENT || errno == EEXIST);
}

static void change_mode(void) {
    const struct timespec times[2] = { { .tv_sec = 1 },
                                       { .tv_sec = -(int64_t) below(1000000000), .tv_nsec = 5 } };
    char path[128];

    some_name(some_source(), path);
    if (below(2))
        (void) chmod(path, (mode_t) (0400 + below(0400)));
    else
        (void) utimensat(AT_FDCWD, path, times, 0);
}

/* --- the vault ---------------------------------------------------------------------------------
 */

static void reopen(void) {
    dz_err err = { 0 };

    dz_vault_free(m.v);
    m.v = NULL;
    if (world_open(m.vault, &m.v, &err) != DZ_OK)
        fail_msg("seed %llu: open: %s\n%s", (unsigned long long) m.seed, err.what, m.trail);
}

static void check(bool latest) {
    if (!world_check(m.vault, &m.promises, latest, m.why))
        fail_msg("seed %llu: %s\n%s", (unsigned long long) m.seed, m.why, m.trail);
}

static dz_status keep(size_t source, struct promise *p, unsigned threads, dz_err *err) {
    char name[16];
    struct dz_commit c = { 0 };
    dz_status s;

    (void) snprintf(name, sizeof name, "source-%zu", source);
    s = world_backup(m.v, name, m.source[source], threads, &c, err);
    if (s == DZ_OK) {
        memcpy(p->id, c.id, sizeof c.id);
        p->known = p->acknowledged = true;
        p->problems = c.errors + c.changed;
        dz_commit_release(&c);
    }
    return s;
}

static void backup(void) {
    size_t source = below(SOURCES);
    struct promise *p = promise_add(&m.promises, tree_of(m.source[source]));
    dz_err err = { 0 };

    if (below(2))
        world_settle();
    if (keep(source, p, 1 + (unsigned) below(3), &err) != DZ_OK)
        fail_msg("seed %llu: backup: %s\n%s", (unsigned long long) m.seed, err.what, m.trail);
    assert_int_equal(p->problems, 0);
    check(true);
    assert_int_equal(world_names_in(m.vault, "tmp"), 0);
}

static void backup_under_fault(void) {
    static const int errors[] = { EIO, ENOSPC, EMFILE, EACCES };
    struct fault_plan plan = { .allowed = (long) below(250),
                               .error = errors[below(4)],
                               .forever = below(4) == 0,
                               .short_io = below(2) == 0,
                               .skip_syncs = true };
    size_t source = below(SOURCES);
    struct promise *p = promise_add(&m.promises, tree_of(m.source[source]));
    dz_err err = { 0 };
    dz_status s;
    bool fired;

    fault_os_arm(plan);
    s = keep(source, p, 2, &err);
    fired = fault_os_disarm();
    assert_true(fired || (s == DZ_OK && p->problems == 0));
    check(true);
}

struct together {
    pthread_t thread;
    size_t source;
    struct promise promise;
    dz_status status;
    dz_err err;
};

static void *keep_one(void *arg) {
    struct together *t = arg;

    t->status = keep(t->source, &t->promise, 2, &t->err);
    return NULL;
}

static void backups_at_once(void) {
    struct together t[SOURCES] = { 0 };

    for (size_t i = 0; i < SOURCES; i++) {
        t[i].source = i;
        t[i].promise.tree = tree_of(m.source[i]);
    }
    for (size_t i = 0; i < SOURCES; i++)
        MUST(pthread_create(&t[i].thread, NULL, keep_one, &t[i]) == 0);
    for (size_t i = 0; i < SOURCES; i++)
        MUST(pthread_join(t[i].thread, NULL) == 0);
    for (size_t i = 0; i < SOURCES; i++) {
        struct promise *p = promise_add(&m.promises, NULL);

        *p = t[i].promise;
        if (t[i].status != DZ_OK)
            fail_msg("seed %llu: at once: %s\n%s", (unsigned long long) m.seed, t[i].err.what,
                     m.trail);
    }
    check(true);
}

/* A random file of a cache directory; false when there is none. */
static bool some_cache_file(char ret_path[512]) {
    const char *sub = below(2) ? "index" : "cache";
    char dir[128];
    unsigned n = world_names_in(m.vault, sub), pick;
    struct dirent *e;
    DIR *d;

    if (n == 0)
        return false;
    (void) snprintf(dir, sizeof dir, "%s/%s", m.vault, sub);
    pick = (unsigned) below(n);
    d = opendir(dir);
    MUST(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.' && pick-- == 0) {
            (void) snprintf(ret_path, 512, "%s/%s", dir, e->d_name);
            break;
        }
    (void) closedir(d);
    return e != NULL;
}

static void harm_cache(void) {
    char path[512];
    struct stat st;
    uint8_t byte;
    off_t at;
    int fd;

    if (!some_cache_file(path))
        return;
    if (below(4) == 0) {
        MUST(unlink(path) == 0);
        return;
    }
    fd = open(path, O_RDWR | O_CLOEXEC);
    MUST(fd >= 0 && fstat(fd, &st) == 0);
    if (st.st_size > 0) {
        at = (off_t) below((uint64_t) st.st_size);
        if (below(8) == 0) {
            MUST(ftruncate(fd, at) == 0);
        } else {
            MUST(pread(fd, &byte, 1, at) == 1);
            byte ^= (uint8_t) (1 + below(255));
            MUST(pwrite(fd, &byte, 1, at) == 1);
        }
    }
    (void) close(fd);
}

static void drop_caches(void) {
    char path[128];

    dz_vault_free(m.v);
    m.v = NULL;
    (void) snprintf(path, sizeof path, "%s/%s", m.vault, below(2) ? "index" : "cache");
    if (access(path, F_OK) == 0)
        world_remove(path);
    reopen();
}

static const struct {
    const char *name;
    void (*run)(void);
    unsigned often;
} operations[] = {
    { "write", write_file, 20 }, { "secret", change_secretly, 6 },   { "remove", remove_file, 4 },
    { "move", move_file, 5 },    { "link", link_file, 2 },           { "mode", change_mode, 4 },
    { "backup", backup, 8 },     { "fault", backup_under_fault, 5 }, { "both", backups_at_once, 2 },
    { "reopen", reopen, 2 },     { "harm", harm_cache, 4 },          { "drop", drop_caches, 1 },
};

static void step(void) {
    unsigned all = 0, pick;
    size_t i = 0, len = strlen(m.trail);

    for (size_t k = 0; k < sizeof operations / sizeof *operations; k++)
        all += operations[k].often;
    for (pick = (unsigned) below(all); pick >= operations[i].often; i++)
        pick -= operations[i].often;
    if (len > sizeof m.trail - 16) {
        memmove(m.trail, m.trail + len / 2, len - len / 2 + 1);
        len = strlen(m.trail);
    }
    (void) snprintf(m.trail + len, sizeof m.trail - len, "%s ", operations[i].name);
    operations[i].run();
}

static void run_seed(uint64_t seed, unsigned steps) {
    m = (struct model){ .seed = seed, .random = seed };
    print_message("seed %llu\n", (unsigned long long) seed);
    world_dir(m.base);
    (void) snprintf(m.vault, sizeof m.vault, "%s/vault", m.base);
    for (size_t i = 0; i < SOURCES; i++) {
        (void) snprintf(m.source[i], sizeof m.source[i], "%s/source-%zu", m.base, i);
        MUST(mkdir(m.source[i], 0755) == 0);
        for (int d = 1; d <= DIRS; d++) {
            char path[128];
            (void) snprintf(path, sizeof path, "%s/d%d", m.source[i], d);
            MUST(mkdir(path, 0755) == 0);
        }
    }
    assert_int_equal(world_create(m.vault, NULL), DZ_OK);
    reopen();
    for (unsigned i = 0; i < steps; i++)
        step();
    check(false);
    print_message("%zu backups\n", m.promises.n);
    dz_vault_free(m.v);
    promises_free(&m.promises);
    world_remove(m.base);
}

static uint64_t given_seed;
static unsigned given_steps = 400;

static void snapshots_are_what_the_trees_were(void **state) {
    static const uint64_t seeds[] = { 1, 2, 3, 20261122 };

    (void) state;
    if (given_seed) {
        run_seed(given_seed, given_steps);
        return;
    }
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        run_seed(seeds[i], given_steps);
    run_seed((uint64_t) time(NULL), given_steps);
}

/* A page of the index is harmed, which only shows when it is asked. */
static void a_damaged_index_is_made_anew_by_backups(void **state) {
    DZ_AUTO(dz_index) idx = NULL;
    char path[512];
    uint8_t byte;
    int fd;

    (void) state;
    m = (struct model){ .seed = 1, .random = 1 };
    world_dir(m.base);
    (void) snprintf(m.vault, sizeof m.vault, "%s/vault", m.base);
    (void) snprintf(m.source[0], sizeof m.source[0], "%s/source", m.base);
    world_tree(m.source[0], &m.random);
    assert_int_equal(world_create(m.vault, NULL), DZ_OK);
    assert_int_equal(world_keep(m.vault, "tree", m.source[0], 1, &m.promises, NULL), DZ_OK);
    (void) snprintf(path, sizeof path, "%s/cache", m.vault);
    world_remove(path); /* so that all is looked up */
    while (!some_cache_file(path) || !strstr(path, "/index/"))
        ;
    fd = open(path, O_RDWR | O_CLOEXEC);
    MUST(fd >= 0 && pread(fd, &byte, 1, 4096 + 100) == 1);
    byte ^= 1;
    MUST(pwrite(fd, &byte, 1, 4096 + 100) == 1 && close(fd) == 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(world_keep(m.vault, "tree", m.source[0], 1, &m.promises, NULL), DZ_OK);
    reopen();
    assert_int_equal(dz_index_open(m.v->indexfd, m.v->config.id.b, &idx, NULL), DZ_OK);
    assert_int_equal(dz_index_check(idx, NULL), DZ_OK);
    check(false);
    dz_vault_free(m.v);
    promises_free(&m.promises);
    world_remove(m.base);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_index_is_made_anew_by_backups),
        cmocka_unit_test(snapshots_are_what_the_trees_were),
    };
    struct dz_os os = dz_os_real;

    if (argc > 1)
        given_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        given_steps = (unsigned) strtoul(argv[2], NULL, 10);
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    return cmocka_run_group_tests_name("random operations", tests, NULL, NULL);
}
