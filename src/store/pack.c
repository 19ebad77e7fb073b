#include "store/pack.h"

#include <fcntl.h>

#include "core/durable.h"
#include "core/hex.h"
#include "crypto/aead.h"
#include "store/segment.h"

/* Header, 32 bytes: magic, version, compatible and incompatible feature bits, reserved, vault.
 * Trailer, 48 bytes: salt of the table's key, table offset, table length, reserved, magic. */
static const uint8_t magic[8] = { 'D', 'Z', 'P', 'A', 'C', 'K', '1', '\n' };
static const uint8_t end_magic[8] = { 'D', 'Z', 'P', 'E', 'N', 'D', '1', '\n' };
enum {
    VERSION = 1,
    TRAILER_BYTES = 48,
    SALT_BYTES = 16,
    ROW_MAX = 1 + 3 * 10 + 10, /* bytes of a row beyond its objects, and of their number */
    LENGTH_MAX = 5,            /* bytes of an object's length */
    WRITEBACK_STEP = 8 << 20,  /* start writing out early, so that the final sync waits less */
};

struct dz_pack_writer {
    const struct dz_host_keys *host;
    struct dz_hasher *hasher;
    int tmpfd;
    int fd;
    char temp[DZ_TEMP_NAME_MAX];
    uint64_t size;
    uint64_t flushed;
    dz_buf table;
    uint32_t n_segments;
    dz_pack_table rows; /* the table again, for the index */
    size_t cap_segments, cap_names;
};

void dz_pack_table_release(dz_pack_table *t) {
    free(t->segments);
    free(t->names);
    free(t->lengths);
    *t = (dz_pack_table){ 0 };
}

void dz_pack_writer_free(struct dz_pack_writer *w) {
    if (!w)
        return;
    if (w->fd >= 0) {
        (void) dz_os->close(w->fd);
        (void) dz_os->unlinkat(w->tmpfd, w->temp, 0);
    }
    dz_hasher_free(w->hasher);
    dz_buf_release(&w->table);
    dz_pack_table_release(&w->rows);
    free(w);
}

static dz_status append(struct dz_pack_writer *w, dz_slice bytes, dz_err *err) {
    if (dz_write_all(w->fd, bytes) < 0)
        return DZ_FAIL_ERRNO(err, "pack: writing %zu bytes at %llu", bytes.len,
                             (unsigned long long) w->size);
    dz_hasher_update(w->hasher, bytes);
    w->size += bytes.len;
    if (w->size - w->flushed >= WRITEBACK_STEP) {
        /* a hint: durability rests on the fsync in dz_pack_writer_finish alone */
        (void) sync_file_range(w->fd, (off_t) w->flushed, (off_t) (w->size - w->flushed),
                               SYNC_FILE_RANGE_WRITE);
        w->flushed = w->size;
    }
    return DZ_OK;
}

dz_status dz_pack_writer_new(int tmpfd, const struct dz_host_keys *host,
                             struct dz_pack_writer **ret_writer, dz_err *err) {
    DZ_AUTO(dz_pack_writer) w = calloc(1, sizeof *w);
    uint8_t header[DZ_PACK_HEADER_BYTES] = { 0 };

    if (!w)
        return DZ_FAIL(err, DZ_E_NOMEM, "pack: out of memory");
    w->fd = -1;
    w->tmpfd = tmpfd;
    w->host = host;
    DZ_TRY(dz_hasher_new(&w->hasher, err));
    DZ_TRY(dz_durable_temp(tmpfd, w->temp, &w->fd, err));
    memcpy(header, magic, sizeof magic);
    dz_store_le(header + 8, 2, VERSION);
    memcpy(header + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    DZ_TRY(append(w, (dz_slice){ header, sizeof header }, err));
    *ret_writer = DZ_TAKE(w);
    return DZ_OK;
}

uint64_t dz_pack_writer_size(const struct dz_pack_writer *w) {
    return w->size;
}

bool dz_pack_writer_full(const struct dz_pack_writer *w) {
    return w->size >= DZ_PACK_TARGET || w->table.len >= DZ_PACK_TABLE_MAX / 2 ||
           w->n_segments >= DZ_PACK_SEGMENTS_MAX / 2;
}

/* Grows an array of `size`-byte elements to hold at least `want`. */
static bool grow(void *slot, size_t *cap, size_t want, size_t size) {
    size_t next = *cap ? *cap : 64;
    void *old, *grown;

    if (want <= *cap)
        return true;
    while (next < want)
        next *= 2;
    memcpy(&old, slot, sizeof old);
    grown = reallocarray(old, next, size);
    if (!grown)
        return false;
    memcpy(slot, &grown, sizeof grown);
    *cap = next;
    return true;
}

dz_status dz_pack_writer_add(struct dz_pack_writer *w, enum dz_kind kind, dz_slice sealed,
                             const dz_name *names, const uint32_t *lengths, size_t n, dz_err *err) {
    dz_pack_table *t = &w->rows;
    size_t cap = w->cap_names;

    /* a table that no reader accepts would make the pack worthless once the index is lost */
    if (w->table.len + n * (sizeof *names + LENGTH_MAX) + ROW_MAX >
        DZ_PACK_TABLE_MAX - DZ_AEAD_TAG_BYTES)
        return DZ_FAIL(err, DZ_E_LIMIT, "pack: table of %zu bytes has no room for %zu objects",
                       w->table.len, n);
    if (sealed.len > DZ_SEGMENT_SEALED_MAX || n == 0 || n > DZ_SEGMENT_OBJECTS_MAX ||
        w->n_segments >= DZ_PACK_SEGMENTS_MAX ||
        w->size + sealed.len > DZ_PACK_MAX - DZ_PACK_TABLE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "pack: segment of %zu objects, %zu bytes does not fit", n,
                       sealed.len);
    if (!grow(&t->segments, &w->cap_segments, t->n_segments + 1, sizeof *t->segments) ||
        !grow(&t->names, &cap, t->n_names + n, sizeof *t->names) ||
        !grow(&t->lengths, &w->cap_names, t->n_names + n, sizeof *t->lengths))
        return DZ_FAIL(err, DZ_E_NOMEM, "pack table: out of memory");
    t->segments[t->n_segments++] = (dz_pack_segment){
        .offset = (uint32_t) w->size,
        .length = (uint32_t) sealed.len,
        .kind = (uint8_t) kind,
        .count = (uint32_t) n,
        .first = (uint32_t) t->n_names,
    };
    memcpy(t->names + t->n_names, names, n * sizeof *names);
    memcpy(t->lengths + t->n_names, lengths, n * sizeof *lengths);
    t->n_names += n;

    dz_buf_put_u8(&w->table, (uint8_t) kind);
    dz_buf_put_varint(&w->table, w->size);
    dz_buf_put_varint(&w->table, sealed.len);
    dz_buf_put_varint(&w->table, n);
    dz_buf_put(&w->table, names, n * sizeof *names);
    for (size_t i = 0; i < n; i++)
        dz_buf_put_varint(&w->table, lengths[i]);
    w->n_segments++;
    return append(w, sealed, err);
}

static void table_key(const struct dz_host_keys *host, const uint8_t salt[SALT_BYTES],
                      uint8_t ret_key[DZ_KEY_BYTES]) {
    dz_key_derive(host->table, "pack table", (dz_slice){ salt, SALT_BYTES }, ret_key);
}

/* The table's associated data: the pack's header, so that a table fits its own pack only. */
static dz_slice table_aad(const dz_vault_id *vault, uint64_t offset, uint8_t room[40]) {
    memcpy(room, "dozo pack table ", 16);
    memcpy(room + 16, vault->b, DZ_VAULT_ID_BYTES);
    dz_store_le(room + 32, 8, offset);
    return (dz_slice){ room, 40 };
}

static dz_status put_table(struct dz_pack_writer *w, dz_err *err) {
    uint8_t salt[SALT_BYTES], key[DZ_KEY_BYTES], room[40];
    uint8_t trailer[TRAILER_BYTES] = { 0 };
    dz_autobuf dz_buf plain = { 0 };
    uint64_t offset = w->size;
    uint8_t *sealed;
    size_t len;
    dz_status s;

    dz_buf_put_varint(&plain, w->n_segments);
    dz_buf_put_slice(&plain, dz_buf_slice(&w->table));
    len = plain.len;
    sealed = dz_buf_extend(&plain, DZ_AEAD_TAG_BYTES);
    if (!sealed || !dz_buf_ok(&w->table))
        return DZ_FAIL(err, DZ_E_NOMEM, "pack table: out of memory");
    dz_random(salt, sizeof salt);
    table_key(w->host, salt, key);
    s = dz_aead_seal(key, 0, table_aad(&w->host->vault, offset, room),
                     (dz_slice){ plain.data, len }, plain.data, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    DZ_TRY(append(w, dz_buf_slice(&plain), err));
    memcpy(trailer, salt, sizeof salt);
    dz_store_le(trailer + 16, 8, offset);
    dz_store_le(trailer + 24, 8, plain.len);
    memcpy(trailer + 40, end_magic, sizeof end_magic);
    return append(w, (dz_slice){ trailer, sizeof trailer }, err);
}

dz_status dz_pack_writer_finish(struct dz_pack_writer *w, int packsfd, dz_pack_id *ret_id,
                                dz_pack_table *ret_table, dz_err *err) {
    DZ_AUTO(dz_pack_writer) owned = w;
    char name[DZ_PACK_NAME_TEXT];
    dz_pack_id id;
    int fd;

    (void) owned; /* only its release is wanted; clang would call it unused */
    DZ_TRY(put_table(owned, err));
    dz_hasher_final(owned->hasher, id.b);
    dz_hex(id.b, sizeof id.b, name);
    fd = owned->fd;
    owned->fd = -1; /* consumed below */
    DZ_TRY(dz_durable_publish_temp(owned->tmpfd, owned->temp, fd, packsfd, name, err));
    *ret_id = id;
    if (ret_table) {
        *ret_table = owned->rows;
        owned->rows = (dz_pack_table){ 0 };
    }
    return DZ_OK;
}

static dz_status read_row(dz_reader *r, uint64_t table_offset, uint64_t *at, dz_pack_table *t,
                          size_t cap, dz_err *err) {
    dz_pack_segment *seg = &t->segments[t->n_segments];
    uint8_t kind = dz_read_u8(r);
    uint64_t offset = dz_read_varint(r), length = dz_read_varint(r), count = dz_read_varint(r);
    uint64_t sum = 0;
    dz_slice names;

    /* segments stand in order, without overlap, before the table */
    if (!dz_reader_ok(r) || offset < *at || offset > table_offset ||
        length > table_offset - offset || length < DZ_SEGMENT_HEADER_BYTES ||
        length > DZ_SEGMENT_SEALED_MAX || count == 0 || count > DZ_SEGMENT_OBJECTS_MAX ||
        count > cap - t->n_names)
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack table: row %zu is impossible", t->n_segments);
    *at = offset + length;
    names = dz_read_bytes(r, count * sizeof(dz_name));
    *seg = (dz_pack_segment){ .offset = (uint32_t) offset,
                              .length = (uint32_t) length,
                              .kind = kind,
                              .count = (uint32_t) count,
                              .first = (uint32_t) t->n_names };
    for (uint64_t i = 0; i < count; i++) {
        uint64_t raw = dz_read_varint(r);
        if (!dz_reader_ok(r) || raw > DZ_SEGMENT_RAW_MAX - sum)
            return DZ_FAIL(err, DZ_E_CORRUPT,
                           "pack table: row %zu is cut short, or holds more than %d raw bytes",
                           t->n_segments, DZ_SEGMENT_RAW_MAX);
        sum += raw;
        memcpy(t->names[t->n_names].b, names.data + i * sizeof(dz_name), sizeof(dz_name));
        t->lengths[t->n_names++] = (uint32_t) raw;
    }
    t->n_segments++;
    return DZ_OK;
}

static dz_status parse_table(dz_slice plain, uint64_t table_offset, dz_pack_table *t, dz_err *err) {
    dz_reader r = dz_reader_over(plain);
    uint64_t n = dz_read_varint(&r), at = DZ_PACK_HEADER_BYTES;
    size_t cap = plain.len / (sizeof(dz_name) + 1); /* each name costs at least 17 bytes */

    if (!dz_reader_ok(&r) || n > DZ_PACK_SEGMENTS_MAX || n > plain.len)
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack table: %llu segments, limit is %d",
                       (unsigned long long) n, DZ_PACK_SEGMENTS_MAX);
    t->segments = calloc(n + 1, sizeof *t->segments);
    t->names = calloc(cap + 1, sizeof *t->names);
    t->lengths = calloc(cap + 1, sizeof *t->lengths);
    if (!t->segments || !t->names || !t->lengths)
        return DZ_FAIL(err, DZ_E_NOMEM, "pack table: out of memory");
    while (t->n_segments < n)
        DZ_TRY(read_row(&r, table_offset, &at, t, cap, err));
    if (!dz_reader_done(&r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack table: bytes left over");
    return DZ_OK;
}

dz_status dz_pack_table_read(int fd, uint64_t size, const struct dz_host_keys *host,
                             dz_pack_table *ret_table, dz_err *err) {
    uint8_t header[DZ_PACK_HEADER_BYTES], trailer[TRAILER_BYTES], key[DZ_KEY_BYTES], room[40];
    dz_autobuf dz_buf sealed = { 0 };
    dz_pack_table t = { 0 };
    uint64_t offset, length;
    dz_status s;

    if (size < DZ_PACK_HEADER_BYTES + TRAILER_BYTES || size > DZ_PACK_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack of %llu bytes: limits are %d and %d",
                       (unsigned long long) size, DZ_PACK_HEADER_BYTES + TRAILER_BYTES,
                       DZ_PACK_MAX);
    if (dz_pread_all(fd, header, sizeof header, 0) < 0 ||
        dz_pread_all(fd, trailer, sizeof trailer, (off_t) (size - TRAILER_BYTES)) < 0)
        return DZ_FAIL_ERRNO(err, "pack: reading header and trailer");
    if (memcmp(header, magic, sizeof magic) != 0 ||
        memcmp(trailer + 40, end_magic, sizeof end_magic) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "not a pack, or cut short");
    if (dz_load_le(header + 8, 2) != VERSION || dz_load_le(header + 12, 2) != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "pack version %u: a newer dozo wrote it",
                       (unsigned) dz_load_le(header + 8, 2));
    if (memcmp(header + 16, host->vault.b, DZ_VAULT_ID_BYTES) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack of another vault");
    offset = dz_load_le(trailer + 16, 8);
    length = dz_load_le(trailer + 24, 8);
    if (offset < DZ_PACK_HEADER_BYTES || length < DZ_AEAD_TAG_BYTES || length > DZ_PACK_TABLE_MAX ||
        offset > size || length != size - TRAILER_BYTES - offset)
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack: table of %llu bytes at %llu does not fit",
                       (unsigned long long) length, (unsigned long long) offset);
    if (!dz_buf_extend(&sealed, length))
        return DZ_FAIL(err, DZ_E_NOMEM, "pack table: out of memory");
    if (dz_pread_all(fd, sealed.data, length, (off_t) offset) < 0)
        return DZ_FAIL_ERRNO(err, "pack: reading its table");
    table_key(host, trailer, key);
    s = dz_aead_open(key, 0, table_aad(&host->vault, offset, room), dz_buf_slice(&sealed),
                     sealed.data, err);
    explicit_bzero(key, sizeof key);
    if (s == DZ_OK)
        s = parse_table((dz_slice){ sealed.data, length - DZ_AEAD_TAG_BYTES }, offset, &t, err);
    if (s != DZ_OK) {
        dz_pack_table_release(&t);
        return s;
    }
    *ret_table = t;
    return DZ_OK;
}

dz_status dz_pack_table_load(int packsfd, const dz_pack_id *id, const struct dz_host_keys *host,
                             dz_pack_table *ret_table, dz_err *err) {
    dz_autoclose int fd = -1;
    char name[DZ_PACK_NAME_TEXT];
    struct stat st;
    dz_status s;

    dz_hex(id->b, sizeof id->b, name);
    fd = dz_os->openat(packsfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOENT ? DZ_FAIL(err, DZ_E_NOT_FOUND, "pack %s is missing", name)
               : errno == ELOOP || errno == ENXIO
                   ? DZ_FAIL(err, DZ_E_CORRUPT, "pack %s: not a regular file", name)
                   : DZ_FAIL_ERRNO(err, "opening pack %s", name);
    if (dz_os->fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "pack %s", name);
    if (!S_ISREG(st.st_mode))
        return DZ_FAIL(err, DZ_E_CORRUPT, "pack %s: not a regular file", name);
    s = dz_pack_table_read(fd, (uint64_t) st.st_size, host, ret_table, err);
    return dz_err_context(err, s, "pack %s", name);
}
