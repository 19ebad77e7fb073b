#include "store/content.h"

#include <sodium.h>

#include "core/hex.h"
#include "store/node.h"

/* Where lists are cut: after more than DZ_CONTENT_DIRECT items, where the id's low bits are zero:
 * once in 512.  The minimum lets a short file's items stay in its entry. */
enum { CUT_MASK = 511 };

/* --- The bytes of a list or field ---------------------------------------------------------------
 */

bool dz_content_list_next(dz_content_list *list, dz_content_item *ret_item) {
    dz_content_item item = { 0 };
    dz_slice ids;

    if (dz_reader_left(&list->items) == 0)
        return false;
    item.bytes = dz_read_varint(&list->items);
    ids = dz_read_bytes(&list->items, list->depth > 0 ? 2 * sizeof item.id : sizeof item.id);
    if (!dz_reader_ok(&list->items))
        return false;
    memcpy(item.id.b, ids.data, sizeof item.id.b);
    if (list->depth > 0)
        memcpy(item.ref.b, ids.data + sizeof item.id.b, sizeof item.ref.b);
    *ret_item = item;
    return true;
}

void dz_content_list_refs(const dz_content_list *list, const uint8_t name_key[32],
                          struct dz_refnode_builder *to) {
    dz_content_list rest = *list;
    dz_content_item item;

    while (dz_content_list_next(&rest, &item)) {
        if (list->depth > 0) {
            dz_refnode_add_child(to, &item.ref);
        } else {
            dz_name name = dz_name_of(name_key, DZ_KIND_DATA, &item.id);
            dz_refnode_add_name(to, &name);
        }
    }
}

static dz_status list_read(dz_reader *r, uint32_t count_max, dz_content_list *ret_list,
                           dz_err *err) {
    dz_content_list list = { 0 };
    dz_content_item item;
    dz_reader items;
    uint64_t depth = dz_read_varint(r);
    uint64_t count = dz_read_varint(r);

    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "content list ends too early");
    if (depth > DZ_CONTENT_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "content list of depth %ju; at most %d", (uintmax_t) depth,
                       DZ_CONTENT_DEPTH_MAX);
    if (count > count_max)
        return DZ_FAIL(err, DZ_E_LIMIT, "content list of %ju items; at most %u", (uintmax_t) count,
                       count_max);
    if (count == 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "content list without items");
    list.depth = (uint8_t) depth;
    list.count = (uint32_t) count;
    items = *r;
    list.items = items;
    for (uint64_t i = 0; i < count; i++) {
        if (!dz_content_list_next(&list, &item))
            return DZ_FAIL(err, DZ_E_CORRUPT, "content list ends within its items");
        if (item.bytes == 0 || (depth == 0 && item.bytes > DZ_OBJECT_MAX))
            return DZ_FAIL(err, DZ_E_CORRUPT, "content list with an item of %ju bytes",
                           (uintmax_t) item.bytes);
        if (__builtin_add_overflow(list.bytes, item.bytes, &list.bytes))
            return DZ_FAIL(err, DZ_E_CORRUPT, "content list of more bytes than can be counted");
    }
    if (!dz_reader_done(&list.items))
        return DZ_FAIL(err, DZ_E_CORRUPT, "content list with %zu bytes behind its end",
                       dz_reader_left(&list.items));
    list.items = items;
    *ret_list = list;
    return DZ_OK;
}

dz_status dz_content_field_read(dz_slice field, dz_content_list *ret_list, dz_err *err) {
    dz_reader r = dz_reader_over(field);

    return list_read(&r, DZ_CONTENT_DIRECT, ret_list, err);
}

dz_status dz_content_list_read(dz_slice node, dz_content_list *ret_list, dz_err *err) {
    dz_reader r = dz_reader_over(node);

    DZ_TRY(dz_node_header_read(&r, DZ_NODE_LIST, err));
    return list_read(&r, DZ_CONTENT_LIST_MAX, ret_list, err);
}

/* --- Building --------------------------------------------------------------------------------- */

/* Level n holds the items of the list begun at depth n: chunks at 0, lists of depth n - 1 above. */
struct level {
    dz_buf items;   /* encoded */
    uint64_t bytes; /* covered by them */
    uint32_t count;
    bool cut; /* a list of this depth was put already */
};

struct dz_content_builder {
    const struct dz_sink *sink;
    uint8_t name_key[32];
    dz_buf node;
    struct dz_refnode_builder refs;
    uint64_t bytes; /* of the file so far */
    struct level levels[DZ_CONTENT_DEPTH_MAX + 1];
};

dz_status dz_content_builder_new(const struct dz_sink *sink, const uint8_t name_key[32],
                                 struct dz_content_builder **ret_builder, dz_err *err) {
    struct dz_content_builder *b = calloc(1, sizeof *b);

    if (!b)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a content builder");
    b->sink = sink;
    memcpy(b->name_key, name_key, sizeof b->name_key);
    *ret_builder = b;
    return DZ_OK;
}

void dz_content_builder_free(struct dz_content_builder *b) {
    if (!b)
        return;
    for (size_t i = 0; i <= DZ_CONTENT_DEPTH_MAX; i++)
        dz_buf_release(&b->levels[i].items);
    dz_refnode_builder_done(&b->refs);
    dz_buf_release(&b->node);
    sodium_memzero(b->name_key, sizeof b->name_key);
    free(b);
}

static void level_clear(struct level *l) {
    dz_buf_clear(&l->items);
    l->bytes = 0;
    l->count = 0;
}

void dz_content_builder_reset(struct dz_content_builder *b) {
    for (size_t i = 0; i <= DZ_CONTENT_DEPTH_MAX; i++) {
        level_clear(&b->levels[i]);
        b->levels[i].cut = false;
    }
    b->bytes = 0;
}

static void list_put(const struct level *l, size_t depth, dz_buf *to) {
    dz_buf_put_varint(to, depth);
    dz_buf_put_varint(to, l->count);
    dz_buf_put_slice(to, dz_buf_slice(&l->items));
}

/* Puts what level `depth` holds as a list with its reference node, and gives the item for above. */
static dz_status list_flush(struct dz_content_builder *b, size_t depth, dz_content_item *ret_item,
                            dz_err *err) {
    struct level *l = &b->levels[depth];
    dz_content_item item = { .bytes = l->bytes };
    dz_name name;

    if (depth == DZ_CONTENT_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "content of more than %d levels of lists",
                       DZ_CONTENT_DEPTH_MAX);
    dz_buf_clear(&b->node);
    dz_node_header_put(&b->node, DZ_NODE_LIST);
    list_put(l, depth, &b->node);
    if (!dz_buf_ok(&b->node) || !dz_buf_ok(&l->items))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a content list");
    DZ_TRY(b->sink->put(b->sink->ctx, DZ_KIND_NODE, dz_buf_slice(&b->node), &item.id, err));
    name = dz_name_of(b->name_key, DZ_KIND_NODE, &item.id);
    dz_refnode_add_name(&b->refs, &name);
    dz_content_list_refs(&(dz_content_list){ .depth = (uint8_t) depth,
                                             .items = dz_reader_over(dz_buf_slice(&l->items)) },
                         b->name_key, &b->refs);
    DZ_TRY(dz_refnode_put(&b->refs, b->sink, &item.ref, err));
    level_clear(l);
    l->cut = true;
    *ret_item = item;
    return DZ_OK;
}

static bool cut_after(const struct level *l, const dz_id *id) {
    return l->count == DZ_CONTENT_LIST_MAX ||
           (l->count > DZ_CONTENT_DIRECT && (dz_load_le(id->b, 2) & CUT_MASK) == 0);
}

static dz_status item_add(struct dz_content_builder *b, size_t depth, dz_content_item item,
                          dz_err *err) {
    for (;; depth++) {
        struct level *l = &b->levels[depth];

        dz_buf_put_varint(&l->items, item.bytes);
        dz_buf_put(&l->items, item.id.b, sizeof item.id.b);
        if (depth > 0)
            dz_buf_put(&l->items, item.ref.b, sizeof item.ref.b);
        l->bytes += item.bytes; /* part of b->bytes, which was checked */
        l->count++;
        if (!cut_after(l, &item.id))
            break;
        DZ_TRY(list_flush(b, depth, &item, err));
    }
    return DZ_OK;
}

dz_status dz_content_builder_add(struct dz_content_builder *b, const dz_id *chunk, uint32_t length,
                                 dz_err *err) {
    dz_content_item item = { .bytes = length, .id = *chunk };

    if (length == 0 || length > DZ_OBJECT_MAX)
        return DZ_FAIL(err, DZ_E_USAGE, "a chunk of %u bytes; 1 to %d", length, DZ_OBJECT_MAX);
    if (__builtin_add_overflow(b->bytes, item.bytes, &b->bytes))
        return DZ_FAIL(err, DZ_E_LIMIT, "content of more bytes than can be counted");
    return item_add(b, 0, item, err);
}

/* The lowest level that was never cut and is short enough becomes the field. */
static dz_status finish(struct dz_content_builder *b, dz_buf *fields, dz_err *err) {
    size_t depth = 0;

    if (b->bytes == 0)
        return DZ_OK;
    for (;; depth++) {
        struct level *l = &b->levels[depth];
        dz_content_item item;

        if (!l->cut && l->count <= DZ_CONTENT_DIRECT)
            break;
        if (l->count == 0)
            continue;
        DZ_TRY(list_flush(b, depth, &item, err));
        DZ_TRY(item_add(b, depth + 1, item, err));
    }
    dz_buf_clear(&b->node);
    list_put(&b->levels[depth], depth, &b->node);
    if (!dz_buf_ok(&b->node) || !dz_buf_ok(&b->levels[depth].items))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a content field");
    dz_entry_put_field(fields, DZ_TAG_CONTENT, dz_buf_slice(&b->node));
    if (!dz_buf_ok(fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a content field");
    return DZ_OK;
}

dz_status dz_content_builder_finish(struct dz_content_builder *b, dz_buf *fields, dz_err *err) {
    dz_status status = finish(b, fields, err);

    dz_content_builder_reset(b);
    return status;
}

/* --- Reading ---------------------------------------------------------------------------------- */

struct dz_content_reader {
    const struct dz_source *source;
    uint64_t size;
    uint64_t at;    /* offset of the next item's first byte */
    size_t deepest; /* index of the list that the position is in; [0] is the field */
    bool ended;
    dz_content_list lists[DZ_CONTENT_DEPTH_MAX + 1];
    dz_buf bytes[DZ_CONTENT_DEPTH_MAX + 1]; /* [0] is not used: the field is borrowed */
};

dz_status dz_content_reader_new(const struct dz_source *source,
                                struct dz_content_reader **ret_reader, dz_err *err) {
    struct dz_content_reader *r = calloc(1, sizeof *r);

    if (!r)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a content reader");
    r->source = source;
    r->ended = true;
    *ret_reader = r;
    return DZ_OK;
}

void dz_content_reader_free(struct dz_content_reader *r) {
    if (!r)
        return;
    for (size_t i = 0; i <= DZ_CONTENT_DEPTH_MAX; i++)
        dz_buf_release(&r->bytes[i]);
    free(r);
}

uint64_t dz_content_reader_size(const struct dz_content_reader *r) {
    return r->size;
}

static dz_status load(struct dz_content_reader *r, const dz_content_item *item, unsigned depth,
                      dz_buf *to, dz_content_list *ret_list, dz_err *err) {
    dz_content_list list;

    DZ_TRY(r->source->get(r->source->ctx, DZ_KIND_NODE, &item->id, to, err));
    DZ_TRY(dz_content_list_read(dz_buf_slice(to), &list, err));
    if (list.depth != depth)
        return DZ_FAIL(err, DZ_E_CORRUPT, "depth %u where %u was promised", list.depth, depth);
    if (list.bytes != item->bytes)
        return DZ_FAIL(err, DZ_E_CORRUPT, "covers %ju bytes where %ju were promised",
                       (uintmax_t) list.bytes, (uintmax_t) item->bytes);
    *ret_list = list;
    return DZ_OK;
}

/* Steps into the list that `item` of the deepest list stands for. */
static dz_status descend(struct dz_content_reader *r, const dz_content_item *item, dz_err *err) {
    unsigned depth = r->lists[r->deepest].depth - 1u;
    size_t to = r->deepest + 1; /* depths fall by one, so this stays in bounds */
    dz_status status = load(r, item, depth, &r->bytes[to], &r->lists[to], err);

    if (status != DZ_OK) {
        char hex[2 * DZ_SHA256_BYTES + 1];
        dz_hex(item->id.b, sizeof item->id.b, hex);
        r->ended = true;
        return dz_err_context(err, status, "content list %s", hex);
    }
    r->deepest = to;
    return DZ_OK;
}

dz_status dz_content_reader_start(struct dz_content_reader *r, dz_slice field, uint64_t offset,
                                  dz_err *err) {
    r->deepest = 0;
    r->at = 0;
    r->size = 0;
    r->ended = true;
    if (field.len == 0)
        return DZ_OK;
    DZ_TRY(dz_content_field_read(field, &r->lists[0], err));
    r->size = r->lists[0].bytes;
    if (offset >= r->size)
        return DZ_OK;
    r->ended = false;
    for (;;) {
        dz_content_list *list = &r->lists[r->deepest];
        dz_content_list before = *list;
        dz_content_item item;

        /* There is an item that holds the offset: the sums were checked. */
        while (dz_content_list_next(list, &item) && offset - r->at >= item.bytes) {
            r->at += item.bytes;
            before = *list;
        }
        if (list->depth == 0) {
            *list = before;
            return DZ_OK;
        }
        DZ_TRY(descend(r, &item, err));
    }
}

dz_status dz_content_reader_next(struct dz_content_reader *r, dz_content_span *ret_span,
                                 bool *ret_end, dz_err *err) {
    dz_content_item item;

    while (!r->ended) {
        dz_content_list *list = &r->lists[r->deepest];

        if (!dz_content_list_next(list, &item)) {
            if (r->deepest == 0)
                r->ended = true;
            else
                r->deepest--;
        } else if (list->depth == 0) {
            *ret_span = (dz_content_span){ r->at, (uint32_t) item.bytes, item.id };
            *ret_end = false;
            r->at += item.bytes;
            return DZ_OK;
        } else {
            DZ_TRY(descend(r, &item, err));
        }
    }
    *ret_end = true;
    return DZ_OK;
}
