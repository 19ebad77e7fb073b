/* store/vault.h -- a vault on disk: its directories, its keys, its locks.
 *
 *   DIR/vault.yaml     what it is: id, epoch, public keys, custody (docs/format/vault.md)
 *   DIR/host.key       keys of the closed host, mode 0600; or elsewhere (--host-key)
 *   DIR/packs/         truth: sealed segments            DIR/commits/  truth: one record a snapshot
 *   DIR/log/           truth: the transparency log       DIR/index/    cache, from the packs'
 * tables DIR/cache/         cache: path caches, found damage  DIR/tmp/      writers' unfinished
 * files
 *
 * A vault is opened closed: it can take in, list and check.  dz_vault_unlock() opens it for
 * reading.  One dz_vault may be shared by threads once it is set up. */
#pragma once

#include <pthread.h>

#include "crypto/keys.h"
#include "crypto/share.h"
#include "store/tlog.h"

enum {
    DZ_VAULT_FILE_MAX = 256 * 1024, /* bytes of vault.yaml */
    DZ_OPERATORS_MAX = 64,
};

/* What vault.yaml says.  All memory is owned; release with dz_vault_config_release(). */
struct dz_vault_config {
    dz_vault_id id;
    uint32_t epoch;
    int64_t created_us;
    uint8_t recipient[DZ_KEY_BYTES];
    uint8_t log_public[DZ_KEY_BYTES];
    char *host_key;      /* path of the host key file; relative to the vault */
    unsigned custodians; /* 0: opened by a key file */
    unsigned threshold;
    uint8_t *commitments; /* custodians * 32 bytes (crypto/share.h), or NULL */
    char **operators;     /* public key lines */
    size_t n_operators;
    unsigned approvals; /* signatures of operators that a loosening needs */
};
void dz_vault_config_release(struct dz_vault_config *c);

/* YAML text, and back.  DZ_E_MALFORMED names line and allowed values; DZ_E_LIMIT; DZ_E_NOMEM. */
dz_status dz_vault_config_write(const struct dz_vault_config *c, dz_buf *to,
                                dz_err *err) DZ_MUST_CHECK;
dz_status dz_vault_config_read(dz_slice text, struct dz_vault_config *ret_config,
                               dz_err *err) DZ_MUST_CHECK;

struct dz_vault {
    char *path; /* as given, for messages */
    int dirfd, packsfd, commitsfd, logfd, indexfd, cachefd, tmpfd;
    struct dz_vault_config config;
    struct dz_host_keys *host;
    struct dz_open_keys *open; /* NULL while closed */
    struct dz_tlog *log;       /* guarded by log_lock while several threads write */
    pthread_mutex_t log_lock;
};

struct dz_vault_new {
    const char *path;
    const char *host_key; /* where the host keys go; NULL: host.key inside the vault */
    unsigned custodians, threshold;
    char **operators;
    size_t n_operators;
    unsigned approvals;
    int64_t now_us;
};

/* Makes a new vault in a directory that is empty or not there.  `root` is the fresh secret (the
 * caller splits or stores it *before* this call, and forgets it after).  `shares` are the
 * custodians' (NULL for a key file).  When it returns DZ_OK everything is durable and leaf 0 of
 * the log binds the configuration; until vault.yaml is there, the directory is no vault.
 * DZ_E_EXISTS (not empty), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_vault_create(const struct dz_vault_new *how, const uint8_t root[DZ_ROOT_BYTES],
                          const dz_vault_id *id, const dz_share *shares, dz_err *err) DZ_MUST_CHECK;

/* Opens a vault, closed.  Checks that the host keys belong to it, that the log's head is signed by
 * its key and that leaf 0 binds vault.yaml.
 * DZ_E_NOT_FOUND (no vault there), DZ_E_CORRUPT, DZ_E_UNSUPPORTED, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_vault_open(const char *path, struct dz_vault **ret_vault, dz_err *err) DZ_MUST_CHECK;
/* The same for whoever looks for damage: where only the log is at fault the vault is given all the
 * same, with `log` NULL, and *ret_log_status and `err` say what is wrong with it. */
dz_status dz_vault_open_damaged(const char *path, struct dz_vault **ret_vault,
                                dz_status *ret_log_status, dz_err *err) DZ_MUST_CHECK;
void dz_vault_free(struct dz_vault *v); /* NULL is fine */
DZ_DEFINE_AUTO(dz_vault, dz_vault_free)

/* Opens it for reading.  DZ_E_POLICY: this root belongs to another vault or epoch. */
dz_status dz_vault_unlock(struct dz_vault *v, const uint8_t root[DZ_ROOT_BYTES],
                          dz_err *err) DZ_MUST_CHECK;

/* Appends one leaf to the log, durably.  `tmpfd` is a writer's directory.  Thread-safe.
 * As dz_tlog_append(). */
dz_status dz_vault_append(struct dz_vault *v, int tmpfd, dz_slice leaf, dz_err *err) DZ_MUST_CHECK;
/* The same; *ret_index (may be NULL) is where it stands. */
dz_status dz_vault_append_at(struct dz_vault *v, int tmpfd, dz_slice leaf, uint64_t *ret_index,
                             dz_err *err) DZ_MUST_CHECK;

/* Makes a writer's own directory DIR/tmp/w-<hex>, held by a lock as long as *ret_fd is open, and
 * sweeps those whose writer is gone.  The caller owns *ret_fd and gives both back to
 * dz_vault_tmp_drop().  DZ_E_IO. */
enum { DZ_VAULT_TMP_NAME = 24 };
dz_status dz_vault_tmp_make(struct dz_vault *v, char ret_name[DZ_VAULT_TMP_NAME], int *ret_fd,
                            dz_err *err) DZ_MUST_CHECK;
void dz_vault_tmp_drop(struct dz_vault *v, const char *name, int fd);

/* The directories of the writers that live now, but for `own`: names of DZ_VAULT_TMP_NAME bytes
 * each, appended.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_vault_writers(struct dz_vault *v, const char *own, dz_buf *ret_names,
                           dz_err *err) DZ_MUST_CHECK;
bool dz_vault_writer_lives(struct dz_vault *v, const char *name);

/* True when `path` lies inside the vault directory; neither of the two need exist yet. */
bool dz_vault_contains(const char *vault_path, const char *path);
