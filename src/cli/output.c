#include "cli/output.h"

#include <sodium.h>
#include <stdarg.h>

#include "core/buf.h"
#include "core/clock.h"

/* --- errors ----------------------------------------------------------------------------------- */

int dz_exit_of(dz_status status) {
    switch (status) {
    case DZ_OK:
        return DZ_EXIT_OK;
    case DZ_E_USAGE:
        return DZ_EXIT_USAGE;
    case DZ_E_CLOSED:
    case DZ_E_POLICY:
        return DZ_EXIT_REFUSED;
    case DZ_E_NOMEM:
    case DZ_E_IO:
    case DZ_E_NOT_FOUND:
    case DZ_E_EXISTS:
    case DZ_E_MALFORMED:
    case DZ_E_CORRUPT:
    case DZ_E_LIMIT:
    case DZ_E_WORKER:
    case DZ_E_BUSY:
    case DZ_E_UNSUPPORTED:
    case DZ_STATUS_COUNT:
    default:
        return DZ_EXIT_COULD_NOT;
    }
}

void dz_say_error(const dz_err *err) {
    if (err->sys_errno)
        dz_say("%s: %s", err->what, strerror(err->sys_errno));
    else
        dz_say("%s", err->what[0] ? err->what : dz_status_name(err->status));
}

int dz_cli_fail(const dz_err *err) {
    dz_say_error(err);
    return dz_exit_of(err->status);
}

__attribute__((format(printf, 2, 0))) static void say(const char *before, const char *fmt,
                                                      va_list args) {
    (void) fflush(stdout); /* so that the two keep their order on a terminal */
    (void) fputs(before, stderr);
    (void) vfprintf(stderr, fmt, args);
    (void) fputc('\n', stderr);
}

void dz_say(const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    say("dozo: ", fmt, args);
    va_end(args);
}

void dz_say_next(const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    say("  ", fmt, args);
    va_end(args);
}

void dz_say_path(dz_slice path, const char *what, int sys_errno) {
    (void) fflush(stdout);
    (void) fputs("dozo: ", stderr);
    dz_put_path(stderr, path);
    (void) fprintf(stderr, ": %s", what);
    if (sys_errno)
        (void) fprintf(stderr, ": %s", strerror(sys_errno));
    (void) fputc('\n', stderr);
}

/* --- numbers and times ------------------------------------------------------------------------ */

void dz_size_text(uint64_t bytes, char ret_text[DZ_SIZE_TEXT]) {
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double) bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void) snprintf(ret_text, DZ_SIZE_TEXT, "%u B", (unsigned) bytes);
        return;
    }
    for (; value >= 1023.95 && unit < 5; unit++)
        value /= 1024;
    (void) snprintf(ret_text, DZ_SIZE_TEXT, "%.1f %s", value, units[unit]);
}

void dz_age_text(int64_t us, char ret_text[DZ_AGE_TEXT]) {
    long long s = us < 0 ? 0 : us / 1000000;

    if (s < 60)
        (void) snprintf(ret_text, DZ_AGE_TEXT, T_("%lld s"), s);
    else if (s < 3600)
        (void) snprintf(ret_text, DZ_AGE_TEXT, T_("%lld min"), s / 60);
    else if (s < 86400)
        (void) snprintf(ret_text, DZ_AGE_TEXT, T_("%lld h %lld min"), s / 3600, s / 60 % 60);
    else
        (void) snprintf(ret_text, DZ_AGE_TEXT, T_("%lld d %lld h"), s / 86400, s / 3600 % 24);
}

void dz_when_text(int64_t us, char ret_text[DZ_WHEN_TEXT]) {
    char iso[DZ_TIME_TEXT];
    char *t;

    dz_time_text(us, iso);
    t = strchr(iso, 'T');
    if (t) {
        *t = ' ';
        if (strlen(iso) > 19)
            iso[19] = '\0';
    }
    (void) snprintf(ret_text, DZ_WHEN_TEXT, "%s", iso);
}

/* --- text ------------------------------------------------------------------------------------- */

/* The character at s[0], its length in *ret_len; -1 and length 1 when it is not UTF-8 (RFC 3629:
 * shortest forms only, no surrogates, up to U+10FFFF). */
static int32_t utf8_next(dz_slice s, size_t *ret_len) {
    static const uint32_t least_of[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = s.data[0];
    size_t n = first < 0x80       ? 1
               : first >> 5 == 6  ? 2
               : first >> 4 == 14 ? 3
               : first >> 3 == 30 ? 4
                                  : 0;
    uint32_t c;

    *ret_len = 1;
    if (n == 1)
        return first;
    if (n == 0 || n > s.len)
        return -1;
    c = first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s.data[i] >> 6 != 2)
            return -1;
        c = c << 6 | (s.data[i] & 0x3f);
    }
    if (c < least_of[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return -1;
    *ret_len = n;
    return (int32_t) c;
}

/* What moves the cursor, changes the terminal or reorders text around it. */
static bool is_control(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void dz_put_path(FILE *to, dz_slice path) {
    /* messages go to logs, where a name must not look like a line of its own */
    if (to != stderr && !isatty(fileno(to))) {
        (void) fwrite(path.data, 1, path.len, to);
        return;
    }
    while (path.len > 0) {
        size_t n;
        int32_t c = utf8_next(path, &n);
        if (c < 0 || is_control(c))
            for (size_t i = 0; i < n; i++)
                (void) fprintf(to, "\\x%02x", path.data[i]);
        else
            (void) fwrite(path.data, 1, n, to);
        path.data += n;
        path.len -= n;
    }
}

void dz_put_padded(FILE *to, const char *text, int columns) {
    dz_slice s = { (const uint8_t *) text, strlen(text) };
    int spaces = columns < 0 ? -columns : columns;

    while (s.len > 0) {
        size_t n;
        int32_t c = utf8_next(s, &n);
        spaces -= c >= 0x1100 ? 2 : 1;
        s.data += n;
        s.len -= n;
    }
    if (spaces < 0)
        spaces = 0;
    (void) fprintf(to, "%*s%s%*s", columns < 0 ? spaces : 0, "", text, columns < 0 ? 0 : spaces,
                   "");
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *replaced(dz_slice s) {
    dz_autobuf dz_buf b = { 0 };

    while (s.len > 0) {
        size_t n;
        if (utf8_next(s, &n) < 0)
            dz_buf_put(&b, "\xef\xbf\xbd", 3);
        else
            dz_buf_put(&b, s.data, n);
        s.data += n;
        s.len -= n;
    }
    return dz_buf_ok(&b) ? json_stringn((const char *) b.data, b.len) : NULL;
}

void dz_json_path(json_t *object, const char *key, dz_slice path) {
    json_t *text = json_stringn(path.len ? (const char *) path.data : "", path.len);
    size_t room = sodium_base64_ENCODED_LEN(path.len, sodium_base64_VARIANT_ORIGINAL);
    dz_autofree char *base64 = NULL;
    char name[64];

    if (!text) {
        text = replaced(path);
        base64 = malloc(room);
        (void) snprintf(name, sizeof name, "%s_base64", key);
        if (base64)
            (void) json_object_set_new(
                object, name,
                json_string(sodium_bin2base64(base64, room, path.data, path.len,
                                              sodium_base64_VARIANT_ORIGINAL)));
    }
    (void) json_object_set_new(object, key, text);
}

json_t *dz_json_count(uint64_t n) {
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t) n);
}

json_t *dz_json_time(int64_t us) {
    char text[DZ_TIME_TEXT];

    dz_time_text(us, text);
    return json_string(text);
}

void dz_json_put(json_t *document) {
    if (!document || json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0)
        dz_say(T_("out of memory while writing JSON"));
    (void) fputc('\n', stdout);
    json_decref(document);
}

int dz_out_close(int code) {
    bool lost = ferror(stdout);

    errno = 0;
    if (fflush(stdout) != 0 || lost) {
        dz_say(T_("the output could not be written: %s"), strerror(errno ? errno : EIO));
        return code == DZ_EXIT_OK || code == DZ_EXIT_FOUND ? (int) DZ_EXIT_COULD_NOT : code;
    }
    return code;
}
