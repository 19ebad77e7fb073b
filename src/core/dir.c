#include "core/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/os.h"

dz_status dz_dir_each(int dirfd, const char *what, dz_dir_visit *visit, void *ctx, dz_err *err) {
    int twin = dz_os->openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = twin >= 0 ? fdopendir(twin) : NULL;
    dz_status s = DZ_OK;
    struct dirent *e;

    if (!d) {
        s = DZ_FAIL_ERRNO(err, "listing %s", what);
        if (twin >= 0)
            (void) dz_os->close(twin);
        return s;
    }
    for (errno = 0; s == DZ_OK && (e = readdir(d)); errno = 0)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            s = visit(ctx, e->d_name, err);
    if (s == DZ_OK && errno != 0)
        s = DZ_FAIL_ERRNO(err, "listing %s", what);
    (void) closedir(d);
    return s;
}
