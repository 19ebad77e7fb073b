#include "intake/smb_pull.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "core/child.h"
#include "core/dir.h"
#include "core/hex.h"
#include "core/launch.h"
#include "core/os.h"
#include "core/sandbox.h"
#include "intake/take_serve.h"

enum { ID_BYTES = 16, GRACE_MS = 10000 };
/* A sparse file of terabytes is read without a byte for us, and a server that does not answer is
 * dozo-smb's business. */
static const struct dz_take_times times = { .idle_s = 86400, .run_s = 7 * 86400 };

/* --- the cache -------------------------------------------------------------------------------- */

static dz_status sweep(void *ctx, const char *name, dz_err *err) {
    return strncmp(name, "t-", 2) == 0 && dz_os->unlinkat(*(const int *) ctx, name, 0) < 0
               ? DZ_FAIL_ERRNO(err, "sweeping the cache of a share")
               : DZ_OK;
}

/* The directory of the source's cache, which dozo-smb writes as nobody, and what keys it: a name
 * that no source can have keeps it apart from the vault's own. */
static dz_status open_cache(struct dz_vault *v, const struct dz_smb_pull_how *how,
                            uint8_t ret_secret[DZ_KEY_BYTES], int *ret_fd, dz_err *err) {
    dz_autobuf dz_buf context = { 0 };
    char name[sizeof "pull-" + 2 * ID_BYTES] = "pull-";
    uint8_t id[DZ_KEY_BYTES];
    int fd;

    dz_buf_printf(&context, "%s %s", how->source, how->where);
    if (!dz_buf_ok(&context))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    dz_key_derive(v->host->cache, "pull", dz_buf_slice(&context), ret_secret);
    dz_key_derive(v->host->cache, "pull-file",
                  (dz_slice){ (const uint8_t *) how->source, strlen(how->source) }, id);
    dz_hex(id, ID_BYTES, name + 5);
    if (dz_os->mkdirat(v->cachefd, name, 0700) < 0 && errno != EEXIST)
        return DZ_FAIL_ERRNO(err, "making the cache of a share");
    fd = dz_os->openat(v->cachefd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "opening the cache of a share");
    *ret_fd = fd;
    if (geteuid() == 0 && dz_os->fchown(fd, DZ_SANDBOX_NOBODY, DZ_SANDBOX_NOBODY) < 0)
        return DZ_FAIL_ERRNO(err, "giving away the cache of a share");
    return dz_dir_each(fd, "the cache of a share", sweep, &fd, err);
}

/* --- dozo-smb --------------------------------------------------------------------------------- */

/* Gives its end of the socket pair and of the report.  The cache is inherited under its number. */
static dz_status start(const char *program, int cachefd, struct dz_child *ret_child, int *ret_fd,
                       dz_err *err) {
    const char *const argv[] = { program, NULL };
    dz_autoclose int theirs = -1, report = -1;
    int pair[2], fds[2], e;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return DZ_FAIL_ERRNO(err, "starting dozo-smb");
    *ret_fd = pair[0];
    theirs = pair[1];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return DZ_FAIL_ERRNO(err, "starting dozo-smb");
    ret_child->out = fds[0];
    report = fds[1];
    if (fcntl(cachefd, F_SETFD, 0) < 0)
        return DZ_FAIL_ERRNO(err, "starting dozo-smb");
    e = dz_launch(argv, theirs, report, false, &ret_child->pid);
    (void) fcntl(cachefd, F_SETFD, FD_CLOEXEC);
    errno = e;
    return e ? DZ_FAIL_ERRNO(err, "starting %.80s", program) : DZ_OK;
}

/* What became of it, once the vault's side is at its end and dozo-smb knows. */
static dz_status outcome(const struct dz_take_state *state, struct dz_child *child, bool *ret_again,
                         dz_err *err) {
    char how[DZ_CHILD_END_TEXT];
    struct dz_child_end end;
    dz_err why = { 0 };
    bool said;

    if (state->is == DZ_TAKE_DONE)
        return state->again ? DZ_FAIL(err, DZ_E_WORKER, "dozo-smb speaks of an old run") : DZ_OK;
    if (state->is == DZ_TAKE_REFUSED) {
        if (err)
            *err = state->why;
        return state->why.status ? state->why.status : DZ_E_POLICY;
    }
    said = dz_smb_report_read(child->out, &why);
    end = dz_child_wait(child);
    dz_child_end_text(&end, how);
    if (!said)
        return DZ_FAIL(err, DZ_E_WORKER, "dozo-smb ended without a word: %s", how);
    *ret_again = why.status == DZ_E_BUSY;
    if (err)
        *err = why;
    return why.status;
}

static dz_status pull_with(struct dz_vault *v, const struct dz_smb_pull_how *how,
                           const struct dz_smb_job *job, struct dz_child *child,
                           struct dz_commit *commit, bool *ret_again, dz_err *err) {
    const struct dz_take_how take = {
        .vault = v, .source = how->source, .limits = DZ_TAKE_LIMITS_DEFAULT, .commit = commit
    };
    struct dz_take_state state;
    dz_autoclose int fd = -1;

    DZ_TRY(start(how->program, job->cachefd, child, &fd, err));
    /* one that ends at once says why on its own */
    DZ_IGNORE(dz_smb_job_send(fd, job, NULL));
    DZ_TRY(dz_take_serve(fd, &take, &times, &state, err));
    dz_close_at(&fd);
    fd = -1;
    return outcome(&state, child, ret_again, err);
}

static dz_status pull_once(struct dz_vault *v, const struct dz_smb_pull_how *how,
                           const struct dz_smb_job *job, struct dz_commit *commit, bool *ret_again,
                           dz_err *err) {
    struct dz_child child = DZ_CHILD_NONE;
    dz_status s = pull_with(v, how, job, &child, commit, ret_again, err);

    if (s == DZ_OK) /* it still writes its cache */
        (void) dz_child_wait(&child);
    dz_child_stop(&child, GRACE_MS);
    return s;
}

dz_status dz_smb_pull(struct dz_vault *v, const struct dz_smb_pull_how *how,
                      struct dz_commit *ret_commit, dz_err *err) {
    struct dz_smb_job job = { .source = how->source,
                              .where = how->where,
                              .login = *how->login,
                              .guard = how->guard,
                              .reread = how->reread,
                              .excludes = how->excludes,
                              .n_excludes = how->n_excludes };
    struct dz_commit commit = { 0 };
    dz_autoclose int cachefd = -1;
    bool again = false;
    dz_status s = open_cache(v, how, job.secret, &cachefd, err);

    job.cachefd = cachefd;
    dz_random(job.run, sizeof job.run);
    if (s == DZ_OK)
        s = pull_once(v, how, &job, &commit, &again, err);
    if (s != DZ_OK && again) /* the cache had gone stale, and is gone now */
        s = pull_once(v, how, &job, &commit, &again, err);
    explicit_bzero(&job, sizeof job);
    if (s == DZ_OK)
        *ret_commit = commit;
    return s;
}
