/* daemon/starter.h -- the process that systemd started: it starts programs, and that is all.
 *
 *   SIGHUP, SIGTERM ─▶ [starter] ◀─▶ daemon/message.h ◀─▶ daemon/supervise.h
 *                         ├▶ dozo backup ..., chores, the program that tells people
 *                         └▶ READY=1, WATCHDOG=1 to the service manager
 *
 * It has the rights that backups need, and so it reads nothing but its configuration, ends of
 * programs, and the small messages of the supervisor, which it does not trust: what it starts is
 * what the configuration says.  docs/design/daemon.md. */
#pragma once

#include "daemon/config.h"

struct dz_starter_how {
    const char *path; /* of the configuration, to read it again; absolute */
    const char *dozo; /* the program */
    bool sandbox;     /* for the supervisor; false: where this kernel has none, for development */
};

/* Runs until a signal ends it.  `text` and `config` are what was read of the file; the latter is
 * taken over.  Gives an exit status: 0, or 3 when something failed. */
int dz_starter_run(const struct dz_starter_how *how, dz_slice text, struct dz_config *config);
