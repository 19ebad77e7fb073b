#include "intake/local.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/sysmacros.h>

#include "store/commit.h"

enum {
    TARGET_MAX = 65536, /* bytes of a symlink's target */
    LINK_ID_BYTES = 16,
};
/* File systems stamp times with a coarse clock; what changed within its tick may change again
 * without a new stamp. */
static const int64_t tick_ns = 20 * 1000000;

void dz_local_problem(struct dz_local *l, uint8_t what, int e) {
    if (l->problem == 0 || what == DZ_PROBLEM_UNREADABLE) {
        l->problem = e ? e : EIO;
        l->what = what;
    }
}

struct dz_local dz_local_of(const struct dz_scan_item *from) {
    struct dz_local l = { .st = from->st, .fs = from->fs, .gone = from->gone };

    if (from->mount_point)
        l.flags |= DZ_ENTRY_MOUNT_POINT;
    if (from->list_errno) {
        l.flags |= from->gone ? 0u : (uint32_t) DZ_ENTRY_UNREADABLE;
        dz_local_problem(&l, DZ_PROBLEM_UNREADABLE, from->list_errno);
    }
    return l;
}

bool dz_local_same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool dz_local_settled(const struct dz_local_how *how, const struct stat *st) {
    /* no fraction at all: a file system that counts whole seconds, or two at a time */
    int64_t tick = st->st_ctim.tv_nsec || st->st_mtim.tv_nsec ? tick_ns : 2 * 1000000000LL;
    int64_t limit = how->began_us * 1000 - tick, limit_s = limit / 1000000000;

    return st->st_ctim.tv_sec < limit_s ||
           (st->st_ctim.tv_sec == limit_s && st->st_ctim.tv_nsec < limit % 1000000000);
}

/* --- regular files ---------------------------------------------------------------------------- */

static int open_to_read(const struct dz_dir *dir, const char *name) {
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dir->fd, name, flags | O_NOATIME);

    return fd < 0 && errno == EPERM ? openat(dir->fd, name, flags) : fd;
}

int dz_local_open(struct dz_local *l, const struct dz_dir *dir, const char *name) {
    dz_autoclose int fd = open_to_read(dir, name);
    struct stat st;
    int e = 0, opened;

    if (fd < 0 || fstat(fd, &st) < 0)
        e = errno;
    else if (!S_ISREG(st.st_mode))
        e = ESTALE; /* replaced since it was listed */
    if (e) {
        dz_local_problem(l, DZ_PROBLEM_UNREADABLE, e);
        l->flags |= DZ_ENTRY_UNREADABLE;
        l->gone = e == ENOENT || e == ESTALE;
        return -1;
    }
    l->st = st;
    opened = fd;
    fd = -1;
    return opened;
}

void dz_local_finish(const struct dz_local_how *how, struct dz_local *l, int fd, uint64_t read,
                     uint64_t wanted, int failed) {
    struct stat after;

    if (failed) {
        l->flags |= DZ_ENTRY_UNREADABLE;
        dz_local_problem(l, DZ_PROBLEM_UNREADABLE, failed);
    } else if (fstat(fd, &after) < 0 || !dz_local_same(&l->st, &after) || read != wanted) {
        l->flags |= DZ_ENTRY_CHANGED;
        dz_local_problem(l, DZ_PROBLEM_CHANGED, EAGAIN);
    }
    l->remember = l->problem == 0 && dz_local_settled(how, &l->st);
}

static void put_link(const struct dz_local_how *how, const struct dz_local *l, dz_buf *fields) {
    uint8_t id[LINK_ID_BYTES], what[16];

    if (l->st.st_nlink < 2 || S_ISDIR(l->st.st_mode))
        return;
    dz_store_le(what, 8, l->fs);
    dz_store_le(what + 8, 8, l->st.st_ino);
    (void) crypto_generichash(id, sizeof id, what, sizeof what, how->secret, sizeof how->secret);
    dz_entry_put_field(fields, DZ_TAG_LINK, (dz_slice){ id, sizeof id });
}

void dz_local_put_file(const struct dz_local_how *how, struct dz_local *l, const char *name, int fd,
                       const struct dz_extents *x, dz_buf *fields) {
    int e;

    dz_extents_put(x, fields);
    e = dz_xattrs_put(fd, -1, name, fields);
    if (e)
        dz_local_problem(l, DZ_PROBLEM_PARTIAL, e);
    put_link(how, l, fields);
}

/* --- all others ------------------------------------------------------------------------------- */

static void read_symlink(struct dz_local *l, const struct dz_dir *dir, const char *name,
                         dz_buf *fields) {
    dz_autofree uint8_t *target = malloc(TARGET_MAX); /* st_size is not to be relied on */
    ssize_t len = target ? readlinkat(dir->fd, name, (char *) target, TARGET_MAX) : -1;

    if (len < 0 || len == TARGET_MAX) { /* filled to the brim: there may be more */
        dz_local_problem(l, DZ_PROBLEM_UNREADABLE, len < 0 ? errno : ENAMETOOLONG);
        l->gone = true;
        return;
    }
    l->st.st_size = len;
    dz_entry_put_field(fields, DZ_TAG_TARGET, (dz_slice){ target, (size_t) len });
}

static void put_rdev(const struct dz_local *l, dz_buf *fields) {
    dz_autobuf dz_buf value = { 0 };

    dz_buf_put_varint(&value, major(l->st.st_rdev));
    dz_buf_put_varint(&value, minor(l->st.st_rdev));
    if (!dz_buf_ok(&value))
        fields->bad = true;
    dz_entry_put_field(fields, DZ_TAG_RDEV, dz_buf_slice(&value));
}

void dz_local_put_other(const struct dz_local_how *how, struct dz_local *l,
                        const struct dz_dir *dir, const char *name, dz_buf *fields) {
    dz_autobuf dz_buf target = { 0 };
    int e;

    if (S_ISLNK(l->st.st_mode))
        read_symlink(l, dir, name, &target);
    e = l->gone ? 0 : dz_xattrs_put(-1, dir->fd, name, fields);
    if (e)
        dz_local_problem(l, DZ_PROBLEM_PARTIAL, e);
    dz_buf_put_slice(fields, dz_buf_slice(&target));
    if (!dz_buf_ok(&target))
        fields->bad = true;
    if (S_ISCHR(l->st.st_mode) || S_ISBLK(l->st.st_mode))
        put_rdev(l, fields);
    put_link(how, l, fields);
}

/* --- the entry -------------------------------------------------------------------------------- */

static uint8_t type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return DZ_ENTRY_FILE;
    case S_IFDIR:
        return DZ_ENTRY_DIR;
    case S_IFLNK:
        return DZ_ENTRY_SYMLINK;
    case S_IFIFO:
        return DZ_ENTRY_FIFO;
    case S_IFSOCK:
        return DZ_ENTRY_SOCKET;
    case S_IFCHR:
        return DZ_ENTRY_CHAR;
    case S_IFBLK:
        return DZ_ENTRY_BLOCK;
    default:
        return 0;
    }
}

dz_entry dz_local_entry(const struct dz_local *l, dz_slice path, dz_slice fields) {
    const struct stat *st = &l->st;

    return (dz_entry){
        .path = path,
        .type = type_of(st->st_mode),
        .mode = (uint16_t) (st->st_mode & 07777),
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mtime_s = st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t) st->st_mtim.tv_nsec,
        .size = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) ? (uint64_t) st->st_size : 0,
        .flags = l->flags,
        .fields = fields,
    };
}
