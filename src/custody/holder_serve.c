#include "custody/holder_serve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

#include "core/clock.h"
#include "core/hex.h"
#include "crypto/recipient.h"
#include "custody/alarm.h"
#include "custody/holder.h"
#include "custody/holder_sandbox.h"

enum { CALLERS_MAX = 64, SIGNALS = 0, TIMER, LISTEN, FIRST_CALLER };

/* Before the end; microseconds. */
static const int64_t warnings[] = { INT64_C(60) * 60 * 1000000, INT64_C(15) * 60 * 1000000 };
enum { WARNINGS = sizeof warnings / sizeof *warnings };

struct holder {
    struct dz_vault *v;
    char path[DZ_HOLDER_PATH];
    int lockfd;
    int64_t opened_us; /* UTC */
    int64_t end_us;    /* by the boot clock */
    bool warned[WARNINGS];
    struct pollfd fds[FIRST_CALLER + CALLERS_MAX];
    nfds_t n;
    dz_share *shares; /* locked memory; wiped when they are enough, or it took too long */
    unsigned n_shares, need;
    int64_t gather_us;              /* until when the others must have come */
    char who[DZ_HOLDER_PACKET_MAX]; /* whose they are */
    const char *why;                /* it ends; NULL: it does not */
    int asker;                      /* who told it to end, and waits for the answer; -1: nobody */
};

/* Goes on while the machine is suspended, and nobody can set it. */
static int64_t boot_us(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- leaves ----------------------------------------------------------------------------------- */

static dz_status note_open(struct holder *h, const char *event, const char *who, int64_t life_us,
                           dz_err *err) {
    DZ_TRY(dz_ledger_add(h->v, DZ_LEAF_OPEN, 0, NULL, 0,
                         json_pack("{s:s, s:s, s:I}", "event", event, "by", who, "seconds",
                                   (json_int_t) (life_us / 1000000)),
                         NULL, err));
    /* the leaf above is what counts; the alarm tells people */
    DZ_IGNORE(dz_alarm_raise(h->v, DZ_ALARM_WARNING, "vault-opened", NULL, who, NULL));
    syslog(LOG_AUTHPRIV | LOG_WARNING, "vault %s is %s for %lld s", h->v->path, event,
           (long long) (life_us / 1000000));
    return DZ_OK;
}

/* --- time ------------------------------------------------------------------------------------- */

static void set_timer(struct holder *h) {
    int64_t next = h->v->open ? h->end_us : INT64_MAX;
    struct itimerspec at = { 0 };

    if (h->n_shares > 0 && h->gather_us < next)
        next = h->gather_us;
    for (size_t i = 0; i < WARNINGS; i++)
        if (h->v->open && !h->warned[i] && h->end_us - warnings[i] < next)
            next = h->end_us - warnings[i];
    if (next < 1)
        next = 1; /* 0 would switch it off */
    at.it_value.tv_sec = (time_t) (next / 1000000);
    at.it_value.tv_nsec = (long) (next % 1000000) * 1000;
    (void) timerfd_settime(h->fds[TIMER].fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void set_end(struct holder *h, int64_t life_us) {
    h->end_us = boot_us() + life_us;
    for (size_t i = 0; i < WARNINGS; i++)
        h->warned[i] = life_us <= warnings[i];
    set_timer(h);
}

static void forget_shares(struct holder *h) {
    sodium_memzero(h->shares, DZ_SHARES_MAX * sizeof *h->shares);
    h->n_shares = h->need = 0;
    h->who[0] = 0;
}

static void look_at_time(struct holder *h) {
    int64_t now = boot_us(), left = h->end_us - now;
    char text[80];

    if (h->n_shares > 0 && now >= h->gather_us)
        forget_shares(h);
    if (h->v->open ? left <= 0 : h->n_shares == 0) {
        h->why = "time";
        return;
    }
    for (size_t i = 0; i < WARNINGS; i++)
        if (h->v->open && !h->warned[i] && left <= warnings[i]) {
            h->warned[i] = true;
            (void) snprintf(text, sizeof text, "%lld minutes left",
                            (long long) (warnings[i] / 60000000));
            DZ_IGNORE(dz_alarm_raise(h->v, DZ_ALARM_INFO, "vault-closes", NULL, text, NULL));
            syslog(LOG_AUTHPRIV | LOG_WARNING, "vault %s closes: %s", h->v->path, text);
        }
    set_timer(h);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Who does not take the answer at once is hung up on: the caller is a program that waits for it. */
static bool answer(int fd, dz_status s, const void *body, size_t n) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX] = { (uint8_t) s };
    ssize_t sent;

    if (n > 0)
        memcpy(packet + 1, body, n);
    sent = send(fd, packet, 1 + n, MSG_DONTWAIT | MSG_NOSIGNAL);
    sodium_memzero(packet, sizeof packet);
    return sent == (ssize_t) (1 + n);
}

static bool answer_failure(int fd, const dz_err *err) {
    return answer(fd, err->status, err->what, strlen(err->what));
}

static bool answer_state(const struct holder *h, int fd) {
    uint8_t body[DZ_HOLDER_STATE_BYTES];

    dz_store_le(body, 8, h->v->open != NULL);
    dz_store_le(body + 8, 8, (uint64_t) h->opened_us);
    dz_store_le(body + 16, 8, (uint64_t) ((h->v->open ? h->end_us : h->gather_us) - boot_us()));
    dz_store_le(body + 24, 8, (uint64_t) getpid());
    dz_store_le(body + 32, 8, h->n_shares);
    dz_store_le(body + 40, 8, h->need);
    return answer(fd, DZ_OK, body, sizeof body);
}

static bool give_key(struct holder *h, int fd, const uint8_t *packet, size_t n) {
    uint8_t key[DZ_KEY_BYTES];
    dz_err err = { 0 };
    dz_reader r;
    bool sent;
    size_t len;

    if (n < 3 || (len = (size_t) dz_load_le(packet + 1, 2)) > DZ_HOLDER_CONTEXT_MAX || n < 3 + len)
        return false;
    r = dz_reader_over((dz_slice){ packet + 3 + len, n - 3 - len });
    if (!h->v->open) {
        (void) DZ_FAIL(&err, DZ_E_CLOSED, "the vault is not open yet");
        return answer_failure(fd, &err);
    }
    if (dz_recipient_open(h->v->host, h->v->open, (dz_slice){ packet + 3, len }, &r, key, &err) !=
        DZ_OK)
        return answer_failure(fd, &err);
    sent = answer(fd, DZ_OK, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return sent;
}

/* Takes the message that brings the root apart.  False: it is none. */
static bool take_root(uint8_t *packet, size_t n, int64_t *ret_life, const uint8_t **ret_root,
                      char who[DZ_HOLDER_WHO_MAX + 1]) {
    if (n < DZ_HOLDER_RENEW_HEAD || n > DZ_HOLDER_RENEW_HEAD + DZ_HOLDER_WHO_MAX ||
        packet[0] != DZ_HOLDER_RENEW)
        return false;
    *ret_life = (int64_t) dz_load_le(packet + 1, 8);
    *ret_root = packet + 9;
    (void) snprintf(who, DZ_HOLDER_WHO_MAX + 1, "%.*s", (int) (n - DZ_HOLDER_RENEW_HEAD),
                    (const char *) packet + DZ_HOLDER_RENEW_HEAD);
    return *ret_life > 0 && *ret_life <= DZ_HOLDER_LIFE_MAX_US;
}

/* libsodium locks the memory where it can, and says nothing where it cannot. */
static dz_status unlock(struct holder *h, const uint8_t *root, dz_err *err) {
    DZ_TRY(dz_vault_unlock(h->v, root, err));
    if (mlock(h->v->open, sizeof *h->v->open) < 0)
        return DZ_FAIL_ERRNO(err, "locking the key in memory (ulimit -l)");
    return DZ_OK;
}

/* From now on it is open for `life`, and the log has said so. */
static dz_status open_with(struct holder *h, const uint8_t *root, const char *who, int64_t life,
                           dz_err *err) {
    bool was_open = h->v->open != NULL;
    dz_status s = unlock(h, root, err);

    if (s == DZ_OK)
        s = note_open(h, was_open ? "renewed" : "opened", who, life, err);
    if (s != DZ_OK && !was_open) { /* no key without a leaf */
        dz_open_keys_free(h->v->open);
        h->v->open = NULL;
    }
    DZ_TRY(s);
    if (!was_open)
        h->opened_us = dz_now_us();
    set_end(h, life);
    return DZ_OK;
}

static void put_who(struct holder *h, const char *who) {
    size_t n = strlen(h->who);

    (void) snprintf(h->who + n, sizeof h->who - n, "%s%s", n ? "; " : "", who);
}

/* Joins what is there.  DZ_E_CLOSED: more is needed. */
static dz_status join_shares(struct holder *h, int64_t life, dz_err *err) {
    const struct dz_vault_config *c = &h->v->config;
    uint8_t *root = sodium_malloc(DZ_ROOT_BYTES);
    dz_status s;

    if (!root)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory");
    s = dz_share_combine(h->shares, h->n_shares, h->v->host, c->custodians ? c->commitments : NULL,
                         c->custodians, root, NULL, err);
    if (s == DZ_OK)
        s = open_with(h, root, h->who, life, err);
    sodium_free(root);
    return s;
}

static dz_status take_share(struct holder *h, dz_slice qr, int64_t life, const char *who,
                            dz_err *err) {
    dz_share *to = &h->shares[h->n_shares];
    dz_status s;

    if (h->n_shares == DZ_SHARES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "more than %d shares", DZ_SHARES_MAX);
    DZ_TRY(dz_share_read(qr, to, err));
    for (unsigned i = 0; i < h->n_shares; i++)
        if (sodium_memcmp(&h->shares[i], to, sizeof *to) == 0)
            return DZ_OK; /* the same again */
    h->n_shares++;
    s = dz_share_combine(to, 1, h->v->host, h->v->config.commitments, h->v->config.custodians,
                         (uint8_t[DZ_ROOT_BYTES]){ 0 }, NULL, err);
    if (s != DZ_E_CLOSED) { /* alone it must be too little, and nothing else */
        h->n_shares--;
        sodium_memzero(to, sizeof *to);
        return s == DZ_OK ? DZ_FAIL(err, DZ_E_POLICY, "one share opens nothing here") : s;
    }
    if (h->n_shares == 1)
        h->gather_us = boot_us() + DZ_HOLDER_GATHER_US;
    h->need = h->shares[0].threshold;
    put_who(h, who);
    s = join_shares(h, life, err);
    if (s == DZ_OK)
        forget_shares(h);
    set_timer(h);
    return s == DZ_E_CLOSED ? DZ_OK : s;
}

/* Takes the message that brings a share apart.  False: it is none. */
static bool take_gift(uint8_t *packet, size_t n, int64_t *ret_life, dz_slice *ret_qr,
                      char who[DZ_HOLDER_WHO_MAX + 1]) {
    size_t head;

    if (n < DZ_HOLDER_GIVE_HEAD || packet[0] != DZ_HOLDER_GIVE)
        return false;
    *ret_life = (int64_t) dz_load_le(packet + 1, 8);
    *ret_qr = (dz_slice){ packet + DZ_HOLDER_GIVE_HEAD, packet[9] };
    head = DZ_HOLDER_GIVE_HEAD + ret_qr->len;
    if (n < head || n > head + DZ_HOLDER_WHO_MAX)
        return false;
    (void) snprintf(who, DZ_HOLDER_WHO_MAX + 1, "%.*s", (int) (n - head),
                    (const char *) packet + head);
    return *ret_life > 0 && *ret_life <= DZ_HOLDER_LIFE_MAX_US;
}

/* What a message with a root or a share does, the first of all too.  False: it is none. */
static bool take_keys(struct holder *h, uint8_t *packet, size_t n, dz_status *ret_status,
                      dz_err *err) {
    char who[DZ_HOLDER_WHO_MAX + 1];
    const uint8_t *root;
    int64_t life;
    dz_slice qr;

    if (take_root(packet, n, &life, &root, who))
        *ret_status = open_with(h, root, who, life, err);
    else if (take_gift(packet, n, &life, &qr, who))
        *ret_status = take_share(h, qr, life, who, err);
    else
        return false;
    return true;
}

static bool serve_keys(struct holder *h, int fd, uint8_t *packet, size_t n) {
    dz_status s = DZ_OK;
    dz_err err = { 0 };

    if (!take_keys(h, packet, n, &s, &err))
        return false;
    return s == DZ_OK ? answer_state(h, fd) : answer_failure(fd, &err);
}

/* False: hang up. */
static bool serve(struct holder *h, int fd) {
    uint8_t packet[DZ_HOLDER_PACKET_MAX];
    ssize_t n = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
    bool stays = false;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    look_at_time(h); /* after a suspension, before the timer was noticed */
    if (h->why)
        return false;
    if (packet[0] == DZ_HOLDER_KEY) {
        stays = give_key(h, fd, packet, (size_t) n);
    } else if (packet[0] == DZ_HOLDER_STATE) {
        stays = answer_state(h, fd);
    } else if (packet[0] == DZ_HOLDER_RENEW || packet[0] == DZ_HOLDER_GIVE) {
        stays = serve_keys(h, fd, packet, (size_t) n);
    } else if (packet[0] == DZ_HOLDER_END) {
        h->why = "asked";
        h->asker = fd;
        stays = true;
    }
    sodium_memzero(packet, sizeof packet);
    return stays;
}

static void take_call(struct holder *h) {
    int fd = accept4(h->fds[LISTEN].fd, NULL, NULL, SOCK_CLOEXEC);
    struct ucred peer = { .uid = (uid_t) -1 };
    socklen_t size = sizeof peer;

    if (fd < 0)
        return;
    if (h->n == sizeof h->fds / sizeof *h->fds ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        (void) close(fd);
        return;
    }
    h->fds[h->n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

/* --- beginning and end ------------------------------------------------------------------------ */

static dz_status listen_there(struct holder *h, dz_err *err) {
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char lock[DZ_HOLDER_PATH + 8];
    int fd;

    DZ_TRY(dz_holder_place(h->v, true, h->path, err));
    (void) snprintf(lock, sizeof lock, "%s.lock", h->path);
    h->lockfd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (h->lockfd < 0)
        return DZ_FAIL_ERRNO(err, "the key holder's lock");
    if (flock(h->lockfd, LOCK_EX | LOCK_NB) < 0)
        return DZ_FAIL(err, DZ_E_EXISTS, "the vault is open already");
    (void) unlink(h->path); /* of one that was killed */
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(at.sun_path, h->path, sizeof h->path);
    h->fds[LISTEN] = (struct pollfd){ .fd = fd, .events = POLLIN };
    if (fd < 0 || bind(fd, (const struct sockaddr *) &at, sizeof at) < 0 || listen(fd, 16) < 0)
        return DZ_FAIL_ERRNO(err, "the key holder's socket");
    return DZ_OK;
}

static dz_status watch(struct holder *h, dz_err *err) {
    sigset_t set;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGHUP);
    (void) signal(SIGPIPE, SIG_IGN);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);
    h->fds[SIGNALS] = (struct pollfd){ .fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN };
    h->fds[TIMER] =
        (struct pollfd){ .fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK),
                         .events = POLLIN };
    h->n = FIRST_CALLER;
    if (h->fds[SIGNALS].fd < 0 || h->fds[TIMER].fd < 0)
        return DZ_FAIL_ERRNO(err, "the key holder's clock");
    return DZ_OK;
}

static dz_status begin(struct holder *h, const char *vault, uint8_t *packet, size_t n,
                       dz_err *err) {
    dz_status s = DZ_OK;

    /* The stack, too, where that is allowed; the key itself must be.  Not what comes later: for an
     * ordinary user, memory that cannot be locked could then not be had at all. */
    (void) mlockall(MCL_CURRENT);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0)
        return DZ_FAIL_ERRNO(err, "giving up privileges");
    h->shares = sodium_allocarray(DZ_SHARES_MAX, sizeof *h->shares);
    if (!h->shares)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory for shares");
    if (mlock(h->shares, DZ_SHARES_MAX * sizeof *h->shares) < 0)
        return DZ_FAIL_ERRNO(err, "locking memory (ulimit -l)");
    DZ_TRY(dz_vault_open(vault, &h->v, err));
    DZ_TRY(watch(h, err));
    DZ_TRY(listen_there(h, err));
    DZ_TRY(dz_holder_give_away(h->v->path, h->path, err));
    if (!take_keys(h, packet, n, &s, err))
        return DZ_FAIL(err, DZ_E_MALFORMED, "the key holder was told nothing that makes sense");
    return s;
}

static void loop(struct holder *h) {
    while (!h->why) {
        if (poll(h->fds, h->n, -1) < 0 && errno != EINTR)
            h->why = "failed";
        if (h->fds[SIGNALS].revents)
            h->why = "stopped";
        if (h->fds[TIMER].revents)
            look_at_time(h);
        for (nfds_t i = h->n; !h->why && i-- > FIRST_CALLER;)
            if (h->fds[i].revents && !serve(h, h->fds[i].fd)) {
                (void) close(h->fds[i].fd);
                h->fds[i] = h->fds[--h->n];
            }
        if (!h->why && h->fds[LISTEN].revents)
            take_call(h);
    }
}

/* The key goes first; what the log says of it is second. */
static dz_status finish(struct holder *h, dz_err *err) {
    bool was_open = h->v->open != NULL;
    dz_status s = DZ_OK;

    dz_open_keys_free(h->v->open);
    h->v->open = NULL;
    forget_shares(h);
    (void) unlink(h->path);
    if (was_open)
        s = dz_ledger_add(h->v, DZ_LEAF_CLOSE, 0, NULL, 0, json_pack("{s:s}", "why", h->why), NULL,
                          err);
    syslog(LOG_AUTHPRIV | LOG_NOTICE, "vault %s is closed: %s", h->v->path, h->why);
    if (h->asker >= 0)
        (void) (s == DZ_OK ? answer(h->asker, DZ_OK, NULL, 0) : answer_failure(h->asker, err));
    return s;
}

static void release(struct holder *h) {
    sodium_free(h->shares);
    for (nfds_t i = 0; i < h->n; i++)
        if (h->fds[i].fd >= 0)
            (void) close(h->fds[i].fd);
    if (h->lockfd >= 0)
        (void) close(h->lockfd);
    dz_vault_free(h->v);
}

dz_status dz_holder_serve(const char *vault, int startfd, dz_err *err) {
    struct holder h = { .lockfd = -1, .asker = -1 };
    uint8_t packet[DZ_HOLDER_PACKET_MAX];
    ssize_t n = recv(startfd, packet, sizeof packet, 0);
    dz_status s;

    for (size_t i = 0; i < sizeof h.fds / sizeof *h.fds; i++)
        h.fds[i].fd = -1;
    s = begin(&h, vault, packet, n > 0 ? (size_t) n : 0, err);
    sodium_memzero(packet, sizeof packet);
    if (s == DZ_OK) {
        (void) answer_state(&h, startfd);
        (void) close(startfd);
        loop(&h);
        s = finish(&h, err);
    } else {
        (void) answer_failure(startfd, err);
    }
    release(&h);
    return s;
}
