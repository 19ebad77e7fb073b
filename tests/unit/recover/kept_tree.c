#include "tests/unit/recover/kept_tree.h"

#include <pthread.h>
#include <stdio.h>

#include "store/content.h"
#include "store/manifest.h"
#include "tests/unit/store/memory_objects.h"

enum { CHUNK = 16 << 10 };

struct kept_tree {
    struct dz_memory_objects *objects;
    struct dz_source source;
    struct kept_row **rows;
    size_t n_rows, cap;
    dz_manifest_root root;
    pthread_mutex_t lock; /* objects in memory belong to one thread at a time */
};

static const uint8_t name_key[32] = { 7 };

#define MUST(cond)   \
    do {             \
        if (!(cond)) \
            abort(); \
    } while (0)

struct kept_tree *kept_new(void) {
    struct kept_tree *k = calloc(1, sizeof *k);

    MUST(k);
    k->objects = dz_memory_objects_new();
    k->source = dz_memory_source(k->objects);
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void kept_free(struct kept_tree *k) {
    if (!k)
        return;
    for (size_t i = 0; i < k->n_rows; i++) {
        for (size_t tag = 0; tag < 16; tag++)
            dz_buf_release(&k->rows[i]->fields[tag]);
        free(k->rows[i]->path);
        free(k->rows[i]);
    }
    free(k->rows);
    dz_memory_objects_free(k->objects);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

struct kept_row *kept_add_n(struct kept_tree *k, const char *path, size_t len,
                            enum dz_entry_type type, unsigned mode) {
    struct kept_row *row = calloc(1, sizeof *row);

    if (k->n_rows == k->cap) {
        k->cap = 2 * k->cap + 16;
        k->rows = realloc(k->rows, k->cap * sizeof *k->rows);
    }
    MUST(row && k->rows);
    row->path = malloc(len + 1);
    MUST(row->path);
    memcpy(row->path, path, len);
    row->path_len = len;
    row->e = (dz_entry){ .type = (uint8_t) type,
                         .mode = (uint16_t) mode,
                         .uid = geteuid(),
                         .gid = getegid(),
                         .mtime_s = 1000000000,
                         .mtime_ns = 123456789 };
    k->rows[k->n_rows++] = row;
    return row;
}

struct kept_row *kept_add(struct kept_tree *k, const char *path, enum dz_entry_type type,
                          unsigned mode) {
    return kept_add_n(k, path, strlen(path), type, mode);
}

void kept_content(struct kept_tree *k, struct kept_row *row, const void *bytes, size_t len) {
    struct dz_sink sink = dz_memory_sink(k->objects);
    DZ_AUTO(dz_content_builder) b = NULL;
    dz_autobuf dz_buf field = { 0 };
    dz_reader r;

    MUST(dz_content_builder_new(&sink, name_key, &b, NULL) == DZ_OK);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < CHUNK ? len - at : CHUNK;
        dz_id id;

        MUST(sink.put(sink.ctx, DZ_KIND_DATA, (dz_slice){ (const uint8_t *) bytes + at, n }, &id,
                      NULL) == DZ_OK);
        MUST(dz_content_builder_add(b, &id, (uint32_t) n, NULL) == DZ_OK);
        at += n;
    }
    MUST(dz_content_builder_finish(b, &field, NULL) == DZ_OK);
    r = dz_reader_over(dz_buf_slice(&field)); /* tag, length, value: only the value is ours */
    (void) dz_read_varint(&r);
    dz_buf_clear(&row->fields[DZ_TAG_CONTENT]);
    if (field.len > 0)
        dz_buf_put_slice(&row->fields[DZ_TAG_CONTENT], dz_read_field(&r));
    if (!row->fields[DZ_TAG_EXTENTS].data)
        row->e.size = len;
}

void kept_text(struct kept_tree *k, struct kept_row *row, const char *text) {
    kept_content(k, row, text, strlen(text));
}

void kept_target(struct kept_row *row, const char *target) {
    dz_buf_put(&row->fields[DZ_TAG_TARGET], target, strlen(target));
    row->e.size = strlen(target);
}

void kept_xattr(struct kept_row *row, const char *name, const void *value, size_t len) {
    dz_buf *to = &row->fields[DZ_TAG_XATTRS];

    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) name, strlen(name) });
    dz_buf_put_field(to, (dz_slice){ value, len });
}

void kept_link(struct kept_row *row, uint8_t identity) {
    uint8_t id[16] = { identity };

    dz_buf_put(&row->fields[DZ_TAG_LINK], id, sizeof id);
}

void kept_rdev(struct kept_row *row, unsigned major, unsigned minor) {
    dz_buf_put_varint(&row->fields[DZ_TAG_RDEV], major);
    dz_buf_put_varint(&row->fields[DZ_TAG_RDEV], minor);
}

void kept_extents(struct kept_row *row, uint64_t size, const uint64_t *pairs, size_t n_pairs) {
    dz_buf *to = &row->fields[DZ_TAG_EXTENTS];

    for (size_t i = 0; i < 2 * n_pairs; i++)
        dz_buf_put_varint(to, pairs[i]);
    row->e.size = size;
}

static int compare(const void *a, const void *b) {
    const struct kept_row *x = *(struct kept_row *const *) a;
    const struct kept_row *y = *(struct kept_row *const *) b;

    return dz_path_cmp((dz_slice){ (const uint8_t *) x->path, x->path_len },
                       (dz_slice){ (const uint8_t *) y->path, y->path_len });
}

static dz_status locked_get(void *ctx, enum dz_kind kind, const dz_id *id, dz_buf *ret_bytes,
                            dz_err *err) {
    struct kept_tree *k = ctx;
    dz_status status;

    pthread_mutex_lock(&k->lock);
    status = k->source.get(k->source.ctx, kind, id, ret_bytes, err);
    pthread_mutex_unlock(&k->lock);
    return status;
}

static dz_status hold(void *ctx, const dz_id *id, struct dz_held *ret_held, dz_err *err) {
    dz_buf bytes = { 0 };
    dz_status status = locked_get(ctx, DZ_KIND_DATA, id, &bytes, err);

    if (status != DZ_OK) {
        dz_buf_release(&bytes);
        return status;
    }
    ret_held->bytes = dz_buf_slice(&bytes);
    return DZ_OK;
}

static void drop(void *ctx, struct dz_held *held) {
    uint8_t *bytes;

    (void) ctx;
    memcpy(&bytes, &held->bytes.data, sizeof bytes); /* from hold(): ours */
    free(bytes);
    *held = (struct dz_held){ 0 };
}

struct dz_supply kept_supply(struct kept_tree *k) {
    struct dz_sink sink = dz_memory_sink(k->objects);
    DZ_AUTO(dz_manifest_builder) b = NULL;

    if (k->n_rows > 0)
        qsort(k->rows, k->n_rows, sizeof *k->rows, compare);
    MUST(dz_manifest_builder_new(&sink, name_key, 1, &b, NULL) == DZ_OK);
    for (size_t i = 0; i < k->n_rows; i++) {
        struct kept_row *row = k->rows[i];
        dz_autobuf dz_buf fields = { 0 };
        dz_err err = { 0 };

        for (unsigned tag = 0; tag < 16; tag++)
            if (row->fields[tag].data)
                dz_entry_put_field(&fields, (enum dz_entry_tag) tag,
                                   dz_buf_slice(&row->fields[tag]));
        row->e.path = (dz_slice){ (const uint8_t *) row->path, row->path_len };
        row->e.fields = dz_buf_slice(&fields);
        if (dz_manifest_builder_add(b, &row->e, &err) != DZ_OK) {
            (void) fprintf(stderr, "row %zu: %s\n", i, err.what);
            abort();
        }
    }
    MUST(dz_manifest_builder_finish(b, &k->root, NULL) == DZ_OK);
    return (struct dz_supply){
        .nodes = { .get = locked_get, .ctx = k }, .hold = hold, .drop = drop, .ctx = k
    };
}

const dz_manifest_root *kept_root(const struct kept_tree *k) {
    return &k->root;
}

void kept_damage(struct kept_tree *k, const void *bytes, size_t len) {
    dz_id id;

    dz_sha256((dz_slice){ bytes, len }, id.b);
    dz_memory_objects_lose(k->objects, DZ_KIND_DATA, &id);
}

void kept_lose_nodes(struct kept_tree *k) {
    for (size_t i = 0; i < dz_memory_objects_count(k->objects); i++) {
        enum dz_kind kind;
        dz_id id;
        dz_slice bytes;

        dz_memory_objects_at(k->objects, i, &kind, &id, &bytes);
        if (kind == DZ_KIND_NODE && memcmp(id.b, k->root.node.b, sizeof id.b) != 0)
            dz_memory_objects_lose(k->objects, kind, &id);
    }
}
