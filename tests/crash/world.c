#include "tests/crash/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "store/verify.h"

const uint8_t world_root[DZ_ROOT_BYTES] = { 'c', 'r', 'a', 's', 'h' };
static const dz_vault_id vault_id = { { 0x0d, 0x02 } };

/* --- random numbers: splitmix64 ----------------------------------------------------------------
 */

uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit) {
    return random_next(state) % limit;
}

void random_fill(uint64_t *state, uint8_t *to, size_t len) {
    for (size_t i = 0; i < len; i += 8) {
        uint64_t r = random_next(state);
        memcpy(to + i, &r, len - i < 8 ? len - i : 8);
    }
}

/* --- files -------------------------------------------------------------------------------------
 */

void world_dir(char ret_path[64]) {
    (void) snprintf(ret_path, 64, "%s/dozo-crash-XXXXXX",
                    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(ret_path));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

void world_remove(const char *path) {
    MUST(nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) == 0);
}

static void path_of(const char *dir, const char *name, char ret[4096]) {
    MUST(snprintf(ret, 4096, "%s/%s", dir, name) < 4096);
}

void world_file(const char *dir, const char *name, const void *bytes, size_t len) {
    char path[4096];
    int fd;

    path_of(dir, name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    MUST(fd >= 0);
    MUST(write(fd, bytes, len) == (ssize_t) len);
    MUST(close(fd) == 0);
}

static void noise(const char *dir, const char *name, size_t len, uint64_t *random) {
    dz_autofree uint8_t *bytes = malloc(len + 1);

    MUST(bytes);
    random_fill(random, bytes, len);
    world_file(dir, name, bytes, len);
}

static void text(const char *dir, const char *name, size_t lines, uint64_t *random) {
    dz_autofree char *t = malloc(lines * 40 + 1);
    size_t len = 0;

    MUST(t);
    for (size_t i = 0; i < lines; i++)
        len += (size_t) snprintf(t + len, 40, "line %zu says %llu\n", i,
                                 (unsigned long long) random_below(random, 1000));
    world_file(dir, name, t, len);
}

void world_tree(const char *dir, uint64_t *random) {
    char a[4096], b[4096];
    int fd;

    MUST(mkdir(dir, 0755) == 0);
    world_file(dir, "empty", "", 0);
    text(dir, "notes.txt", 50, random);
    text(dir, "log", 3000, random);
    noise(dir, "image", 90000, random);
    path_of(dir, "deep", a);
    MUST(mkdir(a, 0700) == 0);
    path_of(a, "er", b);
    MUST(mkdir(b, 01777) == 0);
    noise(b, "leaf", 333, random);
    text(b, "text", 20, random);
    path_of(dir, "notes.txt", a);
    path_of(dir, "deep/same", b);
    MUST(link(a, b) == 0);
    path_of(dir, "pointer", a);
    MUST(symlink("deep/er/leaf", a) == 0);
    path_of(dir, "pipe", a);
    MUST(mkfifo(a, 0600) == 0);
    path_of(dir, "sparse", a);
    fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd >= 0 && pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "end", 3, 300000) == 3);
    MUST(ftruncate(fd, 400000) == 0 && close(fd) == 0);
}

void world_change(const char *dir, uint64_t *random) {
    char name[32], path[4096];

    (void) snprintf(name, sizeof name, "new-%llu", (unsigned long long) random_next(random));
    noise(dir, name, 1 + random_below(random, 20000), random);
    text(dir, "log", 2000 + random_below(random, 500), random);
    path_of(dir, "image", path);
    if (random_below(random, 2)) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        MUST(fd >= 0 && pwrite(fd, name, 8, (off_t) random_below(random, 80000)) == 8);
        MUST(close(fd) == 0);
    }
    path_of(dir, "deep/er/text", path);
    if (access(path, F_OK) == 0)
        MUST(unlink(path) == 0);
    else
        text(dir, "deep/er/text", 10, random);
}

void world_settle(void) {
    const struct timespec wait = { .tv_nsec = 30 * 1000 * 1000 };
    (void) nanosleep(&wait, NULL);
}

static unsigned count_names(const char *path) {
    unsigned n = 0;
    DIR *d = opendir(path);

    if (!d)
        return 0;
    while (readdir(d))
        n++;
    (void) closedir(d);
    return n - 2;
}

unsigned world_open_fds(void) {
    return count_names("/proc/self/fd");
}

unsigned world_names_in(const char *dir, const char *sub) {
    char path[4096];

    path_of(dir, sub, path);
    return count_names(path);
}

/* --- trees -------------------------------------------------------------------------------------
 */

struct row {
    char *path; /* below the tree's directory; "" is itself */
    struct stat st;
    uint8_t *bytes; /* a file's content, a link's target */
};

struct tree {
    char *dir;
    struct row *rows; /* sorted by strcmp */
    size_t n, cap;
};

void tree_free(struct tree *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++) {
        free(t->rows[i].path);
        free(t->rows[i].bytes);
    }
    free(t->rows);
    free(t->dir);
    free(t);
}

static void add_row(struct tree *t, const char *path) {
    char full[4096], below[4096];
    struct row *r;
    struct dirent *e;
    DIR *d;

    if (t->n == t->cap) {
        t->cap = 2 * t->cap + 32;
        t->rows = reallocarray(t->rows, t->cap, sizeof *t->rows);
        MUST(t->rows);
    }
    r = &t->rows[t->n++];
    *r = (struct row){ .path = strdup(path) };
    MUST(r->path);
    path_of(t->dir, path, full);
    MUST(lstat(full, &r->st) == 0);
    if (S_ISREG(r->st.st_mode)) {
        int fd = open(full, O_RDONLY | O_CLOEXEC);
        r->bytes = malloc((size_t) r->st.st_size + 1);
        MUST(fd >= 0 && r->bytes);
        MUST(pread(fd, r->bytes, (size_t) r->st.st_size, 0) == r->st.st_size);
        (void) close(fd);
    } else if (S_ISLNK(r->st.st_mode)) {
        r->bytes = malloc((size_t) r->st.st_size + 1);
        MUST(r->bytes &&
             readlink(full, (char *) r->bytes, (size_t) r->st.st_size + 1) == r->st.st_size);
    } else if (S_ISDIR(r->st.st_mode)) {
        d = opendir(full);
        MUST(d);
        while ((e = readdir(d))) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            MUST(snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", e->d_name) < 4096);
            add_row(t, below);
        }
        (void) closedir(d);
    }
}

static int by_path(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    return strcmp(x->path, y->path);
}

struct tree *tree_of(const char *dir) {
    struct tree *t = calloc(1, sizeof *t);

    MUST(t);
    t->dir = strdup(dir);
    MUST(t->dir);
    add_row(t, "");
    qsort(t->rows, t->n, sizeof *t->rows, by_path);
    return t;
}

static uint8_t type_of(mode_t mode) {
    return S_ISREG(mode)   ? DZ_ENTRY_FILE
           : S_ISDIR(mode) ? DZ_ENTRY_DIR
           : S_ISLNK(mode) ? DZ_ENTRY_SYMLINK
                           : DZ_ENTRY_FIFO;
}

struct promise *promise_add(struct promises *p, struct tree *tree) {
    if (p->n == p->cap) {
        p->cap = 2 * p->cap + 16;
        p->list = reallocarray(p->list, p->cap, sizeof *p->list);
        MUST(p->list);
    }
    p->list[p->n] = (struct promise){ .tree = tree };
    return &p->list[p->n++];
}

void promises_free(struct promises *p) {
    for (size_t i = 0; i < p->n; i++)
        tree_free(p->list[i].tree);
    free(p->list);
    *p = (struct promises){ 0 };
}

/* --- the vault ---------------------------------------------------------------------------------
 */

dz_status world_create(const char *vault, dz_err *err) {
    const struct dz_vault_new how = { .path = vault, .now_us = dz_now_us() };

    return dz_vault_create(&how, world_root, &vault_id, NULL, err);
}

dz_status world_open(const char *vault, struct dz_vault **ret_vault, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;

    DZ_TRY(dz_vault_open(vault, &v, err));
    DZ_TRY(dz_vault_unlock(v, world_root, err));
    *ret_vault = DZ_TAKE(v);
    return DZ_OK;
}

dz_status world_backup(struct dz_vault *v, const char *source, const char *dir, unsigned threads,
                       struct dz_commit *ret_commit, dz_err *err) {
    const struct dz_backup_how how = {
        .source = source, .paths = &dir, .n_paths = 1, .threads = threads
    };
    struct dz_commit c;
    dz_status s = dz_backup_run(v, &how, &c, err);

    if (s != DZ_OK)
        return s;
    if (ret_commit)
        *ret_commit = c;
    else
        dz_commit_release(&c);
    return DZ_OK;
}

dz_status world_keep(const char *vault, const char *source, const char *dir, unsigned threads,
                     struct promises *p, dz_err *err) {
    struct promise *promise = promise_add(p, tree_of(dir));
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_commit c;

    DZ_TRY(world_open(vault, &v, err));
    DZ_TRY(world_backup(v, source, dir, threads, &c, err));
    memcpy(promise->id, c.id, sizeof c.id);
    promise->acknowledged = promise->known = true;
    promise->problems = c.errors + c.changed;
    dz_commit_release(&c);
    return DZ_OK;
}

/* --- checking ----------------------------------------------------------------------------------
 */

static bool say(char why[WHY], const char *fmt, ...) DZ_PRINTF(2, 3);
static bool say(char why[WHY], const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(why, WHY, fmt, args);
    va_end(args);
    return false;
}

/* The whole content, into a zeroed buffer of e->size bytes. */
static bool content_of(struct dz_fetch *f, struct dz_content_reader *r, const dz_entry *e,
                       uint8_t *to, char why[WHY]) {
    dz_reader extents = dz_reader_over(dz_entry_field(e, DZ_TAG_EXTENTS));
    bool sparse = dz_reader_left(&extents) > 0, end = false;
    uint64_t at = 0, room = sparse ? 0 : e->size;
    dz_content_span span;
    dz_err err = { 0 };

    if (dz_content_reader_start(r, dz_entry_field(e, DZ_TAG_CONTENT), 0, &err) != DZ_OK)
        return say(why, "content: %s", err.what);
    for (;;) {
        struct dz_held held = { 0 };
        size_t done = 0;

        if (dz_content_reader_next(r, &span, &end, &err) != DZ_OK)
            return say(why, "content: %s", err.what);
        if (end)
            break;
        if (dz_fetch_hold(f, DZ_KIND_DATA, &span.id, &held, &err) != DZ_OK)
            return say(why, "chunk: %s", err.what);
        while (done < span.length) {
            size_t n = span.length - done;

            if (room == 0 && sparse && dz_reader_left(&extents) > 0) {
                at += dz_read_varint(&extents);
                room = dz_read_varint(&extents);
            }
            if (n > room)
                n = (size_t) room;
            if (n == 0 || at + n > e->size || held.bytes.len != span.length) {
                dz_fetch_drop(f, &held);
                return say(why, "content does not fit the file's %llu bytes",
                           (unsigned long long) e->size);
            }
            memcpy(to + at, held.bytes.data + done, n);
            done += n;
            at += n;
            room -= n;
        }
        dz_fetch_drop(f, &held);
    }
    if (room > 0 || dz_reader_left(&extents) > 0)
        return say(why, "content ends before the file");
    return true;
}

struct compare {
    struct dz_fetch *fetch;
    struct dz_content_reader *content;
    const struct promise *promise;
    bool bytes; /* not only what the manifest says */
    uint64_t excused;
};

static bool same_entry(struct compare *c, const struct row *r, const dz_entry *e, char why[WHY]) {
    dz_autofree uint8_t *bytes = NULL;
    dz_slice target = dz_entry_field(e, DZ_TAG_TARGET);

    if (e->type != type_of(r->st.st_mode) || e->mode != (r->st.st_mode & 07777))
        return say(why, "%s: type %u, mode %o", r->path, e->type, e->mode);
    if (e->flags & (DZ_ENTRY_UNREADABLE | DZ_ENTRY_CHANGED)) {
        c->excused++;
        return true;
    }
    if (e->mtime_s != r->st.st_mtim.tv_sec || e->mtime_ns != (uint32_t) r->st.st_mtim.tv_nsec)
        return say(why, "%s: another mtime", r->path);
    if (e->type == DZ_ENTRY_SYMLINK &&
        (target.len != (size_t) r->st.st_size || memcmp(target.data, r->bytes, target.len) != 0))
        return say(why, "%s: another target", r->path);
    if (e->type != DZ_ENTRY_FILE)
        return true;
    if (e->size != (uint64_t) r->st.st_size)
        return say(why, "%s: %llu bytes", r->path, (unsigned long long) e->size);
    if (!c->bytes)
        return true;
    bytes = calloc(1, (size_t) e->size + 1);
    MUST(bytes);
    if (!content_of(c->fetch, c->content, e, bytes, why))
        return false;
    if (memcmp(bytes, r->bytes, (size_t) e->size) != 0)
        return say(why, "%s: other bytes", r->path);
    return true;
}

static bool same_tree(struct compare *c, const struct dz_commit *commit, char why[WHY]) {
    const struct tree *t = c->promise->tree;
    dz_slice dir = { (const uint8_t *) t->dir + 1, strlen(t->dir) - 1 };
    dz_autofree bool *seen = calloc(t->n, sizeof *seen);
    struct dz_source source = dz_fetch_source(c->fetch);
    DZ_AUTO(dz_cursor) cursor = NULL;
    dz_err err = { 0 };

    MUST(seen);
    if (dz_cursor_new(&source, &commit->root, &cursor, &err) != DZ_OK ||
        dz_cursor_seek(cursor, dir, &err) != DZ_OK)
        return say(why, "manifest: %s", err.what);
    for (;;) {
        bool end = false;
        struct row *r, key;
        dz_entry e;
        char path[4096];

        if (dz_cursor_next(cursor, &e, &end, &err) != DZ_OK)
            return say(why, "manifest: %s", err.what);
        if (end || !dz_path_within(e.path, dir))
            break;
        MUST(snprintf(path, sizeof path, "%.*s", (int) (e.path.len - dir.len),
                      (const char *) e.path.data + dir.len) < 4096);
        key.path = *path == '/' ? path + 1 : path;
        r = bsearch(&key, t->rows, t->n, sizeof *t->rows, by_path);
        if (!r || seen[r - t->rows])
            return say(why, "%s: not in the tree, or twice", key.path);
        seen[r - t->rows] = true;
        if (!same_entry(c, r, &e, why))
            return false;
    }
    for (size_t i = 0; i < t->n; i++)
        if (!seen[i])
            c->excused++;
    if (c->excused > c->promise->problems)
        return say(why, "%llu entries are missing or not whole, the commit speaks of %llu",
                   (unsigned long long) c->excused, (unsigned long long) c->promise->problems);
    return true;
}

bool tree_is_kept(struct tree *t, struct dz_fetch *fetch, const struct dz_commit *commit,
                  char why[WHY]) {
    DZ_AUTO(dz_content_reader) content = NULL;
    struct dz_source source = dz_fetch_source(fetch);
    const struct promise p = { .tree = t };

    MUST(dz_content_reader_new(&source, &content, NULL) == DZ_OK);
    return same_tree(&(struct compare){ fetch, content, &p, true, 0 }, commit, why);
}

struct check {
    struct dz_fetch *fetch;
    struct dz_content_reader *content;
    const struct promises *promises;
    bool *kept;
    bool latest;
    uint64_t last_leaf;
    char *why;
};

/* The promise that this snapshot keeps: by its id, or by what is in it. */
static dz_status check_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                                const dz_err *why, dz_err *err) {
    struct check *c = ctx;
    bool bytes = !c->latest || snap->leaf == c->last_leaf, named = false;
    char text[WHY] = "";

    if (status != DZ_OK) {
        (void) say(c->why, "leaf %llu: %s", (unsigned long long) snap->leaf, why->what);
        return DZ_FAIL(err, DZ_E_CORRUPT, "%s", c->why);
    }
    for (size_t i = 0; i < c->promises->n; i++) {
        const struct promise *p = &c->promises->list[i];
        named |= p->known && memcmp(p->id, snap->commit.id, sizeof p->id) == 0;
    }
    for (size_t i = 0; i < c->promises->n; i++) {
        struct promise p = c->promises->list[i];
        struct compare compare = { c->fetch, c->content, &p, bytes, 0 };

        if (p.known != named || c->kept[i] ||
            (named && memcmp(p.id, snap->commit.id, sizeof p.id) != 0))
            continue;
        if (!named) /* we were not told; its own record says what it could not keep */
            p.problems = snap->commit.errors + snap->commit.changed;
        if (same_tree(&compare, &snap->commit, text)) {
            c->kept[i] = true;
            return DZ_OK;
        }
    }
    (void) say(c->why, "leaf %llu: no promise is like this snapshot; %s",
               (unsigned long long) snap->leaf, text);
    return DZ_FAIL(err, DZ_E_CORRUPT, "%s", c->why);
}

/* Every file of the directory is named by the hash of its bytes. */
static bool names_are_hashes(int dirfd, const char *what, dz_buf *ret_ids, char why[WHY]) {
    int twin = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(twin);
    struct dirent *e;
    bool ok = true;

    MUST(d);
    while (ok && (e = readdir(d))) {
        dz_autobuf dz_buf bytes = { 0 };
        uint8_t id[DZ_SHA256_BYTES], hash[DZ_SHA256_BYTES];
        dz_err err = { 0 };

        if (e->d_name[0] == '.')
            continue;
        if (!dz_unhex(e->d_name, strlen(e->d_name), id, sizeof id) ||
            dz_read_file(dirfd, e->d_name, 1U << 30, &bytes, &err) != DZ_OK) {
            ok = say(why, "%s: an odd file: %s", what, err.what);
            break;
        }
        dz_sha256(dz_buf_slice(&bytes), hash);
        if (memcmp(id, hash, sizeof id) != 0)
            ok = say(why, "%s: %s is damaged", what, e->d_name);
        if (ret_ids)
            dz_buf_put(ret_ids, id, sizeof id);
    }
    (void) closedir(d);
    return ok;
}

static void note_finding(void *ctx, enum dz_tlog_finding finding, const char *name) {
    if (finding != DZ_TLOG_LEFTOVER)
        (void) say(ctx, "log: %s: finding %d", name, (int) finding);
}

static bool check_files(struct dz_vault *v, char why[WHY]) {
    dz_autobuf dz_buf packs = { 0 };
    dz_tlog_report report = { 0 };
    dz_err err = { 0 };

    if (!names_are_hashes(v->packsfd, "packs", &packs, why) ||
        !names_are_hashes(v->commitsfd, "commits", NULL, why))
        return false;
    for (size_t at = 0; at < packs.len; at += DZ_SHA256_BYTES) {
        dz_pack_table t = { 0 };
        dz_pack_id id;

        memcpy(id.b, packs.data + at, sizeof id.b);
        if (dz_pack_table_load(v->packsfd, &id, v->host, &t, &err) != DZ_OK)
            return say(why, "pack table: %s", err.what);
        dz_pack_table_release(&t);
    }
    if (dz_tlog_verify_all(v->logfd, &v->config.id, v->host->log_public, note_finding, why, &report,
                           &err) != DZ_OK)
        return say(why, "log: %s", err.what);
    return report.bad == 0;
}

static bool check_promises(struct dz_vault *v, const struct promises *p, bool latest,
                           char why[WHY]) {
    dz_autofree bool *kept = calloc(p->n + 1, sizeof *kept);
    struct check c = { .promises = p, .kept = kept, .latest = latest, .why = why };
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_content_reader) content = NULL;
    struct dz_snapshot newest = { 0 };
    struct dz_source source;
    dz_err err = { 0 };

    MUST(kept);
    if (dz_fetch_new(v, 8 << 20, &fetch, &err) != DZ_OK)
        return say(why, "index: %s", err.what);
    source = dz_fetch_source(fetch);
    MUST(dz_content_reader_new(&source, &content, NULL) == DZ_OK);
    c.fetch = fetch;
    c.content = content;
    if (dz_snapshot_find(v, "latest", &newest, NULL) == DZ_OK)
        c.last_leaf = newest.leaf;
    dz_snapshot_release(&newest);
    if (dz_snapshots_each(v, check_snapshot, &c, &err) != DZ_OK)
        return say(why, "%s", err.what);
    for (size_t i = 0; i < p->n; i++)
        if (p->list[i].acknowledged && !kept[i])
            return say(why, "snapshot %zu was acknowledged and is not there", i);
    return true;
}

static void note_damage(void *ctx, const struct dz_verify_damage *d) {
    (void) say(ctx, "verify: %s %s %s", d->object, dz_verify_what_text(d->what), d->detail);
}

bool world_verify(struct dz_vault *v, char why[WHY]) {
    const struct dz_verify_how how = {
        .data = true, .threads = 1, .damage = note_damage, .ctx = why
    };
    struct dz_verify_result result = { 0 };
    dz_err err = { 0 };

    if (dz_verify_run(v, &how, &result, &err) != DZ_OK)
        return say(why, "verify: %s", err.what);
    return result.damaged == 0;
}

struct holds {
    const char *ids;
    size_t len;
    uint64_t found, more;
};

static dz_status count_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                                const dz_err *why, dz_err *err) {
    struct holds *h = ctx;
    char id[DZ_SNAPSHOT_ID_TEXT];

    if (status != DZ_OK)
        return DZ_FAIL(err, status, "%s", why->what);
    dz_snapshot_id_text(snap->commit.id, id);
    if (h->ids && memmem(h->ids, h->len, id, DZ_SNAPSHOT_ID_TEXT - 1)) /* none: killed at once */
        h->found++;
    else
        h->more++;
    return DZ_OK;
}

bool world_holds(const char *vault, const char *ids, size_t n, bool data, uint64_t *ret_more,
                 char why[WHY]) {
    struct holds h = { .ids = ids, .len = n * DZ_SNAPSHOT_ID_TEXT };
    DZ_AUTO(dz_vault) v = NULL;
    dz_err err = { 0 };

    why[0] = '\0';
    if (world_open(vault, &v, &err) != DZ_OK || dz_snapshots_each(v, count_snapshot, &h, &err))
        return say(why, "%s", err.what);
    if (h.found != n)
        return say(why, "%zu snapshots were told of, %llu are there", n,
                   (unsigned long long) h.found);
    *ret_more = h.more;
    return !data || world_verify(v, why);
}

bool world_check(const char *vault, const struct promises *p, bool latest, char why[WHY]) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_err err = { 0 };

    why[0] = '\0';
    if (world_open(vault, &v, &err) != DZ_OK)
        return say(why, "%s: %s", dz_status_name(err.status), err.what);
    return check_files(v, why) && check_promises(v, p, latest, why) &&
           (latest || world_verify(v, why));
}
