#include "intake/backup.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "core/clock.h"
#include "intake/path_cache.h"
#include "intake/read_file.h"
#include "intake/scan.h"
#include "store/manifest.h"

enum {
    RING = 64,              /* items between walker and assembler */
    BATCH_NODES = 256,      /* entries of a batch */
    BATCH_BYTES = 4 << 20,  /* bytes of its files: about one segment */
    BATCH_TEXT = 256 << 10, /* bytes of its paths */
    HELD_MAX = 64 << 20,    /* bytes of finished entries that wait for their turn */
    WORKERS_MAX = 64,
    TARGET_MAX = 65536, /* bytes of a symlink's target */
    LINK_ID_BYTES = 16,
};
/* File systems stamp times with a coarse clock; what changed within its tick may change again
 * without a new stamp. */
static const int64_t tick_ns = 20 * 1000000;

/* One file-system object on its way. */
struct node {
    size_t path_at, path_len; /* in its item's text; NUL behind */
    size_t name_at;
    struct dz_dir *dir; /* held until it is read */
    struct stat st;
    uint64_t fs;
    int problem;    /* errno, 0: none */
    uint8_t what;   /* enum dz_problem_kind */
    uint32_t flags; /* enum dz_entry_flag */
    bool gone;      /* not in the manifest */
    bool ready;     /* its fields are there already */
    bool remember;  /* belongs in the next path cache */
    uint64_t read;
    struct dz_path_key key;
    size_t fields_at, fields_len; /* in its item's fields */
};

/* A file of several spans. */
struct big {
    atomic_uint refs;
    int fd;
    struct dz_extents extents;
};

struct item {
    bool done;
    bool span;          /* else a batch */
    struct node *nodes; /* a span has one: its file */
    size_t n;
    uint64_t weight; /* bytes of the batch's files */
    dz_buf text, fields;
    /* of a span */
    struct big *big;
    uint64_t from, len;
    bool last;
    struct dz_span result;
};

struct backup {
    struct dz_vault *v;
    const struct dz_backup_how *how;
    struct dz_session *session;
    struct dz_chunker *chunker;
    struct dz_path_cache *cache;
    struct dz_scan *scan;
    uint8_t context[DZ_KEY_BYTES]; /* of the path cache's keys */
    uint8_t digest_key[DZ_KEY_BYTES];
    int64_t began_us;
    unsigned dirs_max; /* directories that may be open */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct item *ring[RING];
    uint64_t head, run, tail; /* next to assemble, to work on, to add */
    size_t held;              /* bytes of fields of items that are done */
    bool closed;              /* no more items come */
    dz_status failed;
    dz_err why;
};

/* --- the ring --------------------------------------------------------------------------------- */

static void fail(struct backup *b, dz_status s, const dz_err *why) {
    (void) pthread_mutex_lock(&b->lock);
    if (b->failed == DZ_OK) {
        b->failed = s;
        b->why = *why;
    }
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
}

static void big_unref(struct big *big) {
    if (!big || atomic_fetch_sub(&big->refs, 1) != 1)
        return;
    (void) close(big->fd);
    dz_extents_release(&big->extents);
    free(big);
}

static void item_free(struct item *it) {
    if (!it)
        return;
    for (size_t i = 0; i < it->n; i++)
        dz_dir_unref(it->nodes[i].dir);
    if (it->n)
        explicit_bzero(it->nodes, it->n * sizeof *it->nodes); /* keys of the path cache */
    free(it->nodes);
    dz_buf_release(&it->text);
    dz_buf_release(&it->fields);
    dz_buf_release(&it->result.chunks);
    big_unref(it->big);
    free(it);
}

/* Adds an item; waits while the ring is full.  Takes it over, also when the backup has failed. */
static bool ring_add(struct backup *b, struct item *it) {
    bool ok;

    (void) pthread_mutex_lock(&b->lock);
    while (b->tail - b->head == RING && b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    ok = b->failed == DZ_OK;
    if (ok) {
        b->ring[b->tail++ % RING] = it;
        (void) pthread_cond_broadcast(&b->changed);
    }
    (void) pthread_mutex_unlock(&b->lock);
    if (!ok)
        item_free(it);
    return ok;
}

static struct item *ring_work(struct backup *b) {
    struct item *it = NULL;

    (void) pthread_mutex_lock(&b->lock);
    /* many entries with large attributes: the assembler first.  If nothing before the next item
     * is under way, nobody else can free memory, and it is worked on. */
    while (((b->run == b->tail && !b->closed) || (b->held > HELD_MAX && b->run != b->head)) &&
           b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    if (b->run < b->tail && b->failed == DZ_OK)
        it = b->ring[b->run++ % RING];
    (void) pthread_mutex_unlock(&b->lock);
    return it;
}

static void ring_done(struct backup *b, struct item *it) {
    (void) pthread_mutex_lock(&b->lock);
    it->done = true;
    b->held += it->fields.len;
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
}

/* The next item in order, when it is done; NULL at the end or after a failure. */
static struct item *ring_take(struct backup *b) {
    struct item *it = NULL;

    (void) pthread_mutex_lock(&b->lock);
    while (b->failed == DZ_OK && !(b->head < b->tail && b->ring[b->head % RING]->done) &&
           !(b->closed && b->head == b->tail))
        (void) pthread_cond_wait(&b->changed, &b->lock);
    if (b->failed == DZ_OK && b->head < b->tail) {
        it = b->ring[b->head % RING];
        b->ring[b->head++ % RING] = NULL;
        b->held -= it->fields.len;
        (void) pthread_cond_broadcast(&b->changed);
    }
    (void) pthread_mutex_unlock(&b->lock);
    return it;
}

/* --- reading one object ----------------------------------------------------------------------- */

struct worker {
    struct backup *b;
    pthread_t thread;
    struct dz_lane *lane;
    struct dz_sink sink;
    struct dz_file_reader *reader;
    struct dz_content_builder *content;
    struct dz_path_window window;
    struct dz_span span;
};

static void problem(struct node *n, uint8_t what, int e) {
    if (n->problem == 0 || what == DZ_PROBLEM_UNREADABLE) {
        n->problem = e ? e : EIO;
        n->what = what;
    }
}

static int open_to_read(struct dz_dir *dir, const char *name) {
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dir->fd, name, flags | O_NOATIME);

    return fd < 0 && errno == EPERM ? openat(dir->fd, name, flags) : fd;
}

static bool same_state(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Not touched so lately that the same time stamp could hide another change. */
static bool settled(const struct backup *b, const struct stat *st) {
    /* no fraction at all: a file system that counts whole seconds, or two at a time */
    int64_t tick = st->st_ctim.tv_nsec || st->st_mtim.tv_nsec ? tick_ns : 2 * 1000000000LL;
    int64_t limit = b->began_us * 1000 - tick, limit_s = limit / 1000000000;

    return st->st_ctim.tv_sec < limit_s ||
           (st->st_ctim.tv_sec == limit_s && st->st_ctim.tv_nsec < limit % 1000000000);
}

static void put_link(const struct backup *b, const struct node *n, dz_buf *fields) {
    uint8_t id[LINK_ID_BYTES], what[16];

    if (n->st.st_nlink < 2 || S_ISDIR(n->st.st_mode))
        return;
    dz_store_le(what, 8, n->fs);
    dz_store_le(what + 8, 8, n->st.st_ino);
    (void) crypto_generichash(id, sizeof id, what, sizeof what, b->context, sizeof b->context);
    dz_entry_put_field(fields, DZ_TAG_LINK, (dz_slice){ id, sizeof id });
}

/* Everything after the content: in the order of tags. */
static void put_tail(const struct backup *b, struct node *n, const char *name, int fd,
                     const struct dz_extents *x, const struct dz_features *features,
                     const uint8_t identity[DZ_SHA256_BYTES], dz_buf *fields) {
    int e;

    dz_extents_put(x, fields);
    e = dz_xattrs_put(fd, -1, name, fields);
    if (e)
        problem(n, DZ_PROBLEM_PARTIAL, e);
    put_link(b, n, fields);
    dz_features_put(features, name, b->digest_key, identity, fields);
}

/* What the file was like before and after: if it changed meanwhile, its content may mix two
 * states, and that is said. */
static void finish_read(const struct backup *b, struct node *n, int fd, uint64_t read,
                        uint64_t wanted, int failed) {
    struct stat after;

    n->read += read;
    if (failed) {
        n->flags |= DZ_ENTRY_UNREADABLE;
        problem(n, DZ_PROBLEM_UNREADABLE, failed);
    } else if (fstat(fd, &after) < 0 || !same_state(&n->st, &after) || read != wanted) {
        n->flags |= DZ_ENTRY_CHANGED;
        problem(n, DZ_PROBLEM_CHANGED, EAGAIN);
    }
    n->remember = n->problem == 0 && settled(b, &n->st);
}

static dz_status read_opened(struct worker *w, struct node *n, const char *name, int fd,
                             dz_buf *fields, dz_err *err) {
    struct backup *b = w->b;
    struct dz_extents x = { 0 };
    uint8_t identity[DZ_SHA256_BYTES];
    struct dz_hasher *h = NULL;
    dz_status s = dz_extents_find(fd, &n->st, &x, err);

    if (s == DZ_E_IO) {
        problem(n, DZ_PROBLEM_UNREADABLE, errno);
        n->flags |= DZ_ENTRY_UNREADABLE;
        return DZ_OK;
    }
    DZ_TRY(s);
    s = dz_file_reader_span(w->reader, fd, &x, 0, x.content, &w->span, err);
    if (s == DZ_OK)
        s = dz_hasher_new(&h, err);
    if (s == DZ_OK) {
        dz_span_identity(&w->span, h);
        dz_hasher_final(h, identity);
        finish_read(b, n, fd, w->span.read, x.content, w->span.failed);
        if (!(n->flags & DZ_ENTRY_UNREADABLE)) {
            s = dz_span_put(&w->span, w->content, err);
            if (s == DZ_OK)
                s = dz_content_builder_finish(w->content, fields, err);
            if (w->span.read != x.content) { /* shorter than it was: what is there is the file */
                dz_extents_cut(&x, w->span.read);
                n->st.st_size = (off_t) x.size;
            }
        }
        put_tail(b, n, name, fd, &x, &w->span.features, identity, fields);
    }
    dz_hasher_free(h);
    dz_extents_release(&x);
    return s;
}

/* A regular file that the cache does not know.  What goes wrong with it is its own problem. */
static dz_status read_file(struct worker *w, struct node *n, const char *name, dz_buf *fields,
                           dz_err *err) {
    dz_autoclose int fd = open_to_read(n->dir, name);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int e = errno;
        problem(n, DZ_PROBLEM_UNREADABLE, e);
        n->gone = e == ENOENT;
        n->flags |= DZ_ENTRY_UNREADABLE;
        return DZ_OK;
    }
    if (!S_ISREG(st.st_mode)) { /* replaced since it was listed */
        problem(n, DZ_PROBLEM_UNREADABLE, ESTALE);
        n->gone = true;
        return DZ_OK;
    }
    n->st = st;
    return read_opened(w, n, name, fd, fields, err);
}

static void read_symlink(struct node *n, const char *name, dz_buf *fields) {
    dz_autofree uint8_t *target = malloc(TARGET_MAX); /* st_size is not to be relied on */
    ssize_t len = target ? readlinkat(n->dir->fd, name, (char *) target, TARGET_MAX) : -1;

    if (len < 0 || len == TARGET_MAX) { /* filled to the brim: there may be more */
        problem(n, DZ_PROBLEM_UNREADABLE, len < 0 ? errno : ENAMETOOLONG);
        n->gone = true;
        return;
    }
    n->st.st_size = len;
    dz_entry_put_field(fields, DZ_TAG_TARGET, (dz_slice){ target, (size_t) len });
}

static void put_rdev(const struct node *n, dz_buf *fields) {
    dz_autobuf dz_buf value = { 0 };

    dz_buf_put_varint(&value, major(n->st.st_rdev));
    dz_buf_put_varint(&value, minor(n->st.st_rdev));
    if (!dz_buf_ok(&value))
        fields->bad = true;
    dz_entry_put_field(fields, DZ_TAG_RDEV, dz_buf_slice(&value));
}

/* Directories, links, devices and the like: read anew each time. */
static void read_other(struct worker *w, struct node *n, const char *name, dz_buf *fields) {
    dz_autobuf dz_buf target = { 0 };
    int e;

    if (S_ISLNK(n->st.st_mode))
        read_symlink(n, name, &target);
    e = n->gone ? 0 : dz_xattrs_put(-1, n->dir->fd, name, fields);
    if (e)
        problem(n, DZ_PROBLEM_PARTIAL, e);
    dz_buf_put_slice(fields, dz_buf_slice(&target));
    if (!dz_buf_ok(&target))
        fields->bad = true;
    if (S_ISCHR(n->st.st_mode) || S_ISBLK(n->st.st_mode))
        put_rdev(n, fields);
    put_link(w->b, n, fields);
}

/* Known and not due to be read again: its fields come from the cache. */
static bool from_cache(struct backup *b, struct node *n, dz_slice path,
                       struct dz_path_window *window, dz_buf *fields) {
    dz_path_key(b->context, path, n->fs, &n->st, &n->key);
    if (b->how->reread || dz_path_due(&n->key, dz_path_cache_time(b->cache), b->began_us) ||
        !dz_path_cache_get(b->cache, &n->key, window, fields))
        return false;
    n->remember = settled(b, &n->st);
    return true;
}

static dz_status work_batch(struct worker *w, struct item *it, dz_err *err) {
    for (size_t i = 0; i < it->n; i++) {
        struct node *n = &it->nodes[i];
        const char *name = (const char *) it->text.data + n->name_at;
        dz_slice path = { it->text.data + n->path_at, n->path_len };

        if (n->gone || n->ready)
            continue;
        n->fields_at = it->fields.len;
        if (!S_ISREG(n->st.st_mode)) {
            read_other(w, n, name, &it->fields);
        } else if (!from_cache(w->b, n, path, &w->window, &it->fields)) {
            struct stat before = n->st;
            DZ_TRY(read_file(w, n, name, &it->fields, err));
            if (!same_state(&before, &n->st)) /* the key must be that of what was read */
                dz_path_key(w->b->context, path, n->fs, &n->st, &n->key);
        }
        n->fields_len = it->fields.len - n->fields_at;
        dz_dir_unref(n->dir);
        n->dir = NULL;
        if (!dz_buf_ok(&it->fields))
            return DZ_FAIL(err, DZ_E_NOMEM, "entries: out of memory");
    }
    return DZ_OK;
}

static dz_status worker_open(struct worker *w, struct backup *b, dz_err *err) {
    w->b = b;
    DZ_TRY(dz_session_lane(b->session, &w->lane, err));
    w->sink = dz_lane_sink(w->lane);
    DZ_TRY(dz_file_reader_new(b->chunker, w->lane, &w->reader, err));
    return dz_content_builder_new(&w->sink, b->v->host->name, &w->content, err);
}

static void worker_close(struct worker *w) {
    dz_content_builder_free(w->content);
    dz_file_reader_free(w->reader);
    dz_buf_release(&w->window.bytes);
    dz_buf_release(&w->span.chunks);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct item *it;

    while ((it = ring_work(w->b))) {
        dz_err err = { 0 };
        dz_status s = it->span ? dz_file_reader_span(w->reader, it->big->fd, &it->big->extents,
                                                     it->from, it->len, &it->result, &err)
                               : work_batch(w, it, &err);
        if (s != DZ_OK) {
            fail(w->b, s, &err);
            break;
        }
        ring_done(w->b, it);
    }
    return NULL;
}

/* --- the walker ------------------------------------------------------------------------------- */

static struct item *item_new(size_t nodes) {
    struct item *it = calloc(1, sizeof *it);

    if (it)
        it->nodes = calloc(nodes, sizeof *it->nodes);
    if (it && it->nodes)
        return it;
    free(it);
    return NULL;
}

static struct node *item_node(struct item *it, const struct dz_scan_item *from) {
    struct node *n = &it->nodes[it->n++];

    *n = (struct node){ .path_at = it->text.len,
                        .path_len = from->path.len,
                        .name_at =
                            it->text.len + (size_t) (from->name - (const char *) from->path.data),
                        .dir = dz_dir_ref(from->dir),
                        .st = from->st,
                        .fs = from->fs,
                        .gone = from->gone };
    dz_buf_put(&it->text, from->path.data, from->path.len + 1);
    if (from->mount_point)
        n->flags |= DZ_ENTRY_MOUNT_POINT;
    if (from->list_errno) {
        n->flags |= from->gone ? 0u : (uint32_t) DZ_ENTRY_UNREADABLE;
        problem(n, DZ_PROBLEM_UNREADABLE, from->list_errno);
    }
    return n;
}

struct walk {
    struct backup *b;
    struct item *batch;
    struct dz_path_window window;
};

static bool flush_batch(struct walk *w) {
    struct item *it = DZ_TAKE(w->batch);
    return !it || ring_add(w->b, it);
}

/* A file of more than one span that must be read: an item a span.  Takes over `fd` and `x`. */
static dz_status add_spans(struct walk *w, const struct dz_scan_item *from, int fd,
                           struct dz_extents *x, dz_err *err) {
    struct big *big = calloc(1, sizeof *big);
    uint64_t at = 0;
    dz_status s = DZ_OK;

    if (!big) {
        (void) close(fd);
        dz_extents_release(x);
        return DZ_FAIL(err, DZ_E_NOMEM, "large file: out of memory");
    }
    big->fd = fd;
    big->extents = *x;
    atomic_init(&big->refs, 1);
    for (;;) {
        struct item *it = item_new(1);
        bool last;

        if (it)
            (void) item_node(it, from);
        if (!it || !dz_buf_ok(&it->text)) {
            item_free(it);
            s = DZ_FAIL(err, DZ_E_NOMEM, "large file: out of memory");
            break;
        }
        it->span = true;
        it->big = big;
        (void) atomic_fetch_add(&big->refs, 1);
        it->from = at;
        it->len = big->extents.content - at < DZ_SPAN ? big->extents.content - at : DZ_SPAN;
        at += it->len;
        last = it->last = at == big->extents.content;
        if (!ring_add(w->b, it) || last)
            break;
    }
    big_unref(big);
    return s;
}

static dz_status new_batch(struct walk *w, dz_err *err) {
    if (!w->batch)
        w->batch = item_new(BATCH_NODES);
    return w->batch ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "batch: out of memory");
}

/* Opens a large file and looks for its holes.  0, or the errno of what went wrong. */
static int open_large(struct dz_scan_item *from, int *ret_fd, struct dz_extents *ret_extents,
                      dz_err *err, dz_status *ret_status) {
    dz_autoclose int fd = open_to_read(from->dir, from->name);

    if (fd < 0 || fstat(fd, &from->st) < 0)
        return errno;
    if (!S_ISREG(from->st.st_mode)) /* replaced since it was listed */
        return ESTALE;
    *ret_status = dz_extents_find(fd, &from->st, ret_extents, err);
    if (*ret_status == DZ_E_IO) {
        *ret_status = DZ_OK;
        return errno ? errno : EIO;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static dz_status add_large(struct walk *w, struct dz_scan_item *from, dz_err *err) {
    struct dz_extents x = { 0 };
    dz_status s = DZ_OK;
    struct node *n;
    int fd = -1, failed;

    DZ_TRY(new_batch(w, err));
    n = item_node(w->batch, from);
    n->fields_at = w->batch->fields.len;
    n->ready = from_cache(w->b, n, from->path, &w->window, &w->batch->fields);
    n->fields_len = w->batch->fields.len - n->fields_at;
    if (n->ready)
        return DZ_OK;
    failed = open_large(from, &fd, &x, err, &s);
    if (failed) {
        problem(n, DZ_PROBLEM_UNREADABLE, failed);
        n->flags |= DZ_ENTRY_UNREADABLE;
        n->gone = failed == ENOENT || failed == ESTALE;
        n->ready = true;
        return DZ_OK;
    }
    dz_dir_unref(n->dir); /* the spans stand for it */
    w->batch->n--;
    w->batch->text.len = n->path_at;
    if (s != DZ_OK || !flush_batch(w)) {
        if (fd >= 0)
            (void) close(fd);
        dz_extents_release(&x);
        return s;
    }
    return add_spans(w, from, fd, &x, err);
}

/* Lets the readers catch up while too many directories are open. */
static void wait_for_dirs(struct walk *w) {
    struct backup *b = w->b;

    if (dz_scan_open_dirs(b->scan) <= b->dirs_max || !flush_batch(w))
        return;
    (void) pthread_mutex_lock(&b->lock);
    while (dz_scan_open_dirs(b->scan) > b->dirs_max && b->head != b->tail && b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    (void) pthread_mutex_unlock(&b->lock);
}

static dz_status walk(struct walk *w, dz_err *err) {
    for (;;) {
        struct dz_scan_item from;
        bool end, stop;

        wait_for_dirs(w);
        DZ_TRY(dz_scan_next(w->b->scan, &from, &end, err));
        if (end)
            break;
        if (!from.gone && S_ISREG(from.st.st_mode) && from.st.st_size > DZ_SPAN) {
            DZ_TRY(add_large(w, &from, err));
        } else {
            DZ_TRY(new_batch(w, err));
            (void) item_node(w->batch, &from);
            if (!from.gone && S_ISREG(from.st.st_mode))
                w->batch->weight += (uint64_t) from.st.st_size;
        }
        if (w->batch && !dz_buf_ok(&w->batch->text))
            return DZ_FAIL(err, DZ_E_NOMEM, "batch: out of memory");
        if (w->batch &&
            (w->batch->n == BATCH_NODES || w->batch->weight >= BATCH_BYTES ||
             w->batch->text.len >= BATCH_TEXT || w->batch->fields.len >= BATCH_BYTES) &&
            !flush_batch(w))
            break;
        (void) pthread_mutex_lock(&w->b->lock);
        stop = w->b->failed != DZ_OK;
        (void) pthread_mutex_unlock(&w->b->lock);
        if (stop)
            break;
    }
    (void) flush_batch(w);
    return DZ_OK;
}

static void *walker_main(void *arg) {
    struct backup *b = arg;
    struct walk w = { .b = b };
    dz_err err = { 0 };
    dz_status s = walk(&w, &err);

    if (s != DZ_OK)
        fail(b, s, &err);
    item_free(w.batch);
    dz_buf_release(&w.window.bytes);
    (void) pthread_mutex_lock(&b->lock);
    b->closed = true;
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* --- the assembler ---------------------------------------------------------------------------- */

struct assembler {
    struct backup *b;
    struct dz_lane *lane;
    struct dz_sink sink;
    struct dz_manifest_builder *manifest;
    struct dz_content_builder *content;
    struct dz_path_writer *cache;
    struct dz_hasher *hasher;
    struct dz_commit *commit;
    uint64_t problems_kept;
    struct dz_backup_progress progress;
    /* the large file whose spans are coming in */
    struct dz_features features;
    uint64_t span_read;
    int span_failed;
    bool span_short;
};

static void note_problem(struct assembler *a, dz_slice path, uint8_t what, int e) {
    if (what == DZ_PROBLEM_CHANGED)
        a->commit->changed++;
    else
        a->commit->errors++;
    /* long paths must not make the commit too large to be written */
    if (a->problems_kept >= DZ_COMMIT_PROBLEMS_MAX ||
        a->commit->problems.len + path.len > DZ_COMMIT_MAX / 32)
        return;
    a->problems_kept++;
    dz_buf_put_u8(&a->commit->problems, what);
    dz_buf_put_varint(&a->commit->problems, e > 0 ? (uint64_t) e : 0);
    dz_buf_put_field(&a->commit->problems, path);
}

static uint8_t type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return DZ_ENTRY_FILE;
    case S_IFDIR:
        return DZ_ENTRY_DIR;
    case S_IFLNK:
        return DZ_ENTRY_SYMLINK;
    case S_IFIFO:
        return DZ_ENTRY_FIFO;
    case S_IFSOCK:
        return DZ_ENTRY_SOCKET;
    case S_IFCHR:
        return DZ_ENTRY_CHAR;
    case S_IFBLK:
        return DZ_ENTRY_BLOCK;
    default:
        return 0;
    }
}

static dz_status add_entry(struct assembler *a, const struct node *n, dz_slice path,
                           dz_slice fields, dz_err *err) {
    struct dz_commit *c = a->commit;
    dz_entry e = {
        .path = path,
        .type = type_of(n->st.st_mode),
        .mode = (uint16_t) (n->st.st_mode & 07777),
        .uid = n->st.st_uid,
        .gid = n->st.st_gid,
        .mtime_s = n->st.st_mtim.tv_sec,
        .mtime_ns = (uint32_t) n->st.st_mtim.tv_nsec,
        .size = S_ISREG(n->st.st_mode) || S_ISLNK(n->st.st_mode) ? (uint64_t) n->st.st_size : 0,
        .flags = n->flags,
        .fields = fields,
    };
    dz_status s;

    if (n->problem)
        note_problem(a, path, n->what, n->problem);
    if (n->gone)
        return DZ_OK;
    /* only what is wrong with the entry itself is its own problem; the builder's failures are ours
     */
    s = dz_entry_check(&e, err);
    if (s == DZ_OK)
        s = dz_manifest_builder_add(a->manifest, &e, err);
    else if (s == DZ_E_LIMIT)
        s = DZ_E_USAGE;
    if (s == DZ_E_USAGE) {
        note_problem(a, path, DZ_PROBLEM_UNREADABLE, EOVERFLOW); /* beyond the format's limits */
        return DZ_OK;
    }
    DZ_TRY(s);
    a->progress.entries++;
    a->progress.read_bytes += n->read;
    if (e.type == DZ_ENTRY_FILE) {
        c->files++;
        c->bytes += e.size;
        a->progress.files = c->files;
        a->progress.bytes = c->bytes;
    } else if (e.type == DZ_ENTRY_DIR) {
        c->dirs++;
    } else {
        c->others++;
    }
    return n->remember ? dz_path_writer_add(a->cache, &n->key, fields, err) : DZ_OK;
}

static dz_status assemble_span(struct assembler *a, struct item *it, dz_err *err) {
    struct node *n = &it->nodes[0];
    dz_slice path = { it->text.data + n->path_at, n->path_len };
    const char *name = (const char *) it->text.data + n->name_at;
    uint8_t identity[DZ_SHA256_BYTES];
    struct dz_extents *x = &it->big->extents;

    if (it->from == 0) {
        dz_features_init(&a->features);
        a->span_read = 0;
        a->span_failed = 0;
        a->span_short = false;
    }
    if (!a->span_short) { /* behind a span that ended early nothing has its place */
        dz_span_identity(&it->result, a->hasher);
        DZ_TRY(dz_span_put(&it->result, a->content, err));
        dz_features_merge(&a->features, &it->result.features);
        a->span_read += it->result.read;
        a->span_failed = it->result.failed;
        a->span_short = it->result.read != it->len;
    }
    a->progress.read_bytes += it->result.read;
    if (!it->last)
        return DZ_OK;

    dz_hasher_final(a->hasher, identity);
    finish_read(a->b, n, it->big->fd, a->span_read, x->content, a->span_failed);
    n->read = 0; /* counted span by span */
    dz_path_key(a->b->context, path, n->fs, &n->st, &n->key);
    if (n->flags & DZ_ENTRY_UNREADABLE) {
        dz_content_builder_reset(a->content);
    } else {
        DZ_TRY(dz_content_builder_finish(a->content, &it->fields, err));
        if (a->span_short) {
            dz_extents_cut(x, a->span_read);
            n->st.st_size = (off_t) x->size;
        }
    }
    put_tail(a->b, n, name, it->big->fd, x, &a->features, identity, &it->fields);
    if (!dz_buf_ok(&it->fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "large file: out of memory");
    return add_entry(a, n, path, dz_buf_slice(&it->fields), err);
}

static dz_status assemble_batch(struct assembler *a, struct item *it, dz_err *err) {
    for (size_t i = 0; i < it->n; i++) {
        struct node *n = &it->nodes[i];
        DZ_TRY(add_entry(a, n, (dz_slice){ it->text.data + n->path_at, n->path_len },
                         (dz_slice){ it->fields.data + n->fields_at, n->fields_len }, err));
    }
    return DZ_OK;
}

static dz_status assemble(struct assembler *a, dz_err *err) {
    struct backup *b = a->b;
    struct item *it;
    dz_status s;

    while ((it = ring_take(b))) {
        s = it->span ? assemble_span(a, it, err) : assemble_batch(a, it, err);
        item_free(it);
        DZ_TRY(s);
        if (b->how->progress)
            b->how->progress(b->how->ctx, &a->progress);
    }
    (void) pthread_mutex_lock(&b->lock);
    s = b->failed;
    if (s != DZ_OK && err)
        *err = b->why;
    (void) pthread_mutex_unlock(&b->lock);
    return s;
}

/* --- all together ----------------------------------------------------------------------------- */

static unsigned worker_count(const struct dz_backup_how *how) {
    long n = how->threads ? (long) how->threads : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned) n;
}

static unsigned raise_file_limit(void) {
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return 256;
    if (lim.rlim_cur < lim.rlim_max) {
        rlim_t old = lim.rlim_cur;
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
            lim.rlim_cur = old;
    }
    return lim.rlim_cur > 65536 ? 16384 : (unsigned) (lim.rlim_cur / 4);
}

static dz_status fill_request(const struct backup *b, struct dz_commit *c, dz_err *err) {
    char host[256] = "";
    char *const *roots;
    size_t n = dz_scan_roots(b->scan, &roots);

    (void) gethostname(host, sizeof host - 1);
    c->host = strdup(host);
    for (size_t i = 0; i < n; i++)
        dz_buf_put_field(&c->paths, (dz_slice){ (const uint8_t *) roots[i], strlen(roots[i]) });
    for (size_t i = 0; i < b->how->n_excludes; i++)
        dz_buf_put_field(&c->excludes, (dz_slice){ (const uint8_t *) b->how->excludes[i],
                                                   strlen(b->how->excludes[i]) });
    memcpy(c->source, b->how->source, strlen(b->how->source) + 1);
    c->started_us = b->began_us;
    return c->host && dz_buf_ok(&c->paths) && dz_buf_ok(&c->excludes)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_NOMEM, "backup: out of memory");
}

static dz_status assembler_open(struct assembler *a, dz_err *err) {
    struct backup *b = a->b;
    uint8_t seed[DZ_KEY_BYTES];

    DZ_TRY(dz_session_lane(b->session, &a->lane, err));
    a->sink = dz_lane_sink(a->lane);
    dz_key_derive(b->v->host->chunk, "manifest cuts", (dz_slice){ 0 }, seed);
    DZ_TRY(dz_manifest_builder_new(&a->sink, b->v->host->name, dz_load_le(seed, 8), &a->manifest,
                                   err));
    DZ_TRY(dz_content_builder_new(&a->sink, b->v->host->name, &a->content, err));
    DZ_TRY(dz_hasher_new(&a->hasher, err));
    return dz_path_writer_new(b->v, dz_session_tmp(b->session), b->how->source, b->began_us,
                              &a->cache, err);
}

static void assembler_close(struct assembler *a) {
    dz_path_writer_free(a->cache);
    dz_hasher_free(a->hasher);
    dz_content_builder_free(a->content);
    dz_manifest_builder_free(a->manifest);
}

/* Starts walker and workers, assembles, and waits for all of them. */
static dz_status run_threads(struct backup *b, struct assembler *a, dz_err *err) {
    unsigned n = worker_count(b->how), started = 0;
    dz_autofree struct worker *workers = calloc(n, sizeof *workers);
    bool walking = false;
    pthread_t walker;
    dz_status s = DZ_OK;

    if (!workers)
        return DZ_FAIL(err, DZ_E_NOMEM, "backup: out of memory");
    for (unsigned i = 0; i < n && s == DZ_OK; i++)
        s = worker_open(&workers[i], b, err);
    if (s == DZ_OK) {
        errno = pthread_create(&walker, NULL, walker_main, b);
        walking = errno == 0;
        s = walking ? DZ_OK : DZ_FAIL_ERRNO(err, "backup: starting a thread");
    }
    while (s == DZ_OK && started < n) {
        errno = pthread_create(&workers[started].thread, NULL, worker_main, &workers[started]);
        if (errno)
            s = DZ_FAIL_ERRNO(err, "backup: starting a thread");
        else
            started++;
    }
    if (s == DZ_OK)
        s = assemble(a, err);
    if (s != DZ_OK) {
        dz_err why = { .status = s, .what = "backup: stopped" };
        fail(b, s, err ? err : &why);
    }
    for (unsigned i = 0; i < started; i++)
        (void) pthread_join(workers[i].thread, NULL);
    if (walking)
        (void) pthread_join(walker, NULL);
    for (; b->head < b->tail; b->head++)
        item_free(b->ring[b->head % RING]);
    for (unsigned i = 0; i < n; i++)
        worker_close(&workers[i]);
    return s;
}

static dz_status run(struct backup *b, struct dz_commit *c, dz_err *err) {
    struct assembler a = { .b = b, .commit = c };
    dz_status s;

    DZ_TRY(fill_request(b, c, err));
    s = assembler_open(&a, err);
    if (s == DZ_OK)
        s = run_threads(b, &a, err);
    if (s == DZ_OK)
        s = dz_manifest_builder_finish(a.manifest, &c->root, err);
    if (s == DZ_OK) {
        c->ref_root = c->root.ref;
        c->opened = true;
        s = dz_session_commit(b->session, c, err);
    }
    if (s == DZ_OK) /* the snapshot stands; without a new cache the next run reads more */
        DZ_IGNORE(dz_path_writer_finish(a.cache, NULL));
    assembler_close(&a);
    return s;
}

static dz_status open_all(struct backup *b, dz_err *err) {
    struct dz_scan_how scan = { .paths = b->how->paths,
                                .n_paths = b->how->n_paths,
                                .excludes = b->how->excludes,
                                .n_excludes = b->how->n_excludes,
                                .one_file_system = b->how->one_file_system,
                                .depth_max = 2 * (size_t) b->dirs_max };
    struct stat st;

    if (fstat(b->v->dirfd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "the vault's directory");
    scan.skip_dev = st.st_dev;
    scan.skip_ino = st.st_ino;
    DZ_TRY(dz_scan_new(&scan, &b->scan, err));
    DZ_TRY(dz_chunker_new(b->v->host->chunk, DZ_CHUNKER_DEFAULTS, &b->chunker, err));
    /* the session's list of packs first: the commit sees to it that all of them are still there,
     * and so are those that the cache rests on */
    DZ_TRY(dz_session_begin(b->v, &b->session, err));
    dz_path_context(b->v->host, b->how->source, b->context);
    dz_key_derive(b->v->host->name, "content digest", (dz_slice){ 0 }, b->digest_key);
    return dz_path_cache_open(b->v, b->how->source, &b->cache, err);
}

dz_status dz_backup_run(struct dz_vault *v, const struct dz_backup_how *how,
                        struct dz_commit *ret_commit, dz_err *err) {
    struct backup b = { .v = v, .how = how };
    struct dz_commit c = { 0 };
    dz_status s;

    DZ_TRY(dz_source_name_check(how->source, err));
    (void) pthread_mutex_init(&b.lock, NULL);
    (void) pthread_cond_init(&b.changed, NULL);
    b.dirs_max = raise_file_limit();
    b.began_us = dz_now_us();
    s = open_all(&b, err);
    if (s == DZ_OK)
        s = run(&b, &c, err);
    dz_session_free(b.session);
    dz_path_cache_free(b.cache);
    dz_chunker_free(b.chunker);
    dz_scan_free(b.scan);
    (void) pthread_cond_destroy(&b.changed);
    (void) pthread_mutex_destroy(&b.lock);
    explicit_bzero(b.context, sizeof b.context);
    explicit_bzero(b.digest_key, sizeof b.digest_key);
    if (s != DZ_OK) {
        dz_commit_release(&c);
        return s;
    }
    *ret_commit = c;
    return DZ_OK;
}
