#include "recover/pax.h"

#include <stdio.h>
#include <sys/sysmacros.h>

enum {
    NAME_FIELD = 100,
    ACL_VERSION = 2, /* of the kernel's xattr form: linux/posix_acl_xattr.h */
};

/* The ustar header: IEEE Std 1003.1, "ustar Interchange Format". */
struct ustar {
    char name[NAME_FIELD];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char linkname[NAME_FIELD];
    char magic[6], version[2];
    char uname[32], gname[32];
    char major[8], minor[8];
    char prefix[155];
    char rest[12];
};
_Static_assert(sizeof(struct ustar) == DZ_TAR_BLOCK, "a tar header is one block");

/* width - 1 octal digits and a NUL.  False, with zeros, when the number does not fit. */
static bool octal(char *field, size_t width, uint64_t value) {
    bool fits = (value >> (3 * (width - 1))) == 0;

    if (!fits)
        value = 0;
    for (size_t i = width - 1; i-- > 0; value >>= 3)
        field[i] = (char) ('0' + (value & 7));
    field[width - 1] = '\0';
    return fits;
}

static void seal(struct ustar *h) {
    const uint8_t *bytes = (const uint8_t *) h;
    unsigned sum = 0;

    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    memset(h->checksum, ' ', sizeof h->checksum);
    for (size_t i = 0; i < sizeof *h; i++)
        sum += bytes[i];
    (void) octal(h->checksum, 7, sum); /* six digits, NUL, space */
}

static void pad(dz_buf *to, size_t written) {
    static const uint8_t zeros[DZ_TAR_BLOCK];

    dz_buf_put(to, zeros, (DZ_TAR_BLOCK - written % DZ_TAR_BLOCK) % DZ_TAR_BLOCK);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void record(dz_buf *to, dz_slice key, dz_slice value) {
    size_t rest = 1 + key.len + 1 + value.len + 1;
    size_t digits = 1, limit = 10;

    while (rest + digits >= limit) {
        digits++;
        limit *= 10;
    }
    dz_buf_printf(to, "%zu ", rest + digits);
    dz_buf_put_slice(to, key);
    dz_buf_put_u8(to, '=');
    if (value.len > 0)
        dz_buf_put_slice(to, value);
    dz_buf_put_u8(to, '\n');
}

#define RECORD(to, key, value) record((to), DZ_SLICE_LIT(key), (value))

static void record_number(dz_buf *to, dz_slice key, uint64_t value) {
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long) value);

    record(to, key, (dz_slice){ (const uint8_t *) text, (size_t) n });
}

/* A decimal fraction; before 1970 both parts count downwards. */
static void record_time(dz_buf *to, const dz_entry *e) {
    bool negative = e->mtime_s < 0;
    uint64_t s = (uint64_t) e->mtime_s;
    uint32_t ns = e->mtime_ns;
    char text[40];
    int n;

    if (negative) {
        s = 0 - s;
        if (ns > 0) {
            s--;
            ns = 1000000000 - ns;
        }
    }
    n = snprintf(text, sizeof text, "%s%llu", negative ? "-" : "", (unsigned long long) s);
    if (ns > 0)
        n += snprintf(text + n, sizeof text - (size_t) n, ".%09u", (unsigned) ns);
    RECORD(to, "mtime", ((dz_slice){ (const uint8_t *) text, (size_t) n }));
}

/* Shortest-form UTF-8 without surrogates, as pax values should be: RFC 3629. */
static bool is_utf8(dz_slice s) {
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.data[i++];
        unsigned more = c < 0x80   ? 0
                        : c < 0xc2 ? 9
                        : c < 0xe0 ? 1
                        : c < 0xf0 ? 2
                        : c < 0xf5 ? 3
                                   : 9;
        uint32_t v = more == 1 ? c & 0x1f : more == 2 ? c & 0x0f : c & 0x07;

        if (more > s.len - i)
            return false;
        for (unsigned k = 0; k < more; k++, i++) {
            if ((s.data[i] & 0xc0) != 0x80)
                return false;
            v = v << 6 | (s.data[i] & 0x3f);
        }
        if ((more == 2 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) ||
            (more == 3 && (v < 0x10000 || v > 0x10ffff)))
            return false;
    }
    return true;
}

/* --- Attributes ------------------------------------------------------------------------------- */

static bool starts_with(dz_slice s, const char *text) {
    size_t n = strlen(text);

    return s.len >= n && memcmp(s.data, text, n) == 0;
}

/* The kernel's form of an ACL as acl_to_text(3) writes it, with numbers for names.  False when it
 * is none that we know. */
static bool acl_text(dz_slice acl, dz_buf *to) {
    dz_reader r = dz_reader_over(acl);
    bool first = true;

    if (dz_read_le32(&r) != ACL_VERSION)
        return false;
    while (dz_reader_left(&r) > 0) {
        unsigned tag = dz_read_le16(&r);
        unsigned perm = dz_read_le16(&r);
        uint32_t id = dz_read_le32(&r);
        const char *kind = tag == 0x01 || tag == 0x02   ? "user"
                           : tag == 0x04 || tag == 0x08 ? "group"
                           : tag == 0x10                ? "mask"
                           : tag == 0x20                ? "other"
                                                        : NULL;

        if (!dz_reader_ok(&r) || !kind || perm > 7)
            return false;
        dz_buf_printf(to, "%s%s:", first ? "" : ",", kind);
        if (tag == 0x02 || tag == 0x08)
            dz_buf_printf(to, "%lu", (unsigned long) id);
        dz_buf_printf(to, ":%c%c%c", perm & 4 ? 'r' : '-', perm & 2 ? 'w' : '-',
                      perm & 1 ? 'x' : '-');
        first = false;
    }
    return !first;
}

/* '=' would end the key: written as GNU tar writes it. */
static void xattr_key(dz_buf *to, dz_slice name) {
    dz_buf_put_slice(to, DZ_SLICE_LIT("SCHILY.xattr."));
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '%')
            dz_buf_put_slice(to, DZ_SLICE_LIT("%25"));
        else if (name.data[i] == '=')
            dz_buf_put_slice(to, DZ_SLICE_LIT("%3D"));
        else
            dz_buf_put_u8(to, name.data[i]);
    }
}

static void record_xattrs(dz_buf *to, const dz_entry *e) {
    dz_reader r = dz_reader_over(dz_entry_field(e, DZ_TAG_XATTRS));
    dz_autobuf dz_buf scratch = { 0 };

    while (dz_reader_left(&r) > 0) {
        dz_slice name = dz_read_field(&r);
        dz_slice value = dz_read_field(&r);

        if (!dz_reader_ok(&r))
            return;
        dz_buf_clear(&scratch);
        if (starts_with(name, "system.posix_acl_") && acl_text(value, &scratch)) {
            if (starts_with(name, "system.posix_acl_access"))
                RECORD(to, "SCHILY.acl.access", dz_buf_slice(&scratch));
            else
                RECORD(to, "SCHILY.acl.default", dz_buf_slice(&scratch));
        } else {
            dz_buf_clear(&scratch);
            xattr_key(&scratch, name);
            record(to, dz_buf_slice(&scratch), value);
        }
        if (!dz_buf_ok(&scratch))
            to->bad = true;
    }
}

/* --- Sparse files ----------------------------------------------------------------------------- */

/* GNU tar, "PAX Format, Version 1.0": count, then offset and size of each run, decimal lines. */
static void sparse_map(const struct dz_pax_entry *p, dz_buf *to) {
    dz_reader r = dz_reader_over(p->extents);
    uint64_t at = 0, runs = 0;
    size_t start = to->len;

    while (dz_reader_left(&r) > 0) {
        at += dz_read_varint(&r);
        at += dz_read_varint(&r);
        runs++;
    }
    dz_buf_printf(to, "%llu\n", (unsigned long long) runs + (at < p->size || runs == 0));
    r = dz_reader_over(p->extents);
    for (at = 0; dz_reader_left(&r) > 0;) {
        uint64_t run;

        at += dz_read_varint(&r);
        run = dz_read_varint(&r);
        dz_buf_printf(to, "%llu\n%llu\n", (unsigned long long) at, (unsigned long long) run);
        at += run;
    }
    if (at < p->size || runs == 0) /* ends in a hole */
        dz_buf_printf(to, "%llu\n0\n", (unsigned long long) p->size);
    pad(to, to->len - start);
}

/* --- The whole header ------------------------------------------------------------------------- */

static char type_flag(const struct dz_pax_entry *p) {
    static const char flags[] = {
        [DZ_ENTRY_FILE] = '0', [DZ_ENTRY_DIR] = '5',  [DZ_ENTRY_SYMLINK] = '2',
        [DZ_ENTRY_FIFO] = '6', [DZ_ENTRY_CHAR] = '3', [DZ_ENTRY_BLOCK] = '4',
    };

    if (p->link.data)
        return '1';
    return flags[p->e->type];
}

/* Puts a name into its field, and into a record when it is too long. */
static bool place_name(char field[NAME_FIELD], dz_slice name) {
    memcpy(field, name.data, name.len < NAME_FIELD ? name.len : NAME_FIELD);
    return name.len <= NAME_FIELD;
}

void dz_pax_header(const struct dz_pax_entry *p, dz_buf *to, size_t *ret_padding) {
    const dz_entry *e = p->e;
    struct ustar h = { .type = type_flag(p) };
    dz_autobuf dz_buf records = { 0 }, map = { 0 }, path = { 0 };
    dz_slice target = p->link.data                  ? p->link
                      : e->type == DZ_ENTRY_SYMLINK ? dz_entry_field(e, DZ_TAG_TARGET)
                                                    : (dz_slice){ 0 };
    bool long_path, long_target;
    uint64_t size = p->data;

    if (e->path.len == 0)
        dz_buf_put_u8(&path, '.');
    dz_buf_put_slice(&path, e->path);
    if (e->type == DZ_ENTRY_DIR)
        dz_buf_put_u8(&path, '/');
    if (p->sparse) {
        sparse_map(p, &map);
        size += map.len;
    }
    if (!dz_buf_ok(&path) || !dz_buf_ok(&map)) {
        to->bad = true;
        return;
    }

    long_path = !place_name(h.name, dz_buf_slice(&path));
    long_target = target.len > 0 && !place_name(h.linkname, target);
    if ((long_path && !is_utf8(dz_buf_slice(&path))) || (long_target && !is_utf8(target)))
        RECORD(&records, "hdrcharset", DZ_SLICE_LIT("BINARY"));
    if (p->sparse) {
        RECORD(&records, "GNU.sparse.major", DZ_SLICE_LIT("1"));
        RECORD(&records, "GNU.sparse.minor", DZ_SLICE_LIT("0"));
        RECORD(&records, "GNU.sparse.name", dz_buf_slice(&path));
        record_number(&records, DZ_SLICE_LIT("GNU.sparse.realsize"), p->size);
        memset(h.name, 0, sizeof h.name); /* what a reader sees that knows no sparse files */
        (void) snprintf(h.name, sizeof h.name, "GNUSparseFile.0/file");
    } else if (long_path) {
        RECORD(&records, "path", dz_buf_slice(&path));
    }
    if (long_target)
        RECORD(&records, "linkpath", target);
    (void) octal(h.mode, sizeof h.mode, e->mode & 07777);
    if (!octal(h.uid, sizeof h.uid, e->uid))
        record_number(&records, DZ_SLICE_LIT("uid"), e->uid);
    if (!octal(h.gid, sizeof h.gid, e->gid))
        record_number(&records, DZ_SLICE_LIT("gid"), e->gid);
    if (!octal(h.size, sizeof h.size, size))
        record_number(&records, DZ_SLICE_LIT("size"), size);
    if (!octal(h.mtime, sizeof h.mtime, e->mtime_s < 0 ? UINT64_MAX : (uint64_t) e->mtime_s) ||
        e->mtime_ns > 0)
        record_time(&records, e);
    if (e->type == DZ_ENTRY_CHAR || e->type == DZ_ENTRY_BLOCK) {
        dz_reader r = dz_reader_over(dz_entry_field(e, DZ_TAG_RDEV));
        uint64_t device_major = dz_read_varint(&r);

        (void) octal(h.major, sizeof h.major, device_major);
        (void) octal(h.minor, sizeof h.minor, dz_read_varint(&r));
    }
    if (!p->link.data)
        record_xattrs(&records, e);

    if (records.len > 0) {
        struct ustar x = { .name = "PaxHeaders/x", .type = 'x' };

        (void) octal(x.mode, sizeof x.mode, 0644);
        (void) octal(x.uid, sizeof x.uid, 0);
        (void) octal(x.gid, sizeof x.gid, 0);
        (void) octal(x.size, sizeof x.size, records.len);
        (void) octal(x.mtime, sizeof x.mtime, 0);
        seal(&x);
        dz_buf_put(to, &x, sizeof x);
        dz_buf_put_slice(to, dz_buf_slice(&records));
        pad(to, records.len);
    }
    seal(&h);
    dz_buf_put(to, &h, sizeof h);
    if (map.len > 0)
        dz_buf_put_slice(to, dz_buf_slice(&map));
    if (!dz_buf_ok(&records))
        to->bad = true;
    *ret_padding = (size_t) ((DZ_TAR_BLOCK - size % DZ_TAR_BLOCK) % DZ_TAR_BLOCK);
}
