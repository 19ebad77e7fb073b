/* net/ca.h -- the vault's own certificate authority: X.509 for TLS, all of it by Ed25519 (RFC
 * 8410).
 *
 *   host master ─▶ two seeds ─▶ [ca] ─▶ its certificate, the vault's, one for each source's key
 *
 * Nothing is stored: keys are children of the host master, and a certificate is a function of what
 * is certified, so that the same one can be made again at any time.  A certificate says that a key
 * was enrolled; whether it still counts, the log says (custody/enrol.h), and that is asked on every
 * connection.  So certificates do not expire: no clock that is wrong, or was made wrong, stops a
 * backup.  Format: docs/format/wire.md.  One thread at a time. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "crypto/keys.h"

enum {
    DZ_CA_KEY = 32, /* an Ed25519 public key, and the seed of a private one */
    DZ_CA_FINGERPRINT = 32,
    DZ_CERT_MAX = 4096, /* bytes of a certificate (DER) */
};

struct dz_ca;
/* `created_us` is the vault's.  DZ_E_NOMEM. */
dz_status dz_ca_new(const struct dz_host_keys *host, int64_t created_us, struct dz_ca **ret_ca,
                    dz_err *err) DZ_MUST_CHECK;
void dz_ca_free(struct dz_ca *ca); /* wipes; NULL is fine */
DZ_DEFINE_AUTO(dz_ca, dz_ca_free)

/* Its own certificate (DER), borrowed.  People compare its SHA-256: dz_cert_fingerprint(). */
dz_slice dz_ca_cert(const struct dz_ca *ca);

/* What the vault shows to agents: appends the certificate (DER), and gives the seed of its private
 * key, for the caller to wipe.  DZ_E_NOMEM. */
dz_status dz_ca_vault(const struct dz_ca *ca, uint8_t ret_seed[DZ_CA_KEY], dz_buf *to,
                      dz_err *err) DZ_MUST_CHECK;
/* What a source shows: appends the certificate (DER) of its key.  `source` is UTF-8.
 * DZ_E_NOMEM. */
dz_status dz_ca_source(const struct dz_ca *ca, const char *source, const uint8_t key[DZ_CA_KEY],
                       int64_t since_us, dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* The Ed25519 key of a certificate (DER); false: it is none, or of another kind.  What it is signed
 * with is not looked at. */
bool dz_cert_key(dz_slice der, uint8_t ret_key[DZ_CA_KEY]);
/* SHA-256 of a certificate (DER): what `openssl x509 -fingerprint -sha256` shows. */
void dz_cert_fingerprint(dz_slice der, uint8_t ret[DZ_CA_FINGERPRINT]);
