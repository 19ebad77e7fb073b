#include "intake/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <sys/vfs.h>

#include "core/buf.h"

enum {
    DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
    /* searching a directory above a root is enough: reading it may be forbidden */
    LEAD_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    LEVELS_MAX = 1 << 16,
    DEEP_PATH = 256 << 10, /* bytes: what lies deeper could not stand in a manifest */
};

/* A directory that is being walked: its names, sorted, and how far we are. */
struct level {
    struct dz_dir *dir;
    char *names;     /* owned: NUL-terminated names, one after the other */
    uint32_t *order; /* owned: offsets of the names, sorted */
    size_t n, next;
    size_t path_len; /* of the directory's own path */
    dev_t dev;
};

struct file_system {
    dev_t dev;
    uint64_t id;
};

struct dz_scan {
    struct dz_scan_how how;
    char **roots;  /* absolute, sorted in tree order, none inside another; owned */
    char **within; /* those inside another root: with one_file_system they open what is mounted
                      there */
    size_t n_roots, next_root, n_within;
    /* the way from "/" down to the root that is next: its directories are items too */
    size_t lead;  /* bytes of the root's path already given as leading directories */
    dz_buf shown; /* the last leading directory given, so that roots share theirs */
    struct level *levels;
    size_t depth, cap;
    dz_buf path;
    atomic_uint *open_count; /* shared with directories that outlive the scan */
    struct dz_dir *lead_dir; /* directory of the leading item, or of a root */
    struct file_system *fs;  /* those met so far */
    size_t n_fs, last_fs;
};

struct dz_dir *dz_dir_ref(struct dz_dir *d) {
    (void) atomic_fetch_add(&d->refs, 1);
    return d;
}

void dz_dir_unref(struct dz_dir *d) {
    if (!d || atomic_fetch_sub(&d->refs, 1) != 1)
        return;
    (void) close(d->fd);
    if (atomic_fetch_sub(d->open_count, 1) == 1)
        free(d->open_count); /* the scan holds one count itself */
    free(d);
}

static struct dz_dir *dir_new(struct dz_scan *s, int fd) {
    struct dz_dir *d = calloc(1, sizeof *d);

    if (!d) {
        (void) close(fd);
        return NULL;
    }
    d->fd = fd;
    d->open_count = s->open_count;
    atomic_init(&d->refs, 1);
    (void) atomic_fetch_add(s->open_count, 1);
    return d;
}

unsigned dz_scan_open_dirs(const struct dz_scan *s) {
    return atomic_load(s->open_count) - 1;
}

size_t dz_scan_roots(const struct dz_scan *s, char *const **ret_roots) {
    *ret_roots = s->roots;
    return s->n_roots;
}

static void level_release(struct level *l) {
    dz_dir_unref(l->dir);
    free(l->names);
    free(l->order);
    *l = (struct level){ 0 };
}

void dz_scan_free(struct dz_scan *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->n_roots; i++)
        free(s->roots[i]);
    for (size_t i = 0; i < s->n_within; i++)
        free(s->within[i]);
    free(s->roots);
    free(s->within);
    while (s->depth)
        level_release(&s->levels[--s->depth]);
    free(s->levels);
    free(s->fs);
    dz_dir_unref(s->lead_dir);
    dz_buf_release(&s->path);
    dz_buf_release(&s->shown);
    if (atomic_fetch_sub(s->open_count, 1) == 1)
        free(s->open_count);
    free(s);
}

/* --- roots ------------------------------------------------------------------------------------ */

/* Tree order of absolute paths: byte order with '/' lowest. */
static int by_tree(const void *a, const void *b) {
    const unsigned char *p, *q;
    const char *x, *y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    p = (const unsigned char *) x;
    q = (const unsigned char *) y;
    while (*p && *p == *q) {
        p++;
        q++;
    }
    if (*p == *q)
        return 0;
    if (!*p || !*q)
        return *p ? 1 : -1;
    if (*p == '/' || *q == '/')
        return *p == '/' ? -1 : 1;
    return *p < *q ? -1 : 1;
}

static bool inside(const char *outer, const char *path) {
    size_t n = strlen(outer);
    return strcmp(outer, "/") == 0 ||
           (strncmp(outer, path, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

static dz_status resolve(struct dz_scan *s, dz_err *err) {
    size_t kept = 0;

    s->roots = calloc(s->how.n_paths + 1, sizeof *s->roots);
    s->within = calloc(s->how.n_paths + 1, sizeof *s->within);
    if (!s->roots || !s->within)
        return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
    for (size_t i = 0; i < s->how.n_paths; i++) {
        s->roots[i] = realpath(s->how.paths[i], NULL);
        if (!s->roots[i])
            return errno == ENOENT
                       ? DZ_FAIL(err, DZ_E_NOT_FOUND, "path number %zu is not there", i + 1)
                       : DZ_FAIL_ERRNO(err, "path number %zu", i + 1);
        s->n_roots++;
    }
    qsort(s->roots, s->n_roots, sizeof *s->roots, by_tree);
    for (size_t i = 0; i < s->n_roots; i++) {
        if (kept > 0 && inside(s->roots[kept - 1], s->roots[i]))
            s->within[s->n_within++] = s->roots[i];
        else
            s->roots[kept++] = s->roots[i];
    }
    s->n_roots = kept;
    return DZ_OK;
}

dz_status dz_scan_new(const struct dz_scan_how *how, struct dz_scan **ret_scan, dz_err *err) {
    struct dz_scan *blank = calloc(1, sizeof *blank);
    DZ_AUTO(dz_scan) s = NULL;

    if (blank)
        blank->open_count = malloc(sizeof *blank->open_count);
    if (!blank || !blank->open_count) {
        free(blank);
        return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
    }
    s = blank;
    atomic_init(s->open_count, 1);
    s->how = *how;
    DZ_TRY(resolve(s, err));
    *ret_scan = DZ_TAKE(s);
    return DZ_OK;
}

/* --- directories ------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b, void *names) {
    const char *base = names;
    uint32_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return strcmp(base + x, base + y); /* strcmp compares as unsigned char */
}

/* Reads and sorts all names.  Gives 0, or the errno that stopped it (what came before is kept), or
 * -1 when memory ran out. */
static int list(int fd, struct level *l) {
    dz_autobuf dz_buf names = { 0 }, order = { 0 };
    int twin = fcntl(fd, F_DUPFD_CLOEXEC, 0), failed; /* "." would have to be searched */
    DIR *d = twin >= 0 ? fdopendir(twin) : NULL;
    struct dirent *e;

    if (!d) {
        failed = errno;
        if (twin >= 0)
            (void) close(twin);
        return failed;
    }
    for (errno = 0; (e = readdir(d)); errno = 0) {
        uint32_t at = (uint32_t) names.len;

        if (e->d_name[0] == '.' &&
            (e->d_name[1] == '\0' || (e->d_name[1] == '.' && e->d_name[2] == '\0')))
            continue;
        if (names.len > UINT32_MAX - 4096)
            break; /* seen below: an entry is left */
        dz_buf_put(&names, e->d_name, strlen(e->d_name) + 1);
        dz_buf_put(&order, &at, sizeof at);
    }
    failed = e ? EOVERFLOW : errno;
    (void) closedir(d);
    if (!dz_buf_ok(&names) || !dz_buf_ok(&order))
        return -1;
    l->n = order.len / sizeof *l->order;
    l->order = (uint32_t *) (void *) DZ_TAKE(order.data);
    l->names = (char *) DZ_TAKE(names.data);
    if (l->n > 1)
        qsort_r(l->order, l->n, sizeof *l->order, by_name, l->names);
    return failed;
}

/* The file system's own id, which ext4, xfs and btrfs derive from their UUID. */
static uint64_t fs_id(int dirfd, const char *name) {
    dz_autoclose int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct statfs fs;
    uint64_t id = 0;

    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return 1;
    memcpy(&id, &fs.f_fsid, sizeof id < sizeof fs.f_fsid ? sizeof id : sizeof fs.f_fsid);
    return (id ^ (uint64_t) fs.f_type << 32) | 1;
}

/* A stable name of the file system `dev`, where `name` lies.  Two that have the same id (a cloned
 * disk, kinds without ids) are told apart in the order they are met: otherwise files of both that
 * have the same inode number would be taken for names of one. */
static dz_status fs_of(struct dz_scan *s, int dirfd, const char *name, dev_t dev, uint64_t *ret_id,
                       dz_err *err) {
    struct file_system *grown;
    uint64_t id;

    if (s->n_fs == 0 || s->fs[s->last_fs].dev != dev) {
        size_t i = 0;

        while (i < s->n_fs && s->fs[i].dev != dev)
            i++;
        if (i == s->n_fs) {
            id = fs_id(dirfd, name);
            for (size_t k = 0; k < s->n_fs; k++)
                if (s->fs[k].id == id) {
                    id += 2;
                    k = (size_t) -1; /* look through all of them again */
                }
            grown = reallocarray(s->fs, s->n_fs + 1, sizeof *grown);
            if (!grown)
                return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
            s->fs = grown;
            s->fs[s->n_fs++] = (struct file_system){ dev, id };
        }
        s->last_fs = i;
    }
    *ret_id = s->fs[s->last_fs].id;
    return DZ_OK;
}

static bool excluded(const struct dz_scan *s, dz_slice path, const char *name) {
    for (size_t i = 0; i < s->how.n_excludes; i++) {
        const char *glob = s->how.excludes[i];
        /* path.data[-1] is the '/' that the buffer keeps in front */
        if (fnmatch(glob, strchr(glob, '/') ? (const char *) path.data - 1 : name, 0) == 0)
            return true;
    }
    return false;
}

static dz_status push(struct dz_scan *s, struct dz_dir *dir, dev_t dev, int *ret_errno,
                      dz_err *err) {
    struct level *l;

    if (s->depth == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 32;
        struct level *grown = reallocarray(s->levels, cap, sizeof *grown);
        if (!grown) {
            dz_dir_unref(dir);
            return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
        }
        s->levels = grown;
        s->cap = cap;
    }
    l = &s->levels[s->depth++];
    *l = (struct level){ .dir = dir, .path_len = s->path.len, .dev = dev };
    *ret_errno = list(dir->fd, l);
    if (*ret_errno < 0)
        return DZ_FAIL(err, DZ_E_NOMEM, "directory of many entries: out of memory");
    return DZ_OK;
}

/* Puts "/" in front once, so that s->path.data + 1 is the manifest's path. */
static bool set_path(struct dz_scan *s, size_t base, const char *name) {
    s->path.len = base;
    if (base == 0 || s->path.data[base - 1] != '/')
        dz_buf_put_u8(&s->path, '/');
    dz_buf_put(&s->path, name, strlen(name) + 1);
    if (!dz_buf_ok(&s->path))
        return false;
    s->path.len--; /* the NUL stays behind the end */
    return true;
}

static bool is_skipped(const struct dz_scan *s, const struct stat *st) {
    return S_ISDIR(st->st_mode) && st->st_dev == s->how.skip_dev && st->st_ino == s->how.skip_ino;
}

/* With one_file_system: whether the mount point is left closed.  One that was named, or that leads
 * to what was named, is entered all the same. */
static bool stays_closed(const struct dz_scan *s, const struct dz_scan_item *item) {
    if (!item->mount_point || !s->how.one_file_system || s->depth == 0) /* 0: a root */
        return false;
    for (size_t i = 0; i < s->n_within; i++)
        if (inside((const char *) s->path.data, s->within[i]))
            return false;
    return true;
}

/* One deep tree must not cost all the rest. */
static bool too_deep(const struct dz_scan *s) {
    return s->depth >= (s->how.depth_max ? s->how.depth_max : LEVELS_MAX) ||
           s->path.len > DEEP_PATH;
}

/* Opens and lists the item's directory, so that what cannot be listed is said with its own item. */
static dz_status enter(struct dz_scan *s, dev_t parent_dev, struct dz_scan_item *item,
                       bool *ret_skip, dz_err *err) {
    struct dz_dir *sub;
    int fd;

    if (too_deep(s)) {
        item->list_errno = ENAMETOOLONG;
        return DZ_OK;
    }
    fd = openat(item->dir->fd, item->name, DIR_FLAGS);
    if (fd < 0) {
        item->list_errno = errno;
        if (item->list_errno == EMFILE || item->list_errno == ENFILE)
            return DZ_FAIL(err, DZ_E_LIMIT,
                           "%u directories are open; raise the limit of open files (ulimit -n)",
                           dz_scan_open_dirs(s));
        return DZ_OK;
    }
    sub = dir_new(s, fd);
    if (!sub)
        return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
    /* what was opened counts: another directory may stand there by now, or an automount came */
    if (fstat(fd, &item->st) == 0) {
        item->mount_point = item->st.st_dev != parent_dev;
        *ret_skip = is_skipped(s, &item->st);
        if (*ret_skip || stays_closed(s, item)) {
            dz_dir_unref(sub);
            return DZ_OK;
        }
    }
    return push(s, sub, item->st.st_dev, &item->list_errno, err);
}

/* Fills the item for `name` in `dir`; below a leading directory only the next one counts. */
static dz_status visit(struct dz_scan *s, struct dz_dir *dir, dev_t parent_dev, bool leading,
                       struct dz_scan_item *item, bool *ret_skip, dz_err *err) {
    const char *name = strrchr((const char *) s->path.data, '/') + 1;

    *item = (struct dz_scan_item){ .path = { s->path.data + 1, s->path.len - 1 },
                                   .name = name,
                                   .dir = dir };
    *ret_skip = !leading && excluded(s, item->path, name);
    if (*ret_skip)
        return DZ_OK;
    if (fstatat(dir->fd, name, &item->st, AT_SYMLINK_NOFOLLOW) < 0) {
        item->list_errno = errno;
        item->gone = true;
        return DZ_OK;
    }
    item->mount_point = S_ISDIR(item->st.st_mode) && item->st.st_dev != parent_dev;
    *ret_skip = !leading && is_skipped(s, &item->st);
    if (S_ISDIR(item->st.st_mode) && !leading && !*ret_skip && !stays_closed(s, item))
        DZ_TRY(enter(s, parent_dev, item, ret_skip, err));
    return fs_of(s, dir->fd, name, item->st.st_dev, &item->fs, err);
}

/* The next leading directory of the next root, or the root itself. */
static dz_status next_lead(struct dz_scan *s, struct dz_scan_item *item, bool *ret_skip,
                           dz_err *err) {
    const char *root = s->roots[s->next_root];
    const char *end;
    bool is_root;
    struct stat st = { 0 };

    *ret_skip = true;
    if (s->lead == 0) { /* start from "/" */
        int fd = open("/", root[1] == '\0' ? DIR_FLAGS : LEAD_FLAGS);
        dz_dir_unref(s->lead_dir);
        s->lead_dir = fd < 0 ? NULL : dir_new(s, fd);
        if (!s->lead_dir)
            return DZ_FAIL_ERRNO(err, "opening the root directory");
        s->lead = 1;
        if (root[1] == '\0') { /* "/" itself was asked for: it has no name, only what is in it */
            int failed = 0;
            s->path.len = 0;
            s->next_root++;
            s->lead = 0;
            if (fstat(s->lead_dir->fd, &st) < 0)
                return DZ_FAIL_ERRNO(err, "the root directory");
            DZ_TRY(push(s, dz_dir_ref(s->lead_dir), st.st_dev, &failed, err));
            return failed > 0 ? DZ_FAIL(err, DZ_E_IO, "the root directory cannot be listed")
                              : DZ_OK;
        }
    } else { /* go down into the directory given last */
        int fd = openat(s->lead_dir->fd, strrchr((const char *) s->path.data, '/') + 1, LEAD_FLAGS);
        if (fd < 0)
            return DZ_FAIL_ERRNO(err, "a directory above path number %zu", s->next_root + 1);
        dz_dir_unref(s->lead_dir);
        s->lead_dir = dir_new(s, fd);
        if (!s->lead_dir)
            return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
    }
    end = strchr(root + s->lead, '/');
    is_root = end == NULL;
    s->path.len = 0;
    dz_buf_put(&s->path, root, is_root ? strlen(root) : (size_t) (end - root));
    dz_buf_put_u8(&s->path, 0);
    if (!dz_buf_ok(&s->path))
        return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
    s->path.len--;
    s->lead = is_root ? 0 : (size_t) (end - root) + 1;
    if (is_root)
        s->next_root++;
    if (fstat(s->lead_dir->fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "a directory above path number %zu", s->next_root + 1);
    DZ_TRY(visit(s, s->lead_dir, st.st_dev, !is_root, item, ret_skip, err));
    if (!is_root && !*ret_skip) {
        /* roots that share leading directories show them once */
        size_t n = s->path.len;
        *ret_skip = s->shown.len >= n && memcmp(s->shown.data, s->path.data, n) == 0 &&
                    (s->shown.len == n || s->shown.data[n] == '/');
        if (!*ret_skip) {
            dz_buf_clear(&s->shown);
            dz_buf_put_slice(&s->shown, dz_buf_slice(&s->path));
        }
    }
    return DZ_OK;
}

dz_status dz_scan_next(struct dz_scan *s, struct dz_scan_item *ret_item, bool *ret_end,
                       dz_err *err) {
    *ret_end = false;
    for (;;) {
        bool skip = false;

        if (s->depth > 0) {
            struct level *l = &s->levels[s->depth - 1];

            if (l->next == l->n) {
                level_release(l);
                s->depth--;
                continue;
            }
            if (!set_path(s, l->path_len, l->names + l->order[l->next++]))
                return DZ_FAIL(err, DZ_E_NOMEM, "scan: out of memory");
            DZ_TRY(visit(s, l->dir, l->dev, false, ret_item, &skip, err));
        } else if (s->next_root < s->n_roots) {
            DZ_TRY(next_lead(s, ret_item, &skip, err));
        } else {
            *ret_end = true;
            return DZ_OK;
        }
        if (!skip)
            return DZ_OK;
    }
}
