/* core/utf8.h -- text from outside: is it UTF-8, and does it show what it says?  Thread-safe. */
#pragma once

#include "core/slice.h"

/* Takes one code point; false when the bytes are not the shortest UTF-8 of a scalar value. */
bool dz_utf8_take(dz_reader *r, uint32_t *ret_point);

/* UTF-8 without control characters; newlines too only if `lines`. */
bool dz_utf8_clean(dz_slice s, bool lines);

/* The same on one line, and nothing in it that a reader cannot see or that turns what follows
 * round (bidirectional controls, zero-width characters, line separators): for what people sign. */
bool dz_utf8_plain(dz_slice s);
