/* crypto/base64.h -- base64 (RFC 4648 section 4, with padding) as it is read: one spelling only.
 *
 * libsodium 1.0.18 takes every byte from 0x80 on for a digit where `char` is signed, so that a text
 * could be changed and still mean the same.  What we accept is written back as the same bytes. */
#pragma once

#include "core/slice.h"

/* Decodes all of `text` into `to`.  Gives the number of bytes, at most `max`; 0 when the text is
 * empty, is not base64 in its one spelling, or holds more than `max` bytes. */
size_t dz_base64_decode(dz_slice text, uint8_t *to, size_t max);
