#include "store/name_set.h"

struct dz_name_set {
    dz_name *slots; /* all-zero: empty */
    size_t cap;     /* power of two */
    size_t count;
    bool zero; /* the all-zero name itself, which a slot cannot hold */
};

enum { FIRST_CAP = 4096 };
static const dz_name nothing;

static bool is_zero(const dz_name *n) {
    return memcmp(n, &nothing, sizeof nothing) == 0;
}

dz_status dz_name_set_new(struct dz_name_set **ret_set, dz_err *err) {
    struct dz_name_set *s = calloc(1, sizeof *s);

    if (s)
        s->slots = calloc(FIRST_CAP, sizeof *s->slots);
    if (!s || !s->slots) {
        free(s);
        return DZ_FAIL(err, DZ_E_NOMEM, "set of names: out of memory");
    }
    s->cap = FIRST_CAP;
    *ret_set = s;
    return DZ_OK;
}

void dz_name_set_free(struct dz_name_set *s) {
    if (!s)
        return;
    free(s->slots);
    free(s);
}

size_t dz_name_set_count(const struct dz_name_set *s) {
    return s->count + s->zero;
}

/* Where the name is, or the empty slot where it goes. */
static dz_name *slot_of(dz_name *slots, size_t cap, const dz_name *name) {
    size_t i = (size_t) dz_load_le(name->b, 8) & (cap - 1);

    while (!is_zero(&slots[i]) && memcmp(&slots[i], name, sizeof *name) != 0)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static bool grow(struct dz_name_set *s) {
    dz_name *slots = calloc(2 * s->cap, sizeof *slots);

    if (!slots)
        return false;
    for (size_t i = 0; i < s->cap; i++)
        if (!is_zero(&s->slots[i]))
            *slot_of(slots, 2 * s->cap, &s->slots[i]) = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->cap *= 2;
    return true;
}

bool dz_name_set_has(const struct dz_name_set *s, const dz_name *name) {
    return is_zero(name) ? s->zero : !is_zero(slot_of(s->slots, s->cap, name));
}

dz_status dz_name_set_add(struct dz_name_set *s, const dz_name *name, bool *ret_added,
                          dz_err *err) {
    dz_name *slot;

    if (is_zero(name)) {
        *ret_added = !s->zero;
        s->zero = true;
        return DZ_OK;
    }
    if (4 * (s->count + 1) > 3 * s->cap && !grow(s))
        return DZ_FAIL(err, DZ_E_NOMEM, "set of %zu names: out of memory", s->count);
    slot = slot_of(s->slots, s->cap, name);
    *ret_added = is_zero(slot);
    if (*ret_added) {
        *slot = *name;
        s->count++;
    }
    return DZ_OK;
}

void dz_name_set_drop_if(struct dz_name_set *s, bool (*gone)(void *ctx, const dz_name *name),
                         void *ctx) {
    dz_name *old = s->slots, *slots = calloc(s->cap, sizeof *slots);

    if (!slots)
        return; /* keeps more than it must: harmless */
    s->count = 0;
    for (size_t i = 0; i < s->cap; i++)
        if (!is_zero(&old[i]) && !gone(ctx, &old[i])) {
            *slot_of(slots, s->cap, &old[i]) = old[i];
            s->count++;
        }
    s->slots = slots;
    free(old);
}
