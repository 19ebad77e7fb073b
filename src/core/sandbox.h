/* core/sandbox.h -- a process gives away what it has no use for, before it reads a stranger's
 * bytes.
 *
 *   begin ─▶ user or powers ─▶ files ─▶ calls ─▶ hostile bytes
 *
 * In this order, in a process of a single thread.  There is no way back, and no sandbox means no
 * service: where a step fails, the process must end.  What was given away is refused with EPERM or
 * EACCES and not punished with death: a library that tries something new after an update does
 * without it, and a backup is still made.
 * Descriptors that are open stay open: they are the only way out. */
#pragma once

#include <stddef.h>

#include "core/error.h"

/* No core dump, no debugger, no privilege from a program that is run, no file written that is not
 * open; at most so many bytes of memory (0: as many as it likes); dies with its parent.  DZ_E_IO.
 */
dz_status dz_sandbox_begin(size_t memory_max, dz_err *err) DZ_MUST_CHECK;

enum { DZ_SANDBOX_NOBODY = 65534 };
/* Root becomes nobody; everybody else stays who they are.  DZ_E_IO. */
dz_status dz_sandbox_user(dz_err *err) DZ_MUST_CHECK;

/* For a process that outlives who started it: no longer dies with its parent.  DZ_E_IO. */
dz_status dz_sandbox_outlive(dz_err *err) DZ_MUST_CHECK;

/* From now on only these files, and what is below these directories, can be opened, and read alone
 * (Landlock).  NULL ends the list; a path that is not there is passed over.  Called again
 * with less it takes more away.
 * DZ_E_IO, DZ_E_UNSUPPORTED (the kernel has no Landlock). */
dz_status dz_sandbox_files(const char *const paths[], dz_err *err) DZ_MUST_CHECK;

/* The same, and below the directories `kept` files can be written, made, renamed and removed, too.
 */
dz_status dz_sandbox_files_keep(const char *const paths[], const char *const kept[],
                                dz_err *err) DZ_MUST_CHECK;

/* Root stays root, without its powers: of all capabilities only CAP_DAC_OVERRIDE, to open what
 * dz_sandbox_files_keep() leaves, whoever owns it.  Nothing for everybody else.  DZ_E_IO. */
dz_status dz_sandbox_powers(dz_err *err) DZ_MUST_CHECK;

enum dz_sandbox_call {
    DZ_SANDBOX_OPEN = 1 << 0,    /* open files to read them, load libraries, take files away */
    DZ_SANDBOX_CONNECT = 1 << 1, /* make and connect sockets of the internet and the machine */
    DZ_SANDBOX_KEEP = 1 << 2,    /* open, write, make, lock, sync, rename, remove files */
    DZ_SANDBOX_SERVE = 1 << 3,   /* answer where we listen already, set timers, speak to syslog */
};
/* From now on: read and write what is open, memory, time, the end; and what `more` says (a mask of
 * enum dz_sandbox_call).  No program is run, no process looked at, nothing is ever listened on.
 * Called again with less it takes more away.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_sandbox_calls(unsigned more, dz_err *err) DZ_MUST_CHECK;
