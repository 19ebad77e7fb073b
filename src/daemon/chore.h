/* daemon/chore.h -- what a vault wants done besides backups: commands of dozo, each in its rhythm.
 *
 * One at a time, so that they leave room for backups.  Thread-safe: nothing here changes. */
#pragma once

#include "daemon/message.h"

struct dz_chore_kind {
    const char *words[3];  /* the command of dozo; NULL ends it */
    int64_t every_us;      /* from the last time on; 0: the configuration says it */
    int64_t run_time_us;   /* then it is stopped */
    enum dz_event failure; /* what people are told when it does not end well */
};

const struct dz_chore_kind *dz_chore_kind(enum dz_chore chore);
