#include "intake/push_wire.h"

#include <poll.h>
#include <sys/socket.h>

enum { RECEIVE_BYTES = 16 << 10 };

/* --- a socket --------------------------------------------------------------------------------- */

static dz_status wait_for(const struct dz_push_socket *s, short events, dz_err *err) {
    struct pollfd p = { .fd = s->fd, .events = events };
    int n;

    do
        n = poll(&p, 1, s->timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        errno = ETIMEDOUT;
    return n > 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "waiting for the vault");
}

static dz_status socket_send(void *ctx, dz_slice bytes, dz_err *err) {
    const struct dz_push_socket *s = ctx;

    while (bytes.len > 0) {
        ssize_t n = send(s->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            DZ_TRY(wait_for(s, POLLOUT, err));
        } else if (n < 0 && errno != EINTR) {
            return DZ_FAIL_ERRNO(err, "sending to the vault");
        } else if (n > 0) {
            bytes.data += n;
            bytes.len -= (size_t) n;
        }
    }
    return DZ_OK;
}

static dz_status socket_receive(void *ctx, uint8_t *to, size_t room, size_t *ret_len, dz_err *err) {
    const struct dz_push_socket *s = ctx;
    ssize_t n;

    for (;;) {
        n = recv(s->fd, to, room, MSG_DONTWAIT);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
        DZ_TRY(wait_for(s, POLLIN, err));
    }
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        return DZ_FAIL_ERRNO(err, "the vault ended the connection");
    *ret_len = (size_t) n;
    return DZ_OK;
}

struct dz_push_wire dz_push_wire_of(struct dz_push_socket *socket) {
    return (struct dz_push_wire){ socket_send, socket_receive, socket };
}

/* --- frames ----------------------------------------------------------------------------------- */

void dz_push_talk_done(struct dz_push_talk *t) {
    dz_buf_release(&t->out);
    dz_buf_release(&t->in);
    dz_buf_release(&t->path);
}

static dz_status more(struct dz_push_talk *t, dz_err *err) {
    size_t n = 0;
    uint8_t *to;
    dz_status s;

    if (t->used > 0) {
        memmove(t->in.data, t->in.data + t->used, t->in.len - t->used);
        t->in.len -= t->used;
        t->used = 0;
    }
    to = dz_buf_extend(&t->in, RECEIVE_BYTES);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "hearing the vault: out of memory");
    s = t->wire->receive(t->wire->ctx, to, RECEIVE_BYTES, &n, err);
    t->in.len -= RECEIVE_BYTES - n;
    return s;
}

/* The next message of any type that a vault sends. */
static dz_status hear(struct dz_push_talk *t, struct dz_wire_message *ret_message, dz_err *err) {
    for (;;) {
        dz_slice payload = { 0 };
        uint8_t type = 0;
        size_t used = 0;

        if (t->in.len > t->used)
            DZ_TRY(dz_wire_frame((dz_slice){ t->in.data + t->used, t->in.len - t->used }, &type,
                                 &payload, &used, err));
        t->used += used;
        if (used > 0 && type != DZ_WIRE_WAIT)
            return dz_wire_read(type, payload, &t->path, ret_message, err);
        if (used == 0)
            DZ_TRY(more(t, err));
    }
}

static dz_status refused(struct dz_push_talk *t, const struct dz_wire_refused *m, dz_err *err) {
    t->refused = *m;
    return DZ_FAIL(err, DZ_E_POLICY, "the vault refuses, reason %u (%llu, %llu)", m->code,
                   (unsigned long long) m->number, (unsigned long long) m->limit);
}

dz_status dz_push_hear(struct dz_push_talk *t, enum dz_wire_type one, enum dz_wire_type other,
                       struct dz_wire_message *ret_message, dz_err *err) {
    struct dz_wire_message m;

    DZ_TRY(hear(t, &m, err));
    if (m.type == DZ_WIRE_REFUSED)
        return refused(t, &m.refused, err);
    if (m.type != (uint8_t) one && m.type != (uint8_t) other)
        return DZ_FAIL(err, DZ_E_MALFORMED, "the vault says a message of type %d out of turn",
                       m.type);
    *ret_message = m;
    return DZ_OK;
}

dz_status dz_push_flush(struct dz_push_talk *t, dz_err *err) {
    struct dz_wire_message m;
    dz_status s;

    if (!dz_buf_ok(&t->out))
        return DZ_FAIL(err, DZ_E_NOMEM, "telling the vault: out of memory");
    s = t->wire->send(t->wire->ctx, dz_buf_slice(&t->out), err);
    dz_buf_clear(&t->out);
    /* what it said last lies behind answers that nobody waits for any more */
    while (s == DZ_E_IO && hear(t, &m, NULL) == DZ_OK)
        if (m.type == DZ_WIRE_REFUSED)
            return refused(t, &m.refused, err);
    return s;
}
