/* core/hex.h -- object names as text: lower-case hexadecimal, two digits a byte. */
#pragma once

#include "core/slice.h"

/* Writes 2 * len digits and a NUL. */
void dz_hex(const uint8_t *bytes, size_t len, char *ret_text);

/* Reads exactly 2 * len lower-case digits.  False when `text` is anything else. */
bool dz_unhex(const char *text, size_t text_len, uint8_t *ret_bytes, size_t len);
