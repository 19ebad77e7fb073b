#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/hex.h"
#include "core/zone.h"
#include "custody/action.h"
#include "custody/prune.h"
#include "custody/witness.h"
#include "daemon/expected.h"
#include "store/packlist.h"
#include "store/verify.h"

enum { SOURCES_MAX = 100000 };

void dz_status_red(struct dz_status_state *s, const char *why) {
    if (s->n_red < sizeof s->red / sizeof *s->red)
        s->red[s->n_red++] = why;
}

/* --- gathering -------------------------------------------------------------------------------- */

struct dz_status_source *dz_status_source_of(struct dz_status_state *s, const char *name) {
    for (size_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->sources[i].name, name) == 0)
            return &s->sources[i];
    if (s->n_sources == s->room) {
        size_t room = s->room ? 2 * s->room : 16;
        struct dz_status_source *more =
            room <= SOURCES_MAX ? realloc(s->sources, room * sizeof *more) : NULL;
        if (!more)
            return NULL;
        s->sources = more;
        s->room = room;
    }
    s->sources[s->n_sources] = (struct dz_status_source){ 0 };
    (void) snprintf(s->sources[s->n_sources].name, sizeof s->sources->name, "%s", name);
    return &s->sources[s->n_sources++];
}

static dz_status each_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                               const dz_err *why, dz_err *err) {
    const struct dz_commit *c = &snap->commit;
    struct dz_status_state *s = ctx;
    struct dz_status_source *src;

    (void) why;
    if (status != DZ_OK) {
        s->damaged_commits++;
        return DZ_OK;
    }
    src = dz_status_source_of(s, c->source);
    if (!src)
        return DZ_FAIL(err, DZ_E_NOMEM, "status: no memory for the sources");
    s->snapshots++;
    src->snapshots++;
    src->newest_us = c->arrived_us;
    src->newest_leaf = snap->leaf;
    src->files = c->files;
    src->bytes = c->bytes;
    src->alarms = dz_status_snapshot_alarms(s, snap);
    s->alarms += src->alarms;
    dz_snapshot_id_text(c->id, src->newest);
    return DZ_OK;
}

/* How many packs there are, and whether the index speaks for all of them. */
static dz_status look_at_packs(struct dz_status_state *s, dz_err *err) {
    DZ_AUTO(dz_index) index = NULL;
    struct dz_packlist list = { 0 };
    dz_status st;

    DZ_TRY(dz_index_open(s->v->indexfd, s->v->host->vault.b, &index, err));
    st = dz_packlist_read(s->v, &list, err);
    s->damaged_runs = dz_index_stats_of(index).damaged_runs;
    s->packs = list.n;
    for (size_t i = 0; st == DZ_OK && i < list.n; i++) {
        char name[2 * DZ_SHA256_BYTES + 1];
        bool covered = false;
        struct stat file;
        dz_hex(list.ids[i].b, sizeof list.ids[i].b, name);
        if (fstatat(s->v->packsfd, name, &file, AT_SYMLINK_NOFOLLOW) == 0)
            s->pack_bytes += (uint64_t) file.st_size;
        if (dz_index_covers_pack(index, list.ids[i].b, &covered, NULL) != DZ_OK || !covered)
            s->packs_unindexed++;
    }
    dz_packlist_release(&list);
    return st;
}

static dz_status look_at_requests(struct dz_status_state *s, const struct dz_quorum *q,
                                  dz_err *err) {
    s->operators = q->n_present;
    s->forged = q->forged;
    for (size_t i = 0; i < q->n_asks; i++) {
        dz_status st = dz_quorum_check_open(q, &q->asks[i], s->now_us, NULL);

        if (st == DZ_E_NOMEM)
            return DZ_FAIL(err, st, "status: no memory for the requests");
        s->asked += st == DZ_OK;
    }
    return DZ_OK;
}

static dz_status look_at_witnesses(struct dz_status_state *s, const struct dz_ledger *ledger,
                                   dz_err *err) {
    struct dz_witnesses known = { 0 };
    dz_status st;

    DZ_TRY(dz_witnesses_read(ledger, &known, err));
    s->witness_size = known.size;
    s->witness_us = known.when_us;
    s->witness_fresh = dz_witnesses_fresh(&known, s->now_us);
    st = dz_status_log_alarms(s, ledger, &known, err);
    dz_witnesses_release(&known);
    return st;
}

static dz_status look_at_clock(struct dz_status_state *s, const struct dz_custody *c, dz_err *err) {
    struct dz_clock_sample now;
    struct dz_clock_guard g;

    dz_clock_guard_read(c->ledger, &c->quorum, &g);
    dz_clock_sample(&now);
    s->trusted_us = dz_clock_guard_at(&g, &now, &s->frozen);
    if (s->frozen)
        dz_status_red(s, "clock-frozen");
    DZ_TRY(dz_prune_untimely(c->ledger, &c->quorum, &now, &s->untimely, err));
    if (s->untimely)
        dz_status_red(s, "removed-early");
    return DZ_OK;
}

/* A holder that does not answer opens nothing: as good as none. */
static void look_at_holder(struct dz_status_state *s) {
    DZ_AUTO(dz_holder) h = NULL;

    s->open = dz_holder_find(s->v, &h, NULL) == DZ_OK &&
              dz_holder_ask_state(h, &s->holder, NULL) == DZ_OK && s->holder.open;
}

static dz_status expect(struct dz_status_state *s, const struct dz_expected *expected,
                        bool *ret_late, dz_err *err) {
    for (size_t i = 0; i < expected->n; i++) {
        const dz_expected_source *e = &expected->list[i];
        struct dz_status_source *src = dz_status_source_of(s, e->name);

        if (!src)
            return DZ_FAIL(err, DZ_E_NOMEM, "status: no memory for the sources");
        src->due_us = dz_expected_due(e, src->snapshots ? src->newest_us : INT64_MIN);
        src->late = s->now_us > dz_expected_late(e, src->snapshots ? src->newest_us : INT64_MIN);
        *ret_late |= src->late;
    }
    return DZ_OK;
}

/* Worked out here, and not taken from the daemon: it may be dead. */
static dz_status look_at_expected(struct dz_status_state *s, dz_err *err) {
    struct dz_expected expected = { 0 };
    dz_status st = dz_expected_load(s->v, &expected, err);
    bool late = false;

    if (st == DZ_OK && expected.zone)
        st = dz_zone_enter(expected.zone, err);
    if (st == DZ_E_NOMEM)
        return st;
    if (st != DZ_OK) {
        dz_status_red(s, "expected-unreadable");
    } else if (expected.zone) {
        st = expect(s, &expected, &late, err);
        dz_zone_leave();
    }
    dz_expected_release(&expected);
    if (late)
        dz_status_red(s, "source-late");
    return st == DZ_E_NOMEM ? st : DZ_OK;
}

static dz_status look_at_custody(struct dz_status_state *s, const struct dz_custody *c,
                                 dz_err *err) {
    DZ_TRY(look_at_witnesses(s, c->ledger, err));
    DZ_TRY(look_at_requests(s, &c->quorum, err));
    return look_at_clock(s, c, err);
}

/* `c` was read if the log is whole. */
static dz_status gather(struct dz_status_state *s, const struct dz_custody *c, dz_err *err) {
    if (!s->log_ok)
        dz_status_red(s, "log-damaged");
    else
        DZ_TRY(dz_snapshots_each(s->v, each_snapshot, s, err));
    if (s->log_ok)
        DZ_TRY(look_at_expected(s, err));
    DZ_TRY(look_at_packs(s, err));
    if (s->log_ok)
        DZ_TRY(dz_verify_last_read(s->v, &s->last, &s->verified, err));
    if (s->damaged_commits)
        dz_status_red(s, "snapshots-damaged");
    if (s->log_ok && s->snapshots == 0)
        dz_status_red(s, "no-snapshot");
    if (!s->verified)
        dz_status_red(s, "never-verified");
    else if (s->last.damaged)
        dz_status_red(s, "damage-found");
    if (s->alarms)
        dz_status_red(s, "alarms");
    if (s->log_ok)
        DZ_TRY(look_at_custody(s, c, err));
    if (s->witness_us == 0)
        dz_status_red(s, "no-witness");
    else if (!s->witness_fresh)
        dz_status_red(s, "witness-stale");
    look_at_holder(s);
    if (s->forged)
        dz_status_red(s, "forged-approvals");
    /* what only other parts of the product can bring: said, never passed over */
    dz_status_red(s, "no-offsite-copy");
    dz_status_red(s, "no-rehearsal");
    return DZ_OK;
}

static dz_status gather_all(struct dz_status_state *s, dz_err *err) {
    struct dz_custody c = { .v = s->v };
    dz_status st = DZ_OK;

    if (s->log_ok) {
        st = dz_custody_read(&c, err);
        s->quorum = &c.quorum;
    }
    if (st == DZ_OK)
        st = gather(s, &c, err);
    s->quorum = NULL;
    dz_custody_release(&c);
    return st;
}

int dz_cmd_status(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_status_state s = { .now_us = dz_now_us() };
    char fingerprint[DZ_FINGERPRINT_TEXT];
    dz_err err = { 0 }, log = { 0 };
    int code;

    if (dz_cli_option(cli, argc, argv) == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open_damaged(cli, DZ_NEED_CLOSED, &v, &log);
    if (code != DZ_EXIT_OK)
        return code;
    s.v = v;
    s.log_ok = log.status == DZ_OK;
    if (!s.log_ok)
        dz_say_error(&log);
    dz_keys_fingerprint(v->host, fingerprint);
    if (gather_all(&s, &err) != DZ_OK) {
        code = dz_cli_fail(&err);
    } else {
        if (cli->json)
            dz_status_put_json(&s, fingerprint);
        else
            dz_status_put_text(&s, fingerprint);
        code = s.n_red ? DZ_EXIT_FOUND : DZ_EXIT_OK;
    }
    free(s.sources);
    return code;
}
