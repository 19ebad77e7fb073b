/* tests/unit/intake/scratch.h -- a directory to make trees in, and a vault beside it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/vault.h"

struct scratch {
    char dir[64];   /* absolute */
    char tree[80];  /* dir/tree: what is backed up; made */
    char vault[96]; /* dir/vault: made by scratch_vault() */
    uint8_t root[DZ_ROOT_BYTES];
};

/* For cmocka; *state becomes a struct scratch. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* All paths are relative to the tree; a failure fails the test. */
void scratch_dir(struct scratch *s, const char *path);
void scratch_file(struct scratch *s, const char *path, const void *bytes, size_t len);
void scratch_text(struct scratch *s, const char *path, const char *text);
/* Bytes that no compressor shortens, the same for one seed. */
void scratch_noise(struct scratch *s, const char *path, size_t len, uint64_t seed);
/* The absolute path; one of a few static buffers. */
const char *scratch_at(struct scratch *s, const char *path);

/* Makes the vault, and opens it: closed, or unlocked. */
void scratch_vault(struct scratch *s);
struct dz_vault *scratch_open(struct scratch *s, bool unlocked);

/* Runs `argv` and waits.  Its exit code, or -1. */
int scratch_run(const char *const *argv);
/* Sleeps until files changed before this call count as settled (intake/local.c, tick_ns). */
void scratch_settle(void);
