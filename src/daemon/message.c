#include "daemon/message.h"

#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/utf8.h"

enum field { GENERATION = 1, JOB = 2, FEED = 4, END = 8, FACTS = 16, WHICH = 32 };

static const unsigned char fields_of[] = {
    [DZ_MESSAGE_CONFIG] = GENERATION, [DZ_MESSAGE_ENDED] = JOB | END,
    [DZ_MESSAGE_LEAVE] = 0,           [DZ_MESSAGE_READY] = GENERATION,
    [DZ_MESSAGE_ALIVE] = 0,           [DZ_MESSAGE_RUN] = GENERATION | JOB | FEED,
    [DZ_MESSAGE_STOP] = JOB,          [DZ_MESSAGE_TELL] = JOB | FACTS,
    [DZ_MESSAGE_CHORE] = JOB | WHICH,
};

static bool known(unsigned kind) {
    return (kind >= DZ_MESSAGE_CONFIG && kind <= DZ_MESSAGE_LEAVE) ||
           (kind >= DZ_MESSAGE_READY && kind <= DZ_MESSAGE_CHORE);
}

const char *dz_event_name(enum dz_event event) {
    static const char *const names[DZ_EVENTS_END] = {
        [DZ_EVENT_SOURCE_LATE] = "source-late",       [DZ_EVENT_SOURCE_FAILED] = "source-failed",
        [DZ_EVENT_WITNESS_FAILED] = "witness-failed", [DZ_EVENT_LOG_DAMAGED] = "log-damaged",
        [DZ_EVENT_PRUNE_FAILED] = "prune-failed",     [DZ_EVENT_VERIFY_FAILED] = "verify-failed",
    };

    return names[event];
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void put_text(dz_buf *to, const char *text) {
    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) text, strlen(text) });
}

void dz_message_write(const dz_message *m, dz_buf *to) {
    unsigned fields = fields_of[m->kind];

    dz_buf_put_u8(to, (uint8_t) m->kind);
    if (fields & GENERATION)
        dz_buf_put_varint(to, m->generation);
    if (fields & JOB)
        dz_buf_put_varint(to, m->job);
    if (fields & FEED)
        dz_buf_put_varint(to, m->feed);
    if (fields & WHICH)
        dz_buf_put_varint(to, m->chore);
    if (fields & END) {
        dz_buf_put_varint(to, (uint64_t) m->end.code);
        dz_buf_put_varint(to, (uint64_t) m->end.signal);
        dz_buf_put_varint(to, (uint64_t) m->end.lost);
    }
    if (fields & FACTS) {
        dz_buf_put_u8(to, (uint8_t) m->event);
        dz_buf_put_svarint(to, m->newest_us);
        put_text(to, m->source);
        put_text(to, m->detail);
    }
}

static uint32_t take_number(dz_reader *r, uint32_t min, uint32_t max) {
    uint64_t n = dz_read_varint(r);

    if (n < min || n > max)
        r->bad = true;
    return r->bad ? 0 : (uint32_t) n;
}

static void take_text(dz_reader *r, char *to, size_t max) {
    dz_slice text = dz_read_field(r);

    if (text.len > max || !dz_utf8_plain(text)) {
        r->bad = true;
        return;
    }
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
}

dz_status dz_message_read(dz_slice bytes, dz_message *ret_message, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    uint8_t kind = dz_read_u8(&r);
    dz_message m = { 0 };
    unsigned fields;

    if (!known(kind))
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of the unknown kind %u", kind);
    m.kind = kind;
    fields = fields_of[kind];
    if (fields & GENERATION)
        m.generation = take_number(&r, 1, UINT32_MAX);
    if (fields & JOB)
        m.job = take_number(&r, 1, UINT32_MAX);
    if (fields & FEED)
        m.feed = take_number(&r, 0, UINT32_MAX);
    if (fields & WHICH)
        m.chore = take_number(&r, 0, DZ_CHORES - 1);
    if (fields & END) {
        m.end.code = (int) take_number(&r, 0, 255);
        m.end.signal = (int) take_number(&r, 0, 255);
        m.end.lost = (int) take_number(&r, 0, 4095);
    }
    if (fields & FACTS) {
        uint8_t event = dz_read_u8(&r);
        if (event < DZ_EVENT_SOURCE_LATE || event >= DZ_EVENTS_END)
            r.bad = true;
        m.event = event;
        m.newest_us = dz_read_svarint(&r);
        take_text(&r, m.source, DZ_MESSAGE_SOURCE_MAX);
        take_text(&r, m.detail, DZ_MESSAGE_DETAIL_MAX);
    }
    if (!dz_reader_done(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of the kind %u that makes no sense", kind);
    *ret_message = m;
    return DZ_OK;
}

/* --- packets ---------------------------------------------------------------------------------- */

union control {
    struct cmsghdr head; /* for its alignment */
    char bytes[CMSG_SPACE(sizeof(int))];
};

dz_status dz_message_send(int sock, const dz_message *m, int fd, dz_err *err) {
    dz_autobuf dz_buf bytes = { 0 };
    union control control = { 0 };
    struct iovec part;
    struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };
    ssize_t n;

    dz_message_write(m, &bytes);
    if (!dz_buf_ok(&bytes))
        return DZ_FAIL(err, DZ_E_NOMEM, "a message: out of memory");
    part = (struct iovec){ bytes.data, bytes.len };
    if (fd >= 0) {
        packet.msg_control = control.bytes;
        packet.msg_controllen = sizeof control.bytes;
        control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS,
                                         .cmsg_len = CMSG_LEN(sizeof fd) };
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    do
        n = sendmsg(sock, &packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
        return DZ_FAIL(err, DZ_E_CLOSED, "the other process is gone");
    if (n < 0 && errno == EAGAIN)
        return DZ_FAIL(err, DZ_E_BUSY, "the other process does not read");
    return n < 0 ? DZ_FAIL_ERRNO(err, "sending a message") : DZ_OK;
}

/* The one descriptor that may come; any others never arrive, for there is no room. */
static int descriptor_of(struct msghdr *packet) {
    const struct cmsghdr *head = CMSG_FIRSTHDR(packet);
    int fd = -1;

    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

dz_status dz_message_receive(int sock, dz_message *ret_message, int *ret_fd, dz_err *err) {
    uint8_t bytes[DZ_MESSAGE_MAX];
    union control control = { 0 };
    struct iovec part = { bytes, sizeof bytes };
    struct msghdr packet = { .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_LEN(sizeof(int)) }; /* its space holds two */
    dz_autoclose int fd = -1;
    ssize_t n;

    do
        n = recvmsg(sock, &packet, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return DZ_FAIL(err, DZ_E_BUSY, "no message is there");
    if (n < 0 && errno != ECONNRESET)
        return DZ_FAIL_ERRNO(err, "receiving a message");
    if (n <= 0)
        return DZ_FAIL(err, DZ_E_CLOSED, "the other process is gone");
    fd = descriptor_of(&packet);
    if (packet.msg_flags & MSG_TRUNC)
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of more than %d bytes",
                       (int) DZ_MESSAGE_MAX);
    DZ_TRY(dz_message_read((dz_slice){ bytes, (size_t) n }, ret_message, err));
    *ret_fd = fd;
    fd = -1;
    return DZ_OK;
}
