/* cli/page.h -- a printed page (PDF) of a share or a checkpoint, drawn by a program of its own.
 *
 * dozo-share-page loads the fonts and text libraries that nothing else needs, and what those leave
 * in memory dies with it. */
#pragma once

#include <stdbool.h>

#include "core/buf.h"

/* Runs dozo-share-page with these arguments (NULL ends them; at most 2) and `input`, and appends
 * the PDF.  False when it cannot be drawn here. */
bool dz_cli_page(const char *const arguments[], dz_slice input, dz_buf *to);
