/* daemon/message.h -- what the two processes of dozod say to each other.  It is all they can say.
 *
 *   starter (starts programs, reads nothing of the vault)
 *      │ CONFIG, ENDED, LEAVE              ▲ READY, ALIVE, RUN, STOP, TELL, CHORE
 *      ▼                                   │
 *   supervisor (reads the vault, starts nothing)
 *
 * A packet is a message: a byte for its kind, then the fields that the kind has, in the order of
 * the struct.  A number is a varint, zigzag where it may be negative; a text has its length in
 * front. The supervisor reads a hostile source's names and numbers, so the starter trusts no
 * message of it: a source is named by its place in the configuration that the starter read by
 * itself, and what is out of turn ends the service.  docs/design/daemon.md has the table of who may
 * say what when.
 *
 * Thread-safe; a socket belongs to one thread. */
#pragma once

#include "core/buf.h"
#include "core/child.h"
#include "core/error.h"

enum {
    DZ_MESSAGE_MAX = 1024 /* bytes */,
    DZ_MESSAGE_SOURCE_MAX = 128,
    DZ_MESSAGE_DETAIL_MAX = 500
};

enum dz_message_kind {
    /* of the starter */
    DZ_MESSAGE_CONFIG = 1, /* here is a configuration: its file, as a descriptor */
    DZ_MESSAGE_ENDED = 2,  /* a job has ended, or was never started */
    DZ_MESSAGE_LEAVE = 3,  /* begin nothing any more */
    /* of the supervisor */
    DZ_MESSAGE_READY = 16, /* the configuration is in force */
    DZ_MESSAGE_ALIVE = 17,
    DZ_MESSAGE_RUN = 18,   /* back up that source */
    DZ_MESSAGE_STOP = 19,  /* that job has run for too long */
    DZ_MESSAGE_TELL = 20,  /* run the program that tells people, and write to syslog */
    DZ_MESSAGE_CHORE = 21, /* run that command of dozo, daemon/chore.h */
};

enum dz_event {
    DZ_EVENT_SOURCE_LATE = 1,
    DZ_EVENT_SOURCE_FAILED = 2,
    DZ_EVENT_WITNESS_FAILED = 3,
    DZ_EVENT_LOG_DAMAGED = 4,
    DZ_EVENT_PRUNE_FAILED = 5,
    DZ_EVENT_VERIFY_FAILED = 6,
    DZ_EVENTS_END
};

enum dz_chore { DZ_CHORE_WITNESS, DZ_CHORE_PRUNE, DZ_CHORE_VERIFY, DZ_CHORES };

/* "source-late" and so on: what the program is told. */
const char *dz_event_name(enum dz_event event);

typedef struct dz_message {
    enum dz_message_kind kind;
    uint32_t generation;                    /* of the configuration, from 1: CONFIG, READY, RUN */
    uint32_t job;                           /* ENDED, RUN, STOP, TELL, CHORE */
    uint32_t feed;                          /* its place in the configuration: RUN */
    enum dz_chore chore;                    /* CHORE */
    struct dz_child_end end;                /* ENDED */
    enum dz_event event;                    /* TELL, and what follows */
    int64_t newest_us;                      /* of the source's snapshots; INT64_MIN: none */
    char source[DZ_MESSAGE_SOURCE_MAX + 1]; /* "": not about a source */
    char detail[DZ_MESSAGE_DETAIL_MAX + 1]; /* a line of clean UTF-8 */
} dz_message;

/* The bytes of a message, and back: everything is there, in bounds, and nothing more.
 * DZ_E_MALFORMED. */
void dz_message_write(const dz_message *m, dz_buf *to);
dz_status dz_message_read(dz_slice bytes, dz_message *ret_message, dz_err *err) DZ_MUST_CHECK;

/* Sends it, with a descriptor unless `fd` is -1, which stays the caller's.
 * DZ_E_CLOSED: the other is gone.  DZ_E_BUSY: it does not read (of a socket that does not block).
 * DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_message_send(int sock, const dz_message *m, int fd, dz_err *err) DZ_MUST_CHECK;
/* Takes one.  *ret_fd is its descriptor, the caller's, or -1.
 * DZ_E_CLOSED, DZ_E_BUSY (nothing there), DZ_E_MALFORMED, DZ_E_IO. */
dz_status dz_message_receive(int sock, dz_message *ret_message, int *ret_fd,
                             dz_err *err) DZ_MUST_CHECK;
