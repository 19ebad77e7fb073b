#include "agent/state.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/durable.h"

static const char key_name[] = "key", identity_name[] = "identity", run_name[] = "run";

enum { IDENTITY_MAX = 2 * DZ_CERT_MAX + 512 };

/* --- reading ---------------------------------------------------------------------------------- */

static dz_status lock(const char *path, int *ret_fd, dz_err *err) {
    dz_autoclose int fd = -1;
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making %.100s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "opening %.100s", path);
    if (st.st_uid != geteuid() || st.st_mode & 077)
        return DZ_FAIL(err, DZ_E_POLICY, "%.100s must belong to who runs the agent, with mode 0700",
                       path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? DZ_FAIL(err, DZ_E_BUSY, "another agent works with %.100s", path)
                   : DZ_FAIL_ERRNO(err, "locking %.100s", path);
    *ret_fd = fd;
    fd = -1;
    return DZ_OK;
}

static void use_seed(struct dz_agent_state *s, const uint8_t seed[DZ_CA_KEY]) {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    memcpy(s->seed, seed, sizeof s->seed);
    (void) crypto_sign_seed_keypair(s->key, secret, s->seed);
    sodium_memzero(secret, sizeof secret);
}

static dz_status read_key(struct dz_agent_state *s, bool *ret_there, dz_err *err) {
    dz_autobuf_secret dz_buf file = { 0 };
    dz_status st = dz_read_file(s->dirfd, key_name, sizeof s->seed, &file, err);

    *ret_there = false;
    if (st == DZ_E_NOT_FOUND)
        return DZ_OK;
    DZ_TRY(st);
    if (file.len != sizeof s->seed)
        return DZ_FAIL(err, DZ_E_CORRUPT, "the agent's key is cut short");
    use_seed(s, file.data);
    *ret_there = true;
    return DZ_OK;
}

static dz_status take_identity(struct dz_agent_state *s, dz_slice bytes, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    dz_slice source = dz_read_field(&r), cert = dz_read_field(&r), authority = dz_read_field(&r);

    if (!dz_reader_done(&r) || source.len == 0 || source.len > DZ_SOURCE_NAME_MAX ||
        cert.len > DZ_CERT_MAX || authority.len > DZ_CERT_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "the agent's identity is damaged");
    dz_buf_put_slice(&s->cert, cert);
    dz_buf_put_slice(&s->authority, authority);
    if (!dz_buf_ok(&s->cert) || !dz_buf_ok(&s->authority))
        return DZ_FAIL(err, DZ_E_NOMEM, "identity: out of memory");
    memcpy(s->source, source.data, source.len);
    s->source[source.len] = '\0';
    return DZ_OK;
}

static dz_status read_identity(struct dz_agent_state *s, dz_err *err) {
    dz_autobuf dz_buf file = { 0 };
    dz_status st = dz_read_file(s->dirfd, identity_name, IDENTITY_MAX, &file, err);

    if (st == DZ_E_NOT_FOUND)
        return DZ_OK;
    DZ_TRY(st);
    return take_identity(s, dz_buf_slice(&file), err);
}

/* What an agent that was killed had begun to write. */
static dz_status sweep(void *ctx, const char *name, dz_err *err) {
    const struct dz_agent_state *s = ctx;

    (void) err;
    if (strncmp(name, "t-", 2) == 0)
        (void) dz_os->unlinkat(s->dirfd, name, 0);
    return DZ_OK;
}

dz_status dz_agent_state_open(const char *path, struct dz_agent_state *ret, dz_err *err) {
    struct dz_agent_state s = { .dirfd = -1 };
    bool key = false;
    dz_status st = lock(path, &s.dirfd, err);

    if (st == DZ_OK)
        st = dz_dir_each(s.dirfd, path, sweep, &s, err);
    if (st == DZ_OK)
        st = read_key(&s, &key, err);
    if (st == DZ_OK && key)
        st = read_identity(&s, err);
    if (st != DZ_OK)
        dz_agent_state_close(&s);
    else
        *ret = s;
    sodium_memzero(s.seed, sizeof s.seed);
    return st;
}

void dz_agent_state_close(struct dz_agent_state *s) {
    if (s->dirfd > 0)
        (void) close(s->dirfd);
    dz_buf_release(&s->cert);
    dz_buf_release(&s->authority);
    sodium_memzero(s, sizeof *s);
    s->dirfd = -1;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t len) {
    return sodium_is_zero(bytes, len) == 1;
}

dz_status dz_agent_make_key(struct dz_agent_state *s, dz_err *err) {
    uint8_t seed[DZ_CA_KEY];
    dz_status st;

    if (!is_zero(s->key, sizeof s->key))
        return DZ_OK;
    dz_random(seed, sizeof seed);
    st = dz_durable_publish(s->dirfd, s->dirfd, key_name, (dz_slice){ seed, sizeof seed }, err);
    if (st == DZ_OK)
        use_seed(s, seed);
    sodium_memzero(seed, sizeof seed);
    return st;
}

dz_status dz_agent_set_identity(struct dz_agent_state *s, const struct dz_wire_cert *m,
                                dz_err *err) {
    dz_autobuf dz_buf file = { 0 };
    uint8_t key[DZ_CA_KEY];

    if (!dz_cert_key(m->cert, key) || memcmp(key, s->key, sizeof key) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "the vault gave a certificate of another key");
    dz_buf_put_field(&file, m->source);
    dz_buf_put_field(&file, m->cert);
    dz_buf_put_field(&file, m->ca);
    if (!dz_buf_ok(&file))
        return DZ_FAIL(err, DZ_E_NOMEM, "identity: out of memory");
    DZ_TRY(take_identity(s, dz_buf_slice(&file), err));
    return dz_durable_replace(s->dirfd, s->dirfd, identity_name, dz_buf_slice(&file), err);
}

dz_status dz_agent_sign(void *state, const uint8_t digest[DZ_SHA256_BYTES],
                        uint8_t ret_proof[DZ_WIRE_PROOF], dz_err *err) {
    const struct dz_agent_state *s = state;
    uint8_t secret[crypto_sign_SECRETKEYBYTES], key[crypto_sign_PUBLICKEYBYTES];

    (void) err;
    (void) crypto_sign_seed_keypair(key, secret, s->seed);
    (void) crypto_sign_detached(ret_proof, NULL, digest, DZ_SHA256_BYTES, secret);
    sodium_memzero(secret, sizeof secret);
    return DZ_OK;
}

void dz_agent_secret(const struct dz_agent_state *s, uint8_t ret[DZ_KEY_BYTES]) {
    dz_key_derive(s->seed, "agent cache", (dz_slice){ 0 }, ret);
}

/* --- the run ---------------------------------------------------------------------------------- */

dz_status dz_agent_run(struct dz_agent_state *s, uint8_t ret_run[DZ_WIRE_RUN], bool *ret_again,
                       dz_err *err) {
    dz_autobuf dz_buf file = { 0 };
    uint8_t run[DZ_WIRE_RUN];
    dz_status st = dz_read_file(s->dirfd, run_name, DZ_WIRE_RUN, &file, err);

    if (st != DZ_OK && st != DZ_E_NOT_FOUND)
        return st;
    *ret_again = file.len == DZ_WIRE_RUN;
    if (*ret_again) {
        memcpy(ret_run, file.data, DZ_WIRE_RUN);
        return DZ_OK;
    }
    dz_random(run, sizeof run);
    DZ_TRY(dz_durable_replace(s->dirfd, s->dirfd, run_name, (dz_slice){ run, sizeof run }, err));
    memcpy(ret_run, run, sizeof run);
    return DZ_OK;
}

dz_status dz_agent_run_over(struct dz_agent_state *s, dz_err *err) {
    if (dz_os->unlinkat(s->dirfd, run_name, 0) < 0 && errno != ENOENT)
        return DZ_FAIL_ERRNO(err, "forgetting a run that is over");
    return DZ_OK;
}
