#include "store/id_set.h"

#include <xxhash.h>

#include "crypto/keys.h"

struct dz_id_set {
    dz_id *slots; /* open addressing; a zero id marks a free slot */
    size_t mask;  /* slots - 1 */
    size_t used;
    uint64_t seed;
    bool has_zero; /* the id that is all zero, which no slot can hold */
};

enum { FIRST_SLOTS = 1024 };

static const dz_id zero;

static bool same(const dz_id *a, const dz_id *b) {
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* The slot that holds the id, or the free one where it belongs. */
static dz_id *slot_of(const struct dz_id_set *s, const dz_id *id) {
    size_t at = (size_t) XXH3_64bits_withSeed(id->b, sizeof id->b, s->seed) & s->mask;

    while (!same(&s->slots[at], &zero) && !same(&s->slots[at], id))
        at = (at + 1) & s->mask;
    return &s->slots[at];
}

dz_status dz_id_set_new(struct dz_id_set **ret_set, dz_err *err) {
    DZ_AUTO(dz_id_set) s = calloc(1, sizeof *s);

    if (!s || !(s->slots = calloc(FIRST_SLOTS, sizeof *s->slots)))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a set of ids");
    s->mask = FIRST_SLOTS - 1;
    dz_random(&s->seed, sizeof s->seed);
    *ret_set = DZ_TAKE(s);
    return DZ_OK;
}

void dz_id_set_free(struct dz_id_set *s) {
    if (s)
        free(s->slots);
    free(s);
}

static dz_status grow(struct dz_id_set *s, dz_err *err) {
    struct dz_id_set wide = *s;

    wide.mask = 2 * s->mask + 1;
    wide.slots = calloc(wide.mask + 1, sizeof *wide.slots);
    if (!wide.slots)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a set of %zu ids", s->used);
    for (size_t i = 0; i <= s->mask; i++)
        if (!same(&s->slots[i], &zero))
            *slot_of(&wide, &s->slots[i]) = s->slots[i];
    free(s->slots);
    *s = wide;
    return DZ_OK;
}

dz_status dz_id_set_add(struct dz_id_set *s, const dz_id *id, bool *ret_added, dz_err *err) {
    dz_id *slot;

    if (same(id, &zero)) {
        *ret_added = !s->has_zero;
        s->has_zero = true;
        return DZ_OK;
    }
    if (s->used >= s->mask / 4 * 3)
        DZ_TRY(grow(s, err));
    slot = slot_of(s, id);
    *ret_added = same(slot, &zero);
    if (*ret_added) {
        *slot = *id;
        s->used++;
    }
    return DZ_OK;
}

bool dz_id_set_has(const struct dz_id_set *s, const dz_id *id) {
    return same(id, &zero) ? s->has_zero : same(slot_of(s, id), id);
}

size_t dz_id_set_count(const struct dz_id_set *s) {
    return s->used + s->has_zero;
}
