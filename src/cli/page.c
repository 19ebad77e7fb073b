#include "cli/page.h"

#include "core/launch.h"
#include "core/run.h"

enum { PAGE_MAX = 8 << 20 /* bytes of a page's PDF */, PAGE_TIMEOUT_MS = 120000 };

bool dz_cli_program(const char *name, char path[PATH_MAX]) {
    return dz_program_find(name, DZ_LIBEXECDIR, path);
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
