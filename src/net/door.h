/* net/door.h -- listens, and gives each connection a gate and, once it is somebody, a keeper.
 *
 *   accept ─▶ [gate: TLS] ─▶ who ─▶ [door: known? how many? whose turn?] ─▶ [keeper: take] ─▶ vault
 *                                          the log ─┘
 *
 * Reads nothing from the network but, from each gate, who is connected.  Limits, so that strangers
 * and stolen keys leave room for others:
 *  - so many connections, and so many of them that have not said yet who they are, of one address
 *    and in all; further ones are closed at once; some room is left for addresses of sources;
 *  - of one source the newest connection alone counts: the one before it is cut off, and what it
 *    brought is kept, so that a machine that lost its connection goes on at once;
 *  - so many runs at a time; who waits hears so now and then, and is served in order of arrival;
 *  - while no invitation is open, who shows no certificate does not get through the handshake.
 * One thread. */
#pragma once

#include <stdbool.h>

struct dz_door_how {
    const char *vault;
    const char *listen;   /* "HOST:PORT", "[::]:PORT"; port 0: any, which is said */
    unsigned connections; /* at a time, 1 to DZ_DOOR_CONNECTIONS_MAX */
    unsigned runs;        /* of these that bring something: each may take DZ_TAKE_MEMORY */
    bool sandbox;         /* false: for development alone */
};
enum {
    DZ_DOOR_CONNECTIONS_MAX = 1000,
    DZ_DOOR_CONNECTIONS = 250,
    DZ_DOOR_RUNS = 8,
    DZ_DOOR_UNKNOWN = 64,      /* who have not said who they are */
    DZ_DOOR_UNKNOWN_MORE = 16, /* of these addresses alone that sources came from lately: */
    DZ_DOOR_ADDRESSES = 256,
    DZ_DOOR_UNKNOWN_OF_ADDRESS = 8, /* an IPv4 address, or 64 bits of an IPv6 one */
    DZ_DOOR_ENROLLING = 2,
};

/* Serves until SIGTERM or SIGINT, and then until the keepers are done.  Says "listening on
 * HOST:PORT" on standard output.  The exit status: 0, or 3. */
int dz_door_run(const struct dz_door_how *how);
