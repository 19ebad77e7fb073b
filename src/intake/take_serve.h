/* intake/take_serve.h -- carries the bytes of one connection between a socket and a take.
 *
 *   socket ─▶ [serve: poll, time] ─▶ take          socket ◀─ its answers
 *
 * Thread-safe; a connection belongs to the calling thread.  The caller ignores SIGPIPE. */
#pragma once

#include "intake/take.h"

struct dz_take_times {
    int idle_s;  /* without a byte from the source, or one taken by it */
    int begin_s; /* until READY or the end; 0: as long as the others let it */
    int run_s;   /* of the whole connection */
};
#define DZ_TAKE_TIMES_DEFAULT \
    ((struct dz_take_times){ .idle_s = 600, .begin_s = 60, .run_s = 3 * 86400 })

/* Serves it to its end and tells how that was.  `fd` is a stream socket, borrowed: it is made
 * non-blocking.  A source that is refused is given a while to read why.
 * DZ_E_IO (the socket is none), DZ_E_NOMEM: nothing was kept. */
dz_status dz_take_serve(int fd, const struct dz_take_how *how, const struct dz_take_times *times,
                        struct dz_take_state *ret_state, dz_err *err) DZ_MUST_CHECK;
