/*
 * limit_create: how fast this machine can create a tree, if the bytes cost nothing.
 *
 * It walks SOURCE first, untimed: names, kinds, sizes, where the data lie, mode, mtime. Then,
 * timed: directories and hard links by one thread, everything else by THREADS threads, each taking
 * one directory at a time so that two never wait for the same directory; the bytes come from one
 * buffer in memory; holes stay holes; at the end directory times are set and syncfs(2) waits for
 * the disk. Owners, attributes and ACLs are left out: a restore has to do more.
 *
 * Prints the timed part as measure.py does: wall, user and system seconds, peak KiB, exit code.
 *
 *   cc -O2 -pthread -o limit_create limit_create.c && ./limit_create SOURCE TARGET [THREADS]
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, THREADS_MAX = 64 };

struct extent {
    off_t at, size;
};

struct entry {
    char *name;
    struct stat st;
    char *target;           /* of a symbolic link */
    struct extent *extents; /* of a regular file: where it has data */
    size_t extent_count;
};

struct directory {
    char *path; /* relative to SOURCE and TARGET; "." first */
    struct stat st;
    struct entry *entries; /* everything in it but directories and later names of a hard link */
    size_t count;
};

struct link {
    char *from, *to; /* paths relative to TARGET */
};

struct inode {
    ino_t ino;
    char *path;
};

static struct directory *directories;
static size_t directory_count;
static struct link *links;
static size_t link_count;
static struct inode *inodes; /* seen with more than one name; few, so searched in order of age */
static size_t inode_count;
static int target_root;
static char *buffer;
static atomic_size_t next_directory;

/* Makes room for one more and counts it. */
static void *grow(void *array, size_t *count, size_t each) {
    if ((*count & (*count - 1)) == 0) {
        array = realloc(array, (*count != 0 ? 2 * *count : 1) * each);
        if (array == NULL)
            err(3, "memory");
    }
    memset((char *) array + *count * each, 0, each);
    ++*count;
    return array;
}

static char *copy(const char *text) {
    char *made = strdup(text);

    if (made == NULL)
        err(3, "memory");
    return made;
}

static char *join(const char *directory, const char *name) {
    char *made = NULL;

    if (asprintf(&made, "%s/%s", directory, name) < 0)
        err(3, "memory");
    return made;
}

static void read_extents(int at, const char *name, struct entry *e) {
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
    off_t data = 0, end;

    if (fd < 0)
        err(3, "open a source file");
    while ((data = lseek(fd, data, SEEK_DATA)) >= 0) {
        end = lseek(fd, data, SEEK_HOLE);
        e->extents = grow(e->extents, &e->extent_count, sizeof *e->extents);
        e->extents[e->extent_count - 1] = (struct extent){ data, end - data };
        data = end;
    }
    if (errno != ENXIO)
        err(3, "seek data");
    close(fd);
}

/* The earlier name of an inode with several names, or NULL after noting this one. */
static const char *known_name(const struct stat *st, const char *path) {
    for (size_t i = 0; i < inode_count; i++)
        if (inodes[i].ino == st->st_ino)
            return inodes[i].path;
    inodes = grow(inodes, &inode_count, sizeof *inodes);
    inodes[inode_count - 1] = (struct inode){ st->st_ino, copy(path) };
    return NULL;
}

static void read_directory(int root, size_t index) {
    int fd = openat(root, directories[index].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *item;

    if (stream == NULL || fstat(fd, &directories[index].st) != 0)
        err(3, "open a source directory");
    while ((item = readdir(stream)) != NULL) {
        struct entry e = { 0 };
        char *path;
        const char *first;

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if (fstatat(fd, item->d_name, &e.st, AT_SYMLINK_NOFOLLOW) != 0)
            err(3, "stat a source file");
        path = join(directories[index].path, item->d_name);
        if (S_ISDIR(e.st.st_mode)) {
            directories = grow(directories, &directory_count, sizeof *directories);
            directories[directory_count - 1].path = path;
            continue;
        }
        if (e.st.st_nlink > 1 && (first = known_name(&e.st, path)) != NULL) {
            links = grow(links, &link_count, sizeof *links);
            links[link_count - 1] = (struct link){ copy(first), path };
            continue;
        }
        free(path);
        e.name = copy(item->d_name);
        if (S_ISREG(e.st.st_mode))
            read_extents(fd, e.name, &e);
        if (S_ISLNK(e.st.st_mode)) {
            e.target = calloc(1, (size_t) e.st.st_size + 1);
            if (e.target == NULL || readlinkat(fd, e.name, e.target, (size_t) e.st.st_size) < 0)
                err(3, "read a link");
        }
        struct directory *d = &directories[index];
        d->entries = grow(d->entries, &d->count, sizeof *d->entries);
        d->entries[d->count - 1] = e;
    }
    closedir(stream);
}

static void write_data(int fd, const struct entry *e) {
    off_t end = 0;

    for (size_t i = 0; i < e->extent_count; i++) {
        off_t at = e->extents[i].at;

        end = at + e->extents[i].size;
        while (at < end) {
            ssize_t n = pwrite(fd, buffer, (size_t) (end - at < BUFFER ? end - at : BUFFER), at);

            if (n <= 0)
                err(3, "write");
            at += n;
        }
    }
    if (end != e->st.st_size && ftruncate(fd, e->st.st_size) != 0)
        err(3, "set the size of a file");
}

static void create(int at, const struct entry *e) {
    const struct timespec times[2] = { e->st.st_atim, e->st.st_mtim };
    mode_t mode = e->st.st_mode;

    if (S_ISREG(mode)) {
        int fd = openat(at, e->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 07777);

        if (fd < 0)
            err(3, "create a file");
        write_data(fd, e);
        if (futimens(fd, times) != 0 || close(fd) != 0)
            err(3, "finish a file");
        return;
    }
    if (S_ISLNK(mode) ? symlinkat(e->target, at, e->name) != 0
                      : mknodat(at, e->name, mode, e->st.st_rdev) != 0)
        err(3, "create a link or node");
    if (utimensat(at, e->name, times, AT_SYMLINK_NOFOLLOW) != 0)
        err(3, "set the time of a link or node");
}

static void *work(void *unused) {
    size_t i;

    while ((i = atomic_fetch_add(&next_directory, 1)) < directory_count) {
        const struct directory *d = &directories[i];
        int fd = openat(target_root, d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            err(3, "open a new directory");
        for (size_t k = 0; k < d->count; k++)
            create(fd, &d->entries[k]);
        close(fd);
    }
    return unused;
}

static double seconds(struct timeval t) {
    return (double) t.tv_sec + (double) t.tv_usec / 1e6;
}

int main(int argc, char **argv) {
    unsigned long threads = argc > 3 ? strtoul(argv[3], NULL, 10) : 2;
    pthread_t thread[THREADS_MAX];
    struct timespec begin, end;
    struct rusage before, after;
    int source_root;

    if (argc < 3 || argc > 4 || threads < 1 || threads > THREADS_MAX)
        errx(2, "usage: limit_create SOURCE TARGET [THREADS]");
    umask(0);
    source_root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source_root < 0)
        err(3, "%s", argv[1]);
    if (mkdir(argv[2], 0700) != 0 ||
        (target_root = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        err(3, "%s", argv[2]);
    buffer = malloc(BUFFER);
    if (buffer == NULL)
        err(3, "memory");
    for (size_t i = 0, x = 1; i < BUFFER; i++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        buffer[i] = (char) (x >> 56);
    }
    directories = grow(directories, &directory_count, sizeof *directories);
    directories[0].path = copy(".");
    for (size_t i = 0; i < directory_count; i++)
        read_directory(source_root, i);

    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 1; i < directory_count; i++) /* a directory comes after its parent */
        if (mkdirat(target_root, directories[i].path, directories[i].st.st_mode & 07777) != 0)
            err(3, "create a directory");
    for (unsigned long i = 0; i < threads; i++)
        if ((errno = pthread_create(&thread[i], NULL, work, NULL)) != 0)
            err(3, "thread");
    for (unsigned long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (size_t i = 0; i < link_count; i++)
        if (linkat(target_root, links[i].from, target_root, links[i].to, 0) != 0)
            err(3, "create a hard link");
    for (size_t i = directory_count; i-- > 0;) {
        const struct timespec times[2] = { directories[i].st.st_atim, directories[i].st.st_mtim };

        if (utimensat(target_root, directories[i].path, times, 0) != 0)
            err(3, "set the time of a directory");
    }
    if (syncfs(target_root) != 0)
        err(3, "syncfs");
    clock_gettime(CLOCK_MONOTONIC, &end);
    getrusage(RUSAGE_SELF, &after);

    printf("%.3f %.3f %.3f %ld 0\n",
           (double) (end.tv_sec - begin.tv_sec) + (double) (end.tv_nsec - begin.tv_nsec) / 1e9,
           seconds(after.ru_utime) - seconds(before.ru_utime),
           seconds(after.ru_stime) - seconds(before.ru_stime), after.ru_maxrss);
    return 0;
}
