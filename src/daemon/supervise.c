#include "daemon/supervise.h"

#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/sandbox.h"
#include "core/text.h"
#include "core/utf8.h"
#include "core/zone.h"
#include "custody/alarm.h"
#include "daemon/chore.h"
#include "daemon/log.h"
#include "daemon/message.h"
#include "daemon/news.h"

enum {
    BEAT_MS = 5000,      /* between signs of life, and looks at the log */
    TELL_MS = 60 * 1000, /* for the program that tells people */
};

struct supervisor {
    int sock;
    uint32_t generation;
    struct dz_config config;
    bool sandbox, configured, zone_entered;
    struct dz_vault *v;
    struct dz_board *board;
    struct dz_news news;
    struct chore {
        int64_t done_us;                /* by the log; INT64_MIN: never, INT64_MAX: not wanted */
        int64_t begun_ms;               /* by us, on the monotonic clock; 0: never */
        char failed[DZ_CHILD_END_TEXT]; /* what is to be told of it; "": nothing */
    } chores[DZ_CHORES];
    enum dz_chore chore; /* that was begun last */
    int64_t looked_us;   /* when it was last looked up what was done */
    bool log_damaged;    /* said, and nothing good since */
    bool log_untold;
    bool leaving;
};

static dz_status ask(const struct supervisor *s, const dz_message *m, dz_err *err) {
    return dz_message_send(s->sock, m, -1, err);
}

/* --- telling ---------------------------------------------------------------------------------- */

/* The starter takes clean lines only. */
static void put_line(char *to, size_t room, const char *text) {
    if (!dz_utf8_plain((dz_slice){ (const uint8_t *) text, strlen(text) }) || strlen(text) >= room)
        text = "see the journal";
    (void) snprintf(to, room, "%s", text);
}

static dz_status tell(struct supervisor *s, enum dz_event event, const dz_board_source *about,
                      const char *detail, dz_err *err) {
    dz_message m = { .kind = DZ_MESSAGE_TELL, .event = event, .newest_us = INT64_MIN };

    m.job = dz_board_begin(s->board, DZ_JOB_TELL, "", dz_monotonic_us() / 1000 + TELL_MS, 0);
    if (about) {
        m.newest_us = about->newest_us;
        put_line(m.source, sizeof m.source, about->feed->name);
    }
    put_line(m.detail, sizeof m.detail, detail);
    return ask(s, &m, err);
}

/* In the log of the vault; that people are told does not depend on it. */
static void raise_alarm(const struct supervisor *s, const char *reason, const char *source,
                        const char *detail) {
    dz_err err = { 0 };

    if (dz_alarm_raise(s->v, DZ_ALARM_SERIOUS, reason, source, detail, &err) != DZ_OK)
        dz_log_error(&err);
}

static dz_status tell_late(struct supervisor *s, dz_board_source *late, int64_t now_us,
                           dz_err *err) {
    const dz_expected_source e = { .schedule = late->feed->schedule, .since_us = late->since_us };
    char detail[DZ_BOARD_DETAIL_MAX + 1], due[DZ_TIME_TEXT];
    int64_t due_us = dz_expected_due(&e, late->newest_us);

    dz_time_text(due_us, due);
    (void) snprintf(detail, sizeof detail, "due at %s, nothing came for %lld s", due,
                    (long long) (now_us - due_us) / 1000000);
    dz_log(LOG_ERR, T_("source %s is late: due at %s, and nothing came"), late->feed->name, due);
    late->late_told = true;
    DZ_TRY(tell(s, DZ_EVENT_SOURCE_LATE, late, detail, err));
    raise_alarm(s, "source-late", late->feed->name, detail);
    return DZ_OK;
}

static dz_status tell_failed(struct supervisor *s, dz_board_source *failed, dz_err *err) {
    dz_autofree char *detail = DZ_TAKE(failed->failed);

    failed->failed_told = true;
    return tell(s, DZ_EVENT_SOURCE_FAILED, failed, detail, err);
}

static dz_status tell_all(struct supervisor *s, int64_t now_us, dz_err *err) {
    dz_board_source *about;

    while ((about = dz_board_late(s->board, now_us)) != NULL)
        DZ_TRY(tell_late(s, about, now_us, err));
    while ((about = dz_board_failed(s->board)) != NULL)
        DZ_TRY(tell_failed(s, about, err));
    for (enum dz_chore c = 0; c < DZ_CHORES; c++) {
        char *failed = s->chores[c].failed;
        if (!failed[0] || !dz_board_may_tell(s->board))
            continue;
        DZ_TRY(tell(s, dz_chore_kind(c)->failure, NULL, failed, err));
        failed[0] = '\0';
    }
    if (s->log_untold && dz_board_may_tell(s->board)) {
        s->log_untold = false;
        DZ_TRY(tell(s, DZ_EVENT_LOG_DAMAGED, NULL, "the log of the vault is damaged", err));
    }
    return DZ_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

static dz_status run(struct supervisor *s, const dz_board_source *due, dz_err *err) {
    const struct dz_feed *f = due->feed;
    dz_message m = { .kind = DZ_MESSAGE_RUN,
                     .generation = s->generation,
                     .feed = (uint32_t) (f - s->config.feeds) };

    m.job = dz_board_begin(s->board, DZ_JOB_RUN, f->name,
                           (dz_monotonic_us() + f->run_time_us) / 1000, s->news.seen);
    dz_log(LOG_INFO, T_("source %s: the backup begins"), f->name);
    return ask(s, &m, err);
}

/* Neither the log nor we have seen it done for so long.  A clock that was set back makes it done
 * sooner, not later. */
static bool chore_due(const struct supervisor *s, enum dz_chore chore, int64_t now_us,
                      int64_t now_ms) {
    const struct chore *c = &s->chores[chore];
    int64_t every_us = dz_chore_kind(chore)->every_us;

    if (every_us == 0)
        every_us = s->config.verify_every_us;
    if (c->done_us == INT64_MAX || (c->begun_ms && now_ms - c->begun_ms < every_us / 1000))
        return false;
    return c->done_us == INT64_MIN || now_us < c->done_us || now_us - c->done_us >= every_us;
}

static dz_status do_chores(struct supervisor *s, int64_t now_us, dz_err *err) {
    int64_t now_ms = dz_monotonic_us() / 1000;

    for (enum dz_chore c = 0; c < DZ_CHORES; c++) {
        dz_message m = { .kind = DZ_MESSAGE_CHORE, .chore = c };

        if (!chore_due(s, c, now_us, now_ms))
            continue;
        m.job = dz_board_begin(s->board, DZ_JOB_CHORE, "",
                               now_ms + dz_chore_kind(c)->run_time_us / 1000, 0);
        if (m.job == 0) /* another one is under way */
            return DZ_OK;
        s->chore = c;
        s->chores[c].begun_ms = now_ms;
        return ask(s, &m, err);
    }
    return DZ_OK;
}

static dz_status act(struct supervisor *s, dz_err *err) {
    int64_t now_us = dz_now_us();
    dz_board_source *due;
    dz_board_job *job;

    while ((job = dz_board_overrun(s->board, dz_monotonic_us() / 1000)) != NULL) {
        const dz_message stop = { .kind = DZ_MESSAGE_STOP, .job = job->number };
        job->overran = true;
        DZ_TRY(ask(s, &stop, err));
    }
    DZ_TRY(tell_all(s, now_us, err));
    DZ_TRY(do_chores(s, now_us, err));
    while ((due = dz_board_due(s->board, now_us)) != NULL)
        DZ_TRY(run(s, due, err));
    return DZ_OK;
}

/* --- the log ---------------------------------------------------------------------------------- */

/* A log that cannot be read ends no backup: what is known of the sources goes on to count. */
static dz_status log_failed(struct supervisor *s, dz_status status, const dz_err *why,
                            dz_err *err) {
    if (status == DZ_OK) {
        s->log_damaged = false;
        return DZ_OK;
    }
    if (status == DZ_E_NOMEM) {
        if (err)
            *err = *why;
        return status;
    }
    if (!s->log_damaged) {
        dz_log_error(why);
        s->log_untold = status == DZ_E_CORRUPT;
    }
    s->log_damaged = true;
    return DZ_OK;
}

static dz_status look_up_chores(struct supervisor *s, dz_err *err) {
    int64_t done_us[DZ_CHORES];

    DZ_TRY(dz_news_chores(&s->news, done_us, err));
    for (size_t i = 0; i < DZ_CHORES; i++)
        s->chores[i].done_us = done_us[i];
    return DZ_OK;
}

static dz_status look(struct supervisor *s, dz_err *err) {
    const int64_t hour_us = DZ_DAY_US / 24;
    int64_t now_us = dz_now_us();
    dz_err why = { 0 };
    dz_status st = dz_news_read(&s->news, s->board, &why);

    if (st == DZ_OK &&
        (s->looked_us == 0 || now_us < s->looked_us || now_us - s->looked_us > hour_us)) {
        s->looked_us = now_us;
        st = look_up_chores(s, &why);
    }
    return log_failed(s, st, &why, err);
}

/* --- what the starter says -------------------------------------------------------------------- */

static dz_status run_failed(struct supervisor *s, const dz_board_job *job,
                            const struct dz_child_end *end, dz_err *err) {
    dz_board_source *about = dz_board_find(s->board, job->source);
    char detail[DZ_BOARD_DETAIL_MAX + 1] = "", how[DZ_CHILD_END_TEXT];
    dz_err why = { 0 };
    dz_status st;

    if (job->overran)
        (void) snprintf(how, sizeof how, "it ran for too long, and was stopped");
    else
        dz_child_end_text(end, how);
    dz_log(LOG_ERR, T_("source %s: the backup failed: %s"), job->source, how);
    st = dz_news_failure(&s->news, job->source, job->leaf, detail, &why);
    if (!detail[0]) { /* dozo backup did not come to say why */
        (void) snprintf(detail, sizeof detail, "%s", how);
        raise_alarm(s, "source-failed", job->source, detail);
    }
    DZ_TRY(log_failed(s, st, &why, err));
    if (!about || about->failed_told || about->failed)
        return DZ_OK;
    about->failed = strdup(detail);
    return about->failed ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "a failure: out of memory");
}

static void chore_failed(struct supervisor *s, const struct dz_child_end *end) {
    char *how = s->chores[s->chore].failed;

    dz_child_end_text(end, how);
    switch (s->chore) {
    case DZ_CHORE_WITNESS:
        dz_log(LOG_ERR, T_("a witness could not be met, or contradicts: dozo witness check"));
        return;
    case DZ_CHORE_PRUNE:
        dz_log(LOG_ERR, T_("what has expired could not be removed (%s): dozo prune"), how);
        return;
    case DZ_CHORE_VERIFY:
    case DZ_CHORES:
    default:
        dz_log(LOG_ERR, T_("the vault is damaged, or could not be checked (%s): dozo verify"), how);
    }
}

static dz_status job_ended(struct supervisor *s, const dz_message *m, dz_err *err) {
    bool ran = m->end.lost != ESTALE;
    bool well = dz_child_ended_well(&m->end);
    dz_board_job job;

    if (!dz_board_end(s->board, m->job, ran, dz_now_us(), &job) || s->leaving || !ran)
        return DZ_OK;
    DZ_TRY(look(s, err));
    switch (job.kind) {
    case DZ_JOB_RUN:
        /* 1: kept, and something is to be said of it; dozo-backup(1) */
        if (!well && (m->end.code != 1 || m->end.signal || m->end.lost))
            return run_failed(s, &job, &m->end, err);
        dz_log(LOG_INFO, T_("source %s: the backup is kept"), job.source);
        return DZ_OK;
    case DZ_JOB_CHORE:
        if (!well)
            chore_failed(s, &m->end);
        s->looked_us = 0;
        return DZ_OK;
    case DZ_JOB_TELL:
    default:
        if (!well)
            dz_log(LOG_ERR, T_("the program that tells people failed (notify)"));
        return DZ_OK;
    }
}

static dz_status read_config(int fd, struct dz_config *ret_config, dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    struct stat st;
    uint8_t *to;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > DZ_YAML_MAX)
        return DZ_FAIL(err, DZ_E_MALFORMED, "no configuration came");
    to = dz_buf_extend(&text, (size_t) st.st_size);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "the configuration: out of memory");
    if (dz_pread_all(fd, to, (size_t) st.st_size, 0) != 0)
        return DZ_FAIL_ERRNO(err, "reading the configuration");
    return dz_config_read(dz_buf_slice(&text), "dozod.yaml", ret_config, err);
}

static dz_status store_expected(const struct supervisor *s, const char *zone, dz_err *err) {
    struct dz_expected e = { .zone = strdup(zone) };
    dz_status st = e.zone ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "expected sources: out of memory");

    for (size_t i = 0; st == DZ_OK && i < s->config.n_feeds; i++) {
        const struct dz_feed *f = &s->config.feeds[i];
        st = dz_expected_add(&e, f->name, f->cron, &f->schedule, f->late_after_us,
                             s->board->sources[i].since_us, err);
    }
    if (st == DZ_OK)
        st = dz_expected_store(s->v, &e, err);
    dz_expected_release(&e);
    return st;
}

/* The board of the configuration that has just been read, instead of the one before. */
static dz_status replace_board(struct supervisor *s, dz_err *err) {
    struct dz_expected known = { 0 };
    struct dz_board *before = s->board;
    dz_err why = { 0 };
    dz_status st = dz_expected_load(s->v, &known, &why);

    if (st == DZ_E_NOMEM) {
        if (err)
            *err = why;
        return st;
    }
    if (st != DZ_OK) /* a cache: made anew below */
        dz_log_error(&why);
    st = dz_board_new(&s->config, &known, before, dz_now_us(), &s->board, err);
    dz_expected_release(&known);
    return st;
}

/* The keys are in memory, and the vault's directories open; what hostile sources have sent is read
 * after this. */
static dz_status give_away(const struct supervisor *s, dz_err *err) {
    static const char *const zones[] = { "/usr/share/zoneinfo", "/etc/localtime", NULL };

    const char *const kept[] = { s->config.vault, NULL };

    DZ_TRY(dz_sandbox_begin(0, err));
    DZ_TRY(dz_sandbox_powers(err));
    DZ_TRY(dz_sandbox_files_keep(zones, kept, err));
    return dz_sandbox_calls(DZ_SANDBOX_OPEN | DZ_SANDBOX_KEEP, err);
}

static dz_status configure(struct supervisor *s, const dz_message *m, int fd, dz_err *err) {
    const dz_message ready = { .kind = DZ_MESSAGE_READY, .generation = m->generation };
    DZ_CLEANUP(dz_config_release) struct dz_config before = s->config;
    struct dz_board *old = s->board;
    const char *zone;
    dz_status st;

    s->config = (struct dz_config){ 0 };
    DZ_TRY(read_config(fd, &s->config, err));
    s->generation = m->generation;
    zone = s->config.timezone ? s->config.timezone : "UTC";
    if (!s->v) {
        DZ_TRY(dz_vault_open(s->config.vault, &s->v, err));
        if (s->sandbox)
            DZ_TRY(give_away(s, err));
    }
    st = replace_board(s, err);
    if (old != s->board)
        dz_board_free(old);
    DZ_TRY(st);
    if (s->zone_entered)
        dz_zone_leave();
    DZ_TRY(dz_zone_enter(zone, err));
    s->zone_entered = true;
    s->news = (struct dz_news){ .v = s->v };
    DZ_TRY(dz_news_read(&s->news, s->board, err));
    DZ_TRY(dz_news_alarmed(&s->news, s->board, err));
    DZ_TRY(store_expected(s, zone, err));
    s->configured = true;
    return ask(s, &ready, err);
}

static dz_status handle(struct supervisor *s, const dz_message *m, int fd, dz_err *err) {
    switch (m->kind) {
    case DZ_MESSAGE_CONFIG:
        return configure(s, m, fd, err);
    case DZ_MESSAGE_ENDED:
        return s->configured ? job_ended(s, m, err) : DZ_OK;
    case DZ_MESSAGE_LEAVE:
        s->leaving = true;
        return DZ_OK;
    case DZ_MESSAGE_READY:
    case DZ_MESSAGE_ALIVE:
    case DZ_MESSAGE_RUN:
    case DZ_MESSAGE_STOP:
    case DZ_MESSAGE_TELL:
    case DZ_MESSAGE_CHORE:
    default:
        return DZ_FAIL(err, DZ_E_MALFORMED, "a message of the kind %d, which is ours", m->kind);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static dz_status receive(struct supervisor *s, int wait_ms, dz_err *err) {
    struct pollfd p = { .fd = s->sock, .events = POLLIN };
    dz_autoclose int fd = -1;
    dz_message m;
    int ready = poll(&p, 1, wait_ms);

    if (ready < 0 && errno != EINTR)
        return DZ_FAIL_ERRNO(err, "waiting");
    if (ready <= 0)
        return DZ_OK;
    DZ_TRY(dz_message_receive(s->sock, &m, &fd, err));
    return handle(s, &m, fd, err);
}

static dz_status turn(struct supervisor *s, dz_err *err) {
    const dz_message alive = { .kind = DZ_MESSAGE_ALIVE };
    int wait_ms = BEAT_MS;

    if (s->configured && !s->leaving) {
        DZ_TRY(look(s, err));
        DZ_TRY(act(s, err));
        DZ_TRY(ask(s, &alive, err));
        wait_ms = dz_board_wait(s->board, dz_now_us(), dz_monotonic_us() / 1000, BEAT_MS);
    }
    return receive(s, wait_ms, err);
}

int dz_supervise(int sock, bool sandbox) {
    struct supervisor s = { .sock = sock, .sandbox = sandbox };
    dz_err err = { 0 };
    dz_status st;

    for (size_t i = 0; i < DZ_CHORES; i++)
        s.chores[i].done_us = INT64_MAX; /* until the log was read */
    st = dz_crypto_init(&err);
    while (st == DZ_OK)
        st = turn(&s, &err);
    if (st != DZ_E_CLOSED)
        dz_log_error(&err);
    dz_board_free(s.board);
    dz_config_release(&s.config);
    dz_vault_free(s.v);
    return st == DZ_E_CLOSED ? 0 : 3;
}
