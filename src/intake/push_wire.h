/* intake/push_wire.h -- frames over a wire, as the source sends and hears them; a wire of a socket.
 *
 * One thread at a time. */
#pragma once

#include "intake/push.h"

/* A socket or one end of a socket pair, blocking or not.  An operation that takes longer than
 * timeout_ms without a byte ends with DZ_E_IO (ETIMEDOUT). */
struct dz_push_socket {
    int fd; /* borrowed */
    int timeout_ms;
};
struct dz_push_wire dz_push_wire_of(struct dz_push_socket *socket);

/* What is said and heard. */
struct dz_push_talk {
    const struct dz_push_wire *wire;
    dz_buf out; /* frames: appended by the caller, sent by dz_push_flush() */
    dz_buf in;
    size_t used; /* of in */
    dz_buf path;
    struct dz_wire_refused refused; /* code 0: not refused */
};
void dz_push_talk_done(struct dz_push_talk *t);

/* Sends what was appended.  When the vault has ended the connection, why it did is looked for.
 * DZ_E_POLICY (refused), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_push_flush(struct dz_push_talk *t, dz_err *err) DZ_MUST_CHECK;
/* The next message, which must be of type `one` or `other`; WAIT is passed over.  It is borrowed
 * until the next call.  DZ_E_POLICY (refused), DZ_E_MALFORMED, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_push_hear(struct dz_push_talk *t, enum dz_wire_type one, enum dz_wire_type other,
                       struct dz_wire_message *ret_message, dz_err *err) DZ_MUST_CHECK;
