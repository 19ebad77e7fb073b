#include "recover/restore.h"

#include <sys/sysinfo.h>

#include "core/os.h"
#include "core/text.h"
#include "recover/make.h"
#include "recover/walk.h"

enum {
    JOB_ITEMS = 256,     /* files that a worker takes at once */
    JOB_BYTES = 4 << 20, /* or bytes of content: about a segment */
    JOB_TEXT = 1 << 20,  /* or bytes of names and fields */
    JOBS_PER_THREAD = 8, /* that wait in the queue */
    THREADS_MAX = 64,
};

struct item {
    dz_entry e; /* path and fields are places in the job's text until it is taken */
    struct dz_target_dir *dir;
    struct dz_link *link;
    size_t name_at, fields_at;
};

struct job {
    struct job *next;
    struct job *also;            /* the next one that is being worked on */
    const void *dirs_at_ends[2]; /* of its first and last item: only to compare */
    dz_buf text;                 /* names, NUL-terminated, and fields */
    uint64_t bytes;
    size_t n, n_dirs;
    struct item items[JOB_ITEMS];
};

struct restore {
    const struct dz_supply *supply;
    struct dz_target target;
    struct dz_links *links;
    unsigned n_threads;
    size_t job_dirs; /* different directories in a job, at most: each holds a descriptor */

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t filled, drained;
    struct job *first, **last; /* the queue */
    size_t queued;
    struct job *running; /* what the workers are at */
    struct job *spare;
    bool closed;      /* no more jobs will come */
    dz_status status; /* of the first thread that could not go on */
    dz_err err;
    _Atomic bool stop; /* the same, to look at without the lock */
};

/* --- Jobs ------------------------------------------------------------------------------------- */

static void stop(struct restore *r, dz_status status, const dz_err *err) {
    pthread_mutex_lock(&r->lock);
    if (r->status == DZ_OK) {
        r->status = status;
        r->err = *err;
    }
    atomic_store(&r->stop, true);
    pthread_cond_broadcast(&r->drained);
    pthread_mutex_unlock(&r->lock);
}

static void add_counts(struct dz_restore_result *to, const struct dz_restore_result *n) {
    to->files += n->files;
    to->bytes += n->bytes;
    to->dirs += n->dirs;
    to->others += n->others;
    to->present += n->present;
}

static void run(struct restore *r, struct dz_maker *m, struct job *job) {
    for (size_t i = 0; i < job->n; i++) {
        struct item *it = &job->items[i];
        dz_err err = { 0 };
        dz_status status = DZ_OK;

        it->e.fields.data = job->text.data + it->fields_at;
        it->e.path = (dz_slice){ 0 };
        if (!atomic_load(&r->stop))
            status = dz_make(m, it->dir, (const char *) job->text.data + it->name_at, &it->e,
                             it->link, &err);
        if (status != DZ_OK)
            stop(r, status, &err);
        dz_target_dir_release(&r->target, it->dir);
    }
    pthread_mutex_lock(&r->target.lock);
    add_counts(&r->target.counts, &m->counts);
    m->counts = (struct dz_restore_result){ 0 };
    if (r->target.how->progress)
        r->target.how->progress(r->target.how->ctx, &r->target.counts);
    pthread_mutex_unlock(&r->target.lock);
}

static bool shares_directory(const struct job *a, const struct job *b) {
    for (int i = 0; i < 2; i++)
        if (a->dirs_at_ends[i] == b->dirs_at_ends[0] || a->dirs_at_ends[i] == b->dirs_at_ends[1])
            return true;
    return false;
}

/* Takes the first job whose directories nobody else is at, else the first: two who create files in
 * one directory mostly wait for its lock, spinning.  r->lock is held, the queue is not empty. */
static struct job *take_job(struct restore *r) {
    struct job **at = &r->first, *job;

    for (; *at; at = &(*at)->next) {
        const struct job *other = r->running;

        while (other && !shares_directory(*at, other))
            other = other->also;
        if (!other)
            break;
    }
    if (!*at)
        at = &r->first;
    job = *at;
    *at = job->next;
    if (!*at)
        r->last = at;
    r->queued--;
    job->also = r->running;
    r->running = job;
    return job;
}

static void job_done(struct restore *r, struct job *job) {
    struct job **at = &r->running;

    while (*at != job)
        at = &(*at)->also;
    *at = job->also;
    job->next = r->spare;
    r->spare = job;
}

static void *work(void *ctx) {
    struct restore *r = ctx;
    struct dz_maker m = { 0 };
    dz_err err = { 0 };
    dz_status status = dz_maker_init(&m, &r->target, r->supply, r->links, &err);

    if (status != DZ_OK)
        stop(r, status, &err); /* and go on to release the directories of jobs */
    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct job *job;

        while (!r->first && !r->closed)
            pthread_cond_wait(&r->filled, &r->lock);
        if (!r->first)
            break;
        job = take_job(r);
        pthread_cond_signal(&r->drained);
        pthread_mutex_unlock(&r->lock);
        run(r, &m, job);
        pthread_mutex_lock(&r->lock);
        job_done(r, job);
    }
    pthread_mutex_unlock(&r->lock);
    dz_maker_done(&m);
    return NULL;
}

static struct job *job_new(struct restore *r) {
    struct job *job;

    pthread_mutex_lock(&r->lock);
    job = r->spare;
    if (job)
        r->spare = job->next;
    pthread_mutex_unlock(&r->lock);
    if (!job)
        return calloc(1, sizeof *job);
    dz_buf_clear(&job->text);
    job->n = job->n_dirs = 0;
    job->bytes = 0;
    return job;
}

static void job_free(struct job *job) {
    dz_buf_release(&job->text);
    free(job);
}

/* Waits while the queue is full. */
static void job_push(struct restore *r, struct job *job) {
    job->next = NULL;
    job->dirs_at_ends[0] = job->items[0].dir;
    job->dirs_at_ends[1] = job->items[job->n - 1].dir;
    pthread_mutex_lock(&r->lock);
    while (r->queued >= (size_t) JOBS_PER_THREAD * r->n_threads && !atomic_load(&r->stop))
        pthread_cond_wait(&r->drained, &r->lock);
    *r->last = job;
    r->last = &job->next;
    r->queued++;
    pthread_cond_signal(&r->filled);
    pthread_mutex_unlock(&r->lock);
}

/* Takes the entry into the job.  `dir` is the walker's. */
static dz_status job_add(struct restore *r, struct job *job, const dz_entry *e,
                         struct dz_target_dir *dir, dz_err *err) {
    dz_slice link = dz_entry_field(e, DZ_TAG_LINK);
    struct item *it = &job->items[job->n];
    size_t name_len = 0;

    while (name_len < e->path.len && e->path.data[e->path.len - name_len - 1] != '/')
        name_len++;
    *it = (struct item){ .e = *e, .dir = dir, .name_at = job->text.len };
    dz_buf_put(&job->text, e->path.data + e->path.len - name_len, name_len);
    dz_buf_put_u8(&job->text, 0);
    it->fields_at = job->text.len;
    if (e->fields.len > 0)
        dz_buf_put_slice(&job->text, e->fields);
    if (!dz_buf_ok(&job->text))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a job of %zu files", job->n);
    if (link.len > 0)
        DZ_TRY(dz_links_get(r->links, link, &it->link, err));
    if (job->n == 0 || job->items[job->n - 1].dir != dir)
        job->n_dirs++;
    job->bytes += e->type == DZ_ENTRY_FILE ? e->size : 0;
    job->n++;
    dz_target_dir_hold(dir);
    return DZ_OK;
}

static bool job_full(const struct restore *r, const struct job *job) {
    return job->n == JOB_ITEMS || job->bytes >= JOB_BYTES || job->text.len >= JOB_TEXT ||
           job->n_dirs >= r->job_dirs;
}

/* --- The walk --------------------------------------------------------------------------------- */

static void name_lost(void *ctx, dz_slice path, uint64_t entries, const char *what) {
    struct restore *r = ctx;

    dz_target_problem_at(&r->target, DZ_RESTORE_LEFT_OUT, path, what, 0);
    if (entries > 1) { /* the first has just been counted */
        pthread_mutex_lock(&r->target.lock);
        r->target.counts.left_out += entries - 1;
        pthread_mutex_unlock(&r->target.lock);
    }
}

static bool stripped(const dz_entry *e, unsigned strip) {
    size_t components = e->path.len > 0;

    for (size_t i = 0; i < e->path.len && components <= strip; i++)
        components += e->path.data[i] == '/';
    return components <= strip;
}

static dz_status take_dir(struct restore *r, struct dz_walk *walk, const dz_entry *e, bool above,
                          dz_err *err) {
    struct dz_target *t = &r->target;
    bool entered;

    if (!above && (e->flags & DZ_ENTRY_UNREADABLE))
        dz_target_problem_at(t, DZ_RESTORE_PARTIAL, e->path,
                             N_("it could not be read when the snapshot was made"), 0);
    DZ_TRY(dz_target_enter(t, e, &entered, err));
    if (!entered)
        return dz_walk_skip_below(walk, err);
    if (!stripped(e, t->how->strip)) {
        pthread_mutex_lock(&t->lock);
        t->counts.dirs++;
        pthread_mutex_unlock(&t->lock);
    }
    return DZ_OK;
}

static dz_status take_other(struct restore *r, struct job *job, const dz_entry *e, dz_err *err) {
    struct dz_target *t = &r->target;
    struct dz_target_dir *dir;

    if (e->type == DZ_ENTRY_SOCKET) {
        dz_target_problem_at(t, DZ_RESTORE_NOTE, e->path,
                             N_("a socket: its program makes it when it starts"), 0);
        pthread_mutex_lock(&t->lock);
        t->counts.sockets++;
        pthread_mutex_unlock(&t->lock);
        return DZ_OK;
    }
    if (stripped(e, t->how->strip)) {
        dz_target_problem_at(t, DZ_RESTORE_LEFT_OUT, e->path,
                             N_("--strip leaves nothing of its path"), 0);
        return DZ_OK;
    }
    DZ_TRY(dz_target_stand(t, e->path, &dir, err));
    if (!dir)
        dz_target_problem_at(t, DZ_RESTORE_LEFT_OUT, e->path, N_("its directory could not be made"),
                             0);
    else if (dz_target_dir_fd(t, dir) < 0)
        dz_target_problem_at(t, DZ_RESTORE_LEFT_OUT, e->path,
                             N_("its directory could not be opened again"), errno);
    else
        return job_add(r, job, e, dir, err);
    return DZ_OK;
}

static dz_status walk_all(struct restore *r, const dz_manifest_root *root, dz_err *err) {
    const struct dz_restore_how *how = r->target.how;
    DZ_AUTO(dz_walk) walk = NULL;
    struct job *job = NULL;
    dz_status status;

    DZ_TRY(dz_walk_new(r->supply, root, how->paths, how->n_paths, name_lost, r, &walk, err));
    for (;;) {
        dz_entry e;
        bool above, end;

        if (!job) {
            job = job_new(r);
            if (!job)
                return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a job");
        }
        status = dz_walk_next(walk, &e, &above, &end, err);
        if (status != DZ_OK || end || atomic_load(&r->stop))
            break;
        if (!dz_path_ok(e.path))
            dz_target_problem_at(&r->target, DZ_RESTORE_LEFT_OUT, e.path,
                                 N_("its path can be none"), 0);
        else if (e.type == DZ_ENTRY_DIR)
            status = take_dir(r, walk, &e, above, err);
        else if (!above)
            status = take_other(r, job, &e, err);
        if (status != DZ_OK)
            break;
        if (job_full(r, job)) {
            job_push(r, job);
            job = NULL;
        }
    }
    if (job && job->n > 0)
        job_push(r, job);
    else if (job)
        job_free(job);
    return status;
}

/* --- All of it -------------------------------------------------------------------------------- */

static dz_status run_threads(struct restore *r, const dz_manifest_root *root, dz_err *err) {
    pthread_t threads[THREADS_MAX];
    unsigned started = 0;
    dz_status status = DZ_OK;

    while (started < r->n_threads && status == DZ_OK) {
        int rc = pthread_create(&threads[started], NULL, work, r);

        if (rc == 0)
            started++;
        else if (started > 0)
            break; /* fewer will do */
        else
            status = DZ_FAIL(err, DZ_E_NOMEM, "cannot start a thread: error %d", rc);
    }
    if (status == DZ_OK)
        status = walk_all(r, root, err);
    if (status != DZ_OK)
        atomic_store(&r->stop, true); /* what is queued is only let go */
    pthread_mutex_lock(&r->lock);
    r->closed = true;
    pthread_cond_broadcast(&r->filled);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < started; i++)
        (void) pthread_join(threads[i], NULL);
    if (status == DZ_OK && r->status != DZ_OK) {
        status = r->status;
        if (err)
            *err = r->err;
    }
    return status;
}

dz_status dz_restore(const struct dz_supply *supply, const dz_manifest_root *root,
                     const struct dz_restore_how *how, struct dz_restore_result *ret_result,
                     dz_err *err) {
    struct restore r = { .supply = supply };
    dz_err own = { 0 };
    dz_status status;
    int syncfd = -1;

    if (!err)
        err = &own;
    r.n_threads = how->threads > 0 ? how->threads : (unsigned) get_nprocs();
    if (r.n_threads > THREADS_MAX)
        r.n_threads = THREADS_MAX;
    r.last = &r.first;
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.filled, NULL);
    pthread_cond_init(&r.drained, NULL);
    status = dz_links_new(&r.links, err);
    if (status == DZ_OK)
        status = dz_target_open(&r.target, how, err);
    if (status == DZ_OK) {
        r.job_dirs = (size_t) r.target.dir_budget / (2 * (JOBS_PER_THREAD + 2) * r.n_threads) + 1;
        status = run_threads(&r, root, err);
        syncfd = dz_target_open_path(&r.target, (dz_slice){ 0 });
    }
    dz_target_close(&r.target);
    if (status == DZ_OK && (syncfd < 0 || dz_os->syncfs(syncfd) != 0))
        status = DZ_FAIL_ERRNO(err, "the target's file system could not be synced");
    if (syncfd >= 0)
        (void) dz_os->close(syncfd);
    while (r.spare) {
        struct job *job = r.spare;

        r.spare = job->next;
        job_free(job);
    }
    dz_links_free(r.links);
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.filled);
    pthread_cond_destroy(&r.drained);
    if (status == DZ_OK)
        *ret_result = r.target.counts;
    return status;
}
