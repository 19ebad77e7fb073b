#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/durable.h"

enum { LINE_MAX_BYTES = 1024 };

void dz_log(int priority, const char *fmt, ...) {
    char line[LINE_MAX_BYTES], text[LINE_MAX_BYTES - 16];
    va_list args;
    int n;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (getenv("JOURNAL_STREAM"))
        n = snprintf(line, sizeof line, "<%d>%s\n", priority, text);
    else
        n = snprintf(line, sizeof line, "dozod: %s\n", text);
    /* in one piece: two processes write here; where it cannot be written, nobody can be told */
    (void) dz_write_all(STDERR_FILENO, (dz_slice){ (const uint8_t *) line, (size_t) n });
}

void dz_log_error(const dz_err *err) {
    if (err->sys_errno)
        dz_log(LOG_ERR, "%s: %s", err->what, strerror(err->sys_errno));
    else
        dz_log(LOG_ERR, "%s", err->what[0] ? err->what : dz_status_name(err->status));
}
