/* daemon/yaml_file.h -- a YAML file as a tree in which every value knows its line.
 *
 *   bytes ─▶ limits, and what of YAML we do not use ─▶ [yaml_document_t] ─▶ daemon/keys.h
 *
 * Written for people who edit it: mappings, lists and texts.  Anchors, aliases, tags and further
 * documents are refused: they make a file that means something else than it shows, and let a short
 * one grow.  Belongs to one thread. */
#pragma once

#include <yaml.h>

#include "core/cleanup.h"
#include "core/error.h"
#include "core/slice.h"

enum {
    DZ_YAML_MAX = 256 << 10, /* bytes of a file */
    DZ_YAML_DEPTH_MAX = 8,
    DZ_YAML_TEXT_MAX = 4096, /* bytes of one value */
};

struct dz_yaml {
    const char *name; /* of the file, for messages; borrowed */
    yaml_document_t doc;
    bool loaded;
};

/* `name` must outlive it; `text` need not.  The caller releases *ret_yaml.  An empty file has no
 * root.  DZ_E_MALFORMED names file and line; DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_yaml_read(dz_slice text, const char *name, struct dz_yaml *ret_yaml,
                       dz_err *err) DZ_MUST_CHECK;
void dz_yaml_release(struct dz_yaml *y); /* a zeroed one is fine */

/* Borrowed from the tree.  The root is NULL when the file says nothing. */
yaml_node_t *dz_yaml_root(const struct dz_yaml *y);
yaml_node_t *dz_yaml_node(const struct dz_yaml *y, int index);
static inline int dz_yaml_line(const yaml_node_t *n) {
    return (int) n->start_mark.line + 1;
}
/* The text of a scalar, without NULs inside; NULL: it is a list or a mapping. */
const char *dz_yaml_text(const yaml_node_t *n);
