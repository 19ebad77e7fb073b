#include "store/manifest_check.h"

#include <sodium.h>

#include "core/hex.h"
#include "store/content.h"
#include "store/id_set.h"
#include "store/node.h"
#include "store/reftree.h"

struct dz_manifest_check {
    const struct dz_source *source;
    uint8_t name_key[32];
    struct dz_id_map *refs; /* of what was read: node or list -> its reference node */
};

dz_status dz_manifest_check_new(const struct dz_source *source, const uint8_t name_key[32],
                                struct dz_manifest_check **ret_check, dz_err *err) {
    DZ_AUTO(dz_manifest_check) c = calloc(1, sizeof *c);

    if (!c)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a check");
    DZ_TRY(dz_id_map_new(&c->refs, err));
    c->source = source;
    memcpy(c->name_key, name_key, sizeof c->name_key);
    *ret_check = DZ_TAKE(c);
    return DZ_OK;
}

void dz_manifest_check_free(struct dz_manifest_check *c) {
    if (!c)
        return;
    dz_id_map_free(c->refs);
    sodium_memzero(c->name_key, sizeof c->name_key);
    free(c);
}

/* The sink of computed reference nodes: their identity is all that is wanted. */
static dz_status hash_only(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id,
                           dz_err *err) {
    (void) ctx, (void) kind, (void) err;
    dz_sha256(bytes, ret_id->b);
    return DZ_OK;
}

static dz_status finish(struct dz_manifest_check *c, const dz_id *id,
                        struct dz_refnode_builder *refs, dz_id *ret_ref, dz_err *err) {
    const struct dz_sink sink = { .put = hash_only };
    dz_name name = dz_name_of(c->name_key, DZ_KIND_NODE, id);

    dz_refnode_add_name(refs, &name);
    DZ_TRY(dz_refnode_put(refs, &sink, ret_ref, err));
    return dz_id_map_put(c->refs, id, ret_ref, err);
}

static dz_status named(dz_err *err, dz_status status, const char *what, const dz_id *id) {
    char hex[2 * DZ_SHA256_BYTES + 1];

    dz_hex(id->b, sizeof id->b, hex);
    return status == DZ_OK ? DZ_OK : dz_err_context(err, status, "%s %s", what, hex);
}

/* --- Content lists ------------------------------------------------------------------------------
 */

static dz_status list_ref(struct dz_manifest_check *c, const dz_content_item *item, unsigned depth,
                          dz_err *err);

/* Every list that the items stand for has the reference node that they say. */
static dz_status items_check(struct dz_manifest_check *c, dz_content_list list, dz_err *err) {
    dz_content_item item;

    while (list.depth > 0 && dz_content_list_next(&list, &item))
        DZ_TRY(list_ref(c, &item, list.depth - 1u, err));
    return DZ_OK;
}

static dz_status list_read(struct dz_manifest_check *c, const dz_content_item *item, unsigned depth,
                           dz_buf *bytes, dz_content_list *ret_list, dz_err *err) {
    DZ_TRY(c->source->get(c->source->ctx, DZ_KIND_NODE, &item->id, bytes, err));
    DZ_TRY(dz_content_list_read(dz_buf_slice(bytes), ret_list, err));
    if (ret_list->depth != depth || ret_list->bytes != item->bytes)
        return DZ_FAIL(err, DZ_E_CORRUPT, "another depth or length than promised");
    return DZ_OK;
}

static dz_status list_ref(struct dz_manifest_check *c, const dz_content_item *item, unsigned depth,
                          dz_err *err) {
    DZ_CLEANUP(dz_refnode_builder_done) struct dz_refnode_builder refs = { 0 };
    dz_autobuf dz_buf bytes = { 0 };
    dz_content_list list;
    dz_id ref;

    if (!dz_id_map_get(c->refs, &item->id, &ref)) {
        DZ_TRY(
            named(err, list_read(c, item, depth, &bytes, &list, err), "content list", &item->id));
        DZ_TRY(items_check(c, list, err));
        dz_content_list_refs(&list, c->name_key, &refs);
        DZ_TRY(finish(c, &item->id, &refs, &ref, err));
    }
    if (memcmp(ref.b, item->ref.b, sizeof ref.b) != 0)
        return named(err, DZ_FAIL(err, DZ_E_CORRUPT, "its reference node does not agree with it"),
                     "content list", &item->id);
    return DZ_OK;
}

/* --- Manifest nodes -----------------------------------------------------------------------------
 */

/* What a node's parent, or the root, says of it. */
struct promise {
    const dz_slice *path; /* of its first entry; NULL: nothing is said */
    dz_node_sum sum;
};

static dz_status node_read(struct dz_manifest_check *c, const dz_id *id, uint8_t height,
                           const struct promise *promise, struct dz_node *n, dz_err *err) {
    dz_node_sum sum;

    DZ_TRY(c->source->get(c->source->ctx, DZ_KIND_NODE, id, &n->bytes, err));
    DZ_TRY(dz_node_check(n, height, &sum, err));
    if (sum.entries != promise->sum.entries || sum.bytes != promise->sum.bytes)
        return DZ_FAIL(err, DZ_E_CORRUPT, "other sums than promised");
    return DZ_OK;
}

/* Whether the content is as long as the entry and its holes say; of a file that changed while it
 * was read, or could not be read to its end, nobody knows. */
static bool content_fits(const dz_entry *e, uint64_t content) {
    uint64_t bytes;

    if (e->type != DZ_ENTRY_FILE)
        return content == 0;
    if (e->flags & (DZ_ENTRY_CHANGED | DZ_ENTRY_UNREADABLE))
        return true;
    return dz_entry_content_bytes(e, &bytes) && bytes == content;
}

static bool xattrs_fit(const dz_entry *e) {
    dz_reader r = dz_reader_over(dz_entry_field(e, DZ_TAG_XATTRS));

    while (dz_reader_ok(&r) && dz_reader_left(&r) > 0) {
        (void) dz_read_field(&r);
        (void) dz_read_field(&r);
    }
    return dz_reader_ok(&r);
}

static dz_status entry_check(struct dz_manifest_check *c, const dz_entry *e,
                             struct dz_refnode_builder *refs, dz_err *err) {
    dz_slice content = dz_entry_field(e, DZ_TAG_CONTENT);
    dz_content_list list = { 0 };

    if (content.data) {
        DZ_TRY(dz_content_field_read(content, &list, err));
        DZ_TRY(items_check(c, list, err));
        dz_content_list_refs(&list, c->name_key, refs);
    }
    if (!content_fits(e, list.bytes))
        return DZ_FAIL(err, DZ_E_CORRUPT, "an entry whose content has another length");
    return xattrs_fit(e) ? DZ_OK : DZ_FAIL(err, DZ_E_CORRUPT, "an entry with odd attributes");
}

static dz_status node_ref(struct dz_manifest_check *c, const dz_id *id, uint8_t height,
                          const struct promise *promise, dz_id *ret_ref, dz_err *err);

/* The next item or entry; *ret_path is its path. */
static dz_status item_check(struct dz_manifest_check *c, struct dz_node *n, const dz_id *id,
                            struct dz_refnode_builder *refs, dz_slice *ret_path, dz_err *err) {
    dz_inner_item item;
    dz_entry e;
    dz_id child;

    if (n->height == 0) {
        DZ_TRY(named(err, dz_leaf_next(n, &e, err), "manifest node", id));
        *ret_path = e.path;
        return named(err, entry_check(c, &e, refs, err), "manifest node", id);
    }
    DZ_TRY(named(err, dz_inner_next(n, &item, err), "manifest node", id));
    *ret_path = item.path;
    DZ_TRY(node_ref(c, &item.node, (uint8_t) (n->height - 1),
                    &(struct promise){ &item.path, { item.entries, item.bytes } }, &child, err));
    dz_refnode_add_child(refs, &child);
    return DZ_OK;
}

static dz_status node_ref(struct dz_manifest_check *c, const dz_id *id, uint8_t height,
                          const struct promise *promise, dz_id *ret_ref, dz_err *err) {
    DZ_CLEANUP(dz_refnode_builder_done) struct dz_refnode_builder refs = { 0 };
    DZ_CLEANUP(dz_node_done) struct dz_node n = { 0 };
    dz_slice path;

    if (dz_id_map_get(c->refs, id, ret_ref))
        return DZ_OK;
    DZ_TRY(named(err, node_read(c, id, height, promise, &n, err), "manifest node", id));
    for (bool first = true; dz_node_more(&n); first = false) {
        DZ_TRY(item_check(c, &n, id, &refs, &path, err));
        if (first && promise->path && !dz_slice_eq(path, *promise->path))
            return named(err, DZ_FAIL(err, DZ_E_CORRUPT, "another first path than promised"),
                         "manifest node", id);
    }
    return finish(c, id, &refs, ret_ref, err);
}

dz_status dz_manifest_check_root(struct dz_manifest_check *c, const dz_manifest_root *root,
                                 dz_err *err) {
    dz_id ref;

    if (root->depth > DZ_MANIFEST_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "manifest of depth %u; at most %d", root->depth,
                       DZ_MANIFEST_DEPTH_MAX);
    DZ_TRY(node_ref(c, &root->node, root->depth,
                    &(struct promise){ NULL, { root->entries, root->bytes } }, &ref, err));
    if (memcmp(ref.b, root->ref.b, sizeof ref.b) != 0)
        return named(err, DZ_FAIL(err, DZ_E_CORRUPT, "its reference tree does not agree with it"),
                     "manifest", &root->node);
    return DZ_OK;
}
