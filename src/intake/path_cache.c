#include <fcntl.h>
#include <sodium.h>

#include "intake/path_cache_parts.h"

/* Header, 64 bytes: magic, version, time of the run, bytes of records, slots, packs, checksum of
 * their list, begin of the snapshot's id.  Then the records: synthetic nonce (16), ciphertext. Then
 * the table: tag (8), offset and length (8), open addressing; length 0 is an empty slot.  Then the
 * packs that were there: the first 8 bytes of each name.  Records rest on what those packs hold. */
static const uint8_t magic[8] = { 'D', 'Z', 'P', 'A', 'T', 'H', '1', '\n' };
enum {
    VERSION = 1,
    SIV_BYTES = 16,
    SLOT_BYTES = 16,
    FLUSH_BYTES = 1 << 20,
    PROBES_MAX = 4096,
};
static const int64_t cycle_us = 30LL * 86400 * 1000000;

/* --- keys ------------------------------------------------------------------------------------- */

void dz_path_context(const struct dz_host_keys *host, const char *source,
                     uint8_t ret_context[DZ_KEY_BYTES]) {
    dz_key_derive(host->cache, "path", (dz_slice){ (const uint8_t *) source, strlen(source) },
                  ret_context);
}

void dz_path_key(const uint8_t context[DZ_KEY_BYTES], dz_slice path, uint64_t fs,
                 const struct stat *st, struct dz_path_key *ret_key) {
    uint8_t fixed[56], out[64];
    crypto_generichash_state h;

    dz_store_le(fixed, 8, fs);
    dz_store_le(fixed + 8, 8, st->st_ino);
    dz_store_le(fixed + 16, 8, (uint64_t) st->st_size);
    dz_store_le(fixed + 24, 8, (uint64_t) st->st_mtim.tv_sec);
    dz_store_le(fixed + 32, 8, (uint64_t) st->st_ctim.tv_sec);
    dz_store_le(fixed + 40, 4, (uint64_t) st->st_mtim.tv_nsec);
    dz_store_le(fixed + 44, 4, (uint64_t) st->st_ctim.tv_nsec);
    dz_store_le(fixed + 48, 8, st->st_nlink);
    (void) crypto_generichash_init(&h, context, DZ_KEY_BYTES, sizeof out);
    (void) crypto_generichash_update(&h, fixed, sizeof fixed);
    (void) crypto_generichash_update(&h, path.data, path.len);
    (void) crypto_generichash_final(&h, out, sizeof out);
    memcpy(ret_key->tag, out, 8);
    memcpy(ret_key->cipher, out + 8, 32);
    memcpy(ret_key->mac, out + 40, 24); /* 192 bits of MAC key are enough */
}

bool dz_path_due(const struct dz_path_key *key, int64_t last_us, int64_t now_us) {
    int64_t phase = (int64_t) (dz_load_le(key->tag, 8) % (uint64_t) cycle_us), since;

    if (now_us < last_us || now_us - last_us >= cycle_us)
        return true;
    since = (now_us - phase) % cycle_us; /* how long ago its moment last was */
    if (since < 0)
        since += cycle_us;
    return since < now_us - last_us;
}

static void siv_of(const struct dz_path_key *key, dz_slice plain, uint8_t ret[SIV_BYTES]) {
    (void) crypto_generichash(ret, SIV_BYTES, plain.data, plain.len, key->mac, sizeof key->mac);
}

static void cipher(const struct dz_path_key *key, const uint8_t siv[SIV_BYTES], const uint8_t *from,
                   size_t len, uint8_t *to) {
    (void) crypto_stream_chacha20_ietf_xor(to, from, len, siv, key->cipher);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct dz_path_cache {
    int fd;
    dz_buf table; /* in memory, not mapped: a bad sector under a mapping would kill the run */
    uint64_t slots, records;
    int64_t time_us;
};

void dz_path_cache_free(struct dz_path_cache *c) {
    if (!c)
        return;
    dz_buf_release(&c->table);
    if (c->fd >= 0)
        (void) dz_os->close(c->fd);
    free(c);
}

static int by_prefix(const void *key, const void *id) {
    return memcmp(key, id, DZ_PATH_PACK);
}

static bool listed(const struct dz_packlist *l, const uint8_t prefix[DZ_PATH_PACK]) {
    return l->n && bsearch(prefix, l->ids, l->n, sizeof *l->ids, by_prefix);
}

/* True when every pack that the records rest on is still there and sound, or was removed by prune,
 * which keeps what the cache's snapshot needs: otherwise all is read again, and what was lost is
 * stored anew. */
static bool packs_are_there(int fd, uint64_t at, uint64_t n, const uint8_t sum[8],
                            const struct dz_packlist *packs, const struct dz_packlist *pruned) {
    dz_autobuf dz_buf list = { 0 };
    uint8_t hash[DZ_SHA256_BYTES];

    if (!dz_buf_extend(&list, (size_t) n * DZ_PATH_PACK) ||
        dz_pread_all(fd, list.data, list.len, (off_t) at) < 0)
        return false;
    dz_sha256(dz_buf_slice(&list), hash);
    if (memcmp(hash, sum, 8) != 0)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!listed(packs, list.data + i * DZ_PATH_PACK) &&
            !listed(pruned, list.data + i * DZ_PATH_PACK))
            return false;
    return true;
}

/* Takes the file's header and table in; false leaves the cache empty. */
static bool take(struct dz_path_cache *c, const struct dz_packlist *packs,
                 const struct dz_packlist *pruned) {
    uint8_t h[DZ_PATH_HEADER];
    struct stat st;
    uint64_t records, slots, n_packs, table_at;

    if (dz_os->fstat(c->fd, &st) < 0 || dz_pread_all(c->fd, h, sizeof h, 0) < 0 ||
        memcmp(h, magic, sizeof magic) != 0 || dz_load_le(h + 8, 2) != VERSION)
        return false;
    records = dz_load_le(h + 24, 8);
    slots = dz_load_le(h + 32, 8);
    n_packs = dz_load_le(h + 40, 8);
    if (records > (uint64_t) st.st_size || slots > (uint64_t) st.st_size / SLOT_BYTES ||
        slots == 0 || n_packs > (uint64_t) st.st_size / DZ_PATH_PACK ||
        DZ_PATH_HEADER + records + slots * SLOT_BYTES + n_packs * DZ_PATH_PACK !=
            (uint64_t) st.st_size)
        return false;
    table_at = DZ_PATH_HEADER + records;
    if (!packs_are_there(c->fd, table_at + slots * SLOT_BYTES, n_packs, h + 48, packs, pruned))
        return false;
    if (!dz_buf_extend(&c->table, (size_t) (slots * SLOT_BYTES)) ||
        dz_pread_all(c->fd, c->table.data, c->table.len, (off_t) table_at) < 0) {
        dz_buf_release(&c->table);
        return false;
    }
    c->slots = slots;
    c->records = records;
    c->time_us = (int64_t) dz_load_le(h + 16, 8);
    return true;
}

dz_status dz_path_cache_open_on(int dirfd, const char *name, const struct dz_packlist *packs,
                                const struct dz_packlist *pruned, struct dz_path_cache **ret_cache,
                                dz_err *err) {
    struct dz_path_cache *c = calloc(1, sizeof *c);

    if (!c)
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    c->fd = dz_os->openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (c->fd >= 0 && !take(c, packs, pruned)) {
        (void) dz_os->close(c->fd);
        c->fd = -1;
    }
    *ret_cache = c;
    return DZ_OK;
}

dz_status dz_path_cache_open_at(int dirfd, const char *name, struct dz_path_cache **ret_cache,
                                dz_err *err) {
    const struct dz_packlist none = { 0 };

    return dz_path_cache_open_on(dirfd, name, &none, &none, ret_cache, err);
}

int64_t dz_path_cache_time(const struct dz_path_cache *c) {
    return c->time_us;
}

/* The slot to begin with: the tag's own bits, scaled. */
static uint64_t first_slot(const uint8_t tag[8], uint64_t slots) {
    return (uint64_t) (((unsigned __int128) dz_load_le(tag, 8) * slots) >> 64);
}

/* Bytes [at, at + len) of the records, through the window. */
static const uint8_t *window_bytes(struct dz_path_cache *c, struct dz_path_window *w, uint64_t at,
                                   size_t len) {
    size_t want = len > DZ_PATH_WINDOW ? len : DZ_PATH_WINDOW;

    if (at < w->at || at + len > w->at + w->bytes.len) {
        if (want > c->records - at)
            want = (size_t) (c->records - at);
        w->bytes.len = 0;
        if (!dz_buf_extend(&w->bytes, want) ||
            dz_pread_all(c->fd, w->bytes.data, want, (off_t) (DZ_PATH_HEADER + at)) < 0) {
            dz_buf_clear(&w->bytes);
            return NULL;
        }
        w->at = at;
    }
    return w->bytes.data + (at - w->at);
}

static bool open_record(struct dz_path_cache *c, const struct dz_path_key *key,
                        struct dz_path_window *w, uint64_t at, size_t len, dz_buf *value) {
    const uint8_t *record;
    uint8_t siv[SIV_BYTES], *to;
    size_t start = value->len;

    if (len < SIV_BYTES || len > DZ_PATH_VALUE_MAX || at > c->records || len > c->records - at)
        return false;
    record = window_bytes(c, w, at, len);
    to = record ? dz_buf_extend(value, len - SIV_BYTES) : NULL;
    if (!to)
        return false;
    cipher(key, record, record + SIV_BYTES, len - SIV_BYTES, to);
    siv_of(key, (dz_slice){ to, len - SIV_BYTES }, siv);
    if (memcmp(siv, record, SIV_BYTES) == 0)
        return true;
    value->len = start;
    return false;
}

bool dz_path_cache_get(struct dz_path_cache *c, const struct dz_path_key *key,
                       struct dz_path_window *window, dz_buf *value) {
    uint64_t slot;

    if (c->slots == 0)
        return false;
    slot = first_slot(key->tag, c->slots);
    for (int probes = 0; probes < PROBES_MAX; probes++) {
        const uint8_t *s = c->table.data + slot * SLOT_BYTES;
        uint64_t where = dz_load_le(s + 8, 8);

        if (where >> 40 == 0)
            return false;
        if (memcmp(s, key->tag, 8) == 0 &&
            open_record(c, key, window, where & 0xffffffffffULL, (size_t) (where >> 40), value))
            return true;
        slot = slot + 1 == c->slots ? 0 : slot + 1;
    }
    return false;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct dz_path_writer {
    struct dz_path_place place;
    int fd;
    char temp[DZ_TEMP_NAME_MAX];
    int64_t time_us;
    uint64_t records;
    dz_buf pending; /* records not yet written */
    dz_buf slots;   /* tag, where: unsorted */
};

void dz_path_writer_free(struct dz_path_writer *w) {
    if (!w)
        return;
    if (w->fd >= 0) {
        (void) dz_os->close(w->fd);
        (void) dz_os->unlinkat(w->place.tmpfd, w->temp, 0);
    }
    dz_buf_release(&w->pending);
    dz_buf_release(&w->slots);
    free(w);
}

dz_status dz_path_writer_new_on(const struct dz_path_place *place, int64_t began_us,
                                struct dz_path_writer **ret_writer, dz_err *err) {
    DZ_AUTO(dz_path_writer) w = calloc(1, sizeof *w);

    if (!w)
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    w->place = *place;
    w->time_us = began_us;
    w->fd = -1;
    DZ_TRY(dz_durable_temp(place->tmpfd, w->temp, &w->fd, err));
    if (!dz_buf_extend(&w->pending, DZ_PATH_HEADER)) /* the header comes at the end */
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    memset(w->pending.data, 0, DZ_PATH_HEADER);
    *ret_writer = DZ_TAKE(w);
    return DZ_OK;
}

dz_status dz_path_writer_new_at(int dirfd, const char *name, int64_t began_us,
                                struct dz_path_writer **ret_writer, dz_err *err) {
    struct dz_path_place place = { .dirfd = dirfd, .tmpfd = dirfd };

    if (strlen(name) >= sizeof place.name)
        return DZ_FAIL(err, DZ_E_USAGE, "a cache's name of %zu bytes, limit is %zu", strlen(name),
                       sizeof place.name - 1);
    memcpy(place.name, name, strlen(name) + 1);
    return dz_path_writer_new_on(&place, began_us, ret_writer, err);
}

static dz_status flush(struct dz_path_writer *w, dz_err *err) {
    if (!dz_buf_ok(&w->pending) || !dz_buf_ok(&w->slots))
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    if (dz_write_all(w->fd, dz_buf_slice(&w->pending)) < 0)
        return DZ_FAIL_ERRNO(err, "writing the path cache");
    dz_buf_clear(&w->pending);
    return DZ_OK;
}

dz_status dz_path_writer_add(struct dz_path_writer *w, const struct dz_path_key *key,
                             dz_slice value, dz_err *err) {
    size_t len = value.len + SIV_BYTES;
    uint8_t *to;

    if (len > DZ_PATH_VALUE_MAX || w->records + len >= 1ULL << 40)
        return DZ_OK; /* too large to remember: it is read again next time */
    to = dz_buf_extend(&w->pending, len);
    if (to) {
        siv_of(key, value, to);
        cipher(key, to, value.data, value.len, to + SIV_BYTES);
        dz_buf_put(&w->slots, key->tag, 8);
        dz_buf_put_le64(&w->slots, w->records | (uint64_t) len << 40);
        w->records += len;
    }
    return w->pending.len >= FLUSH_BYTES || !to ? flush(w, err) : DZ_OK;
}

dz_status dz_path_writer_finish(struct dz_path_writer *w,
                                const uint8_t snapshot[DZ_SNAPSHOT_ID_BYTES], dz_err *err) {
    uint64_t n = w->slots.len / SLOT_BYTES, slots = n + n / 4 + 16;
    dz_autobuf dz_buf table = { 0 };
    uint8_t header[DZ_PATH_HEADER] = { 0 };
    uint8_t *t = dz_buf_extend(&table, (size_t) slots * SLOT_BYTES);
    uint8_t hash[DZ_SHA256_BYTES];
    size_t list_at = table.len, n_packs;
    int fd = w->fd;

    if (!t)
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    memset(t, 0, table.len);
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *from = w->slots.data + i * SLOT_BYTES;
        uint64_t slot = first_slot(from, slots);

        while (dz_load_le(t + slot * SLOT_BYTES + 8, 8) != 0)
            slot = slot + 1 == slots ? 0 : slot + 1;
        memcpy(t + slot * SLOT_BYTES, from, SLOT_BYTES);
    }
    if (w->place.put_packs)
        DZ_TRY(w->place.put_packs(w->place.v, &table, err));
    n_packs = (table.len - list_at) / DZ_PATH_PACK;
    if (!dz_buf_ok(&table))
        return DZ_FAIL(err, DZ_E_NOMEM, "path cache: out of memory");
    dz_sha256((dz_slice){ table.data + list_at, n_packs * DZ_PATH_PACK }, hash);
    DZ_TRY(flush(w, err));
    if (dz_write_all(w->fd, dz_buf_slice(&table)) < 0)
        return DZ_FAIL_ERRNO(err, "writing the path cache");
    memcpy(header, magic, sizeof magic);
    dz_store_le(header + 8, 2, VERSION);
    dz_store_le(header + 16, 8, (uint64_t) w->time_us);
    dz_store_le(header + 24, 8, w->records);
    dz_store_le(header + 32, 8, slots);
    dz_store_le(header + 40, 8, n_packs);
    memcpy(header + 48, hash, 8);
    memcpy(header + DZ_PATH_SNAPSHOT_AT, snapshot, DZ_PATH_SNAPSHOT);
    if (dz_os->pwrite(w->fd, header, sizeof header, 0) != (ssize_t) sizeof header)
        return DZ_FAIL_ERRNO(err, "writing the path cache");
    w->fd = -1;
    return dz_durable_replace_temp(w->place.tmpfd, w->temp, fd, w->place.dirfd, w->place.name, err);
}
