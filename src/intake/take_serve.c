#include "intake/take_serve.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/clock.h"

enum {
    READ_BYTES = 64 << 10,
    OUT_MAX = 64 << 10, /* answers that the source has not taken: until then no more is read */
    LINGER_MS = 5000,   /* for a source to see why it was refused */
};

struct conn {
    int fd;
    struct dz_take *take;
    const struct dz_take_times *times;
    int64_t began_us, moved_us; /* monotonic */
    uint8_t bytes[READ_BYTES];
};

static int64_t until_ms(int64_t end_us) {
    int64_t left = (end_us - dz_monotonic_us()) / 1000;

    return left < 0 ? 0 : left > 60000 ? 60000 : left;
}

/* Sends what waits.  False when the source is gone. */
static bool say(struct conn *c) {
    dz_slice out;

    while ((out = dz_take_out(c->take)).len > 0) {
        ssize_t n = send(c->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        dz_take_sent(c->take, (size_t) n);
        c->moved_us = dz_monotonic_us();
    }
    return true;
}

/* Takes what is there.  False when the source is gone. */
static bool hear(struct conn *c) {
    ssize_t n = recv(c->fd, c->bytes, sizeof c->bytes, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    dz_take_feed(c->take, (dz_slice){ c->bytes, (size_t) n });
    c->moved_us = dz_monotonic_us(); /* after the vault's own work, which is not the source's */
    return true;
}

static void refuse_slow(struct conn *c, int seconds) {
    const struct dz_wire_refused m = { .code = DZ_WIRE_TOO_SLOW,
                                       .after_s = 60,
                                       .number = (uint64_t) seconds,
                                       .limit = (uint64_t) seconds };

    dz_take_refuse(c->take, &m);
}

/* Moves bytes until the take is at its end, or the source. */
static void talk(struct conn *c) {
    while (dz_take_state(c->take)->is == DZ_TAKE_OPEN) {
        int64_t idle_end = c->moved_us + (int64_t) c->times->idle_s * 1000000;
        bool begun = dz_take_state(c->take)->running || c->times->begin_s == 0;
        int run_s = begun ? c->times->run_s : c->times->begin_s;
        int64_t run_end = c->began_us + (int64_t) run_s * 1000000;
        size_t waiting = dz_take_out(c->take).len;
        struct pollfd p = { .fd = c->fd,
                            .events = (short) ((waiting < OUT_MAX ? POLLIN : 0) |
                                               (waiting > 0 ? POLLOUT : 0)) };
        int n = poll(&p, 1, (int) until_ms(idle_end < run_end ? idle_end : run_end));

        if (n < 0 && errno != EINTR)
            dz_take_cut(c->take);
        if (dz_monotonic_us() >= run_end)
            refuse_slow(c, run_s);
        else if (n == 0 && dz_monotonic_us() >= idle_end)
            refuse_slow(c, c->times->idle_s);
        else if (n > 0 && ((p.revents & POLLOUT && !say(c)) ||
                           (p.revents & (POLLIN | POLLHUP | POLLERR) && !hear(c)) || !say(c)))
            dz_take_cut(c->take);
    }
}

/* The last answer, and then whatever the source still sends, unread: a socket that is closed with
 * bytes in it takes the answer back. */
static void linger(struct conn *c) {
    int64_t end = dz_monotonic_us() + (int64_t) LINGER_MS * 1000;
    bool shut = false, there = true;

    while (there && dz_monotonic_us() < end) {
        struct pollfd p = { .fd = c->fd };
        ssize_t n;

        there = say(c);
        if (there && !shut && dz_take_out(c->take).len == 0)
            shut = shutdown(c->fd, SHUT_WR) == 0;
        p.events = (short) (POLLIN | (shut ? 0 : POLLOUT));
        if (!there || poll(&p, 1, (int) until_ms(end)) <= 0)
            continue;
        n = p.revents & (POLLIN | POLLHUP | POLLERR)
                ? recv(c->fd, c->bytes, sizeof c->bytes, MSG_DONTWAIT)
                : 1;
        there = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
    }
}

dz_status dz_take_serve(int fd, const struct dz_take_how *how, const struct dz_take_times *times,
                        struct dz_take_state *ret_state, dz_err *err) {
    dz_autofree struct conn *c = calloc(1, sizeof *c);
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return DZ_FAIL_ERRNO(err, "the socket of a source");
    if (!c)
        return DZ_FAIL(err, DZ_E_NOMEM, "connection: out of memory");
    c->fd = fd;
    c->times = times;
    c->began_us = c->moved_us = dz_monotonic_us();
    DZ_TRY(dz_take_new(how, &c->take, err));
    talk(c);
    *ret_state = *dz_take_state(c->take);
    if (ret_state->is != DZ_TAKE_CUT)
        linger(c);
    dz_take_free(c->take);
    return DZ_OK;
}
