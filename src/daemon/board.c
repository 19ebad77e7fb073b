#include "daemon/board.h"

#include <stdio.h>

/* --- a board ---------------------------------------------------------------------------------- */

void dz_board_free(struct dz_board *b) {
    if (!b)
        return;
    for (size_t i = 0; i < b->n_sources; i++)
        free(b->sources[i].failed);
    free(b->sources);
    free(b);
}

/* Since when a source is expected: a schedule that was changed counts from now, and so does one
 * from a time that is still to come. */
static int64_t since(const struct dz_feed *f, const struct dz_expected *known, int64_t now_us) {
    const dz_expected_source *k = dz_expected_find(known, f->name);
    const dz_expected_source now = { .cron = f->cron, .schedule = f->schedule };

    return k && dz_expected_same(k, &now) && k->since_us < now_us ? k->since_us : now_us;
}

dz_status dz_board_new(const struct dz_config *config, const struct dz_expected *known,
                       struct dz_board *before, int64_t now_us, struct dz_board **ret_board,
                       dz_err *err) {
    DZ_AUTO(dz_board) b = calloc(1, sizeof *b);

    if (!b)
        return DZ_FAIL(err, DZ_E_NOMEM, "sources: out of memory");
    b->at_once = config->limits.at_once;
    b->sources = calloc(config->n_feeds, sizeof *b->sources);
    if (!b->sources)
        return DZ_FAIL(err, DZ_E_NOMEM, "sources: out of memory");
    b->n_sources = config->n_feeds;
    for (size_t i = 0; i < b->n_sources; i++) {
        const struct dz_feed *f = &config->feeds[i];
        dz_board_source *old = before ? dz_board_find(before, f->name) : NULL;

        b->sources[i] = (dz_board_source){ .newest_us = INT64_MIN, .ended_us = INT64_MIN };
        if (old) {
            b->sources[i] = *old;
            old->failed = NULL;
        }
        b->sources[i].feed = f;
        b->sources[i].since_us = since(f, known, now_us);
    }
    if (before) {
        memcpy(b->jobs, before->jobs, sizeof b->jobs);
        b->n_jobs = before->n_jobs;
        b->last_number = before->last_number;
        before->n_jobs = 0;
    }
    *ret_board = DZ_TAKE(b);
    return DZ_OK;
}

dz_board_source *dz_board_find(struct dz_board *b, const char *name) {
    for (size_t i = 0; i < b->n_sources; i++)
        if (strcmp(b->sources[i].feed->name, name) == 0)
            return &b->sources[i];
    return NULL;
}

void dz_board_came(struct dz_board *b, const char *source, int64_t arrived_us, uint64_t leaf) {
    dz_board_source *s = dz_board_find(b, source);

    if (!s || (s->newest_us != INT64_MIN && leaf <= s->newest_leaf))
        return;
    s->newest_us = arrived_us;
    s->newest_leaf = leaf;
    s->late_told = s->failed_told = false;
    free(s->failed);
    s->failed = NULL;
}

/* --- jobs ------------------------------------------------------------------------------------- */

static unsigned count(const struct dz_board *b, enum dz_job_kind kind) {
    unsigned n = 0;

    for (size_t i = 0; i < b->n_jobs; i++)
        n += b->jobs[i].kind == kind;
    return n;
}

/* How many of a kind there may be. */
static bool may_begin(const struct dz_board *b, enum dz_job_kind kind) {
    const unsigned most[] = {
        [DZ_JOB_RUN] = b->at_once, [DZ_JOB_TELL] = DZ_BOARD_TELLS_MAX, [DZ_JOB_CHORE] = 1
    };

    return b->n_jobs < DZ_BOARD_JOBS_MAX && count(b, kind) < most[kind];
}

bool dz_board_may_tell(const struct dz_board *b) {
    return may_begin(b, DZ_JOB_TELL);
}

uint32_t dz_board_begin(struct dz_board *b, enum dz_job_kind kind, const char *source,
                        int64_t end_ms, uint64_t leaf) {
    dz_board_source *s = kind == DZ_JOB_RUN ? dz_board_find(b, source) : NULL;
    dz_board_job *job = &b->jobs[b->n_jobs];

    if (!may_begin(b, kind))
        return 0;
    b->last_number = b->last_number == UINT32_MAX ? 1 : b->last_number + 1;
    *job = (dz_board_job){ .number = b->last_number, .kind = kind, .end_ms = end_ms, .leaf = leaf };
    (void) snprintf(job->source, sizeof job->source, "%s", source);
    b->n_jobs++;
    if (s)
        s->job = job->number;
    return job->number;
}

bool dz_board_end(struct dz_board *b, uint32_t number, bool ran, int64_t now_us,
                  dz_board_job *ret_job) {
    for (size_t i = 0; i < b->n_jobs; i++) {
        dz_board_source *s;

        if (b->jobs[i].number != number)
            continue;
        *ret_job = b->jobs[i];
        b->jobs[i] = b->jobs[--b->n_jobs];
        s = ret_job->kind == DZ_JOB_RUN ? dz_board_find(b, ret_job->source) : NULL;
        if (s && s->job == number) {
            s->job = 0;
            s->ended_us = ran ? now_us : s->ended_us;
        }
        return true;
    }
    return false;
}

/* --- what is to be done ----------------------------------------------------------------------- */

static int64_t latest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The first time due that nothing came for; no later than the first one after now. */
static int64_t due_at(const dz_board_source *s, int64_t now_us) {
    int64_t last = latest(latest(s->newest_us, s->ended_us), s->since_us);

    return dz_schedule_next(&s->feed->schedule, last < now_us ? last : now_us);
}

static int64_t late_at(const dz_board_source *s) {
    return dz_schedule_late(&s->feed->schedule, latest(s->newest_us, s->since_us),
                            s->feed->late_after_us);
}

dz_board_source *dz_board_due(const struct dz_board *b, int64_t now_us) {
    dz_board_source *first = NULL;
    int64_t first_us = INT64_MAX;

    if (!may_begin(b, DZ_JOB_RUN))
        return NULL;
    for (size_t i = 0; i < b->n_sources; i++) {
        dz_board_source *s = &b->sources[i];
        int64_t due_us = s->job ? INT64_MAX : due_at(s, now_us);

        if (due_us <= now_us && due_us < first_us) {
            first = s;
            first_us = due_us;
        }
    }
    return first;
}

dz_board_source *dz_board_late(const struct dz_board *b, int64_t now_us) {
    if (!dz_board_may_tell(b))
        return NULL;
    for (size_t i = 0; i < b->n_sources; i++)
        if (!b->sources[i].late_told && now_us > late_at(&b->sources[i]))
            return &b->sources[i];
    return NULL;
}

dz_board_source *dz_board_failed(const struct dz_board *b) {
    if (!dz_board_may_tell(b))
        return NULL;
    for (size_t i = 0; i < b->n_sources; i++)
        if (b->sources[i].failed)
            return &b->sources[i];
    return NULL;
}

dz_board_job *dz_board_overrun(struct dz_board *b, int64_t now_ms) {
    for (size_t i = 0; i < b->n_jobs; i++)
        if (!b->jobs[i].overran && b->jobs[i].end_ms <= now_ms)
            return &b->jobs[i];
    return NULL;
}

static void sooner(int64_t *wait_ms, int64_t ms) {
    if (ms < *wait_ms)
        *wait_ms = ms > 0 ? ms : 0;
}

/* Rounded up: woken early, there would be nothing to do yet. */
static int64_t ms_until(int64_t us, int64_t now_us) {
    return us == INT64_MAX ? INT64_MAX : us <= now_us ? 0 : (us - now_us) / 1000 + 1;
}

int dz_board_wait(const struct dz_board *b, int64_t now_us, int64_t now_ms, int most_ms) {
    bool may_run = may_begin(b, DZ_JOB_RUN), may_tell = dz_board_may_tell(b);
    int64_t wait_ms = most_ms;

    for (size_t i = 0; i < b->n_sources; i++) {
        const dz_board_source *s = &b->sources[i];

        if (may_run && !s->job)
            sooner(&wait_ms, ms_until(due_at(s, now_us), now_us));
        if (may_tell && !s->late_told)
            sooner(&wait_ms, ms_until(late_at(s), now_us));
        if (may_tell && s->failed)
            sooner(&wait_ms, 0);
    }
    for (size_t i = 0; i < b->n_jobs; i++)
        if (!b->jobs[i].overran)
            sooner(&wait_ms, b->jobs[i].end_ms - now_ms);
    return (int) wait_ms;
}
