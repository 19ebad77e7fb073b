/* intake/path_cache_parts.h -- what the two halves of a path cache share: path_cache.c knows the
 * file, path_cache_vault.c the vault whose packs its records may rest on.  An agent has the first
 * half alone. */
#pragma once

#include "core/durable.h"
#include "intake/path_cache.h"
#include "store/packlist.h"

enum {
    DZ_PATH_NAME = 5 + 32 + 1, /* "path-", hexadecimal digits, NUL */
    DZ_PATH_HEADER = 64,       /* bytes before the records */
    DZ_PATH_PACK = 8,          /* bytes of a pack's name in the list behind them */
    DZ_PATH_SNAPSHOT_AT = 56,  /* in the header: the begin of the snapshot's id */
    DZ_PATH_SNAPSHOT = 8,
};

/* As dz_path_cache_open_at(); the records must rest on none but these packs. */
dz_status dz_path_cache_open_on(int dirfd, const char *name, const struct dz_packlist *packs,
                                const struct dz_packlist *pruned, struct dz_path_cache **ret_cache,
                                dz_err *err) DZ_MUST_CHECK;

struct dz_path_place {
    int dirfd, tmpfd; /* borrowed until the writer is freed */
    char name[DZ_PATH_NAME];
    /* Appends the first DZ_PATH_PACK bytes of each pack that the records rest on; NULL: none. */
    dz_status (*put_packs)(struct dz_vault *v, dz_buf *to, dz_err *err);
    struct dz_vault *v;
};
dz_status dz_path_writer_new_on(const struct dz_path_place *place, int64_t began_us,
                                struct dz_path_writer **ret_writer, dz_err *err) DZ_MUST_CHECK;
