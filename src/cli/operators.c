#include "cli/operators.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>

#include "core/durable.h"

enum { FILE_MAX = 256 << 10, LINE_MAX_BYTES = 4096, BLOB_MAX = 2048 };

void dz_operators_release(struct dz_operators *o) {
    for (size_t i = 0; i < o->n; i++)
        free(o->lines[i]);
    *o = (struct dz_operators){ 0 };
}

/* The types that can sign for `dozo approve`: no RSA, no DSA. */
static bool known_type(const char *word) {
    static const char *const types[] = {
        "ssh-ed25519",         "sk-ssh-ed25519@openssh.com",         "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384", "sk-ecdsa-sha2-nistp256@openssh.com", "ecdsa-sha2-nistp521",
    };

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(word, types[i]) == 0)
            return true;
    return false;
}

/* RFC 4253, 6.6: the key begins with its own type, as a string behind its length. */
static bool key_fits(const char *type, const char *base64) {
    uint8_t blob[BLOB_MAX];
    size_t n = 0, len = strlen(type);

    return sodium_base642bin(blob, sizeof blob, base64, strlen(base64), NULL, &n, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           n > 4 + len && blob[0] == 0 && blob[1] == 0 && blob[2] == 0 && blob[3] == len &&
           memcmp(blob + 4, type, len) == 0;
}

static bool name_ok(const char *name) {
    if (strlen(name) > 64)
        return false;
    for (; *name; name++)
        if ((unsigned char) *name <= ' ' || *name == '"' || *name == '\\' || *name == 0x7f)
            return false;
    return true;
}

static dz_status take_line(struct dz_operators *o, char *line, unsigned number, dz_err *err) {
    char *save = NULL, *words[3], *type, *key, *name, *text;

    for (size_t i = 0; i < 3; i++)
        words[i] = strtok_r(i ? NULL : line, " \t\r", &save);
    if (!words[0] || words[0][0] == '#')
        return DZ_OK;
    if (!words[1] || !words[2])
        return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: a name and a public key are needed",
                       number);
    type = known_type(words[0]) ? words[0] : words[1];
    key = type == words[0] ? words[1] : words[2];
    name = type == words[0] ? words[2] : words[0];
    if (!known_type(type))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "operators, line %u: no key of type ssh-ed25519, "
                       "sk-ssh-ed25519@openssh.com or ecdsa",
                       number);
    if (!key_fits(type, key))
        return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: the key is damaged or of another type",
                       number);
    if (!name_ok(name))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "operators, line %u: a name has up to 64 bytes and no quotes", number);
    for (size_t i = 0; i < o->n; i++)
        if (strstr(o->lines[i], key))
            return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: this key stands there twice",
                           number);
    if (o->n == DZ_OPERATORS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "more than %d operators", (int) DZ_OPERATORS_MAX);
    if (asprintf(&text, "%s %s %s", type, key, name) < 0)
        return DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
    o->lines[o->n++] = text;
    return DZ_OK;
}

dz_status dz_operators_read(const char *file, struct dz_operators *ret_operators, dz_err *err) {
    struct dz_operators o = { 0 };
    dz_autobuf dz_buf text = { 0 };
    unsigned number = 0;
    dz_reader r;
    dz_status s = dz_read_file(AT_FDCWD, file, FILE_MAX, &text, err);

    if (s != DZ_OK)
        return dz_err_context(err, s, "operators %.90s", file);
    dz_buf_put_u8(&text, '\n');
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
    r = dz_reader_over(dz_buf_slice(&text));
    while (s == DZ_OK && dz_reader_left(&r) > 0) {
        dz_slice line = dz_read_until(&r, '\n');
        char copy[LINE_MAX_BYTES];
        number++;
        if (line.len >= sizeof copy) {
            s = DZ_FAIL(err, DZ_E_LIMIT, "operators, line %u: longer than %d bytes", number,
                        (int) LINE_MAX_BYTES);
            break;
        }
        (void) snprintf(copy, sizeof copy, "%.*s", (int) line.len, (const char *) line.data);
        s = take_line(&o, copy, number, err);
    }
    if (s == DZ_OK && o.n == 0)
        s = DZ_FAIL(err, DZ_E_USAGE, "operators: the file names nobody");
    if (s != DZ_OK)
        dz_operators_release(&o);
    else
        *ret_operators = o;
    return s;
}
