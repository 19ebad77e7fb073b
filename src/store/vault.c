#include "store/vault.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/durable.h"
#include "core/hex.h"
#include "crypto/hash.h"
#include "store/leaf.h"

static const char config_name[] = "vault.yaml";
enum { HOST_KEY_MAX = 4096, DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

static void close_fd(int *fd) {
    if (*fd >= 0)
        (void) dz_os->close(*fd);
    *fd = -1;
}

void dz_vault_free(struct dz_vault *v) {
    if (!v)
        return;
    dz_tlog_close(v->log);
    dz_open_keys_free(v->open);
    dz_host_keys_free(v->host);
    dz_vault_config_release(&v->config);
    close_fd(&v->tmpfd);
    close_fd(&v->cachefd);
    close_fd(&v->indexfd);
    close_fd(&v->logfd);
    close_fd(&v->commitsfd);
    close_fd(&v->packsfd);
    close_fd(&v->dirfd);
    (void) pthread_mutex_destroy(&v->log_lock);
    free(v->path);
    free(v);
}

static dz_status open_dir(int at, const char *name, int *ret_fd, dz_err *err) {
    int fd = dz_os->openat(at, name, DIR_FLAGS | (at == AT_FDCWD ? 0 : O_NOFOLLOW), 0);

    if (fd < 0)
        return errno == ENOENT ? DZ_FAIL(err, DZ_E_NOT_FOUND, "no directory %s", name)
                               : DZ_FAIL_ERRNO(err, "opening directory %s", name);
    *ret_fd = fd;
    return DZ_OK;
}

/* The vault's own directories, in one table: made and opened alike. */
static dz_status open_dirs(struct dz_vault *v, bool make, dz_err *err) {
    struct {
        const char *name;
        int *fd;
    } const dirs[] = {
        { "packs", &v->packsfd }, { "commits", &v->commitsfd }, { "log", &v->logfd },
        { "index", &v->indexfd }, { "cache", &v->cachefd },     { "tmp", &v->tmpfd },
    };

    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        bool cache =
            dirs[i].fd == &v->indexfd || dirs[i].fd == &v->cachefd || dirs[i].fd == &v->tmpfd;
        dz_status s;

        if (make)
            DZ_TRY(dz_durable_mkdir(v->dirfd, dirs[i].name, 0700, err));
        s = open_dir(v->dirfd, dirs[i].name, dirs[i].fd, err);
        if (s == DZ_E_NOT_FOUND && cache) { /* a cache that was deleted comes back empty */
            DZ_TRY(dz_durable_mkdir(v->dirfd, dirs[i].name, 0700, err));
            s = open_dir(v->dirfd, dirs[i].name, dirs[i].fd, err);
        }
        if (s == DZ_E_NOT_FOUND)
            s = DZ_FAIL(err, DZ_E_CORRUPT, "the vault's directory %s is missing", dirs[i].name);
        DZ_TRY(s);
    }
    return DZ_OK;
}

static dz_status vault_blank(const char *path, struct dz_vault **ret_vault, dz_err *err) {
    struct dz_vault *v = calloc(1, sizeof *v);

    if (v) {
        v->dirfd = v->packsfd = v->commitsfd = v->logfd = v->indexfd = v->cachefd = v->tmpfd = -1;
        (void) pthread_mutex_init(&v->log_lock, NULL);
        v->path = strdup(path);
    }
    if (!v || !v->path) {
        free(v);
        return DZ_FAIL(err, DZ_E_NOMEM, "vault: out of memory");
    }
    *ret_vault = v;
    return DZ_OK;
}

/* --- making ---------------------------------------------------------------------------------- */

/* Makes the name of `path` durable.  A directory above that we may write but not read is reached
 * through its file system; `fd` is anything on it. */
static dz_status sync_name(const char *path, int fd, dz_err *err) {
    size_t len = strlen(path);
    char parent[PATH_MAX];
    int above, r;

    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (snprintf(parent, sizeof parent, "%.*s", (int) len, path) >= (int) sizeof parent)
        return DZ_FAIL(err, DZ_E_LIMIT, "a path of %zu bytes, limit is %d", len, PATH_MAX);
    above = dz_os->openat(AT_FDCWD, len ? parent : ".", DIR_FLAGS, 0);
    r = above >= 0 ? dz_os->fsync(above) : errno == EACCES ? dz_os->syncfs(fd) : -1;
    if (r < 0) {
        dz_status s = DZ_FAIL_ERRNO(err, "syncing the directory above");
        close_fd(&above);
        return s;
    }
    close_fd(&above);
    return DZ_OK;
}

static dz_status must_be_nothing(void *ctx, const char *name, dz_err *err) {
    (void) ctx;
    return strcmp(name, "lost+found") == 0
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_EXISTS,
                         "the directory is not empty; a new vault wants an empty one");
}

static dz_status make_empty_dir(const char *path, int *ret_fd, dz_err *err) {
    dz_status s;
    int fd;

    if (dz_os->mkdirat(AT_FDCWD, path, 0700) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making the vault's directory");
    DZ_TRY(open_dir(AT_FDCWD, path, &fd, err));
    s = dz_dir_each(fd, "the vault's directory", must_be_nothing, NULL, err);
    if (s == DZ_OK)
        s = sync_name(path, fd, err);
    if (s != DZ_OK) {
        close_fd(&fd);
        return s;
    }
    *ret_fd = fd;
    return DZ_OK;
}

static dz_status write_host_key(struct dz_vault *v, int tmpfd, const char *elsewhere, dz_err *err) {
    dz_autobuf_secret dz_buf b = { 0 };
    int fd;
    dz_status s;

    dz_host_keys_write(v->host, &b);
    if (!dz_buf_ok(&b))
        return DZ_FAIL(err, DZ_E_NOMEM, "host key: out of memory");
    if (!elsewhere)
        return dz_durable_publish(tmpfd, v->dirfd, "host.key", dz_buf_slice(&b), err);
    fd = dz_os->openat(AT_FDCWD, elsewhere, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                       0600);
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "creating the host key file");
    s = dz_write_all(fd, dz_buf_slice(&b)) < 0 || dz_os->fsync(fd) < 0
            ? DZ_FAIL_ERRNO(err, "writing the host key file")
            : sync_name(elsewhere, fd, err);
    (void) dz_os->close(fd);
    return s;
}

static dz_status fill_config(struct dz_vault *v, const struct dz_vault_new *how,
                             const dz_share *shares, dz_err *err) {
    struct dz_vault_config *c = &v->config;

    c->id = v->host->vault;
    c->epoch = v->host->epoch;
    c->created_us = how->now_us;
    memcpy(c->recipient, v->host->recipient, DZ_KEY_BYTES);
    memcpy(c->log_public, v->host->log_public, DZ_KEY_BYTES);
    c->host_key = how->host_key ? realpath(how->host_key, NULL) : strdup("host.key");
    c->custodians = how->custodians;
    c->threshold = how->threshold;
    c->approvals = how->approvals;
    c->operators = calloc(how->n_operators + 1, sizeof *c->operators);
    c->commitments = calloc(how->custodians + 1, 32);
    if (!c->host_key || !c->operators || !c->commitments)
        return DZ_FAIL(err, DZ_E_NOMEM, "vault: out of memory");
    for (size_t i = 0; i < how->n_operators; i++) {
        c->operators[i] = strdup(how->operators[i]);
        if (!c->operators[i])
            return DZ_FAIL(err, DZ_E_NOMEM, "vault: out of memory");
        c->n_operators++;
    }
    for (unsigned i = 0; shares && i < how->custodians; i++)
        dz_share_commitment(&shares[i], c->commitments + 32 * i);
    return DZ_OK;
}

/* Leaf 0: binds the configuration, and names the keys that all else rests on. */
static dz_status log_genesis(struct dz_vault *v, int tmpfd, dz_slice config, dz_err *err) {
    dz_leaf_object objects[3] = { { .type = DZ_LEAF_OBJ_POLICY },
                                  { .type = DZ_LEAF_OBJ_KEY },
                                  { .type = DZ_LEAF_OBJ_KEY } };
    dz_leaf leaf = { .kind = DZ_LEAF_GENESIS,
                     .time_us = v->config.created_us,
                     .objects = objects,
                     .object_count = 3 };
    DZ_AUTO(dz_tlog) log = NULL;
    dz_autobuf dz_buf bytes = { 0 };
    dz_slice entry;
    uint64_t first;

    dz_sha256(config, objects[0].name);
    dz_sha256((dz_slice){ v->host->recipient, DZ_KEY_BYTES }, objects[1].name);
    dz_sha256((dz_slice){ v->host->log_public, DZ_KEY_BYTES }, objects[2].name);
    DZ_TRY(dz_leaf_write(&leaf, &bytes, err));
    DZ_TRY(dz_tlog_create(v->logfd, tmpfd, &v->host->vault, v->host->log_secret, err));
    DZ_TRY(dz_tlog_open(v->logfd, &v->host->vault, v->host->log_public, &log, err));
    entry = dz_buf_slice(&bytes);
    return dz_tlog_append(log, tmpfd, v->host->log_secret, &entry, 1, &first, err);
}

static dz_status fill_vault(struct dz_vault *v, const struct dz_vault_new *how,
                            const dz_share *shares, int tmpfd, dz_err *err) {
    dz_autobuf dz_buf config = { 0 };

    DZ_TRY(write_host_key(v, tmpfd, how->host_key, err));
    DZ_TRY(fill_config(v, how, shares, err));
    DZ_TRY(dz_vault_config_write(&v->config, &config, err));
    DZ_TRY(log_genesis(v, tmpfd, dz_buf_slice(&config), err));
    return dz_durable_publish(tmpfd, v->dirfd, config_name, dz_buf_slice(&config), err);
}

dz_status dz_vault_create(const struct dz_vault_new *how, const uint8_t root[DZ_ROOT_BYTES],
                          const dz_vault_id *id, const dz_share *shares, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;
    char tmp[DZ_VAULT_TMP_NAME];
    dz_status s;
    int tmpfd;

    DZ_TRY(vault_blank(how->path, &v, err));
    DZ_TRY(dz_keys_derive(root, id, 1, &v->host, NULL, err));
    DZ_TRY(make_empty_dir(how->path, &v->dirfd, err));
    DZ_TRY(open_dirs(v, true, err));
    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    s = fill_vault(v, how, shares, tmpfd, err);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}

/* --- opening --------------------------------------------------------------------------------- */

static dz_status read_host_key(struct dz_vault *v, dz_err *err) {
    dz_autobuf_secret dz_buf b = { 0 };
    const struct dz_vault_config *c = &v->config;
    dz_status s = dz_read_file(v->dirfd, c->host_key, HOST_KEY_MAX, &b, err);

    if (s != DZ_OK)
        return dz_err_context(err, s, "host key");
    DZ_TRY(dz_host_keys_read(dz_buf_slice(&b), &v->host, err));
    if (memcmp(v->host->vault.b, c->id.b, sizeof c->id.b) != 0 || v->host->epoch != c->epoch ||
        memcmp(v->host->recipient, c->recipient, DZ_KEY_BYTES) != 0 ||
        memcmp(v->host->log_public, c->log_public, DZ_KEY_BYTES) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "host key and vault.yaml do not belong together");
    return DZ_OK;
}

/* The log's head must be signed by our key, and its leaf 0 must bind these very bytes. */
static dz_status open_log(struct dz_vault *v, dz_slice config, dz_err *err) {
    dz_autobuf dz_buf entry = { 0 };
    uint8_t want[DZ_SHA256_BYTES];
    bool bound = false;
    dz_leaf leaf;

    DZ_TRY(dz_tlog_open(v->logfd, &v->config.id, v->host->log_public, &v->log, err));
    DZ_TRY(dz_tlog_read(v->log, 0, &entry, err));
    DZ_TRY(dz_leaf_read(dz_buf_slice(&entry), &leaf, err));
    dz_sha256(config, want);
    for (size_t i = 0; leaf.kind == DZ_LEAF_GENESIS && i < leaf.object_count; i++)
        bound |= leaf.objects[i].type == DZ_LEAF_OBJ_POLICY &&
                 memcmp(leaf.objects[i].name, want, sizeof want) == 0;
    return bound ? DZ_OK
                 : DZ_FAIL(err, DZ_E_CORRUPT,
                           "vault.yaml is not the one that leaf 0 of the log binds");
}

dz_status dz_vault_open_damaged(const char *path, struct dz_vault **ret_vault,
                                dz_status *ret_log_status, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_autobuf dz_buf text = { 0 };
    dz_status s;

    DZ_TRY(vault_blank(path, &v, err));
    DZ_TRY(open_dir(AT_FDCWD, path, &v->dirfd, err));
    s = dz_read_file(v->dirfd, config_name, DZ_VAULT_FILE_MAX, &text, err);
    if (s == DZ_E_NOT_FOUND)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "this directory holds no vault (no %s)", config_name);
    DZ_TRY(s);
    DZ_TRY(dz_vault_config_read(dz_buf_slice(&text), &v->config, err));
    DZ_TRY(read_host_key(v, err));
    DZ_TRY(open_dirs(v, false, err));
    s = open_log(v, dz_buf_slice(&text), err);
    if (s != DZ_OK) {
        dz_tlog_close(v->log);
        v->log = NULL;
    }
    *ret_log_status = s;
    *ret_vault = DZ_TAKE(v);
    return DZ_OK;
}

dz_status dz_vault_open(const char *path, struct dz_vault **ret_vault, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_status log_status = DZ_OK;

    DZ_TRY(dz_vault_open_damaged(path, &v, &log_status, err));
    DZ_TRY(log_status);
    *ret_vault = DZ_TAKE(v);
    return DZ_OK;
}

dz_status dz_vault_unlock(struct dz_vault *v, const uint8_t root[DZ_ROOT_BYTES], dz_err *err) {
    DZ_AUTO(dz_host_keys) host = NULL;
    DZ_AUTO(dz_open_keys) open = NULL;

    DZ_TRY(dz_keys_derive(root, &v->config.id, v->config.epoch, &host, &open, err));
    if (memcmp(host->recipient, v->config.recipient, DZ_KEY_BYTES) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "this key belongs to another vault or another epoch");
    dz_open_keys_free(v->open);
    v->open = DZ_TAKE(open);
    return DZ_OK;
}

dz_status dz_vault_append(struct dz_vault *v, int tmpfd, dz_slice leaf, dz_err *err) {
    return dz_vault_append_at(v, tmpfd, leaf, NULL, err);
}

dz_status dz_vault_append_at(struct dz_vault *v, int tmpfd, dz_slice leaf, uint64_t *ret_index,
                             dz_err *err) {
    uint64_t first;
    dz_status s;

    (void) pthread_mutex_lock(&v->log_lock);
    s = dz_tlog_append(v->log, tmpfd, v->host->log_secret, &leaf, 1, &first, err);
    (void) pthread_mutex_unlock(&v->log_lock);
    if (s == DZ_OK && ret_index)
        *ret_index = first;
    return s;
}

/* The real path of the nearest ancestor that is there, and below it what is not there yet. */
static bool future_path(const char *path, char ret[PATH_MAX]) {
    char head[PATH_MAX];
    size_t n = strlen(path);
    const char *rest;

    if (n >= PATH_MAX)
        return false;
    for (;;) {
        (void) snprintf(head, sizeof head, "%.*s", (int) n, path);
        if (realpath(n > 0 ? head : ".", ret))
            break;
        if (n == 0)
            return false;
        while (n > 0 && path[n - 1] == '/')
            n--;
        while (n > 0 && path[n - 1] != '/')
            n--;
    }
    rest = path + n;
    n = strlen(ret);
    while (*rest) { /* nothing is there to be linked elsewhere: component by component */
        size_t len = strcspn(rest, "/");
        if (len > 0 && !(len == 1 && rest[0] == '.')) {
            if (len == 2 && rest[0] == '.' && rest[1] == '.') {
                char *slash = strrchr(ret, '/');
                n = slash > ret ? (size_t) (slash - ret) : 1;
                ret[n] = '\0';
            } else {
                int put =
                    snprintf(ret + n, PATH_MAX - n, "%s%.*s", n > 1 ? "/" : "", (int) len, rest);
                if (put < 0 || (size_t) put >= PATH_MAX - n)
                    return false;
                n += (size_t) put;
            }
        }
        rest += len + (rest[len] == '/');
    }
    return true;
}

bool dz_vault_contains(const char *vault_path, const char *path) {
    char vault[PATH_MAX], there[PATH_MAX];
    size_t n;

    if (!future_path(vault_path, vault) || !future_path(path, there))
        return false;
    n = strlen(vault);
    return strncmp(there, vault, n) == 0 && (there[n] == '\0' || there[n] == '/' || n == 1);
}
