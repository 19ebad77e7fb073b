/* core/dir.h -- the names in a directory.
 *
 *   dirfd ─▶ [each] ─▶ name, name, name ... in no order
 *
 * Thread-safe. */
#pragma once

#include "core/error.h"

/* `name` is borrowed for the call.  Anything but DZ_OK ends the visit and is handed up. */
typedef dz_status dz_dir_visit(void *ctx, const char *name, dz_err *err);

/* Visits each name but "." and "..".  `dirfd` is an open directory, borrowed; its position does not
 * move.  Names may be removed by the visitor; whether it meets those added meanwhile is open.
 * DZ_E_IO: "listing WHAT"; some names were not visited. */
dz_status dz_dir_each(int dirfd, const char *what, dz_dir_visit *visit, void *ctx,
                      dz_err *err) DZ_MUST_CHECK;
