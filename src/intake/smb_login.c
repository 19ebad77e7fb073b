#include "intake/smb_login.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/utf8.h"

/* --- where ------------------------------------------------------------------------------------ */

static bool is_slash(char c) {
    return c == '/' || c == '\\';
}

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Copies up to the next slash or `stop`; gives where it ended, or NULL when it does not fit. */
static const char *take_part(const char *at, char stop, size_t max, char *ret) {
    size_t n = 0;

    while (at[n] && !is_slash(at[n]) && at[n] != stop)
        n++;
    if (n == 0 || n > max)
        return NULL;
    memcpy(ret, at, n);
    ret[n] = '\0';
    return at + n;
}

static const char *take_port(const char *at, uint16_t *ret_port) {
    unsigned long v;
    char *end;

    if (*at != ':')
        return at;
    if (at[1] < '0' || at[1] > '9')
        return NULL;
    v = strtoul(at + 1, &end, 10);
    if (v == 0 || v > UINT16_MAX)
        return NULL;
    *ret_port = (uint16_t) v;
    return end;
}

static bool server_ok(const char *s) {
    if (!is_alnum(*s))
        return false;
    for (; *s; s++)
        if (!is_alnum(*s) && *s != '.' && *s != '-' && *s != '_')
            return false;
    return true;
}

/* No empty part, none that leads elsewhere, nothing that ends a name. */
static bool directory_ok(const char *s) {
    if (strchr(s, '\\'))
        return false;
    while (*s) {
        size_t n = strcspn(s, "/");
        if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        s += n;
        if (*s == '/' && !*++s)
            return false;
    }
    return true;
}

dz_status dz_smb_where_read(const char *text, struct dz_smb_where *ret_where, dz_err *err) {
    static const char form[] = "a share is named //server/share, //server:port/share or "
                               "//server/share/directory";
    struct dz_smb_where w = { 0 };
    const char *at = text;
    dz_slice name;

    if (!is_slash(at[0]) || !is_slash(at[1]))
        return DZ_FAIL(err, DZ_E_USAGE, "%s", form);
    at = take_part(at + 2, ':', DZ_SMB_SERVER_MAX, w.server);
    if (at)
        at = take_port(at, &w.port);
    if (!at || !is_slash(*at) || !server_ok(w.server))
        return DZ_FAIL(err, DZ_E_USAGE, "%s", form);
    at = take_part(at + 1, '\0', DZ_SMB_SHARE_MAX, w.share);
    if (!at)
        return DZ_FAIL(err, DZ_E_USAGE, "%s", form);
    w.directory = is_slash(*at) ? at + 1 : at;
    name = (dz_slice){ (const uint8_t *) text, strlen(text) };
    if (!dz_utf8_clean(name, false) || name.len > DZ_SMB_PATH_MAX || !directory_ok(w.directory))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "the directory in a share is written with '/', in UTF-8, without empty "
                       "parts, '.' or '..'");
    *ret_where = w;
    return DZ_OK;
}

/* RFC 3986: everything but what is never special, one path component at a time. */
static void put_escaped(dz_buf *to, dz_slice s) {
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        char c = (char) s.data[i];
        if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '/') {
            dz_buf_put_u8(to, s.data[i]);
        } else {
            dz_buf_put_u8(to, '%');
            dz_buf_put_u8(to, (uint8_t) hex[s.data[i] >> 4]);
            dz_buf_put_u8(to, (uint8_t) hex[s.data[i] & 15]);
        }
    }
}

static dz_slice text_slice(const char *s) {
    return (dz_slice){ (const uint8_t *) s, strlen(s) };
}

void dz_smb_url(const struct dz_smb_where *w, dz_slice path, dz_buf *to) {
    dz_buf_printf(to, "smb://%s/", w->server);
    put_escaped(to, text_slice(w->share));
    if (*w->directory) {
        dz_buf_put_u8(to, '/');
        put_escaped(to, text_slice(w->directory));
    }
    if (path.len) {
        dz_buf_put_u8(to, '/');
        put_escaped(to, path);
    }
    dz_buf_put_u8(to, 0);
}

/* --- who -------------------------------------------------------------------------------------- */

void dz_smb_login_wipe(struct dz_smb_login *l) {
    explicit_bzero(l, sizeof *l);
}

static dz_slice trim(dz_slice s) {
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* The field that a key names, or NULL. */
static char *field_of(struct dz_smb_login *l, dz_slice key) {
    if (dz_slice_eq(key, DZ_SLICE_LIT("username")))
        return l->user;
    if (dz_slice_eq(key, DZ_SLICE_LIT("password")))
        return l->password;
    if (dz_slice_eq(key, DZ_SLICE_LIT("domain")))
        return l->domain;
    return NULL;
}

static dz_status read_line(dz_slice line, unsigned number, struct dz_smb_login *l, dz_err *err) {
    dz_reader r = dz_reader_over(line);
    dz_slice key, value;
    char *field;

    if (line.len == 0 || line.data[0] == '#')
        return DZ_OK;
    key = trim(dz_read_until(&r, '='));
    field = dz_reader_ok(&r) ? field_of(l, key) : NULL;
    if (!field)
        return DZ_FAIL(err, DZ_E_USAGE,
                       "credentials, line %u: not 'username = ...', 'password = ...' or "
                       "'domain = ...'",
                       number);
    value = trim(dz_read_bytes(&r, dz_reader_left(&r)));
    if (*field)
        return DZ_FAIL(err, DZ_E_USAGE, "credentials, line %u: said before", number);
    if (value.len > DZ_SMB_LOGIN_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "credentials, line %u: %zu bytes, at most %d", number,
                       value.len, DZ_SMB_LOGIN_MAX);
    if (value.len == 0 || !dz_utf8_clean(value, false))
        return DZ_FAIL(err, DZ_E_USAGE, "credentials, line %u: empty, or no UTF-8 text", number);
    memcpy(field, value.data, value.len);
    field[value.len] = '\0';
    return DZ_OK;
}

dz_status dz_smb_login_parse(dz_slice text, struct dz_smb_login *ret_login, dz_err *err) {
    struct dz_smb_login l = { 0 };
    dz_reader r = dz_reader_over(text);
    dz_status s = DZ_OK;

    for (unsigned number = 1; s == DZ_OK && dz_reader_left(&r) > 0; number++) {
        const uint8_t *end = memchr(r.cur, '\n', dz_reader_left(&r));
        dz_slice line = end ? dz_read_until(&r, '\n') : dz_read_bytes(&r, dz_reader_left(&r));

        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        s = read_line(line, number, &l, err);
    }
    if (s == DZ_OK && (!*l.user || !*l.password))
        s = DZ_FAIL(err, DZ_E_USAGE, "credentials: username or password is missing");
    if (s == DZ_OK)
        *ret_login = l;
    dz_smb_login_wipe(&l);
    return s;
}

static dz_status check_file(const struct stat *st, dz_err *err) {
    if (!S_ISREG(st->st_mode))
        return DZ_FAIL(err, DZ_E_USAGE, "credentials: not a plain file");
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return DZ_FAIL(err, DZ_E_POLICY, "credentials: the file belongs to somebody else (%u)",
                       (unsigned) st->st_uid);
    if (st->st_mode & 077)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "credentials: others may read or write the file (mode %03o); chmod 600",
                       (unsigned) st->st_mode & 0777);
    if (st->st_size > DZ_SMB_LOGIN_FILE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "credentials: %lld bytes, at most %d",
                       (long long) st->st_size, DZ_SMB_LOGIN_FILE_MAX);
    return DZ_OK;
}

dz_status dz_smb_login_read(const char *file, struct dz_smb_login *ret_login, dz_err *err) {
    dz_autoclose int fd = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    uint8_t text[DZ_SMB_LOGIN_FILE_MAX];
    struct stat st;
    ssize_t n;
    dz_status s;

    if (fd < 0 || fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "credentials");
    DZ_TRY(check_file(&st, err));
    n = read(fd, text, sizeof text);
    if (n < 0)
        return DZ_FAIL_ERRNO(err, "credentials");
    s = dz_smb_login_parse((dz_slice){ text, (size_t) n }, ret_login, err);
    explicit_bzero(text, sizeof text);
    return s;
}
