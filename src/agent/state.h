/* agent/state.h -- what an agent keeps: who it is, and what it need not send again.
 *
 *   DIR/key        seed of its Ed25519 key: made before the first word to the vault
 *   DIR/identity   source, certificate, authority's certificate: once it has enrolled
 *   DIR/run        id of the run that goes on, so that one that broke off is tried again as the
 * same DIR/cache      files that did not change (docs/format/cache.md)
 *
 * A directory of the agent's user alone (0700), used by one process at a time.  Who reads it can
 * send under this source's name until that is revoked, and nothing else.  One thread. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "intake/wire.h"
#include "net/ca.h"

#define DZ_AGENT_CACHE "cache"

struct dz_agent_state {
    int dirfd;
    uint8_t seed[DZ_CA_KEY];
    uint8_t key[DZ_CA_KEY];              /* public */
    char source[DZ_SOURCE_NAME_MAX + 1]; /* "": not enrolled */
    dz_buf cert, authority;              /* DER */
};

/* Opens the directory, which is made if it is not there, and holds it against other processes. What
 * one that was killed had begun to write is swept.
 * DZ_E_BUSY (another one has it), DZ_E_POLICY (others may enter it), DZ_E_IO, DZ_E_CORRUPT,
 * DZ_E_NOMEM. */
dz_status dz_agent_state_open(const char *path, struct dz_agent_state *ret,
                              dz_err *err) DZ_MUST_CHECK;
void dz_agent_state_close(struct dz_agent_state *s); /* wipes; a zeroed one is fine */

/* Makes the key, if there is none yet, durably.  DZ_E_IO. */
dz_status dz_agent_make_key(struct dz_agent_state *s, dz_err *err) DZ_MUST_CHECK;
/* Keeps what the vault gave, durably, after it was held against the key.
 * DZ_E_MALFORMED, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_agent_set_identity(struct dz_agent_state *s, const struct dz_wire_cert *m,
                                dz_err *err) DZ_MUST_CHECK;

/* Signs as the source does (intake/push.h). */
dz_status dz_agent_sign(void *state, const uint8_t digest[DZ_SHA256_BYTES],
                        uint8_t ret_proof[DZ_WIRE_PROOF], dz_err *err) DZ_MUST_CHECK;
/* A key that names files in the cache, from the seed. */
void dz_agent_secret(const struct dz_agent_state *s, uint8_t ret[DZ_KEY_BYTES]);

/* The run to go on with: *ret_again, it is one from before; else a new one, durable.  DZ_E_IO. */
dz_status dz_agent_run(struct dz_agent_state *s, uint8_t ret_run[DZ_WIRE_RUN], bool *ret_again,
                       dz_err *err) DZ_MUST_CHECK;
/* Its snapshot stands. */
dz_status dz_agent_run_over(struct dz_agent_state *s, dz_err *err) DZ_MUST_CHECK;
