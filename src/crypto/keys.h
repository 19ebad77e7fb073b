/* crypto/keys.h -- which keys there are, and who has them.
 *
 *   root (32 bytes; only as custodians' shares or a key file, never inside the vault)
 *    ├─ X25519 pair        private half: derived when the vault is opened;  public half: host
 *    ├─ hedge              host and root, never off-site: goes into every sealed segment key
 *    └─ host master        host and root
 *        ├─ name key       deduplication names          ├─ cache key   path caches
 *        ├─ chunk key      chunk boundaries             ├─ text key    texts the closed host may
 *        ├─ table key      pack tables                  │              read: source names, counts
 *        ├─ reference key  reference trees              └─ log key     Ed25519, signs checkpoints
 *
 * Derivation is BLAKE2b-256 keyed with the parent, over "dozo v1 " and the name of the child
 * (docs/format/keys.md).  Both structs live in sodium_malloc memory: locked, guarded, not dumped.
 * Once made they are read-only (a write to them faults) and may be shared by threads. */
#pragma once

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/error.h"

enum { DZ_ROOT_BYTES = 32, DZ_VAULT_ID_BYTES = 16, DZ_KEY_BYTES = 32 };

typedef struct dz_vault_id {
    uint8_t b[DZ_VAULT_ID_BYTES];
} dz_vault_id;

/* What a closed vault works with. */
struct dz_host_keys {
    dz_vault_id vault;
    uint32_t epoch;                  /* of the recipient below; 1 for a new vault */
    uint8_t recipient[DZ_KEY_BYTES]; /* X25519 public half: what is sealed goes to it */
    uint8_t hedge[DZ_KEY_BYTES];     /* symmetric, mixed into every wrap */
    uint8_t master[DZ_KEY_BYTES];    /* parent of the following */
    uint8_t name[DZ_KEY_BYTES];
    uint8_t chunk[DZ_KEY_BYTES];
    uint8_t table[DZ_KEY_BYTES];
    uint8_t reference[DZ_KEY_BYTES];
    uint8_t cache[DZ_KEY_BYTES];
    uint8_t text[DZ_KEY_BYTES];
    uint8_t log_secret[64]; /* Ed25519, libsodium's form */
    uint8_t log_public[DZ_KEY_BYTES];
};

/* What an open vault has besides. */
struct dz_open_keys {
    uint32_t epoch;
    uint8_t recipient[DZ_KEY_BYTES];        /* X25519 public half of: */
    uint8_t recipient_secret[DZ_KEY_BYTES]; /* X25519 private half */
    /* Or somebody else has the private half, who is asked for each key (the field above is zero).
     * `sealed` is a list of one X25519 stanza (crypto/recipient.h).  Thread-safe. */
    dz_status (*ask)(void *who, dz_slice context, dz_slice sealed, uint8_t ret_key[DZ_KEY_BYTES],
                     dz_err *err);
    void (*drop)(void *who); /* called when the struct is freed */
    void *who;
};

/* Starts libsodium and forbids core dumps of this process.  Call first in main().  DZ_E_IO. */
dz_status dz_crypto_init(dz_err *err) DZ_MUST_CHECK;

/* Random bytes from the kernel. */
void dz_random(void *to, size_t len);

/* Everything from the root.  The caller owns both; either ret may be NULL.  The X25519 pair depends
 * on vault and epoch, hedge and master on the vault alone.  DZ_E_USAGE (epoch 0), DZ_E_NOMEM. */
dz_status dz_keys_derive(const uint8_t root[DZ_ROOT_BYTES], const dz_vault_id *vault,
                         uint32_t epoch, struct dz_host_keys **ret_host,
                         struct dz_open_keys **ret_open, dz_err *err) DZ_MUST_CHECK;

/* Open keys whose private half is elsewhere: see struct dz_open_keys.  Takes over `who`, whatever
 * happens.  DZ_E_NOMEM. */
dz_status dz_open_keys_elsewhere(const struct dz_host_keys *host,
                                 dz_status (*ask)(void *who, dz_slice context, dz_slice sealed,
                                                  uint8_t ret_key[DZ_KEY_BYTES], dz_err *err),
                                 void (*drop)(void *who), void *who, struct dz_open_keys **ret_open,
                                 dz_err *err) DZ_MUST_CHECK;

/* The first 8 bytes of SHA-256 over "dozo fingerprint v1", vault id, epoch, recipient and log
 * public keys: what people compare by eye.  Text is 4 groups of 4 digits: "1a2b-3c4d-5e6f-7081". */
enum { DZ_FINGERPRINT_TEXT = 20 };
void dz_keys_fingerprint(const struct dz_host_keys *host, char ret_text[DZ_FINGERPRINT_TEXT]);

/* The host key file (docs/format/keys.md): magic, version, vault id, epoch, recipient, hedge,
 * master, checksum.  The parser derives the rest.  Writing fails by to->bad only; the caller
 * releases `to` with dz_buf_release_secret().  DZ_E_MALFORMED, DZ_E_LIMIT (over 4096 bytes),
 * DZ_E_UNSUPPORTED (newer version or an incompatible feature), DZ_E_NOMEM. */
void dz_host_keys_write(const struct dz_host_keys *host, dz_buf *to);
dz_status dz_host_keys_read(dz_slice file, struct dz_host_keys **ret_host,
                            dz_err *err) DZ_MUST_CHECK;

/* A child key: BLAKE2b-256(key = parent, "dozo v1 " || label || 0x00 || context).  The zero byte
 * keeps "ab" + "c" apart from "a" + "bc".  ret_key may be the parent. */
void dz_key_derive(const uint8_t parent[DZ_KEY_BYTES], const char *label, dz_slice context,
                   uint8_t ret_key[DZ_KEY_BYTES]);

void dz_host_keys_free(struct dz_host_keys *k); /* wipes; NULL is fine */
void dz_open_keys_free(struct dz_open_keys *k);
DZ_DEFINE_AUTO(dz_host_keys, dz_host_keys_free)
DZ_DEFINE_AUTO(dz_open_keys, dz_open_keys_free)
