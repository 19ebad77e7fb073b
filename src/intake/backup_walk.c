#include "intake/backup_parts.h"

enum {
    BATCH_NODES = 256,      /* entries of a batch */
    BATCH_BYTES = 4 << 20,  /* bytes of its files: about one segment */
    BATCH_TEXT = 256 << 10, /* bytes of its paths */
};

static struct dz_backup_node *item_node(struct dz_backup_item *it,
                                        const struct dz_scan_item *from) {
    struct dz_backup_node *n = &it->nodes[it->n++];
    size_t name_at = (size_t) (from->name - (const char *) from->path.data);

    *n = (struct dz_backup_node){ .path_at = it->text.len,
                                  .path_len = from->path.len,
                                  .name_at = it->text.len + name_at,
                                  .dir = dz_dir_ref(from->dir),
                                  .local = dz_local_of(from) };
    dz_buf_put(&it->text, from->path.data, from->path.len + 1);
    return n;
}

struct walk {
    struct dz_backup *b;
    struct dz_backup_item *batch;
    struct dz_path_window window;
};

static bool flush_batch(struct walk *w) {
    struct dz_backup_item *it = DZ_TAKE(w->batch);
    return !it || dz_backup_ring_add(w->b, it);
}

/* A file of more than one span that must be read: an item a span.  Takes over `fd` and `x`. */
static dz_status add_spans(struct walk *w, const struct dz_scan_item *from, int fd,
                           struct dz_extents *x, dz_err *err) {
    struct dz_backup_big *big = calloc(1, sizeof *big);
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
        struct dz_backup_item *it = dz_backup_item_new(1);
        bool last;

        if (it)
            (void) item_node(it, from);
        if (!it || !dz_buf_ok(&it->text)) {
            dz_backup_item_free(it);
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
        if (!dz_backup_ring_add(w->b, it) || last)
            break;
    }
    dz_backup_big_unref(big);
    return s;
}

static dz_status new_batch(struct walk *w, dz_err *err) {
    if (!w->batch)
        w->batch = dz_backup_item_new(BATCH_NODES);
    return w->batch ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "batch: out of memory");
}

static dz_status add_large(struct walk *w, struct dz_scan_item *from, dz_err *err) {
    struct dz_extents x = { 0 };
    struct dz_backup_node *n;
    dz_status s;
    int fd;

    DZ_TRY(new_batch(w, err));
    n = item_node(w->batch, from);
    n->fields_at = w->batch->fields.len;
    n->ready = dz_backup_from_cache(w->b, n, from->path, &w->window, &w->batch->fields);
    n->fields_len = w->batch->fields.len - n->fields_at;
    if (n->ready)
        return DZ_OK;
    fd = dz_local_open(&n->local, n->dir, from->name);
    if (fd < 0) {
        n->ready = true;
        return DZ_OK;
    }
    from->st = n->local.st;
    s = dz_extents_find(fd, &from->st, &x, err);
    if (s == DZ_E_IO) {
        dz_local_problem(&n->local, DZ_PROBLEM_UNREADABLE, errno);
        n->local.flags |= DZ_ENTRY_UNREADABLE;
        n->ready = true;
        (void) close(fd);
        return DZ_OK;
    }
    dz_dir_unref(n->dir); /* the spans stand for it */
    w->batch->n--;
    w->batch->text.len = n->path_at;
    if (s != DZ_OK || !flush_batch(w)) {
        (void) close(fd);
        dz_extents_release(&x);
        return s;
    }
    return add_spans(w, from, fd, &x, err);
}

/* Lets the readers catch up while too many directories are open. */
static void wait_for_dirs(struct walk *w) {
    if (dz_scan_open_dirs(w->b->scan) > w->b->dirs_max && flush_batch(w))
        dz_backup_ring_wait_dirs(w->b);
}

static dz_status walk(struct walk *w, dz_err *err) {
    for (;;) {
        struct dz_scan_item from;
        bool end;

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
        if (dz_backup_failed(w->b, NULL) != DZ_OK)
            break;
    }
    (void) flush_batch(w);
    return DZ_OK;
}

void *dz_backup_walk(void *backup) {
    struct dz_backup *b = backup;
    struct walk w = { .b = b };
    dz_err err = { 0 };
    dz_status s = walk(&w, &err);

    if (s != DZ_OK)
        dz_backup_fail(b, s, &err);
    dz_backup_item_free(w.batch);
    dz_buf_release(&w.window.bytes);
    dz_backup_ring_close(b);
    return NULL;
}
