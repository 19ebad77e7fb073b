#include "store/manifest.h"

#include <sodium.h>
#include <xxhash.h>

#include "store/content.h"
#include "store/node.h"
#include "store/reftree.h"

/* Where nodes are cut; docs/design/manifest.md says why so. */
enum {
    CUT_MASK = 31,            /* low bits of a name's hash, of a child's id: once in 32 */
    LEAF_BYTES = 64 * 1024,   /* a leaf of several entries is not larger */
    INNER_BYTES = 256 * 1024, /* an inner node of more than two items is not larger */
};

/* --- Root ------------------------------------------------------------------------------------- */

void dz_manifest_root_write(const dz_manifest_root *root, dz_buf *to) {
    dz_buf_put(to, root->node.b, sizeof root->node.b);
    dz_buf_put(to, root->ref.b, sizeof root->ref.b);
    dz_buf_put_u8(to, root->depth);
    dz_buf_put_varint(to, root->entries);
    dz_buf_put_varint(to, root->bytes);
}

dz_status dz_manifest_root_read(dz_reader *r, dz_manifest_root *ret_root, dz_err *err) {
    dz_slice ids = dz_read_bytes(r, 2 * sizeof ret_root->node.b);
    dz_manifest_root root = { .depth = dz_read_u8(r) };

    root.entries = dz_read_varint(r);
    root.bytes = dz_read_varint(r);
    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "root of a manifest ends too early");
    if (root.depth > DZ_MANIFEST_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "manifest of depth %u; at most %d", root.depth,
                       DZ_MANIFEST_DEPTH_MAX);
    memcpy(root.node.b, ids.data, sizeof root.node.b);
    memcpy(root.ref.b, ids.data + sizeof root.node.b, sizeof root.ref.b);
    *ret_root = root;
    return DZ_OK;
}

/* --- Building --------------------------------------------------------------------------------- */

/* The node that is being filled at each height; 0 is the leaf. */
struct level {
    dz_buf bytes; /* the node so far; empty: not begun */
    dz_buf first; /* path of its first entry */
    dz_buf last;  /* path put last */
    uint32_t items;
    dz_node_sum sum;
    bool cut; /* a node of this height was put already */
    struct dz_refnode_builder refs;
    dz_id only_ref; /* of the child put last: the root's, when it stays the only one */
    dz_id only_node;
};

struct dz_manifest_builder {
    const struct dz_sink *sink;
    uint64_t seed;
    uint8_t name_key[32];
    bool started; /* an entry was added */
    struct level levels[DZ_MANIFEST_DEPTH_MAX + 1];
};

dz_status dz_manifest_builder_new(const struct dz_sink *sink, const uint8_t name_key[32],
                                  uint64_t seed, struct dz_manifest_builder **ret_builder,
                                  dz_err *err) {
    struct dz_manifest_builder *b = calloc(1, sizeof *b);

    if (!b)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a manifest builder");
    b->sink = sink;
    b->seed = seed;
    memcpy(b->name_key, name_key, sizeof b->name_key);
    *ret_builder = b;
    return DZ_OK;
}

void dz_manifest_builder_free(struct dz_manifest_builder *b) {
    if (!b)
        return;
    for (size_t i = 0; i <= DZ_MANIFEST_DEPTH_MAX; i++) {
        struct level *l = &b->levels[i];
        dz_buf_release(&l->bytes);
        dz_buf_release(&l->first);
        dz_buf_release(&l->last);
        dz_refnode_builder_done(&l->refs);
    }
    sodium_memzero(b->name_key, sizeof b->name_key);
    free(b);
}

static void set_bytes(dz_buf *to, dz_slice from) {
    dz_buf_clear(to);
    dz_buf_put_slice(to, from);
}

static void level_begin(struct level *l, size_t height, dz_slice first) {
    dz_node_header_put(&l->bytes, height == 0 ? DZ_NODE_LEAF : DZ_NODE_INNER);
    if (height > 0)
        dz_buf_put_u8(&l->bytes, (uint8_t) height);
    set_bytes(&l->first, first);
    dz_buf_clear(&l->last);
}

static bool level_ok(const struct level *l) {
    return dz_buf_ok(&l->bytes) && dz_buf_ok(&l->first) && dz_buf_ok(&l->last);
}

static dz_status child_add(struct dz_manifest_builder *b, size_t height, const dz_inner_item *item,
                           const dz_id *ref, dz_err *err);

/* Puts the node begun at `height` with its reference node; they become the item of the level above.
 * That item's path is borrowed from this level's `first` and gone with the next node. */
static dz_status level_put(struct dz_manifest_builder *b, size_t height, dz_inner_item *ret_item,
                           dz_id *ret_ref, dz_err *err) {
    struct level *l = &b->levels[height];
    dz_inner_item item = { .path = dz_buf_slice(&l->first),
                           .entries = l->sum.entries,
                           .bytes = l->sum.bytes };
    dz_name name;
    dz_id ref;

    if (!level_ok(l))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a manifest node");
    DZ_TRY(b->sink->put(b->sink->ctx, DZ_KIND_NODE, dz_buf_slice(&l->bytes), &item.node, err));
    name = dz_name_of(b->name_key, DZ_KIND_NODE, &item.node);
    dz_refnode_add_name(&l->refs, &name);
    DZ_TRY(dz_refnode_put(&l->refs, b->sink, &ref, err));
    dz_buf_clear(&l->bytes);
    l->items = 0;
    l->sum = (dz_node_sum){ 0 };
    l->cut = true;
    *ret_item = item;
    *ret_ref = ref;
    return DZ_OK;
}

static dz_status level_cut(struct dz_manifest_builder *b, size_t height, dz_err *err) {
    dz_inner_item item;
    dz_id ref;

    if (height == DZ_MANIFEST_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "manifest of more than %d levels", DZ_MANIFEST_DEPTH_MAX);
    DZ_TRY(level_put(b, height, &item, &ref, err));
    return child_add(b, height + 1, &item, &ref, err);
}

/* Two items at least, wherever the cut falls: each level is at most half as long as the one below.
 */
static bool inner_cut_before(const struct level *l, const dz_inner_item *item) {
    return l->items >= 2 && l->bytes.len + item->path.len + 64 > INNER_BYTES;
}
static bool inner_cut_after(const struct level *l, const dz_inner_item *item) {
    return l->items == DZ_INNER_ITEMS_MAX || (l->items >= 2 && (item->node.b[0] & CUT_MASK) == 0);
}

static dz_status child_add(struct dz_manifest_builder *b, size_t height, const dz_inner_item *item,
                           const dz_id *ref, dz_err *err) {
    struct level *l = &b->levels[height];

    if (inner_cut_before(l, item))
        DZ_TRY(level_cut(b, height, err));
    if (l->items == 0)
        level_begin(l, height, item->path);
    dz_inner_item_put(item, dz_buf_slice(&l->last), &l->bytes);
    set_bytes(&l->last, item->path);
    dz_refnode_add_child(&l->refs, ref);
    l->sum.entries += item->entries;
    l->sum.bytes = dz_sum_sizes(l->sum.bytes, item->bytes);
    l->only_node = item->node;
    l->only_ref = *ref;
    l->items++;
    if (!level_ok(l)) /* now: the next item begins `last` anew and would hide it */
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a manifest node");
    return inner_cut_after(l, item) ? level_cut(b, height, err) : DZ_OK;
}

dz_status dz_manifest_builder_add(struct dz_manifest_builder *b, const dz_entry *e, dz_err *err) {
    struct level *l = &b->levels[0];
    dz_slice content = dz_entry_field(e, DZ_TAG_CONTENT);
    dz_content_list list;

    if (b->started && dz_path_cmp(dz_buf_slice(&l->last), e->path) >= 0)
        return DZ_FAIL(err, DZ_E_USAGE, "an entry that does not come after the one before");
    DZ_TRY(dz_entry_check(e, err));
    if (content.data)
        DZ_TRY(dz_content_field_read(content, &list, err));
    if (l->items > 0 &&
        l->bytes.len + dz_entry_encoded_size(e, dz_buf_slice(&l->last)) > LEAF_BYTES)
        DZ_TRY(level_cut(b, 0, err));
    if (l->items == 0)
        level_begin(l, 0, e->path);
    dz_entry_encode(e, dz_buf_slice(&l->last), &l->bytes);
    set_bytes(&l->last, e->path);
    if (content.data)
        dz_content_list_refs(&list, b->name_key, &l->refs);
    l->sum.entries++;
    l->sum.bytes = dz_sum_sizes(l->sum.bytes, e->size);
    l->items++;
    b->started = true;
    /* By the name alone: a change of content or metadata never moves a cut. */
    if ((XXH3_64bits_withSeed(e->path.data, e->path.len, b->seed) & CUT_MASK) == 0)
        return level_cut(b, 0, err);
    return level_ok(l) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "no memory for a manifest node");
}

/* The root is the only node of its height: the lowest such. */
dz_status dz_manifest_builder_finish(struct dz_manifest_builder *b, dz_manifest_root *ret_root,
                                     dz_err *err) {
    dz_manifest_root root = { 0 };

    if (!b->started) {
        dz_inner_item item;

        level_begin(&b->levels[0], 0, (dz_slice){ 0 });
        DZ_TRY(level_put(b, 0, &item, &root.ref, err));
        root.node = item.node;
        *ret_root = root;
        return DZ_OK;
    }
    for (size_t height = 0; height <= DZ_MANIFEST_DEPTH_MAX; height++) {
        struct level *l = &b->levels[height];

        if (height > 0 && !l->cut && l->items == 1) {
            *ret_root = (dz_manifest_root){ .node = l->only_node,
                                            .ref = l->only_ref,
                                            .depth = (uint8_t) (height - 1),
                                            .entries = l->sum.entries,
                                            .bytes = l->sum.bytes };
            return DZ_OK;
        }
        if (l->items > 0)
            DZ_TRY(level_cut(b, height, err));
    }
    return DZ_FAIL(err, DZ_E_LIMIT, "manifest of more than %d levels", DZ_MANIFEST_DEPTH_MAX);
}
