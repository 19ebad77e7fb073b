#include "daemon/yaml_file.h"

/* --- what we do not use ----------------------------------------------------------------------- */

struct scan {
    const char *name;
    int depth, documents;
};

static dz_status refuse(const struct scan *s, const yaml_event_t *e, const char *what,
                        dz_err *err) {
    return DZ_FAIL(err, DZ_E_MALFORMED, "%.80s:%d: %s", s->name, (int) e->start_mark.line + 1,
                   what);
}

static dz_status scan_scalar(const struct scan *s, const yaml_event_t *e, dz_err *err) {
    if (e->data.scalar.anchor)
        return refuse(s, e, "anchors (&) are not used here", err);
    if (e->data.scalar.tag)
        return refuse(s, e, "tags (!) are not used here", err);
    if (memchr(e->data.scalar.value, '\0', e->data.scalar.length))
        return refuse(s, e, "a NUL within a text", err);
    if (e->data.scalar.length > DZ_YAML_TEXT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%.80s:%d: a text of %zu bytes; allowed: up to %d", s->name,
                       (int) e->start_mark.line + 1, e->data.scalar.length, (int) DZ_YAML_TEXT_MAX);
    return DZ_OK;
}

static dz_status scan_nested(struct scan *s, const yaml_event_t *e, const yaml_char_t *anchor,
                             const yaml_char_t *tag, dz_err *err) {
    if (anchor)
        return refuse(s, e, "anchors (&) are not used here", err);
    if (tag)
        return refuse(s, e, "tags (!) are not used here", err);
    if (++s->depth > DZ_YAML_DEPTH_MAX)
        return refuse(s, e, "lists and mappings nested too deep", err);
    return DZ_OK;
}

static dz_status scan_event(struct scan *s, const yaml_event_t *e, dz_err *err) {
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return refuse(
            s, e, "aliases (*) are not used here; put a text that begins with * in quotes", err);
    case YAML_SCALAR_EVENT:
        return scan_scalar(s, e, err);
    case YAML_SEQUENCE_START_EVENT:
        return scan_nested(s, e, e->data.sequence_start.anchor, e->data.sequence_start.tag, err);
    case YAML_MAPPING_START_EVENT:
        return scan_nested(s, e, e->data.mapping_start.anchor, e->data.mapping_start.tag, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        s->depth--;
        return DZ_OK;
    case YAML_DOCUMENT_START_EVENT:
        return ++s->documents > 1 ? refuse(s, e, "a second document (---) begins here", err)
                                  : DZ_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    default:
        return DZ_OK;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static dz_status parser_start(yaml_parser_t *p, dz_slice text, dz_err *err) {
    if (!yaml_parser_initialize(p))
        return DZ_FAIL(err, DZ_E_NOMEM, "YAML: out of memory");
    yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(p, text.data ? text.data : (const uint8_t *) "", text.len);
    return DZ_OK;
}

static dz_status parser_failed(const yaml_parser_t *p, dz_slice text, const char *name,
                               dz_err *err) {
    size_t line = p->problem_mark.line;

    if (p->error == YAML_MEMORY_ERROR)
        return DZ_FAIL(err, DZ_E_NOMEM, "YAML: out of memory");
    if (p->error == YAML_READER_ERROR) { /* it tells an offset only */
        line = 0;
        for (size_t i = 0; i < text.len && i < p->problem_offset; i++)
            line += text.data[i] == '\n';
    }
    return DZ_FAIL(err, DZ_E_MALFORMED, "%.80s:%zu: %s", name, line + 1,
                   p->problem ? p->problem : "not YAML");
}

static dz_status scan(dz_slice text, const char *name, dz_err *err) {
    struct scan s = { .name = name };
    yaml_parser_t p;
    bool end = false;
    dz_status st;

    DZ_TRY(parser_start(&p, text, err));
    do {
        yaml_event_t e;

        if (!yaml_parser_parse(&p, &e)) {
            st = parser_failed(&p, text, name, err);
            break;
        }
        st = scan_event(&s, &e, err);
        end = e.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    } while (st == DZ_OK && !end);
    yaml_parser_delete(&p);
    return st;
}

dz_status dz_yaml_read(dz_slice text, const char *name, struct dz_yaml *ret_yaml, dz_err *err) {
    struct dz_yaml y = { .name = name };
    yaml_parser_t p;
    dz_status st = DZ_OK;

    if (text.len > DZ_YAML_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%.80s: %zu bytes; allowed: up to %d", name, text.len,
                       (int) DZ_YAML_MAX);
    DZ_TRY(scan(text, name, err));
    DZ_TRY(parser_start(&p, text, err));
    if (yaml_parser_load(&p, &y.doc))
        y.loaded = true;
    else
        st = parser_failed(&p, text, name, err);
    yaml_parser_delete(&p);
    DZ_TRY(st);
    *ret_yaml = y;
    return DZ_OK;
}

void dz_yaml_release(struct dz_yaml *y) {
    if (y->loaded)
        yaml_document_delete(&y->doc);
    *y = (struct dz_yaml){ 0 };
}

/* libyaml's getters take a document to be changed, and change nothing. */
yaml_node_t *dz_yaml_node(const struct dz_yaml *y, int index) {
    return y->doc.nodes.start + (index - 1);
}

yaml_node_t *dz_yaml_root(const struct dz_yaml *y) {
    return y->doc.nodes.top == y->doc.nodes.start ? NULL : y->doc.nodes.start;
}

const char *dz_yaml_text(const yaml_node_t *n) {
    const void *value = n->data.scalar.value;

    return n->type == YAML_SCALAR_NODE ? value : NULL;
}
