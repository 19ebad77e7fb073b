/* custody/request.h -- the text that operators sign: in full, what will happen if enough of them
 * do.
 *
 *   what is asked for ─▶ [make] ─▶ text ─▶ REQUEST leaf     text ─▶ ssh-keygen -Y sign ─▶ APPROVE
 *   text from the log ─▶ [parse] ─▶ kind, subject, limits
 *
 * A request is plain lines of UTF-8, made to be read by people before they sign and by programs
 * after: whatever is accepted has no other spelling, and nothing in it is hidden from the eye.  It
 * names the vault, the head of its log and a random number, so that a signature of it means this
 * request in this vault and no other.  Its name is its SHA-256.  Layout: docs/format/requests.md.
 * Thread-safe: nothing keeps state. */
#pragma once

#include "core/clock.h"
#include "crypto/hash.h"
#include "custody/ledger.h"
#include "store/checkpoint.h"
#include "store/vault.h"

enum {
    DZ_REQUEST_TEXT_MAX = 8 * 1024,
    DZ_REQUEST_WHY_MAX = 1000,  /* bytes */
    DZ_REQUEST_SUBJECT_MAX = 6, /* lines, without those of snapshots */
    DZ_REQUEST_SNAPSHOTS_MAX = 16,
    DZ_REQUEST_QUOTE_MAX = 2000, /* bytes of what others wrote, in a line */
    DZ_REQUEST_NONCE = 16,
};
#define DZ_REQUEST_LIFE_US (INT64_C(7) * 86400 * 1000000)      /* when nobody says otherwise */
#define DZ_REQUEST_LIFE_MAX_US (INT64_C(31) * 86400 * 1000000) /* longer is not taken */
/* What signatures are made for: `ssh-keygen -Y sign -n dozo-approval`. */
#define DZ_REQUEST_NAMESPACE "dozo-approval"

enum dz_request_kind {
    DZ_REQUEST_DELETE,          /* snapshots, before their time */
    DZ_REQUEST_POLICY,          /* a looser rule, or a smaller minimum */
    DZ_REQUEST_RELEASE,         /* a hold ends */
    DZ_REQUEST_ALARM,           /* an alarm is settled: custody/settled.h */
    DZ_REQUEST_UNFREEZE,        /* the clock is trusted again: enum dz_unfreeze */
    DZ_REQUEST_OPERATOR_ADD,    /* somebody more may approve */
    DZ_REQUEST_OPERATOR_REMOVE, /* somebody may no longer */
    DZ_REQUEST_KIND_COUNT
};
/* Lines of the subject: the leaf where the clock stopped, why, and the time as it is ("...Z"). */
enum dz_unfreeze { DZ_UNFREEZE_EVENT, DZ_UNFREEZE_CAUSE, DZ_UNFREEZE_NOW };

/* A snapshot that the request is about, a line each: its id, the name of its commit record, whose
 * it is, when it arrived, how much it holds; and what will be of it, for those who sign. */
enum dz_request_line {
    DZ_REQUEST_ID,
    DZ_REQUEST_COMMIT,
    DZ_REQUEST_SOURCE,
    DZ_REQUEST_ARRIVED,
    DZ_REQUEST_CONTENT,
    DZ_REQUEST_THEN,
    DZ_REQUEST_LINES
};

/* "delete-snapshot", ...: as it stands in the text.  Static. */
const char *dz_request_kind_name(enum dz_request_kind kind);
/* The names of the subject's lines, in order; the last is NULL.  Static. */
const char *const *dz_request_fields(enum dz_request_kind kind);
/* "snapshot", "commit", ...: the same of each snapshot. */
const char *dz_request_line_name(enum dz_request_line line);

/* What to ask for.  All borrowed for the call. */
struct dz_request_new {
    dz_vault_id vault;
    const char *fingerprint;
    dz_checkpoint head; /* of the log, now */
    enum dz_request_kind kind;
    const char *subject[DZ_REQUEST_SUBJECT_MAX]; /* a value for each of dz_request_fields() */
    const char *snapshots[DZ_REQUEST_SNAPSHOTS_MAX][DZ_REQUEST_LINES];
    size_t n_snapshots;
    const char *asked_by;
    const char *why;
    int64_t created_us, expires_us; /* UTC; whole seconds are kept */
};

/* A request as it was read.  The slices are borrowed from `text`. */
struct dz_request {
    dz_buf text;    /* owned: what is signed, to the last newline */
    uint8_t id[32]; /* SHA-256 of the text */
    dz_vault_id vault;
    dz_slice fingerprint;
    dz_checkpoint head;
    enum dz_request_kind kind;
    dz_slice subject[DZ_REQUEST_SUBJECT_MAX];
    struct dz_request_snapshot {
        dz_slice line[DZ_REQUEST_LINES];
        uint8_t file[DZ_SHA256_BYTES]; /* the commit record */
    } snapshots[DZ_REQUEST_SNAPSHOTS_MAX];
    size_t n_snapshots;
    dz_slice asked_by, why;
    int64_t created_us, expires_us;
};
void dz_request_release(struct dz_request *r); /* a zeroed one is fine */

/* Makes a request with a fresh random number.  The caller releases *ret_request.
 * DZ_E_USAGE: a value is empty, too long, no UTF-8, or has characters that do not show (named);
 * it would live longer than DZ_REQUEST_LIFE_MAX_US; it names more snapshots than have room, or
 * none where it must.  DZ_E_NOMEM. */
dz_status dz_request_make(const struct dz_request_new *n, struct dz_request *ret_request,
                          dz_err *err) DZ_MUST_CHECK;

/* Appends what others wrote as a request shows it: on one line, all of it visible ('?' for what is
 * not), without spaces at its ends, cut at DZ_REQUEST_QUOTE_MAX.  NULL or empty: '?'. */
void dz_request_put_visible(const char *text, dz_buf *to);

/* Reads a request's text; copied.  The caller releases *ret_request.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_UNSUPPORTED (a newer version, or a kind we do not know),
 * DZ_E_NOMEM. */
dz_status dz_request_parse(dz_slice text, struct dz_request *ret_request,
                           dz_err *err) DZ_MUST_CHECK;

/* Whether the leaf names the commit records of these snapshots, in this order, and no others. */
bool dz_request_names(const struct dz_request *r, const dz_ledger_leaf *leaf);

/* The value of a line of the subject; empty when the kind has no such line. */
dz_slice dz_request_value(const struct dz_request *r, const char *field);
/* The same as the index of a leaf that stood below the head it names; false: it is none. */
bool dz_request_index(const struct dz_request *r, const char *field, uint64_t *ret_index);
bool dz_request_says(const struct dz_request *r, const char *field, const char *value);
