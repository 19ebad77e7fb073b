#include "intake/smb_source.h"

#include <stdio.h>

#include "core/sandbox.h"
#include "intake/push_smb.h"
#include "intake/push_wire.h"
#include "intake/smb_job.h"

enum {
    VAULT_TIMEOUT_MS = 6 * 3600 * 1000, /* it waits for its disks, not for us */
    /* names of one directory in libsmbclient and in intake/smb_tree.h, what is to be sent, and the
     * libraries themselves */
    MEMORY_GIB = 3,
};

/* What finds and loads libraries, and finds a server by its name. */
static const char *const looked_up[] = { "/lib",
                                         "/lib64",
                                         "/usr/lib",
                                         "/usr/local/lib",
                                         "/etc/ld.so.cache",
                                         "/etc/hosts",
                                         "/etc/host.conf",
                                         "/etc/gai.conf",
                                         "/etc/resolv.conf",
                                         "/etc/nsswitch.conf",
                                         "/etc/passwd",
                                         "/etc/group",
                                         "/etc/services",
                                         "/etc/localtime",
                                         "/etc/ssl/openssl.cnf",
                                         "/run/systemd",
                                         "/run/resolvconf",
                                         "/run/nscd",
                                         "/dev/null",
                                         "/dev/urandom",
                                         NULL };
static const char *const nothing[] = { NULL };

static dz_status connect_to(const struct dz_smb_job *job, const struct dz_smb_where *where,
                            struct dz_smb **ret_smb, dz_err *err) {
    char cache[40];
    const char *const kept[] = { cache, NULL };

    (void) snprintf(cache, sizeof cache, "/proc/self/fd/%d", job->cachefd);
    DZ_TRY(dz_sandbox_begin((size_t) MEMORY_GIB << 30, err));
    DZ_TRY(dz_sandbox_user(err));
    DZ_TRY(dz_sandbox_files_keep(looked_up, kept, err));
    DZ_TRY(dz_sandbox_calls(DZ_SANDBOX_OPEN | DZ_SANDBOX_CONNECT | DZ_SANDBOX_KEEP, err));
    DZ_TRY(dz_smb_open(where, &job->login, job->guard, ret_smb, err));
    DZ_TRY(dz_sandbox_files_keep(nothing, kept, err));
    return dz_sandbox_calls(DZ_SANDBOX_KEEP, err);
}

static void put_field(dz_buf *to, const char *text) {
    dz_buf_put_field(to, (dz_slice){ (const uint8_t *) text, strlen(text) });
}

static dz_status push(const struct dz_smb_job *job, const struct dz_smb_where *where, int fd,
                      struct dz_smb *smb, dz_err *err) {
    DZ_AUTO(dz_push_smb) tree = NULL;
    dz_autobuf dz_buf paths = { 0 };
    dz_autobuf dz_buf excludes = { 0 };
    struct dz_push_socket socket = { fd, VAULT_TIMEOUT_MS };
    const struct dz_push_wire wire = dz_push_wire_of(&socket);
    struct dz_push_tree as_tree;
    struct dz_push_how how = { .source = job->source,
                               .host = where->server,
                               .wire = &wire,
                               .tree = &as_tree,
                               .cachefd = job->cachefd,
                               .cache_name = "paths",
                               .reread = job->reread };
    struct dz_push_end end;

    DZ_TRY(dz_push_smb_new(smb, job->excludes, job->n_excludes, job->secret, &tree, err));
    as_tree = dz_push_smb_tree(tree);
    memcpy(how.run, job->run, sizeof how.run);
    put_field(&paths, job->where);
    for (size_t i = 0; i < job->n_excludes; i++)
        put_field(&excludes, job->excludes[i]);
    if (!dz_buf_ok(&paths) || !dz_buf_ok(&excludes))
        return DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
    how.paths = dz_buf_slice(&paths);
    how.excludes = dz_buf_slice(&excludes);
    return dz_push_run(&how, &end, err);
}

static dz_status work(int fd, dz_err *err) {
    DZ_CLEANUP(dz_smb_job_room_done) struct dz_smb_job_room room = { 0 };
    struct dz_smb_job job;
    struct dz_smb_where where;
    struct dz_smb *smb = NULL; /* the end of the process closes it: a server that hangs could not */
    dz_status s;

    DZ_TRY(dz_crypto_init(err));
    DZ_TRY(dz_smb_job_receive(fd, &room, &job, err));
    s = dz_smb_where_read(job.where, &where, err);
    if (s == DZ_OK)
        s = connect_to(&job, &where, &smb, err);
    dz_smb_login_wipe(&job.login);
    return s == DZ_OK ? push(&job, &where, fd, smb, err) : s;
}

dz_status dz_smb_source_run(int fd, int reportfd, dz_err *err) {
    dz_err why = { 0 };
    dz_status s = work(fd, &why);

    if (s != DZ_OK) {
        dz_smb_report(reportfd, &why);
        if (err)
            *err = why;
    }
    return s;
}
