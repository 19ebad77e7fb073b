#include "intake/smb_share.h"

#include <libsmbclient.h>
#include <stdio.h>
#include <sys/mman.h>

#include "core/durable.h"
#include "intake/samba_attr.h"

enum {
    TIMEOUT_MS = 60000, /* of one answer */
    SMB_PORT = 445,
    READS_BETWEEN = 64, /* signs of life on the other connection, while one file is read */
};

struct dz_smb {
    SMBCCTX *ctx;
    struct dz_smb_where where;
    char *directory; /* owned: what where.directory points to */
    struct dz_smb_login login;
    dz_buf url;
    char *acl_text; /* owned, DZ_SAMBA_ACL_TEXT_MAX */
    bool no_acls;
    unsigned reads;
};

struct dz_smb_file {
    struct dz_smb *smb;
    SMBCFILE *file;
};

/* Everything that bears on whom we speak to and how.  Names are looked up as everywhere on this
 * system, never by asking around the network. */
static const char settings[] = "[global]\n"
                               "client signing = required\n"
                               "client ipc signing = required\n"
                               "client ntlmv2 auth = yes\n"
                               "client lanman auth = no\n"
                               "client plaintext auth = no\n"
                               "client use kerberos = off\n"
                               "client ipc min protocol = SMB2_02\n"
                               "name resolve order = host\n"
                               "disable netbios = yes\n"
                               "unix charset = UTF-8\n"
                               "load printers = no\n"
                               "cache directory = /nonexistent\n"
                               "lock directory = /nonexistent\n"
                               "state directory = /nonexistent\n"
                               "private dir = /nonexistent\n";

static dz_status configure(SMBCCTX *ctx, dz_err *err) {
    dz_autoclose int fd = memfd_create("smb.conf", MFD_CLOEXEC);
    char path[40];

    if (fd < 0 || dz_write_all(fd, DZ_SLICE_LIT(settings)) != 0)
        return DZ_FAIL_ERRNO(err, "libsmbclient's settings");
    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (smbc_setConfiguration(ctx, path) != 0)
        return DZ_FAIL_ERRNO(err, "libsmbclient's settings");
    return DZ_OK;
}

/* Its messages hold names of files. */
static void say_nothing(void *ctx, int level, const char *text) {
    (void) ctx;
    (void) level;
    (void) text;
}

static void put_text(char *to, int room, const char *text) {
    if (room > 0 && *text)
        (void) snprintf(to, (size_t) room, "%s", text);
}

static void log_in(SMBCCTX *ctx, const char *server, const char *share, char *domain, int domain_n,
                   char *user, int user_n, char *password, int password_n) {
    const struct dz_smb *s = smbc_getOptionUserData(ctx);

    (void) server;
    (void) share;
    put_text(domain, domain_n, s->login.domain);
    put_text(user, user_n, s->login.user);
    put_text(password, password_n, s->login.password);
}

static dz_status set_up(struct dz_smb *s, enum dz_smb_guard guard, dz_err *err) {
    bool encrypted = guard == DZ_SMB_ENCRYPTED;

    /* before the library looks: a directory that is not there holds no smb.conf of its own */
    if (setenv("HOME", "/nonexistent", 1) != 0)
        return DZ_FAIL_ERRNO(err, "environment");
    s->ctx = smbc_new_context();
    if (!s->ctx)
        return DZ_FAIL(err, DZ_E_NOMEM, "libsmbclient: out of memory");
    DZ_TRY(configure(s->ctx, err));
    smbc_setLogCallback(s->ctx, NULL, say_nothing);
    smbc_setDebug(s->ctx, 0);
    smbc_setTimeout(s->ctx, TIMEOUT_MS);
    smbc_setPort(s->ctx, s->where.port ? s->where.port : SMB_PORT);
    smbc_setOptionUserData(s->ctx, s);
    smbc_setFunctionAuthDataWithContext(s->ctx, log_in);
    smbc_setOptionNoAutoAnonymousLogin(s->ctx, 1);
    smbc_setOptionUseKerberos(s->ctx, 0);
    smbc_setOptionUseCCache(s->ctx, 0);
    smbc_setOptionSmbEncryptionLevel(s->ctx, encrypted ? SMBC_ENCRYPTLEVEL_REQUIRE
                                                       : SMBC_ENCRYPTLEVEL_REQUEST);
    if (!smbc_setOptionProtocols(s->ctx, encrypted ? "SMB3_00" : "SMB2_02", "SMB3_11") ||
        !smbc_init_context(s->ctx))
        return DZ_FAIL_ERRNO(err, "libsmbclient");
    return DZ_OK;
}

/* NUL-terminated, until the next call; NULL when memory ran out. */
static const char *url_of(struct dz_smb *s, dz_slice path, const char *stream) {
    dz_buf_clear(&s->url);
    dz_smb_url(&s->where, path, &s->url);
    if (stream) {
        s->url.len--;
        dz_buf_printf(&s->url, "%%3A%s", stream);
        dz_buf_put_u8(&s->url, 0);
    }
    return dz_buf_ok(&s->url) ? (const char *) s->url.data : NULL;
}

static int last_errno(void) {
    return errno ? errno : EIO;
}

static int stat_root(struct dz_smb *s) {
    const char *url = url_of(s, (dz_slice){ 0 }, NULL);
    struct stat st;

    errno = 0;
    if (!url)
        return ENOMEM;
    return smbc_getFunctionStat(s->ctx)(s->ctx, url, &st) == 0 ? 0 : last_errno();
}

/* libsmbclient 4.17 asks for encryption only on its way to a DFS referral, and goes on without it:
 * what it says about the connections that stand is what counts. */
static bool all_encrypted(const struct dz_smb *s) {
    char option[] = "smb_encrypt_on";
    return smbc_option_get(s->ctx, option) != NULL;
}

static dz_status connect_to(struct dz_smb *s, enum dz_smb_guard guard, dz_err *err) {
    const char *server = s->where.server, *share = s->where.share;
    dz_autobuf dz_buf acl = { 0 };
    int e = stat_root(s);

    if (e == 0 && guard == DZ_SMB_ENCRYPTED && !all_encrypted(s))
        return DZ_FAIL(err, DZ_E_POLICY,
                       "//%s/%s: the server does not encrypt; have it require encryption for this "
                       "share",
                       server, share);
    /* opens the second connection, on which libsmbclient asks for security descriptors: later none
     * can be opened */
    if (e == 0)
        s->no_acls = dz_smb_acl(s, (dz_slice){ 0 }, &acl) == ENODATA;
    errno = e;
    switch (e) {
    case 0:
        break;
    case EPERM:
    case EACCES:
        errno = EACCES;
        return DZ_FAIL_ERRNO(err, "//%s/%s: not with this user name and password", server, share);
    case ENOENT:
        return DZ_FAIL_ERRNO(err, "//%s/%s: no such share or directory", server, share);
    case ECONNABORTED: /* speaks SMB 1 only */
    case ENOSYS:
        errno = EPROTONOSUPPORT;
        return DZ_FAIL_ERRNO(err, "//%s/%s: the server speaks no %s", server, share,
                             guard == DZ_SMB_ENCRYPTED ? "SMB 3" : "SMB 2 or 3");
    case EINVAL:
        errno = EHOSTUNREACH;
        return DZ_FAIL_ERRNO(err, "//%s/%s: there is no server of this name", server, share);
    default:
        return DZ_FAIL_ERRNO(err, "//%s/%s: cannot connect", server, share);
    }
    return !all_encrypted(s) && guard == DZ_SMB_ENCRYPTED
               ? DZ_FAIL(err, DZ_E_POLICY, "//%s/%s: a second connection is not encrypted", server,
                         share)
               : DZ_OK;
}

dz_status dz_smb_open(const struct dz_smb_where *where, const struct dz_smb_login *login,
                      enum dz_smb_guard guard, struct dz_smb **ret_smb, dz_err *err) {
    DZ_AUTO(dz_smb) s = calloc(1, sizeof *s);

    if (!s)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    s->where = *where;
    s->login = *login;
    s->directory = strdup(where->directory);
    s->where.directory = s->directory;
    s->acl_text = malloc(DZ_SAMBA_ACL_TEXT_MAX);
    if (!s->directory || !s->acl_text)
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    DZ_TRY(set_up(s, guard, err));
    DZ_TRY(connect_to(s, guard, err));
    *ret_smb = DZ_TAKE(s);
    return DZ_OK;
}

void dz_smb_close(struct dz_smb *s) {
    if (!s)
        return;
    if (s->ctx)
        (void) smbc_free_context(s->ctx, 1);
    dz_smb_login_wipe(&s->login);
    dz_buf_release(&s->url);
    free(s->directory);
    free(s->acl_text);
    free(s);
}

bool dz_smb_lost(struct dz_smb *s) {
    return stat_root(s) != 0;
}

/* --- directories ------------------------------------------------------------------------------ */

static int give(const struct libsmb_file_info *info,
                int (*each)(void *ctx, const struct dz_smb_item *item), void *ctx) {
    struct dz_smb_item item = {
        .name = { (const uint8_t *) info->name, strlen(info->name) },
        .size = info->attrs & DZ_DOS_DIRECTORY ? 0 : info->size,
        .attributes = info->attrs,
        .modified = info->mtime_ts,
        .changed = info->ctime_ts,
        .created = info->btime_ts,
    };
    return strcmp(info->name, "..") == 0 ? 0 : each(ctx, &item);
}

int dz_smb_list(struct dz_smb *s, dz_slice path,
                int (*each)(void *ctx, const struct dz_smb_item *item), void *ctx) {
    const char *url = url_of(s, path, NULL);
    const struct libsmb_file_info *info;
    SMBCFILE *dir;
    int e = 0;

    if (!url)
        return ENOMEM;
    errno = 0;
    dir = smbc_getFunctionOpendir(s->ctx)(s->ctx, url);
    if (!dir)
        return last_errno();
    while (e == 0 && (info = smbc_getFunctionReaddirPlus(s->ctx)(s->ctx, dir)))
        e = give(info, each, ctx);
    (void) smbc_getFunctionClosedir(s->ctx)(s->ctx, dir);
    return e;
}

/* --- files ------------------------------------------------------------------------------------ */

int dz_smb_file_open(struct dz_smb *s, dz_slice path, const char *stream,
                     struct dz_smb_file **ret_file) {
    const char *url = url_of(s, path, stream);
    struct dz_smb_file *f = malloc(sizeof *f);

    if (!url || !f) {
        free(f);
        return ENOMEM;
    }
    errno = 0;
    *f = (struct dz_smb_file){ .smb = s,
                               .file = smbc_getFunctionOpen(s->ctx)(s->ctx, url, O_RDONLY, 0) };
    if (!f->file) {
        int e = last_errno();
        free(f);
        return e == ETXTBSY ? EBUSY : e;
    }
    *ret_file = f;
    return 0;
}

void dz_smb_file_close(struct dz_smb_file *f) {
    if (!f)
        return;
    (void) smbc_getFunctionClose(f->smb->ctx)(f->smb->ctx, f->file);
    free(f);
}

int dz_smb_file_stat(struct dz_smb_file *f, struct dz_smb_item *ret_item) {
    struct stat st;

    errno = 0;
    if (smbc_getFunctionFstat(f->smb->ctx)(f->smb->ctx, f->file, &st) != 0)
        return last_errno();
    *ret_item = (struct dz_smb_item){ .size = (uint64_t) st.st_size,
                                      .modified = st.st_mtim,
                                      .changed = st.st_ctim };
    return 0;
}

int dz_smb_file_read(struct dz_smb_file *f, void *to, size_t n, size_t *ret_n) {
    struct dz_smb *s = f->smb;
    size_t have = 0;

    if (++s->reads % READS_BETWEEN == 0) { /* servers drop what is idle for minutes */
        dz_autobuf dz_buf acl = { 0 };
        (void) dz_smb_acl(s, (dz_slice){ 0 }, &acl);
    }
    while (have < n) {
        ssize_t got;

        errno = 0;
        got = smbc_getFunctionRead(s->ctx)(s->ctx, f->file, (char *) to + have, n - have);
        if (got < 0)
            return last_errno();
        if (got == 0)
            break;
        have += (size_t) got;
    }
    *ret_n = have;
    return 0;
}

int dz_smb_acl(struct dz_smb *s, dz_slice path, dz_buf *to) {
    const char *url = url_of(s, path, NULL);
    size_t len;

    if (s->no_acls)
        return ENOTSUP;
    if (!url)
        return ENOMEM;
    errno = 0;
    s->acl_text[0] = '\0';
    if (smbc_getFunctionGetxattr(s->ctx)(s->ctx, url, "system.nt_sec_desc.*", s->acl_text,
                                         DZ_SAMBA_ACL_TEXT_MAX) < 0)
        return last_errno();
    len = strnlen(s->acl_text, DZ_SAMBA_ACL_TEXT_MAX);
    if (len + 1 >= DZ_SAMBA_ACL_TEXT_MAX) /* filled to the brim: cut off */
        return ERANGE;
    dz_buf_put(to, s->acl_text, len);
    return dz_buf_ok(to) ? 0 : ENOMEM;
}
