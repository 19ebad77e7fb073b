#include "intake/smb_job.h"

#include <sys/socket.h>

#include "core/durable.h"
#include "core/utf8.h"

enum { REPORT_HEAD = 5 /* status u8, errno le32; then text */ };

static void put_text(dz_buf *to, const char *text) {
    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) text, strlen(text) + 1 });
}

static dz_status send_all(int fd, dz_slice bytes, dz_err *err) {
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return DZ_FAIL_ERRNO(err, "telling dozo-smb what to do");
        if (n > 0)
            bytes = (dz_slice){ bytes.data + n, bytes.len - (size_t) n };
    }
    return DZ_OK;
}

dz_status dz_smb_job_send(int fd, const struct dz_smb_job *job, dz_err *err) {
    dz_autobuf_secret dz_buf b = { 0 };

    dz_buf_put_le32(&b, 0); /* the length, below */
    put_text(&b, job->source);
    put_text(&b, job->where);
    put_text(&b, job->login.domain);
    put_text(&b, job->login.user);
    put_text(&b, job->login.password);
    dz_buf_put_u8(&b, job->guard == DZ_SMB_SIGNED);
    dz_buf_put(&b, job->run, sizeof job->run);
    dz_buf_put(&b, job->secret, sizeof job->secret);
    dz_buf_put_le32(&b, (uint32_t) job->cachefd);
    dz_buf_put_u8(&b, job->reread);
    dz_buf_put_varint(&b, job->n_excludes);
    for (size_t i = 0; i < job->n_excludes; i++)
        put_text(&b, job->excludes[i]);
    if (!dz_buf_ok(&b))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    if (b.len - 4 > DZ_SMB_JOB_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "share and --exclude: %zu bytes, at most %d", b.len - 4,
                       (int) DZ_SMB_JOB_MAX);
    dz_store_le(b.data, 4, b.len - 4);
    return send_all(fd, dz_buf_slice(&b), err);
}

/* --- the other end ---------------------------------------------------------------------------- */

static dz_status receive_all(int fd, uint8_t *to, size_t n, dz_err *err) {
    while (n > 0) {
        ssize_t got = recv(fd, to, n, MSG_WAITALL);

        if (got == 0)
            return DZ_FAIL(err, DZ_E_MALFORMED, "no job came");
        if (got < 0 && errno != EINTR)
            return DZ_FAIL_ERRNO(err, "waiting for a job");
        if (got > 0) {
            to += got;
            n -= (size_t) got;
        }
    }
    return DZ_OK;
}

/* NUL-terminated, at most `max` bytes without it; "" and a bad reader when it is not. */
static const char *read_text(dz_reader *r, size_t max) {
    dz_slice s = dz_read_field(r);

    if (s.len == 0 || s.len - 1 > max || memchr(s.data, 0, s.len) != s.data + s.len - 1) {
        r->bad = true;
        return "";
    }
    return (const char *) s.data;
}

static void read_login(dz_reader *r, char to[DZ_SMB_LOGIN_MAX + 1]) {
    const char *text = read_text(r, DZ_SMB_LOGIN_MAX);
    memcpy(to, text, strlen(text) + 1);
}

static void read_bytes(dz_reader *r, uint8_t *to, size_t n) {
    dz_slice s = dz_read_bytes(r, n);

    if (s.len == n)
        memcpy(to, s.data, n);
}

dz_status dz_smb_job_receive(int fd, struct dz_smb_job_room *room, struct dz_smb_job *ret_job,
                             dz_err *err) {
    struct dz_smb_job job = { 0 };
    uint8_t head[4], *to;
    uint64_t n;
    dz_reader r;

    DZ_TRY(receive_all(fd, head, sizeof head, err));
    n = dz_load_le(head, sizeof head);
    if (n > DZ_SMB_JOB_MAX)
        return DZ_FAIL(err, DZ_E_MALFORMED, "a job of %llu bytes", (unsigned long long) n);
    to = dz_buf_extend(&room->bytes, (size_t) n);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "job: out of memory");
    DZ_TRY(receive_all(fd, to, (size_t) n, err));
    r = dz_reader_over(dz_buf_slice(&room->bytes));
    job.source = read_text(&r, DZ_SOURCE_NAME_MAX);
    job.where = read_text(&r, DZ_SMB_PATH_MAX);
    read_login(&r, job.login.domain);
    read_login(&r, job.login.user);
    read_login(&r, job.login.password);
    job.guard = dz_read_u8(&r) ? DZ_SMB_SIGNED : DZ_SMB_ENCRYPTED;
    read_bytes(&r, job.run, sizeof job.run);
    read_bytes(&r, job.secret, sizeof job.secret);
    job.cachefd = (int) dz_read_le32(&r);
    job.reread = dz_read_u8(&r) != 0;
    job.n_excludes = dz_read_varint(&r);
    if (job.n_excludes > dz_reader_left(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "a job that makes no sense");
    room->excludes = calloc(job.n_excludes + 1, sizeof *room->excludes);
    if (!room->excludes)
        return DZ_FAIL(err, DZ_E_NOMEM, "job: out of memory");
    for (size_t i = 0; i < job.n_excludes; i++)
        room->excludes[i] = read_text(&r, DZ_SMB_JOB_MAX);
    job.excludes = room->excludes;
    if (!dz_reader_done(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "a job that makes no sense");
    *ret_job = job;
    return DZ_OK;
}

void dz_smb_job_room_done(struct dz_smb_job_room *room) {
    dz_buf_release_secret(&room->bytes);
    free(room->excludes);
    room->excludes = NULL;
}

/* --- reports ---------------------------------------------------------------------------------- */

void dz_smb_report(int fd, const dz_err *why) {
    uint8_t report[REPORT_HEAD + sizeof why->what] = { (uint8_t) why->status };
    size_t n = strnlen(why->what, sizeof why->what);

    dz_store_le(report + 1, 4, (uint64_t) why->sys_errno);
    memcpy(report + REPORT_HEAD, why->what, n);
    (void) dz_write_all(fd, (dz_slice){ report, REPORT_HEAD + n });
}

bool dz_smb_report_read(int fd, dz_err *ret_why) {
    uint8_t report[REPORT_HEAD + sizeof ret_why->what];
    size_t n = 0;
    ssize_t got;
    dz_slice text;
    uint64_t e;

    do {
        got = read(fd, report + n, sizeof report - n);
        n += got > 0 ? (size_t) got : 0;
    } while ((got > 0 && n < sizeof report) || (got < 0 && errno == EINTR));
    if (n <= REPORT_HEAD || n == sizeof report || report[0] == DZ_OK ||
        report[0] >= DZ_STATUS_COUNT)
        return false;
    text = (dz_slice){ report + REPORT_HEAD, n - REPORT_HEAD };
    if (!dz_utf8_clean(text,
                       false)) /* a name that was cut in the middle of a character, or worse */
        return false;
    e = dz_load_le(report + 1, 4);
    DZ_IGNORE(dz_err_set(ret_why, (dz_status) report[0], e < 4096 ? (int) e : 0, __FILE__, __LINE__,
                         "%.*s", (int) text.len, (const char *) text.data));
    return true;
}
