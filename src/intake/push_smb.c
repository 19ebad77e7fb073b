#include "intake/push_smb.h"

#include <sodium.h>

#include "core/clock.h"
#include "intake/read_file.h"
#include "intake/samba_attr.h"

enum {
    BLOCK = 64 << 10,    /* zeros of this size, at a multiple of it, are a hole */
    PIECE = 1 << 20,     /* read at once from a sparse file */
    EXTENTS_MAX = 16384, /* what an entry holds with ease; behind them zeros are data */
};
/* A change within this time of another one may leave no trace in the times: FAT counts in steps of
 * two seconds.  The server's clock is taken for ours; one that is behind costs nothing but this. */
static const int64_t settled_us = 2 * 1000000;

/* The file that is being read. */
struct reading {
    struct dz_smb_file *file;
    bool opened;               /* or tried to */
    int failed;                /* errno of that */
    struct dz_smb_item was;    /* as it was when it was opened */
    uint64_t at;               /* in the file */
    struct dz_extents extents; /* of a sparse file, as is what follows */
    uint8_t *piece;            /* owned, PIECE bytes */
    size_t piece_len, piece_at;
};

struct dz_push_smb {
    struct dz_smb *smb;
    struct dz_smb_tree *tree;
    uint8_t secret[DZ_KEY_BYTES];
    int64_t began_us;
    /* the object that came last */
    struct dz_smb_entry object;
    dz_buf fields;
    uint32_t flags; /* enum dz_entry_flag */
    uint8_t what;
    int problem;
    bool gone;
    struct reading r;
    dz_buf notes; /* rows: what u8, errno varint, path field: problems still to be told */
    size_t told;  /* bytes of them */
};

/* --- problems --------------------------------------------------------------------------------- */

static void add_note(void *ctx, dz_slice path, uint8_t what, int e) {
    struct dz_push_smb *t = ctx;

    dz_buf_put_u8(&t->notes, what);
    dz_buf_put_varint(&t->notes, (uint64_t) (e > 0 ? e : EIO));
    dz_buf_put_field(&t->notes, path);
}

/* The next one, as an item that is nothing but a problem. */
static bool next_note(struct dz_push_smb *t, struct dz_push_item *ret_item) {
    dz_reader r = dz_reader_over((dz_slice){ t->notes.data + t->told, t->notes.len - t->told });

    if (dz_reader_left(&r) == 0) {
        dz_buf_clear(&t->notes);
        t->told = 0;
        return false;
    }
    *ret_item = (struct dz_push_item){ .gone = true, .what = dz_read_u8(&r) };
    ret_item->sys_errno = (int) dz_read_varint(&r);
    ret_item->entry.path = dz_read_field(&r);
    t->told = t->notes.len - dz_reader_left(&r);
    return true;
}

static void set_problem(struct dz_push_smb *t, uint8_t what, int e) {
    t->what = what;
    t->problem = e > 0 ? e : EIO;
    if (what == DZ_PROBLEM_UNREADABLE)
        t->flags |= DZ_ENTRY_UNREADABLE;
    if (what == DZ_PROBLEM_CHANGED)
        t->flags |= DZ_ENTRY_CHANGED;
}

/* --- objects ---------------------------------------------------------------------------------- */

static void forget(struct dz_push_smb *t) {
    dz_smb_file_close(t->r.file);
    dz_extents_release(&t->r.extents);
    free(t->r.piece);
    t->r = (struct reading){ 0 };
    dz_buf_clear(&t->fields);
    t->flags = 0;
    t->what = 0;
    t->problem = 0;
    t->gone = false;
}

static void key_of(const struct dz_push_smb *t, const struct dz_smb_item *is,
                   struct dz_path_key *ret_key) {
    const struct stat st = {
        .st_size = (off_t) is->size, .st_mtim = is->modified, .st_ctim = is->changed, .st_nlink = 1
    };

    dz_path_key(t->secret, t->object.path, t->object.is.attributes, &st, ret_key);
}

static bool settled(const struct dz_push_smb *t, const struct dz_smb_item *is) {
    int64_t limit_s = (t->began_us - settled_us) / 1000000;

    return is->changed.tv_sec < limit_s && is->modified.tv_sec < limit_s;
}

static void fill(struct dz_push_smb *t, struct dz_push_item *item) {
    item->entry = dz_smb_entry_of(&t->object, t->flags, dz_buf_slice(&t->fields));
    item->what = t->what;
    item->sys_errno = t->problem;
    item->gone = t->gone;
    item->remember = t->what == 0 && t->notes.len == 0 && settled(t, &t->object.is);
}

static dz_status put_xattrs(struct dz_push_smb *t, dz_err *err) {
    const struct dz_smb_notes notes = { add_note, t };

    DZ_TRY(dz_smb_put_xattrs(t->smb, &t->object, &notes, &t->fields, err));
    return dz_buf_ok(&t->notes) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
}

static dz_status next_dir(struct dz_push_smb *t, dz_err *err) {
    if (t->object.problem == ELOOP) {
        t->flags |= DZ_ENTRY_MOUNT_POINT;
        set_problem(t, DZ_PROBLEM_PARTIAL, ELOOP);
    } else if (t->object.problem) {
        set_problem(t, DZ_PROBLEM_UNREADABLE, t->object.problem);
    }
    return put_xattrs(t, err);
}

static dz_status next(void *ctx, struct dz_push_item *ret_item, bool *ret_end, dz_err *err) {
    struct dz_push_smb *t = ctx;

    *ret_end = false;
    if (next_note(t, ret_item))
        return DZ_OK;
    forget(t);
    DZ_TRY(dz_smb_tree_next(t->tree, &t->object, ret_end, err));
    if (*ret_end)
        return DZ_OK;
    *ret_item = (struct dz_push_item){ 0 };
    if (t->object.problem == EILSEQ) {
        set_problem(t, DZ_PROBLEM_UNREADABLE, EILSEQ);
        t->gone = true;
    } else if (t->object.dir) {
        DZ_TRY(next_dir(t, err));
    } else {
        ret_item->content = true;
        ret_item->keyed = true;
        key_of(t, &t->object.is, &ret_item->key);
    }
    fill(t, ret_item);
    return DZ_OK;
}

/* --- content ---------------------------------------------------------------------------------- */

static int open_file(struct dz_push_smb *t) {
    struct reading *r = &t->r;
    int e;

    r->opened = true;
    e = dz_smb_file_open(t->smb, t->object.path, NULL, &r->file);
    if (e == 0)
        e = dz_smb_file_stat(r->file, &r->was);
    if (e == 0 && (t->object.is.attributes & DZ_DOS_SPARSE)) {
        r->piece = malloc(PIECE);
        r->extents.list = calloc(EXTENTS_MAX, sizeof *r->extents.list);
        if (!r->piece || !r->extents.list)
            e = ENOMEM;
    }
    return e;
}

static bool is_sparse(const struct reading *r) {
    return r->piece && r->extents.list;
}

/* What grows is not read for ever. */
static size_t within(const struct reading *r, size_t room) {
    uint64_t left = r->was.size - r->at;

    return room < left ? room : (size_t) left;
}

static int read_plain(struct reading *r, uint8_t *to, size_t room, size_t *ret_n) {
    int e = dz_smb_file_read(r->file, to, within(r, room), ret_n);

    if (e == 0)
        r->at += *ret_n;
    return e;
}

static bool is_zero(const uint8_t *p, size_t n) {
    return n > 0 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static void add_extent(struct dz_extents *x, uint64_t at, size_t n) {
    struct dz_extent *last = x->n ? &x->list[x->n - 1] : NULL;

    if (last && last->file + last->length == at)
        last->length += n;
    else
        x->list[x->n++] = (struct dz_extent){ x->content, at, n };
    x->content += n;
}

/* The next bytes that are no hole. */
static int read_sparse(struct reading *r, uint8_t *to, size_t room, size_t *ret_n) {
    for (;;) {
        size_t at = r->piece_at, n;

        if (at == r->piece_len) {
            int e = dz_smb_file_read(r->file, r->piece, within(r, PIECE), &n);
            if (e || n == 0) {
                *ret_n = 0;
                return e;
            }
            r->piece_len = n;
            r->piece_at = at = 0;
        }
        n = BLOCK - at % BLOCK < r->piece_len - at ? BLOCK - at % BLOCK : r->piece_len - at;
        if (at % BLOCK == 0 && r->extents.n < EXTENTS_MAX && is_zero(r->piece + at, n)) {
            r->piece_at += n;
            r->at += n;
            continue;
        }
        if (n > room)
            n = room;
        memcpy(to, r->piece + at, n);
        add_extent(&r->extents, r->at, n);
        r->piece_at += n;
        r->at += n;
        *ret_n = n;
        return 0;
    }
}

static ssize_t read_next(void *ctx, uint8_t *to, size_t room) {
    struct dz_push_smb *t = ctx;
    struct reading *r = &t->r;
    size_t n = 0;

    if (!r->opened)
        r->failed = open_file(t);
    if (!r->failed)
        r->failed = is_sparse(r) ? read_sparse(r, to, room, &n) : read_plain(r, to, room, &n);
    errno = r->failed;
    return r->failed ? -1 : (ssize_t) n;
}

static bool same(const struct dz_smb_item *a, const struct dz_smb_item *b) {
    return a->size == b->size && a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* What became of a file that was opened. */
static void settle(struct dz_push_smb *t, int failed) {
    struct reading *r = &t->r;
    struct dz_smb_item after;

    t->object.is.size = r->was.size;
    t->object.is.modified = r->was.modified;
    t->object.is.changed = r->was.changed;
    if (failed) {
        set_problem(t, DZ_PROBLEM_UNREADABLE, failed);
        return;
    }
    if (dz_smb_file_stat(r->file, &after) != 0 || !same(&r->was, &after) || r->at != r->was.size)
        set_problem(t, DZ_PROBLEM_CHANGED, EAGAIN);
    t->object.is.size = r->extents.size = r->at; /* shorter than it was: that is the file now */
    if (is_sparse(r))
        dz_extents_put(&r->extents, &t->fields);
}

static dz_status finish(void *ctx, uint64_t bytes, int failed, struct dz_push_item *item,
                        dz_err *err) {
    struct dz_push_smb *t = ctx;

    (void) bytes;
    if (failed && dz_smb_lost(t->smb)) {
        errno = failed;
        return DZ_FAIL_ERRNO(err, "share: the connection to the server is lost");
    }
    if (t->r.file) {
        settle(t, failed);
        DZ_TRY(put_xattrs(t, err));
    } else {
        set_problem(t, DZ_PROBLEM_UNREADABLE, failed);
        t->gone = failed == ENOENT;
    }
    if (!dz_buf_ok(&t->fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
    key_of(t, &t->object.is, &item->key);
    fill(t, item);
    return DZ_OK;
}

/* --- all together ----------------------------------------------------------------------------- */

dz_status dz_push_smb_new(struct dz_smb *smb, const char *const *excludes, size_t n_excludes,
                          const uint8_t secret[DZ_KEY_BYTES], struct dz_push_smb **ret_tree,
                          dz_err *err) {
    DZ_AUTO(dz_push_smb) t = calloc(1, sizeof *t);

    if (!t)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    t->smb = smb;
    t->began_us = dz_now_us();
    memcpy(t->secret, secret, sizeof t->secret);
    DZ_TRY(dz_smb_tree_new(smb, excludes, n_excludes, &t->tree, err));
    *ret_tree = DZ_TAKE(t);
    return DZ_OK;
}

void dz_push_smb_free(struct dz_push_smb *t) {
    if (!t)
        return;
    forget(t);
    dz_smb_tree_free(t->tree);
    dz_buf_release(&t->fields);
    dz_buf_release(&t->notes);
    sodium_memzero(t->secret, sizeof t->secret);
    free(t);
}

struct dz_push_tree dz_push_smb_tree(struct dz_push_smb *t) {
    return (struct dz_push_tree){ next, read_next, finish, t };
}
