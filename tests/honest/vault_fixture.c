#include "tests/honest/vault_fixture.h"

#include <fcntl.h>
#include <ftw.h>

#include "core/durable.h"
#include "intake/backup.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"

const uint8_t fixture_root[DZ_ROOT_BYTES] = { 'h', 'o', 'n', 'e', 's', 't' };
const dz_vault_id fixture_id = { { 0xd0, 0x20, 3 } };

/* --- files ------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st, (void) type, (void) ftw;
    return remove(path);
}

static void remove_tree(const char *path) {
    struct stat st;

    if (lstat(path, &st) == 0)
        assert_int_equal(nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS), 0);
}

static void path_of(const char *dir, const char *name, char ret[512]) {
    assert_true(snprintf(ret, 512, "%s/%s", dir, name) < 512);
}

uint8_t *fixture_read(const char *dir, const char *name, size_t *ret_len) {
    char path[512];
    struct stat st;
    uint8_t *bytes;
    int fd;

    path_of(dir, name, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    bytes = malloc((size_t) st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(dz_pread_all(fd, bytes, (size_t) st.st_size, 0), 0);
    assert_int_equal(close(fd), 0);
    *ret_len = (size_t) st.st_size;
    return bytes;
}

void fixture_write(const char *dir, const char *name, const uint8_t *bytes, size_t len) {
    char path[512];
    int fd;

    path_of(dir, name, path);
    (void) unlink(path); /* the vault's files are read-only */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(dz_write_all(fd, (dz_slice){ bytes, len }), 0);
    assert_int_equal(close(fd), 0);
}

/* nftw() has no argument of ours: tests run on one thread. */
static struct {
    const char *from, *to, *below;
    char **files;
    size_t n;
} tree;

static int copy_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    const char *rest = path + strlen(tree.from);
    char to[512];

    (void) ftw;
    path_of(tree.to, rest[0] == '/' ? rest + 1 : rest, to);
    if (type == FTW_D) {
        assert_int_equal(mkdir(to, 0700), 0);
    } else if (S_ISREG(st->st_mode)) {
        size_t len;
        uint8_t *bytes = fixture_read(tree.from, rest + 1, &len);
        fixture_write(tree.to, rest + 1, bytes, len);
        free(bytes);
    }
    return 0;
}

void fixture_copy(const struct fixture *f) {
    remove_tree(f->vault);
    tree.from = f->pristine;
    tree.to = f->vault;
    assert_int_equal(nftw(f->pristine, copy_one, 32, FTW_PHYS), 0);
}

static int list_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    const char *name = path + strlen(tree.from) + 1;

    (void) ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode) ||
        strncmp(name, tree.below, strlen(tree.below)) != 0)
        return 0;
    tree.files = reallocarray(tree.files, tree.n + 1, sizeof *tree.files);
    assert_non_null(tree.files);
    tree.files[tree.n++] = strdup(name);
    return 0;
}

static int by_text(const void *a, const void *b) {
    const char *const *p = a, *const *q = b;
    return strcmp(*p, *q);
}

char **fixture_files(const char *vault, const char *below, size_t *ret_n) {
    tree.from = vault;
    tree.below = below;
    tree.files = NULL;
    tree.n = 0;
    assert_int_equal(nftw(vault, list_one, 32, FTW_PHYS), 0);
    if (tree.n > 0)
        qsort(tree.files, tree.n, sizeof *tree.files, by_text);
    *ret_n = tree.n;
    return tree.files;
}

void fixture_files_free(char **files, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(files[i]);
    free(files);
}

/* --- the vault -------------------------------------------------------------------------------- */

static void noise(const char *dir, const char *name, size_t len, uint64_t seed) {
    uint8_t *bytes = malloc(len + 8);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 8) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        dz_store_le(bytes + i, 8, z ^ (z >> 31));
    }
    fixture_write(dir, name, bytes, len);
    free(bytes);
}

static void text(const char *dir, const char *name, unsigned lines) {
    dz_autobuf dz_buf b = { 0 };

    for (unsigned i = 0; i < lines; i++)
        dz_buf_printf(&b, "%s, line %u of %u\n", name, i, lines);
    assert_true(dz_buf_ok(&b));
    fixture_write(dir, name, b.data, b.len);
}

void fixture_backup(const struct fixture *f, const char *vault, uint8_t *ret_id) {
    const char *paths[] = { f->source };
    const struct dz_backup_how how = {
        .source = "ward", .paths = paths, .n_paths = 1, .threads = 2
    };
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_commit commit = { 0 };
    dz_err err = { 0 };

    if (dz_vault_open(vault, &v, &err) != DZ_OK || dz_backup_run(v, &how, &commit, &err) != DZ_OK)
        fail_msg("%s", err.what);
    if (ret_id)
        memcpy(ret_id, commit.id, DZ_SNAPSHOT_ID_BYTES);
    dz_commit_release(&commit);
}

/* Large and small, sparse, deep; content that is shared between files and between snapshots. */
void fixture_make(struct fixture *f) {
    const struct dz_vault_new how = { .path = f->pristine, .now_us = 1700000000000000 };
    char path[512];
    dz_err err = { 0 };
    int fd;

    *f = (struct fixture){ 0 };
    (void) snprintf(f->top, sizeof f->top, "%s/dozo-honest-XXXXXX",
                    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->top));
    (void) snprintf(f->pristine, sizeof f->pristine, "%s/0", f->top);
    (void) snprintf(f->vault, sizeof f->vault, "%s/v", f->top);
    (void) snprintf(f->source, sizeof f->source, "%s/s", f->top);
    assert_int_equal(dz_crypto_init(&err), DZ_OK);
    if (dz_vault_create(&how, fixture_root, &fixture_id, NULL, &err) != DZ_OK)
        fail_msg("%s", err.what);

    assert_int_equal(mkdir(f->source, 0700), 0);
    path_of(f->source, "deep", path);
    assert_int_equal(mkdir(path, 0700), 0);
    noise(f->source, "image", 700000, 1);
    noise(f->source, "deep/image-again", 700000, 1);
    noise(f->source, "film", 60000, 2);
    text(f->source, "notes", 40);
    text(f->source, "deep/letters", 900);
    fixture_write(f->source, "empty", NULL, 0);
    path_of(f->source, "sparse", path);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "end", 3, 300000) == 3 &&
                ftruncate(fd, 400000) == 0 && close(fd) == 0);
    fixture_backup(f, f->pristine, f->snaps[0]);
    noise(f->source, "second", 30000, 3);
    text(f->source, "notes", 41);
    fixture_backup(f, f->pristine, f->snaps[1]);
    noise(f->source, "third", 20000, 4);
    path_of(f->source, "film", path);
    assert_int_equal(unlink(path), 0);
    fixture_backup(f, f->pristine, f->snaps[2]);
}

void fixture_drop(struct fixture *f) {
    remove_tree(f->top);
}

/* --- reading ---------------------------------------------------------------------------------- */

bool paths_have(const struct paths *paths, const char *path) {
    for (size_t i = 0; i < paths->n; i++)
        if (strcmp(paths->at[i], path) == 0)
            return true;
    return false;
}

void paths_add(struct paths *paths, const char *path) {
    if (paths_have(paths, path))
        return;
    assert_true(paths->n < FIXTURE_PATHS_MAX);
    (void) snprintf(paths->at[paths->n++], sizeof paths->at[0], "%s", path);
}

/* Below the source, as the tests know it. */
static void shorten(const struct fixture *f, dz_slice path, char ret[256]) {
    size_t skip = strlen(f->source);

    skip = path.len > skip ? skip : 0;
    (void) snprintf(ret, 256, "%.*s", (int) (path.len - skip), (const char *) path.data + skip);
}

/* Adds the file's bytes to `to`; false when one of them cannot be had. */
static bool read_content(struct dz_fetch *f, const dz_entry *e, dz_buf *to) {
    struct dz_source source = dz_fetch_source(f);
    DZ_AUTO(dz_content_reader) r = NULL;
    dz_slice field = dz_entry_field(e, DZ_TAG_CONTENT);

    assert_int_equal(dz_content_reader_new(&source, &r, NULL), DZ_OK);
    if (dz_content_reader_start(r, field, 0, NULL) != DZ_OK)
        return false;
    for (;;) {
        dz_content_span span;
        struct dz_held held;
        bool end = false;

        if (dz_content_reader_next(r, &span, &end, NULL) != DZ_OK)
            return false;
        if (end)
            return true;
        if (dz_fetch_hold(f, DZ_KIND_DATA, &span.id, &held, NULL) != DZ_OK)
            return false;
        assert_int_equal(held.bytes.len, span.length);
        dz_buf_put_slice(to, held.bytes);
        dz_fetch_drop(f, &held);
    }
}

static void read_entry(const struct fixture *f, struct dz_fetch *fetch, const dz_entry *e,
                       bool compare, struct paths *paths) {
    dz_autobuf dz_buf bytes = { 0 };
    char name[256];
    size_t len;

    shorten(f, e->path, name);
    if (!read_content(fetch, e, &bytes)) {
        paths_add(paths, name);
    } else if (compare && e->type == DZ_ENTRY_FILE && !dz_entry_field(e, DZ_TAG_EXTENTS).data) {
        uint8_t *now = fixture_read(f->source, name, &len);
        assert_int_equal(bytes.len, len);
        if (len > 0)
            assert_memory_equal(now, bytes.data, len);
        free(now);
    }
}

static dz_status open_snapshot(const struct fixture *f, struct dz_vault *v, size_t snap,
                               struct dz_snapshot *ret_snapshot) {
    char id[DZ_SNAPSHOT_ID_TEXT];

    assert_int_equal(dz_vault_unlock(v, fixture_root, NULL), DZ_OK);
    dz_snapshot_id_text(f->snaps[snap], id);
    return dz_snapshot_find(v, id, ret_snapshot, NULL);
}

static bool read_entries(const struct fixture *f, struct dz_fetch *fetch,
                         const dz_manifest_root *root, bool compare, struct paths *paths) {
    struct dz_source source = dz_fetch_source(fetch);
    DZ_AUTO(dz_cursor) c = NULL;

    assert_int_equal(dz_cursor_new(&source, root, &c, NULL), DZ_OK);
    for (;;) {
        bool end = false;
        dz_slice first;
        uint64_t n;
        dz_entry e;
        char name[256];

        if (dz_cursor_next(c, &e, &end, NULL) == DZ_OK) {
            if (end)
                return true;
            read_entry(f, fetch, &e, compare, paths);
        } else if (dz_cursor_skip_lost(c, &first, &n, NULL) == DZ_OK) {
            shorten(f, first, name);
            paths_add(paths, name);
        } else {
            return false; /* the root of the list */
        }
    }
}

bool fixture_read_snapshot(const struct fixture *f, const char *vault, size_t snap, bool compare,
                           struct paths *paths) {
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_fetch) fetch = NULL;
    struct dz_snapshot s = { 0 };
    bool read;

    if (dz_vault_open(vault, &v, NULL) != DZ_OK || open_snapshot(f, v, snap, &s) != DZ_OK)
        return false;
    assert_int_equal(dz_fetch_new(v, 1 << 20, &fetch, NULL), DZ_OK);
    read = read_entries(f, fetch, &s.commit.root, compare, paths);
    dz_snapshot_release(&s);
    return read;
}

/* --- what is found ---------------------------------------------------------------------------- */

static void note_damage(void *ctx, const struct dz_verify_damage *d) {
    struct findings *all = ctx;
    struct found *x = &all->at[all->n];

    if (all->n == FIXTURE_FOUND_MAX)
        return;
    all->n++;
    *x = (struct found){ .what = d->what, .n_paths = d->n_paths, .entries = d->entries };
    (void) snprintf(x->object, sizeof x->object, "%s", d->object);
    (void) snprintf(x->detail, sizeof x->detail, "%s", d->detail);
    for (size_t i = 0; i < d->n_snapshots; i++)
        for (unsigned k = 0; k < FIXTURE_SNAPS; k++)
            if (memcmp(d->snapshots[i], all->f->snaps[k], DZ_SNAPSHOT_ID_BYTES) == 0)
                x->snaps |= 1U << k;
    for (size_t i = 0; i < d->n_paths && i < FIXTURE_PATHS_MAX; i++)
        shorten(all->f, d->paths[i].path, x->paths[i]);
}

void fixture_verify(const struct fixture *f, const char *vault, enum fixture_with with,
                    struct findings *ret_found) {
    const struct dz_verify_how how = {
        .data = with == WITH_DATA, .threads = 2, .damage = note_damage, .ctx = ret_found
    };
    DZ_AUTO(dz_vault) v = NULL;
    dz_status log_status = DZ_OK;

    memset(ret_found, 0, sizeof *ret_found);
    ret_found->f = f;
    if (dz_vault_open_damaged(vault, &v, &log_status, &ret_found->why) != DZ_OK) {
        ret_found->not_opened = true;
        return;
    }
    if (with != CLOSED)
        assert_int_equal(dz_vault_unlock(v, fixture_root, NULL), DZ_OK);
    if (dz_verify_run(v, &how, &ret_found->result, &ret_found->why) != DZ_OK)
        fail_msg("verify: %s", ret_found->why.what);
    assert_int_equal(ret_found->result.damaged < FIXTURE_FOUND_MAX ? ret_found->result.damaged
                                                                   : FIXTURE_FOUND_MAX,
                     ret_found->n);
}

const struct found *found_object(const struct findings *found, const char *object) {
    for (size_t i = 0; i < found->n; i++)
        if (strcmp(found->at[i].object, object) == 0)
            return &found->at[i];
    return NULL;
}

void found_fail(const struct findings *found, const char *what) {
    if (found->not_opened)
        print_error("not opened: %s\n", found->why.what);
    for (size_t i = 0; i < found->n; i++) {
        const struct found *x = &found->at[i];
        print_error("  %s %s (%s), snapshots %x, %zu paths\n", x->object,
                    dz_verify_what_text(x->what), x->detail, x->snaps, x->n_paths);
        for (size_t k = 0; k < x->n_paths && k < FIXTURE_PATHS_MAX; k++)
            print_error("    %s\n", x->paths[k]);
    }
    fail_msg("%s", what);
    abort(); /* fail_msg() does not return, but does not say so */
}
