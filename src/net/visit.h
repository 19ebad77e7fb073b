/* net/visit.h -- one connection at the door, and the processes that serve it.
 *
 *   KNOCKING (a gate) ─▶ WAITING ─▶ SERVED (a gate and a keeper) ─▶ LEAVING ─▶ FREE
 *
 * One thread. */
#pragma once

#include <sys/socket.h>

#include "core/buf.h"
#include "intake/wire.h"
#include "net/ca.h"

struct dz_visit {
    enum {
        DZ_VISIT_FREE,
        DZ_VISIT_KNOCKING, /* has not said who it is */
        DZ_VISIT_WAITING,  /* has, and waits for its turn */
        DZ_VISIT_SERVED,
        DZ_VISIT_LEAVING, /* until its processes are gone */
    } is;
    pid_t gate, keeper; /* 0: none, or gone */
    int pair;           /* to the gate, until the keeper has it; -1 */
    struct sockaddr_storage place;
    bool stranger;
    char source[DZ_SOURCE_NAME_MAX + 1]; /* "" of a stranger */
    uint8_t key[DZ_CA_KEY];
    uint64_t number; /* in order of arrival */
    int64_t came_us; /* monotonic */
    int64_t told_us; /* WAIT */
};

/* Gives the TCP connection (borrowed) a gate, and tells it what `config` says (net/gate.h).
 * DZ_E_IO. */
dz_status dz_visit_gate(struct dz_visit *v, int net, dz_slice config, dz_err *err) DZ_MUST_CHECK;
/* It is SERVED: by a keeper of this vault.  DZ_E_IO: it still WAITs. */
dz_status dz_visit_keeper(struct dz_visit *v, const char *vault, dz_err *err) DZ_MUST_CHECK;

/* Says REFUSED instead of serving it. */
void dz_visit_refuse(struct dz_visit *v, const struct dz_wire_refused *m);
/* Says WAIT, if it was not said for a while. */
void dz_visit_wait(struct dz_visit *v, int64_t now_us);
/* Ends it.  A keeper sees that its gate is gone, and keeps what came. */
void dz_visit_cut(struct dz_visit *v);
/* A process of its is gone. */
void dz_visit_gone(struct dz_visit *v, pid_t pid);
