/* tests/fault/fault_alloc.h -- an allocator that refuses one request of our code.
 *
 * The test is linked with fault_alloc.c and the arguments `fault_alloc_link` of meson.build, which
 * put these in front of malloc, calloc and the like.  Libraries keep the real ones.  Arm and
 * disarm while nothing runs; in between any number of threads may ask. */
#pragma once

#include <stdbool.h>

void fault_alloc_arm(long allowed); /* requests that are still granted before one is refused */
bool fault_alloc_disarm(void);      /* true when one was refused */
