#include "store/diff.h"

#include "store/tree_walk.h"

const char *dz_change_name(enum dz_change change) {
    switch (change) {
    case DZ_CHANGE_ADDED:
        return "added";
    case DZ_CHANGE_REMOVED:
        return "removed";
    case DZ_CHANGE_TYPE:
        return "type";
    case DZ_CHANGE_CONTENT:
        return "content";
    case DZ_CHANGE_META:
        return "meta";
    }
    return "?";
}

static bool is_content(uint64_t tag) {
    return tag == DZ_TAG_CONTENT || tag == DZ_TAG_EXTENTS || tag == DZ_TAG_TARGET ||
           tag == DZ_TAG_RDEV;
}

/* The next field that counts; false after the last. */
static bool field_next(dz_reader *r, uint64_t *tag, dz_slice *value) {
    while (dz_reader_left(r) > 0) {
        *tag = dz_read_varint(r);
        *value = dz_read_field(r);
        if (!dz_reader_ok(r))
            break;
        if (*tag != DZ_TAG_FEATURES)
            return true;
    }
    return false;
}

/* Both lists ascend by tag, so they are merged. */
static enum dz_change compare_fields(dz_slice before, dz_slice after) {
    dz_reader a = dz_reader_over(before), b = dz_reader_over(after);
    uint64_t tag_a = 0, tag_b = 0;
    dz_slice value_a = { 0 }, value_b = { 0 };
    bool more_a = field_next(&a, &tag_a, &value_a), more_b = field_next(&b, &tag_b, &value_b);
    enum dz_change change = 0;

    while (more_a || more_b) {
        bool take_a = more_a && (!more_b || tag_a <= tag_b);
        bool take_b = more_b && (!more_a || tag_b <= tag_a);

        if (!take_a || !take_b || !dz_slice_eq(value_a, value_b)) {
            if (is_content(take_a ? tag_a : tag_b))
                return DZ_CHANGE_CONTENT;
            change = DZ_CHANGE_META;
        }
        if (take_a)
            more_a = field_next(&a, &tag_a, &value_a);
        if (take_b)
            more_b = field_next(&b, &tag_b, &value_b);
    }
    return change;
}

enum dz_change dz_entry_compare(const dz_entry *before, const dz_entry *after) {
    enum dz_change fields;

    if (before->type != after->type)
        return DZ_CHANGE_TYPE;
    if (before->size != after->size)
        return DZ_CHANGE_CONTENT;
    fields = dz_slice_eq(before->fields, after->fields)
                 ? 0
                 : compare_fields(before->fields, after->fields);
    if (fields != 0)
        return fields;
    if (before->mode != after->mode || before->uid != after->uid || before->gid != after->gid ||
        before->mtime_s != after->mtime_s || before->mtime_ns != after->mtime_ns ||
        before->flags != after->flags)
        return DZ_CHANGE_META;
    return 0;
}

struct diff {
    struct dz_tree_walk a;
    struct dz_tree_walk b;
    dz_diff_fn *change;
    void *ctx;
};

static bool same_child(const struct dz_tree_walk *a, const struct dz_tree_walk *b) {
    return a->height > 0 && a->height == b->height &&
           memcmp(a->levels[a->height].item.node.b, b->levels[b->height].item.node.b,
                  DZ_SHA256_BYTES) == 0;
}

/* The side that is behind moves: a child is opened, an entry is told. */
static dz_status one_side(struct diff *d, struct dz_tree_walk *w, dz_err *err) {
    if (w->height > 0)
        return dz_tree_walk_descend(w, err);
    DZ_TRY(w == &d->a ? d->change(d->ctx, DZ_CHANGE_REMOVED, &w->entry, NULL, err)
                      : d->change(d->ctx, DZ_CHANGE_ADDED, NULL, &w->entry, err));
    return dz_tree_walk_step(w, err);
}

/* Both sides stand at the same path: the higher one is opened until they are alike. */
static dz_status both_sides(struct diff *d, dz_err *err) {
    enum dz_change change;

    if (!same_child(&d->a, &d->b)) {
        unsigned a = d->a.height, b = d->b.height;

        if (a > 0 && a >= b)
            DZ_TRY(dz_tree_walk_descend(&d->a, err));
        if (b > 0 && b >= a)
            DZ_TRY(dz_tree_walk_descend(&d->b, err));
        if (a > 0 || b > 0)
            return DZ_OK;
        change = dz_entry_compare(&d->a.entry, &d->b.entry);
        if (change != 0)
            DZ_TRY(d->change(d->ctx, change, &d->a.entry, &d->b.entry, err));
    }
    DZ_TRY(dz_tree_walk_step(&d->a, err));
    return dz_tree_walk_step(&d->b, err);
}

static dz_status run(struct diff *d, dz_err *err) {
    if (memcmp(d->a.root.node.b, d->b.root.node.b, DZ_SHA256_BYTES) == 0)
        return DZ_OK;
    DZ_TRY(dz_tree_walk_start(&d->a, err));
    DZ_TRY(dz_tree_walk_start(&d->b, err));
    while (!d->a.ended || !d->b.ended) {
        int order;

        if (d->a.ended || d->b.ended)
            order = d->a.ended ? 1 : -1;
        else
            order = dz_path_cmp(dz_tree_walk_path(&d->a), dz_tree_walk_path(&d->b));
        if (order != 0)
            DZ_TRY(one_side(d, order < 0 ? &d->a : &d->b, err));
        else
            DZ_TRY(both_sides(d, err));
    }
    return DZ_OK;
}

dz_status dz_diff(const struct dz_source *source_a, const dz_manifest_root *a,
                  const struct dz_source *source_b, const dz_manifest_root *b, dz_diff_fn *change,
                  void *ctx, dz_err *err) {
    dz_autofree struct diff *d = NULL;
    dz_status status;

    if (a->depth > DZ_MANIFEST_DEPTH_MAX || b->depth > DZ_MANIFEST_DEPTH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "manifest of depth %u; at most %d",
                       a->depth > b->depth ? a->depth : b->depth, DZ_MANIFEST_DEPTH_MAX);
    d = calloc(1, sizeof *d);
    if (!d)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a comparison");
    d->change = change;
    d->ctx = ctx;
    dz_tree_walk_init(&d->a, source_a, a);
    dz_tree_walk_init(&d->b, source_b, b);
    status = run(d, err);
    dz_tree_walk_done(&d->a);
    dz_tree_walk_done(&d->b);
    return status;
}
