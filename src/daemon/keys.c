#include "daemon/keys.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/utf8.h"

enum { SHOWN = 40 /* bytes of a value that a message repeats */ };

dz_status dz_key_refuse(const struct dz_yaml *y, int line, const dz_key *key, dz_err *err,
                        const char *what, ...) {
    char text[sizeof err->what];
    va_list args;

    va_start(args, what);
    (void) vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return DZ_FAIL(err, DZ_E_MALFORMED, "%.80s:%d: %s%s%s%s%s", y->name, line, key ? key->name : "",
                   key ? ": " : "", text, key && key->allowed ? "; allowed: " : "",
                   key && key->allowed ? key->allowed : "");
}

static dz_status no_memory(const dz_key *key, dz_err *err) {
    return DZ_FAIL(err, DZ_E_NOMEM, "%s: out of memory", key->name);
}

/* --- a mapping -------------------------------------------------------------------------------- */

static const dz_key *find(const dz_key *const *tables, const char *name) {
    for (; *tables; tables++)
        for (const dz_key *k = *tables; k->name; k++)
            if (strcmp(k->name, name) == 0)
                return k;
    return NULL;
}

static dz_status unknown(const struct dz_yaml *y, const yaml_node_t *at, const char *name,
                         const dz_key *const *tables, dz_err *err) {
    dz_autobuf dz_buf names = { 0 };
    dz_key key = { .name = name };

    for (; *tables; tables++)
        for (const dz_key *k = *tables; k->name; k++)
            dz_buf_printf(&names, "%s%s", names.len ? ", " : "", k->name);
    dz_buf_put_u8(&names, '\0');
    if (!dz_buf_ok(&names))
        return no_memory(&key, err);
    key.allowed = (const char *) names.data;
    return dz_key_refuse(y, dz_yaml_line(at), NULL, err, "%.*s: no such key here; allowed: %s",
                         (int) SHOWN, name, key.allowed);
}

/* The line where the key stands before `pair`; 0: nowhere. */
static int earlier_line(const struct dz_yaml *y, const yaml_node_t *map,
                        const yaml_node_pair_t *pair, const char *name) {
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const char *other = dz_yaml_text(dz_yaml_node(y, p->key));

        if (other && strcmp(other, name) == 0)
            return dz_yaml_line(dz_yaml_node(y, p->key));
    }
    return 0;
}

static dz_status read_pair(const struct dz_yaml *y, const yaml_node_t *map,
                           const yaml_node_pair_t *pair, const dz_key *const *tables, void *into,
                           dz_err *err) {
    const yaml_node_t *at = dz_yaml_node(y, pair->key);
    const char *name = dz_yaml_text(at);
    const dz_key *key = name ? find(tables, name) : NULL;
    int before;

    if (!name)
        return dz_key_refuse(y, dz_yaml_line(at), NULL, err, "a key is a word");
    if (!key)
        return unknown(y, at, name, tables, err);
    before = earlier_line(y, map, pair, name);
    if (before > 0)
        return dz_key_refuse(y, dz_yaml_line(at), NULL, err, "%s: stands in line %d already", name,
                             before);
    return key->read(y, dz_yaml_node(y, pair->value), key, (char *) into + key->at, err);
}

static bool is_there(const struct dz_yaml *y, const yaml_node_t *map, const char *name) {
    return earlier_line(y, map, map->data.mapping.pairs.top, name) > 0;
}

dz_status dz_keys_read(const struct dz_yaml *y, const yaml_node_t *map, const dz_key *const *tables,
                       void *into, dz_err *err) {
    if (map->type != YAML_MAPPING_NODE)
        return dz_key_refuse(y, dz_yaml_line(map), NULL, err,
                             "here belong keys with values, such as %s:", tables[0][0].name);
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++)
        DZ_TRY(read_pair(y, map, p, tables, into, err));
    for (; *tables; tables++)
        for (const dz_key *k = *tables; k->name; k++)
            if (k->required && !is_there(y, map, k->name))
                return dz_key_refuse(y, dz_yaml_line(map), k, err, "is missing");
    return DZ_OK;
}

/* --- texts ------------------------------------------------------------------------------------ */

static dz_status take_text(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           bool lines, char **ret_text, dz_err *err) {
    const char *text = dz_yaml_text(value);
    dz_slice bytes = { (const uint8_t *) text, text ? strlen(text) : 0 };

    if (bytes.len == 0)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, text ? "is empty" : "is no text");
    if (!dz_utf8_clean(bytes, lines))
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "has control characters");
    *ret_text = strdup(text);
    return *ret_text ? DZ_OK : no_memory(key, err);
}

dz_status dz_key_text(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                      void *field, dz_err *err) {
    return take_text(y, value, key, false, field, err);
}

dz_status dz_key_script(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                        void *field, dz_err *err) {
    return take_text(y, value, key, true, field, err);
}

dz_status dz_key_path(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                      void *field, dz_err *err) {
    char **path = field;

    DZ_TRY(take_text(y, value, key, false, path, err));
    if (**path != '/')
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.*s\"", (int) SHOWN, *path);
    return DZ_OK;
}

void dz_texts_release(dz_texts *t) {
    for (size_t i = 0; i < t->n; i++)
        free(t->list[i]);
    free((void *) t->list);
    *t = (dz_texts){ 0 };
}

static dz_status take_list(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           dz_key_reader *each, void *field, dz_err *err) {
    const yaml_node_item_t *item, *end;
    dz_texts *t = field;

    if (value->type != YAML_SEQUENCE_NODE)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "is no list");
    item = value->data.sequence.items.start;
    end = value->data.sequence.items.top;
    if (item == end)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "is an empty list");
    if (end - item > DZ_KEY_LIST_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%.80s:%d: %s: %td entries; allowed: up to %d", y->name,
                       dz_yaml_line(value), key->name, end - item, (int) DZ_KEY_LIST_MAX);
    t->list = calloc((size_t) (end - item) + 1, sizeof *t->list);
    if (!t->list)
        return no_memory(key, err);
    for (; item < end; item++) {
        dz_status s = each(y, dz_yaml_node(y, *item), key, &t->list[t->n], err);

        t->n += t->list[t->n] != NULL;
        DZ_TRY(s);
    }
    return DZ_OK;
}

dz_status dz_key_texts(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                       void *field, dz_err *err) {
    return take_list(y, value, key, dz_key_text, field, err);
}

dz_status dz_key_paths(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                       void *field, dz_err *err) {
    return take_list(y, value, key, dz_key_path, field, err);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static dz_status refuse_value(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                              dz_err *err) {
    const char *text = dz_yaml_text(value);

    if (!text)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "is a list or a mapping");
    return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.*s\"", (int) SHOWN, text);
}

dz_status dz_key_duration(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                          void *field, dz_err *err) {
    const char *text = dz_yaml_text(value);
    int64_t *us = field, got = 0;

    if (!text || !(strcmp(text, "0") == 0 || dz_duration_parse(text, &got)) || got < key->min ||
        got > key->max)
        return refuse_value(y, value, key, err);
    *us = got;
    return DZ_OK;
}

dz_status dz_key_count(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                       void *field, dz_err *err) {
    const char *text = dz_yaml_text(value);
    unsigned *count = field;
    int64_t n = 0;

    if (!text || !*text || strlen(text) > 9 || text[strspn(text, "0123456789")] != '\0')
        return refuse_value(y, value, key, err);
    for (; *text; text++)
        n = 10 * n + (*text - '0');
    if (n < key->min || n > key->max)
        return refuse_value(y, value, key, err);
    *count = (unsigned) n;
    return DZ_OK;
}

dz_status dz_key_yes(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                     void *field, dz_err *err) {
    const char *text = dz_yaml_text(value);
    bool *yes = field;

    if (!text)
        return refuse_value(y, value, key, err);
    *yes = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    if (!*yes && strcmp(text, "no") != 0 && strcmp(text, "false") != 0)
        return refuse_value(y, value, key, err);
    return DZ_OK;
}
