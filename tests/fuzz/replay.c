/* Gives a fuzz target a main() when no fuzzer is linked, so that every build runs the corpora.
 *
 *   replay CORPUS_DIR...
 *
 * Each file is fed whole, cut short at up to EDITS places, and with one byte changed at up to
 * EDITS places; the empty input always.  The order is the sorted one: a failure repeats.  A
 * directory that is not there counts as empty, so that a new target works before its corpus. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20, EDITS = 64 };

static unsigned long fed;

/* Fed from a block of exactly its size: the sanitizers then see a read one byte too far. */
static bool feed(const uint8_t *bytes, size_t len) {
    dz_autofree uint8_t *exact = calloc(1, len ? len : 1);

    if (!exact)
        return false;
    if (len)
        memcpy(exact, bytes, len);
    (void) LLVMFuzzerTestOneInput(exact, len);
    fed++;
    return true;
}

static bool feed_edited(uint8_t *bytes, size_t len) {
    size_t step = len / EDITS + 1;

    for (size_t at = 0; at < len; at += step) {
        uint8_t keep = bytes[at];
        bool ok;

        if (!feed(bytes, at))
            return false;
        bytes[at] = (uint8_t) (keep ^ (1u << (at % 8)));
        ok = feed(bytes, len);
        bytes[at] = keep;
        if (!ok)
            return false;
    }
    return feed(bytes, len);
}

static bool replay_file(int dirfd, const char *name) {
    dz_autoclose int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    dz_autofree uint8_t *bytes = malloc(INPUT_MAX);
    struct stat st;
    size_t len = 0;
    ssize_t n;

    if (fd < 0 || !bytes || fstat(fd, &st) != 0)
        return false;
    if (!S_ISREG(st.st_mode))
        return true;
    while (len < INPUT_MAX && (n = read(fd, bytes + len, INPUT_MAX - len)) != 0) {
        if (n < 0)
            return false;
        len += (size_t) n;
    }
    return feed_edited(bytes, len);
}

static bool replay_dir(const char *path) {
    dz_autoclose int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **entries = NULL;
    bool ok = true;
    int count;

    if (dirfd < 0)
        return errno == ENOENT;
    count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return false;
    for (int i = 0; i < count; i++) {
        if (ok && !replay_file(dirfd, entries[i]->d_name)) {
            (void) fprintf(stderr, "cannot replay %s/%s\n", path, entries[i]->d_name);
            ok = false;
        }
        free(entries[i]);
    }
    free((void *) entries);
    return ok;
}

int main(int argc, char **argv) {
    bool ok = feed(NULL, 0);

    for (int i = 1; i < argc && ok; i++)
        ok = replay_dir(argv[i]);
    printf("%lu inputs fed\n", fed);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
