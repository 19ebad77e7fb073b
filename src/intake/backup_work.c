#include "intake/backup_parts.h"

bool dz_backup_from_cache(struct dz_backup *b, struct dz_backup_node *n, dz_slice path,
                          struct dz_path_window *window, dz_buf *fields) {
    dz_path_key(b->local.secret, path, n->local.fs, &n->local.st, &n->key);
    if (b->how->reread || dz_path_due(&n->key, dz_path_cache_time(b->cache), b->local.began_us) ||
        !dz_path_cache_get(b->cache, &n->key, window, fields))
        return false;
    n->local.remember = dz_local_settled(&b->local, &n->local.st);
    return true;
}

void dz_backup_put_tail(const struct dz_backup *b, struct dz_backup_node *n, const char *name,
                        int fd, const struct dz_extents *x, const struct dz_features *features,
                        const uint8_t identity[DZ_SHA256_BYTES], dz_buf *fields) {
    dz_local_put_file(&b->local, &n->local, name, fd, x, fields);
    dz_features_put(features, name, b->digest_key, identity, fields);
}

static dz_status read_opened(struct dz_backup_worker *w, struct dz_backup_node *n, const char *name,
                             int fd, dz_buf *fields, dz_err *err) {
    struct dz_backup *b = w->b;
    struct dz_extents x = { 0 };
    uint8_t identity[DZ_SHA256_BYTES];
    struct dz_hasher *h = NULL;
    dz_status s = dz_extents_find(fd, &n->local.st, &x, err);

    if (s == DZ_E_IO) {
        dz_local_problem(&n->local, DZ_PROBLEM_UNREADABLE, errno);
        n->local.flags |= DZ_ENTRY_UNREADABLE;
        return DZ_OK;
    }
    DZ_TRY(s);
    s = dz_file_reader_span(w->reader, fd, &x, 0, x.content, &w->span, err);
    if (s == DZ_OK)
        s = dz_hasher_new(&h, err);
    if (s == DZ_OK) {
        dz_span_identity(&w->span, h);
        dz_hasher_final(h, identity);
        n->read += w->span.read;
        dz_local_finish(&b->local, &n->local, fd, w->span.read, x.content, w->span.failed);
        if (!(n->local.flags & DZ_ENTRY_UNREADABLE)) {
            s = dz_span_put(&w->span, w->content, err);
            if (s == DZ_OK)
                s = dz_content_builder_finish(w->content, fields, err);
            if (w->span.read != x.content) { /* shorter than it was: what is there is the file */
                dz_extents_cut(&x, w->span.read);
                n->local.st.st_size = (off_t) x.size;
            }
        }
        dz_backup_put_tail(b, n, name, fd, &x, &w->span.features, identity, fields);
    }
    dz_hasher_free(h);
    dz_extents_release(&x);
    return s;
}

/* A regular file that the cache does not know.  What goes wrong with it is its own problem. */
static dz_status read_file(struct dz_backup_worker *w, struct dz_backup_node *n, const char *name,
                           dz_buf *fields, dz_err *err) {
    dz_autoclose int fd = dz_local_open(&n->local, n->dir, name);

    return fd < 0 ? DZ_OK : read_opened(w, n, name, fd, fields, err);
}

static dz_status work_batch(struct dz_backup_worker *w, struct dz_backup_item *it, dz_err *err) {
    for (size_t i = 0; i < it->n; i++) {
        struct dz_backup_node *n = &it->nodes[i];
        const char *name = (const char *) it->text.data + n->name_at;
        dz_slice path = { it->text.data + n->path_at, n->path_len };

        if (n->local.gone || n->ready)
            continue;
        n->fields_at = it->fields.len;
        if (!S_ISREG(n->local.st.st_mode)) {
            dz_local_put_other(&w->b->local, &n->local, n->dir, name, &it->fields);
        } else if (!dz_backup_from_cache(w->b, n, path, &w->window, &it->fields)) {
            struct stat before = n->local.st;
            DZ_TRY(read_file(w, n, name, &it->fields, err));
            if (!dz_local_same(&before, &n->local.st)) /* the key must be that of what was read */
                dz_path_key(w->b->local.secret, path, n->local.fs, &n->local.st, &n->key);
        }
        n->fields_len = it->fields.len - n->fields_at;
        dz_dir_unref(n->dir);
        n->dir = NULL;
        if (!dz_buf_ok(&it->fields))
            return DZ_FAIL(err, DZ_E_NOMEM, "entries: out of memory");
    }
    return DZ_OK;
}

dz_status dz_backup_worker_open(struct dz_backup_worker *w, struct dz_backup *b, dz_err *err) {
    w->b = b;
    DZ_TRY(dz_session_lane(b->session, &w->lane, err));
    w->sink = dz_lane_sink(w->lane);
    DZ_TRY(dz_file_reader_new(b->chunker, w->lane, &w->reader, err));
    return dz_content_builder_new(&w->sink, b->v->host->name, &w->content, err);
}

void dz_backup_worker_close(struct dz_backup_worker *w) {
    dz_content_builder_free(w->content);
    dz_file_reader_free(w->reader);
    dz_buf_release(&w->window.bytes);
    dz_buf_release(&w->span.chunks);
}

void *dz_backup_work(void *worker) {
    struct dz_backup_worker *w = worker;
    struct dz_backup_item *it;

    while ((it = dz_backup_ring_work(w->b))) {
        dz_err err = { 0 };
        dz_status s = it->span ? dz_file_reader_span(w->reader, it->big->fd, &it->big->extents,
                                                     it->from, it->len, &it->result, &err)
                               : work_batch(w, it, &err);
        if (s != DZ_OK) {
            dz_backup_fail(w->b, s, &err);
            break;
        }
        dz_backup_ring_done(w->b, it);
    }
    return NULL;
}
