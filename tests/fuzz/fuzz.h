/* tests/fuzz/fuzz.h -- what every fuzz target shares.
 *
 * A target states a property of hostile bytes, not only "does not crash": usually "what was
 * accepted re-serialises to the same bytes", "accepted sizes lie inside the input", or "two ways
 * of reading agree".  To add one: write fuzz_<name>.c, put a row into meson.build, put a few small
 * real inputs into corpus/<name>/ (short names; the bytes synthetic). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert, but on in every build. */
#define MUST(cond)   \
    do {             \
        if (!(cond)) \
            abort(); \
    } while (0)
