#include "net/gate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/sandbox.h"

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 3,
    BUFFER = 32 << 10,
    CONFIG_MS = 5000,
    LINGER_MS = 5000,       /* for the last answer to be read */
    MEMORY_MAX = 256 << 20, /* of address space, most of it libraries */
};

struct gate {
    int net, pair;
    struct dz_tls *tls;
    /* from the network, and to it */
    uint8_t in[BUFFER], out[BUFFER];
    dz_slice in_left, out_left;
    bool in_end, out_end;
    short in_wants, out_wants;
};

/* --- what it is told -------------------------------------------------------------------------- */

void dz_gate_config_put(dz_buf *to, const struct dz_gate_config *c) {
    dz_buf_put_u8(to, c->strangers);
    dz_buf_put_u8(to, c->sandbox);
    dz_buf_put(to, c->seed, sizeof c->seed);
    dz_buf_put_field(to, c->cert);
    dz_buf_put_field(to, c->authority);
}

dz_status dz_gate_config_read(dz_slice bytes, struct dz_gate_config *ret, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    uint8_t strangers = dz_read_u8(&r), sandbox = dz_read_u8(&r);
    dz_slice seed = dz_read_bytes(&r, sizeof ret->seed);
    struct dz_gate_config c = { .strangers = strangers == 1, .sandbox = sandbox != 0 };

    c.cert = dz_read_field(&r);
    c.authority = dz_read_field(&r);
    if (!dz_reader_done(&r) || strangers > 1 || sandbox > 1)
        return DZ_FAIL(err, DZ_E_MALFORMED, "gate: what it is told makes no sense");
    memcpy(c.seed, seed.data, seed.len);
    *ret = c;
    return DZ_OK;
}

static dz_status hear_config(int pair, uint8_t bytes[DZ_GATE_CONFIG_MAX],
                             struct dz_gate_config *ret, dz_err *err) {
    struct pollfd p = { .fd = pair, .events = POLLIN };
    ssize_t n = poll(&p, 1, CONFIG_MS) == 1 ? recv(pair, bytes, DZ_GATE_CONFIG_MAX, 0) : -1;

    if (n < 0)
        return DZ_FAIL_ERRNO(err, "gate: nobody tells it what to do");
    return dz_gate_config_read((dz_slice){ bytes, (size_t) n }, ret, err);
}

static dz_status sandbox(dz_err *err) {
    static const char *const no_files[] = { NULL };

    DZ_TRY(dz_sandbox_begin(MEMORY_MAX, err));
    DZ_TRY(dz_sandbox_user(err));
    DZ_TRY(dz_sandbox_files(no_files, err));
    return dz_sandbox_calls(0, err);
}

/* --- the handshake ---------------------------------------------------------------------------- */

static bool wait_for(int fd, short events, int64_t until_us) {
    int64_t left_ms = (until_us - dz_monotonic_us()) / 1000;
    struct pollfd p = { .fd = fd, .events = events };

    return left_ms > 0 && poll(&p, 1, (int) left_ms) > 0;
}

static bool handshake(struct gate *g) {
    int64_t until_us = dz_monotonic_us() + INT64_C(1000000) * DZ_GATE_HANDSHAKE_S;
    enum dz_tls_result r;

    while ((r = dz_tls_handshake(g->tls)) == DZ_TLS_WAIT)
        if (!wait_for(g->net, dz_tls_wants(g->tls), until_us))
            return false;
    return r == DZ_TLS_OK;
}

static bool say_who(struct gate *g) {
    uint8_t hello[DZ_GATE_HELLO] = { DZ_GATE_STRANGER };

    if (dz_tls_peer_key(g->tls, hello + 1))
        hello[0] = DZ_GATE_SOURCE;
    else
        memset(hello + 1, 0, DZ_CA_KEY);
    return send(g->pair, hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t) sizeof hello;
}

/* --- carrying --------------------------------------------------------------------------------- */

static void advance(dz_slice *s, size_t n) {
    s->data += n;
    s->len -= n;
}

/* Each moves what it can without waiting.  True: something moved. */

static bool from_net(struct gate *g) {
    enum dz_tls_result r;
    size_t n = 0;

    if (g->in_end || g->in_left.len > 0)
        return false;
    r = dz_tls_read(g->tls, g->in, sizeof g->in, &n);
    g->in_wants = (short) (r == DZ_TLS_WAIT ? dz_tls_wants(g->tls) : 0);
    g->in_end = r == DZ_TLS_END || r == DZ_TLS_FAILED;
    if (r == DZ_TLS_OK)
        g->in_left = (dz_slice){ g->in, n };
    return r != DZ_TLS_WAIT;
}

static bool to_pair(struct gate *g) {
    ssize_t n;

    if (g->in_left.len == 0)
        return false;
    n = send(g->pair, g->in_left.data, g->in_left.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        advance(&g->in_left, (size_t) n);
    else if (errno != EAGAIN && errno != EINTR)
        g->in_left.len = 0; /* nobody takes it any more; what they said last is still to be read */
    return n > 0;
}

static bool from_pair(struct gate *g) {
    ssize_t n;

    if (g->out_end || g->out_left.len > 0)
        return false;
    n = recv(g->pair, g->out, sizeof g->out, MSG_DONTWAIT);
    if (n > 0)
        g->out_left = (dz_slice){ g->out, (size_t) n };
    g->out_end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    return n > 0 || g->out_end;
}

static bool to_net(struct gate *g) {
    enum dz_tls_result r;
    size_t n = 0;

    if (g->out_left.len == 0)
        return false;
    r = dz_tls_write(g->tls, g->out_left, &n);
    g->out_wants = (short) (r == DZ_TLS_WAIT ? dz_tls_wants(g->tls) : 0);
    if (r == DZ_TLS_OK)
        advance(&g->out_left, n);
    if (r == DZ_TLS_END || r == DZ_TLS_FAILED) {
        g->out_left.len = 0;
        g->in_end = g->out_end = true;
    }
    return r != DZ_TLS_WAIT;
}

/* One that has nothing to wait for is left out: its end would wake us without end. */
static void wait_both(const struct gate *g, int timeout_ms) {
    struct pollfd p[2] = {
        { .fd = g->net,
          .events = (short) ((!g->in_end && g->in_left.len == 0 ? g->in_wants : 0) |
                             (g->out_left.len > 0 ? g->out_wants : 0)) },
        { .fd = g->pair,
          .events = (short) ((g->in_left.len > 0 ? POLLOUT : 0) |
                             (!g->out_end && g->out_left.len == 0 ? POLLIN : 0)) },
    };

    for (int i = 0; i < 2; i++)
        if (p[i].events == 0)
            p[i].fd = -1;
    (void) poll(p, 2, timeout_ms);
}

/* Until one side is at its end and the other has all of it.  The keeper watches the time. */
static void carry(struct gate *g) {
    int64_t until_us = INT64_MAX;

    for (;;) {
        bool moved = from_net(g);

        moved |= to_pair(g);
        moved |= from_pair(g);
        moved |= to_net(g);
        if ((g->in_end && g->in_left.len == 0) || (g->out_end && g->out_left.len == 0))
            return;
        if (g->out_end && until_us == INT64_MAX)
            until_us = dz_monotonic_us() + (int64_t) LINGER_MS * 1000;
        if (dz_monotonic_us() >= until_us)
            return;
        if (!moved)
            wait_both(g, until_us == INT64_MAX ? -1 : LINGER_MS);
    }
}

/* The last answer, and then whatever still comes, unread: a socket that is closed with bytes in it
 * takes the answer back. */
static void linger(struct gate *g) {
    int64_t until_us = dz_monotonic_us() + (int64_t) LINGER_MS * 1000;
    ssize_t n = 1;

    while (dz_tls_close(g->tls) == DZ_TLS_WAIT)
        if (!wait_for(g->net, dz_tls_wants(g->tls), until_us))
            return;
    if (shutdown(g->net, SHUT_WR) != 0)
        return;
    while (n != 0 && wait_for(g->net, POLLIN, until_us)) {
        n = recv(g->net, g->in, sizeof g->in, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
    }
}

/* --- the process ------------------------------------------------------------------------------ */

static int serve(struct gate *g) {
    if (!handshake(g) || !say_who(g))
        return EXIT_FAILED; /* strangers knock all day: it is the door that counts them */
    carry(g);
    if (g->out_end)
        linger(g);
    return EXIT_OK;
}

static dz_status begin(struct gate *g, bool *ret_sandbox, dz_err *err) {
    uint8_t bytes[DZ_GATE_CONFIG_MAX];
    struct dz_gate_config c;
    int flags = fcntl(g->net, F_GETFL);
    dz_status s;

    *ret_sandbox = false;
    DZ_TRY(hear_config(g->pair, bytes, &c, err));
    if (flags < 0 || fcntl(g->net, F_SETFL, flags | O_NONBLOCK) < 0)
        return DZ_FAIL_ERRNO(err, "gate: its connection");
    s = dz_tls_new(&(struct dz_tls_how){ .vault = true,
                                         .cert = c.cert,
                                         .seed = c.seed,
                                         .authority = c.authority,
                                         .strangers = c.strangers },
                   g->net, &g->tls, err);
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(c.seed, sizeof c.seed);
    DZ_TRY(s);
    *ret_sandbox = c.sandbox;
    return c.sandbox ? sandbox(err) : DZ_OK;
}

int dz_gate_run(int net, int pair) {
    static struct gate g;
    bool sandboxed;
    dz_err err = { 0 };
    int code;

    g = (struct gate){ .net = net, .pair = pair };
    (void) signal(SIGPIPE, SIG_IGN);
    if (begin(&g, &sandboxed, &err) != DZ_OK) {
        (void) fprintf(stderr, "dozo-intake: %s\n", err.what);
        code = sandboxed ? DZ_GATE_NO_SANDBOX : EXIT_FAILED;
    } else {
        code = serve(&g);
    }
    dz_tls_free(g.tls);
    return code;
}
