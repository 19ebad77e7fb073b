/* tests/fault/fault_os.h -- an operating system that refuses one call, or all from one on.
 *
 *   for (long n = 0;; n++) {
 *       fault_os_arm((struct fault_plan){ .allowed = n, .error = EIO });
 *       status = the_thing_under_test();
 *       if (!fault_os_disarm())
 *           break;                     <- it needed n calls; each of them has failed once
 *       look with the real system at what a reader would find;
 *   }
 *
 * Arm and disarm while nothing runs; in between any number of threads may call. */
#pragma once

#include <stdbool.h>

struct fault_plan {
    long allowed;    /* calls through dz_os that still work */
    int error;       /* errno of the call that does not */
    bool forever;    /* all later calls fail too: the disk is gone */
    bool short_io;   /* reads and writes of more than one byte do half of it */
    bool skip_syncs; /* fsync does nothing (but counts): the test is about calls, not about power */
};

void fault_os_arm(struct fault_plan plan);
/* Puts back what was there before.  True when a call has failed. */
bool fault_os_disarm(void);
