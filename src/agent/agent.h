/* agent/agent.h -- what an agent does: it enrols, and it sends trees.  It can do nothing else.
 *
 *   token ─▶ [enrol] ─▶ identity        paths ─▶ [backup: again until it stands] ─▶ snapshot
 *
 * Belongs to one thread. */
#pragma once

#include "agent/link.h"
#include "agent/state.h"
#include "intake/scan.h"

/* Shows the token and keeps what the vault gives for it.
 * DZ_E_EXISTS (enrolled already), DZ_E_POLICY (refused, or not the vault of this fingerprint), else
 * as dz_link_open() and dz_agent_set_identity(). */
dz_status dz_agent_enrol(struct dz_agent_state *s, const char *server,
                         const uint8_t fingerprint[DZ_CA_FINGERPRINT],
                         const uint8_t token[DZ_WIRE_TOKEN], dz_err *err) DZ_MUST_CHECK;

struct dz_agent_backup {
    const char *server;
    uint64_t rate;
    struct dz_scan_how scan;
    bool reread;
    unsigned tries; /* in a row without success */
    /* Told before the next try; may be NULL. */
    void (*again)(void *ctx, const dz_err *why, unsigned seconds);
    void (*progress)(void *ctx, const struct dz_push_progress *p);
    void *ctx;
};

/* Sends the trees.  DZ_OK: the snapshot stands, end->done says which.  A run that broke off goes on
 * under its own id, also in a later call.
 * DZ_E_CLOSED (not enrolled), DZ_E_POLICY (refused: end->refused), else the last failure's. */
dz_status dz_agent_backup(struct dz_agent_state *s, const struct dz_agent_backup *how,
                          struct dz_push_end *ret_end, dz_err *err) DZ_MUST_CHECK;
