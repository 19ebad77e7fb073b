#include "tests/unit/store/memory_objects.h"

#include "core/hex.h"

struct object {
    enum dz_kind kind;
    dz_id id;
    uint8_t *bytes;
    size_t len;
    bool lost;
};

struct dz_memory_objects {
    struct object *objects;
    size_t count, cap;
    uint32_t *slots; /* open addressing: number of the object + 1 */
    size_t mask;
    size_t fail_put;
    dz_memory_stats stats;
};

static void *must(void *p) {
    if (!p)
        abort();
    return p;
}

struct dz_memory_objects *dz_memory_objects_new(void) {
    struct dz_memory_objects *m = must(calloc(1, sizeof *m));

    m->mask = 1023;
    m->slots = must(calloc(m->mask + 1, sizeof *m->slots));
    return m;
}

void dz_memory_objects_free(struct dz_memory_objects *m) {
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->objects[i].bytes);
    free(m->objects);
    free(m->slots);
    free(m);
}

static uint32_t *slot_of(const struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id) {
    size_t at = (size_t) dz_load_le(id->b, 8) & m->mask;

    for (; m->slots[at]; at = (at + 1) & m->mask) {
        const struct object *o = &m->objects[m->slots[at] - 1];
        if (o->kind == kind && memcmp(o->id.b, id->b, sizeof id->b) == 0)
            break;
    }
    return &m->slots[at];
}

static void grow(struct dz_memory_objects *m) {
    if (m->count == m->cap) {
        m->cap = 2 * m->cap + 64;
        m->objects = must(realloc(m->objects, m->cap * sizeof *m->objects));
    }
    if (m->count * 2 > m->mask) {
        free(m->slots);
        m->mask = 2 * m->mask + 1;
        m->slots = must(calloc(m->mask + 1, sizeof *m->slots));
        for (size_t i = 0; i < m->count; i++)
            *slot_of(m, m->objects[i].kind, &m->objects[i].id) = (uint32_t) i + 1;
    }
}

static void set_bytes(struct object *o, dz_slice bytes) {
    free(o->bytes);
    o->bytes = must(malloc(bytes.len ? bytes.len : 1));
    o->len = bytes.len;
    if (bytes.len)
        memcpy(o->bytes, bytes.data, bytes.len);
}

static struct object *find(const struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id) {
    uint32_t n = *slot_of(m, kind, id);

    return n ? &m->objects[n - 1] : NULL;
}

static dz_status put(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id, dz_err *err) {
    struct dz_memory_objects *m = ctx;
    struct object *o;
    dz_id id;

    m->stats.puts++;
    if (m->fail_put > 0 && --m->fail_put == 0)
        return DZ_FAIL(err, DZ_E_IO, "a put that the test lets fail");
    if (bytes.len > DZ_OBJECT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "an object of %zu bytes", bytes.len);
    dz_sha256(bytes, id.b);
    *ret_id = id;
    o = find(m, kind, &id);
    if (o) {
        o->lost = false;
        return DZ_OK;
    }
    grow(m);
    o = &m->objects[m->count];
    *o = (struct object){ .kind = kind, .id = id };
    set_bytes(o, bytes);
    *slot_of(m, kind, &id) = (uint32_t) ++m->count;
    m->stats.objects[kind]++;
    m->stats.bytes[kind] += bytes.len;
    return DZ_OK;
}

static dz_status get(void *ctx, enum dz_kind kind, const dz_id *id, dz_buf *ret_bytes,
                     dz_err *err) {
    struct dz_memory_objects *m = ctx;
    const struct object *o = find(m, kind, id);

    m->stats.gets++;
    if (!o || o->lost) {
        char hex[2 * DZ_SHA256_BYTES + 1];
        dz_hex(id->b, sizeof id->b, hex);
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "object %.16s is not in the vault", hex);
    }
    dz_buf_clear(ret_bytes);
    dz_buf_put(ret_bytes, o->bytes, o->len);
    return dz_buf_ok(ret_bytes) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "no memory for an object");
}

struct dz_sink dz_memory_sink(struct dz_memory_objects *m) {
    return (struct dz_sink){ .put = put, .ctx = m };
}

struct dz_source dz_memory_source(struct dz_memory_objects *m) {
    return (struct dz_source){ .get = get, .ctx = m };
}

dz_memory_stats dz_memory_objects_stats(const struct dz_memory_objects *m) {
    return m->stats;
}

size_t dz_memory_objects_count(const struct dz_memory_objects *m) {
    return m->count;
}

void dz_memory_objects_at(const struct dz_memory_objects *m, size_t n, enum dz_kind *ret_kind,
                          dz_id *ret_id, dz_slice *ret_bytes) {
    const struct object *o = &m->objects[n];

    *ret_kind = o->kind;
    *ret_id = o->id;
    *ret_bytes = (dz_slice){ o->bytes, o->len };
}

void dz_memory_objects_lose(struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id) {
    struct object *o = find(m, kind, id);

    if (!o)
        abort();
    o->lost = true;
}

void dz_memory_objects_forge(struct dz_memory_objects *m, enum dz_kind kind, const dz_id *id,
                             dz_slice bytes) {
    struct object *o = find(m, kind, id);

    if (!o)
        abort();
    set_bytes(o, bytes);
}

void dz_memory_objects_fail_put(struct dz_memory_objects *m, size_t n) {
    m->fail_put = n;
}
