/* intake/smb_job.h -- what dozo-smb is told, and what it says when it could not.
 *
 *   smb_pull ─▶ job ─▶ dozo-smb      smb_pull ◀─ report ◀─ dozo-smb
 *
 * Secrets travel over a socket pair and not as arguments, which everybody on the host can read.
 * Both programs are of one build: the bytes are nobody else's format.  A report comes from a
 * process that reads a stranger's bytes and is believed as little as they are. Thread-safe. */
#pragma once

#include "crypto/keys.h"
#include "intake/smb_share.h"
#include "intake/wire.h"

struct dz_smb_job {
    const char *source;
    const char *where; /* as dz_smb_where_read() takes it */
    struct dz_smb_login login;
    enum dz_smb_guard guard;
    uint8_t run[DZ_WIRE_RUN];
    uint8_t secret[DZ_KEY_BYTES]; /* keys the cache */
    int cachefd;                  /* inherited under this number */
    bool reread;
    const char *const *excludes;
    size_t n_excludes;
};

enum { DZ_SMB_JOB_MAX = 128 << 10 /* bytes */ };

/* Sends it.  DZ_E_LIMIT, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_smb_job_send(int fd, const struct dz_smb_job *job, dz_err *err) DZ_MUST_CHECK;
/* Takes one from the front of what comes.  DZ_E_MALFORMED, DZ_E_IO, DZ_E_NOMEM. */
struct dz_smb_job_room {
    dz_buf bytes;          /* what a job's text is borrowed from */
    const char **excludes; /* owned */
};
dz_status dz_smb_job_receive(int fd, struct dz_smb_job_room *room, struct dz_smb_job *ret_job,
                             dz_err *err) DZ_MUST_CHECK;
void dz_smb_job_room_done(struct dz_smb_job_room *room); /* wipes it; a zeroed one is fine */

/* Says why; what cannot be said is lost. */
void dz_smb_report(int fd, const dz_err *why);
/* Reads to the end; *ret_why is then what was said.  False: nothing was, or no sense. */
bool dz_smb_report_read(int fd, dz_err *ret_why);
