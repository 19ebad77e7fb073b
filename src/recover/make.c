#include "recover/make.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "core/hex.h"
#include "core/os.h"
#include "core/text.h"
#include "recover/layout.h"

enum { TEMP_NAME = 6 + 32 + 1 };

/* One thing in the making. */
struct making {
    struct dz_maker *m;
    struct dz_target_dir *dir;
    int dirfd; /* borrowed from dir */
    const char *name;
    const dz_entry *e;
    struct dz_link *link; /* NULL, or what its first name is to leave behind */
    uint64_t size;        /* of the file once it is whole */
    mode_t mode;          /* to create with */
    const char *under;    /* the name it is made under: its own, or `temp` when it replaces */
    char temp[TEMP_NAME];
    struct stat there; /* what was found to be complete already */
    dz_err *err;
};

enum claim {
    CLAIM_MADE,
    CLAIM_PRESENT, /* was there, complete */
    CLAIM_REFUSED, /* has been named */
    CLAIM_END,     /* the restore ends: k->err says why */
};

dz_status dz_maker_init(struct dz_maker *m, struct dz_target *target,
                        const struct dz_supply *supply, struct dz_links *links, dz_err *err) {
    *m = (struct dz_maker){ .target = target, .supply = supply, .links = links };
    return dz_content_reader_new(&supply->nodes, &m->reader, err);
}

void dz_maker_done(struct dz_maker *m) {
    dz_content_reader_free(m->reader);
    m->reader = NULL;
}

/* --- What goes wrong -------------------------------------------------------------------------- */

static void left_out(struct making *k, const char *what, int sys_errno) {
    dz_target_problem(k->m->target, DZ_RESTORE_LEFT_OUT, k->dir, k->name, what, sys_errno);
}

/* True when no other file could be written either. */
static bool target_is_finished(int sys_errno) {
    return sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EROFS;
}

static dz_status finished(struct making *k, int sys_errno) {
    errno = sys_errno;
    return DZ_FAIL_ERRNO(k->err, "nothing more can be written to the target");
}

static const char *supply_problem(dz_status status) {
    if (status == DZ_E_NOT_FOUND)
        return N_("its content is missing from the vault");
    if (status == DZ_E_IO)
        return N_("its content could not be read from the vault");
    return N_("its content is damaged in the vault");
}

/* --- Names that are taken --------------------------------------------------------------------- */

static bool same_time(const struct stat *st, const dz_entry *e) {
    return st->st_mtim.tv_sec == e->mtime_s && st->st_mtim.tv_nsec == (long) e->mtime_ns;
}

static mode_t type_bits(uint8_t type) {
    static const mode_t bits[] = {
        [DZ_ENTRY_FILE] = S_IFREG,  [DZ_ENTRY_DIR] = S_IFDIR,     [DZ_ENTRY_SYMLINK] = S_IFLNK,
        [DZ_ENTRY_FIFO] = S_IFIFO,  [DZ_ENTRY_SOCKET] = S_IFSOCK, [DZ_ENTRY_CHAR] = S_IFCHR,
        [DZ_ENTRY_BLOCK] = S_IFBLK,
    };
    return type < sizeof bits / sizeof *bits ? bits[type] : 0;
}

static dev_t entry_rdev(const dz_entry *e) {
    dz_reader r = dz_reader_over(dz_entry_field(e, DZ_TAG_RDEV));
    uint64_t major = dz_read_varint(&r);
    uint64_t minor = dz_read_varint(&r);

    return makedev((unsigned) major, (unsigned) minor);
}

/* What is there is what we would make.  The time is set last, so it tells a whole file. */
static bool complete(struct making *k, const struct stat *st) {
    const dz_entry *e = k->e;

    if ((st->st_mode & S_IFMT) != type_bits(e->type) || !same_time(st, e))
        return false;
    if (e->type == DZ_ENTRY_FILE)
        return st->st_size >= 0 && (uint64_t) st->st_size == k->size;
    if (e->type == DZ_ENTRY_CHAR || e->type == DZ_ENTRY_BLOCK)
        return st->st_rdev == entry_rdev(e);
    if (e->type == DZ_ENTRY_SYMLINK) {
        dz_slice target = dz_entry_field(e, DZ_TAG_TARGET);
        char text[PATH_MAX];
        ssize_t n = dz_os->readlinkat(k->dirfd, k->name, text, sizeof text);

        return n >= 0 && dz_slice_eq(target, (dz_slice){ (const uint8_t *) text, (size_t) n });
    }
    return true;
}

static bool earlier(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* What is there was left half-made by an interrupted restore: it lies in a directory that one made
 * and did not complete, or a power cut took its data but not its time.  What this run made is no
 * leftover (--strip may give two files one name). */
static bool leftover(struct making *k, const struct stat *st) {
    const struct dz_target_dir *dir = k->dir;

    while (dir->alias)
        dir = dir->parent;
    if (!earlier(&st->st_ctim, &k->m->target->began))
        return false;
    return dir->leftover || (S_ISREG(st->st_mode) && k->e->type == DZ_ENTRY_FILE &&
                             same_time(st, k->e) && (uint64_t) st->st_size < k->size);
}

/* The same for the same name, so that a killed run's temporary file is found and replaced. */
static void name_temp(struct making *k) {
    uint8_t digest[DZ_SHA256_BYTES];

    dz_sha256((dz_slice){ (const uint8_t *) k->name, strlen(k->name) }, digest);
    memcpy(k->temp, ".dozo-", 6);
    dz_hex(digest, 16, k->temp + 6);
    k->under = k->temp;
}

/* The name is taken.  CLAIM_MADE: try again, under k->under. */
static enum claim make_way(struct making *k) {
    struct stat st;

    if (dz_os->fstatat(k->dirfd, k->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return CLAIM_MADE;
        left_out(k, N_("it could not be looked at"), errno);
        return CLAIM_REFUSED;
    }
    if (S_ISDIR(st.st_mode)) {
        left_out(k, N_("a directory is in the way"), EISDIR);
        return CLAIM_REFUSED;
    }
    if (k->m->target->how->overwrite) {
        name_temp(k);
        return CLAIM_MADE;
    }
    if (complete(k, &st)) {
        k->there = st;
        return CLAIM_PRESENT;
    }
    if (leftover(k, &st)) {
        if (dz_os->unlinkat(k->dirfd, k->name, 0) == 0 || errno == ENOENT)
            return CLAIM_MADE;
        left_out(k, N_("an interrupted restore's file could not be removed"), errno);
        return CLAIM_REFUSED;
    }
    left_out(k, N_("something else is there; --overwrite replaces it"), EEXIST);
    return CLAIM_REFUSED;
}

/* Makes it by `attempt` (a descriptor or 0; -1 with errno), whatever has the name already. */
static enum claim claim(struct making *k, int (*attempt)(struct making *k), int *ret_fd) {
    k->under = k->name;
    for (int tries = 0;; tries++) {
        int fd = attempt(k);

        if (fd >= 0) {
            *ret_fd = fd;
            return CLAIM_MADE;
        }
        if (target_is_finished(errno)) {
            (void) finished(k, errno);
            return CLAIM_END;
        }
        if (errno != EEXIST || tries > 3) {
            left_out(k, N_("it could not be made"), errno);
            return CLAIM_REFUSED;
        }
        if (k->under == k->temp) {
            (void) dz_os->unlinkat(k->dirfd, k->temp, 0);
        } else {
            enum claim way = make_way(k);

            if (way != CLAIM_MADE)
                return way;
        }
    }
}

static void give_up(struct making *k) {
    (void) dz_os->unlinkat(k->dirfd, k->under, 0);
}

/* Gives it its own name, when it was made under another. */
static bool settle(struct making *k) {
    if (k->under == k->name || dz_os->replace(k->dirfd, k->temp, k->dirfd, k->name) == 0)
        return true;
    left_out(k, N_("it could not be given its name"), errno);
    give_up(k);
    return false;
}

/* --- Files ------------------------------------------------------------------------------------ */

static int attempt_file(struct making *k) {
    return dz_os->openat(k->dirfd, k->under,
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_LARGEFILE,
                         k->mode);
}

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t at) {
    while (len > 0) {
        ssize_t n = dz_os->pwrite(fd, data, len, (off_t) at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        data += n;
        at += (uint64_t) n;
        len -= (size_t) n;
    }
    return 0;
}

static int write_chunk(int fd, dz_slice bytes, dz_layout *l) {
    while (bytes.len > 0) {
        size_t n;

        if (!dz_layout_step(l)) {
            errno = EFBIG; /* dz_layout_fits() has ruled it out */
            return -1;
        }
        n = bytes.len < l->left ? bytes.len : (size_t) l->left;
        if (write_at(fd, bytes.data, n, l->at) != 0)
            return -1;
        bytes = (dz_slice){ bytes.data + n, bytes.len - n };
        dz_layout_take(l, n);
    }
    return 0;
}

/* Fills the file.  `first` is its first chunk, held already (or without bytes); it is dropped. */
static dz_status fill(struct making *k, int fd, struct dz_held *first, bool *ret_whole) {
    const struct dz_supply *s = k->m->supply;
    dz_layout l = dz_layout_begin(dz_entry_field(k->e, DZ_TAG_EXTENTS), k->size);
    struct dz_held held = *first;
    bool holding = first->bytes.len > 0;

    *ret_whole = false;
    for (;;) {
        dz_content_span span;
        bool end = false;
        dz_status status;
        int failed = 0;

        if (holding) {
            if (write_chunk(fd, held.bytes, &l) != 0)
                failed = errno;
            s->drop(s->ctx, &held);
            if (failed) {
                if (target_is_finished(failed))
                    return finished(k, failed);
                left_out(k, N_("it could not be written"), failed);
                return DZ_OK;
            }
        }
        status = dz_content_reader_next(k->m->reader, &span, &end, k->err);
        if (status == DZ_OK && !end)
            status = s->hold(s->ctx, &span.id, &held, k->err);
        if (status == DZ_OK && !end && held.bytes.len != span.length) {
            s->drop(s->ctx, &held);
            status = DZ_E_CORRUPT;
        }
        if (status != DZ_OK) {
            if (!dz_supply_goes_on(status))
                return status;
            left_out(k, supply_problem(status), 0);
            return DZ_OK;
        }
        if (end)
            break;
        holding = true;
    }
    if (l.at < k->size && dz_os->ftruncate(fd, (off_t) k->size) != 0) { /* ends in a hole */
        if (target_is_finished(errno))
            return finished(k, errno);
        left_out(k, N_("it could not be written"), errno);
        return DZ_OK;
    }
    *ret_whole = true;
    return DZ_OK;
}

static void remember_link(struct making *k, const struct stat *st) {
    if (k->link) {
        k->link->dev = st->st_dev;
        k->link->ino = st->st_ino;
    }
}

/* Finds the first chunk before anything is made: most damaged files then leave no trace at all.
 * *ret_held has no bytes for a file without content. */
static dz_status begin_content(struct making *k, struct dz_held *ret_held, bool *ret_good) {
    const struct dz_supply *s = k->m->supply;
    struct dz_content_reader *r = k->m->reader;
    dz_content_span span;
    bool end = false;
    dz_status status = dz_content_reader_start(r, dz_entry_field(k->e, DZ_TAG_CONTENT), 0, k->err);

    *ret_good = false;
    *ret_held = (struct dz_held){ 0 };
    if (status == DZ_OK && !dz_layout_fits(k->e, dz_content_reader_size(r), &k->size))
        status = DZ_E_CORRUPT;
    if (status == DZ_OK)
        status = dz_content_reader_next(r, &span, &end, k->err);
    if (status == DZ_OK && !end)
        status = s->hold(s->ctx, &span.id, ret_held, k->err);
    if (status == DZ_OK && !end && ret_held->bytes.len != span.length) {
        s->drop(s->ctx, ret_held);
        status = DZ_E_CORRUPT;
    }
    if (status != DZ_OK && !dz_supply_goes_on(status))
        return status;
    if (status != DZ_OK)
        left_out(k, supply_problem(status), 0);
    *ret_good = status == DZ_OK;
    return DZ_OK;
}

static dz_status make_file(struct making *k, bool *ret_made) {
    const struct dz_supply *s = k->m->supply;
    struct dz_target *t = k->m->target;
    struct dz_target_dir *dir = k->dir;
    struct dz_target_thing thing = { 0 };
    struct dz_held first;
    bool good;
    int fd = -1;
    dz_status status;
    enum claim got;

    if (k->e->flags & DZ_ENTRY_UNREADABLE) {
        left_out(k, N_("it could not be read when the snapshot was made"), 0);
        return DZ_OK;
    }
    while (dir->alias)
        dir = dir->parent;
    DZ_TRY(begin_content(k, &first, &good));
    if (!good)
        return DZ_OK;

    thing.acl_inherits = dir->inherits;
    thing.owner_right = dir->ids_known && k->e->uid == t->uid && k->e->gid == dir->gid;
    thing.mode_right =
        !(k->e->mode & 07000) && !dir->inherits && dz_entry_field(k->e, DZ_TAG_XATTRS).len == 0;
    k->mode = thing.mode_right ? k->e->mode & 0777 : 0600;
    got = claim(k, attempt_file, &fd);
    if (got != CLAIM_MADE) {
        if (first.bytes.len > 0)
            s->drop(s->ctx, &first);
        if (got == CLAIM_PRESENT) {
            k->m->counts.present++;
            remember_link(k, &k->there);
            *ret_made = true;
        }
        return got == CLAIM_END ? k->err->status : DZ_OK;
    }
    status = fill(k, fd, &first, &good);
    if (status == DZ_OK && good) {
        struct stat st;

        thing.fd = fd;
        dz_target_set(t, &thing, k->e, k->dir, k->name);
        if (k->link && dz_os->fstat(fd, &st) == 0)
            remember_link(k, &st);
    }
    if (dz_os->close(fd) != 0 && status == DZ_OK && good && errno != EINTR) {
        if (target_is_finished(errno)) {
            status = finished(k, errno);
        } else {
            left_out(k, N_("it could not be written"), errno);
            good = false;
        }
    }
    if (status != DZ_OK || !good) {
        give_up(k);
        return status;
    }
    if (settle(k)) {
        k->m->counts.files++;
        k->m->counts.bytes += k->size;
        *ret_made = true;
    }
    return DZ_OK;
}

/* --- Everything else -------------------------------------------------------------------------- */

static int attempt_symlink(struct making *k) {
    dz_slice target = dz_entry_field(k->e, DZ_TAG_TARGET);
    char text[PATH_MAX];

    if (target.len == 0 || target.len >= sizeof text || memchr(target.data, 0, target.len)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(text, target.data, target.len);
    text[target.len] = '\0';
    return dz_os->symlinkat(text, k->dirfd, k->under);
}

static int attempt_node(struct making *k) {
    bool device = k->e->type == DZ_ENTRY_CHAR || k->e->type == DZ_ENTRY_BLOCK;

    return dz_os->mknodat(k->dirfd, k->under, type_bits(k->e->type) | 0600,
                          device ? entry_rdev(k->e) : 0);
}

/* Opens what was just made, by path only, and makes sure nobody has put something else there: its
 * owner is about to change. */
static int reach(struct making *k, struct stat *ret_st) {
    int fd = dz_os->openat(k->dirfd, k->under, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (dz_os->fstat(fd, ret_st) == 0 && (ret_st->st_mode & S_IFMT) == type_bits(k->e->type) &&
        ret_st->st_nlink == 1 && ret_st->st_uid == k->m->target->uid)
        return fd;
    (void) dz_os->close(fd);
    errno = ESTALE;
    return -1;
}

static dz_status make_other(struct making *k, bool *ret_made) {
    struct dz_target_thing thing = { .path_only = true };
    struct stat st;
    int unused;
    enum claim got;

    got = claim(k, k->e->type == DZ_ENTRY_SYMLINK ? attempt_symlink : attempt_node, &unused);
    if (got == CLAIM_PRESENT) {
        k->m->counts.present++;
        remember_link(k, &k->there);
        *ret_made = true;
    }
    if (got != CLAIM_MADE)
        return got == CLAIM_END ? k->err->status : DZ_OK;
    thing.fd = reach(k, &st);
    if (thing.fd < 0) {
        dz_target_problem(k->m->target, DZ_RESTORE_PARTIAL, k->dir, k->name,
                          N_("its attributes could not be set"), errno);
    } else {
        thing.owner_right = st.st_uid == k->e->uid && st.st_gid == k->e->gid;
        dz_target_set(k->m->target, &thing, k->e, k->dir, k->name);
        remember_link(k, &st);
        (void) dz_os->close(thing.fd);
    }
    if (settle(k)) {
        k->m->counts.others++;
        *ret_made = thing.fd >= 0;
    }
    return DZ_OK;
}

/* --- Hardlinks -------------------------------------------------------------------------------- */

struct linking {
    struct making making; /* first: attempt_link() finds the rest behind it */
    int fromfd;
    const struct dz_link *to;
};

static int attempt_link(struct making *k) {
    const struct linking *l = (const struct linking *) k;

    return dz_os->linkat(l->fromfd, l->to->name, k->dirfd, k->under, 0);
}

/* Makes another name of what `to` (DONE) stands for.  False: make a file of its own instead. */
static bool make_link(struct making *base, const struct dz_link *to, bool *ret_end) {
    struct linking l = { .making = *base, .to = to };
    struct making *k = &l.making;
    struct stat st;
    int unused;
    enum claim got;

    if (dz_os->fstatat(k->dirfd, k->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == to->dev &&
        st.st_ino == to->ino) {
        k->m->counts.present++;
        return true;
    }
    l.fromfd =
        dz_target_open_path(k->m->target, (dz_slice){ (const uint8_t *) to->dir, to->dir_len });
    if (l.fromfd < 0)
        return false;
    k->under = k->name;
    /* A first try of our own: what cannot be linked is copied, which is no problem to name. */
    if (attempt_link(k) == 0) {
        got = CLAIM_MADE;
    } else if (errno != EEXIST) {
        (void) dz_os->close(l.fromfd);
        return false;
    } else {
        got = make_way(k);
        if (got == CLAIM_MADE)
            got = claim(k, attempt_link, &unused);
    }
    (void) dz_os->close(l.fromfd);
    if (got == CLAIM_PRESENT) /* a copy: where an earlier run could not link */
        k->m->counts.present++;
    if (got == CLAIM_END)
        *ret_end = true;
    if (got != CLAIM_MADE)
        return true;
    if (dz_os->fstatat(k->dirfd, k->under, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != to->dev ||
        st.st_ino != to->ino) { /* the first name was swapped */
        give_up(k);
        return false;
    }
    if (settle(k)) {
        if (k->e->type == DZ_ENTRY_FILE)
            k->m->counts.files++;
        else
            k->m->counts.others++;
    }
    return true;
}

/* --- One entry -------------------------------------------------------------------------------- */

static dz_status make_one(struct making *k, bool *ret_made) {
    *ret_made = false;
    switch ((enum dz_entry_type) k->e->type) {
    case DZ_ENTRY_FILE:
        return make_file(k, ret_made);
    case DZ_ENTRY_SYMLINK:
    case DZ_ENTRY_FIFO:
    case DZ_ENTRY_CHAR:
    case DZ_ENTRY_BLOCK:
        return make_other(k, ret_made);
    case DZ_ENTRY_SOCKET:
    case DZ_ENTRY_DIR:
        break;
    }
    left_out(k, N_("its type is not known"), 0);
    return DZ_OK;
}

/* Where the other names will find it. */
static bool leave_trail(const struct making *k, struct dz_link *link) {
    dz_autobuf dz_buf dir = { 0 };

    dz_target_dir_path(k->dir, true, &dir);
    link->name = strdup(k->name);
    if (!link->name || !dz_buf_ok(&dir)) {
        free(link->name);
        link->name = NULL;
        return false;
    }
    link->dir = (char *) dir.data;
    link->dir_len = dir.len;
    dir = (dz_buf){ 0 };
    return true;
}

dz_status dz_make(struct dz_maker *m, struct dz_target_dir *dir, const char *name,
                  const dz_entry *e, struct dz_link *link, dz_err *err) {
    dz_err own = { 0 };
    struct making k = {
        .m = m, .dir = dir, .name = name, .e = e, .size = e->size, .err = err ? err : &own
    };
    bool made, end = false;
    dz_status status;

    k.dirfd = dz_target_dir_fd(m->target, dir);
    if (!link)
        return make_one(&k, &made);

    dz_links_lock(m->links);
    while (link->state == DZ_LINK_BUSY)
        dz_links_wait(m->links);
    if (link->state == DZ_LINK_DONE) {
        dz_links_unlock(m->links, false);
        if (make_link(&k, link, &end))
            return end ? k.err->status : DZ_OK;
        status = make_one(&k, &made);
        if (status == DZ_OK && made)
            dz_target_problem(m->target, DZ_RESTORE_PARTIAL, dir, name,
                              N_("could not be linked; made as one of its own"), 0);
        return status;
    }
    link->state = DZ_LINK_BUSY;
    dz_links_unlock(m->links, false);
    k.link = link;
    status = make_one(&k, &made);
    dz_links_lock(m->links);
    link->state = made && leave_trail(&k, link) ? DZ_LINK_DONE : DZ_LINK_NONE;
    dz_links_unlock(m->links, true);
    return status;
}
