#include "intake/smb_tree.h"

#include <fnmatch.h>

#include "intake/samba_attr.h"
#include "store/entry.h"

/* One name of a directory. */
struct row {
    uint32_t name_at, name_len;
    uint32_t attributes;
    uint64_t size;
    struct timespec modified, changed, created;
};

/* A directory that is being walked. */
struct level {
    dz_buf names; /* NUL-terminated, one after the other */
    dz_buf rows;  /* of struct row, sorted by name */
    size_t n, next;
    size_t path_len;  /* of the directory's own path */
    size_t bad_names; /* that are still to be told */
};

struct dz_smb_tree {
    struct dz_smb *smb;
    const char *const *excludes;
    size_t n_excludes;
    dz_buf path; /* '/', then the path, then NUL */
    struct level *levels;
    size_t depth, cap;
    size_t held; /* bytes of all levels */
    bool begun;
};

static struct row *rows_of(const struct level *l) {
    return (struct row *) (void *) l->rows.data; /* malloc's: aligned */
}

static size_t weight(const struct level *l) {
    return l->names.cap + l->rows.cap;
}

static void level_release(struct dz_smb_tree *t, struct level *l) {
    t->held -= weight(l);
    dz_buf_release(&l->names);
    dz_buf_release(&l->rows);
}

dz_status dz_smb_tree_new(struct dz_smb *smb, const char *const *excludes, size_t n_excludes,
                          struct dz_smb_tree **ret_tree, dz_err *err) {
    DZ_AUTO(dz_smb_tree) t = calloc(1, sizeof *t);

    if (!t)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    t->smb = smb;
    t->excludes = excludes;
    t->n_excludes = n_excludes;
    *ret_tree = DZ_TAKE(t);
    return DZ_OK;
}

void dz_smb_tree_free(struct dz_smb_tree *t) {
    if (!t)
        return;
    while (t->depth > 0)
        level_release(t, &t->levels[--t->depth]);
    dz_buf_release(&t->path);
    free(t->levels);
    free(t);
}

/* --- one directory ---------------------------------------------------------------------------- */

struct listing {
    struct dz_smb_tree *t;
    struct level *l;
    struct dz_smb_item self; /* what "." says */
    bool has_self;
};

static bool name_ok(const struct level *l, dz_slice name) {
    return l->path_len + 1 + name.len <= DZ_SMB_PATH_MAX && !memchr(name.data, '/', name.len) &&
           !memchr(name.data, '\\', name.len) && !memchr(name.data, ':', name.len) &&
           name.len > 0 && dz_path_ok(name);
}

static int keep_name(void *ctx, const struct dz_smb_item *item) {
    struct listing *listing = ctx;
    struct level *l = listing->l;
    struct row row = { .name_at = (uint32_t) l->names.len,
                       .name_len = (uint32_t) item->name.len,
                       .attributes = item->attributes,
                       .size = item->size,
                       .modified = item->modified,
                       .changed = item->changed,
                       .created = item->created };

    if (dz_slice_eq(item->name, DZ_SLICE_LIT("."))) {
        listing->self = *item;
        listing->has_self = true;
        return 0;
    }
    if (!name_ok(l, item->name)) {
        l->bad_names++;
        return 0;
    }
    if (listing->t->held + l->names.len + l->rows.len + item->name.len + 1 + sizeof row >
        DZ_SMB_NAMES_MAX)
        return EFBIG;
    dz_buf_put_slice(&l->names, item->name);
    dz_buf_put_u8(&l->names, 0);
    dz_buf_put(&l->rows, &row, sizeof row);
    l->n++;
    return dz_buf_ok(&l->names) && dz_buf_ok(&l->rows) ? 0 : ENOMEM;
}

static int by_name(const void *a, const void *b, void *names) {
    const struct row *x = a, *y = b;
    const char *text = names;
    return strcmp(text + x->name_at, text + y->name_at); /* bytes: C does not look at the locale */
}

/* A name that stands there twice is kept once: the other is a bad name. */
static void drop_doubles(struct level *l) {
    struct row *rows = rows_of(l);
    const char *names = (const char *) l->names.data;
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (kept && strcmp(names + rows[kept - 1].name_at, names + rows[i].name_at) == 0)
            l->bad_names++;
        else
            rows[kept++] = rows[i];
    }
    l->n = kept;
}

/* Lists the directory of t->path as a new level.  An errno: it is not one. */
static int enter(struct dz_smb_tree *t, struct listing *listing) {
    dz_slice path = { t->path.data + 1, t->path.len - 2 };
    struct level *l = &t->levels[t->depth];
    int e;

    *l = (struct level){ .path_len = path.len };
    *listing = (struct listing){ .t = t, .l = l };
    e = dz_smb_list(t->smb, path, keep_name, listing);
    t->held += weight(l);
    if (e) {
        level_release(t, l);
        return e;
    }
    if (l->n)
        qsort_r(l->rows.data, l->n, sizeof(struct row), by_name, l->names.data);
    drop_doubles(l);
    t->depth++;
    return 0;
}

static dz_status room_for_level(struct dz_smb_tree *t, dz_err *err) {
    size_t cap = t->cap ? 2 * t->cap : 32;
    struct level *grown;

    if (t->depth < t->cap)
        return DZ_OK;
    grown = reallocarray(t->levels, cap, sizeof *grown);
    if (!grown)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    t->levels = grown;
    t->cap = cap;
    return DZ_OK;
}

/* Enters a directory, unless there is a reason not to; that is entry->problem. */
static dz_status try_enter(struct dz_smb_tree *t, struct dz_smb_entry *entry,
                           struct listing *listing, dz_err *err) {
    if ((entry->is.attributes & DZ_DOS_REPARSE) || t->depth == DZ_SMB_DEPTH_MAX) {
        entry->problem = ELOOP;
        return DZ_OK;
    }
    DZ_TRY(room_for_level(t, err));
    entry->problem = enter(t, listing);
    if (entry->problem == ENOMEM)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    if (entry->problem && dz_smb_lost(t->smb)) {
        errno = entry->problem;
        return DZ_FAIL_ERRNO(err, "share: the connection to the server is lost");
    }
    return DZ_OK;
}

/* --- the walk --------------------------------------------------------------------------------- */

/* t->path becomes "/" and the path of `name` in the directory whose path has dir_len bytes. */
static bool set_path(struct dz_smb_tree *t, size_t dir_len, const char *name) {
    t->path.len = dir_len ? 1 + dir_len : 0;
    dz_buf_put_u8(&t->path, '/');
    dz_buf_put(&t->path, name, strlen(name) + 1);
    return dz_buf_ok(&t->path);
}

static bool excluded(const struct dz_smb_tree *t, const char *name) {
    for (size_t i = 0; i < t->n_excludes; i++) {
        const char *glob = t->excludes[i];
        if (fnmatch(glob, strchr(glob, '/') ? (const char *) t->path.data : name, FNM_CASEFOLD) ==
            0)
            return true;
    }
    return false;
}

static dz_status begin(struct dz_smb_tree *t, struct dz_smb_entry *entry, dz_err *err) {
    struct listing listing;

    t->begun = true;
    if (!set_path(t, 0, ""))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    *entry = (struct dz_smb_entry){ .path = { t->path.data + 1, 0 }, .name = "", .dir = true };
    DZ_TRY(try_enter(t, entry, &listing, err));
    if (entry->problem) {
        errno = entry->problem;
        return DZ_FAIL_ERRNO(err, "share: its root cannot be listed");
    }
    if (listing.has_self)
        entry->is = listing.self;
    entry->is.attributes |= DZ_DOS_DIRECTORY;
    entry->is.name = (dz_slice){ 0 };
    return DZ_OK;
}

/* The next name of the innermost directory; false when it is one that is left out. */
static dz_status next_name(struct dz_smb_tree *t, struct dz_smb_entry *entry, bool *ret_have,
                           dz_err *err) {
    struct level *l = &t->levels[t->depth - 1];
    const struct row *row = &rows_of(l)[l->next++];
    const char *name = (const char *) l->names.data + row->name_at;
    struct listing listing;

    *ret_have = false;
    if (!set_path(t, l->path_len, name))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    if (excluded(t, name))
        return DZ_OK;
    *entry = (struct dz_smb_entry){
        .path = { t->path.data + 1, t->path.len - 2 },
        .is = { .size = row->size,
                .attributes = row->attributes,
                .modified = row->modified,
                .changed = row->changed,
                .created = row->created },
        .dir = (row->attributes & DZ_DOS_DIRECTORY) != 0,
    };
    entry->name = (const char *) t->path.data + t->path.len - 1 - row->name_len;
    *ret_have = true;
    return entry->dir ? try_enter(t, entry, &listing, err) : DZ_OK;
}

/* A name of the innermost directory that can stand in no path: said as its directory's problem. */
static dz_status bad_name(struct dz_smb_tree *t, struct dz_smb_entry *entry, dz_err *err) {
    struct level *l = &t->levels[t->depth - 1];

    l->bad_names--;
    t->path.len = 1 + l->path_len;
    dz_buf_put_u8(&t->path, 0);
    if (!dz_buf_ok(&t->path))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    *entry = (struct dz_smb_entry){ .path = { t->path.data + 1, l->path_len },
                                    .name = "",
                                    .problem = EILSEQ };
    return DZ_OK;
}

dz_status dz_smb_tree_next(struct dz_smb_tree *t, struct dz_smb_entry *ret_entry, bool *ret_end,
                           dz_err *err) {
    struct dz_smb_entry entry;
    bool have = true;

    *ret_end = false;
    if (!t->begun) {
        DZ_TRY(begin(t, &entry, err));
        *ret_entry = entry;
        return DZ_OK;
    }
    while (t->depth > 0) {
        struct level *l = &t->levels[t->depth - 1];

        if (l->bad_names) {
            DZ_TRY(bad_name(t, &entry, err));
            have = true;
        } else if (l->next < l->n) {
            DZ_TRY(next_name(t, &entry, &have, err));
        } else {
            level_release(t, l);
            t->depth--;
            continue;
        }
        if (have) {
            *ret_entry = entry;
            return DZ_OK;
        }
    }
    *ret_end = true;
    return DZ_OK;
}
