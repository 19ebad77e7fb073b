#include "custody/holder.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "core/hex.h"
#include "crypto/recipient.h"

enum { ANSWER_S = 30, START_S = 120 /* its first leaf waits for the disk */ };

extern char **environ;

struct dz_holder {
    pthread_mutex_t lock; /* one question at a time */
    int fd;
};

/* --- where it listens ------------------------------------------------------------------------- */

static dz_status base_dir(char path[PATH_MAX], dz_err *err) {
    const char *own = getenv("DOZO_RUNTIME_DIR"), *users = getenv("XDG_RUNTIME_DIR");
    int n;

    if (own && *own == '/')
        n = snprintf(path, PATH_MAX, "%s", own);
    else if (geteuid() == 0)
        n = snprintf(path, PATH_MAX, "/run/dozo");
    else if (users && *users == '/')
        n = snprintf(path, PATH_MAX, "%s/dozo", users);
    else
        return DZ_FAIL(err, DZ_E_NOT_FOUND,
                       "no directory for sockets: set DOZO_RUNTIME_DIR or XDG_RUNTIME_DIR");
    return n < PATH_MAX ? DZ_OK : DZ_FAIL(err, DZ_E_LIMIT, "the directory for sockets is too long");
}

dz_status dz_holder_place(const struct dz_vault *v, bool make, char ret_path[DZ_HOLDER_PATH],
                          dz_err *err) {
    char base[PATH_MAX], id[2 * DZ_VAULT_ID_BYTES + 1];
    struct stat st;

    DZ_TRY(base_dir(base, err));
    if (make && mkdir(base, 0700) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making the directory for sockets, %.80s", base);
    if (lstat(base, &st) < 0) {
        if (errno == ENOENT)
            return DZ_FAIL(err, DZ_E_NOT_FOUND, "nobody has opened the vault");
        return DZ_FAIL_ERRNO(err, "looking at the directory for sockets, %.80s", base);
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "%.80s must be a directory of uid %u that nobody else may enter", base,
                       (unsigned) geteuid());
    dz_hex(v->config.id.b, sizeof v->config.id.b, id);
    if (snprintf(ret_path, DZ_HOLDER_PATH, "%s/%s", base, id) >= DZ_HOLDER_PATH)
        return DZ_FAIL(err, DZ_E_LIMIT, "the directory for sockets is too long: %.80s", base);
    return DZ_OK;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void answer_within(int fd, int seconds) {
    const struct timeval t = { .tv_sec = seconds };

    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static dz_status gone(dz_err *err) {
    return DZ_FAIL(err, DZ_E_CLOSED, "the vault was closed meanwhile");
}

/* Takes an answer; its body must have `want` bytes if it is good. */
static dz_status take_answer(int fd, uint8_t *body, size_t want, dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX];
    ssize_t n = recv(fd, packet, sizeof packet, 0);
    dz_status s = DZ_OK;

    if (n < 0 && errno != ECONNRESET)
        s = DZ_FAIL_ERRNO(err, "waiting for the key holder");
    else if (n <= 0)
        s = gone(err);
    else if (packet[0] >= DZ_STATUS_COUNT || (packet[0] == DZ_OK && (size_t) n != 1 + want))
        s = DZ_FAIL(err, DZ_E_MALFORMED, "the key holder answers what makes no sense");
    else if (packet[0] != DZ_OK)
        s = DZ_FAIL(err, (dz_status) packet[0], "%.*s", (int) n - 1, (const char *) packet + 1);
    else if (want > 0)
        memcpy(body, packet + 1, want);
    sodium_memzero(packet, sizeof packet);
    return s;
}

static dz_status say(int fd, const uint8_t *packet, size_t n, dz_err *err) {
    if (send(fd, packet, n, MSG_NOSIGNAL) == (ssize_t) n)
        return DZ_OK;
    return errno == EPIPE || errno == ECONNRESET ? gone(err)
                                                 : DZ_FAIL_ERRNO(err, "asking the key holder");
}

static dz_status ask(struct dz_holder *h, const uint8_t *packet, size_t n, uint8_t *body,
                     size_t want, dz_err *err) {
    dz_status s;

    (void) pthread_mutex_lock(&h->lock);
    s = say(h->fd, packet, n, err);
    if (s == DZ_OK)
        s = take_answer(h->fd, body, want, err);
    (void) pthread_mutex_unlock(&h->lock);
    return s;
}

static void take_state(const uint8_t body[DZ_HOLDER_STATE_BYTES], dz_holder_state *to) {
    *to = (dz_holder_state){ .open = body[0] != 0,
                             .opened_us = (int64_t) dz_load_le(body + 8, 8),
                             .left_us = (int64_t) dz_load_le(body + 16, 8),
                             .pid = (int64_t) dz_load_le(body + 24, 8),
                             .have = (unsigned) dz_load_le(body + 32, 8),
                             .need = (unsigned) dz_load_le(body + 40, 8) };
}

dz_status dz_holder_find(const struct dz_vault *v, struct dz_holder **ret_holder, dz_err *err) {
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    dz_autoclose int fd = -1;
    struct dz_holder *h;
    struct ucred peer;
    socklen_t size = sizeof peer;

    DZ_TRY(dz_holder_place(v, false, at.sun_path, err));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "making a socket");
    if (connect(fd, (const struct sockaddr *) &at, sizeof at) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return DZ_FAIL(err, DZ_E_NOT_FOUND, "nobody has opened the vault");
        return DZ_FAIL_ERRNO(err, "calling the key holder");
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return DZ_FAIL_ERRNO(err, "seeing who the key holder is");
    if (peer.uid != geteuid())
        return DZ_FAIL(err, DZ_E_POLICY, "the key holder is run by uid %u", (unsigned) peer.uid);
    answer_within(fd, ANSWER_S);
    h = calloc(1, sizeof *h);
    if (!h)
        return DZ_FAIL(err, DZ_E_NOMEM, "key holder: out of memory");
    (void) pthread_mutex_init(&h->lock, NULL);
    h->fd = fd;
    fd = -1;
    *ret_holder = h;
    return DZ_OK;
}

void dz_holder_free(struct dz_holder *h) {
    if (!h)
        return;
    (void) close(h->fd);
    (void) pthread_mutex_destroy(&h->lock);
    free(h);
}

dz_status dz_holder_ask_state(struct dz_holder *h, dz_holder_state *ret_state, dz_err *err) {
    const uint8_t packet[] = { DZ_HOLDER_STATE };
    uint8_t body[DZ_HOLDER_STATE_BYTES];

    DZ_TRY(ask(h, packet, sizeof packet, body, sizeof body, err));
    take_state(body, ret_state);
    return DZ_OK;
}

/* How long, the root, and who says so. */
static size_t put_root(uint8_t packet[DZ_HOLDER_PACKET_MAX], const uint8_t root[DZ_ROOT_BYTES],
                       int64_t life_us, const char *who) {
    size_t n = strlen(who) < DZ_HOLDER_WHO_MAX ? strlen(who) : DZ_HOLDER_WHO_MAX;

    packet[0] = DZ_HOLDER_RENEW;
    dz_store_le(packet + 1, 8, (uint64_t) life_us);
    memcpy(packet + 9, root, DZ_ROOT_BYTES);
    memcpy(packet + DZ_HOLDER_RENEW_HEAD, who, n);
    return DZ_HOLDER_RENEW_HEAD + n;
}

static dz_status put_share(uint8_t packet[DZ_HOLDER_PACKET_MAX], const dz_share *share,
                           int64_t life_us, const char *who, size_t *ret_n, dz_err *err) {
    size_t n = strlen(who) < DZ_HOLDER_WHO_MAX ? strlen(who) : DZ_HOLDER_WHO_MAX;
    dz_autobuf_secret dz_buf qr = { 0 };

    DZ_TRY(dz_share_write_qr(share, &qr, err));
    if (qr.len > UINT8_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a share of %zu letters", qr.len);
    packet[0] = DZ_HOLDER_GIVE;
    dz_store_le(packet + 1, 8, (uint64_t) life_us);
    packet[9] = (uint8_t) qr.len;
    memcpy(packet + DZ_HOLDER_GIVE_HEAD, qr.data, qr.len);
    memcpy(packet + DZ_HOLDER_GIVE_HEAD + qr.len, who, n);
    *ret_n = DZ_HOLDER_GIVE_HEAD + qr.len + n;
    return DZ_OK;
}

dz_status dz_holder_give(struct dz_holder *h, const dz_share *share, int64_t life_us,
                         const char *who, dz_holder_state *ret_state, dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX], body[DZ_HOLDER_STATE_BYTES];
    size_t n = 0;
    dz_status s = put_share(packet, share, life_us, who, &n, err);

    if (s == DZ_OK)
        s = ask(h, packet, n, body, sizeof body, err);
    sodium_memzero(packet, sizeof packet);
    if (s == DZ_OK)
        take_state(body, ret_state);
    return s;
}

dz_status dz_holder_renew(struct dz_holder *h, const uint8_t root[DZ_ROOT_BYTES], int64_t life_us,
                          const char *who, dz_holder_state *ret_state, dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX], body[DZ_HOLDER_STATE_BYTES];
    size_t n = put_root(packet, root, life_us, who);
    dz_status s = ask(h, packet, n, body, sizeof body, err);

    sodium_memzero(packet, sizeof packet);
    if (s == DZ_OK)
        take_state(body, ret_state);
    return s;
}

dz_status dz_holder_end(struct dz_holder *h, dz_err *err) {
    const uint8_t packet[] = { DZ_HOLDER_END };

    return ask(h, packet, sizeof packet, NULL, 0, err);
}

/* --- reading through it ----------------------------------------------------------------------- */

static dz_status ask_key(void *who, dz_slice context, dz_slice sealed,
                         uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX];

    if (context.len > DZ_HOLDER_CONTEXT_MAX || sealed.len > DZ_SEALED_KEY_BYTES)
        return DZ_FAIL(err, DZ_E_LIMIT, "a sealed key of %zu bytes in %zu", sealed.len,
                       context.len);
    packet[0] = DZ_HOLDER_KEY;
    dz_store_le(packet + 1, 2, context.len);
    memcpy(packet + 3, context.data, context.len);
    memcpy(packet + 3 + context.len, sealed.data, sealed.len);
    return ask(who, packet, 3 + context.len + sealed.len, ret_key, DZ_KEY_BYTES, err);
}

static void drop(void *who) {
    dz_holder_free(who);
}

dz_status dz_holder_unlock(struct dz_vault *v, struct dz_holder *h, dz_err *err) {
    struct dz_open_keys *open = NULL;

    DZ_TRY(dz_open_keys_elsewhere(v->host, ask_key, drop, h, &open, err));
    dz_open_keys_free(v->open);
    v->open = open;
    return DZ_OK;
}

/* --- starting it ------------------------------------------------------------------------------ */

/* In a session of its own, with nothing of ours but the socket, as its standard input. */
static dz_status spawn(const char *program, const char *path, int fd, pid_t *ret_pid, dz_err *err) {
    const char *const argv[] = { "dozo-keyholder", path, NULL }, *const *list = argv;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char *const *args;
    int e = posix_spawn_file_actions_init(&actions);

    if (e == 0 && (e = posix_spawnattr_init(&attr)) == 0) {
        memcpy(&args, &list, sizeof args); /* POSIX promises not to change them */
        if ((e = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO)) == 0 &&
            (e = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
                                                  0)) == 0 &&
            (e = posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)) == 0 &&
            (e = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID)) == 0)
            e = posix_spawn(ret_pid, program, &actions, &attr, args, environ);
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&actions);
    }
    errno = e;
    return e == 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "starting the key holder");
}

static dz_status start(const char *program, const struct dz_vault *v, const uint8_t *packet,
                       size_t n, dz_holder_state *ret_state, dz_err *err) {
    uint8_t body[DZ_HOLDER_STATE_BYTES];
    dz_autofree char *path = realpath(v->path, NULL);
    dz_autoclose int ours = -1, theirs = -1;
    pid_t child = -1;
    int pair[2];
    dz_status s;

    if (!path || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return DZ_FAIL_ERRNO(err, "starting the key holder");
    ours = pair[0];
    theirs = pair[1];
    DZ_TRY(spawn(program, path, theirs, &child, err));
    (void) close(theirs);
    theirs = -1;
    answer_within(ours, START_S);
    s = say(ours, packet, n, err);
    if (s == DZ_OK)
        s = take_answer(ours, body, sizeof body, err);
    if (s == DZ_OK)
        take_state(body, ret_state);
    else
        (void) waitpid(child, NULL, 0);
    return s == DZ_E_CLOSED ? DZ_FAIL(err, DZ_E_IO, "the key holder did not start") : s;
}

dz_status dz_holder_start(const char *program, const struct dz_vault *v,
                          const uint8_t root[DZ_ROOT_BYTES], int64_t life_us, const char *who,
                          dz_holder_state *ret_state, dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX];
    size_t n = put_root(packet, root, life_us, who);
    dz_status s = start(program, v, packet, n, ret_state, err);

    sodium_memzero(packet, sizeof packet);
    return s;
}

dz_status dz_holder_start_with(const char *program, const struct dz_vault *v, const dz_share *share,
                               int64_t life_us, const char *who, dz_holder_state *ret_state,
                               dz_err *err) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX];
    size_t n = 0;
    dz_status s = put_share(packet, share, life_us, who, &n, err);

    if (s == DZ_OK)
        s = start(program, v, packet, n, ret_state, err);
    sodium_memzero(packet, sizeof packet);
    return s;
}
