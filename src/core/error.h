/* core/error.h -- what went wrong, in a value that needs no memory.
 *
 * A function that can fail returns dz_status and takes `dz_err *err` last.  `err` may be NULL:
 * the status alone is then the whole story.  A dz_err is a plain value on the caller's stack, so
 * reporting "out of memory" cannot itself run out of memory.
 *
 * Messages name objects, offsets, counts and limits.  They never hold patient data: a message
 * ends up in logs, tickets and vendor mail. */
#pragma once

#include <errno.h>

typedef enum dz_status {
    DZ_OK = 0,
    DZ_E_NOMEM, /* allocation refused */
    DZ_E_IO,    /* the kernel or a peer refused; sys_errno says why */
    DZ_E_NOT_FOUND,
    DZ_E_EXISTS,      /* append-only: that name is already published */
    DZ_E_MALFORMED,   /* bytes from outside break their own format: reject and go on */
    DZ_E_CORRUPT,     /* our own bytes fail a checksum or signature: stop and raise the alarm */
    DZ_E_LIMIT,       /* larger than a stated limit */
    DZ_E_WORKER,      /* a sandboxed worker died or broke its protocol */
    DZ_E_CLOSED,      /* the vault is closed: this needs a key or the custodians' shares */
    DZ_E_POLICY,      /* refused by policy: retention, quorum, a path inside the vault */
    DZ_E_BUSY,        /* somebody else holds the lock; try again */
    DZ_E_USAGE,       /* the caller's request makes no sense as written */
    DZ_E_UNSUPPORTED, /* written by a newer dozo, or not to be had on this system */
    DZ_STATUS_COUNT
} dz_status;

typedef struct dz_err {
    dz_status status;
    int sys_errno;    /* 0 when the kernel was not involved */
    const char *file; /* where it was first raised; static storage */
    int line;
    char what[200]; /* always NUL-terminated; long text is cut, never overrun */
} dz_err;

#define DZ_MUST_CHECK __attribute__((warn_unused_result))
#define DZ_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Records a failure and returns `status`, so a caller can write `return DZ_FAIL(...)`. */
dz_status dz_err_set(dz_err *err, dz_status status, int sys_errno, const char *file, int line,
                     const char *fmt, ...) DZ_PRINTF(6, 7);

/* Puts "while ...: " in front of what is already there.  Returns `status` unchanged. */
dz_status dz_err_context(dz_err *err, dz_status status, const char *fmt, ...) DZ_PRINTF(3, 4);

const char *dz_status_name(dz_status status);

/* Their value is the status itself and not the call's result: so compilers and analysers see that
 * a failing path does not go on with what was never set. */
#define DZ_FAIL(err, status, ...) \
    ((void) dz_err_set((err), (status), 0, __FILE__, __LINE__, __VA_ARGS__), (dz_status) (status))
#define DZ_FAIL_ERRNO(err, ...) \
    ((void) dz_err_set((err), DZ_E_IO, errno, __FILE__, __LINE__, __VA_ARGS__), (dz_status) DZ_E_IO)

/* Hands a failure up as it is.  Safe with DZ_AUTO locals: every return releases them. */
#define DZ_TRY(expr)                \
    do {                            \
        dz_status dz_try_ = (expr); \
        if (dz_try_ != DZ_OK)       \
            return dz_try_;         \
    } while (0)

/* Where a failure changes nothing for anybody; the comment beside it says why. */
#define DZ_IGNORE(expr)                 \
    do {                                \
        dz_status dz_ignored_ = (expr); \
        (void) dz_ignored_;             \
    } while (0)
