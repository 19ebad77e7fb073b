/* core/text_table.h -- what tools/po2c.py makes of po/ja.po; only for core/text.c and its test. */
#pragma once

#include <stddef.h>

struct dz_text_pair {
    const char *english;
    const char *japanese; /* UTF-8 */
};

extern const struct dz_text_pair dz_text_table[]; /* sorted by strcmp of english */
extern const size_t dz_text_table_len;            /* pairs */
