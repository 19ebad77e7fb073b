#include "tests/crash/crash_os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/os.h"
#include "tests/crash/world.h"

enum { SECTOR = 512, NAME_ROOM = 96, NONE = -1 };

/* Things that exist are numbered as they are made; a number is never used again. */
struct node {
    bool dir;
    mode_t mode;
    ino_t ino;
};

struct call {
    enum { WRITE, TRUNCATE, NAME, UNNAME, SYNC, MARK } what;
    int node;             /* the file, or the directory whose names change; MARK: what */
    char name[NAME_ROOM]; /* NAME, UNNAME */
    int named;            /* NAME: the node */
    uint64_t at;
    size_t len;
    uint8_t *bytes; /* WRITE */
};

static struct node *nodes;
static size_t n_nodes;
static struct call *calls;
static size_t n_calls;
static size_t *moments;
static size_t n_moments;
static const struct dz_os *before;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- recording ---------------------------------------------------------------------------------
 */

static void *grown(void *list, size_t n, size_t size) {
    if ((n & (n - 1)) != 0) /* doubles at powers of two */
        return list;
    list = reallocarray(list, n ? 2 * n : 1, size);
    MUST(list);
    return list;
}

static int node_new(bool dir, mode_t mode, ino_t ino) {
    nodes = grown(nodes, n_nodes, sizeof *nodes);
    nodes[n_nodes] = (struct node){ dir, mode, ino };
    return (int) n_nodes++;
}

/* The kernel uses inode numbers again: the youngest is the one that lives. */
static int node_of(int fd) {
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NONE;
    for (size_t i = n_nodes; i-- > 0;)
        if (nodes[i].ino == st.st_ino && nodes[i].dir == S_ISDIR(st.st_mode))
            return (int) i;
    return NONE;
}

static struct call *call_new(int what, int node) {
    calls = grown(calls, n_calls, sizeof *calls);
    calls[n_calls] = (struct call){ .node = node, .named = NONE };
    calls[n_calls].what = (unsigned) what;
    return &calls[n_calls++];
}

static void moment_here(void) {
    moments = grown(moments, n_moments, sizeof *moments);
    moments[n_moments++] = n_calls;
}

static void name_call(int what, int dir, const char *name, int named) {
    struct call *c;

    if (dir == NONE)
        return;
    c = call_new(what, dir);
    MUST(strlen(name) < sizeof c->name);
    (void) snprintf(c->name, sizeof c->name, "%s", name);
    c->named = named;
}

static void lock_in(void) {
    MUST(pthread_mutex_lock(&lock) == 0);
}
static void unlock_out(void) {
    int keep = errno;
    MUST(pthread_mutex_unlock(&lock) == 0);
    errno = keep;
}

/* A path relative to the working directory names the vault itself, in the recorded directory. */
static int parent_of(int dirfd, const char *path, const char **ret_name) {
    char parent[4096];
    const char *slash = strrchr(path, '/');
    int fd, node;

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return node_of(dirfd);
    MUST(snprintf(parent, sizeof parent, "%.*s", (int) (slash - path), path) < 4096);
    fd = openat(dirfd, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    node = node_of(fd);
    if (fd >= 0)
        (void) close(fd);
    return node;
}

static int node_at(int dirfd, const char *name) {
    int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), node = node_of(fd);

    if (fd >= 0)
        (void) close(fd);
    return node;
}

static int c_openat(int dirfd, const char *name, int flags, mode_t mode) {
    const char *last;
    bool there;
    int fd, parent;

    if (!(flags & O_CREAT))
        return dz_os_real.openat(dirfd, name, flags, mode);
    lock_in();
    parent = parent_of(dirfd, name, &last);
    there = faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    fd = dz_os_real.openat(dirfd, name, flags, mode);
    if (fd >= 0 && parent != NONE && !there) {
        struct stat st;
        MUST(fstat(fd, &st) == 0);
        name_call(NAME, parent, last, node_new(false, mode, st.st_ino));
    }
    unlock_out();
    return fd;
}

static int c_mkdirat(int dirfd, const char *name, mode_t mode) {
    const char *last;
    int r, parent;

    lock_in();
    parent = parent_of(dirfd, name, &last);
    r = dz_os_real.mkdirat(dirfd, name, mode);
    if (r == 0 && parent != NONE) {
        struct stat st;
        MUST(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        name_call(NAME, parent, last, node_new(true, mode, st.st_ino));
    }
    unlock_out();
    return r;
}

static void record_write(int fd, const void *data, size_t len, uint64_t at) {
    int node = node_of(fd);
    struct call *c;

    if (node == NONE || len == 0)
        return;
    c = call_new(WRITE, node);
    c->at = at;
    c->len = len;
    c->bytes = malloc(len);
    MUST(c->bytes);
    memcpy(c->bytes, data, len);
}

static ssize_t c_write(int fd, const void *data, size_t len) {
    ssize_t n;
    off_t at;

    lock_in();
    at = lseek(fd, 0, SEEK_CUR);
    n = dz_os_real.write(fd, data, len);
    if (n > 0)
        record_write(fd, data, (size_t) n, (uint64_t) at);
    unlock_out();
    return n;
}

static ssize_t c_pwrite(int fd, const void *data, size_t len, off_t at) {
    ssize_t n;

    lock_in();
    n = dz_os_real.pwrite(fd, data, len, at);
    if (n > 0)
        record_write(fd, data, (size_t) n, (uint64_t) at);
    unlock_out();
    return n;
}

static int c_ftruncate(int fd, off_t len) {
    int r, node;

    lock_in();
    node = node_of(fd);
    r = dz_os_real.ftruncate(fd, len);
    if (r == 0 && node != NONE)
        call_new(TRUNCATE, node)->at = (uint64_t) len;
    unlock_out();
    return r;
}

static int c_fsync(int fd) { /* for real it would only take time */
    int node;

    lock_in();
    node = node_of(fd);
    if (node != NONE) {
        moment_here();
        (void) call_new(SYNC, node);
        moment_here();
    }
    unlock_out();
    return 0;
}

static int moved(int fromfd, const char *from, int tofd, const char *to, bool over) {
    int r, node;

    lock_in();
    node = node_at(fromfd, from);
    r = over ? dz_os_real.replace(fromfd, from, tofd, to)
             : dz_os_real.publish(fromfd, from, tofd, to);
    if (r == 0 && node != NONE) {
        name_call(NAME, node_of(tofd), to, node);
        name_call(UNNAME, node_of(fromfd), from, NONE);
    }
    unlock_out();
    return r;
}
static int c_publish(int fromfd, const char *from, int tofd, const char *to) {
    return moved(fromfd, from, tofd, to, false);
}
static int c_replace(int fromfd, const char *from, int tofd, const char *to) {
    return moved(fromfd, from, tofd, to, true);
}

static int c_unlinkat(int dirfd, const char *name, int flags) {
    const char *last;
    int r, parent;

    lock_in();
    parent = parent_of(dirfd, name, &last);
    r = dz_os_real.unlinkat(dirfd, name, flags);
    if (r == 0)
        name_call(UNNAME, parent, last, NONE);
    unlock_out();
    return r;
}

void crash_os_record(const char *dir) {
    static struct dz_os recording;
    struct stat st;

    MUST(stat(dir, &st) == 0);
    crash_os_free();
    (void) node_new(true, st.st_mode & 07777, st.st_ino);
    recording = *dz_os;
    recording.openat = c_openat;
    recording.mkdirat = c_mkdirat;
    recording.write = c_write;
    recording.pwrite = c_pwrite;
    recording.ftruncate = c_ftruncate;
    recording.fsync = c_fsync;
    recording.publish = c_publish;
    recording.replace = c_replace;
    recording.unlinkat = c_unlinkat;
    before = dz_os;
    dz_os = &recording;
    moment_here();
}

void crash_os_mark(int what) {
    lock_in();
    (void) call_new(MARK, what);
    moment_here();
    unlock_out();
}

void crash_os_stop(void) {
    moment_here();
    dz_os = before;
}

void crash_os_free(void) {
    for (size_t i = 0; i < n_calls; i++)
        free(calls[i].bytes);
    free(calls);
    free(nodes);
    free(moments);
    calls = NULL;
    nodes = NULL;
    moments = NULL;
    n_calls = n_nodes = n_moments = 0;
}

size_t crash_os_moments(void) {
    return n_moments;
}

size_t crash_os_call(size_t moment) {
    return moments[moment];
}

int crash_os_marked(size_t moment) {
    int mark = -1;

    for (size_t i = 0; i < moments[moment]; i++)
        if (calls[i].what == MARK && calls[i].node > mark)
            mark = calls[i].node;
    return mark;
}

/* --- images ------------------------------------------------------------------------------------
 */

struct cut {
    size_t end; /* calls before it were made */
    enum crash_variant variant;
    uint64_t random;
    size_t *until_sync; /* per node: calls on it before this survive for sure: its last sync */
    size_t names;       /* CRASH_JOURNAL: names that were changed before this survive */
};

/* Puts what a write leaves into the file's image. */
static void put_bytes(dz_buf *image, uint64_t at, const uint8_t *bytes, size_t len) {
    if (image->len < at + len) {
        size_t old = image->len;
        MUST(dz_buf_extend(image, (size_t) at + len - old));
        memset(image->data + old, 0, image->len - old);
    }
    if (bytes && len > 0)
        memcpy(image->data + at, bytes, len);
}

/* Any sectors of the write; the others hold what was there before, zeros or noise. */
static void scatter(struct cut *cut, dz_buf *image, const struct call *c) {
    put_bytes(image, c->at + c->len, NULL, 0);
    for (uint64_t at = c->at; at < c->at + c->len;) {
        uint64_t stop = (at / SECTOR + 1) * SECTOR;
        uint8_t noise[SECTOR];
        size_t n;

        if (stop > c->at + c->len)
            stop = c->at + c->len;
        n = (size_t) (stop - at);
        switch (random_below(&cut->random, 4)) {
        case 0: /* what was there before */
            break;
        case 1:
            random_fill(&cut->random, noise, sizeof noise);
            put_bytes(image, at, noise, n);
            break;
        default:
            put_bytes(image, at, c->bytes + (at - c->at), n);
        }
        at = stop;
    }
}

/* Applies the unsynced calls on a file, as far as the variant lets them live. */
static void apply_unsynced(struct cut *cut, dz_buf *image, const struct call *c, bool *gone) {
    size_t n = c->len;

    if (*gone || cut->variant == CRASH_DROPPED)
        return;
    if (c->what == TRUNCATE) {
        put_bytes(image, c->at, NULL, 0);
        image->len = (size_t) c->at;
        return;
    }
    switch (cut->variant) {
    case CRASH_NAMES:
        put_bytes(image, c->at + n, NULL, 0);
        break;
    case CRASH_JOURNAL:
    case CRASH_TORN:
        if (random_below(&cut->random, 3) == 0) { /* here it ends, at a sector's edge */
            uint64_t stop = (c->at + random_below(&cut->random, n + 1)) / SECTOR * SECTOR;
            n = stop > c->at ? (size_t) (stop - c->at) : 0;
            *gone = true;
        }
        put_bytes(image, c->at, c->bytes, n);
        break;
    case CRASH_REORDERED:
        scatter(cut, image, c);
        break;
    case CRASH_ALL:
    case CRASH_DROPPED:
    case CRASH_VARIANTS:
        put_bytes(image, c->at, c->bytes, n);
    }
}

static void make_file(struct cut *cut, int node, int dirfd, const char *name) {
    dz_autobuf dz_buf image = { 0 };
    bool gone = false;
    int fd;

    for (size_t i = 0; i < cut->end; i++) {
        const struct call *c = &calls[i];

        if (c->node != node || (c->what != WRITE && c->what != TRUNCATE))
            continue;
        if (i >= cut->until_sync[node]) {
            apply_unsynced(cut, &image, c, &gone);
        } else if (c->what == WRITE) {
            put_bytes(&image, c->at, c->bytes, c->len);
        } else {
            put_bytes(&image, c->at, NULL, 0);
            image.len = (size_t) c->at;
        }
    }
    fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, nodes[node].mode);
    MUST(fd >= 0 && write(fd, image.data, image.len) == (ssize_t) image.len);
    (void) close(fd);
}

/* The directory's names up to which call? */
static size_t names_until(struct cut *cut, int node) {
    size_t least = cut->until_sync[node];

    switch (cut->variant) {
    case CRASH_DROPPED:
        return least;
    case CRASH_JOURNAL:
        return cut->names > least ? cut->names : least;
    case CRASH_TORN:
    case CRASH_REORDERED:
        return least + (size_t) random_below(&cut->random, cut->end - least + 1);
    case CRASH_ALL:
    case CRASH_NAMES:
    case CRASH_VARIANTS:
        break;
    }
    return cut->end;
}

struct name {
    const char *name;
    int node;
};

static void make_dir(struct cut *cut, int node, int dirfd) {
    size_t until = names_until(cut, node), n = 0;
    dz_autofree struct name *list = NULL;

    for (size_t i = 0; i < until; i++) {
        const struct call *c = &calls[i];
        size_t k = 0;

        if (c->node != node || (c->what != NAME && c->what != UNNAME))
            continue;
        while (k < n && strcmp(list[k].name, c->name) != 0)
            k++;
        if (c->what == NAME) {
            if (k == n)
                list = grown(list, n++, sizeof *list);
            list[k] = (struct name){ c->name, c->named };
        } else if (k < n) {
            list[k] = list[n - 1]; /* the room stays: grown() only looks at n */
            n--;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct node *what = &nodes[list[i].node];
        int fd;

        if (!what->dir) {
            make_file(cut, list[i].node, dirfd, list[i].name);
            continue;
        }
        MUST(mkdirat(dirfd, list[i].name, what->mode) == 0);
        fd = openat(dirfd, list[i].name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        MUST(fd >= 0);
        make_dir(cut, list[i].node, fd);
        (void) close(fd);
    }
}

void crash_os_image(size_t moment, enum crash_variant variant, uint64_t seed, const char *to) {
    struct cut cut = { .end = moments[moment], .variant = variant, .random = seed };
    dz_autofree size_t *until_sync = calloc(n_nodes, sizeof *until_sync);
    size_t last_sync = 0;
    int fd;

    MUST(until_sync);
    cut.until_sync = until_sync;
    for (size_t i = 0; i < cut.end; i++)
        if (calls[i].what == SYNC) {
            until_sync[calls[i].node] = i;
            last_sync = i;
        }
    /* a journal writes names in order: what a sync wrote takes all names before it along */
    cut.names = last_sync + (size_t) random_below(&cut.random, cut.end - last_sync + 1);
    MUST(mkdir(to, 0700) == 0);
    fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(fd >= 0);
    make_dir(&cut, 0, fd);
    (void) close(fd);
}
