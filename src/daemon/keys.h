/* daemon/keys.h -- a mapping of a configuration file, read by a table of its keys.
 *
 *   node + table ─▶ [keys] ─▶ fields of a struct      or: FILE:LINE: KEY: what; allowed: what may
 *
 * A key is a row; what kinds of values there are is the list of readers below.  Unknown keys,
 * keys that stand there twice and values of another kind are refused.  Belongs to one thread. */
#pragma once

#include "daemon/yaml_file.h"

typedef struct dz_key dz_key;

/* Puts the value into `field`.  Failures name the place: dz_key_refuse(). */
typedef dz_status dz_key_reader(const struct dz_yaml *y, const yaml_node_t *value,
                                const dz_key *key, void *field, dz_err *err);

struct dz_key {
    const char *name; /* NULL ends a table */
    dz_key_reader *read;
    size_t at;           /* of the field in the struct that is filled */
    const char *allowed; /* for people: what may stand there */
    bool required;
    int64_t min, max; /* of numbers and durations (microseconds) */
};

enum { DZ_KEY_LIST_MAX = 1000, DZ_KEY_TABLES_MAX = 3 };

/* Fills `into` from the mapping `map`, whose keys are those of all `tables` (NULL ends them).
 * Texts and lists put there are owned by the struct, also when it fails.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_keys_read(const struct dz_yaml *y, const yaml_node_t *map, const dz_key *const *tables,
                       void *into, dz_err *err) DZ_MUST_CHECK;

/* "FILE:LINE: KEY: WHAT; allowed: ..."; `key` may be NULL.  Gives DZ_E_MALFORMED. */
dz_status dz_key_refuse(const struct dz_yaml *y, int line, const dz_key *key, dz_err *err,
                        const char *what, ...) DZ_PRINTF(5, 6);

/* The texts of a list; NULL ends them. */
typedef struct dz_texts {
    char **list;
    size_t n;
} dz_texts;
void dz_texts_release(dz_texts *t);

/* Readers, and their fields. */
dz_key_reader dz_key_text;     /* char *: one line of UTF-8 */
dz_key_reader dz_key_script;   /* char *: lines */
dz_key_reader dz_key_path;     /* char *: absolute */
dz_key_reader dz_key_texts;    /* dz_texts: at least one */
dz_key_reader dz_key_paths;    /* dz_texts: at least one, absolute */
dz_key_reader dz_key_duration; /* int64_t: microseconds, min to max; "0" where min is 0 */
dz_key_reader dz_key_count;    /* unsigned: min to max */
dz_key_reader dz_key_yes;      /* bool: yes, no, true, false */
