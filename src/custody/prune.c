#include "custody/prune.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/hex.h"
#include "core/os.h"
#include "custody/action.h"
#include "custody/survey.h"
#include "store/removed.h"

static const int64_t day_us = INT64_C(86400) * 1000000;

/* --- what was announced ----------------------------------------------------------------------- */

struct notice {
    uint8_t file[DZ_SHA256_BYTES];
    int64_t trusted_us; /* when */
    int64_t dated_us;   /* the same by its date, but not before the ticks that stand before it */
    uint64_t leaf;
};

/* Whether a week lies between: of trusted time, and, since who has the host's keys can write ticks,
 * by the dates too.  A leaf can be dated back, but not to before leaves that stand already. */
static bool week_between(const struct notice *announced, int64_t trusted_us, int64_t dated_us) {
    return trusted_us - announced->trusted_us >= DZ_PRUNE_WAIT_DAYS * day_us &&
           dated_us > announced->dated_us &&
           (uint64_t) dated_us - (uint64_t) announced->dated_us >= DZ_REMOVED_WAIT_US;
}

struct notices {
    dz_buf list;       /* struct notice; by file, then leaf, once sorted */
    int64_t ticked_us; /* the greatest date of a tick since operators set the clock */
};

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static size_t count(const struct notices *n) {
    return n->list.len / sizeof(struct notice);
}

static struct notice *at(const struct notices *n, size_t i) {
    void *data = n->list.data;

    return (struct notice *) data + i;
}

static int by_file(const void *a, const void *b) {
    const struct notice *x = a, *y = b;
    int order = memcmp(x->file, y->file, sizeof x->file);

    return order != 0 ? order : (x->leaf > y->leaf) - (x->leaf < y->leaf);
}

static void add(struct notices *n, const dz_ledger_leaf *leaf, int64_t trusted_us,
                int64_t ticked_us) {
    const dz_leaf_object *o;

    for (size_t k = 0; (o = dz_ledger_object(leaf, DZ_LEAF_OBJ_COMMIT, k)); k++) {
        struct notice notice = { .trusted_us = trusted_us,
                                 .dated_us = later(ticked_us, leaf->time_us),
                                 .leaf = leaf->index };

        memcpy(notice.file, o->name, sizeof notice.file);
        dz_buf_put(&n->list, &notice, sizeof notice);
    }
}

static dz_status read_notices(const struct dz_ledger *ledger, const struct dz_quorum *q,
                              uint16_t kind, struct notices *ret, dz_err *err) {
    struct dz_clock_guard g = { 0 };

    *ret = (struct notices){ .ticked_us = INT64_MIN };
    for (size_t i = 0; i < ledger->n; i++) {
        const dz_ledger_leaf *leaf = &ledger->leaves[i];
        bool stood = g.frozen;

        dz_clock_guard_take(&g, q, leaf);
        if (stood && !g.frozen) /* operators have said what time it is */
            ret->ticked_us = g.trusted_us;
        else if (leaf->kind == DZ_LEAF_CLOCK_TICK)
            ret->ticked_us = later(ret->ticked_us, leaf->time_us);
        if (leaf->kind == kind)
            add(ret, leaf, g.trusted_us, ret->ticked_us);
    }
    if (!dz_buf_ok(&ret->list))
        return DZ_FAIL(err, DZ_E_NOMEM, "announced removals: out of memory");
    if (count(ret) > 0)
        qsort(ret->list.data, count(ret), sizeof(struct notice), by_file);
    return DZ_OK;
}

/* The first notice of this record, or NULL.  Others of the same record follow it. */
static const struct notice *first_of(const struct notices *n, const uint8_t file[DZ_SHA256_BYTES]) {
    size_t low = 0, high = count(n);

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (memcmp(at(n, mid)->file, file, DZ_SHA256_BYTES) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count(n) && memcmp(at(n, low)->file, file, DZ_SHA256_BYTES) == 0 ? at(n, low)
                                                                                  : NULL;
}

/* The next one of the same record, or NULL. */
static const struct notice *next_of(const struct notices *n, const struct notice *this) {
    const struct notice *next = this + 1;

    return next < at(n, count(n)) && memcmp(next->file, this->file, sizeof this->file) == 0 ? next
                                                                                            : NULL;
}

/* What may be dated now; nobody knows while the clock stands still. */
static int64_t now_at_most(const struct dz_ledger *ledger, const struct dz_quorum *q,
                           const struct dz_clock_sample *now) {
    struct dz_clock_guard g;
    bool frozen;

    dz_clock_guard_read(ledger, q, &g);
    (void) dz_clock_guard_at(&g, now, &frozen);
    return frozen ? INT64_MAX : now->wall_us + DZ_REQUEST_SLACK_US;
}

dz_status dz_prune_untimely(const struct dz_ledger *ledger, const struct dz_quorum *q,
                            const struct dz_clock_sample *now, uint64_t *ret_n, dz_err *err) {
    const int64_t at_most_us = now_at_most(ledger, q, now);
    struct notices announced = { 0 }, done = { 0 };
    dz_status s = read_notices(ledger, q, DZ_LEAF_PRUNE_INTENT, &announced, err);

    if (s == DZ_OK)
        s = read_notices(ledger, q, DZ_LEAF_PRUNE_DONE, &done, err);
    *ret_n = 0;
    for (size_t i = 0; s == DZ_OK && i < count(&done); i++) {
        const struct notice *d = at(&done, i), *a = first_of(&announced, d->file);
        bool timely = false;

        for (; a && a->leaf < d->leaf && !timely; a = next_of(&announced, a))
            timely = week_between(a, d->trusted_us, d->dated_us) && d->dated_us <= at_most_us;
        *ret_n += !timely;
    }
    dz_buf_release(&announced.list);
    dz_buf_release(&done.list);
    return s;
}

/* --- one run ---------------------------------------------------------------------------------- */

struct prune {
    struct dz_vault *v;
    int tmpfd;
    const struct dz_prune_how *how;
    struct dz_prune_result *result;
    struct notices announced;
    dz_buf announce, remove; /* dz_leaf_object */
};

static dz_status lock(struct dz_vault *v, int *ret_fd, dz_err *err) {
    int fd = dz_os->openat(v->commitsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    dz_status s;

    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "locking the snapshots");
    if (dz_os->flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = fd;
        return DZ_OK;
    }
    s = errno == EWOULDBLOCK ? DZ_FAIL(err, DZ_E_BUSY, "another prune is running")
                             : DZ_FAIL_ERRNO(err, "locking the snapshots");
    (void) dz_os->close(fd);
    return s;
}

static void soon(struct dz_prune_result *r, int64_t when_us) {
    if (r->next_us == 0 || when_us < r->next_us)
        r->next_us = when_us;
}

static void sort_out(struct prune *p, const dz_survey_row *row) {
    const int64_t now = p->result->guard.trusted_us;
    const int64_t dated = later(p->announced.ticked_us, p->how->now.wall_us);
    const struct notice *n = first_of(&p->announced, row->file);
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT };

    /* the oldest announcement that is still good; one of a time that never came is none */
    while (n && (now - n->trusted_us >= DZ_PRUNE_GOOD_DAYS * day_us || n->dated_us > dated))
        n = next_of(&p->announced, n);
    memcpy(object.name, row->file, sizeof object.name);
    if (!n) {
        dz_buf_put(&p->announce, &object, sizeof object);
        soon(p->result, now + DZ_PRUNE_WAIT_DAYS * day_us);
    } else if (week_between(n, now, dated)) {
        dz_buf_put(&p->remove, &object, sizeof object);
    } else {
        p->result->waiting++;
        soon(p->result, n->trusted_us + DZ_PRUNE_WAIT_DAYS * day_us);
    }
}

static dz_status sort_out_all(struct prune *p, dz_err *err) {
    struct dz_survey survey = { 0 };
    dz_status s = dz_survey_read(p->v, p->result->guard.trusted_us, &survey, err);

    for (size_t i = 0; s == DZ_OK && i < survey.n; i++)
        if (dz_retention_goes(survey.rows[i].fate.why))
            sort_out(p, &survey.rows[i]);
    dz_survey_release(&survey);
    if (s == DZ_OK && (!dz_buf_ok(&p->announce) || !dz_buf_ok(&p->remove)))
        s = DZ_FAIL(err, DZ_E_NOMEM, "expired snapshots: out of memory");
    return s;
}

/* Leaves that name all of the records. */
static dz_status note_all(struct prune *p, enum dz_leaf_kind kind, const char *event,
                          const dz_buf *objects, uint64_t *ret_n, dz_err *err) {
    const void *data = objects->data;
    const dz_leaf_object *list = data;
    size_t total = objects->len / sizeof *list;

    for (size_t from = 0; from < total; from += DZ_LEAF_OBJECTS_MAX) {
        size_t n = total - from < DZ_LEAF_OBJECTS_MAX ? total - from : DZ_LEAF_OBJECTS_MAX;

        DZ_TRY(dz_ledger_note(p->v, p->tmpfd, kind, 0, list + from, n,
                              json_pack("{s:s,s:I}", "event", event, "snapshots", (json_int_t) n),
                              NULL, err));
        *ret_n += n;
    }
    return DZ_OK;
}

struct dropping {
    struct dz_vault *v;
    struct dz_removed *removed;
    bool dropped;
};

static dz_status drop_record(void *ctx, const char *name, dz_err *err) {
    struct dropping *d = ctx;
    uint8_t file[DZ_SHA256_BYTES];

    if (!dz_unhex(name, strlen(name), file, sizeof file) || !dz_removed_snapshot(d->removed, file))
        return DZ_OK;
    d->dropped = true;
    return dz_os->unlinkat(d->v->commitsfd, name, 0) < 0
               ? DZ_FAIL_ERRNO(err, "removing a commit record")
               : DZ_OK;
}

/* Records of snapshots that the log says are gone, of this run or of one that was cut off. */
static dz_status drop_records(struct dz_vault *v, dz_err *err) {
    DZ_AUTO(dz_removed) removed = NULL;
    struct dropping d = { .v = v };
    dz_status s;

    (void) pthread_mutex_lock(&v->log_lock);
    s = dz_removed_read(v->log, &removed, err);
    (void) pthread_mutex_unlock(&v->log_lock);
    DZ_TRY(s);
    d.removed = removed;
    s = dz_dir_each(v->commitsfd, "commit records", drop_record, &d, err);
    if (s == DZ_OK && d.dropped && dz_os->fsync(v->commitsfd) < 0)
        s = DZ_FAIL_ERRNO(err, "syncing the directory of commits");
    return s;
}

static dz_status expire(struct prune *p, dz_err *err) {
    struct dz_custody c = { .v = p->v };
    dz_status s = dz_custody_read(&c, err);

    if (s == DZ_OK)
        s = read_notices(c.ledger, &c.quorum, DZ_LEAF_PRUNE_INTENT, &p->announced, err);
    dz_custody_release(&c);
    DZ_TRY(s);
    DZ_TRY(sort_out_all(p, err));
    DZ_TRY(
        note_all(p, DZ_LEAF_PRUNE_INTENT, "announced", &p->announce, &p->result->announced, err));
    return note_all(p, DZ_LEAF_PRUNE_DONE, "removed", &p->remove, &p->result->removed, err);
}

/* Leaves that no run of this program wrote are not carried out: what they name is still there. */
static dz_status check_log(struct dz_vault *v, const struct dz_clock_sample *now, dz_err *err) {
    struct dz_custody c = { .v = v };
    uint64_t untimely = 0;
    dz_status s = dz_custody_read(&c, err);

    if (s == DZ_OK)
        s = dz_prune_untimely(c.ledger, &c.quorum, now, &untimely, err);
    dz_custody_release(&c);
    DZ_TRY(s);
    return untimely == 0
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_POLICY,
                         "the log says of %llu snapshots that they were removed, without a week's "
                         "announcement: somebody else wrote it; nothing is removed",
                         (unsigned long long) untimely);
}

static dz_status run(struct prune *p, const char *tmp, dz_err *err) {
    DZ_TRY(dz_clock_tick(p->v, p->tmpfd, &p->how->now, 0, &p->result->guard, err));
    if (!p->result->guard.frozen) {
        DZ_TRY(check_log(p->v, &p->how->now, err));
        DZ_TRY(expire(p, err));
        DZ_TRY(drop_records(p->v, err));
    }
    return dz_sweep(p->v, p->tmpfd, tmp, &p->how->sweep, &p->result->swept, err);
}

dz_status dz_prune_run(struct dz_vault *v, const struct dz_prune_how *how,
                       struct dz_prune_result *ret_result, dz_err *err) {
    struct prune p = { .v = v, .how = how, .result = ret_result };
    char tmp[DZ_VAULT_TMP_NAME];
    int held = -1;
    dz_status s;

    *ret_result = (struct dz_prune_result){ 0 };
    DZ_TRY(lock(v, &held, err));
    s = dz_vault_tmp_make(v, tmp, &p.tmpfd, err);
    if (s == DZ_OK) {
        s = run(&p, tmp, err);
        dz_vault_tmp_drop(v, tmp, p.tmpfd);
    }
    (void) dz_os->close(held);
    dz_buf_release(&p.announced.list);
    dz_buf_release(&p.announce);
    dz_buf_release(&p.remove);
    return s;
}
