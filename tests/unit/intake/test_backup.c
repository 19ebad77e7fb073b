/* What a run reads, what it trusts, and what it does when the tree moves under it. */
#include "intake/backup.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/durable.h"
#include "core/os.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"
#include "store/snapshot.h"
#include "tests/unit/intake/scratch.h"

enum {
    MIB = 1 << 20,
    NODES_MOST =
        64 << 10, /* new bytes though nothing changed: times of the directories above the tree */
};

/* --- one run ---------------------------------------------------------------------------------- */

struct ran {
    struct dz_commit commit;
    struct dz_backup_progress progress;
};

static void keep_progress(void *ctx, const struct dz_backup_progress *p) {
    ((struct ran *) ctx)->progress = *p;
}

static void run_how(struct scratch *s, struct dz_backup_how how, struct ran *ran) {
    DZ_AUTO(dz_vault) v = scratch_open(s, false);
    const char *const paths[] = { s->tree };
    dz_err err = { 0 };

    *ran = (struct ran){ 0 };
    if (!how.source)
        how.source = "src";
    how.paths = paths;
    how.n_paths = 1;
    how.threads = how.threads ? how.threads : 2;
    how.progress = keep_progress;
    how.ctx = ran;
    if (dz_backup_run(v, &how, &ran->commit, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* Runs and tells what was read; the commit is released. */
static uint64_t run_reads(struct scratch *s, struct dz_backup_how how, uint64_t *ret_new_bytes) {
    struct ran ran;

    run_how(s, how, &ran);
    assert_int_equal(ran.commit.errors, 0);
    assert_int_equal(ran.commit.changed, 0);
    if (ret_new_bytes)
        *ret_new_bytes = ran.commit.new_bytes;
    dz_commit_release(&ran.commit);
    return ran.progress.read_bytes;
}

/* --- what was kept ---------------------------------------------------------------------------- */

struct kept {
    bool found;
    uint8_t type;
    uint64_t size;
    uint32_t flags;
    dz_buf content; /* data only */
};

/* The entry in the newest snapshot, with its content. */
static void look(struct scratch *s, const char *path, struct kept *kept) {
    DZ_AUTO(dz_vault) v = scratch_open(s, true);
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_cursor) c = NULL;
    DZ_AUTO(dz_content_reader) r = NULL;
    struct dz_snapshot snap = { 0 };
    struct dz_source source;
    const char *full = scratch_at(s, path) + 1;
    dz_content_span span;
    dz_entry e;
    dz_err err = { 0 };
    bool end = false;

    *kept = (struct kept){ 0 };
    assert_int_equal(dz_snapshot_find(v, "latest", &snap, &err), DZ_OK);
    assert_int_equal(dz_fetch_new(v, 64 * MIB, &fetch, &err), DZ_OK);
    source = dz_fetch_source(fetch);
    assert_int_equal(dz_cursor_new(&source, &snap.commit.root, &c, &err), DZ_OK);
    if (dz_cursor_find(c, (dz_slice){ (const uint8_t *) full, strlen(full) }, &e, &err) == DZ_OK) {
        *kept = (struct kept){ .found = true, .type = e.type, .size = e.size, .flags = e.flags };
        assert_int_equal(dz_content_reader_new(&source, &r, NULL), DZ_OK);
        assert_int_equal(dz_content_reader_start(r, dz_entry_field(&e, DZ_TAG_CONTENT), 0, NULL),
                         DZ_OK);
        while (dz_content_reader_next(r, &span, &end, &err) == DZ_OK && !end) {
            struct dz_held held;
            assert_int_equal(dz_fetch_hold(fetch, DZ_KIND_DATA, &span.id, &held, &err), DZ_OK);
            dz_buf_put_slice(&kept->content, held.bytes);
            dz_fetch_drop(fetch, &held);
        }
        assert_true(end && dz_buf_ok(&kept->content));
    }
    dz_snapshot_release(&snap);
}

static void assert_kept(struct scratch *s, const char *path, const char *text) {
    struct kept kept;

    look(s, path, &kept);
    assert_true(kept.found);
    assert_int_equal(kept.flags, 0);
    assert_int_equal(kept.content.len, strlen(text));
    assert_memory_equal(kept.content.data, text, strlen(text));
    dz_buf_release(&kept.content);
}

/* The only problem of the run: its kind and errno, at this path. */
static void assert_problem(struct scratch *s, const struct ran *ran, const char *path, int what,
                           int e) {
    dz_reader r = dz_reader_over(dz_buf_slice(&ran->commit.problems));
    const char *full = scratch_at(s, path) + 1;
    dz_problem p;

    assert_int_equal(ran->commit.errors + ran->commit.changed, 1);
    assert_int_equal(ran->commit.changed, what == DZ_PROBLEM_CHANGED);
    assert_true(dz_commit_next_problem(&r, &p));
    assert_true(dz_slice_eq(p.path, (dz_slice){ (const uint8_t *) full, strlen(full) }));
    assert_int_equal(p.what, what);
    if (what != DZ_PROBLEM_CHANGED)
        assert_int_equal(p.sys_errno, e);
    assert_false(dz_commit_next_problem(&r, &p));
}

/* --- a hand in the middle of a read ----------------------------------------------------------- */

/* Does something when a file is read from `at` on, for the first time. */
static struct {
    struct scratch *s;
    ino_t ino;
    off_t at;
    void (*act)(struct scratch *s);
    int error; /* not 0: the read fails */
    atomic_int times;
} hand;

static ssize_t pread_with_hand(int fd, void *data, size_t len, off_t at) {
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_ino == hand.ino && S_ISREG(st.st_mode) && at >= hand.at) {
        if (hand.error) {
            errno = hand.error;
            return -1;
        }
        if (atomic_fetch_add(&hand.times, 1) == 0)
            hand.act(hand.s);
    }
    return dz_os_real.pread(fd, data, len, at);
}

/* A run in which `act` happens while `path` is read, or its read fails. */
static void run_with_hand(struct scratch *s, const char *path, off_t at,
                          void (*act)(struct scratch *s), int error, struct ran *ran) {
    static struct dz_os os;
    struct stat st;

    os = dz_os_real;
    os.pread = pread_with_hand;
    assert_int_equal(stat(scratch_at(s, path), &st), 0);
    hand.s = s;
    hand.ino = st.st_ino;
    hand.at = at;
    hand.act = act;
    hand.error = error;
    atomic_store(&hand.times, 0);
    dz_os = &os;
    run_how(s, (struct dz_backup_how){ .threads = 2 }, ran);
    dz_os = &dz_os_real;
    assert_true(error || atomic_load(&hand.times) > 0);
}

/* --- incremental ------------------------------------------------------------------------------ */

static const uint64_t tree_bytes = 5 + 300000 + 17 * MIB + 3;

static void make_tree(struct scratch *s) {
    scratch_vault(s);
    scratch_dir(s, "d");
    scratch_text(s, "d/small", "small");
    scratch_noise(s, "d/medium", 300000, 1);
    scratch_noise(s, "large", 17 * MIB, 2);
    scratch_text(s, "z", "end");
    assert_int_equal(symlink("d", scratch_at(s, "link")), 0);
    scratch_settle();
}

static void an_unchanged_tree_is_not_read(void **state) {
    struct scratch *s = *state;
    uint64_t fresh;

    make_tree(s);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, &fresh), tree_bytes);
    assert_true(fresh >= tree_bytes);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, &fresh), 0);
    assert_in_range(fresh, 0, NODES_MOST);
    /* and again: what came from the cache went into the next one */
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, &fresh), 0);
    assert_kept(s, "d/small", "small");
}

static void only_what_changed_is_read(void **state) {
    struct scratch *s = *state;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    scratch_text(s, "z", "END!");
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 4);
    assert_kept(s, "z", "END!");
    assert_int_equal(rename(scratch_at(s, "d"), scratch_at(s, "e")), 0); /* paths are in the key */
    scratch_settle();
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    assert_kept(s, "e/small", "small");
}

static void a_change_behind_size_and_mtime_is_seen(void **state) {
    struct scratch *s = *state;
    struct stat st;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    assert_int_equal(stat(scratch_at(s, "d/small"), &st), 0);
    scratch_text(s, "d/small", "SMALL");
    assert_int_equal(utimensat(AT_FDCWD, scratch_at(s, "d/small"),
                               (const struct timespec[]){ st.st_atim, st.st_mtim }, 0),
                     0);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 5);
    assert_kept(s, "d/small", "SMALL");
}

static void touch_z(struct scratch *s) {
    scratch_text(s, "z", "now");
}

/* Whatever is stamped after a run began may change once more under the same stamp. */
static void what_changed_since_the_run_began_is_not_trusted(void **state) {
    struct scratch *s = *state;
    struct ran ran;

    make_tree(s);
    run_with_hand(s, "d/small", 0, touch_z, 0, &ran); /* d/small is read before z */
    assert_int_equal(ran.commit.errors + ran.commit.changed, 0);
    dz_commit_release(&ran.commit);
    assert_kept(s, "z", "now");
    scratch_settle();
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 3);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 0);
}

static void rereading_reads_all_and_stores_nothing(void **state) {
    struct scratch *s = *state;
    uint64_t fresh;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ .reread = true }, &fresh), tree_bytes);
    assert_in_range(fresh, 0, NODES_MOST);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 0);
}

static void remove_all(struct scratch *s, const char *below, const char *prefix) {
    char path[512];
    DIR *d;
    struct dirent *e;

    (void) snprintf(path, sizeof path, "%s/%s", s->vault, below);
    d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)))
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && e->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
    (void) closedir(d);
}

static void losing_the_cache_costs_one_full_read(void **state) {
    struct scratch *s = *state;
    uint64_t fresh;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    remove_all(s, "cache", "path-");
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, &fresh), tree_bytes);
    assert_in_range(fresh, 0, NODES_MOST);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 0);
}

static void losing_the_packs_stores_all_anew(void **state) {
    struct scratch *s = *state;
    uint64_t fresh;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ 0 }, NULL);
    remove_all(s, "packs", "");
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, &fresh), tree_bytes);
    assert_true(fresh >= tree_bytes);
    assert_kept(s, "d/small", "small");
}

static void another_source_trusts_no_foreign_cache(void **state) {
    struct scratch *s = *state;

    make_tree(s);
    (void) run_reads(s, (struct dz_backup_how){ .source = "one" }, NULL);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ .source = "two" }, NULL), tree_bytes);
    assert_int_equal(run_reads(s, (struct dz_backup_how){ .source = "one" }, NULL), 0);
}

/* --- while it is read ------------------------------------------------------------------------- */

static void append_to_small(struct scratch *s) {
    int fd = open(scratch_at(s, "d/small"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "er", 2), 2);
    (void) close(fd);
}

static void a_file_that_changes_is_marked_and_read_again(void **state) {
    struct scratch *s = *state;
    struct kept kept;
    struct ran ran;

    make_tree(s);
    run_with_hand(s, "d/small", 0, append_to_small, 0, &ran);
    assert_problem(s, &ran, "d/small", DZ_PROBLEM_CHANGED, 0);
    dz_commit_release(&ran.commit);
    look(s, "d/small", &kept);
    assert_int_equal(kept.flags, DZ_ENTRY_CHANGED);
    assert_int_equal(kept.size, 5);
    assert_int_equal(kept.content.len, 5);
    dz_buf_release(&kept.content);
    assert_kept(s, "z", "end");
    scratch_settle();
    assert_int_equal(run_reads(s, (struct dz_backup_how){ 0 }, NULL), 7);
    assert_kept(s, "d/small", "smaller");
}

static void empty_small(struct scratch *s) {
    assert_int_equal(truncate(scratch_at(s, "d/small"), 0), 0);
}
static void shorten_large(struct scratch *s) {
    assert_int_equal(truncate(scratch_at(s, "large"), 16 * MIB + 777), 0);
}
static void shorten_large_within_the_first_span(struct scratch *s) {
    assert_int_equal(truncate(scratch_at(s, "large"), 1000), 0);
}

/* The size said is that of what was kept. */
static void a_file_that_shrinks_is_kept_as_far_as_it_goes(void **state) {
    static const struct {
        const char *path;
        off_t at;
        void (*act)(struct scratch *s);
        uint64_t least, most;
    } rows[] = {
        { "d/small", 0, empty_small, 0, 0 },
        { "large", 16 * MIB, shorten_large, 16 * MIB + 777, 16 * MIB + 777 },
        /* its last span may have been read already, by another thread */
        { "large", 0, shorten_large, 16 * MIB + 777, 17 * MIB },
        { "large", 3 * MIB, shorten_large_within_the_first_span, 1000, 4 * MIB },
    };
    struct scratch *s = *state;

    make_tree(s);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kept kept;
        struct ran ran;

        scratch_text(s, "d/small", "small");
        scratch_noise(s, "large", 17 * MIB, i + 2);
        run_with_hand(s, rows[i].path, rows[i].at, rows[i].act, 0, &ran);
        assert_problem(s, &ran, rows[i].path, DZ_PROBLEM_CHANGED, 0);
        dz_commit_release(&ran.commit);
        look(s, rows[i].path, &kept);
        assert_int_equal(kept.flags, DZ_ENTRY_CHANGED);
        assert_int_equal(kept.content.len, kept.size);
        assert_in_range(kept.size, rows[i].least, rows[i].most);
        dz_buf_release(&kept.content);
        assert_kept(s, "z", "end");
    }
}

static void a_file_that_cannot_be_read_is_named_and_the_rest_kept(void **state) {
    struct scratch *s = *state;
    static const struct {
        const char *path;
        off_t at;
    } rows[] = { { "d/small", 0 }, { "d/medium", 0 }, { "large", 0 }, { "large", 16 * MIB } };

    make_tree(s);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kept kept;
        struct ran ran;

        remove_all(s, "cache", "path-");
        run_with_hand(s, rows[i].path, rows[i].at, NULL, EIO, &ran);
        assert_problem(s, &ran, rows[i].path, DZ_PROBLEM_UNREADABLE, EIO);
        assert_int_equal(ran.commit.files, 4);
        dz_commit_release(&ran.commit);
        look(s, rows[i].path, &kept);
        assert_int_equal(kept.flags, DZ_ENTRY_UNREADABLE);
        assert_int_equal(kept.content.len, 0);
        dz_buf_release(&kept.content);
        assert_kept(s, "z", "end");
    }
    assert_true(run_reads(s, (struct dz_backup_how){ 0 }, NULL) >= 17 * MIB); /* not remembered */
}

static void remove_z(struct scratch *s) {
    assert_int_equal(unlink(scratch_at(s, "z")), 0);
}
static void fifo_for_z(struct scratch *s) {
    remove_z(s);
    assert_int_equal(mkfifo(scratch_at(s, "z"), 0644), 0);
}
static void link_for_z(struct scratch *s) {
    remove_z(s);
    assert_int_equal(symlink("d/medium", scratch_at(s, "z")), 0);
}
static void dir_for_z(struct scratch *s) {
    remove_z(s);
    scratch_dir(s, "z");
}

/* Listed, and then something else or nothing: named, never followed, never waited for. */
static void what_is_replaced_after_it_was_listed_is_named(void **state) {
    struct scratch *s = *state;
    static const struct {
        void (*act)(struct scratch *s);
        int e;
    } rows[] = {
        { remove_z, ENOENT }, { fifo_for_z, ESTALE }, { link_for_z, ELOOP }, { dir_for_z, ESTALE }
    };

    make_tree(s);
    assert_int_equal(unlink(scratch_at(s, "large")), 0); /* so that one batch holds all */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kept kept;
        struct ran ran;

        remove_all(s, "cache", "path-");
        (void) remove(scratch_at(s, "z"));
        scratch_text(s, "z", "end");
        run_with_hand(s, "d/small", 0, rows[i].act, 0, &ran);
        assert_problem(s, &ran, "z", DZ_PROBLEM_UNREADABLE, rows[i].e);
        dz_commit_release(&ran.commit);
        look(s, "z", &kept);
        assert_int_equal(kept.content.len, 0);
        assert_true(!kept.found || kept.flags == DZ_ENTRY_UNREADABLE);
        assert_kept(s, "d/small", "small");
    }
}

/* --- permissions, places, company ------------------------------------------------------------- */

static void what_this_user_may_not_read_is_named_and_the_rest_kept(void **state) {
    struct scratch *s = *state;
    int status = 0;
    pid_t child;

    if (geteuid() == 0) {
        assert_int_equal(chown(s->dir, 65534, 65534), 0);
        assert_int_equal(chown(s->tree, 65534, 65534), 0);
    }
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ran ran;
        bool ok = geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0);

        if (!ok)
            _exit(2);
        make_tree(s);
        (void) chmod(scratch_at(s, "z"), 0);
        (void) chmod(scratch_at(s, "large"), 0);
        (void) mkdir(scratch_at(s, "locked"), 0);
        run_how(s, (struct dz_backup_how){ 0 }, &ran);
        ok = ran.commit.errors == 3 && ran.commit.files == 4 && ran.commit.changed == 0;
        dz_commit_release(&ran.commit);
        assert_kept(s, "d/small", "small");
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_vault_is_left_out_of_its_own_backup(void **state) {
    struct scratch *s = *state;
    struct kept kept;
    struct ran ran;

    (void) snprintf(s->vault, sizeof s->vault, "%s/vault", s->tree);
    make_tree(s);
    run_how(s, (struct dz_backup_how){ 0 }, &ran);
    assert_int_equal(ran.commit.files, 4);
    assert_int_equal(ran.commit.errors, 0);
    dz_commit_release(&ran.commit);
    look(s, "vault", &kept);
    assert_false(kept.found);
    assert_kept(s, "z", "end");
}

struct company {
    pthread_t thread;
    struct scratch *s;
    const char *source;
    dz_status status[3];
};

static void *keep_company(void *arg) {
    struct company *c = arg;
    const char *const paths[] = { c->s->tree };

    for (size_t i = 0; i < 3; i++) {
        struct dz_vault *v = NULL;
        struct dz_commit commit;

        c->status[i] = dz_vault_open(c->s->vault, &v, NULL);
        if (c->status[i] == DZ_OK)
            c->status[i] =
                dz_backup_run(v,
                              &(struct dz_backup_how){
                                  .source = c->source, .paths = paths, .n_paths = 1, .threads = 2 },
                              &commit, NULL);
        if (c->status[i] == DZ_OK)
            dz_commit_release(&commit);
        dz_vault_free(v);
    }
    return NULL;
}

static void several_sources_run_at_once(void **state) {
    static const char *const names[] = { "a", "b", "c", "d" };
    struct scratch *s = *state;
    struct company c[4];

    make_tree(s);
    for (size_t i = 0; i < 4; i++) {
        c[i] = (struct company){ .s = s, .source = names[i] };
        assert_int_equal(pthread_create(&c[i].thread, NULL, keep_company, &c[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        (void) pthread_join(c[i].thread, NULL);
    for (size_t i = 0; i < 4; i++) {
        DZ_AUTO(dz_vault) v = scratch_open(s, true);
        struct dz_snapshot snap = { 0 };
        char name[16];

        for (size_t k = 0; k < 3; k++)
            assert_int_equal(c[i].status[k], DZ_OK);
        (void) snprintf(name, sizeof name, "latest:%s", names[i]);
        assert_int_equal(dz_snapshot_find(v, name, &snap, NULL), DZ_OK);
        assert_int_equal(snap.commit.files, 4);
        dz_snapshot_release(&snap);
        /* each has a cache of its own, and it holds */
        assert_int_equal(run_reads(s, (struct dz_backup_how){ .source = names[i] }, NULL), 0);
    }
    assert_kept(s, "d/small", "small");
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(an_unchanged_tree_is_not_read),
        ROW(only_what_changed_is_read),
        ROW(a_change_behind_size_and_mtime_is_seen),
        ROW(what_changed_since_the_run_began_is_not_trusted),
        ROW(rereading_reads_all_and_stores_nothing),
        ROW(losing_the_cache_costs_one_full_read),
        ROW(losing_the_packs_stores_all_anew),
        ROW(another_source_trusts_no_foreign_cache),
        ROW(a_file_that_changes_is_marked_and_read_again),
        ROW(a_file_that_shrinks_is_kept_as_far_as_it_goes),
        ROW(a_file_that_cannot_be_read_is_named_and_the_rest_kept),
        ROW(what_is_replaced_after_it_was_listed_is_named),
        ROW(what_this_user_may_not_read_is_named_and_the_rest_kept),
        ROW(the_vault_is_left_out_of_its_own_backup),
        ROW(several_sources_run_at_once),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
