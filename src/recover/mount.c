#define FUSE_USE_VERSION 312

#include "recover/mount.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "recover/layout.h"
#include "recover/mount_tree.h"
#include "store/content.h"

enum { FOREVER = 1 << 30 }; /* seconds; nothing changes */

struct mounted {
    const struct dz_supply *supply;
    const struct dz_mount_how *how;
    struct dz_mount_tree *tree;
    dz_manifest_root root;
};

static int errno_of(dz_status status) {
    if (status == DZ_E_NOT_FOUND)
        return ENOENT;
    return status == DZ_E_NOMEM ? ENOMEM : EIO;
}

static struct mounted *mounted_of(fuse_req_t req) {
    return fuse_req_userdata(req);
}

/* The kernel's number for a node is its address; the root has a number of its own. */
static struct dz_node *node_of(struct mounted *m, fuse_ino_t ino) {
    return ino == FUSE_ROOT_ID ? dz_mount_tree_root(m->tree)
                               : (struct dz_node *) (uintptr_t) ino; /* we made it so */
}

static struct fuse_entry_param param_of(struct dz_node *n) {
    return (struct fuse_entry_param){
        .ino = (fuse_ino_t) (uintptr_t) n,
        .attr = n->st,
        .attr_timeout = FOREVER,
        .entry_timeout = FOREVER,
    };
}

/* --- Names and attributes --------------------------------------------------------------------- */

static void op_init(void *data, struct fuse_conn_info *conn) {
    struct mounted *m = data;

    if (conn->capable & FUSE_CAP_POSIX_ACL)
        conn->want |= FUSE_CAP_POSIX_ACL;
    if (conn->capable & FUSE_CAP_CACHE_SYMLINKS)
        conn->want |= FUSE_CAP_CACHE_SYMLINKS;
    if (m->how->ready)
        m->how->ready(m->how->ctx);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct mounted *m = mounted_of(req);
    struct dz_node *n;
    struct fuse_entry_param entry = { .entry_timeout = FOREVER };
    dz_status status = dz_mount_tree_lookup(m->tree, node_of(m, parent), name, &n, NULL);

    if (status == DZ_E_NOT_FOUND) { /* the kernel may remember that, too */
        (void) fuse_reply_entry(req, &entry);
        return;
    }
    if (status != DZ_OK) {
        (void) fuse_reply_err(req, errno_of(status));
        return;
    }
    entry = param_of(n);
    if (fuse_reply_entry(req, &entry) != 0)
        dz_mount_tree_forget(m->tree, n, 1);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n) {
    struct mounted *m = mounted_of(req);

    if (ino != FUSE_ROOT_ID)
        dz_mount_tree_forget(m->tree, node_of(m, ino), n);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
    struct mounted *m = mounted_of(req);

    for (size_t i = 0; i < count; i++)
        if (forgets[i].ino != FUSE_ROOT_ID)
            dz_mount_tree_forget(m->tree, node_of(m, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct mounted *m = mounted_of(req);

    (void) fi;
    (void) fuse_reply_attr(req, &node_of(m, ino)->st, FOREVER);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino) {
    struct mounted *m = mounted_of(req);
    struct dz_cursor *c;
    dz_entry e;
    dz_slice target;
    char *text;
    dz_status status = dz_mount_tree_entry(m->tree, node_of(m, ino), &c, &e, NULL);

    if (status != DZ_OK) {
        (void) fuse_reply_err(req, errno_of(status));
        return;
    }
    target = dz_entry_field(&e, DZ_TAG_TARGET);
    text = target.len > 0 ? strndup((const char *) target.data, target.len) : strdup("");
    dz_mount_tree_cursor_back(m->tree, c);
    if (text)
        (void) fuse_reply_readlink(req, text);
    else
        (void) fuse_reply_err(req, ENOMEM);
    free(text);
}

/* --- Extended attributes ---------------------------------------------------------------------- */

/* A reply whose room may be 0: then only the size is asked for. */
static void reply_sized(fuse_req_t req, dz_slice bytes, size_t room) {
    if (room == 0)
        (void) fuse_reply_xattr(req, bytes.len);
    else if (bytes.len > room)
        (void) fuse_reply_err(req, ERANGE);
    else
        (void) fuse_reply_buf(req, (const char *) bytes.data, bytes.len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t room) {
    struct mounted *m = mounted_of(req);
    const dz_slice wanted = { (const uint8_t *) name, strlen(name) };
    struct dz_cursor *c;
    dz_entry e;
    dz_reader r;
    bool found = false;
    dz_status status;

    if (!node_of(m, ino)->has_xattrs) {
        (void) fuse_reply_err(req, ENODATA);
        return;
    }
    status = dz_mount_tree_entry(m->tree, node_of(m, ino), &c, &e, NULL);
    if (status != DZ_OK) {
        (void) fuse_reply_err(req, errno_of(status));
        return;
    }
    r = dz_reader_over(dz_entry_field(&e, DZ_TAG_XATTRS));
    while (!found && dz_reader_left(&r) > 0) {
        dz_slice key = dz_read_field(&r);
        dz_slice value = dz_read_field(&r);

        found = dz_reader_ok(&r) && dz_slice_eq(key, wanted);
        if (found)
            reply_sized(req, value, room);
    }
    if (!found)
        (void) fuse_reply_err(req, ENODATA);
    dz_mount_tree_cursor_back(m->tree, c);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t room) {
    struct mounted *m = mounted_of(req);
    dz_autobuf dz_buf names = { 0 };
    struct dz_cursor *c;
    dz_entry e;
    dz_reader r;
    dz_status status;

    if (!node_of(m, ino)->has_xattrs) {
        reply_sized(req, (dz_slice){ 0 }, room);
        return;
    }
    status = dz_mount_tree_entry(m->tree, node_of(m, ino), &c, &e, NULL);
    if (status != DZ_OK) {
        (void) fuse_reply_err(req, errno_of(status));
        return;
    }
    r = dz_reader_over(dz_entry_field(&e, DZ_TAG_XATTRS));
    while (dz_reader_left(&r) > 0 && dz_reader_ok(&r)) {
        dz_buf_put_slice(&names, dz_read_field(&r));
        dz_buf_put_u8(&names, 0);
        (void) dz_read_field(&r);
    }
    dz_mount_tree_cursor_back(m->tree, c);
    if (dz_buf_ok(&names))
        reply_sized(req, dz_buf_slice(&names), room);
    else
        (void) fuse_reply_err(req, ENOMEM);
}

/* --- Directories ------------------------------------------------------------------------------ */

/* A listing in work.  Offsets count entries: "." is 0, ".." 1, then what the cursor gives. */
struct listing {
    pthread_mutex_t lock;
    struct dz_cursor *cursor; /* owned */
    dz_buf path;              /* of the directory */
    uint64_t next;            /* offset of the entry that comes next */
    dz_entry entry;           /* that entry, if `have`; borrowed from the cursor */
    char name[256];
    bool have, end, skip; /* skip: the last entry was a directory, whose content is not listed */
    bool lost;            /* a part of the list could not be read: said at the end */
};

static void listing_free(struct listing *l) {
    if (!l)
        return;
    dz_cursor_free(l->cursor);
    dz_buf_release(&l->path);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct mounted *m = mounted_of(req);
    struct listing *l = calloc(1, sizeof *l);

    if (!l) {
        (void) fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_init(&l->lock, NULL);
    dz_mount_tree_path(node_of(m, ino), &l->path);
    if (!dz_buf_ok(&l->path) ||
        dz_cursor_new(&m->supply->nodes, &m->root, &l->cursor, NULL) != DZ_OK) {
        listing_free(l);
        (void) fuse_reply_err(req, ENOMEM);
        return;
    }
    l->next = UINT64_MAX; /* not begun */
    fi->fh = (uintptr_t) l;
    fi->cache_readdir = 1;
    fi->keep_cache = 1;
    if (fuse_reply_open(req, fi) != 0)
        listing_free(l);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void) ino;
    listing_free((struct listing *) (uintptr_t) fi->fh);
    (void) fuse_reply_err(req, 0);
}

/* Brings the next child into l->entry, or l->end. */
static dz_status listing_step(struct listing *l) {
    dz_slice dir = dz_buf_slice(&l->path);
    size_t from = dir.len + (dir.len > 0);

    while (!l->have && !l->end) {
        dz_slice first, name;
        uint64_t entries;
        dz_status status = DZ_OK;

        if (l->skip)
            status = dz_cursor_skip_below(l->cursor, NULL);
        l->skip = false;
        if (status == DZ_OK)
            status = dz_cursor_next(l->cursor, &l->entry, &l->end, NULL);
        if (status != DZ_OK) {
            if (!dz_supply_goes_on(status) ||
                dz_cursor_skip_lost(l->cursor, &first, &entries, NULL) != DZ_OK)
                return status;
            l->lost = true;
            continue;
        }
        if (l->end || !dz_path_within(l->entry.path, dir)) {
            l->end = true;
            break;
        }
        if (l->entry.path.len <= from) /* the directory itself */
            continue;
        name = (dz_slice){ l->entry.path.data + from, l->entry.path.len - from };
        if (name.len >= sizeof l->name || memchr(name.data, '/', name.len))
            continue; /* its directory is lost */
        memcpy(l->name, name.data, name.len);
        l->name[name.len] = '\0';
        l->skip = l->entry.type == DZ_ENTRY_DIR;
        l->have = true;
    }
    return DZ_OK;
}

/* Stands before the entry with this offset. */
static dz_status listing_seek(struct listing *l, uint64_t offset) {
    if (l->next == offset)
        return DZ_OK;
    if (l->next > offset || l->next < 2) {
        dz_status status = dz_cursor_seek(l->cursor, dz_buf_slice(&l->path), NULL);

        if (status != DZ_OK)
            return status;
        l->have = l->end = l->skip = l->lost = false;
        l->next = 2;
    }
    for (; offset > 2 && l->next < offset; l->next++) {
        DZ_TRY(listing_step(l));
        if (l->end)
            break;
        l->have = false;
    }
    l->next = offset;
    return DZ_OK;
}

/* Adds one entry to the reply: its bytes, or more than `room` when it does not fit. */
static size_t add(fuse_req_t req, char *to, size_t room, struct dz_node *dir, struct listing *l,
                  bool plus) {
    struct mounted *m = mounted_of(req);
    struct fuse_entry_param entry = { 0 };
    struct dz_node *n = NULL;
    const char *name = l->next == 0 ? "." : l->next == 1 ? ".." : l->name;
    size_t size;

    if (l->next < 2) {
        entry.attr = l->next == 1 && dir->parent ? dir->parent->st : dir->st;
    } else if (plus) {
        if (fuse_add_direntry_plus(req, NULL, 0, name, NULL, 0) > room)
            return room + 1; /* before a reference is made */
        if (dz_mount_tree_enter(m->tree, dir, name, &l->entry, &n, NULL) != DZ_OK)
            return room + 1;
        entry = param_of(n);
    } else {
        static const mode_t types[] = {
            [DZ_ENTRY_FILE] = S_IFREG,  [DZ_ENTRY_DIR] = S_IFDIR,     [DZ_ENTRY_SYMLINK] = S_IFLNK,
            [DZ_ENTRY_FIFO] = S_IFIFO,  [DZ_ENTRY_SOCKET] = S_IFSOCK, [DZ_ENTRY_CHAR] = S_IFCHR,
            [DZ_ENTRY_BLOCK] = S_IFBLK,
        };

        entry.attr.st_mode = types[l->entry.type];
        entry.attr.st_ino = dz_mount_tree_ino(m->tree, dir, name, &l->entry);
    }
    size = plus ? fuse_add_direntry_plus(req, to, room, name, &entry, (off_t) (l->next + 1))
                : fuse_add_direntry(req, to, room, name, &entry.attr, (off_t) (l->next + 1));
    return size;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *fi, bool plus) {
    struct mounted *m = mounted_of(req);
    struct dz_node *dir = node_of(m, ino);
    struct listing *l = (struct listing *) (uintptr_t) fi->fh;
    char *reply = malloc(size);
    size_t used = 0;
    dz_status status;

    if (!reply) {
        (void) fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_lock(&l->lock);
    status = listing_seek(l, offset < 0 ? 0 : (uint64_t) offset);
    while (status == DZ_OK) {
        size_t n;

        if (l->next == 2 && !l->have) { /* dots come without the cursor; it begins here */
            status = dz_cursor_seek(l->cursor, dz_buf_slice(&l->path), NULL);
            l->end = l->skip = l->lost = false;
        }
        if (status == DZ_OK && l->next >= 2)
            status = listing_step(l);
        if (status != DZ_OK || (l->next >= 2 && l->end))
            break;
        n = add(req, reply + used, size - used, dir, l, plus);
        if (n > size - used) {
            if (used == 0) /* it would look like the end */
                status = DZ_E_NOMEM;
            break;
        }
        used += n;
        l->next++;
        l->have = false;
    }
    if (status == DZ_OK && used == 0 && l->end && l->lost) {
        l->lost = false;
        status = DZ_E_CORRUPT;
    }
    pthread_mutex_unlock(&l->lock);
    if (status != DZ_OK && used == 0)
        (void) fuse_reply_err(req, errno_of(status));
    else
        (void) fuse_reply_buf(req, reply, used);
    free(reply);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi) {
    list(req, ino, size, offset, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                           struct fuse_file_info *fi) {
    list(req, ino, size, offset, fi, true);
}

/* --- Files ------------------------------------------------------------------------------------ */

struct run { /* of a sparse file */
    uint64_t at, content, len;
};

/* An open file.  Which chunks a read needs is found under the lock; they are had without it. */
struct opened {
    dz_buf fields; /* content and extents point into it */
    dz_slice content;
    uint64_t size;
    struct run *runs; /* owned; NULL: without holes */
    size_t n_runs;
    pthread_mutex_t lock;
    struct dz_content_reader *reader; /* owned */
    dz_content_span span;             /* the one that was given last, if length > 0 */
};

struct piece {
    dz_id id;
    uint32_t from, len; /* in the chunk; */
    uint32_t length;    /* the chunk's whole length; 0: zeros */
};

static void opened_free(struct opened *o) {
    if (!o)
        return;
    dz_content_reader_free(o->reader);
    dz_buf_release(&o->fields);
    pthread_mutex_destroy(&o->lock);
    free(o->runs);
    free(o);
}

static bool parse_runs(struct opened *o, dz_slice extents) {
    dz_reader r = dz_reader_over(extents);
    uint64_t at = 0, content = 0;

    o->runs = calloc(extents.len / 2 + 1, sizeof *o->runs); /* a pair takes two bytes or more */
    if (!o->runs)
        return false;
    while (dz_reader_left(&r) > 0) {
        struct run *run = &o->runs[o->n_runs++];

        at += dz_read_varint(&r);
        *run = (struct run){ .at = at, .content = content, .len = dz_read_varint(&r) };
        at += run->len;
        content += run->len;
    }
    return true;
}

static dz_status opened_new(struct mounted *m, const struct dz_node *n,
                            struct opened **ret_opened) {
    struct opened *o = calloc(1, sizeof *o);
    struct dz_cursor *c = NULL;
    dz_entry e;
    dz_status status;

    if (!o)
        return DZ_E_NOMEM;
    pthread_mutex_init(&o->lock, NULL);
    status = dz_mount_tree_entry(m->tree, n, &c, &e, NULL);
    if (status == DZ_OK)
        status = dz_content_reader_new(&m->supply->nodes, &o->reader, NULL);
    if (status == DZ_OK) {
        if (e.fields.len > 0)
            dz_buf_put_slice(&o->fields, e.fields);
        e.fields = dz_buf_slice(&o->fields);
        o->content = dz_entry_field(&e, DZ_TAG_CONTENT);
        status = dz_buf_ok(&o->fields) ? dz_content_reader_start(o->reader, o->content, 0, NULL)
                                       : DZ_E_NOMEM;
    }
    if (status == DZ_OK && !dz_layout_fits(&e, dz_content_reader_size(o->reader), &o->size))
        status = DZ_E_CORRUPT;
    if (status == DZ_OK && dz_entry_field(&e, DZ_TAG_EXTENTS).data &&
        !parse_runs(o, dz_entry_field(&e, DZ_TAG_EXTENTS)))
        status = DZ_E_NOMEM;
    dz_mount_tree_cursor_back(m->tree, c);
    if (status == DZ_OK)
        *ret_opened = o;
    else
        opened_free(o);
    return status;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct mounted *m = mounted_of(req);
    const struct dz_node *n = node_of(m, ino);
    struct opened *o;
    dz_status status;

    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        (void) fuse_reply_err(req, EROFS);
        return;
    }
    status = n->unreadable ? DZ_E_IO : opened_new(m, n, &o);
    if (status != DZ_OK) {
        (void) fuse_reply_err(req, errno_of(status));
        return;
    }
    fi->fh = (uintptr_t) o;
    fi->keep_cache = 1;
    fi->noflush = 1;
    if (fuse_reply_open(req, fi) != 0)
        opened_free(o);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void) ino;
    opened_free((struct opened *) (uintptr_t) fi->fh);
    (void) fuse_reply_err(req, 0);
}

static void put_piece(dz_buf *to, const struct piece *p) {
    dz_buf_put(to, p, sizeof *p);
}

/* Appends the chunks of n bytes of content from `at`. */
static dz_status gather_content(struct opened *o, uint64_t at, uint64_t n, dz_buf *pieces) {
    while (n > 0) {
        dz_content_span *s = &o->span;
        struct piece p;
        bool end = false;

        if (s->length == 0 || at < s->offset || at > s->offset + s->length) {
            s->length = 0;
            DZ_TRY(dz_content_reader_start(o->reader, o->content, at, NULL));
        }
        if (s->length == 0 || at == s->offset + s->length) {
            s->length = 0;
            DZ_TRY(dz_content_reader_next(o->reader, s, &end, NULL));
        }
        if (end || at < s->offset || at - s->offset >= s->length)
            return DZ_E_CORRUPT;
        p = (struct piece){ .id = s->id, .from = (uint32_t) (at - s->offset), .length = s->length };
        p.len = s->length - p.from < n ? s->length - p.from : (uint32_t) n;
        put_piece(pieces, &p);
        at += p.len;
        n -= p.len;
    }
    return DZ_OK;
}

static void gather_hole(uint64_t n, dz_buf *pieces) {
    const struct piece p = { .len = (uint32_t) n }; /* at most a read */

    if (n > 0)
        put_piece(pieces, &p);
}

static dz_status gather(struct opened *o, uint64_t at, uint64_t n, dz_buf *pieces) {
    size_t low = 0, high = o->n_runs;

    if (!o->runs)
        return gather_content(o, at, n, pieces);
    while (low < high) { /* the first run that ends behind `at` */
        size_t mid = low + (high - low) / 2;

        if (o->runs[mid].at + o->runs[mid].len <= at)
            low = mid + 1;
        else
            high = mid;
    }
    for (; n > 0 && low < o->n_runs && o->runs[low].at < at + n; low++) {
        const struct run *run = &o->runs[low];
        uint64_t hole = run->at > at ? run->at - at : 0;
        uint64_t inside, data;

        gather_hole(hole, pieces);
        at += hole;
        n -= hole;
        inside = at - run->at;
        data = run->len - inside < n ? run->len - inside : n;
        DZ_TRY(gather_content(o, run->content + inside, data, pieces));
        at += data;
        n -= data;
    }
    gather_hole(n, pieces);
    return DZ_OK;
}

static dz_status copy_pieces(struct mounted *m, const dz_buf *pieces, uint8_t *to) {
    for (size_t i = 0; i < pieces->len; i += sizeof(struct piece)) {
        struct piece p;
        struct dz_held held;

        memcpy(&p, pieces->data + i, sizeof p);
        if (p.length == 0) {
            memset(to, 0, p.len);
        } else {
            dz_status status = m->supply->hold(m->supply->ctx, &p.id, &held, NULL);
            bool fits;

            if (status != DZ_OK)
                return status;
            fits = held.bytes.len == p.length;
            if (fits)
                memcpy(to, held.bytes.data + p.from, p.len);
            m->supply->drop(m->supply->ctx, &held);
            if (!fits)
                return DZ_E_CORRUPT;
        }
        to += p.len;
    }
    return DZ_OK;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi) {
    struct mounted *m = mounted_of(req);
    struct opened *o = (struct opened *) (uintptr_t) fi->fh;
    uint64_t at = offset < 0 ? 0 : (uint64_t) offset;
    uint64_t n = at >= o->size ? 0 : o->size - at < size ? o->size - at : size;
    dz_autobuf dz_buf pieces = { 0 };
    uint8_t *reply = malloc(n > 0 ? n : 1);
    dz_status status = DZ_E_NOMEM;

    (void) ino;
    if (reply) {
        pthread_mutex_lock(&o->lock);
        status = gather(o, at, n, &pieces);
        pthread_mutex_unlock(&o->lock);
        if (status == DZ_OK)
            status = dz_buf_ok(&pieces) ? copy_pieces(m, &pieces, reply) : DZ_E_NOMEM;
    }
    if (status == DZ_OK)
        (void) fuse_reply_buf(req, (const char *) reply, n);
    else
        (void) fuse_reply_err(req, status == DZ_E_NOMEM ? ENOMEM : EIO);
    free(reply);
}

/* Data and holes, for those who copy sparse files. */
static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                     struct fuse_file_info *fi) {
    const struct opened *o = (const struct opened *) (uintptr_t) fi->fh;
    uint64_t at = (uint64_t) offset;
    bool data = whence == SEEK_DATA;

    (void) ino;
    if ((whence != SEEK_DATA && whence != SEEK_HOLE) || offset < 0 || at >= o->size) {
        (void) fuse_reply_err(req, offset < 0 || at >= o->size ? ENXIO : EINVAL);
        return;
    }
    for (size_t i = 0; i < o->n_runs; i++) {
        const struct run *run = &o->runs[i];

        if (run->at + run->len <= at || run->len == 0)
            continue;
        if (data)
            at = run->at > at ? run->at : at;
        if (data || run->at > at)
            break;
        at = run->at + run->len; /* a hole may begin here */
    }
    if (data && o->runs &&
        (o->n_runs == 0 || o->runs[o->n_runs - 1].at + o->runs[o->n_runs - 1].len <= at))
        (void) fuse_reply_err(req, ENXIO);
    else
        (void) fuse_reply_lseek(req, (off_t) (data || o->runs ? at : o->size));
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino) {
    struct mounted *m = mounted_of(req);
    const struct statvfs st = {
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = m->root.bytes / 4096 + 1,
        .f_files = m->root.entries,
        .f_namemax = 255,
    };

    (void) ino;
    (void) fuse_reply_statfs(req, &st);
}

/* --- The mount -------------------------------------------------------------------------------- */

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .opendir = op_opendir,
    .releasedir = op_releasedir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .open = op_open,
    .release = op_release,
    .read = op_read,
    .lseek = op_lseek,
    .statfs = op_statfs,
};

static dz_status serve(struct mounted *m, struct fuse_session *session, dz_err *err) {
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int rc;

    if (!config)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a mount");
    if (fuse_set_signal_handlers(session) != 0) {
        fuse_loop_cfg_destroy(config);
        return DZ_FAIL(err, DZ_E_IO, "cannot take the signals that end a mount");
    }
    if (fuse_session_mount(session, m->how->at) != 0) {
        fuse_remove_signal_handlers(session);
        fuse_loop_cfg_destroy(config);
        return DZ_FAIL(err, DZ_E_IO, "cannot mount (is /dev/fuse there, and is it permitted?)");
    }
    rc = fuse_session_loop_mt(session, config); /* a signal's number, or -errno */
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
    fuse_loop_cfg_destroy(config);
    if (rc < 0) {
        errno = -rc;
        return DZ_FAIL_ERRNO(err, "the mount broke off");
    }
    return DZ_OK;
}

dz_status dz_mount(const struct dz_supply *supply, const dz_manifest_root *root,
                   const struct dz_mount_how *how, dz_err *err) {
    struct mounted m = { .supply = supply, .how = how, .root = *root };
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *session = NULL;
    char options[256];
    dz_status status = DZ_OK;

    if (how->name && (strlen(how->name) > 100 || strpbrk(how->name, ",\\")))
        return DZ_FAIL(err, DZ_E_USAGE, "the mount's name may not hold ',' or '\\'");
    DZ_TRY(dz_mount_tree_new(supply, root, &m.tree, err));
    (void) snprintf(options, sizeof options,
                    "ro,nosuid,nodev,default_permissions,subtype=dozo,fsname=%s%s",
                    how->name ? how->name : "dozo", how->allow_other ? ",allow_other" : "");
    if (fuse_opt_add_arg(&args, "dozo") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, options) == 0)
        session = fuse_session_new(&args, &ops, sizeof ops, &m);
    if (session)
        status = serve(&m, session, err);
    else
        status = DZ_FAIL(err, DZ_E_NOMEM, "cannot set up a FUSE session");
    if (session)
        fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    dz_mount_tree_free(m.tree);
    return status;
}
