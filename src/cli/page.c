#include "cli/page.h"

#include <libgen.h>
#include <stdio.h>

#include "core/run.h"

enum { PAGE_MAX = 8 << 20 /* bytes of a page's PDF */, PAGE_TIMEOUT_MS = 120000 };

bool dz_cli_program(const char *name, char path[PATH_MAX]) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n > 0) {
        self[n] = '\0';
        if (snprintf(path, PATH_MAX, "%s/%s", dirname(self), name) < PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
    }
    (void) snprintf(path, PATH_MAX, "%s/%s", DZ_LIBEXECDIR, name);
    return access(path, X_OK) == 0;
}

bool dz_cli_page(const char *const arguments[], dz_slice input, dz_buf *to) {
    char program[PATH_MAX] = "";
    const char *argv[4] = { program };
    size_t start = to->len;
    int code = 0;

    for (size_t i = 0; i < 2 && arguments[i]; i++)
        argv[i + 1] = arguments[i];
    return dz_cli_program("dozo-share-page", program) &&
           dz_run(argv, input, PAGE_MAX, PAGE_TIMEOUT_MS, to, &code, NULL) == DZ_OK && code == 0 &&
           to->len > start;
}
