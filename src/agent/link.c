#include "agent/link.h"

#include <poll.h>
#include <time.h>

#include "core/clock.h"
#include "net/listen.h"

enum { CONNECT_MS = 30000, HANDSHAKE_MS = 30000, SLICES_A_SECOND = 20 };

struct link_rate {
    uint64_t rate;   /* bytes a second; 0: any */
    int64_t next_us; /* when the next may go */
};

struct dz_link {
    int fd;
    int timeout_ms;
    struct dz_tls *tls;
    struct link_rate rate;
};

static dz_status wait_for(const struct dz_link *l, int timeout_ms, dz_err *err) {
    struct pollfd p = { .fd = l->fd, .events = dz_tls_wants(l->tls) };
    int n;

    do
        n = poll(&p, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        errno = ETIMEDOUT;
    return n > 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "waiting for the vault");
}

static dz_status lost(const struct dz_link *l, enum dz_tls_result r, dz_err *err) {
    if (r == DZ_TLS_FAILED && !dz_tls_lost(l->tls))
        return DZ_FAIL(err, DZ_E_POLICY, "this is not our vault, or it does not take us: %s",
                       dz_tls_why(l->tls));
    return DZ_FAIL(err, DZ_E_IO, "the vault ended the connection");
}

/* How many of n bytes may go now; waits until it is one at least. */
static size_t allowed(struct link_rate *r, size_t n) {
    uint64_t most = r->rate / SLICES_A_SECOND + 1;
    int64_t now = dz_monotonic_us();

    if (r->rate == 0)
        return n;
    if (r->next_us > now) {
        struct timespec t = { .tv_sec = (r->next_us - now) / 1000000,
                              .tv_nsec = (r->next_us - now) % 1000000 * 1000 };
        (void) nanosleep(&t, NULL);
    } else {
        r->next_us = now;
    }
    return n < most ? n : (size_t) most;
}

static void went(struct link_rate *r, size_t n) {
    if (r->rate > 0)
        r->next_us += (int64_t) (n * UINT64_C(1000000) / r->rate);
}

static dz_status link_send(void *ctx, dz_slice bytes, dz_err *err) {
    struct dz_link *l = ctx;

    while (bytes.len > 0) {
        size_t n = 0, most = allowed(&l->rate, bytes.len);
        enum dz_tls_result r = dz_tls_write(l->tls, (dz_slice){ bytes.data, most }, &n);

        if (r == DZ_TLS_WAIT) {
            DZ_TRY(wait_for(l, l->timeout_ms, err));
            continue;
        }
        if (r != DZ_TLS_OK)
            return lost(l, r, err);
        went(&l->rate, n);
        bytes.data += n;
        bytes.len -= n;
    }
    return DZ_OK;
}

static dz_status link_receive(void *ctx, uint8_t *to, size_t room, size_t *ret_len, dz_err *err) {
    struct dz_link *l = ctx;
    enum dz_tls_result r;

    while ((r = dz_tls_read(l->tls, to, room, ret_len)) == DZ_TLS_WAIT)
        DZ_TRY(wait_for(l, l->timeout_ms, err));
    return r == DZ_TLS_OK ? DZ_OK : lost(l, r, err);
}

struct dz_push_wire dz_link_wire(struct dz_link *l) {
    return (struct dz_push_wire){ link_send, link_receive, l };
}

static dz_status handshake(struct dz_link *l, dz_err *err) {
    enum dz_tls_result r;
    uint8_t key[DZ_CA_KEY];

    while ((r = dz_tls_handshake(l->tls)) == DZ_TLS_WAIT)
        DZ_TRY(wait_for(l, HANDSHAKE_MS, err));
    if (r != DZ_TLS_OK)
        return lost(l, r, err);
    return dz_tls_peer_key(l->tls, key) ? DZ_OK
                                        : DZ_FAIL(err, DZ_E_POLICY, "this is not our vault");
}

dz_status dz_link_open(const struct dz_link_how *how, struct dz_link **ret_link, dz_err *err) {
    DZ_AUTO(dz_link) l = calloc(1, sizeof *l);

    if (!l)
        return DZ_FAIL(err, DZ_E_NOMEM, "connection: out of memory");
    l->fd = -1;
    l->timeout_ms = how->timeout_ms;
    l->rate.rate = how->rate;
    DZ_TRY(dz_connect_to(how->server, CONNECT_MS, &l->fd, err));
    DZ_TRY(dz_tls_new(&how->tls, l->fd, &l->tls, err));
    DZ_TRY(handshake(l, err));
    *ret_link = DZ_TAKE(l);
    return DZ_OK;
}

void dz_link_close(struct dz_link *l) {
    if (!l)
        return;
    if (l->tls)
        (void) dz_tls_close(l->tls);
    dz_tls_free(l->tls);
    if (l->fd >= 0)
        (void) close(l->fd);
    free(l);
}
