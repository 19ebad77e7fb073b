#include "tests/unit/store/model_tree.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/content.h"

const uint8_t model_name_key[32] = "the name key of the tests, 32 B.";

uint64_t rng_next(struct rng *r) { /* splitmix64, by Sebastiano Vigna, public domain */
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n) {
    return rng_next(r) % n;
}

struct rng rng_start(const char *what, uint64_t seed) {
    const char *given = getenv("DZ_TEST_SEED");

    if (given)
        seed = strtoull(given, NULL, 0);
    print_message("%s: DZ_TEST_SEED=%ju\n", what, (uintmax_t) seed);
    return (struct rng){ seed };
}

void model_tree_done(struct model_tree *t) {
    for (size_t i = 0; i < t->count; i++) {
        free(t->entries[i].path);
        free(t->entries[i].fields);
    }
    free(t->entries);
    *t = (struct model_tree){ 0 };
}

size_t model_tree_find(const struct model_tree *t, dz_slice path) {
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (dz_path_cmp(t->entries[mid].e.path, path) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint8_t *copy(dz_slice s) {
    uint8_t *p = malloc(s.len ? s.len : 1);

    assert_non_null(p);
    if (s.len)
        memcpy(p, s.data, s.len);
    return p;
}

void model_tree_set(struct model_tree *t, const dz_entry *e) {
    size_t at = model_tree_find(t, e->path);
    struct model_entry m = { .e = *e, .path = copy(e->path), .fields = copy(e->fields) };

    m.e.path.data = m.path;
    m.e.fields.data = m.fields;
    if (at < t->count && dz_slice_eq(t->entries[at].e.path, e->path)) {
        free(t->entries[at].path);
        free(t->entries[at].fields);
        t->entries[at] = m;
        return;
    }
    if (t->count == t->cap) {
        t->cap = 2 * t->cap + 64;
        t->entries = realloc(t->entries, t->cap * sizeof *t->entries);
        assert_non_null(t->entries);
    }
    memmove(&t->entries[at + 1], &t->entries[at], (t->count - at) * sizeof *t->entries);
    t->entries[at] = m;
    t->count++;
}

void model_tree_remove(struct model_tree *t, size_t at) {
    free(t->entries[at].path);
    free(t->entries[at].fields);
    t->count--;
    memmove(&t->entries[at], &t->entries[at + 1], (t->count - at) * sizeof *t->entries);
}

static void random_component(struct rng *r, dz_buf *to) {
    uint64_t kind = rng_below(r, 40);
    size_t len;

    if (kind == 0) { /* any bytes but '/' and NUL; "." and ".." need a second thought */
        len = 3 + rng_below(r, 20);
        for (size_t i = 0; i < len; i++) {
            uint8_t c = (uint8_t) (1 + rng_below(r, 255));
            dz_buf_put_u8(to, c == '/' ? '.' : c);
        }
    } else if (kind == 1) {
        for (size_t i = 0; i < 255; i++)
            dz_buf_put_u8(to, (uint8_t) ('a' + rng_below(r, 2)));
    } else if (kind < 6) { /* around '/' in byte order, to test the order */
        dz_buf_printf(to, "d%u%c", (unsigned) rng_below(r, 4), " !-.0A~"[rng_below(r, 7)]);
    } else {
        dz_buf_printf(to, "%c%u", "dfx"[rng_below(r, 3)], (unsigned) rng_below(r, 24));
    }
}

void random_path(struct rng *r, dz_buf *to) {
    size_t depth = rng_below(r, 200) == 0 ? 40 : 1 + rng_below(r, 5);

    dz_buf_clear(to);
    for (size_t i = 0; i < depth; i++) {
        if (i > 0)
            dz_buf_put_u8(to, '/');
        random_component(r, to);
    }
    assert_true(dz_buf_ok(to));
}

static void random_id(struct rng *r, dz_id *id) {
    for (size_t i = 0; i < sizeof id->b; i += 8)
        dz_store_le(id->b + i, 8, rng_next(r));
}

static void random_fields(struct rng *r, uint8_t type, dz_buf *fields) {
    if (type == DZ_ENTRY_FILE && rng_below(r, 8) > 0) {
        dz_autobuf dz_buf value = { 0 };
        uint64_t lists = rng_below(r, 50) == 0;
        uint64_t count = 1 + (rng_below(r, 20) == 0 ? rng_below(r, DZ_CONTENT_DIRECT) : 0);

        dz_buf_put_varint(&value, lists);
        dz_buf_put_varint(&value, count);
        for (uint64_t i = 0; i < count; i++) {
            dz_id id;
            dz_buf_put_varint(&value, 1 + rng_below(r, DZ_OBJECT_MAX));
            for (uint64_t k = 0; k <= lists; k++) {
                random_id(r, &id);
                dz_buf_put(&value, id.b, sizeof id.b);
            }
        }
        dz_entry_put_field(fields, DZ_TAG_CONTENT, dz_buf_slice(&value));
    }
    if (rng_below(r, 10) == 0)
        dz_entry_put_field(fields, DZ_TAG_XATTRS, DZ_SLICE_LIT("\x0buser.origin\x02mr"));
    if (type == DZ_ENTRY_SYMLINK)
        dz_entry_put_field(fields, DZ_TAG_TARGET, DZ_SLICE_LIT("../elsewhere"));
    if (type == DZ_ENTRY_CHAR || type == DZ_ENTRY_BLOCK)
        dz_entry_put_field(fields, DZ_TAG_RDEV, DZ_SLICE_LIT("\x08\x01"));
    if (rng_below(r, 10) == 0)
        dz_entry_put_field(fields, (enum dz_entry_tag) 77, DZ_SLICE_LIT("of a later version"));
    assert_true(dz_buf_ok(fields));
}

void random_entry_set(struct model_tree *t, struct rng *r, dz_slice path) {
    dz_autobuf dz_buf fields = { 0 };
    uint8_t type = (uint8_t) (rng_below(r, 4) > 0 ? DZ_ENTRY_FILE : 1 + rng_below(r, 7));
    dz_entry e = { .path = path,
                   .type = type,
                   .mode = (uint16_t) rng_below(r, 010000),
                   .uid = (uint32_t) rng_next(r) >> rng_below(r, 32),
                   .gid = (uint32_t) rng_below(r, 2000),
                   .mtime_s = (int64_t) rng_below(r, 1u << 31) - (1 << 20),
                   .mtime_ns = (uint32_t) rng_below(r, 1000000000),
                   .flags = (uint32_t) rng_below(r, 8) };

    if (type == DZ_ENTRY_FILE || type == DZ_ENTRY_SYMLINK)
        e.size = rng_next(r) >> rng_below(r, 64);
    random_fields(r, type, &fields);
    e.fields = dz_buf_slice(&fields);
    model_tree_set(t, &e);
}

void random_change(struct model_tree *t, struct rng *r) {
    dz_autobuf dz_buf path = { 0 };
    uint64_t what = rng_below(r, 4);

    if (what == 0 && t->count > 0) {
        model_tree_remove(t, rng_below(r, t->count));
    } else if (what == 1 && t->count > 0) {
        dz_buf_put_slice(&path, t->entries[rng_below(r, t->count)].e.path);
        random_entry_set(t, r, dz_buf_slice(&path));
    } else {
        random_path(r, &path);
        random_entry_set(t, r, dz_buf_slice(&path));
    }
}

dz_manifest_root model_tree_build(const struct model_tree *t, struct dz_memory_objects *m) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_manifest_builder) b = NULL;
    dz_manifest_root root = { 0 };
    dz_err err = { 0 };

    assert_int_equal(dz_manifest_builder_new(&sink, model_name_key, MODEL_SEED, &b, &err), DZ_OK);
    for (size_t i = 0; i < t->count; i++)
        if (dz_manifest_builder_add(b, &t->entries[i].e, &err) != DZ_OK)
            fail_msg("add: %s", err.what);
    if (dz_manifest_builder_finish(b, &root, &err) != DZ_OK)
        fail_msg("finish: %s", err.what);
    return root;
}

bool entries_equal(const dz_entry *a, const dz_entry *b) {
    return dz_slice_eq(a->path, b->path) && a->type == b->type && a->mode == b->mode &&
           a->uid == b->uid && a->gid == b->gid && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns && a->size == b->size && a->flags == b->flags &&
           dz_slice_eq(a->fields, b->fields);
}
