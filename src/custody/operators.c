#include "custody/operators.h"

#include <fcntl.h>
#include <stdio.h>

#include "core/durable.h"
#include "custody/quorum.h"

enum { FILE_MAX = 256 << 10, LINE_MAX_BYTES = 4096 };

void dz_operators_release(struct dz_operators *o) {
    for (size_t i = 0; i < o->n; i++)
        free(o->lines[i]);
    *o = (struct dz_operators){ 0 };
}

/* Which word is the base64 of a key: all of them begin with the length of their type. */
static bool looks_like_key(const char *word) {
    return strncmp(word, "AAAA", 4) == 0;
}

static dz_status take_line(struct dz_operators *o, char *line, unsigned number, dz_err *err) {
    char *save = NULL, *words[3], *name, *text;
    dz_autobuf dz_buf key_line = { 0 };
    dz_err why = { 0 };
    dz_ssh_key key;

    for (size_t i = 0; i < 3; i++)
        words[i] = strtok_r(i ? NULL : line, " \t\r", &save);
    if (!words[0] || words[0][0] == '#')
        return DZ_OK;
    if (!words[1] || !words[2])
        return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: a name and a public key are needed",
                       number);
    name = looks_like_key(words[1]) ? words[2] : words[0];
    dz_buf_printf(&key_line, "%s %s", looks_like_key(words[1]) ? words[0] : words[1],
                  looks_like_key(words[1]) ? words[1] : words[2]);
    if (!dz_buf_ok(&key_line))
        return DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
    if (dz_ssh_key_parse(dz_buf_slice(&key_line), &key, NULL, &why) != DZ_OK)
        return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: %.150s", number, why.what);
    if (!dz_operator_name_ok((dz_slice){ (const uint8_t *) name, strlen(name) }))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "operators, line %u: a name has up to 64 bytes, all visible, and no quotes",
                       number);
    for (size_t i = 0; i < o->n; i++) {
        if (dz_ssh_key_eq(&o->keys[i], &key))
            return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: this key stands there twice",
                           number);
        if (strcmp(strrchr(o->lines[i], ' ') + 1, name) == 0)
            return DZ_FAIL(err, DZ_E_USAGE, "operators, line %u: this name stands there twice",
                           number);
    }
    if (o->n == DZ_OPERATORS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "more than %d operators", (int) DZ_OPERATORS_MAX);
    if (asprintf(&text, "%.*s %s", (int) key_line.len, (const char *) key_line.data, name) < 0)
        return DZ_FAIL(err, DZ_E_NOMEM, "operators: out of memory");
    o->keys[o->n] = key;
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
