#include "intake/backup.h"

#include <sys/resource.h>

#include "core/clock.h"
#include "intake/backup_parts.h"

static unsigned worker_count(const struct dz_backup_how *how) {
    long n = how->threads ? (long) how->threads : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > DZ_BACKUP_WORKERS_MAX ? DZ_BACKUP_WORKERS_MAX : (unsigned) n;
}

static unsigned raise_file_limit(void) {
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return 256;
    if (lim.rlim_cur < lim.rlim_max) {
        rlim_t old = lim.rlim_cur;
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
            lim.rlim_cur = old;
    }
    return lim.rlim_cur > 65536 ? 16384 : (unsigned) (lim.rlim_cur / 4);
}

static dz_status fill_request(const struct dz_backup *b, struct dz_commit *c, dz_err *err) {
    char host[256] = "";
    char *const *roots;
    size_t n = dz_scan_roots(b->scan, &roots);

    (void) gethostname(host, sizeof host - 1);
    c->host = strdup(host);
    for (size_t i = 0; i < n; i++)
        dz_buf_put_field(&c->paths, (dz_slice){ (const uint8_t *) roots[i], strlen(roots[i]) });
    for (size_t i = 0; i < b->how->n_excludes; i++)
        dz_buf_put_field(&c->excludes, (dz_slice){ (const uint8_t *) b->how->excludes[i],
                                                   strlen(b->how->excludes[i]) });
    memcpy(c->source, b->how->source, strlen(b->how->source) + 1);
    c->started_us = b->local.began_us;
    return c->host && dz_buf_ok(&c->paths) && dz_buf_ok(&c->excludes)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_NOMEM, "backup: out of memory");
}

/* Starts walker and workers, assembles, and waits for all of them. */
static dz_status run_threads(struct dz_backup *b, struct dz_backup_assembler *a, dz_err *err) {
    unsigned n = worker_count(b->how), started = 0;
    dz_autofree struct dz_backup_worker *workers = calloc(n, sizeof *workers);
    bool walking = false;
    pthread_t walker;
    dz_status s = DZ_OK;

    if (!workers)
        return DZ_FAIL(err, DZ_E_NOMEM, "backup: out of memory");
    for (unsigned i = 0; i < n && s == DZ_OK; i++)
        s = dz_backup_worker_open(&workers[i], b, err);
    if (s == DZ_OK) {
        errno = pthread_create(&walker, NULL, dz_backup_walk, b);
        walking = errno == 0;
        s = walking ? DZ_OK : DZ_FAIL_ERRNO(err, "backup: starting a thread");
    }
    while (s == DZ_OK && started < n) {
        errno = pthread_create(&workers[started].thread, NULL, dz_backup_work, &workers[started]);
        if (errno)
            s = DZ_FAIL_ERRNO(err, "backup: starting a thread");
        else
            started++;
    }
    if (s == DZ_OK)
        s = dz_backup_assemble(a, err);
    if (s != DZ_OK) {
        dz_err why = { .status = s, .what = "backup: stopped" };
        dz_backup_fail(b, s, err ? err : &why);
    }
    for (unsigned i = 0; i < started; i++)
        (void) pthread_join(workers[i].thread, NULL);
    if (walking)
        (void) pthread_join(walker, NULL);
    for (; b->head < b->tail; b->head++)
        dz_backup_item_free(b->ring[b->head % DZ_BACKUP_RING]);
    for (unsigned i = 0; i < n; i++)
        dz_backup_worker_close(&workers[i]);
    return s;
}

static dz_status run(struct dz_backup *b, struct dz_commit *c, dz_err *err) {
    struct dz_backup_assembler a = { 0 };
    dz_status s;

    DZ_TRY(fill_request(b, c, err));
    s = dz_backup_assembler_open(&a, b, c, err);
    if (s == DZ_OK)
        s = run_threads(b, &a, err);
    if (s == DZ_OK)
        s = dz_gather_commit(&a.gather, b->session, err);
    if (s == DZ_OK) /* the snapshot stands; without a new cache the next run reads more */
        DZ_IGNORE(dz_path_writer_finish(a.cache, c->id, NULL));
    dz_backup_assembler_close(&a);
    return s;
}

static dz_status open_all(struct dz_backup *b, dz_err *err) {
    struct dz_scan_how scan = { .paths = b->how->paths,
                                .n_paths = b->how->n_paths,
                                .excludes = b->how->excludes,
                                .n_excludes = b->how->n_excludes,
                                .one_file_system = b->how->one_file_system,
                                .depth_max = 2 * (size_t) b->dirs_max };
    struct stat st;

    if (fstat(b->v->dirfd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "the vault's directory");
    scan.skip_dev = st.st_dev;
    scan.skip_ino = st.st_ino;
    DZ_TRY(dz_scan_new(&scan, &b->scan, err));
    DZ_TRY(dz_chunker_new(b->v->host->chunk, DZ_CHUNKER_DEFAULTS, &b->chunker, err));
    /* the session's list of packs first: the commit sees to it that all of them are still there,
     * and so are those that the cache rests on */
    DZ_TRY(dz_session_begin(b->v, &b->session, err));
    dz_path_context(b->v->host, b->how->source, b->local.secret);
    dz_gather_digest_key(b->v, b->digest_key);
    return dz_path_cache_open(b->v, b->how->source, &b->cache, err);
}

dz_status dz_backup_run(struct dz_vault *v, const struct dz_backup_how *how,
                        struct dz_commit *ret_commit, dz_err *err) {
    struct dz_backup b = { .v = v, .how = how };
    struct dz_commit c = { 0 };
    dz_status s;

    DZ_TRY(dz_source_name_check(how->source, err));
    (void) pthread_mutex_init(&b.lock, NULL);
    (void) pthread_cond_init(&b.changed, NULL);
    b.dirs_max = raise_file_limit();
    b.local.began_us = dz_now_us();
    s = open_all(&b, err);
    if (s == DZ_OK)
        s = run(&b, &c, err);
    dz_session_free(b.session);
    dz_path_cache_free(b.cache);
    dz_chunker_free(b.chunker);
    dz_scan_free(b.scan);
    (void) pthread_cond_destroy(&b.changed);
    (void) pthread_mutex_destroy(&b.lock);
    explicit_bzero(b.local.secret, sizeof b.local.secret);
    explicit_bzero(b.digest_key, sizeof b.digest_key);
    if (s != DZ_OK) {
        dz_commit_release(&c);
        return s;
    }
    *ret_commit = c;
    return DZ_OK;
}
