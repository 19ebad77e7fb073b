/* store/content.h -- how the bytes of a file are found: the chunks, in order.
 *
 *   chunker ─▶ sink ─▶ (id, length) ─▶ [content builder] ─▶ field DZ_TAG_CONTENT of the entry
 *   field ─▶ [content reader] ─▶ (offset, length, id) ─▶ source ─▶ bytes
 *
 * Up to DZ_CONTENT_DIRECT chunks stand in the entry itself.  Beyond that they stand in content
 * lists, objects of kind NODE that are cut by the ids in them, so that a large file that changes
 * in one place shares all lists but one with the version before; lists of lists follow the same
 * rule.  Each list has a reference node (store/reftree.h).  Layout: docs/format/manifest.md.
 *
 * A builder or reader belongs to one thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "store/entry.h"
#include "store/object.h"
#include "store/reftree.h"

enum {
    DZ_CONTENT_DIRECT = 128,    /* items that a field holds at most */
    DZ_CONTENT_LIST_MAX = 2048, /* items that a list holds at most */
    DZ_CONTENT_DEPTH_MAX = 8,   /* lists above a chunk, at most */
};

/* --- Building --------------------------------------------------------------------------------- */

struct dz_content_builder;

/* `sink` is borrowed until the builder is freed; `name_key` is copied.  DZ_E_NOMEM. */
dz_status dz_content_builder_new(const struct dz_sink *sink, const uint8_t name_key[32],
                                 struct dz_content_builder **ret_builder,
                                 dz_err *err) DZ_MUST_CHECK;
void dz_content_builder_free(struct dz_content_builder *b); /* wipes the key; NULL is fine */
DZ_DEFINE_AUTO(dz_content_builder, dz_content_builder_free)

/* The next chunk of the file: 1..DZ_OBJECT_MAX bytes, already given to the sink.  Memory stays
 * below 1 MiB whatever the file's length.  DZ_E_USAGE (length), DZ_E_LIMIT, DZ_E_NOMEM, the sink's.
 */
dz_status dz_content_builder_add(struct dz_content_builder *b, const dz_id *chunk, uint32_t length,
                                 dz_err *err) DZ_MUST_CHECK;

/* Appends the field DZ_TAG_CONTENT to `fields` (nothing for a file without bytes) and makes the
 * builder ready for the next file.  After a failure the builder is ready too, the file lost.
 * DZ_E_NOMEM, DZ_E_LIMIT, the sink's. */
dz_status dz_content_builder_finish(struct dz_content_builder *b, dz_buf *fields,
                                    dz_err *err) DZ_MUST_CHECK;

/* Forgets the file begun. */
void dz_content_builder_reset(struct dz_content_builder *b);

/* --- Reading ---------------------------------------------------------------------------------- */

typedef struct dz_content_span {
    uint64_t offset; /* of the chunk's first byte, in the content */
    uint32_t length; /* bytes of the chunk */
    dz_id id;
} dz_content_span;

struct dz_content_reader;

/* One reader serves any number of files, one after the other.  `source` is borrowed until it is
 * freed; it is not asked for the chunks themselves.  DZ_E_NOMEM. */
dz_status dz_content_reader_new(const struct dz_source *source,
                                struct dz_content_reader **ret_reader, dz_err *err) DZ_MUST_CHECK;
void dz_content_reader_free(struct dz_content_reader *r); /* NULL is fine */
DZ_DEFINE_AUTO(dz_content_reader, dz_content_reader_free)

/* Begins at the chunk that holds byte `offset` of the content.  `field` is the value of
 * DZ_TAG_CONTENT (empty: no bytes), borrowed until the next start or free.  Reads one list per
 * level.  DZ_E_CORRUPT (a list's name, or the field), DZ_E_LIMIT, DZ_E_NOMEM, the source's. */
dz_status dz_content_reader_start(struct dz_content_reader *r, dz_slice field, uint64_t offset,
                                  dz_err *err) DZ_MUST_CHECK;

/* Bytes of the whole content begun. */
uint64_t dz_content_reader_size(const struct dz_content_reader *r);

/* The next chunk; *ret_end after the last, and ret_span is then untouched.  Spans follow each
 * other without a gap.  Errors as for start; after an error only start is allowed. */
dz_status dz_content_reader_next(struct dz_content_reader *r, dz_content_span *ret_span,
                                 bool *ret_end, dz_err *err) DZ_MUST_CHECK;

/* --- The bytes of a list or field, for those who walk references -------------------------------
 */

typedef struct dz_content_list {
    uint8_t depth;  /* 0: items are chunks; else lists of depth - 1 */
    uint32_t count; /* items */
    uint64_t bytes; /* sum of what the items cover */
    dz_reader items;
} dz_content_list;

typedef struct dz_content_item {
    uint64_t bytes;
    dz_id id;  /* of the chunk (kind DATA), or of the list (kind NODE) */
    dz_id ref; /* of the list's reference node; zero for chunks */
} dz_content_item;

/* Checks all of a field's value; `ret_list` borrows it.  DZ_E_CORRUPT, DZ_E_LIMIT (depth, count).
 */
dz_status dz_content_field_read(dz_slice field, dz_content_list *ret_list,
                                dz_err *err) DZ_MUST_CHECK;
/* The same for the bytes of a content list.  DZ_E_UNSUPPORTED too. */
dz_status dz_content_list_read(dz_slice node, dz_content_list *ret_list, dz_err *err) DZ_MUST_CHECK;
/* Takes the next item; false after the last. */
bool dz_content_list_next(dz_content_list *list, dz_content_item *ret_item);
/* Adds what the items mean to a reference node: names of chunks, or reference nodes of lists. */
void dz_content_list_refs(const dz_content_list *list, const uint8_t name_key[32],
                          struct dz_refnode_builder *to);
