/* tests/honest/vault_fixture.h -- a small vault of three snapshots, and what verification says.
 *
 *   fixture_make() ─▶ pristine vault ─▶ fixture_copy() ─▶ damage it ─▶ fixture_verify() */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/verify.h"

enum { FIXTURE_SNAPS = 3, FIXTURE_FOUND_MAX = 64, FIXTURE_PATHS_MAX = 64 };

extern const uint8_t fixture_root[DZ_ROOT_BYTES];
extern const dz_vault_id fixture_id;

struct fixture {
    char top[64];      /* the temporary directory; removed by fixture_drop() */
    char pristine[80]; /* the vault, never touched */
    char vault[80];    /* the copy that is damaged */
    char source[80];   /* the tree that was kept, as it was last */
    uint8_t snaps[FIXTURE_SNAPS][DZ_SNAPSHOT_ID_BYTES];
};

void fixture_make(struct fixture *f);
void fixture_drop(struct fixture *f);
/* Makes f->vault a fresh copy of f->pristine. */
void fixture_copy(const struct fixture *f);
/* One backup of f->source into this vault. */
void fixture_backup(const struct fixture *f, const char *vault, uint8_t *ret_id);

/* One damaged thing, as it was told. */
struct found {
    char object[128];
    enum dz_verify_what what;
    char detail[256];
    unsigned snaps; /* bits: which of f->snaps */
    size_t n_paths;
    char paths[FIXTURE_PATHS_MAX][256];
    uint64_t entries;
};
struct findings {
    const struct fixture *f;
    struct dz_verify_result result;
    size_t n;
    struct found at[FIXTURE_FOUND_MAX];
    bool not_opened; /* the vault could not even be opened: `why` */
    dz_err why;
};

enum fixture_with { CLOSED, OPENED, WITH_DATA };
/* Verifies `vault`, as a program would.  `found` is large: keep it static. */
void fixture_verify(const struct fixture *f, const char *vault, enum fixture_with with,
                    struct findings *ret_found);
/* The finding with this object, or NULL. */
const struct found *found_object(const struct findings *found, const char *object);
/* Fails the test with a list of what was found. */
_Noreturn void found_fail(const struct findings *found, const char *what);

/* Reads every entry of snapshot `snap` to its last byte, as restore would.  What could not be read
 * (of a lost page of the list: its first path) is added to `paths`, each once.  What could, and is
 * still the same in f->source, is compared with it when `compare`.  False: nothing at all could be
 * read, the snapshot itself being lost. */
struct paths {
    size_t n;
    char at[FIXTURE_PATHS_MAX][256];
};
bool fixture_read_snapshot(const struct fixture *f, const char *vault, size_t snap, bool compare,
                           struct paths *paths);
bool paths_have(const struct paths *paths, const char *path);
void paths_add(struct paths *paths, const char *path);

/* Files of a vault, as paths below it, sorted: those of one directory ("packs"), or all ("").
 * The caller frees names and list. */
char **fixture_files(const char *vault, const char *below, size_t *ret_n);
void fixture_files_free(char **files, size_t n);
/* Whole files.  The caller frees. */
uint8_t *fixture_read(const char *dir, const char *name, size_t *ret_len);
void fixture_write(const char *dir, const char *name, const uint8_t *bytes, size_t len);
