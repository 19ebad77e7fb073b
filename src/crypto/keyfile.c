#include "crypto/keyfile.h"

#include <sodium.h>

#include "core/hex.h"
#include "crypto/base64.h"
#include "crypto/hash.h"
#include "crypto/share.h"

enum {
    SALT_BYTES = crypto_pwhash_argon2id_SALTBYTES,
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    SEALED_BYTES = DZ_ROOT_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    BODY_MAX = NONCE_BYTES + SEALED_BYTES,
    BODY_TEXT_MAX = sodium_base64_ENCODED_LEN(BODY_MAX, sodium_base64_VARIANT_ORIGINAL),
    MEMORY_KIB_MIN = crypto_pwhash_argon2id_MEMLIMIT_MIN / 1024,
    LINE_CHECK_BYTES = 4,
    FILE_CHECK_BYTES = 8,
    CHECK_LINE = 6 + 2 * FILE_CHECK_BYTES, /* "check " and the digits */
    FINGERPRINT = DZ_FINGERPRINT_TEXT - 1,
};

static const char raw_header[] = "dozo key v1";
static const char locked_header[] = "dozo locked key v1";

/* What a file says, before any key is used. */
typedef struct keyfile {
    bool locked;
    dz_vault_id vault;
    uint32_t epoch;
    char fingerprint[DZ_FINGERPRINT_TEXT];
    uint32_t memory_kib, passes; /* locked only */
    uint8_t salt[SALT_BYTES];
    uint8_t body[BODY_MAX]; /* raw: the root; locked: nonce and sealed root */
} keyfile;

static size_t body_bytes(const keyfile *f) {
    return f->locked ? BODY_MAX : DZ_ROOT_BYTES;
}

/* ---- the text ---- */

/* Four bytes of a hash over the line's number and its words. */
static void line_check(unsigned number, dz_slice words, char ret_text[2 * LINE_CHECK_BYTES + 1]) {
    uint8_t hash[DZ_SHA256_BYTES], n = (uint8_t) number;
    const dz_slice parts[] = { DZ_SLICE_LIT("dozo key line"), { &n, 1 }, words };

    dz_sha256v(parts, 3, hash);
    dz_hex(hash, LINE_CHECK_BYTES, ret_text);
}

/* Ends the line that began at `start` with its check. */
static void end_line(dz_buf *to, size_t start, unsigned number) {
    char check[2 * LINE_CHECK_BYTES + 1];

    if (!dz_buf_ok(to))
        return;
    line_check(number, (dz_slice){ to->data + start, to->len - start }, check);
    dz_buf_printf(to, "  %s\n", check);
}

/* The lines above the key: what the key is bound to. */
static void put_head(dz_buf *to, const keyfile *f) {
    char vault[2 * DZ_VAULT_ID_BYTES + 1], salt[2 * SALT_BYTES + 1];
    size_t start;

    dz_hex(f->vault.b, sizeof f->vault.b, vault);
    dz_buf_printf(to, "%s\n", f->locked ? locked_header : raw_header);
    start = to->len;
    dz_buf_printf(to, "vault %s", vault);
    end_line(to, start, 2);
    start = to->len;
    dz_buf_printf(to, "epoch %u", f->epoch);
    end_line(to, start, 3);
    start = to->len;
    dz_buf_printf(to, "fingerprint %s", f->fingerprint);
    end_line(to, start, 4);
    if (f->locked) {
        dz_hex(f->salt, sizeof f->salt, salt);
        start = to->len;
        dz_buf_printf(to, "argon2id %u %u %s", f->memory_kib, f->passes, salt);
        end_line(to, start, 5);
    }
}

static void file_check(dz_slice before, char ret_text[2 * FILE_CHECK_BYTES + 1]) {
    const dz_slice parts[] = { DZ_SLICE_LIT("dozo key file"), before };
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256v(parts, 2, hash);
    dz_hex(hash, FILE_CHECK_BYTES, ret_text);
}

static void put_file(dz_buf *to, const keyfile *f) {
    char text[BODY_TEXT_MAX], check[2 * FILE_CHECK_BYTES + 1];
    size_t start = to->len, line;

    put_head(to, f);
    line = to->len;
    (void) sodium_bin2base64(text, sizeof text, f->body, body_bytes(f),
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_printf(to, "key %s", text);
    end_line(to, line, f->locked ? 6 : 5);
    sodium_memzero(text, sizeof text);
    if (!dz_buf_ok(to))
        return;
    file_check((dz_slice){ to->data + start, to->len - start }, check);
    dz_buf_printf(to, "check %s\n", check);
}

/* ---- Argon2id and the seal ---- */

static dz_status check_cost(uint32_t memory_kib, uint32_t passes, dz_err *err) {
    if (memory_kib < MEMORY_KIB_MIN || memory_kib > DZ_KEYFILE_MEMORY_KIB_MAX || passes < 1 ||
        passes > DZ_KEYFILE_PASSES_MAX)
        return DZ_FAIL(
            err, DZ_E_LIMIT,
            "passphrase cost of %u KiB and %u passes; %d to %d KiB and 1 to %d are taken",
            memory_kib, passes, MEMORY_KIB_MIN, DZ_KEYFILE_MEMORY_KIB_MAX, DZ_KEYFILE_PASSES_MAX);
    return DZ_OK;
}

static dz_status stretch(const keyfile *f, dz_slice passphrase, uint8_t ret_key[DZ_KEY_BYTES],
                         dz_err *err) {
    if (passphrase.len > DZ_KEYFILE_PASSPHRASE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "passphrase of %zu bytes; at most %d are taken",
                       passphrase.len, DZ_KEYFILE_PASSPHRASE_MAX);
    DZ_TRY(check_cost(f->memory_kib, f->passes, err));
    if (crypto_pwhash(ret_key, DZ_KEY_BYTES, (const char *) passphrase.data, passphrase.len,
                      f->salt, f->passes, (size_t) f->memory_kib * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for Argon2id (%u KiB)", f->memory_kib);
    return DZ_OK;
}

dz_status dz_keyfile_write_cost(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                                dz_slice passphrase, uint32_t memory_kib, uint32_t passes,
                                dz_buf *to, dz_err *err) {
    keyfile f = { .locked = passphrase.len > 0,
                  .vault = host->vault,
                  .epoch = host->epoch,
                  .memory_kib = memory_kib,
                  .passes = passes };
    dz_status st = DZ_OK;

    dz_keys_fingerprint(host, f.fingerprint);
    if (f.locked) {
        dz_autobuf dz_buf head = { 0 };
        uint8_t key[DZ_KEY_BYTES];

        dz_random(f.salt, sizeof f.salt);
        dz_random(f.body, NONCE_BYTES);
        put_head(&head, &f);
        st = dz_buf_ok(&head) ? stretch(&f, passphrase, key, err)
                              : DZ_FAIL(err, DZ_E_NOMEM, "no memory for a key file");
        if (st == DZ_OK)
            (void) crypto_aead_xchacha20poly1305_ietf_encrypt(f.body + NONCE_BYTES, NULL, root,
                                                              DZ_ROOT_BYTES, head.data, head.len,
                                                              NULL, f.body, key);
        sodium_memzero(key, sizeof key);
    } else
        memcpy(f.body, root, DZ_ROOT_BYTES);
    if (st == DZ_OK) {
        put_file(to, &f);
        if (!dz_buf_ok(to))
            st = DZ_FAIL(err, DZ_E_NOMEM, "no memory for a key file");
    }
    sodium_memzero(&f, sizeof f);
    return st;
}

dz_status dz_keyfile_write(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                           dz_slice passphrase, dz_buf *to, dz_err *err) {
    return dz_keyfile_write_cost(root, host, passphrase, DZ_KEYFILE_MEMORY_KIB, DZ_KEYFILE_PASSES,
                                 to, err);
}

/* ---- reading ---- */

/* The next line that is not empty, without the white space around it.  Empty: no more. */
static dz_slice next_line(dz_slice *rest) {
    while (rest->len > 0) {
        const uint8_t *end = memchr(rest->data, '\n', rest->len);
        size_t len = end ? (size_t) (end - rest->data) : rest->len;
        dz_slice line = { rest->data, len };

        *rest = (dz_slice){ rest->data + len + (end != NULL), rest->len - len - (end != NULL) };
        while (line.len > 0 && memchr(" \t\r", line.data[line.len - 1], 3))
            line.len--;
        while (line.len > 0 && memchr(" \t", line.data[0], 2))
            line = (dz_slice){ line.data + 1, line.len - 1 };
        if (line.len > 0)
            return line;
    }
    return (dz_slice){ 0 };
}

static dz_slice skip_mark(dz_slice file) {
    if (file.len >= 3 && memcmp(file.data, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        return (dz_slice){ file.data + 3, file.len - 3 };
    return file;
}

enum dz_keyfile_kind dz_keyfile_kind(dz_slice file) {
    dz_slice rest = skip_mark(file), line = next_line(&rest);

    if (dz_slice_eq(line, DZ_SLICE_LIT(raw_header)))
        return DZ_KEYFILE_RAW;
    if (dz_slice_eq(line, DZ_SLICE_LIT(locked_header)))
        return DZ_KEYFILE_PASSPHRASE;
    return dz_share_looks_like(file) ? DZ_KEYFILE_SHARE : DZ_KEYFILE_UNKNOWN;
}

/* Takes the word up to the next space. */
static dz_slice next_word(dz_slice *words) {
    const uint8_t *end = words->len ? memchr(words->data, ' ', words->len) : NULL;
    size_t len = end ? (size_t) (end - words->data) : words->len;
    dz_slice word = { words->data, len };

    *words = (dz_slice){ words->data + len + (end != NULL), words->len - len - (end != NULL) };
    return word;
}

static bool read_number(dz_slice word, uint32_t *ret_value) {
    uint64_t v = 0;

    if (word.len == 0 || word.len > 10 || (word.len > 1 && word.data[0] == '0'))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        v = v * 10 + (uint64_t) (word.data[i] - '0');
    }
    *ret_value = (uint32_t) v;
    return v <= UINT32_MAX;
}

/* Line `number` is "<name> <words>  <check>". */
static dz_status read_line(dz_slice *rest, unsigned number, const char *name, dz_slice *ret_words,
                           dz_err *err) {
    dz_slice line = next_line(rest);
    char check[2 * LINE_CHECK_BYTES + 1];
    const size_t tail = 2 + sizeof check - 1;
    dz_slice words;

    if (line.len == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "key file cut short before line %u (%s)", number, name);
    if (line.len <= tail)
        return DZ_FAIL(err, DZ_E_MALFORMED, "key file: line %u (%s) is cut short", number, name);
    words = (dz_slice){ line.data, line.len - tail };
    line_check(number, words, check);
    if (memcmp(line.data + words.len, "  ", 2) != 0 ||
        memcmp(line.data + words.len + 2, check, sizeof check - 1) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "key file: line %u (%s) is mistyped: it does not fit its check", number,
                       name);
    if (!dz_slice_eq(next_word(&words), (dz_slice){ (const uint8_t *) name, strlen(name) }))
        return DZ_FAIL(err, DZ_E_MALFORMED, "key file: line %u is not \"%s\"", number, name);
    *ret_words = words;
    return DZ_OK;
}

static dz_status bad_line(unsigned number, const char *name, dz_err *err) {
    return DZ_FAIL(err, DZ_E_MALFORMED, "key file: line %u (%s) does not say what it should",
                   number, name);
}

/* As dz_keys_fingerprint() writes it; only shown to people, never trusted. */
static bool is_fingerprint(dz_slice words) {
    for (size_t i = 0; i < words.len; i++)
        if (i % 5 == 4 ? words.data[i] != '-' : !memchr("0123456789abcdef", words.data[i], 16))
            return false;
    return words.len == FINGERPRINT;
}

static dz_status parse_head(dz_slice *rest, keyfile *f, dz_err *err) {
    dz_slice words, word;

    DZ_TRY(read_line(rest, 2, "vault", &words, err));
    if (!dz_unhex((const char *) words.data, words.len, f->vault.b, sizeof f->vault.b))
        return bad_line(2, "vault", err);
    DZ_TRY(read_line(rest, 3, "epoch", &words, err));
    if (!read_number(words, &f->epoch) || f->epoch == 0)
        return bad_line(3, "epoch", err);
    DZ_TRY(read_line(rest, 4, "fingerprint", &words, err));
    if (!is_fingerprint(words))
        return bad_line(4, "fingerprint", err);
    memcpy(f->fingerprint, words.data, FINGERPRINT);
    if (!f->locked)
        return DZ_OK;

    DZ_TRY(read_line(rest, 5, "argon2id", &words, err));
    word = next_word(&words);
    if (!read_number(word, &f->memory_kib))
        return bad_line(5, "argon2id", err);
    word = next_word(&words);
    if (!read_number(word, &f->passes) ||
        !dz_unhex((const char *) words.data, words.len, f->salt, sizeof f->salt))
        return bad_line(5, "argon2id", err);
    return check_cost(f->memory_kib, f->passes, err);
}

static dz_status parse(dz_slice file, keyfile *f, dz_err *err) {
    dz_slice rest = skip_mark(file), line, words;
    dz_autobuf_secret dz_buf again = { 0 };
    unsigned key_line;

    if (file.len > DZ_KEYFILE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "key file of %zu bytes; at most %d are read", file.len,
                       DZ_KEYFILE_MAX);
    line = next_line(&rest);
    f->locked = dz_slice_eq(line, DZ_SLICE_LIT(locked_header));
    if (!f->locked && !dz_slice_eq(line, DZ_SLICE_LIT(raw_header))) {
        if (line.len > 10 && (memcmp(line.data, raw_header, 10) == 0 ||
                              (line.len > 17 && memcmp(line.data, locked_header, 17) == 0)))
            return DZ_FAIL(err, DZ_E_UNSUPPORTED, "key file of another version than 1");
        return DZ_FAIL(err, DZ_E_MALFORMED, "not a key file: it does not begin with \"%s\"",
                       raw_header);
    }
    DZ_TRY(parse_head(&rest, f, err));
    key_line = f->locked ? 6 : 5;
    DZ_TRY(read_line(&rest, key_line, "key", &words, err));
    if (dz_base64_decode(words, f->body, body_bytes(f)) != body_bytes(f))
        return bad_line(key_line, "key", err);

    /* What was read, written again, gives the one right checksum: no second way to spell it. */
    put_file(&again, f);
    if (!dz_buf_ok(&again))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a key file");
    line = next_line(&rest);
    if (line.len == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "key file cut short before line %u (check)",
                       key_line + 1);
    if (!dz_slice_eq(line, (dz_slice){ again.data + again.len - 1 - CHECK_LINE, CHECK_LINE }))
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "key file: line %u (check) does not fit the lines above it", key_line + 1);
    if (next_line(&rest).len != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "key file: something follows line %u", key_line + 1);
    return DZ_OK;
}

static dz_status check_vault(const keyfile *f, const struct dz_host_keys *host, dz_err *err) {
    char theirs[2 * DZ_VAULT_ID_BYTES + 1], ours[2 * DZ_VAULT_ID_BYTES + 1];

    if (memcmp(f->vault.b, host->vault.b, sizeof f->vault.b) != 0) {
        dz_hex(f->vault.b, sizeof f->vault.b, theirs);
        dz_hex(host->vault.b, sizeof host->vault.b, ours);
        return DZ_FAIL(err, DZ_E_POLICY, "key file of another vault: of %s, this is %s", theirs,
                       ours);
    }
    if (f->epoch != host->epoch)
        return DZ_FAIL(err, DZ_E_POLICY, "key file of epoch %u; the vault is in epoch %u", f->epoch,
                       host->epoch);
    return DZ_OK;
}

static dz_status unlock(const keyfile *f, dz_slice passphrase, uint8_t ret_root[DZ_ROOT_BYTES],
                        dz_err *err) {
    dz_autobuf dz_buf head = { 0 };
    uint8_t key[DZ_KEY_BYTES];
    dz_status st;

    if (passphrase.len == 0)
        return DZ_FAIL(err, DZ_E_CLOSED, "this key file needs its passphrase");
    put_head(&head, f);
    if (!dz_buf_ok(&head))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a key file");
    st = stretch(f, passphrase, key, err);
    if (st == DZ_OK && crypto_aead_xchacha20poly1305_ietf_decrypt(
                           ret_root, NULL, NULL, f->body + NONCE_BYTES, SEALED_BYTES, head.data,
                           head.len, f->body, key) != 0)
        st = DZ_FAIL(err, DZ_E_CLOSED, "the passphrase does not open this key file");
    sodium_memzero(key, sizeof key);
    return st;
}

dz_status dz_keyfile_read(dz_slice file, const struct dz_host_keys *host, dz_slice passphrase,
                          uint8_t ret_root[DZ_ROOT_BYTES], dz_err *err) {
    DZ_AUTO(dz_open_keys) open = NULL;
    uint8_t root[DZ_ROOT_BYTES] = { 0 };
    keyfile f = { 0 };
    dz_status st = parse(file, &f, err);

    if (st == DZ_OK)
        st = check_vault(&f, host, err);
    if (st == DZ_OK && f.locked)
        st = unlock(&f, passphrase, root, err);
    else if (st == DZ_OK)
        memcpy(root, f.body, sizeof root);
    if (st == DZ_OK)
        st = dz_keys_derive(root, &host->vault, host->epoch, NULL, &open, err);
    if (st == DZ_OK && memcmp(open->recipient, host->recipient, sizeof open->recipient) != 0)
        st = DZ_FAIL(err, DZ_E_MALFORMED, "key file: its key is not this vault's");
    if (st == DZ_OK)
        memcpy(ret_root, root, sizeof root);
    sodium_memzero(root, sizeof root);
    sodium_memzero(&f, sizeof f);
    return st;
}
