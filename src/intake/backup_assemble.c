#include "intake/backup_parts.h"

static dz_status add_entry(struct dz_backup_assembler *a, const struct dz_backup_node *n,
                           dz_slice path, dz_slice fields, dz_err *err) {
    dz_entry e = dz_local_entry(&n->local, path, fields);
    bool added = false;

    if (n->local.problem)
        dz_gather_problem(&a->gather, path, n->local.what, n->local.problem);
    if (n->local.gone)
        return DZ_OK;
    DZ_TRY(dz_gather_add(&a->gather, &e, &added, err));
    if (!added) { /* beyond the format's limits */
        dz_gather_problem(&a->gather, path, DZ_PROBLEM_UNREADABLE, EOVERFLOW);
        return DZ_OK;
    }
    a->progress.entries++;
    a->progress.read_bytes += n->read;
    a->progress.files = a->gather.commit->files;
    a->progress.bytes = a->gather.commit->bytes;
    return n->local.remember ? dz_path_writer_add(a->cache, &n->key, fields, err) : DZ_OK;
}

static dz_status assemble_span(struct dz_backup_assembler *a, struct dz_backup_item *it,
                               dz_err *err) {
    struct dz_backup_node *n = &it->nodes[0];
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
    dz_local_finish(&a->b->local, &n->local, it->big->fd, a->span_read, x->content, a->span_failed);
    n->read = 0; /* counted span by span */
    dz_path_key(a->b->local.secret, path, n->local.fs, &n->local.st, &n->key);
    if (n->local.flags & DZ_ENTRY_UNREADABLE) {
        dz_content_builder_reset(a->content);
    } else {
        DZ_TRY(dz_content_builder_finish(a->content, &it->fields, err));
        if (a->span_short) {
            dz_extents_cut(x, a->span_read);
            n->local.st.st_size = (off_t) x->size;
        }
    }
    dz_backup_put_tail(a->b, n, name, it->big->fd, x, &a->features, identity, &it->fields);
    if (!dz_buf_ok(&it->fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "large file: out of memory");
    return add_entry(a, n, path, dz_buf_slice(&it->fields), err);
}

static dz_status assemble_batch(struct dz_backup_assembler *a, struct dz_backup_item *it,
                                dz_err *err) {
    for (size_t i = 0; i < it->n; i++) {
        struct dz_backup_node *n = &it->nodes[i];
        DZ_TRY(add_entry(a, n, (dz_slice){ it->text.data + n->path_at, n->path_len },
                         (dz_slice){ it->fields.data + n->fields_at, n->fields_len }, err));
    }
    return DZ_OK;
}

dz_status dz_backup_assemble(struct dz_backup_assembler *a, dz_err *err) {
    struct dz_backup *b = a->b;
    struct dz_backup_item *it;
    dz_status s;

    while ((it = dz_backup_ring_take(b))) {
        s = it->span ? assemble_span(a, it, err) : assemble_batch(a, it, err);
        dz_backup_item_free(it);
        DZ_TRY(s);
        if (b->how->progress)
            b->how->progress(b->how->ctx, &a->progress);
    }
    return dz_backup_failed(b, err);
}

dz_status dz_backup_assembler_open(struct dz_backup_assembler *a, struct dz_backup *b,
                                   struct dz_commit *commit, dz_err *err) {
    a->b = b;
    DZ_TRY(dz_session_lane(b->session, &a->lane, err));
    DZ_TRY(dz_gather_open(&a->gather, b->v, a->lane, commit, err));
    DZ_TRY(dz_content_builder_new(&a->gather.sink, b->v->host->name, &a->content, err));
    DZ_TRY(dz_hasher_new(&a->hasher, err));
    return dz_path_writer_new(b->v, dz_session_tmp(b->session), b->how->source, b->local.began_us,
                              &a->cache, err);
}

void dz_backup_assembler_close(struct dz_backup_assembler *a) {
    dz_path_writer_free(a->cache);
    dz_hasher_free(a->hasher);
    dz_content_builder_free(a->content);
    dz_gather_close(&a->gather);
}
