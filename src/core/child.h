/* core/child.h -- a program that runs beside us: started, read from as it writes, waited for.
 *
 *   /dev/null ─▶ its standard input     its standard output ─▶ pipe, or our standard error
 *
 * Unlike core/run.h there is no limit of time or bytes, and the program stays in our process group,
 * so that Ctrl-C on a terminal reaches both.  It starts with no signal blocked and SIGPIPE as
 * usual, whatever we do ourselves.  What it says on standard error goes where ours goes.
 * Thread-safe; a child belongs to one thread at a time. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "core/error.h"

enum dz_child_output { DZ_CHILD_TO_PIPE, DZ_CHILD_TO_STDERR };

struct dz_child {
    pid_t pid; /* 0: none, or waited for already */
    int out;   /* its standard output, to be read; -1: none.  Owned. */
};
#define DZ_CHILD_NONE ((struct dz_child){ .out = -1 })

/* How it ended.  All zero: well. */
struct dz_child_end {
    int code;   /* exit status */
    int signal; /* that ended it, or 0 */
    int lost;   /* errno: nobody can tell how it ended; or 0 */
};
static inline bool dz_child_ended_well(const struct dz_child_end *e) {
    return e->code == 0 && e->signal == 0 && e->lost == 0;
}

/* Starts argv[0], looked for along PATH, with argv (NULL ends it) and our environment.  The caller
 * waits for it or stops it.  DZ_E_IO: it could not be started. */
dz_status dz_child_start(const char *const argv[], enum dz_child_output where,
                         struct dz_child *ret_child, dz_err *err) DZ_MUST_CHECK;
/* The same for a line of the shell (/bin/sh -c). */
dz_status dz_child_start_line(const char *line, enum dz_child_output where,
                              struct dz_child *ret_child, dz_err *err) DZ_MUST_CHECK;

/* Waits for its end however long that takes, and closes c->out. */
struct dz_child_end dz_child_wait(struct dz_child *c);
/* What waitpid() gave. */
struct dz_child_end dz_child_end_of(int wait_status);

/* Closes c->out, asks it to end (SIGTERM), and after `grace_ms` makes it (SIGKILL).  Nothing to do
 * for one that was waited for. */
void dz_child_stop(struct dz_child *c, int grace_ms);

/* "exit status 3", "signal 9 (Killed)", in the language of messages. */
enum { DZ_CHILD_END_TEXT = 96 };
void dz_child_end_text(const struct dz_child_end *e, char ret_text[DZ_CHILD_END_TEXT]);
