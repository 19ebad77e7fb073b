#include "intake/quota.h"

#include <sodium.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"

/* The file: magic, version, the moment when the day began (boot id, time since boot, wall clock),
 * counts by enum dz_wire_what, keyed checksum. */
static const uint8_t magic[8] = { 'D', 'Z', 'Q', 'U', 'O', 'T', 'A', '\n' };
enum {
    VERSION = 1,
    BOOT_AT = 16,
    BOOT_BYTES = 40,
    UP_AT = BOOT_AT + BOOT_BYTES,
    WALL_AT = UP_AT + 8,
    COUNTS_AT = WALL_AT + 8,
    KINDS = 3,
    SUM_AT = COUNTS_AT + 8 * KINDS,
    SUM_BYTES = 16,
    FILE_BYTES = SUM_AT + SUM_BYTES,
    NAME_TEXT = 6 + 32 + 1,
    STEPS = 64, /* of a day's limit: what is counted ahead */
};
static const int64_t day_us = INT64_C(86400) * 1000000;

struct dz_quota {
    int cachefd, tmpfd;
    char name[NAME_TEXT];
    uint8_t key[DZ_KEY_BYTES];
    struct dz_clock_sample began;
    uint64_t limits[KINDS], used[KINDS], kept[KINDS];
};

static void seal(const struct dz_quota *q, uint8_t file[FILE_BYTES]) {
    (void) crypto_generichash(file + SUM_AT, SUM_BYTES, file, SUM_AT, q->key, sizeof q->key);
}

static dz_status write_file(struct dz_quota *q, dz_err *err) {
    uint8_t file[FILE_BYTES] = { 0 };

    memcpy(file, magic, sizeof magic);
    dz_store_le(file + 8, 2, VERSION);
    memcpy(file + BOOT_AT, q->began.boot, sizeof q->began.boot);
    dz_store_le(file + UP_AT, 8, (uint64_t) q->began.up_us);
    dz_store_le(file + WALL_AT, 8, (uint64_t) q->began.wall_us);
    for (size_t i = 0; i < KINDS; i++)
        dz_store_le(file + COUNTS_AT + 8 * i, 8, q->kept[i]);
    seal(q, file);
    return dz_durable_replace(q->tmpfd, q->cachefd, q->name, (dz_slice){ file, sizeof file }, err);
}

/* False when there is no sound file: a new day. */
static bool read_file(struct dz_quota *q) {
    dz_autobuf dz_buf b = { 0 };
    uint8_t file[FILE_BYTES];

    if (dz_read_file(q->cachefd, q->name, FILE_BYTES, &b, NULL) != DZ_OK || b.len != FILE_BYTES)
        return false;
    memcpy(file, b.data, sizeof file);
    seal(q, file);
    if (memcmp(file, b.data, sizeof file) != 0 || memcmp(file, magic, sizeof magic) != 0 ||
        dz_load_le(file + 8, 2) != VERSION)
        return false;
    memcpy(q->began.boot, file + BOOT_AT, sizeof q->began.boot);
    q->began.up_us = (int64_t) dz_load_le(file + UP_AT, 8);
    q->began.wall_us = (int64_t) dz_load_le(file + WALL_AT, 8);
    for (size_t i = 0; i < KINDS; i++)
        q->used[i] = q->kept[i] = dz_load_le(file + COUNTS_AT + 8 * i, 8);
    return true;
}

/* How long the day has lasted.  A wall clock that went back over a reboot: not at all. */
static int64_t lasted_us(const struct dz_quota *q, const struct dz_clock_sample *now) {
    int64_t lasted = strcmp(q->began.boot, now->boot) == 0 ? now->up_us - q->began.up_us
                                                           : now->wall_us - q->began.wall_us;

    return lasted < 0 ? 0 : lasted;
}

static void begin_day(struct dz_quota *q) {
    struct dz_clock_sample now;
    bool found = read_file(q);

    dz_clock_sample(&now);
    if (!found || lasted_us(q, &now) >= day_us) {
        memset(q->used, 0, sizeof q->used);
        memset(q->kept, 0, sizeof q->kept);
        q->began = now;
    } else if (strcmp(q->began.boot, now.boot) != 0 && now.wall_us < q->began.wall_us) {
        q->began = now; /* else the day would last until the clock is where it was */
    }
}

dz_status dz_quota_open(struct dz_vault *v, const char *source, int tmpfd,
                        const struct dz_quota_limits *limits, struct dz_quota **ret_quota,
                        dz_err *err) {
    struct dz_quota *q = calloc(1, sizeof *q);
    const dz_slice context = { (const uint8_t *) source, strlen(source) };
    uint8_t id[DZ_KEY_BYTES];

    if (!q)
        return DZ_FAIL(err, DZ_E_NOMEM, "quota: out of memory");
    q->cachefd = v->cachefd;
    q->tmpfd = tmpfd;
    dz_key_derive(v->host->cache, "quota", context, q->key);
    dz_key_derive(q->key, "file", (dz_slice){ 0 }, id);
    memcpy(q->name, "quota-", 6);
    dz_hex(id, 16, q->name + 6);
    q->limits[DZ_WIRE_ENTRIES - 1] = limits->entries;
    q->limits[DZ_WIRE_BYTES - 1] = limits->bytes;
    q->limits[DZ_WIRE_RUNS - 1] = limits->runs;
    begin_day(q);
    *ret_quota = q;
    return DZ_OK;
}

void dz_quota_close(struct dz_quota *q) {
    if (!q)
        return;
    if (memcmp(q->kept, q->used, sizeof q->kept) != 0) {
        memcpy(q->kept, q->used, sizeof q->kept);
        DZ_IGNORE(write_file(q, NULL)); /* what is there counts more */
    }
    sodium_memzero(q->key, sizeof q->key);
    free(q);
}

dz_status dz_quota_take(struct dz_quota *q, enum dz_wire_what what, uint64_t n, bool *ret_fits,
                        dz_err *err) {
    size_t i = (size_t) what - 1;
    uint64_t limit = q->limits[i];

    if (limit == 0) {
        *ret_fits = true;
        return DZ_OK;
    }
    q->used[i] = n > UINT64_MAX - q->used[i] ? UINT64_MAX : q->used[i] + n;
    if (q->used[i] > q->kept[i]) {
        uint64_t ahead = limit / STEPS;
        q->kept[i] = ahead > UINT64_MAX - q->used[i] ? UINT64_MAX : q->used[i] + ahead;
        DZ_TRY(write_file(q, err));
    }
    *ret_fits = q->used[i] <= limit;
    return DZ_OK;
}

uint64_t dz_quota_limit(const struct dz_quota *q, enum dz_wire_what what) {
    return q->limits[what - 1];
}

uint32_t dz_quota_left_s(const struct dz_quota *q) {
    struct dz_clock_sample now;
    int64_t left;

    dz_clock_sample(&now);
    left = (day_us - lasted_us(q, &now)) / 1000000;
    return left < 1 ? 1 : (uint32_t) left;
}
