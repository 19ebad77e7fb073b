/* cli/open.h -- from --vault and --key to a vault that is open as far as a command needs it.
 *
 *   --key FILE... ─▶ kind ─▶ key file, passphrase, or shares ─▶ root ─▶ unlock ─▶ wiped
 *
 * What is wrong is said here, with the file's name and what to do; the caller gets an exit code. */
#pragma once

#include "cli/command.h"
#include "core/buf.h"
#include "store/fetch.h"
#include "store/snapshot.h"
#include "store/vault.h"

enum dz_need {
    DZ_NEED_CLOSED,   /* keys are ignored */
    DZ_NEED_KEY,      /* without a key: through the key holder, if there is one; else exit 4 */
    DZ_NEED_IF_GIVEN, /* opened if there are keys */
};

/* DZ_EXIT_OK, and *ret_vault is the caller's; else the exit code, said already. */
int dz_cli_open(const struct dz_cli *cli, enum dz_need need, struct dz_vault **ret_vault);

/* The root of a vault from --key, into DZ_ROOT_BYTES of memory that the caller wipes.  `who` gets
 * how: "shares 1, 3" or "key file"; may be NULL.  DZ_EXIT_OK, or the exit code, said already. */
int dz_cli_root(const struct dz_cli *cli, const struct dz_vault *v, uint8_t *root, dz_buf *who);

/* The shares of --key, not joined yet; `list` has room for DZ_CLI_KEYS_MAX and is wiped by the
 * caller.  DZ_EXIT_OK, or the exit code, said already. */
int dz_cli_shares(const struct dz_cli *cli, const struct dz_vault *v, dz_share *list,
                  size_t *ret_n);

/* The same for who looks for damage: when only the log is at fault, the vault is given all the
 * same, with v->log NULL, and *ret_log says why (store/vault.h). */
int dz_cli_open_damaged(const struct dz_cli *cli, enum dz_need need, struct dz_vault **ret_vault,
                        dz_err *ret_log);

/* Opens for reading, finds a snapshot and makes ready to fetch from it.  A zeroed struct may be
 * closed. */
struct dz_reading {
    struct dz_vault *vault;
    struct dz_fetch *fetch;
    struct dz_source source;
    struct dz_snapshot snap;
};
int dz_cli_read(const struct dz_cli *cli, const char *snapshot, struct dz_reading *ret_reading);
void dz_reading_close(struct dz_reading *r);

/* Refuses to write what was read to a place inside the vault, where it would lie open. */
int dz_cli_outside(const struct dz_cli *cli, const char *path);

/* Asks for a passphrase, twice if it is a new one, or takes it from --passphrase-file.  The caller
 * releases `to` with dz_buf_release_secret(). */
dz_status dz_cli_passphrase(const struct dz_cli *cli, bool new_one, dz_buf *to,
                            dz_err *err) DZ_MUST_CHECK;

/* A path as people type it, relative to the snapshot's root: without '/' at both ends. */
dz_slice dz_cli_path(const char *typed);
