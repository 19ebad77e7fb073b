/* core/standard_files.h -- a program may be started without standard input, output or error. */
#pragma once

#include <stdbool.h>

/* Opens /dev/null in the place of those that are closed: else a file of the vault could become one
 * of them, and what is printed would land in it.  False: /dev/null cannot be opened.  Call it first
 * of all, before threads start. */
bool dz_standard_files_open(void);
