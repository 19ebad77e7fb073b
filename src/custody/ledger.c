#include "custody/ledger.h"

#include "store/leaf_text.h"

struct reading {
    struct dz_vault *v;
    struct dz_ledger *ledger;
    size_t cap;
};

void dz_ledger_free(struct dz_ledger *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        json_decref(l->leaves[i].text);
        free((void *) (uintptr_t) l->leaves[i].objects);
    }
    free(l->leaves);
    free(l);
}

static dz_status make_room(struct reading *r, dz_err *err) {
    struct dz_ledger *l = r->ledger;
    size_t cap = r->cap ? 2 * r->cap : 64;
    dz_ledger_leaf *more;

    if (l->n < r->cap)
        return DZ_OK;
    more = realloc(l->leaves, cap * sizeof *more);
    if (!more)
        return DZ_FAIL(err, DZ_E_NOMEM, "ledger: out of memory for %zu leaves", cap);
    l->leaves = more;
    r->cap = cap;
    return DZ_OK;
}

static dz_status take_text(struct dz_vault *v, const dz_leaf *leaf, json_t **ret_text,
                           dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    dz_status s = DZ_E_CORRUPT;
    json_t *json;

    if (leaf->sealed.len > 0)
        s = dz_leaf_text_open(v->host, leaf, &text, err);
    if (s != DZ_OK)
        return s == DZ_E_NOMEM ? s : DZ_OK;
    json = json_loadb((const char *) text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    *ret_text = json;
    return DZ_OK;
}

static dz_status each(void *ctx, uint64_t index, dz_slice entry, dz_err *err) {
    struct reading *r = ctx;
    dz_leaf_object *objects;
    dz_ledger_leaf *to;
    dz_leaf leaf;
    dz_status s = dz_leaf_read(entry, &leaf, err);

    if (s != DZ_OK)
        return dz_err_context(err, s, "leaf %llu", (unsigned long long) index);
    if (leaf.time_us > r->ledger->tail_us)
        r->ledger->tail_us = leaf.time_us;
    if (leaf.kind == DZ_LEAF_COMMIT) {
        r->ledger->commits++;
        return DZ_OK;
    }
    DZ_TRY(make_room(r, err));
    objects = calloc(leaf.object_count + 1, sizeof *objects);
    if (!objects)
        return DZ_FAIL(err, DZ_E_NOMEM, "ledger: out of memory");
    if (leaf.object_count > 0)
        memcpy(objects, leaf.objects, leaf.object_count * sizeof *objects);
    to = &r->ledger->leaves[r->ledger->n];
    *to = (dz_ledger_leaf){ .index = index,
                            .kind = leaf.kind,
                            .flags = leaf.flags,
                            .time_us = leaf.time_us,
                            .until_us = r->ledger->tail_us,
                            .objects = objects,
                            .n_objects = leaf.object_count };
    r->ledger->n++;
    r->ledger->tail_us = INT64_MIN;
    return take_text(r->v, &leaf, &to->text, err);
}

dz_status dz_ledger_read(struct dz_vault *v, struct dz_ledger **ret_ledger, dz_err *err) {
    return dz_ledger_read_since(v, 0, ret_ledger, err);
}

dz_status dz_ledger_read_since(struct dz_vault *v, uint64_t since, struct dz_ledger **ret_ledger,
                               dz_err *err) {
    DZ_AUTO(dz_ledger) l = calloc(1, sizeof *l);
    struct reading r = { .v = v, .ledger = l };
    dz_status s;

    if (!l)
        return DZ_FAIL(err, DZ_E_NOMEM, "ledger: out of memory");
    l->tail_us = INT64_MIN;
    (void) pthread_mutex_lock(&v->log_lock);
    s = dz_tlog_refresh(v->log, err);
    l->size = dz_tlog_head(v->log).size;
    if (s == DZ_OK)
        s = dz_tlog_each(v->log, since, l->size, each, &r, err);
    (void) pthread_mutex_unlock(&v->log_lock);
    DZ_TRY(s);
    *ret_ledger = DZ_TAKE(l);
    return DZ_OK;
}

const dz_ledger_leaf *dz_ledger_leaf_at(const struct dz_ledger *l, enum dz_leaf_kind kind,
                                        uint64_t index) {
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (l->leaves[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->n && l->leaves[low].index == index && l->leaves[low].kind == kind
               ? &l->leaves[low]
               : NULL;
}

const dz_leaf_object *dz_ledger_object(const dz_ledger_leaf *l, enum dz_leaf_object_type type,
                                       size_t n) {
    for (size_t i = 0; i < l->n_objects; i++)
        if (l->objects[i].type == type && n-- == 0)
            return &l->objects[i];
    return NULL;
}

const char *dz_ledger_text(const dz_ledger_leaf *l, const char *member) {
    return json_string_value(json_object_get(l->text, member));
}

dz_status dz_ledger_note(struct dz_vault *v, int tmpfd, enum dz_leaf_kind kind, uint16_t flags,
                         const dz_leaf_object *objects, size_t n, json_t *text, uint64_t *ret_index,
                         dz_err *err) {
    dz_autofree char *bytes = text ? json_dumps(text, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(text);
    if (!bytes)
        return DZ_FAIL(err, DZ_E_NOMEM, "custody leaf: out of memory, or not UTF-8");
    return dz_vault_note(v, tmpfd, kind, flags, objects, n,
                         (dz_slice){ (const uint8_t *) bytes, strlen(bytes) }, ret_index, err);
}

dz_status dz_ledger_add(struct dz_vault *v, enum dz_leaf_kind kind, uint16_t flags,
                        const dz_leaf_object *objects, size_t n, json_t *text, uint64_t *ret_index,
                        dz_err *err) {
    char tmp[DZ_VAULT_TMP_NAME];
    int tmpfd;
    dz_status s = dz_vault_tmp_make(v, tmp, &tmpfd, err);

    if (s != DZ_OK) {
        json_decref(text);
        return s;
    }
    s = dz_ledger_note(v, tmpfd, kind, flags, objects, n, text, ret_index, err);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}
