/* net/gate.h -- the process that speaks TLS with one machine on the network, and knows nothing
 * else.
 *
 *   network ─▶ [gate: TLS] ─▶ who it is, then plain bytes ─▶ socket pair ─▶ net/door.h, net/keep.h
 *
 * A program of its own for each connection, in a sandbox before the first byte from outside: no
 * files, no calls but to read and write the two sockets it has.  It holds the key that the vault
 * shows to agents and no other; what it could tell is who its one connection is from, and a source
 * proves that to the keeper once more (docs/format/wire.md).  One thread. */
#pragma once

#include "net/tls.h"

enum {
    DZ_GATE_HELLO = 1 + DZ_CA_KEY, /* bytes that the gate says first: enum dz_gate_peer, key */
    DZ_GATE_CONFIG_MAX = 2 * DZ_CERT_MAX + 256,
    DZ_GATE_HANDSHAKE_S = 10,
    DZ_GATE_NO_SANDBOX = 70, /* exit status */
};
enum dz_gate_peer { DZ_GATE_STRANGER = 1 /* the key is zero */, DZ_GATE_SOURCE = 2 };

/* What a gate is told first, on its side of the pair. */
struct dz_gate_config {
    bool strangers; /* let in, so that they can enrol */
    bool sandbox;   /* false: for development alone */
    dz_slice cert, authority;
    uint8_t seed[DZ_CA_KEY];
};
/* Appends it, to be sent in one piece; `to` is released with dz_buf_release_secret(). */
void dz_gate_config_put(dz_buf *to, const struct dz_gate_config *c);
/* Slices are borrowed from `bytes`.  DZ_E_MALFORMED. */
dz_status dz_gate_config_read(dz_slice bytes, struct dz_gate_config *ret,
                              dz_err *err) DZ_MUST_CHECK;

/* Serves `net` (a TCP connection) until either side ends; `pair` leads to the door and later to
 * the keeper.  The exit status. */
int dz_gate_run(int net, int pair);
