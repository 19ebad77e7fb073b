/* store/checkpoint.h -- the log's head: C2SP tlog-checkpoint, a signed note of three lines.
 *
 *   dozo.vault/<vault id, 32 hex digits> \n <tree size> \n <base64 of the root hash> \n
 *
 * The origin line is also the name of the vault's log key.  Layout and example: docs/format/log.md.
 * Thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "crypto/keys.h"
#include "crypto/merkle.h"

enum { DZ_ORIGIN_TEXT = 11 + 2 * DZ_VAULT_ID_BYTES + 1 }; /* with the NUL */
#define DZ_LOG_SIZE_MAX ((uint64_t) 1 << 40)              /* leaves of one log */

typedef struct dz_checkpoint {
    uint64_t size; /* leaves */
    dz_merkle_hash root;
} dz_checkpoint;

void dz_log_origin(const dz_vault_id *vault, char ret_text[DZ_ORIGIN_TEXT]);

/* Appends the signed note to `to`.  DZ_E_NOMEM. */
dz_status dz_checkpoint_write(const dz_checkpoint *head, const dz_vault_id *vault,
                              const uint8_t log_secret[64], dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* Parses a checkpoint of this vault's log and checks the log's signature.  Lines by other keys
 * (witnesses) and extension lines behind the third are ignored.
 *   DZ_E_MALFORMED, DZ_E_LIMIT  not a checkpoint
 *   DZ_E_CORRUPT                not signed by this log's key, or of another origin */
dz_status dz_checkpoint_read(dz_slice note, const dz_vault_id *vault, const uint8_t log_public[32],
                             dz_checkpoint *ret_head, dz_err *err) DZ_MUST_CHECK;

/* The text alone, without looking at any signature: for a witness, and for the two above. */
dz_status dz_checkpoint_parse_text(dz_slice text, dz_slice *ret_origin, dz_checkpoint *ret_head,
                                   dz_err *err) DZ_MUST_CHECK;
void dz_checkpoint_write_text(dz_slice origin, const dz_checkpoint *head, dz_buf *to);
