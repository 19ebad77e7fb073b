/* store/commit.h -- the record that makes a snapshot exist.
 *
 * A commit is a file commits/<SHA-256 of its bytes>, bound by a leaf of the log; a file without a
 * leaf is no snapshot.  It has a part for the closed host (source, times, counts, the root of the
 * reference tree), under the text key, and a part sealed to the recipients (the manifest's root,
 * what was asked for, what went wrong).  Layout: docs/format/commit.md. */
#pragma once

#include "crypto/keys.h"
#include "store/manifest.h"

enum {
    DZ_SNAPSHOT_ID_BYTES = 16,
    DZ_SOURCE_NAME_MAX = 128,
    DZ_COMMIT_MAX = 32 << 20,      /* bytes of a commit file: it names the packs, 32 bytes each */
    DZ_COMMIT_PROBLEMS_MAX = 1000, /* problems kept by name; all are counted */
};

/* Names: letters, digits, '.', '_', '-' and bytes >= 0x80; no leading '.' or '-'. */
bool dz_source_name_ok(const char *name);
/* The same, said: DZ_E_USAGE. */
dz_status dz_source_name_check(const char *name, dz_err *err) DZ_MUST_CHECK;

/* Something that could not be kept as it was. */
typedef struct dz_problem {
    dz_slice path; /* as in the manifest */
    uint32_t sys_errno;
    uint8_t what; /* enum dz_problem_kind */
} dz_problem;
enum dz_problem_kind {                            /* on disk */
                       DZ_PROBLEM_UNREADABLE = 1, /* could not be read, or vanished */
                       DZ_PROBLEM_CHANGED = 2,    /* changed while it was read */
                       DZ_PROBLEM_PARTIAL = 3,    /* kept, but without some attribute */
};

struct dz_commit {
    uint8_t id[DZ_SNAPSHOT_ID_BYTES];
    /* for the closed host */
    char source[DZ_SOURCE_NAME_MAX + 1];
    int64_t arrived_us; /* the vault's own clock at commit, UTC since 1970 */
    int64_t started_us;
    uint64_t files, dirs, others; /* entries by type */
    uint64_t bytes;               /* of all files */
    uint64_t new_bytes;           /* of objects the vault did not have, before compression */
    uint64_t stored_bytes;        /* what they took on disk */
    uint64_t sent_bytes; /* of chunks that the source had not sent before; 0: a local one */
    uint64_t alarms, changed, errors;
    dz_id ref_root;
    dz_buf packs; /* names of the packs this session wrote, 32 bytes each: what a copy must hold */
    /* sealed; empty when read closed */
    bool opened;
    struct dz_manifest_root root;
    char *host;      /* of the source */
    dz_buf paths;    /* fields: the paths asked for */
    dz_buf excludes; /* fields */
    dz_buf problems; /* rows: what u8, errno varint, path field; dz_commit_problems() reads */
};
void dz_commit_release(struct dz_commit *c);

/* Appends the record's bytes.  DZ_E_NOMEM, DZ_E_LIMIT. */
dz_status dz_commit_write(const struct dz_commit *c, const struct dz_host_keys *host, dz_buf *to,
                          dz_err *err) DZ_MUST_CHECK;
/* Reads a record; the sealed part only if `open` is not NULL.
 * DZ_E_MALFORMED, DZ_E_CORRUPT, DZ_E_UNSUPPORTED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_commit_read(dz_slice bytes, const struct dz_host_keys *host,
                         const struct dz_open_keys *open, struct dz_commit *ret_commit,
                         dz_err *err) DZ_MUST_CHECK;

/* Steps through c->problems: start with a reader over it; false at the end. */
bool dz_commit_next_problem(dz_reader *r, dz_problem *ret_problem);
