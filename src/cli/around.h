/* cli/around.h -- a command between two others: one that makes ready, one that cleans up.
 *
 *   --pre ─▶ ended well? ─▶ body ─▶ --post, whatever happened
 *
 * Both are lines of the shell; what they write comes out on our standard error.  With a `post` the
 * body runs in a process of its own, so that a signal that ends it (SIGINT, SIGTERM, SIGHUP) does
 * not end us: the signal is passed on, post runs, and then we end by the same signal.  Only SIGKILL
 * leaves post undone.  Call it before there are threads. */
#pragma once

#include "core/child.h"

struct dz_around {
    const char *pre, *post; /* NULL: none */
    int (*body)(void *ctx); /* an exit code (cli/command.h) */
    /* called when pre did not end well: `how` says how it ended.  What it returns is the code. */
    int (*pre_failed)(void *ctx, const char *how);
    void *ctx;
};

/* The exit code: the body's, or at least DZ_EXIT_FOUND when post failed.  Post finds in
 * DOZO_RESULT "ok" (the body gave DZ_EXIT_OK or DZ_EXIT_FOUND) or "failed". */
int dz_around_run(const struct dz_around *a);
