/* agent/link.h -- the way to the vault: TCP, TLS, and how much may go over it in a second.
 *
 *   [push] ─▶ bytes ─▶ [link: slowly enough] ─▶ TLS ─▶ vault
 *
 * Belongs to one thread.  The caller ignores SIGPIPE. */
#pragma once

#include "intake/push.h"
#include "net/tls.h"

struct dz_link_how {
    const char *server; /* "HOST:PORT" */
    struct dz_tls_how tls;
    uint64_t rate;  /* bytes a second that are sent; 0: as fast as it goes */
    int timeout_ms; /* without a byte */
};

struct dz_link;
/* Connects, and makes sure that it is the vault.
 * DZ_E_USAGE, DZ_E_IO (not reached), DZ_E_POLICY (somebody else's, or it does not take us),
 * DZ_E_NOMEM. */
dz_status dz_link_open(const struct dz_link_how *how, struct dz_link **ret_link,
                       dz_err *err) DZ_MUST_CHECK;
void dz_link_close(struct dz_link *l); /* NULL is fine */
DZ_DEFINE_AUTO(dz_link, dz_link_close)

/* Valid as long as the link. */
struct dz_push_wire dz_link_wire(struct dz_link *l);
