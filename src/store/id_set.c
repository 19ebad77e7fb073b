#include "store/id_set.h"

#include <xxhash.h>

#include "crypto/keys.h"

/* Open addressing; a zero id marks a free slot.  A slot is one id, or an id and its value. */
struct table {
    dz_id *slots;
    size_t width; /* ids in a slot */
    size_t mask;  /* slots - 1 */
    size_t used;
    uint64_t seed;
};

struct dz_id_set {
    struct table t;
    bool has_zero; /* the id that is all zero, which no slot can hold */
};

struct dz_id_map {
    struct table t;
};

enum { FIRST_SLOTS = 1024 };

static const dz_id zero;

static bool same(const dz_id *a, const dz_id *b) {
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

static bool table_start(struct table *t, size_t width) {
    t->slots = calloc(FIRST_SLOTS * width, sizeof *t->slots);
    t->width = width;
    t->mask = FIRST_SLOTS - 1;
    dz_random(&t->seed, sizeof t->seed);
    return t->slots != NULL;
}

/* The slot that holds the id, or the free one where it belongs. */
static dz_id *slot_of(const struct table *t, const dz_id *id) {
    size_t at = (size_t) XXH3_64bits_withSeed(id->b, sizeof id->b, t->seed) & t->mask;

    while (!same(&t->slots[at * t->width], &zero) && !same(&t->slots[at * t->width], id))
        at = (at + 1) & t->mask;
    return &t->slots[at * t->width];
}

static dz_status grow(struct table *t, dz_err *err) {
    struct table wide = *t;

    wide.mask = 2 * t->mask + 1;
    wide.slots = calloc((wide.mask + 1) * t->width, sizeof *wide.slots);
    if (!wide.slots)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a set of %zu ids", t->used);
    for (size_t i = 0; i <= t->mask; i++) {
        const dz_id *from = &t->slots[i * t->width];
        if (!same(from, &zero))
            memcpy(slot_of(&wide, from), from, t->width * sizeof *from);
    }
    free(t->slots);
    *t = wide;
    return DZ_OK;
}

/* Gives the slot, with the id in it; *ret_added: it was free before. */
static dz_status table_add(struct table *t, const dz_id *id, dz_id **ret_slot, bool *ret_added,
                           dz_err *err) {
    dz_id *slot;

    if (t->used >= t->mask / 4 * 3)
        DZ_TRY(grow(t, err));
    slot = slot_of(t, id);
    *ret_added = same(slot, &zero);
    *ret_slot = slot;
    if (*ret_added) {
        *slot = *id;
        t->used++;
    }
    return DZ_OK;
}

dz_status dz_id_set_new(struct dz_id_set **ret_set, dz_err *err) {
    DZ_AUTO(dz_id_set) s = calloc(1, sizeof *s);

    if (!s || !table_start(&s->t, 1))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a set of ids");
    *ret_set = DZ_TAKE(s);
    return DZ_OK;
}

void dz_id_set_free(struct dz_id_set *s) {
    if (s)
        free(s->t.slots);
    free(s);
}

dz_status dz_id_set_add(struct dz_id_set *s, const dz_id *id, bool *ret_added, dz_err *err) {
    dz_id *slot;

    if (same(id, &zero)) {
        *ret_added = !s->has_zero;
        s->has_zero = true;
        return DZ_OK;
    }
    return table_add(&s->t, id, &slot, ret_added, err);
}

bool dz_id_set_has(const struct dz_id_set *s, const dz_id *id) {
    return same(id, &zero) ? s->has_zero : same(slot_of(&s->t, id), id);
}

size_t dz_id_set_count(const struct dz_id_set *s) {
    return s->t.used + s->has_zero;
}

dz_status dz_id_map_new(struct dz_id_map **ret_map, dz_err *err) {
    DZ_AUTO(dz_id_map) m = calloc(1, sizeof *m);

    if (!m || !table_start(&m->t, 2))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a map of ids");
    *ret_map = DZ_TAKE(m);
    return DZ_OK;
}

void dz_id_map_free(struct dz_id_map *m) {
    if (m)
        free(m->t.slots);
    free(m);
}

dz_status dz_id_map_put(struct dz_id_map *m, const dz_id *id, const dz_id *value, dz_err *err) {
    dz_id *slot;
    bool added;

    if (same(id, &zero))
        return DZ_OK;
    DZ_TRY(table_add(&m->t, id, &slot, &added, err));
    if (added)
        slot[1] = *value;
    return DZ_OK;
}

bool dz_id_map_get(const struct dz_id_map *m, const dz_id *id, dz_id *ret_value) {
    const dz_id *slot = slot_of(&m->t, id);

    if (same(id, &zero) || !same(slot, id))
        return false;
    *ret_value = slot[1];
    return true;
}
