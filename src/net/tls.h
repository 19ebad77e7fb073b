/* net/tls.h -- one connection of TLS 1.3 (RFC 8446), by OpenSSL, over a socket that never blocks.
 *
 *   socket ─▶ [tls: both show certificates of one authority] ─▶ bytes
 *
 * Version 1.3 and Ed25519 certificates alone.  Without what it does not need: no tickets, no
 * sessions, no early data, no compression, no renegotiation (1.3 has none).  No certificate is
 * refused for its dates: net/ca.h says why.  Memory: below 200 KiB a connection, whatever the other
 * side sends.  No file is read.  The caller ignores SIGPIPE.  One thread at a time. */
#pragma once

#include "net/ca.h"

struct dz_tls_how {
    bool vault;          /* the vault's end, or a source's */
    dz_slice cert;       /* our own (DER); empty: a source that has none yet */
    const uint8_t *seed; /* of its key; DZ_CA_KEY bytes */
    dz_slice authority;  /* its certificate (DER), of whoever is at the other end, too */
    /* The vault's end: who shows no certificate comes in as well, and dz_tls_peer_key() is false.
     */
    bool strangers;
    /* A source's that has no certificate of the authority yet: its fingerprint. */
    const uint8_t *fingerprint;
};

enum dz_tls_result {
    DZ_TLS_OK,
    DZ_TLS_WAIT, /* poll() for dz_tls_wants(), and call again */
    DZ_TLS_END,  /* the other side said that nothing more comes */
    DZ_TLS_FAILED,
};

struct dz_tls;
/* `fd` is borrowed and must not block; what `how` points at is copied.
 * DZ_E_NOMEM, DZ_E_MALFORMED (a certificate of ours). */
dz_status dz_tls_new(const struct dz_tls_how *how, int fd, struct dz_tls **ret_tls,
                     dz_err *err) DZ_MUST_CHECK;
void dz_tls_free(struct dz_tls *t); /* NULL is fine */
DZ_DEFINE_AUTO(dz_tls, dz_tls_free)

/* When it is OK, the other side has proved to have the key of its certificate. */
enum dz_tls_result dz_tls_handshake(struct dz_tls *t);
/* The Ed25519 key of the certificate that the other side showed; false: it showed none. */
bool dz_tls_peer_key(const struct dz_tls *t, uint8_t ret_key[DZ_CA_KEY]);

/* At least one byte of at most `room`. */
enum dz_tls_result dz_tls_read(struct dz_tls *t, uint8_t *to, size_t room, size_t *ret_n);
/* At least one byte of `bytes`, which is not empty. */
enum dz_tls_result dz_tls_write(struct dz_tls *t, dz_slice bytes, size_t *ret_n);
/* Says that nothing more comes from here. */
enum dz_tls_result dz_tls_close(struct dz_tls *t);

/* What the last WAIT is for: POLLIN or POLLOUT. */
short dz_tls_wants(const struct dz_tls *t);
/* Why the last call FAILED, in OpenSSL's words; static storage. */
const char *dz_tls_why(const struct dz_tls *t);
/* It FAILED because the connection broke, and not because of what was said. */
bool dz_tls_lost(const struct dz_tls *t);
