/* store/pack.h -- an immutable file of whole segments, named by the SHA-256 of its bytes.
 *
 *   sealed segments ─▶ [pack] ─▶ temp file ─▶ fsync ─▶ packs/<hex> ─▶ fsync(dir)
 *
 * At its end stands a table under the host's table key: for each segment its place, kind and the
 * names of its objects.  From the tables every index is rebuilt while the vault is closed.  A pack
 * whose table does not open under the table key is a forgery or damaged, and is refused.
 * Layout: docs/format/pack.md.  One writer belongs to one thread. */
#pragma once

#include "crypto/keys.h"
#include "store/object.h"

enum {
    DZ_PACK_TARGET = 64 << 20,    /* bytes; a pack is finished once it passes this */
    DZ_PACK_MAX = 128 << 20,      /* bytes a reader accepts */
    DZ_PACK_TABLE_MAX = 32 << 20, /* bytes */
    DZ_PACK_SEGMENTS_MAX = 65536,
    DZ_PACK_HEADER_BYTES = 32,
    DZ_PACK_NAME_TEXT = 65, /* hex and NUL */
};

typedef struct dz_pack_id { /* SHA-256 of the file */
    uint8_t b[DZ_SHA256_BYTES];
} dz_pack_id;

/* A row of the table. */
typedef struct dz_pack_segment {
    uint32_t offset; /* bytes from the start of the pack */
    uint32_t length; /* bytes, sealed */
    uint8_t kind;    /* enum dz_kind */
    uint32_t count;  /* objects */
    uint32_t first;  /* its first object in names[] and lengths[] of the table */
} dz_pack_segment;

typedef struct dz_pack_table {
    dz_pack_segment *segments; /* owned */
    size_t n_segments;
    dz_name *names;    /* owned */
    uint32_t *lengths; /* owned; raw bytes of each object */
    size_t n_names;
} dz_pack_table;
void dz_pack_table_release(dz_pack_table *t);

struct dz_pack_writer;

/* Starts an empty pack as a temporary file in tmpfd.  Descriptors and keys are borrowed and must
 * outlive the writer.  DZ_E_NOMEM, DZ_E_IO. */
dz_status dz_pack_writer_new(int tmpfd, const struct dz_host_keys *host,
                             struct dz_pack_writer **ret_writer, dz_err *err) DZ_MUST_CHECK;

/* Appends one sealed segment.  Everything is copied.  After a failure only _free is allowed.
 * DZ_E_IO, DZ_E_NOMEM, DZ_E_LIMIT. */
dz_status dz_pack_writer_add(struct dz_pack_writer *w, enum dz_kind kind, dz_slice sealed,
                             const dz_name *names, const uint32_t *lengths, size_t n,
                             dz_err *err) DZ_MUST_CHECK;

/* Bytes so far. */
uint64_t dz_pack_writer_size(const struct dz_pack_writer *w);
/* True once the pack should be finished: it passed DZ_PACK_TARGET, or its objects are so small and
 * many that its table nears what a reader accepts. */
bool dz_pack_writer_full(const struct dz_pack_writer *w);

/* Writes the table, makes the pack durable in packsfd, and gives its name and its table (owned by
 * the caller; ret_table may be NULL).  Frees the writer whether or not it worked.  DZ_E_IO. */
dz_status dz_pack_writer_finish(struct dz_pack_writer *w, int packsfd, dz_pack_id *ret_id,
                                dz_pack_table *ret_table, dz_err *err) DZ_MUST_CHECK;

/* Drops an unfinished pack and its temporary file.  NULL is fine. */
void dz_pack_writer_free(struct dz_pack_writer *w);
DZ_DEFINE_AUTO(dz_pack_writer, dz_pack_writer_free)

/* Reads the table of an open pack of `size` bytes.
 * DZ_E_CORRUPT (does not open under our table key, or says the impossible), DZ_E_UNSUPPORTED,
 * DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_pack_table_read(int fd, uint64_t size, const struct dz_host_keys *host,
                             dz_pack_table *ret_table, dz_err *err) DZ_MUST_CHECK;
/* The same by name.  DZ_E_NOT_FOUND. */
dz_status dz_pack_table_load(int packsfd, const dz_pack_id *id, const struct dz_host_keys *host,
                             dz_pack_table *ret_table, dz_err *err) DZ_MUST_CHECK;
