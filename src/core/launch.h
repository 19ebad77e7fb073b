/* core/launch.h -- starts a program with given ends for its input and output: what core/run.h and
 * core/child.h share.
 *
 * It starts with no signal blocked and SIGPIPE as usual, whatever we do ourselves, and inherits our
 * environment and standard error.  Thread-safe. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Starts argv[0], looked for along PATH if it has no '/'.  `in` and `out` stay the caller's.
 * `group`: in a process group of its own.  Gives 0, or an errno. */
int dz_launch(const char *const argv[], int in, int out, bool group, pid_t *ret_pid);

/* Where a program of ours is: beside this one, as in a build directory; else in `installed`.  False
 * when it is not there. */
bool dz_program_find(const char *name, const char *installed, char ret_path[PATH_MAX]);
