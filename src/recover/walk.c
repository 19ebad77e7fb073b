#include "recover/walk.h"

#include "core/text.h"

struct dz_walk {
    struct dz_cursor *cursor;
    dz_walk_lost *lost;
    void *ctx;
    dz_slice *paths; /* in tree order, none inside another */
    size_t n_paths;
    size_t at;          /* the path in work */
    size_t above;       /* bytes of it whose directories have been given */
    bool above_root;    /* the root directory has been */
    bool inside;        /* the cursor stands at or below the path */
    bool any;           /* something of the path was given or named lost */
    bool last_above;    /* the last entry given was a directory on the way */
    size_t last_length; /* its path's length */
};

static int compare(const void *a, const void *b) {
    return dz_path_cmp(*(const dz_slice *) a, *(const dz_slice *) b);
}

dz_status dz_walk_new(const struct dz_supply *supply, const dz_manifest_root *root,
                      const dz_slice *paths, size_t n_paths, dz_walk_lost *lost, void *ctx,
                      struct dz_walk **ret_walk, dz_err *err) {
    DZ_AUTO(dz_walk) w = calloc(1, sizeof *w);
    size_t kept = 0;

    if (w)
        w->paths = calloc(n_paths ? n_paths : 1, sizeof *w->paths);
    if (!w || !w->paths)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory to walk %zu paths", n_paths);
    w->lost = lost;
    w->ctx = ctx;
    for (size_t i = 0; i < n_paths; i++) {
        if (!dz_path_ok(paths[i]))
            return DZ_FAIL(err, DZ_E_USAGE, "path %zu cannot stand in a snapshot", i + 1);
        w->paths[i] = paths[i];
    }
    if (n_paths > 1)
        qsort(w->paths, n_paths, sizeof *w->paths, compare);
    for (size_t i = 0; i < n_paths; i++)
        if (kept == 0 || !dz_path_within(w->paths[i], w->paths[kept - 1]))
            w->paths[kept++] = w->paths[i];
    w->n_paths = n_paths ? kept : 1; /* no paths: the empty one */
    DZ_TRY(dz_cursor_new(&supply->nodes, root, &w->cursor, err));
    *ret_walk = DZ_TAKE(w);
    return DZ_OK;
}

void dz_walk_free(struct dz_walk *w) {
    if (!w)
        return;
    dz_cursor_free(w->cursor);
    free(w->paths);
    free(w);
}

/* After the cursor failed: names what is lost and stands behind it. */
static dz_status step_over(struct dz_walk *w, dz_status status, dz_err *err) {
    dz_slice first;
    uint64_t entries;

    if (!dz_supply_goes_on(status))
        return status;
    if (dz_cursor_skip_lost(w->cursor, &first, &entries, NULL) != DZ_OK)
        return status;
    w->lost(w->ctx, first, entries, N_("a part of the list of files is damaged: lost from here"));
    w->any = true;
    (void) err;
    return DZ_OK;
}

/* Ends the path in work and begins the next one; what both have above them is given once. */
static void next_path(struct dz_walk *w) {
    dz_slice before = w->paths[w->at];

    w->at++;
    w->inside = w->any = false;
    if (w->at < w->n_paths) {
        dz_slice now = w->paths[w->at];
        size_t n = dz_path_common(before, now);

        while (n > 0 &&
               (n >= before.len || n >= now.len || before.data[n] != '/' || now.data[n] != '/'))
            n--;
        w->above = n < w->above ? n : w->above;
    }
}

/* Gives the next directory above the path in work, if the snapshot has it. */
static dz_status next_above(struct dz_walk *w, dz_entry *ret_entry, bool *ret_given, dz_err *err) {
    dz_slice path = w->paths[w->at];

    *ret_given = false;
    while (w->above < path.len) {
        dz_slice dir;
        dz_status status;

        if (!w->above_root) {
            w->above_root = true;
            dir = (dz_slice){ path.data, 0 };
        } else {
            size_t from = w->above + (w->above > 0);
            const uint8_t *slash = memchr(path.data + from, '/', path.len - from);

            if (!slash) { /* only the path itself is left */
                w->above = path.len;
                break;
            }
            w->above = (size_t) (slash - path.data);
            dir = (dz_slice){ path.data, w->above };
        }
        status = dz_cursor_find(w->cursor, dir, ret_entry, err);
        if (status == DZ_OK) {
            w->last_length = dir.len;
            *ret_given = true;
            return DZ_OK;
        }
        if (!dz_supply_goes_on(status)) /* lost or never kept: we go on without its attributes */
            return status;
    }
    return DZ_OK;
}

dz_status dz_walk_next(struct dz_walk *w, dz_entry *ret_entry, bool *ret_above, bool *ret_end,
                       dz_err *err) {
    while (w->at < w->n_paths) {
        dz_slice path = w->paths[w->at];
        dz_entry e;
        bool end = false;
        dz_status status = DZ_OK;

        if (!w->inside) {
            bool given;

            DZ_TRY(next_above(w, ret_entry, &given, err));
            if (given) {
                w->last_above = *ret_above = true;
                *ret_end = false;
                return DZ_OK;
            }
            w->inside = true;
            status = dz_cursor_seek(w->cursor, path, err);
        }
        if (status == DZ_OK)
            status = dz_cursor_next(w->cursor, &e, &end, err);
        if (status != DZ_OK) {
            DZ_TRY(step_over(w, status, err));
            continue;
        }
        if (end || !dz_path_within(e.path, path)) {
            if (!w->any && path.len > 0)
                w->lost(w->ctx, path, 0, N_("no such path in the snapshot"));
            next_path(w);
            continue;
        }
        w->any = true;
        w->last_above = *ret_above = false;
        *ret_entry = e;
        *ret_end = false;
        return DZ_OK;
    }
    *ret_end = true;
    return DZ_OK;
}

dz_status dz_walk_skip_below(struct dz_walk *w, dz_err *err) {
    dz_slice dir;

    if (!w->last_above) {
        dz_status status = dz_cursor_skip_below(w->cursor, err);
        return status == DZ_OK ? DZ_OK : step_over(w, status, err);
    }
    dir = (dz_slice){ w->paths[w->at].data, w->last_length };
    while (w->at < w->n_paths && dz_path_within(w->paths[w->at], dir))
        next_path(w);
    return DZ_OK;
}
