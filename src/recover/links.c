/* Inodes with several names, by identity. */
#include <sodium.h>

#include "recover/make.h"

enum { IDENTITY_BYTES = 16, FIRST_SLOTS = 1024 };

struct slot {
    uint8_t identity[IDENTITY_BYTES];
    struct dz_link *link; /* owned; NULL: free */
};

struct dz_links {
    struct slot *slots;
    size_t n_slots; /* a power of two */
    size_t used;
    uint8_t key[crypto_shorthash_KEYBYTES]; /* identities cannot be made to clash */
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

dz_status dz_links_new(struct dz_links **ret_links, dz_err *err) {
    struct dz_links *l = calloc(1, sizeof *l);

    if (l)
        l->slots = calloc(FIRST_SLOTS, sizeof *l->slots);
    if (!l || !l->slots) {
        free(l);
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for hardlinks");
    }
    l->n_slots = FIRST_SLOTS;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    randombytes_buf(l->key, sizeof l->key);
    *ret_links = l;
    return DZ_OK;
}

void dz_links_free(struct dz_links *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].link) {
            free(l->slots[i].link->dir);
            free(l->slots[i].link->name);
            free(l->slots[i].link);
        }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    free(l->slots);
    free(l);
}

void dz_links_lock(struct dz_links *l) {
    pthread_mutex_lock(&l->lock);
}

void dz_links_wait(struct dz_links *l) {
    pthread_cond_wait(&l->changed, &l->lock);
}

void dz_links_unlock(struct dz_links *l, bool changed) {
    if (changed)
        pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static struct slot *find(const struct dz_links *l, struct slot *slots, size_t n_slots,
                         const uint8_t *identity) {
    uint8_t hash[crypto_shorthash_BYTES];
    size_t i;

    crypto_shorthash(hash, identity, IDENTITY_BYTES, l->key);
    for (i = (size_t) dz_load_le(hash, 8) & (n_slots - 1);
         slots[i].link && memcmp(slots[i].identity, identity, IDENTITY_BYTES) != 0;
         i = (i + 1) & (n_slots - 1))
        ;
    return &slots[i];
}

static dz_status grow(struct dz_links *l, dz_err *err) {
    size_t n = 2 * l->n_slots;
    struct slot *more = calloc(n, sizeof *more);

    if (!more)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for %zu hardlinked inodes", l->used);
    for (size_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].link)
            *find(l, more, n, l->slots[i].identity) = l->slots[i];
    free(l->slots);
    l->slots = more;
    l->n_slots = n;
    return DZ_OK;
}

dz_status dz_links_get(struct dz_links *l, dz_slice identity, struct dz_link **ret_link,
                       dz_err *err) {
    uint8_t id[IDENTITY_BYTES] = { 0 };
    struct slot *s;

    memcpy(id, identity.data, identity.len < sizeof id ? identity.len : sizeof id);
    if (l->used * 2 >= l->n_slots)
        DZ_TRY(grow(l, err));
    s = find(l, l->slots, l->n_slots, id);
    if (!s->link) {
        s->link = calloc(1, sizeof *s->link);
        if (!s->link)
            return DZ_FAIL(err, DZ_E_NOMEM, "no memory for %zu hardlinked inodes", l->used);
        memcpy(s->identity, id, sizeof id);
        l->used++;
    }
    *ret_link = s->link;
    return DZ_OK;
}
