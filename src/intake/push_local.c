#include "intake/push_local.h"

#include <sodium.h>

#include "core/clock.h"
#include "intake/local.h"

struct dz_push_local {
    struct dz_scan *scan;
    struct dz_local_how how;
    /* the object that came last */
    struct dz_scan_item item;
    struct dz_local local;
    dz_buf fields;
    int fd; /* -1: not opened */
    bool opened;
    struct dz_extents extents;
    uint64_t at;
};

static void forget(struct dz_push_local *l) {
    if (l->fd >= 0)
        (void) close(l->fd);
    l->fd = -1;
    l->opened = false;
    l->at = 0;
    dz_extents_release(&l->extents);
}

static void fill(struct dz_push_local *l, struct dz_push_item *item) {
    item->entry = dz_local_entry(&l->local, l->item.path, dz_buf_slice(&l->fields));
    item->what = l->local.problem ? l->local.what : 0;
    item->sys_errno = l->local.problem;
    item->gone = l->local.gone;
    item->remember = l->local.remember;
}

static dz_status next(void *ctx, struct dz_push_item *ret_item, bool *ret_end, dz_err *err) {
    struct dz_push_local *l = ctx;

    forget(l);
    dz_buf_clear(&l->fields);
    DZ_TRY(dz_scan_next(l->scan, &l->item, ret_end, err));
    if (*ret_end)
        return DZ_OK;
    l->local = dz_local_of(&l->item);
    *ret_item = (struct dz_push_item){ .content = !l->item.gone && S_ISREG(l->item.st.st_mode) };
    if (ret_item->content) {
        dz_path_key(l->how.secret, l->item.path, l->local.fs, &l->local.st, &ret_item->key);
        ret_item->keyed = true;
        l->local.remember = dz_local_settled(&l->how, &l->local.st);
    } else if (!l->item.gone) {
        dz_local_put_other(&l->how, &l->local, l->item.dir, l->item.name, &l->fields);
    }
    fill(l, ret_item);
    return dz_buf_ok(&l->fields) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
}

/* Opens the file and finds its holes.  0, or errno. */
static int open_file(struct dz_push_local *l) {
    dz_err err = { 0 };
    dz_status s;

    l->opened = true;
    l->fd = dz_local_open(&l->local, l->item.dir, l->item.name);
    if (l->fd < 0)
        return l->local.problem;
    s = dz_extents_find(l->fd, &l->local.st, &l->extents, &err);
    if (s == DZ_OK)
        return 0;
    return s == DZ_E_NOMEM ? ENOMEM : err.sys_errno ? err.sys_errno : EIO;
}

static ssize_t read_next(void *ctx, uint8_t *to, size_t room) {
    struct dz_push_local *l = ctx;
    ssize_t n;

    if (!l->opened) {
        int e = open_file(l);
        if (e) {
            errno = e;
            return -1;
        }
    }
    if (room > l->extents.content - l->at) /* what grows is not read for ever */
        room = (size_t) (l->extents.content - l->at);
    if (room == 0)
        return 0;
    n = dz_extents_read(l->fd, &l->extents, l->at, to, room);
    l->at += n > 0 ? (uint64_t) n : 0;
    return n;
}

static dz_status finish(void *ctx, uint64_t bytes, int failed, struct dz_push_item *item,
                        dz_err *err) {
    struct dz_push_local *l = ctx;

    if (l->fd < 0) { /* it could not be opened, and that was said */
        fill(l, item);
        return DZ_OK;
    }
    dz_local_finish(&l->how, &l->local, l->fd, bytes, l->extents.content, failed);
    /* the key must be that of what was read, which may be another file than was listed */
    dz_path_key(l->how.secret, l->item.path, l->local.fs, &l->local.st, &item->key);
    if (!failed && bytes < l->extents.content) { /* shorter than it was: that is the file now */
        dz_extents_cut(&l->extents, bytes);
        l->local.st.st_size = (off_t) l->extents.size;
    }
    dz_local_put_file(&l->how, &l->local, l->item.name, l->fd, &l->extents, &l->fields);
    fill(l, item);
    return dz_buf_ok(&l->fields) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
}

dz_status dz_push_local_new(const struct dz_scan_how *how, const uint8_t secret[DZ_KEY_BYTES],
                            struct dz_push_local **ret_local, dz_err *err) {
    DZ_AUTO(dz_push_local) l = calloc(1, sizeof *l);

    if (!l)
        return DZ_FAIL(err, DZ_E_NOMEM, "tree: out of memory");
    l->fd = -1;
    memcpy(l->how.secret, secret, sizeof l->how.secret);
    l->how.began_us = dz_now_us();
    DZ_TRY(dz_scan_new(how, &l->scan, err));
    *ret_local = DZ_TAKE(l);
    return DZ_OK;
}

void dz_push_local_free(struct dz_push_local *l) {
    if (!l)
        return;
    forget(l);
    dz_scan_free(l->scan);
    dz_buf_release(&l->fields);
    sodium_memzero(&l->how, sizeof l->how);
    free(l);
}

struct dz_push_tree dz_push_local_tree(struct dz_push_local *l) {
    return (struct dz_push_tree){ next, read_next, finish, l };
}

void dz_push_local_paths(const struct dz_push_local *l, dz_buf *paths) {
    char *const *roots;
    size_t n = dz_scan_roots(l->scan, &roots);

    for (size_t i = 0; i < n; i++)
        dz_buf_put_field(paths, (dz_slice){ (const uint8_t *) roots[i], strlen(roots[i]) });
}
