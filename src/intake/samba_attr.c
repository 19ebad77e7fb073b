#include "intake/samba_attr.h"

enum {
    DOS_VERSION = 5,
    DOS_HAS_ATTRIBUTES = 0x01,
    DOS_HAS_CREATED = 0x10,

    ACL_VERSION = 1,
    ACL_REFERENT = 0x00020000, /* NDR: a pointer that is not null */
    ACL_HEADER = 8,            /* version twice, pointer: offsets count from in front of it */
    DESCRIPTOR_HEADER = 20,    /* MS-DTYP 2.4.6 */
    DACL_PRESENT = 0x0004,     /* SE_... of its control field */
    DACL_AUTO_INHERITED = 0x0400,
    DACL_PROTECTED = 0x1000,
    SELF_RELATIVE = 0x8000,
    DACL_HEADER = 8, /* MS-DTYP 2.4.5 */
    DACL_REVISION = 2,
    ACE_HEADER = 8, /* MS-DTYP 2.4.4.2, with the mask */
    ACE_DENIED = 1, /* 0: allowed.  The others carry more, or are no permissions. */
    ACE_INHERITED = 0x10,

    SID_SUBS_MAX = 15, /* MS-DTYP 2.4.2 */
    SID_BYTES_MAX = 8 + 4 * SID_SUBS_MAX,
};

/* 100 ns since 1601 */
static uint64_t nt_time(const struct timespec *t) {
    return ((uint64_t) t->tv_sec + 11644473600) * 10000000 + (uint64_t) t->tv_nsec / 100;
}

void dz_samba_put_dos(dz_buf *to, uint32_t attributes, const struct timespec *created) {
    bool known = created->tv_sec != 0 || created->tv_nsec != 0;

    dz_buf_put_le16(to, 0); /* no attributes as text; padding */
    dz_buf_put_le16(to, DOS_VERSION);
    dz_buf_put_le32(to, DOS_VERSION); /* the union's; padding */
    dz_buf_put_le32(to, DOS_HAS_ATTRIBUTES | (known ? DOS_HAS_CREATED : 0));
    dz_buf_put_le32(to, attributes & ~(uint32_t) DZ_DOS_NORMAL);
    dz_buf_put_le64(to, known ? nt_time(created) : 0);
}

void dz_samba_put_stream(dz_buf *to, dz_slice bytes) {
    dz_buf_put_slice(to, bytes);
    dz_buf_put_u8(to, 0);
}

/* --- reading the text ------------------------------------------------------------------------- */

static bool skip(dz_reader *r, dz_slice word) {
    if (dz_reader_left(r) < word.len || memcmp(r->cur, word.data, word.len) != 0)
        return false;
    (void) dz_read_bytes(r, word.len);
    return true;
}

static unsigned digit_of(uint8_t c) {
    if (c >= '0' && c <= '9')
        return (unsigned) c - '0';
    if (c >= 'a' && c <= 'f')
        return (unsigned) c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? (unsigned) c - 'A' + 10 : 16;
}

/* A number of base 10 or 16 that ends at the first other byte. */
static uint64_t number(dz_reader *r, unsigned base, uint64_t max) {
    uint64_t v = 0;
    bool any = false;

    while (dz_reader_left(r) > 0 && digit_of(*r->cur) < base) {
        unsigned digit = digit_of(dz_read_u8(r));
        if (v > (max - digit) / base) {
            r->bad = true;
            return 0;
        }
        v = v * base + digit;
        any = true;
    }
    if (!any)
        r->bad = true;
    return v;
}

/* S-1-AUTHORITY-SUB-SUB...; the authority is hexadecimal when it has more than 32 bits. */
static size_t read_sid(dz_reader *r, uint8_t ret[SID_BYTES_MAX]) {
    uint64_t authority;
    uint8_t subs = 0;

    if (!skip(r, DZ_SLICE_LIT("S-1-"))) {
        r->bad = true;
        return 0;
    }
    authority = skip(r, DZ_SLICE_LIT("0x")) ? number(r, 16, ((uint64_t) 1 << 48) - 1)
                                            : number(r, 10, UINT32_MAX);
    while (dz_reader_ok(r) && skip(r, DZ_SLICE_LIT("-"))) {
        if (subs == SID_SUBS_MAX) {
            r->bad = true;
            return 0;
        }
        dz_store_le(ret + 8 + 4 * subs, 4, number(r, 10, UINT32_MAX));
        subs++;
    }
    ret[0] = 1; /* revision */
    ret[1] = subs;
    for (unsigned i = 0; i < 6; i++)
        ret[2 + i] = (uint8_t) (authority >> (8 * (5 - i))); /* the one big-endian number here */
    return dz_reader_ok(r) ? 8 + 4 * (size_t) subs : 0;
}

struct descriptor {
    uint8_t owner[SID_BYTES_MAX], group[SID_BYTES_MAX];
    size_t owner_len, group_len; /* 0: none */
    dz_buf aces;
    uint16_t count;
    bool inherited; /* one of them was */
};

static dz_status read_ace(dz_reader *r, struct descriptor *d, dz_err *err) {
    uint8_t sid[SID_BYTES_MAX];
    size_t len = read_sid(r, sid);
    uint64_t type, flags, mask;

    r->bad |= !skip(r, DZ_SLICE_LIT(":"));
    type = number(r, 10, UINT8_MAX);
    r->bad |= !skip(r, DZ_SLICE_LIT("/"));
    flags = number(r, 10, UINT8_MAX);
    r->bad |= !skip(r, DZ_SLICE_LIT("/0x"));
    mask = number(r, 16, UINT32_MAX);
    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "security descriptor: its permission %u is none",
                       d->count);
    if (type > ACE_DENIED)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "security descriptor: permission %u of type %u",
                       d->count, (unsigned) type);
    if (ACL_HEADER + DESCRIPTOR_HEADER + d->owner_len + d->group_len + DACL_HEADER + d->aces.len +
            ACE_HEADER + len >
        DZ_SAMBA_VALUE_MAX) /* so its lengths fit into 16 bits, too */
        return DZ_FAIL(err, DZ_E_LIMIT, "security descriptor: more than %u permissions", d->count);
    dz_buf_put_u8(&d->aces, (uint8_t) type);
    dz_buf_put_u8(&d->aces, (uint8_t) flags);
    dz_buf_put_le16(&d->aces, (uint16_t) (ACE_HEADER + len));
    dz_buf_put_le32(&d->aces, (uint32_t) mask);
    dz_buf_put(&d->aces, sid, len);
    d->count++;
    d->inherited |= (flags & ACE_INHERITED) != 0;
    return DZ_OK;
}

static dz_status read_descriptor(dz_slice text, struct descriptor *d, dz_err *err) {
    dz_reader r = dz_reader_over(text);

    r.bad |= !skip(&r, DZ_SLICE_LIT("REVISION:1"));
    if (skip(&r, DZ_SLICE_LIT(",OWNER:")))
        d->owner_len = read_sid(&r, d->owner);
    if (skip(&r, DZ_SLICE_LIT(",GROUP:")))
        d->group_len = read_sid(&r, d->group);
    while (dz_reader_ok(&r) && skip(&r, DZ_SLICE_LIT(",ACL:")))
        DZ_TRY(read_ace(&r, d, err));
    return dz_reader_done(&r) ? DZ_OK
                              : DZ_FAIL(err, DZ_E_MALFORMED, "security descriptor: breaks at %zu",
                                        (size_t) (r.cur - text.data));
}

/* --- writing it as bytes ---------------------------------------------------------------------- */

static void write_descriptor(dz_buf *to, const struct descriptor *d) {
    uint32_t owner = ACL_HEADER + DESCRIPTOR_HEADER;
    uint32_t group = owner + (uint32_t) d->owner_len;
    uint32_t dacl = group + (uint32_t) d->group_len;

    dz_buf_put_le16(to, ACL_VERSION);
    dz_buf_put_le16(to, ACL_VERSION);
    dz_buf_put_le32(to, ACL_REFERENT);
    dz_buf_put_le16(to, 1); /* revision */
    dz_buf_put_le16(to, (uint16_t) (SELF_RELATIVE | DACL_PRESENT |
                                    (d->inherited ? DACL_AUTO_INHERITED : DACL_PROTECTED)));
    dz_buf_put_le32(to, d->owner_len ? owner : 0);
    dz_buf_put_le32(to, d->group_len ? group : 0);
    dz_buf_put_le32(to, 0); /* what is audited: not to be seen */
    dz_buf_put_le32(to, dacl);
    dz_buf_put(to, d->owner, d->owner_len);
    dz_buf_put(to, d->group, d->group_len);
    dz_buf_put_le16(to, DACL_REVISION);
    dz_buf_put_le16(to, (uint16_t) (DACL_HEADER + d->aces.len));
    dz_buf_put_le32(to, d->count);
    dz_buf_put_slice(to, dz_buf_slice(&d->aces));
}

dz_status dz_samba_put_acl(dz_buf *to, dz_slice text, dz_err *err) {
    struct descriptor d = { 0 };
    size_t was = to->len;
    dz_status s = read_descriptor(text, &d, err);

    if (s == DZ_OK)
        write_descriptor(to, &d);
    if (s == DZ_OK && (!dz_buf_ok(&d.aces) || !dz_buf_ok(to)))
        s = DZ_FAIL(err, DZ_E_NOMEM, "security descriptor: out of memory");
    if (s != DZ_OK)
        to->len = was;
    dz_buf_release(&d.aces);
    return s;
}
