/* tests/crash/world.h -- source trees, a vault, and what each snapshot must give back.
 *
 *   source tree ─▶ tree_of() ─▶ promise;  vault ─▶ world_check(): every promise kept? all sound?
 *
 * A tree is read with plain system calls, so the reference is the kernel and not our code.  Checks
 * return false and say why; what cannot go wrong unless the machine does ends the program. */
#pragma once

#include "intake/backup.h"
#include "store/commit.h"
#include "store/vault.h"

enum { WHY = 300 };

#define MUST(cond)                                                         \
    do {                                                                   \
        if (!(cond)) {                                                     \
            fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #cond); \
            abort();                                                       \
        }                                                                  \
    } while (0)

/* --- random numbers that a printed seed brings back --- */
uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit);
void random_fill(uint64_t *state, uint8_t *to, size_t len);

/* --- files --- */
/* A new directory in memory-backed storage where there is some: nothing here waits for a disk. */
void world_dir(char ret_path[64]);
void world_remove(const char *path);
void world_file(const char *dir, const char *name, const void *bytes, size_t len);
/* A dozen objects of all sorts below `dir`: text and noise, deep and wide, links, a FIFO, holes. */
void world_tree(const char *dir, uint64_t *random);
/* Changes some of them, adds some, removes some. */
void world_change(const char *dir, uint64_t *random);
/* Time stamps are coarse: after this, files as they are now count as settled. */
void world_settle(void);
unsigned world_open_fds(void);
/* Names in a directory; 0 when it is not there. */
unsigned world_names_in(const char *dir, const char *sub);

/* --- what must be there --- */
struct tree;
struct tree *tree_of(const char *dir); /* absolute, without symbolic links */
void tree_free(struct tree *t);
/* Whether the snapshot, opened, is this tree to the last byte. */
struct dz_fetch;
bool tree_is_kept(struct tree *t, struct dz_fetch *fetch, const struct dz_commit *commit,
                  char why[WHY]);

struct promise {
    uint8_t id[DZ_SNAPSHOT_ID_BYTES];
    struct tree *tree;
    bool acknowledged; /* dz_backup_run() said so; else the snapshot may be there or not */
    bool known;        /* id is set */
    uint64_t problems; /* files that the snapshot says it could not keep whole */
};
struct promises {
    struct promise *list;
    size_t n, cap;
};
struct promise *promise_add(struct promises *p, struct tree *tree);
void promises_free(struct promises *p);

/* --- the vault --- */
extern const uint8_t world_root[DZ_ROOT_BYTES];
dz_status world_create(const char *vault, dz_err *err);
/* Open, and unlocked. */
dz_status world_open(const char *vault, struct dz_vault **ret_vault, dz_err *err);
/* One backup of `dir` under the name `source`; *ret_commit (may be NULL) is released by the caller.
 */
dz_status world_backup(struct dz_vault *v, const char *source, const char *dir, unsigned threads,
                       struct dz_commit *ret_commit, dz_err *err);
/* The same, on a vault opened for it; the promise is added whether it works or not. */
dz_status world_keep(const char *vault, const char *source, const char *dir, unsigned threads,
                     struct promises *p, dz_err *err);

/* Opens everything in the vault and holds it against the log (store/verify.h). */
bool world_verify(struct dz_vault *v, char why[WHY]);

/* Whether every snapshot of `ids` (text, `n` lines of 32 digits) can be opened; *ret_more counts
 * those that are there besides.  With `data` everything is read. */
bool world_holds(const char *vault, const char *ids, size_t n, bool data, uint64_t *ret_more,
                 char why[WHY]);

/* Whether the vault holds every acknowledged promise, whole, and nothing that was not promised; and
 * whether every pack, commit and file of the log is sound.  With `latest` only the newest snapshot
 * of all is read to the last byte, the others are but opened. */
bool world_check(const char *vault, const struct promises *p, bool latest, char why[WHY]);
