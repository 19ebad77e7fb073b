#include "store/reftree.h"

#include "core/hex.h"
#include "store/node.h"

/* --- One node --------------------------------------------------------------------------------- */

static bool ascending(dz_slice list, size_t width) {
    for (size_t at = width; at < list.len; at += width)
        if (memcmp(list.data + at - width, list.data + at, width) >= 0)
            return false;
    return true;
}

static dz_status list_read(dz_reader *r, size_t width, uint64_t max, const char *what,
                           dz_slice *ret_list, dz_err *err) {
    uint64_t count = dz_read_varint(r);
    dz_slice list;

    if (count > max)
        return DZ_FAIL(err, DZ_E_LIMIT, "reference node with %ju %s; at most %ju",
                       (uintmax_t) count, what, (uintmax_t) max);
    list = dz_read_bytes(r, (size_t) count * width);
    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "reference node ends within its %s", what);
    if (!ascending(list, width))
        return DZ_FAIL(err, DZ_E_CORRUPT, "reference node with %s out of order", what);
    *ret_list = list;
    return DZ_OK;
}

dz_status dz_refnode_read(dz_slice bytes, dz_refnode *ret_node, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    dz_refnode node;

    DZ_TRY(dz_node_header_read(&r, DZ_NODE_REF, err));
    DZ_TRY(list_read(&r, DZ_NAME_BYTES, DZ_REFNODE_NAMES_MAX, "names", &node.names, err));
    DZ_TRY(
        list_read(&r, DZ_SHA256_BYTES, DZ_REFNODE_CHILDREN_MAX, "children", &node.children, err));
    if (!dz_reader_done(&r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "reference node with %zu bytes behind its end",
                       dz_reader_left(&r));
    *ret_node = node;
    return DZ_OK;
}

void dz_refnode_builder_done(struct dz_refnode_builder *b) {
    dz_buf_release(&b->names);
    dz_buf_release(&b->children);
    dz_buf_release(&b->bytes);
}

void dz_refnode_add_name(struct dz_refnode_builder *b, const dz_name *name) {
    dz_buf_put(&b->names, name->b, sizeof name->b);
}

void dz_refnode_add_child(struct dz_refnode_builder *b, const dz_id *ref) {
    dz_buf_put(&b->children, ref->b, sizeof ref->b);
}

static int name_order(const void *a, const void *b) {
    return memcmp(a, b, DZ_NAME_BYTES);
}
static int id_order(const void *a, const void *b) {
    return memcmp(a, b, DZ_SHA256_BYTES);
}

/* Sorted and without repetitions a node is a pure function of what it references. */
static size_t sort_unique(dz_buf *list, size_t width, int (*order)(const void *, const void *)) {
    size_t n = list->len / width, kept = 0;

    if (n == 0)
        return 0;
    qsort(list->data, n, width, order);
    for (size_t i = 1; i < n; i++)
        if (order(list->data + kept * width, list->data + i * width) != 0)
            memmove(list->data + ++kept * width, list->data + i * width, width);
    list->len = (kept + 1) * width;
    return kept + 1;
}

static dz_status put(struct dz_refnode_builder *b, const struct dz_sink *sink, dz_id *ret_ref,
                     dz_err *err) {
    size_t names, children;

    if (!dz_buf_ok(&b->names) || !dz_buf_ok(&b->children))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a reference node");
    names = sort_unique(&b->names, DZ_NAME_BYTES, name_order);
    children = sort_unique(&b->children, DZ_SHA256_BYTES, id_order);
    if (names > DZ_REFNODE_NAMES_MAX || children > DZ_REFNODE_CHILDREN_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "reference node with %zu names and %zu children", names,
                       children);
    dz_buf_clear(&b->bytes);
    dz_node_header_put(&b->bytes, DZ_NODE_REF);
    dz_buf_put_varint(&b->bytes, names);
    dz_buf_put_slice(&b->bytes, dz_buf_slice(&b->names));
    dz_buf_put_varint(&b->bytes, children);
    dz_buf_put_slice(&b->bytes, dz_buf_slice(&b->children));
    if (!dz_buf_ok(&b->bytes))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a reference node");
    return sink->put(sink->ctx, DZ_KIND_REF, dz_buf_slice(&b->bytes), ret_ref, err);
}

dz_status dz_refnode_put(struct dz_refnode_builder *b, const struct dz_sink *sink, dz_id *ret_ref,
                         dz_err *err) {
    dz_status status = put(b, sink, ret_ref, err);

    dz_buf_clear(&b->names);
    dz_buf_clear(&b->children);
    return status;
}

/* --- Walking ---------------------------------------------------------------------------------- */

struct walk {
    const struct dz_source *source;
    const struct dz_reftree_visitor *visitor;
    struct dz_id_set *seen;
    dz_buf bytes[DZ_REFTREE_DEPTH_MAX]; /* of the node that each level stands in */
};

static dz_status fetch(struct walk *w, const dz_id *ref, dz_buf *to, dz_refnode *ret_node,
                       dz_err *err) {
    dz_id is;

    DZ_TRY(w->source->get(w->source->ctx, DZ_KIND_REF, ref, to, err));
    /* What prune keeps and deletes rests on this; it does not rely on the source's own check. */
    dz_sha256(dz_buf_slice(to), is.b);
    if (memcmp(is.b, ref->b, sizeof is.b) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "its bytes are not its own");
    return dz_refnode_read(dz_buf_slice(to), ret_node, err);
}

static dz_status walk_node(struct walk *w, const dz_id *ref, unsigned depth, dz_err *err) {
    const struct dz_reftree_visitor *v = w->visitor;
    dz_refnode node;
    dz_status status;
    bool added;

    DZ_TRY(dz_id_set_add(w->seen, ref, &added, err));
    if (!added)
        return DZ_OK;
    if (depth == DZ_REFTREE_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "reference tree deeper than %d nodes",
                       DZ_REFTREE_DEPTH_MAX);
    status = fetch(w, ref, &w->bytes[depth], &node, err);
    if (status != DZ_OK) {
        char hex[2 * DZ_SHA256_BYTES + 1];
        dz_hex(ref->b, sizeof ref->b, hex);
        return dz_err_context(err, status, "reference node %s", hex);
    }
    if (v->node)
        DZ_TRY(v->node(v->ctx, ref, err));
    for (dz_reader r = dz_reader_over(node.names); v->name && dz_reader_left(&r) > 0;) {
        dz_name name;
        memcpy(name.b, dz_read_bytes(&r, sizeof name.b).data, sizeof name.b);
        DZ_TRY(v->name(v->ctx, &name, err));
    }
    for (dz_reader r = dz_reader_over(node.children); dz_reader_left(&r) > 0;) {
        dz_id child;
        memcpy(child.b, dz_read_bytes(&r, sizeof child.b).data, sizeof child.b);
        DZ_TRY(walk_node(w, &child, depth + 1, err));
    }
    return DZ_OK;
}

dz_status dz_reftree_walk(const struct dz_source *source, const dz_id *root, struct dz_id_set *seen,
                          const struct dz_reftree_visitor *visitor, dz_err *err) {
    struct walk w = { .source = source, .visitor = visitor, .seen = seen };
    dz_status status = walk_node(&w, root, 0, err);

    for (size_t i = 0; i < DZ_REFTREE_DEPTH_MAX; i++)
        dz_buf_release(&w.bytes[i]);
    return status;
}
