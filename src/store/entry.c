#include "store/entry.h"

enum {
    FIXED_MAX = 1 + 3 + 5 + 5 + 10 + 5 + 10 + 5, /* a record's fixed part: type, then varints */
    MODE_MAX = 07777,
    NSEC_END = 1000 * 1000 * 1000,
};

size_t dz_path_common(dz_slice a, dz_slice b) {
    size_t n = a.len < b.len ? a.len : b.len, i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.data + i, 8);
        memcpy(&y, b.data + i, 8);
        if (x != y)
            break;
    }
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* '/' lowest; 0 is free for it, as a path has no NUL. */
static int rank(uint8_t c) {
    return c == '/' ? 0 : c;
}

int dz_path_cmp(dz_slice a, dz_slice b) {
    size_t n = dz_path_common(a, b);

    if (n == a.len || n == b.len)
        return (a.len > b.len) - (a.len < b.len);
    return rank(a.data[n]) - rank(b.data[n]);
}

bool dz_path_within(dz_slice path, dz_slice dir) {
    if (dir.len == 0)
        return true;
    return path.len >= dir.len && memcmp(path.data, dir.data, dir.len) == 0 &&
           (path.len == dir.len || path.data[dir.len] == '/');
}

/* Checks the components from `at` on; all before it have been found good. */
static bool components_ok(dz_slice path, size_t at) {
    while (at <= path.len) {
        const uint8_t *from = path.data + at;
        const uint8_t *slash = at < path.len ? memchr(from, '/', path.len - at) : NULL;
        size_t len = slash ? (size_t) (slash - from) : path.len - at;

        if (len == 0 || (len == 1 && from[0] == '.') ||
            (len == 2 && from[0] == '.' && from[1] == '.'))
            return false;
        at += len + 1;
    }
    return true;
}

bool dz_path_ok(dz_slice path) {
    if (path.len == 0)
        return true;
    return path.len <= DZ_PATH_MAX && !memchr(path.data, 0, path.len) && components_ok(path, 0);
}

dz_slice dz_entry_field(const dz_entry *e, enum dz_entry_tag tag) {
    dz_reader r = dz_reader_over(e->fields);

    while (dz_reader_left(&r) > 0) {
        uint64_t t = dz_read_varint(&r);
        dz_slice value = dz_read_field(&r);
        if (!dz_reader_ok(&r) || t > (uint64_t) tag)
            break;
        if (t == (uint64_t) tag)
            return value;
    }
    return (dz_slice){ 0 };
}

bool dz_entry_content_bytes(const dz_entry *e, uint64_t *ret_bytes) {
    dz_slice extents = dz_entry_field(e, DZ_TAG_EXTENTS);
    dz_reader r = dz_reader_over(extents);
    uint64_t at = 0, data = 0;

    if (e->size > INT64_MAX)
        return false;
    while (dz_reader_left(&r) > 0) {
        uint64_t hole = dz_read_varint(&r), run = dz_read_varint(&r);

        if (!dz_reader_ok(&r) || hole > e->size - at || run > e->size - at - hole)
            return false;
        at += hole + run;
        data += run;
    }
    *ret_bytes = extents.data ? data : e->size;
    return true;
}

void dz_entry_put_field(dz_buf *fields, enum dz_entry_tag tag, dz_slice value) {
    dz_buf_put_varint(fields, (uint64_t) tag);
    dz_buf_put_field(fields, value);
}

/* What is wrong with everything but the path, or NULL. */
static const char *record_wrong(const dz_entry *e) {
    dz_reader r = dz_reader_over(e->fields);
    uint64_t last = 0;

    if (e->type < DZ_ENTRY_FILE || e->type > DZ_ENTRY_BLOCK)
        return "unknown type";
    if (e->mode > MODE_MAX)
        return "mode bits beyond 07777";
    if (e->mtime_ns >= NSEC_END)
        return "a second or more of nanoseconds";
    if (e->size > 0 && e->type != DZ_ENTRY_FILE && e->type != DZ_ENTRY_SYMLINK)
        return "a size on what has none";
    while (dz_reader_left(&r) > 0) {
        uint64_t tag = dz_read_varint(&r);
        (void) dz_read_field(&r);
        if (!dz_reader_ok(&r))
            return "a field that does not fit";
        if (tag <= last || tag > UINT32_MAX)
            return "tags out of order";
        last = tag;
    }
    return NULL;
}

static size_t varint_put(uint8_t *to, uint64_t v) {
    size_t n = 0;

    while (v >= 0x80) {
        to[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }
    to[n++] = (uint8_t) v;
    return n;
}

static size_t varint_size(uint64_t v) {
    size_t n = 1;

    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static size_t fixed_put(const dz_entry *e, uint8_t to[FIXED_MAX]) {
    size_t n = 0;

    to[n++] = e->type;
    n += varint_put(to + n, e->mode);
    n += varint_put(to + n, e->uid);
    n += varint_put(to + n, e->gid);
    n += varint_put(to + n, ((uint64_t) e->mtime_s << 1) ^ (uint64_t) (e->mtime_s >> 63));
    n += varint_put(to + n, e->mtime_ns);
    n += varint_put(to + n, e->size);
    n += varint_put(to + n, e->flags);
    return n;
}

dz_status dz_entry_check(const dz_entry *e, dz_err *err) {
    const char *wrong;

    if (e->path.len > DZ_PATH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a path of %zu bytes; at most %d", e->path.len,
                       DZ_PATH_MAX);
    if (!dz_path_ok(e->path))
        return DZ_FAIL(err, DZ_E_USAGE, "a path with an empty, \".\" or \"..\" component or a NUL");
    if (e->path.len == 0 && e->type != DZ_ENTRY_DIR)
        return DZ_FAIL(err, DZ_E_USAGE, "the root entry is not a directory");
    if ((wrong = record_wrong(e)))
        return DZ_FAIL(err, DZ_E_USAGE, "an entry with %s", wrong);
    /* Over-estimated by the fixed part's slack, so that the limit is the same everywhere. */
    if (e->path.len + e->fields.len > DZ_ENTRY_MAX - 2 * FIXED_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "an entry of %zu bytes; at most %d",
                       e->path.len + e->fields.len, DZ_ENTRY_MAX - 2 * FIXED_MAX);
    return DZ_OK;
}

size_t dz_entry_encoded_size(const dz_entry *e, dz_slice previous) {
    uint8_t fixed[FIXED_MAX];
    size_t shared = dz_path_common(previous, e->path);
    size_t suffix = e->path.len - shared;
    size_t record = fixed_put(e, fixed) + e->fields.len;

    return varint_size(shared) + varint_size(suffix) + suffix + varint_size(record) + record;
}

void dz_entry_encode(const dz_entry *e, dz_slice previous, dz_buf *to) {
    uint8_t fixed[FIXED_MAX], head[20], length[10];
    size_t shared = dz_path_common(previous, e->path);
    size_t suffix = e->path.len - shared;
    size_t fixed_len = fixed_put(e, fixed);
    size_t head_len = varint_put(head, shared);
    size_t length_len = varint_put(length, fixed_len + e->fields.len);
    uint8_t *p;

    head_len += varint_put(head + head_len, suffix);
    p = dz_buf_extend(to, head_len + suffix + length_len + fixed_len + e->fields.len);
    if (!p)
        return;
    memcpy(p, head, head_len);
    p += head_len;
    if (suffix)
        memcpy(p, e->path.data + shared, suffix);
    p += suffix;
    memcpy(p, length, length_len);
    p += length_len;
    memcpy(p, fixed, fixed_len);
    if (e->fields.len)
        memcpy(p + fixed_len, e->fields.data, e->fields.len);
}

dz_status dz_path_decode(dz_reader *r, bool first, dz_buf *path, dz_err *err) {
    uint64_t shared = dz_read_varint(r);
    dz_slice suffix = dz_read_field(r);
    size_t from;

    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "a path that does not fit");
    if (shared > path->len || shared + suffix.len > DZ_PATH_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "a path that shares %ju of %zu bytes", (uintmax_t) shared,
                       path->len);
    if (!first) {
        /* With the longest shared part spelled out, one byte decides the order. */
        if (suffix.len == 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "a path that does not come after the one before");
        if (shared < path->len && rank(suffix.data[0]) <= rank(path->data[shared]))
            return DZ_FAIL(err, DZ_E_CORRUPT, "a path that does not come after the one before");
    }
    if (suffix.len && memchr(suffix.data, 0, suffix.len))
        return DZ_FAIL(err, DZ_E_CORRUPT, "a path with a NUL");
    path->len = (size_t) shared;
    dz_buf_put_slice(path, suffix);
    if (!dz_buf_ok(path))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a path");
    /* The shared part was good; the component that it ends in may have grown. */
    for (from = (size_t) shared; from > 0 && path->data[from - 1] != '/';)
        from--;
    if (path->len > 0 && !components_ok(dz_buf_slice(path), from))
        return DZ_FAIL(err, DZ_E_CORRUPT, "a path with an empty, \".\" or \"..\" component");
    return DZ_OK;
}

void dz_path_encode(dz_slice path, dz_slice previous, dz_buf *to) {
    size_t shared = dz_path_common(previous, path);

    dz_buf_put_varint(to, shared);
    dz_buf_put_field(to, (dz_slice){ path.data + shared, path.len - shared });
}

dz_status dz_entry_decode(dz_reader *r, bool first, dz_buf *path, dz_entry *ret_entry,
                          dz_err *err) {
    const uint8_t *start = r->cur;
    dz_slice record;
    dz_reader in;
    dz_entry e = { 0 };
    uint64_t mode, uid, gid, mtime_ns, flags;
    const char *wrong;

    DZ_TRY(dz_path_decode(r, first, path, err));
    record = dz_read_field(r);
    in = dz_reader_over(record);
    e.path = dz_buf_slice(path);
    e.type = dz_read_u8(&in);
    mode = dz_read_varint(&in);
    uid = dz_read_varint(&in);
    gid = dz_read_varint(&in);
    e.mtime_s = dz_read_svarint(&in);
    mtime_ns = dz_read_varint(&in);
    e.size = dz_read_varint(&in);
    flags = dz_read_varint(&in);
    e.fields = dz_read_bytes(&in, dz_reader_left(&in));
    if (!dz_reader_ok(r) || !dz_reader_done(&in))
        return DZ_FAIL(err, DZ_E_CORRUPT, "an entry that does not fit");
    if (mode > MODE_MAX || uid > UINT32_MAX || gid > UINT32_MAX || mtime_ns >= NSEC_END ||
        flags > UINT32_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "an entry with a number out of range");
    e.mode = (uint16_t) mode;
    e.uid = (uint32_t) uid;
    e.gid = (uint32_t) gid;
    e.mtime_ns = (uint32_t) mtime_ns;
    e.flags = (uint32_t) flags;
    if ((wrong = record_wrong(&e)))
        return DZ_FAIL(err, DZ_E_CORRUPT, "an entry with %s", wrong);
    if (e.path.len == 0 && e.type != DZ_ENTRY_DIR)
        return DZ_FAIL(err, DZ_E_CORRUPT, "a root entry that is not a directory");
    if (e.path.len + e.fields.len > DZ_ENTRY_MAX - 2 * FIXED_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "an entry of %zu bytes; at most %d",
                       (size_t) (r->cur - start), DZ_ENTRY_MAX);
    *ret_entry = e;
    return DZ_OK;
}
