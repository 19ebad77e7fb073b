#include "recover/target.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include "core/os.h"
#include "core/text.h"

enum {
    PIECE = PATH_MAX - 1, /* bytes of a path that one system call takes */
    COARSE_TICK_NS =
        10 * 1000 * 1000,  /* of CLOCK_REALTIME_COARSE at 100 Hz, the slowest there is */
    KEEP_EVERY = 512,      /* levels that stay open, so that reopening never starts far above */
    DIR_BUDGET_MAX = 8192, /* more would only cost the kernel memory */
};

/* --- Names ------------------------------------------------------------------------------------ */

void dz_target_dir_path(const struct dz_target_dir *d, bool below, dz_buf *to) {
    size_t total = 0;
    uint8_t *end;

    for (const struct dz_target_dir *p = d; p->parent; p = p->parent)
        if (!(below && p->alias))
            total += strlen(p->name) + (total > 0);
    if (total == 0)
        return;
    end = dz_buf_extend(to, total);
    if (!end)
        return;
    end += total;
    for (const struct dz_target_dir *p = d; p->parent; p = p->parent) {
        size_t n = strlen(p->name);

        if (below && p->alias)
            continue;
        end -= n;
        memcpy(end, p->name, n);
        total -= n;
        if (total > 0) {
            *--end = '/';
            total--;
        }
    }
}

void dz_target_problem_at(struct dz_target *t, enum dz_restore_problem kind, dz_slice path,
                          const char *what, int sys_errno) {
    pthread_mutex_lock(&t->lock);
    if (kind == DZ_RESTORE_LEFT_OUT)
        t->counts.left_out++;
    else if (kind == DZ_RESTORE_PARTIAL)
        t->counts.partial++;
    if (t->how->problem)
        t->how->problem(t->how->ctx, kind, path, what, sys_errno);
    pthread_mutex_unlock(&t->lock);
}

void dz_target_problem(struct dz_target *t, enum dz_restore_problem kind,
                       const struct dz_target_dir *d, const char *name, const char *what,
                       int sys_errno) {
    dz_autobuf dz_buf path = { 0 };

    dz_target_dir_path(d, false, &path);
    if (name) {
        if (path.len > 0)
            dz_buf_put_u8(&path, '/');
        dz_buf_put(&path, name, strlen(name));
    }
    dz_target_problem_at(t, kind, dz_buf_slice(&path), what, sys_errno); /* no memory: cut short */
}

/* --- Descriptors ------------------------------------------------------------------------------ */

/* Opens a directory below `from`, in pieces that the kernel takes. */
static int open_pieces(int from, dz_slice path) {
    int at = from;

    while (path.len > 0) {
        char piece[PIECE + 1];
        size_t n = path.len;
        int next;

        if (n > PIECE) {
            for (n = PIECE; n > 0 && path.data[n] != '/'; n--)
                ;
            if (n == 0) {
                next = -1;
                errno = ENAMETOOLONG;
                goto step;
            }
        }
        memcpy(piece, path.data, n);
        piece[n] = '\0';
        n += n < path.len;
        path = (dz_slice){ path.data + n, path.len - n };
        next = dz_os->open_beneath(at, piece, O_RDONLY);
        if (next < 0 && errno == EACCES)
            next = dz_os->open_beneath(at, piece, O_PATH);
    step:
        if (at != from) {
            int keep = errno;
            (void) dz_os->close(at);
            errno = keep;
        }
        if (next < 0)
            return -1;
        at = next;
    }
    if (at == from)
        errno = EINVAL;
    return at == from ? -1 : at;
}

int dz_target_open_path(struct dz_target *t, dz_slice path) {
    return path.len == 0 ? fcntl(t->top->fd, F_DUPFD_CLOEXEC, 0) : open_pieces(t->top->fd, path);
}

static int reopen(struct dz_target *t, struct dz_target_dir *d) {
    dz_autobuf dz_buf path = { 0 };
    struct dz_target_dir *from = d->parent;
    size_t total = strlen(d->name);
    uint8_t *end;
    struct stat st;
    int fd;

    for (; from->alias || from->fd < 0; from = from->parent)
        if (!from->alias)
            total += strlen(from->name) + 1;
    end = dz_buf_extend(&path, total);
    if (!end) {
        errno = ENOMEM;
        return -1;
    }
    end += total;
    for (struct dz_target_dir *p = d; p != from; p = p->parent) {
        size_t n = strlen(p->name);

        if (p->alias)
            continue;
        end -= n;
        memcpy(end, p->name, n);
        if (end > path.data)
            *--end = '/';
    }
    fd = open_pieces(from->fd, dz_buf_slice(&path));
    if (fd < 0)
        return -1;
    if (dz_os->fstat(fd, &st) != 0 || st.st_dev != d->dev || st.st_ino != d->ino) {
        (void) dz_os->close(fd);
        errno = ESTALE; /* somebody swapped it while we were away */
        return -1;
    }
    atomic_fetch_add(&t->dirs_open, 1);
    return fd;
}

int dz_target_dir_fd(struct dz_target *t, struct dz_target_dir *d) {
    while (d->alias)
        d = d->parent;
    if (atomic_load(&d->busy) == 0 && d->parent) { /* else it is open and stays so */
        pthread_mutex_lock(&t->reopen_lock);
        if (d->fd < 0)
            d->fd = reopen(t, d);
        pthread_mutex_unlock(&t->reopen_lock);
    }
    return d->fd;
}

/* Closes directories far above the walker; only the walker may make them busy again. */
static void evict(struct dz_target *t) {
    if (t->evicted > t->depth)
        t->evicted = t->depth;
    while (atomic_load(&t->dirs_open) > t->dir_budget && t->evicted + 1 < t->depth) {
        struct dz_target_dir *d = t->stack[t->evicted++].dir;

        if (d->alias || d->depth % KEEP_EVERY == 0 || atomic_load(&d->busy) > 0)
            continue;
        pthread_mutex_lock(&t->reopen_lock);
        if (d->fd >= 0) {
            (void) dz_os->close(d->fd);
            d->fd = -1;
            atomic_fetch_sub(&t->dirs_open, 1);
        }
        pthread_mutex_unlock(&t->reopen_lock);
    }
}

/* --- A directory's life ----------------------------------------------------------------------- */

/* Everything below it is done: it gets its own attributes. */
static void complete(struct dz_target *t, struct dz_target_dir *d) {
    struct dz_target_thing thing = { .owner_right = d->owner_right, .acl_inherits = false };

    if (d->made) {
        thing.fd = dz_target_dir_fd(t, d);
        if (thing.fd < 0)
            dz_target_problem(t, DZ_RESTORE_PARTIAL, d, NULL,
                              N_("the directory's attributes could not be set"), errno);
        else if (d->has_entry)
            dz_target_set(t, &thing, &d->entry, d, NULL);
        else if (dz_os->fchmod(thing.fd, 0777 & ~t->umask) != 0)
            dz_target_problem(t, DZ_RESTORE_PARTIAL, d, NULL, N_("mode could not be set"), errno);
    }
    if (!d->alias && d->fd >= 0) {
        (void) dz_os->close(d->fd);
        atomic_fetch_sub(&t->dirs_open, 1);
    }
}

static void unref(struct dz_target *t, struct dz_target_dir *d) {
    while (d && atomic_fetch_sub(&d->refs, 1) == 1) {
        struct dz_target_dir *parent = d->parent;
        uint8_t *fields;

        complete(t, d);
        memcpy(&fields, &d->entry.fields.data, sizeof fields); /* ours: not const */
        free(fields);
        free(d);
        d = parent;
    }
}

void dz_target_dir_hold(struct dz_target_dir *d) {
    atomic_fetch_add(&d->refs, 1);
    while (d->alias)
        d = d->parent;
    atomic_fetch_add(&d->busy, 1);
}

void dz_target_dir_release(struct dz_target *t, struct dz_target_dir *d) {
    struct dz_target_dir *real = d;

    while (real->alias)
        real = real->parent;
    atomic_fetch_sub(&real->busy, 1);
    unref(t, d);
}

static dz_status dir_new(struct dz_target_dir *parent, dz_slice name, const dz_entry *e,
                         struct dz_target_dir **ret_dir, dz_err *err) {
    struct dz_target_dir *d = calloc(1, sizeof *d + name.len + 1);
    uint8_t *fields = NULL;

    if (d && e && e->fields.len > 0)
        fields = malloc(e->fields.len);
    if (!d || (e && e->fields.len > 0 && !fields)) {
        free(d);
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a directory");
    }
    if (name.len > 0)
        memcpy(d->name, name.data, name.len);
    if (e) {
        d->has_entry = true;
        d->entry = *e;
        d->entry.path = (dz_slice){ 0 };
        if (fields)
            memcpy(fields, e->fields.data, e->fields.len);
        d->entry.fields = (dz_slice){ fields, e->fields.len };
    }
    d->fd = -1;
    d->refs = 1;
    if (parent) {
        d->parent = parent;
        d->depth = parent->depth + 1;
        atomic_fetch_add(&parent->refs, 1);
    }
    *ret_dir = d;
    return DZ_OK;
}

/* Whether an interrupted restore of ours left this directory: it has our mark, or it stopped right
 * between the access list, which changes the mode, and the mode itself (recover/target_set.c). */
static bool is_leftover(const struct dz_target *t, const struct dz_target_dir *d,
                        const struct stat *st) {
    mode_t mode = st->st_mode & 07777;
    const dz_entry *e = &d->entry;

    if (st->st_uid != t->uid && !(d->has_entry && st->st_uid == e->uid))
        return false;
    return mode == DZ_TARGET_UNFINISHED ||
           (d->has_entry && mode == (01000 | (e->mode & 0777)) && mode != (e->mode & 07777) &&
            st->st_mtim.tv_sec == e->mtime_s && st->st_mtim.tv_nsec == (long) e->mtime_ns &&
            dz_entry_field(e, DZ_TAG_XATTRS).len > 0);
}

/* What files made in the directory `d` (just opened) will belong to, and whether d is ours. */
static void learn(struct dz_target *t, struct dz_target_dir *d, const struct stat *st, bool made,
                  bool overwrite) {
    d->dev = st->st_dev;
    d->ino = st->st_ino;
    d->leftover = !made && is_leftover(t, d, st);
    d->made = made || d->leftover || overwrite;
    /* One that was there may lie on a file system that hands down groups without saying so. */
    d->gid = made || (st->st_mode & S_ISGID) ? st->st_gid : t->gid;
    d->ids_known = made || (st->st_mode & S_ISGID) || st->st_gid == t->gid;
    d->inherits = !made && fgetxattr(d->fd, "system.posix_acl_default", NULL, 0) > 0;
    d->owner_right = d->has_entry && st->st_uid == d->entry.uid && st->st_gid == d->entry.gid;
}

/* Makes or finds d->name in its parent and opens it.  0, or -1 with errno and `what`. */
static int dir_open(struct dz_target *t, struct dz_target_dir *d, const char **ret_what) {
    int parent = dz_target_dir_fd(t, d->parent);
    struct dz_target_dir *above = d->parent;
    bool made;
    struct stat st;

    *ret_what = N_("the directory could not be made");
    if (parent < 0)
        return -1;
    made = dz_os->mkdirat(parent, d->name, DZ_TARGET_UNFINISHED) == 0;
    if (!made && errno != EEXIST)
        return -1;
    if (!made)
        *ret_what = N_("something that is not a directory of ours is in the way");
    d->fd = dz_os->open_beneath(parent, d->name, O_RDONLY);
    if (d->fd < 0 && errno == EACCES)
        d->fd = dz_os->open_beneath(parent, d->name, O_PATH);
    if (d->fd < 0)
        return -1;
    atomic_fetch_add(&t->dirs_open, 1);
    if (dz_os->fstat(d->fd, &st) != 0)
        return -1;
    learn(t, d, &st, made, t->how->overwrite);
    while (above->alias)
        above = above->parent;
    if (made && above->inherits) {
        (void) dz_os->fremovexattr(d->fd, "system.posix_acl_default");
        (void) dz_os->fremovexattr(d->fd, "system.posix_acl_access");
        (void) dz_os->fchmod(d->fd, DZ_TARGET_UNFINISHED);
    }
    return 0;
}

/* --- The way down ----------------------------------------------------------------------------- */

static void leave(struct dz_target *t) {
    unref(t, t->stack[--t->depth].dir);
    t->at.len = t->depth > 0 ? t->stack[t->depth - 1].end : 0;
}

/* Steps into the component `name`; `e` is NULL when nothing is known of it. */
static dz_status step_into(struct dz_target *t, dz_slice name, const dz_entry *e, bool *ret_entered,
                           dz_err *err) {
    struct dz_target_dir *parent = t->stack[t->depth - 1].dir;
    struct dz_target_dir *d;
    const char *what;

    if (t->depth == t->stack_cap) {
        size_t cap = t->stack_cap ? 2 * t->stack_cap : 64;
        struct dz_target_level *more = realloc(t->stack, cap * sizeof *more);

        if (!more)
            return DZ_FAIL(err, DZ_E_NOMEM, "no memory for %zu levels of directories", cap);
        t->stack = more;
        t->stack_cap = cap;
    }
    DZ_TRY(dir_new(parent, name, e, &d, err));
    d->alias = d->depth <= t->how->strip;
    if (!d->alias && dir_open(t, d, &what) != 0) {
        dz_target_problem(t, DZ_RESTORE_LEFT_OUT, d, NULL, what, errno);
        d->made = false;
        unref(t, d);
        *ret_entered = false;
        return DZ_OK;
    }
    if (t->at.len > 0)
        dz_buf_put_u8(&t->at, '/');
    dz_buf_put_slice(&t->at, name);
    t->stack[t->depth++] = (struct dz_target_level){ d, t->at.len };
    if (!dz_buf_ok(&t->at))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a path");
    evict(t);
    *ret_entered = true;
    return DZ_OK;
}

static dz_slice last_component(dz_slice path, dz_slice *ret_above) {
    size_t n = path.len;

    while (n > 0 && path.data[n - 1] != '/')
        n--;
    *ret_above = (dz_slice){ path.data, n > 0 ? n - 1 : 0 };
    return (dz_slice){ path.data + n, path.len - n };
}

dz_status dz_target_stand(struct dz_target *t, dz_slice path, struct dz_target_dir **ret_dir,
                          dz_err *err) {
    dz_slice above;

    (void) last_component(path, &above);
    while (!dz_path_within(above, dz_buf_slice(&t->at)))
        leave(t);
    while (t->at.len < above.len) {
        size_t from = t->at.len + (t->at.len > 0);
        const uint8_t *slash = memchr(above.data + from, '/', above.len - from);
        size_t n = slash ? (size_t) (slash - above.data) - from : above.len - from;
        bool entered;

        DZ_TRY(step_into(t, (dz_slice){ above.data + from, n }, NULL, &entered, err));
        if (!entered) {
            *ret_dir = NULL;
            return DZ_OK;
        }
    }
    *ret_dir = t->stack[t->depth - 1].dir;
    return DZ_OK;
}

dz_status dz_target_enter(struct dz_target *t, const dz_entry *e, bool *ret_entered, dz_err *err) {
    struct dz_target_dir *parent;
    dz_slice above;
    dz_slice name = last_component(e->path, &above);

    if (e->path.len == 0) {
        if (t->top->made && t->how->strip == 0 && !t->top->has_entry) {
            struct dz_target_dir *copy;

            DZ_TRY(dir_new(NULL, name, e, &copy, err));
            t->top->entry = copy->entry;
            t->top->has_entry = true;
            free(copy);
        }
        *ret_entered = true;
        return DZ_OK;
    }
    DZ_TRY(dz_target_stand(t, e->path, &parent, err));
    if (!parent) {
        *ret_entered = false;
        return DZ_OK;
    }
    return step_into(t, name, e, ret_entered, err);
}

/* --- The target ------------------------------------------------------------------------------- */

/* As many descriptors as we are allowed, and how many directories that lets us hold. */
static int descriptor_budget(void) {
    struct rlimit limit;
    rlim_t half;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 64;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
        (void) getrlimit(RLIMIT_NOFILE, &limit);
    }
    half = limit.rlim_cur / 2;
    return half > DIR_BUDGET_MAX ? DIR_BUDGET_MAX : half < 16 ? 16 : (int) half;
}

dz_status dz_target_open(struct dz_target *t, const struct dz_restore_how *how, dz_err *err) {
    bool made = false;
    struct stat st;

    *t = (struct dz_target){ .how = how, .uid = geteuid(), .gid = getegid() };
    t->root = t->uid == 0;
    t->dir_budget = descriptor_budget();
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->reopen_lock, NULL);
    t->umask = umask(0);
    t->stack = calloc(64, sizeof *t->stack);
    if (!t->stack)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a restore");
    t->stack_cap = 64;
    DZ_TRY(dir_new(NULL, (dz_slice){ 0 }, NULL, &t->top, err));
    t->stack[t->depth++] = (struct dz_target_level){ t->top, 0 };

    if (dz_os->mkdirat(AT_FDCWD, how->to, DZ_TARGET_UNFINISHED) == 0)
        made = true;
    else if (errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "cannot make the target directory");
    t->top->fd = dz_os->openat(AT_FDCWD, how->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (t->top->fd < 0)
        return DZ_FAIL_ERRNO(err, "cannot open the target directory");
    atomic_fetch_add(&t->dirs_open, 1);
    if (dz_os->fstat(t->top->fd, &st) != 0)
        return DZ_FAIL_ERRNO(err, "cannot look at the target directory");
    learn(t, t->top, &st, made, false);
    if (!made) /* what an interrupted run left must lie before `began`, by the files' coarse clock
                */
        (void) nanosleep(&(struct timespec){ .tv_nsec = 2 * COARSE_TICK_NS }, NULL);
    (void) clock_gettime(CLOCK_REALTIME_COARSE, &t->began); /* the clock of file systems */
    return DZ_OK;
}

void dz_target_close(struct dz_target *t) {
    if (!t->how)
        return;
    while (t->depth > 0)
        leave(t);
    free(t->stack);
    dz_buf_release(&t->at);
    (void) umask(t->umask);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->reopen_lock);
    t->how = NULL;
}
