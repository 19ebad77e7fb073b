/* daemon/board.h -- what the daemon knows of its sources, and what is to be done next.
 *
 *   dozod.yaml ┐                                   ┌▶ run this source
 *   the log    ┼▶ [board: sources, jobs] + now ────┼▶ stop this job
 *   job ends   ┘                                   └▶ tell of this source
 *
 * Decisions only: nothing here asks a clock, runs a program or writes a byte.  Wall-clock times
 * (microseconds UTC) decide when a source is due or late, the monotonic clock (milliseconds) how
 * long a job may run.  The zone of the configuration is entered (core/zone.h) by the caller.
 * Belongs to one thread. */
#pragma once

#include "core/child.h"
#include "daemon/config.h"
#include "daemon/expected.h"

enum {
    DZ_BOARD_TELLS_MAX = 4, /* programs that tell people, at once */
    DZ_BOARD_JOBS_MAX = DZ_AT_ONCE_MAX + DZ_BOARD_TELLS_MAX + 1,
    DZ_BOARD_DETAIL_MAX = 500, /* bytes of a reason */
};

enum dz_job_kind {
    DZ_JOB_RUN,   /* a backup of one source */
    DZ_JOB_TELL,  /* the program that tells people */
    DZ_JOB_CHORE, /* daemon/chore.h */
};

typedef struct dz_board_job {
    uint32_t number; /* from 1 */
    enum dz_job_kind kind;
    char source[DZ_EXPECTED_NAME_MAX + 1]; /* of a run */
    int64_t end_ms;                        /* when it has run long enough */
    bool overran;                          /* it was told to stop for that */
    uint64_t leaf;                         /* size of the log when it began */
} dz_board_job;

typedef struct dz_board_source {
    const struct dz_feed *feed; /* of the configuration; borrowed */
    int64_t since_us;           /* expected since then */
    int64_t newest_us;          /* its newest snapshot arrived; INT64_MIN: there is none */
    uint64_t newest_leaf;
    int64_t ended_us;            /* its last run ended, well or not; INT64_MIN: none did */
    uint32_t job;                /* that runs it; 0: none */
    bool late_told, failed_told; /* once per silence, once per row of failures */
    char *failed;                /* the reason that is still to be told.  Owned; NULL: none. */
} dz_board_source;

struct dz_board {
    dz_board_source *sources; /* owned */
    size_t n_sources;
    unsigned at_once; /* runs */
    dz_board_job jobs[DZ_BOARD_JOBS_MAX];
    size_t n_jobs;
    uint32_t last_number;
};

/* A board for this configuration, which must outlive it.  A source that `known` has by the same
 * schedule is expected since then, others since `now_us`.  From `before` (NULL: none) jobs go on,
 * and what is known of sources of the same name is taken over; it is left without both. DZ_E_NOMEM.
 */
dz_status dz_board_new(const struct dz_config *config, const struct dz_expected *known,
                       struct dz_board *before, int64_t now_us, struct dz_board **ret_board,
                       dz_err *err) DZ_MUST_CHECK;
void dz_board_free(struct dz_board *b); /* NULL is fine */
DZ_DEFINE_AUTO(dz_board, dz_board_free)

/* NULL: no such source. */
dz_board_source *dz_board_find(struct dz_board *b, const char *name);

/* A snapshot is there: silence and failures end, unless an older one is told after a newer one. */
void dz_board_came(struct dz_board *b, const char *source, int64_t arrived_us, uint64_t leaf);

/* A job begins; gives its number, or 0 when no more may run.  `source` is that of a run, else "".
 * It is to end by `end_ms`. */
uint32_t dz_board_begin(struct dz_board *b, enum dz_job_kind kind, const char *source,
                        int64_t end_ms, uint64_t leaf);
/* It ended; *ret_job is what it was.  One that never ran (`ran` false) leaves its source as due as
 * it was.  False: no such job. */
bool dz_board_end(struct dz_board *b, uint32_t number, bool ran, int64_t now_us,
                  dz_board_job *ret_job);

/* The source that waits longest among those to be run now; NULL: none, or no more may run. */
dz_board_source *dz_board_due(const struct dz_board *b, int64_t now_us);
/* A source that is late and nobody was told; NULL: none. */
dz_board_source *dz_board_late(const struct dz_board *b, int64_t now_us);
/* A source whose failure is to be told; NULL: none, or too many are being told. */
dz_board_source *dz_board_failed(const struct dz_board *b);
/* A job that runs for too long and was not told so; NULL: none. */
dz_board_job *dz_board_overrun(struct dz_board *b, int64_t now_ms);
bool dz_board_may_tell(const struct dz_board *b);

/* How long nothing will be to do unless something happens; at most `most_ms`. */
int dz_board_wait(const struct dz_board *b, int64_t now_us, int64_t now_ms, int most_ms);
