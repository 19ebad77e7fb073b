/* A share as letters; docs/format/shares.md says why each group catches what it catches. */
#include <sodium.h>

#include "core/hex.h"
#include "crypto/hash.h"
#include "crypto/share.h"

enum {
    VERSION = 1,
    BODY_BYTES = 1 + DZ_VAULT_ID_BYTES + 4 + 8 + 3 + DZ_ROOT_BYTES,
    SUM_BYTES = 6,
    DATA_LETTERS = DZ_SHARE_GROUP_LETTERS - 1, /* of a group; the last is its check */
};
_Static_assert((BODY_BYTES + SUM_BYTES) * 8 == DZ_SHARE_GROUPS * DATA_LETTERS * 5,
               "the letters hold body and checksum exactly");

static const char header[] = "dozo share v1";
static const char qr_header[] = "DOZO1:";
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Times x in GF(2^5) modulo x^5+x^2+1. */
static unsigned times_x(unsigned a) {
    return ((a << 1) & 31) ^ (5 & (0u - (a >> 4)));
}

/* x^4*d0 + x^3*d1 + x^2*d2 + x*d3 + place.  With the check letter at weight 1 every letter has a
 * weight of its own: one changed letter, or any two exchanged, always breaks the sum; and as the
 * place goes in, so does a whole group in the wrong place. */
static unsigned check_letter(const uint8_t d[DATA_LETTERS], unsigned place) {
    unsigned sum = 0;

    for (unsigned i = 0; i < DATA_LETTERS; i++)
        sum = times_x(sum ^ d[i]);
    return sum ^ place;
}

static void checksum(const uint8_t body[BODY_BYTES], uint8_t ret[SUM_BYTES]) {
    const dz_slice parts[] = { DZ_SLICE_LIT("dozo share text v1"), { body, BODY_BYTES } };
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256v(parts, 2, hash);
    memcpy(ret, hash, SUM_BYTES);
}

void dz_share_letters(const dz_share *share, char ret_text[DZ_SHARE_LETTERS + 1]) {
    uint8_t bytes[BODY_BYTES + SUM_BYTES], *p = bytes;
    uint8_t values[DATA_LETTERS];
    unsigned acc = 0, bits = 0;
    size_t next = 0;

    *p++ = VERSION;
    memcpy(p, share->vault.b, DZ_VAULT_ID_BYTES);
    p += DZ_VAULT_ID_BYTES;
    dz_store_le(p, 4, share->epoch);
    p += 4;
    memcpy(p, share->set, sizeof share->set);
    p += sizeof share->set;
    *p++ = share->x;
    *p++ = share->threshold;
    *p++ = share->count;
    memcpy(p, share->y, DZ_ROOT_BYTES);
    checksum(bytes, bytes + BODY_BYTES);

    for (unsigned g = 0; g < DZ_SHARE_GROUPS; g++) { /* high bits first */
        char *out = ret_text + (size_t) g * DZ_SHARE_GROUP_LETTERS;

        for (unsigned i = 0; i < DATA_LETTERS; i++) {
            if (bits < 5) {
                acc = (acc << 8 | bytes[next++]) & 0xfff;
                bits += 8;
            }
            bits -= 5;
            values[i] = (uint8_t) ((acc >> bits) & 31);
            out[i] = alphabet[values[i]];
        }
        out[DATA_LETTERS] = alphabet[check_letter(values, g)];
    }
    ret_text[DZ_SHARE_LETTERS] = '\0';
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(values, sizeof values);
}

dz_status dz_share_write(const dz_share *share, const char *fingerprint, dz_buf *to, dz_err *err) {
    char letters[DZ_SHARE_LETTERS + 1], vault[2 * DZ_VAULT_ID_BYTES + 1];
    const char *group = letters;

    dz_hex(share->vault.b, sizeof share->vault.b, vault);
    dz_buf_printf(to, "%s\n\n", header);
    dz_buf_printf(
        to,
        "Share %u of %u of the key to a Dozo backup vault.  Any %u of the %u open it.\n"
        "Dozo (土蔵) バックアップ保管庫の鍵の分割片 %u/%u です。%u 片のうち %u 片で開きます。\n\n",
        share->x, share->count, share->threshold, share->count, share->x, share->count,
        share->count, share->threshold);
    dz_buf_printf(to, "fingerprint  %s\nvault        %s\nepoch        %u\n\n", fingerprint, vault,
                  share->epoch);
    dz_buf_printf(
        to, "Keep it away from the vault and from the other shares.  Show it to nobody.\n"
            "To use it: dozo --key THIS_FILE ...; or type the groups below into a file.\n"
            "保管庫や他の分割片とは別の場所に保管し、誰にも見せないでください。\n"
            "使うとき: dozo --key このファイル …。下の文字を打ち込んだファイルでも使えます。\n\n");
    dz_share_letters(share, letters);
    for (unsigned line = 1; line <= DZ_SHARE_LINES; line++) {
        dz_buf_printf(to, "%u:", line);
        for (unsigned i = 0; i < DZ_SHARE_LINE_GROUPS; i++, group += DZ_SHARE_GROUP_LETTERS)
            dz_buf_printf(to, " %.*s", DZ_SHARE_GROUP_LETTERS, group);
        dz_buf_printf(to, "\n");
    }
    sodium_memzero(letters, sizeof letters);
    return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "no memory for a share's text");
}

dz_status dz_share_write_qr(const dz_share *share, dz_buf *to, dz_err *err) {
    char letters[DZ_SHARE_LETTERS + 1];

    dz_share_letters(share, letters);
    dz_buf_printf(to, "%s%s", qr_header, letters);
    sodium_memzero(letters, sizeof letters);
    return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "no memory for a share's text");
}

/* ---- reading ---- */

/* A letter's value, or one of these. */
enum { SPACE = 32, DECORATION, STRANGE };

static unsigned letter_value(uint8_t c) {
    const char *at;

    if (c >= 'a' && c <= 'z')
        c = (uint8_t) (c - 'a' + 'A');
    switch (c) {
    case 'O':
        return 0;
    case 'I':
    case 'L':
        return 1;
    case 'U':
        return 27; /* V */
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case '\0':
        return c ? SPACE : STRANGE;
    default:
        break;
    }
    if ((at = strchr(alphabet, c)))
        return (unsigned) (at - alphabet);
    return strchr("-_.,:;*|/>()[]", c) ? DECORATION : STRANGE;
}

/* The next character.  What a Japanese keyboard gives in full width (UTF-8 EF BC 81 .. EF BD 9E,
 * and the wide space E3 80 80) means its ASCII twin. */
static unsigned next_value(dz_reader *r) {
    uint8_t c = dz_read_u8(r);

    if (c == 0xef && dz_reader_left(r) >= 2) {
        uint8_t b = dz_read_u8(r), a = dz_read_u8(r);
        if (b == 0xbc && a >= 0x81 && a <= 0xbf)
            return letter_value((uint8_t) (a - 0x81 + '!'));
        if (b == 0xbd && a >= 0x80 && a <= 0x9e)
            return letter_value((uint8_t) (a - 0x80 + '`'));
        return b == 0xbb && a == 0xbf ? SPACE : STRANGE; /* EF BB BF: a byte order mark */
    }
    if (c == 0xe3 && dz_reader_left(r) >= 2) {
        uint8_t b = dz_read_u8(r), a = dz_read_u8(r);
        return b == 0x80 && a == 0x80 ? SPACE : STRANGE;
    }
    return c < 0x80 ? letter_value(c) : STRANGE;
}

/* "  3: ABCDE ..." without its label; false when there is none. */
static bool strip_label(dz_slice line, dz_slice *ret_rest) {
    size_t i = 0, digits;

    while (i < line.len && memchr(" \t>*|", line.data[i], 5))
        i++;
    digits = i;
    while (i < line.len && line.data[i] >= '0' && line.data[i] <= '9')
        i++;
    if (i == digits || i - digits > 2 || i == line.len || line.data[i] != ':')
        return false;
    *ret_rest = (dz_slice){ line.data + i + 1, line.len - i - 1 };
    return true;
}

typedef struct letters {
    uint8_t values[DZ_SHARE_LETTERS];
    size_t n;         /* letters seen; may be more than fit */
    size_t in_word;   /* letters since the last white space */
    size_t bad_group; /* where the first word begins that is not whole groups; 0: none */
    bool bad_is_long; /* that word is longer than one group: some later group may be at fault */
} letters;

static void end_word(letters *l) {
    if (l->in_word % DZ_SHARE_GROUP_LETTERS != 0 && l->bad_group == 0) {
        l->bad_group = (l->n - l->in_word) / DZ_SHARE_GROUP_LETTERS + 1;
        l->bad_is_long = l->in_word >= 2 * DZ_SHARE_GROUP_LETTERS;
    }
    l->in_word = 0;
}

static dz_status take_line(dz_slice line, letters *l, dz_err *err) {
    dz_reader r = dz_reader_over(line);

    while (dz_reader_left(&r) > 0) {
        unsigned v = next_value(&r);

        if (v == STRANGE)
            return DZ_FAIL(err, DZ_E_MALFORMED,
                           "share text: group %zu has a character that is in no share",
                           l->n / DZ_SHARE_GROUP_LETTERS + 1);
        if (v == SPACE)
            end_word(l);
        if (v >= SPACE)
            continue;
        if (l->n < DZ_SHARE_LETTERS)
            l->values[l->n] = (uint8_t) v;
        l->n++;
        l->in_word++;
    }
    end_word(l);
    return DZ_OK;
}

static dz_slice skip_blank(dz_slice s) {
    if (s.len >= 3 && memcmp(s.data, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        s = (dz_slice){ s.data + 3, s.len - 3 };
    while (s.len > 0 && memchr(" \t\r\n", s.data[0], 4))
        s = (dz_slice){ s.data + 1, s.len - 1 };
    return s;
}

static bool begins(dz_slice s, const char *with, size_t len) {
    return s.len >= len && memcmp(s.data, with, len) == 0;
}

static dz_status collect(dz_slice text, letters *l, dz_err *err) {
    bool file, qr;

    text = skip_blank(text);
    file = begins(text, header, sizeof header - 1);
    qr = begins(text, qr_header, sizeof qr_header - 1);
    if (qr)
        text = (dz_slice){ text.data + sizeof qr_header - 1, text.len - (sizeof qr_header - 1) };
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t) (end - text.data) : text.len;
        dz_slice line = { text.data, len };

        text = (dz_slice){ text.data + len + (end != NULL), text.len - len - (end != NULL) };
        if (strip_label(line, &line) || !file) /* a file's other lines are for people */
            DZ_TRY(take_line(line, l, err));
    }
    return DZ_OK;
}

bool dz_share_looks_like(dz_slice text) {
    dz_slice start = skip_blank(text);
    letters l = { 0 };
    bool like =
        begins(start, header, sizeof header - 1) || begins(start, qr_header, sizeof qr_header - 1);

    if (!like && text.len <= DZ_SHARE_TEXT_MAX)
        like = collect(text, &l, NULL) == DZ_OK && l.n >= DZ_SHARE_LETTERS / 2 &&
               l.n <= DZ_SHARE_LETTERS * 2;
    sodium_memzero(&l, sizeof l);
    return like;
}

static bool group_fits(const letters *l, unsigned g) {
    const uint8_t *v = l->values + (size_t) g * DZ_SHARE_GROUP_LETTERS;
    return check_letter(v, g) == v[DATA_LETTERS];
}

/* Names what is wrong with the letters, if anything. */
static dz_status check_groups(const letters *l, dz_err *err) {
    size_t whole = l->n / DZ_SHARE_GROUP_LETTERS;
    unsigned wrong[2], n_wrong = 0;

    if (l->n == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "not a share: no groups of letters in it");
    for (unsigned g = 0; g < DZ_SHARE_GROUPS && g < whole; g++)
        if (!group_fits(l, g)) {
            if (n_wrong < 2)
                wrong[n_wrong] = g + 1;
            n_wrong++;
        }
    if (l->n != DZ_SHARE_LETTERS) {
        if (l->bad_group) {
            bool later = l->bad_is_long && n_wrong > 0 && wrong[0] > l->bad_group;
            return DZ_FAIL(err, DZ_E_MALFORMED, "share text: group %zu does not have %d letters",
                           later ? wrong[0] : l->bad_group, DZ_SHARE_GROUP_LETTERS);
        }
        if (l->n > DZ_SHARE_LETTERS)
            return DZ_FAIL(err, DZ_E_MALFORMED, "share text: %zu groups, not %d", whole,
                           DZ_SHARE_GROUPS);
        if (n_wrong > 0)
            return DZ_FAIL(err, DZ_E_MALFORMED,
                           "share text: %zu of %d groups missing, the first about group %u",
                           DZ_SHARE_GROUPS - whole, DZ_SHARE_GROUPS, wrong[0]);
        return DZ_FAIL(err, DZ_E_MALFORMED, "share text: the last %zu of %d groups are missing",
                       DZ_SHARE_GROUPS - whole, DZ_SHARE_GROUPS);
    }
    if (n_wrong == 1)
        return DZ_FAIL(err, DZ_E_MALFORMED, "share text: group %u is mistyped", wrong[0]);
    if (n_wrong > 1)
        return DZ_FAIL(err, DZ_E_MALFORMED, "share text: %u groups are mistyped: %u, %u%s", n_wrong,
                       wrong[0], wrong[1], n_wrong > 2 ? " ..." : "");
    return DZ_OK;
}

static void pack(const letters *l, uint8_t ret_bytes[BODY_BYTES + SUM_BYTES]) {
    unsigned acc = 0, bits = 0;
    size_t next = 0;

    for (size_t i = 0; i < DZ_SHARE_LETTERS; i++) {
        if (i % DZ_SHARE_GROUP_LETTERS == DATA_LETTERS)
            continue;
        acc = (acc << 5 | l->values[i]) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            ret_bytes[next++] = (uint8_t) (acc >> bits);
        }
    }
}

static dz_status parse_body(const uint8_t bytes[BODY_BYTES + SUM_BYTES], dz_share *ret_share,
                            dz_err *err) {
    dz_reader r = dz_reader_over((dz_slice){ bytes, BODY_BYTES });
    uint8_t sum[SUM_BYTES], version;
    dz_share s = { 0 };
    dz_status st = DZ_OK;

    checksum(bytes, sum);
    if (memcmp(sum, bytes + BODY_BYTES, sizeof sum) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "share text: every group fits, the checksum over all does not");
    version = dz_read_u8(&r);
    if (version != VERSION)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "share of version %u: this dozo reads version %d",
                       version, VERSION);
    memcpy(s.vault.b, dz_read_bytes(&r, sizeof s.vault.b).data, sizeof s.vault.b);
    s.epoch = dz_read_le32(&r);
    memcpy(s.set, dz_read_bytes(&r, sizeof s.set).data, sizeof s.set);
    s.x = dz_read_u8(&r);
    s.threshold = dz_read_u8(&r);
    s.count = dz_read_u8(&r);
    memcpy(s.y, dz_read_bytes(&r, sizeof s.y).data, sizeof s.y);
    if (s.epoch == 0 || s.threshold < 2 || s.threshold > s.count || s.x < 1 || s.x > s.count)
        st = DZ_FAIL(err, DZ_E_MALFORMED, "share of epoch %u, number %u of %u, threshold %u",
                     s.epoch, s.x, s.count, s.threshold);
    else
        *ret_share = s;
    sodium_memzero(&s, sizeof s);
    return st;
}

dz_status dz_share_read(dz_slice text, dz_share *ret_share, dz_err *err) {
    uint8_t bytes[BODY_BYTES + SUM_BYTES];
    letters l = { 0 };
    dz_status st;

    if (text.len > DZ_SHARE_TEXT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "share text of %zu bytes; at most %d are read", text.len,
                       DZ_SHARE_TEXT_MAX);
    st = collect(text, &l, err);
    if (st == DZ_OK)
        st = check_groups(&l, err);
    if (st == DZ_OK) {
        pack(&l, bytes);
        st = parse_body(bytes, ret_share, err);
    }
    sodium_memzero(&l, sizeof l);
    sodium_memzero(bytes, sizeof bytes);
    return st;
}
