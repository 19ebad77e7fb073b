/* cli/progress.h -- how far it is, on stderr.
 *
 * A bar with rate and remaining time on a terminal; a line every 10 s elsewhere; nothing with
 * --quiet.  One thread at a time. */
#pragma once

#include "cli/command.h"

struct dz_progress {
    bool on, terminal, shown;
    const char *label;    /* translated; static */
    uint64_t total_bytes; /* an estimate; 0: unknown */
    int64_t start_us, next_us;
};

void dz_progress_start(struct dz_progress *p, const struct dz_cli *cli, const char *label,
                       uint64_t total_bytes);
void dz_progress_show(struct dz_progress *p, uint64_t files, uint64_t bytes);
/* Takes the bar off the screen.  Call before anything else is written. */
void dz_progress_end(struct dz_progress *p);
/* Seconds since the start. */
double dz_progress_seconds(const struct dz_progress *p);
