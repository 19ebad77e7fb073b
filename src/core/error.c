#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dz_status dz_err_set(dz_err *err, dz_status status, int sys_errno, const char *file, int line,
                     const char *fmt, ...) {
    if (err) {
        va_list ap;

        err->status = status;
        err->sys_errno = sys_errno;
        err->file = file;
        err->line = line;
        va_start(ap, fmt);
        (void) vsnprintf(err->what, sizeof err->what, fmt, ap);
        va_end(ap);
    }
    return status;
}

dz_status dz_err_context(dz_err *err, dz_status status, const char *fmt, ...) {
    char inner[sizeof err->what];
    size_t room, n;
    va_list ap;

    if (!err || status == DZ_OK)
        return status;
    memcpy(inner, err->what, sizeof inner);
    va_start(ap, fmt);
    (void) vsnprintf(err->what, sizeof err->what, fmt, ap);
    va_end(ap);

    n = strlen(err->what);
    room = sizeof err->what - n; /* at least 1, for the NUL */
    if (room > 2) {
        size_t take = strnlen(inner, room - 3);
        memcpy(err->what + n, ": ", 2);
        memcpy(err->what + n + 2, inner, take);
        err->what[n + 2 + take] = '\0';
    }
    return status;
}

const char *dz_status_name(dz_status status) {
    static const char *const names[DZ_STATUS_COUNT] = {
        [DZ_OK] = "ok",
        [DZ_E_NOMEM] = "out of memory",
        [DZ_E_IO] = "i/o error",
        [DZ_E_NOT_FOUND] = "not found",
        [DZ_E_EXISTS] = "already published",
        [DZ_E_MALFORMED] = "malformed input",
        [DZ_E_CORRUPT] = "vault data corrupt",
        [DZ_E_LIMIT] = "over limit",
        [DZ_E_WORKER] = "worker failed",
        [DZ_E_CLOSED] = "vault is closed",
        [DZ_E_POLICY] = "refused by policy",
        [DZ_E_BUSY] = "busy",
        [DZ_E_USAGE] = "wrong usage",
        [DZ_E_UNSUPPORTED] = "not supported",
    };
    return (unsigned) status < DZ_STATUS_COUNT && names[status] ? names[status] : "unknown";
}
