#include <fcntl.h>
#include <sodium.h>

#include "core/dir.h"
#include "core/hex.h"
#include "intake/path_cache_parts.h"

static void cache_name(const struct dz_vault *v, const char *source, char ret_name[DZ_PATH_NAME]) {
    uint8_t context[DZ_KEY_BYTES], id[16];

    dz_path_context(v->host, source, context);
    (void) crypto_generichash(id, sizeof id, (const uint8_t *) "file", 4, context, DZ_KEY_BYTES);
    explicit_bzero(context, sizeof context);
    memcpy(ret_name, "path-", 5);
    dz_hex(id, sizeof id, ret_name + 5);
}

dz_status dz_path_cache_open(struct dz_vault *v, const char *source,
                             struct dz_path_cache **ret_cache, dz_err *err) {
    struct dz_packlist packs = { 0 }, pruned = { 0 };
    char name[DZ_PATH_NAME];
    dz_status s;

    DZ_TRY(dz_packlist_read(v, &packs, err));
    dz_packlist_pruned(v, &pruned);
    cache_name(v, source, name);
    s = dz_path_cache_open_on(v->cachefd, name, &packs, &pruned, ret_cache, err);
    dz_packlist_release(&pruned);
    dz_packlist_release(&packs);
    return s;
}

static dz_status put_packs(struct dz_vault *v, dz_buf *to, dz_err *err) {
    struct dz_packlist packs = { 0 };

    DZ_TRY(dz_packlist_read(v, &packs, err));
    for (size_t i = 0; i < packs.n; i++)
        dz_buf_put(to, packs.ids[i].b, DZ_PATH_PACK);
    dz_packlist_release(&packs);
    return DZ_OK;
}

dz_status dz_path_writer_new(struct dz_vault *v, int tmpfd, const char *source, int64_t began_us,
                             struct dz_path_writer **ret_writer, dz_err *err) {
    struct dz_path_place place = {
        .dirfd = v->cachefd, .tmpfd = tmpfd, .put_packs = put_packs, .v = v
    };

    cache_name(v, source, place.name);
    return dz_path_writer_new_on(&place, began_us, ret_writer, err);
}

/* --- when snapshots go ------------------------------------------------------------------------ */

static bool lives(int cachefd, const char *name, const uint8_t *ids, size_t n) {
    int fd = dz_os->openat(cachefd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    uint8_t h[DZ_PATH_HEADER];
    bool alive = false;

    if (fd < 0)
        return false;
    if (dz_pread_all(fd, h, sizeof h, 0) == 0)
        for (size_t i = 0; i < n && !alive; i++)
            alive = memcmp(ids + i * DZ_SNAPSHOT_ID_BYTES, h + DZ_PATH_SNAPSHOT_AT,
                           DZ_PATH_SNAPSHOT) == 0;
    (void) dz_os->close(fd);
    return alive;
}

struct keeping {
    struct dz_vault *v;
    const uint8_t *ids;
    size_t n;
};

static dz_status keep_or_drop(void *ctx, const char *name, dz_err *err) {
    const struct keeping *k = ctx;

    if (strncmp(name, "path-", 5) == 0 && !lives(k->v->cachefd, name, k->ids, k->n) &&
        dz_os->unlinkat(k->v->cachefd, name, 0) < 0 && errno != ENOENT)
        return DZ_FAIL_ERRNO(err, "dropping the path cache of a removed snapshot");
    return DZ_OK;
}

dz_status dz_path_caches_keep(struct dz_vault *v, const uint8_t *ids, size_t n, dz_err *err) {
    struct keeping k = { .v = v, .ids = ids, .n = n };

    DZ_TRY(dz_dir_each(v->cachefd, "caches", keep_or_drop, &k, err));
    return dz_os->fsync(v->cachefd) < 0 ? DZ_FAIL_ERRNO(err, "dropping path caches") : DZ_OK;
}
