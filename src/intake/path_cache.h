/* intake/path_cache.h -- recognises unchanged files, so that a closed vault need not read them.
 *
 *   (source, path, file system, inode, size, mtime, ctime) ─▶ [cache] ─▶ the entry's fields
 *
 * The file holds no path and no content that its keys alone would show: each record is found by,
 * and encrypted under, a keyed hash of what only the live tree knows.  Who has the host keys and
 * the disk, but not the tree, can count records and confirm guesses (docs/design/leakage.md).
 * A record that is damaged does not open, and its file is read again; a cache whose packs are no
 * longer all there and sound, but for those that prune removed, is not used; and one whose snapshot
 * is removed goes first: the cache can be lost, never wrong.
 * Layout: docs/format/cache.md.
 *
 * A reader may be used by many threads, each with a dz_path_window of its own; a writer belongs to
 * one thread. */
#pragma once

#include <sys/stat.h>

#include "crypto/keys.h"
#include "store/commit.h"
#include "store/vault.h"

enum { DZ_PATH_WINDOW = 128 << 10, DZ_PATH_VALUE_MAX = (16 << 20) - 1 };

/* What a file is recognised by: a tag, and two keys that open its record. */
struct dz_path_key {
    uint8_t tag[8];
    uint8_t cipher[32];
    uint8_t mac[24];
};

/* Makes the key.  `context` comes from dz_path_context() and is the same for one source. */
void dz_path_context(const struct dz_host_keys *host, const char *source,
                     uint8_t ret_context[DZ_KEY_BYTES]);
void dz_path_key(const uint8_t context[DZ_KEY_BYTES], dz_slice path, uint64_t fs,
                 const struct stat *st, struct dz_path_key *ret_key);

/* A moment in a cycle of 30 days, from the key alone: when this file is read again although it
 * seems unchanged.  True if it lies in (last, now], both in microseconds since 1970. */
bool dz_path_due(const struct dz_path_key *key, int64_t last_us, int64_t now_us);

/* --- reading --- */

struct dz_path_cache;
/* Opens the source's cache; one that is missing or damaged gives an empty cache.  DZ_E_NOMEM. */
dz_status dz_path_cache_open(struct dz_vault *v, const char *source,
                             struct dz_path_cache **ret_cache, dz_err *err) DZ_MUST_CHECK;
/* The same of who has no vault: a file that rests on no packs, because its user asks the vault for
 * what is remembered before he relies on it. */
dz_status dz_path_cache_open_at(int dirfd, const char *name, struct dz_path_cache **ret_cache,
                                dz_err *err) DZ_MUST_CHECK;
void dz_path_cache_free(struct dz_path_cache *c); /* NULL is fine */
DZ_DEFINE_AUTO(dz_path_cache, dz_path_cache_free)

/* When the run that wrote the cache began; 0 for an empty one. */
int64_t dz_path_cache_time(const struct dz_path_cache *c);

/* Bytes read ahead; zeroed it is empty.  Release the buffer at the end. */
struct dz_path_window {
    dz_buf bytes;
    uint64_t at;
};
/* Looks a key up; appends the value to `value`.  False: not known. */
bool dz_path_cache_get(struct dz_path_cache *c, const struct dz_path_key *key,
                       struct dz_path_window *window, dz_buf *value);

/* --- writing --- */

struct dz_path_writer;
/* `tmpfd` is borrowed until the writer is freed.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_path_writer_new(struct dz_vault *v, int tmpfd, const char *source, int64_t began_us,
                             struct dz_path_writer **ret_writer, dz_err *err) DZ_MUST_CHECK;
/* Of who has no vault.  `dirfd` is borrowed like tmpfd, and takes the temporary file too. */
dz_status dz_path_writer_new_at(int dirfd, const char *name, int64_t began_us,
                                struct dz_path_writer **ret_writer, dz_err *err) DZ_MUST_CHECK;
void dz_path_writer_free(struct dz_path_writer *w); /* drops what was not finished; NULL is fine */
DZ_DEFINE_AUTO(dz_path_writer, dz_path_writer_free)
/* Remembers one file.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_path_writer_add(struct dz_path_writer *w, const struct dz_path_key *key,
                             dz_slice value, dz_err *err) DZ_MUST_CHECK;
/* Replaces the source's cache.  `snapshot` is the one that has all that is remembered: the cache
 * lives as long as it.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_path_writer_finish(struct dz_path_writer *w,
                                const uint8_t snapshot[DZ_SNAPSHOT_ID_BYTES],
                                dz_err *err) DZ_MUST_CHECK;

/* Drops the caches whose snapshot is none of `ids` (n of them, DZ_SNAPSHOT_ID_BYTES each): what
 * they remember may be removed with it.  DZ_E_IO. */
dz_status dz_path_caches_keep(struct dz_vault *v, const uint8_t *ids, size_t n,
                              dz_err *err) DZ_MUST_CHECK;
