#include "daemon/expected.h"

#include <jansson.h>
#include <stdio.h>

#include "core/durable.h"
#include "core/zone.h"
#include "crypto/aead.h"
#include "store/commit.h"

_Static_assert((int) DZ_EXPECTED_NAME_MAX == (int) DZ_SOURCE_NAME_MAX, "names of sources");

static const char file_name[] = "expected";
enum { VERSION = 1 };
static const int64_t year_us = INT64_C(366) * 86400 * 1000000;
static const int64_t latest_us = INT64_C(253370764800) * 1000000; /* the year 9999 */

void dz_expected_release(struct dz_expected *e) {
    for (size_t i = 0; i < e->n; i++)
        free(e->list[i].cron);
    free(e->list);
    free(e->zone);
    *e = (struct dz_expected){ 0 };
}

dz_status dz_expected_add(struct dz_expected *e, const char *name, const char *cron,
                          const dz_schedule *schedule, int64_t late_after_us, int64_t since_us,
                          dz_err *err) {
    dz_expected_source *more = realloc(e->list, (e->n + 1) * sizeof *more), *s;

    if (more)
        e->list = more;
    if (!more || e->n == DZ_EXPECTED_MAX)
        return DZ_FAIL(err, more ? DZ_E_LIMIT : DZ_E_NOMEM, "expected sources: %s",
                       more ? "more than 1000" : "out of memory");
    s = &e->list[e->n];
    *s = (dz_expected_source){ .schedule = *schedule,
                               .late_after_us = late_after_us,
                               .since_us = since_us,
                               .cron = cron ? strdup(cron) : NULL };
    if (cron && !s->cron)
        return DZ_FAIL(err, DZ_E_NOMEM, "expected sources: out of memory");
    (void) snprintf(s->name, sizeof s->name, "%s", name);
    e->n++;
    return DZ_OK;
}

const dz_expected_source *dz_expected_find(const struct dz_expected *e, const char *name) {
    for (size_t i = 0; i < e->n; i++)
        if (strcmp(e->list[i].name, name) == 0)
            return &e->list[i];
    return NULL;
}

bool dz_expected_same(const dz_expected_source *a, const dz_expected_source *b) {
    if ((a->cron != NULL) != (b->cron != NULL) || (a->cron && strcmp(a->cron, b->cron) != 0))
        return false;
    return a->schedule.every_us == b->schedule.every_us &&
           a->schedule.shift_us == b->schedule.shift_us;
}

int64_t dz_expected_due(const dz_expected_source *s, int64_t newest_us) {
    return dz_schedule_next(&s->schedule, newest_us > s->since_us ? newest_us : s->since_us);
}

int64_t dz_expected_late(const dz_expected_source *s, int64_t newest_us) {
    return dz_schedule_late(&s->schedule, newest_us > s->since_us ? newest_us : s->since_us,
                            s->late_after_us);
}

/* --- the file --------------------------------------------------------------------------------- */

static json_t *source_json(const dz_expected_source *s) {
    return json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I}", "source", s->name, "cron", s->cron,
                     "every_us", (json_int_t) s->schedule.every_us, "shift_us",
                     (json_int_t) s->schedule.shift_us, "late_after_us",
                     (json_int_t) s->late_after_us, "since_us", (json_int_t) s->since_us);
}

dz_status dz_expected_write(const struct dz_expected *e, dz_buf *to, dz_err *err) {
    json_t *list = json_array();
    json_t *all = NULL;
    char *text = NULL;
    bool whole = list != NULL;

    for (size_t i = 0; whole && i < e->n; i++)
        whole = json_array_append_new(list, source_json(&e->list[i])) == 0;
    if (whole)
        all = json_pack("{s:s, s:i, s:s, s:O}", "dozo", "expected", "version", VERSION, "timezone",
                        e->zone, "sources", list);
    if (all)
        text = json_dumps(all, JSON_INDENT(1));
    if (text)
        dz_buf_put(to, text, strlen(text));
    free(text);
    json_decref(all);
    json_decref(list);
    return text && dz_buf_ok(to) ? DZ_OK
                                 : DZ_FAIL(err, DZ_E_NOMEM,
                                           "expected sources: out of memory, or "
                                           "a name that is not UTF-8");
}

static bool take_int(const json_t *from, const char *key, int64_t min, int64_t max, int64_t *ret) {
    const json_t *value = json_object_get(from, key);

    if (!json_is_integer(value))
        return false;
    *ret = json_integer_value(value);
    return *ret >= min && *ret <= max;
}

static dz_status take_source(const json_t *from, size_t at, struct dz_expected *e, dz_err *err) {
    const char *name = json_string_value(json_object_get(from, "source"));
    const char *cron = json_string_value(json_object_get(from, "cron"));
    int64_t every = 0, shift = 0, late_after = 0, since = 0;
    dz_schedule schedule = { 0 };

    if (!name || !dz_source_name_ok(name) || dz_expected_find(e, name) ||
        !take_int(from, "every_us", cron ? 0 : 1000000, cron ? 0 : year_us, &every) ||
        !take_int(from, "shift_us", 0, year_us, &shift) ||
        !take_int(from, "late_after_us", 1, year_us, &late_after) ||
        !take_int(from, "since_us", 0, latest_us, &since))
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: source %zu makes no sense", at);
    if (cron && dz_schedule_cron(cron, &schedule, NULL) != DZ_OK)
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: source %zu has no cron line", at);
    schedule.every_us = every;
    schedule.shift_us = shift;
    return dz_expected_add(e, name, cron, &schedule, late_after, since, err);
}

static dz_status take_all(const json_t *all, struct dz_expected *e, dz_err *err) {
    const char *what = json_string_value(json_object_get(all, "dozo"));
    const char *zone = json_string_value(json_object_get(all, "timezone"));
    const json_t *list = json_object_get(all, "sources");
    int64_t version = 0;

    if (!what || strcmp(what, "expected") != 0 || !take_int(all, "version", 1, INT64_MAX, &version))
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: not such a file");
    if (version != VERSION)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "cache/expected: version %lld; this dozo knows %d",
                       (long long) version, (int) VERSION);
    if (!zone || !dz_zone_name_ok(zone) || !json_is_array(list))
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: no time zone or no sources");
    e->zone = strdup(zone);
    if (!e->zone)
        return DZ_FAIL(err, DZ_E_NOMEM, "expected sources: out of memory");
    for (size_t i = 0; i < json_array_size(list); i++)
        DZ_TRY(take_source(json_array_get(list, i), i, e, err));
    return DZ_OK;
}

dz_status dz_expected_read(dz_slice text, struct dz_expected *ret, dz_err *err) {
    struct dz_expected e = { 0 };
    dz_status s;
    json_t *all;

    if (text.len > DZ_EXPECTED_FILE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "cache/expected: %zu bytes, the limit is %d", text.len,
                       (int) DZ_EXPECTED_FILE_MAX);
    all = json_loadb((const char *) text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (!all)
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: no JSON");
    s = take_all(all, &e, err);
    json_decref(all);
    if (s == DZ_OK)
        *ret = e;
    else
        dz_expected_release(&e);
    return s;
}

/* --- in the vault ----------------------------------------------------------------------------- */

/* The file: magic, version, a nonce; then the text, sealed under the nonce's own child of the cache
 * key, with what stands before it as associated data. */
static const uint8_t magic[8] = { 'D', 'Z', 'E', 'X', 'P', 'E', 'C', '\n' };
enum { SEAL_VERSION = 1, NONCE_AT = 16, NONCE_BYTES = 16, HEAD_BYTES = NONCE_AT + NONCE_BYTES };

static void key_of(const struct dz_vault *v, const uint8_t head[HEAD_BYTES],
                   uint8_t ret_key[DZ_KEY_BYTES]) {
    dz_key_derive(v->host->cache, "expected", (dz_slice){ head + NONCE_AT, NONCE_BYTES }, ret_key);
}

static dz_status open_file(const struct dz_vault *v, dz_slice file, struct dz_expected *ret,
                           dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    uint8_t key[DZ_KEY_BYTES];
    dz_status s;

    if (file.len < HEAD_BYTES + DZ_AEAD_TAG_BYTES || memcmp(file.data, magic, sizeof magic) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "cache/expected: not such a file");
    if (dz_load_le(file.data + 8, 2) != SEAL_VERSION)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "cache/expected: version %u; this dozo knows %d",
                       (unsigned) dz_load_le(file.data + 8, 2), (int) SEAL_VERSION);
    if (!dz_buf_extend(&text, file.len - HEAD_BYTES - DZ_AEAD_TAG_BYTES))
        return DZ_FAIL(err, DZ_E_NOMEM, "expected sources: out of memory");
    key_of(v, file.data, key);
    s = dz_aead_open(key, 0, (dz_slice){ file.data, HEAD_BYTES },
                     (dz_slice){ file.data + HEAD_BYTES, file.len - HEAD_BYTES }, text.data, err);
    explicit_bzero(key, sizeof key);
    return s == DZ_OK ? dz_expected_read(dz_buf_slice(&text), ret, err) : s;
}

dz_status dz_expected_load(struct dz_vault *v, struct dz_expected *ret, dz_err *err) {
    dz_autobuf dz_buf file = { 0 };
    dz_status s = dz_read_file(v->cachefd, file_name,
                               HEAD_BYTES + DZ_EXPECTED_FILE_MAX + DZ_AEAD_TAG_BYTES, &file, err);

    if (s == DZ_E_NOT_FOUND) {
        *ret = (struct dz_expected){ 0 };
        return DZ_OK;
    }
    return s == DZ_OK ? open_file(v, dz_buf_slice(&file), ret, err) : s;
}

static dz_status seal(const struct dz_vault *v, dz_slice text, dz_buf *to, dz_err *err) {
    uint8_t head[HEAD_BYTES] = { 0 }, key[DZ_KEY_BYTES];
    uint8_t *sealed;
    dz_status s;

    memcpy(head, magic, sizeof magic);
    dz_store_le(head + 8, 2, SEAL_VERSION);
    dz_random(head + NONCE_AT, NONCE_BYTES);
    dz_buf_put(to, head, sizeof head);
    sealed = dz_buf_extend(to, text.len + DZ_AEAD_TAG_BYTES);
    if (!sealed)
        return DZ_FAIL(err, DZ_E_NOMEM, "expected sources: out of memory");
    key_of(v, head, key);
    s = dz_aead_seal(key, 0, (dz_slice){ head, sizeof head }, text, sealed, err);
    explicit_bzero(key, sizeof key);
    return s;
}

dz_status dz_expected_store(struct dz_vault *v, const struct dz_expected *e, dz_err *err) {
    dz_autobuf dz_buf text = { 0 }, file = { 0 };
    char tmp[DZ_VAULT_TMP_NAME];
    dz_status s;
    int tmpfd;

    DZ_TRY(dz_expected_write(e, &text, err));
    DZ_TRY(seal(v, dz_buf_slice(&text), &file, err));
    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    s = dz_durable_replace(tmpfd, v->cachefd, file_name, dz_buf_slice(&file), err);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}
