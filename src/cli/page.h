/* cli/page.h -- a printed page (PDF) of a share or a checkpoint, drawn by a program of its own.
 *
 * dozo-share-page loads the fonts and text libraries that nothing else needs, and what those leave
 * in memory dies with it. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "core/buf.h"

/* Where a program of ours is: beside this one, as in a build directory; else where it is installed.
 * False when it is not there. */
bool dz_cli_program(const char *name, char path[PATH_MAX]);

/* Runs dozo-share-page with these arguments (NULL ends them; at most 2) and `input`, and appends
 * the PDF.  False when it cannot be drawn here. */
bool dz_cli_page(const char *const arguments[], dz_slice input, dz_buf *to);
