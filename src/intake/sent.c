#include "intake/sent.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/hex.h"
#include "core/os.h"
#include "store/id_set.h"
#include "store/index.h"
#include "store/object.h"

enum {
    ROLL = 128 << 10, /* chunks in memory before they go into a run */
    NAME_TEXT = 5 + 32 + 1,
    DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
};
static const char now_name[] = "now", last_name[] = "last";

struct dz_sent {
    int tmpfd;
    int dirfd; /* of the source; holds the lock */
    int nowfd;
    uint8_t key[DZ_KEY_BYTES];        /* of the names */
    uint8_t mask[DZ_KEY_BYTES];       /* of the lengths */
    uint8_t run_id[DZ_INDEX_ID_LEN];  /* that the runs say they belong to */
    struct dz_index *last, *now;      /* NULL: empty */
    struct dz_id_map *fresh;          /* id -> length, in its first bytes */
    struct dz_index_builder *builder; /* the same, sorted */
};

/* --- directories ------------------------------------------------------------------------------ */

/* Opens the directory; *ret_fd is -1 when there is none and it is not to be made. */
static dz_status open_dir(int above, const char *name, bool make, int *ret_fd, dz_err *err) {
    int fd;

    if (make && dz_os->mkdirat(above, name, 0700) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making a directory for what a source has sent");
    fd = dz_os->openat(above, name, DIR_FLAGS, 0);
    if (fd < 0 && (make || errno != ENOENT))
        return DZ_FAIL_ERRNO(err, "opening the directory of what a source has sent");
    *ret_fd = fd;
    return DZ_OK;
}

static dz_status forget_one(void *ctx, const char *name, dz_err *err) {
    return name[0] != '.' && dz_os->unlinkat(*(const int *) ctx, name, 0) < 0
               ? DZ_FAIL_ERRNO(err, "forgetting what a source has sent")
               : DZ_OK;
}

static dz_status empty_dir(int dirfd, dz_err *err) {
    return dz_dir_each(dirfd, "what a source has sent", forget_one, &dirfd, err);
}

/* What cannot be opened is of no use, and a cache: it goes. */
static dz_status open_index(const struct dz_sent *s, int dirfd, struct dz_index **ret_index,
                            dz_err *err) {
    dz_status status = dz_index_open(dirfd, s->run_id, ret_index, err);

    return status == DZ_OK || status == DZ_E_NOMEM ? status : empty_dir(dirfd, err);
}

static dz_status open_last(struct dz_sent *s, dz_err *err) {
    dz_autoclose int fd = -1;

    DZ_TRY(open_dir(s->dirfd, last_name, false, &fd, err));
    return fd < 0 ? DZ_OK : open_index(s, fd, &s->last, err);
}

/* now becomes last.  A crash in between leaves now alone, which is asked too. */
static dz_status turn_over(struct dz_sent *s, dz_err *err) {
    dz_autoclose int lastfd = -1;

    DZ_TRY(open_dir(s->dirfd, last_name, false, &lastfd, err));
    if (lastfd >= 0) {
        DZ_TRY(empty_dir(lastfd, err));
        if (dz_os->unlinkat(s->dirfd, last_name, AT_REMOVEDIR) < 0)
            return DZ_FAIL_ERRNO(err, "forgetting what a source has sent");
    }
    if (dz_os->replace(s->dirfd, now_name, s->dirfd, last_name) < 0)
        return DZ_FAIL_ERRNO(err, "keeping what a source has sent");
    return DZ_OK;
}

/* --- beginning and end ------------------------------------------------------------------------ */

static dz_status start_fresh(struct dz_sent *s, dz_err *err) {
    dz_id_map_free(DZ_TAKE(s->fresh));
    dz_index_builder_free(DZ_TAKE(s->builder));
    DZ_TRY(dz_id_map_new(&s->fresh, err));
    return dz_index_builder_new(s->tmpfd, s->run_id, ROLL * DZ_INDEX_ENTRY, &s->builder, err);
}

static dz_status open_all(struct dz_sent *s, struct dz_vault *v, const char *name, dz_err *err) {
    DZ_TRY(open_dir(v->cachefd, name, true, &s->dirfd, err));
    if (dz_os->flock(s->dirfd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? DZ_FAIL(err, DZ_E_BUSY, "another run of this source is going on")
                   : DZ_FAIL_ERRNO(err, "locking what a source has sent");
    DZ_TRY(open_dir(s->dirfd, now_name, true, &s->nowfd, err));
    DZ_TRY(open_last(s, err));
    DZ_TRY(open_index(s, s->nowfd, &s->now, err));
    return start_fresh(s, err);
}

dz_status dz_sent_open(struct dz_vault *v, const char *source, int tmpfd, struct dz_sent **ret_sent,
                       dz_err *err) {
    DZ_AUTO(dz_sent) s = calloc(1, sizeof *s);
    const dz_slice context = { (const uint8_t *) source, strlen(source) };
    char name[NAME_TEXT] = "sent-";
    uint8_t id[DZ_KEY_BYTES];

    if (!s)
        return DZ_FAIL(err, DZ_E_NOMEM, "what a source has sent: out of memory");
    s->tmpfd = tmpfd;
    s->dirfd = s->nowfd = -1;
    dz_key_derive(v->host->cache, "sent", context, s->key);
    dz_key_derive(s->key, "length", (dz_slice){ 0 }, s->mask);
    dz_key_derive(s->key, "file", (dz_slice){ 0 }, id);
    dz_hex(id, 16, name + 5);
    memcpy(s->run_id, id + 16, sizeof s->run_id);
    DZ_TRY(open_all(s, v, name, err));
    *ret_sent = DZ_TAKE(s);
    return DZ_OK;
}

void dz_sent_free(struct dz_sent *s) {
    if (!s)
        return;
    dz_index_close(s->last);
    dz_index_close(s->now);
    dz_id_map_free(s->fresh);
    dz_index_builder_free(s->builder);
    if (s->nowfd >= 0)
        (void) dz_os->close(s->nowfd);
    if (s->dirfd >= 0)
        (void) dz_os->close(s->dirfd);
    sodium_memzero(s->key, sizeof s->key);
    sodium_memzero(s->mask, sizeof s->mask);
    free(s);
}

/* --- asking and adding ------------------------------------------------------------------------ */

/* What the chunk's length is XORed with: the files are read by who may not know it. */
static uint32_t mask_of(const struct dz_sent *s, const dz_id *id) {
    return (uint32_t) dz_load_le(dz_name_of(s->mask, DZ_KIND_DATA, id).b, 4);
}

/* Adds the length that one index knows, if it does. */
static dz_status ask(struct dz_index *index, const dz_name *name, uint32_t mask, uint32_t *length,
                     dz_err *err) {
    bool found = false;
    dz_place place;
    dz_status s = DZ_OK;

    if (!index || *length)
        return DZ_OK;
    s = dz_index_find(index, name->b, NULL, NULL, &place, &found, err);
    if (s == DZ_OK && found && (place.seg_len ^ mask) <= DZ_OBJECT_MAX)
        *length = place.seg_len ^ mask;
    return s == DZ_E_CORRUPT ? DZ_OK : s; /* a damaged cache knows nothing */
}

dz_status dz_sent_length(struct dz_sent *s, const dz_id *id, uint32_t *ret_length, dz_err *err) {
    dz_name name = dz_name_of(s->key, DZ_KIND_DATA, id);
    uint32_t length = 0, mask = mask_of(s, id);
    dz_id value;

    if (dz_id_map_get(s->fresh, id, &value))
        length = (uint32_t) dz_load_le(value.b, 4);
    DZ_TRY(ask(s->now, &name, mask, &length, err));
    DZ_TRY(ask(s->last, &name, mask, &length, err));
    *ret_length = length;
    return DZ_OK;
}

/* From memory into a run.  Runs that are many become one; if that fails they stay many. */
static dz_status roll(struct dz_sent *s, dz_err *err) {
    uint8_t run[DZ_INDEX_ID_LEN];
    size_t merged;

    if (dz_index_builder_empty(s->builder))
        return DZ_OK;
    DZ_TRY(dz_index_builder_finish(s->builder, s->nowfd, run, err));
    DZ_IGNORE(
        dz_index_merge(s->nowfd, s->tmpfd, s->run_id, &(dz_index_merge_how){ 0 }, &merged, NULL));
    dz_index_close(DZ_TAKE(s->now));
    DZ_TRY(open_index(s, s->nowfd, &s->now, err));
    return start_fresh(s, err);
}

dz_status dz_sent_add(struct dz_sent *s, const dz_id *id, uint32_t length, dz_err *err) {
    static const uint8_t nowhere[DZ_PACK_NAME_LEN];
    dz_name name = dz_name_of(s->key, DZ_KIND_DATA, id);
    dz_place place = { .seg_len = length ^ mask_of(s, id), .type = DZ_KIND_DATA };
    dz_id value = { 0 };

    if (dz_id_map_get(s->fresh, id, &value))
        return DZ_OK;
    memcpy(place.pack, nowhere, sizeof nowhere);
    dz_store_le(value.b, 4, length);
    DZ_TRY(dz_id_map_put(s->fresh, id, &value, err));
    DZ_TRY(dz_index_builder_add(s->builder, name.b, &place, err));
    return dz_index_builder_count(s->builder) >= ROLL ? roll(s, err) : DZ_OK;
}

dz_status dz_sent_keep(struct dz_sent *s, bool snapshot, dz_err *err) {
    DZ_TRY(roll(s, err));
    return snapshot ? turn_over(s, err) : DZ_OK;
}
