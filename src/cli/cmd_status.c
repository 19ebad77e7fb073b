#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/hex.h"
#include "custody/action.h"
#include "custody/witness.h"
#include "store/packlist.h"
#include "store/verify.h"

enum { SOURCES_MAX = 100000, LABEL = 16 };

struct source {
    char name[DZ_SOURCE_NAME_MAX + 1];
    uint64_t snapshots, files, bytes, alarms;
    int64_t newest_us;
    char newest[DZ_SNAPSHOT_ID_TEXT];
};

struct state {
    struct dz_vault *v;
    int64_t now_us;
    struct source *sources; /* owned */
    size_t n_sources, room;
    uint64_t snapshots, damaged_commits, alarms;
    uint64_t packs, pack_bytes, packs_unindexed;
    size_t damaged_runs;
    bool log_ok, verified;
    dz_verify_last last;
    bool witness_fresh;
    uint64_t witness_size;
    int64_t witness_us; /* 0: never */
    uint64_t operators, asked, forged;
    /* what is red, as words for scripts; the first n_red count */
    const char *red[16];
    size_t n_red;
};

static void red(struct state *s, const char *why) {
    if (s->n_red < sizeof s->red / sizeof *s->red)
        s->red[s->n_red++] = why;
}

/* --- gathering -------------------------------------------------------------------------------- */

static struct source *source_of(struct state *s, const char *name) {
    for (size_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->sources[i].name, name) == 0)
            return &s->sources[i];
    if (s->n_sources == s->room) {
        size_t room = s->room ? 2 * s->room : 16;
        struct source *more = room <= SOURCES_MAX ? realloc(s->sources, room * sizeof *more) : NULL;
        if (!more)
            return NULL;
        s->sources = more;
        s->room = room;
    }
    s->sources[s->n_sources] = (struct source){ 0 };
    (void) snprintf(s->sources[s->n_sources].name, sizeof s->sources->name, "%s", name);
    return &s->sources[s->n_sources++];
}

static dz_status each_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                               const dz_err *why, dz_err *err) {
    const struct dz_commit *c = &snap->commit;
    struct state *s = ctx;
    struct source *src;

    (void) why;
    if (status != DZ_OK) {
        s->damaged_commits++;
        return DZ_OK;
    }
    src = source_of(s, c->source);
    if (!src)
        return DZ_FAIL(err, DZ_E_NOMEM, "status: no memory for the sources");
    s->snapshots++;
    src->snapshots++;
    src->newest_us = c->arrived_us;
    src->files = c->files;
    src->bytes = c->bytes;
    src->alarms = c->alarms;
    s->alarms += c->alarms;
    dz_snapshot_id_text(c->id, src->newest);
    return DZ_OK;
}

/* How many packs there are, and whether the index speaks for all of them. */
static dz_status look_at_packs(struct state *s, dz_err *err) {
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

static dz_status look_at_requests(struct state *s, const struct dz_quorum *q, dz_err *err) {
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

static dz_status look_at_witnesses(struct state *s, const struct dz_ledger *ledger, dz_err *err) {
    struct dz_witnesses known = { 0 };

    DZ_TRY(dz_witnesses_read(ledger, &known, err));
    s->witness_size = known.size;
    s->witness_us = known.when_us;
    s->witness_fresh = dz_witnesses_fresh(&known, s->now_us);
    dz_witnesses_release(&known);
    return DZ_OK;
}

static dz_status look_at_custody(struct state *s, dz_err *err) {
    struct dz_custody c = { .v = s->v };
    dz_status st = dz_custody_read(&c, err);

    if (st == DZ_OK)
        st = look_at_witnesses(s, c.ledger, err);
    if (st == DZ_OK)
        st = look_at_requests(s, &c.quorum, err);
    dz_custody_release(&c);
    return st;
}

static dz_status gather(struct state *s, dz_err *err) {
    if (!s->log_ok)
        red(s, "log-damaged");
    else
        DZ_TRY(dz_snapshots_each(s->v, each_snapshot, s, err));
    DZ_TRY(look_at_packs(s, err));
    if (s->log_ok)
        DZ_TRY(dz_verify_last_read(s->v, &s->last, &s->verified, err));
    if (s->damaged_commits)
        red(s, "snapshots-damaged");
    if (s->log_ok && s->snapshots == 0)
        red(s, "no-snapshot");
    if (!s->verified)
        red(s, "never-verified");
    else if (s->last.damaged)
        red(s, "damage-found");
    if (s->alarms)
        red(s, "alarms");
    if (s->log_ok)
        DZ_TRY(look_at_custody(s, err));
    if (s->witness_us == 0)
        red(s, "no-witness");
    else if (!s->witness_fresh)
        red(s, "witness-stale");
    if (s->forged)
        red(s, "forged-approvals");
    /* what only other parts of the product can bring: said, never passed over */
    red(s, "no-offsite-copy");
    red(s, "no-rehearsal");
    return DZ_OK;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *sources_json(const struct state *s) {
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_sources; i++) {
        const struct source *src = &s->sources[i];
        json_t *j = json_object();
        dz_json_text(j, "source", src->name);
        (void) json_object_set_new(j, "snapshots", dz_json_count(src->snapshots));
        (void) json_object_set_new(j, "newest", json_string(src->newest));
        (void) json_object_set_new(j, "arrived", dz_json_time(src->newest_us));
        (void) json_object_set_new(j, "age_seconds",
                                   json_integer((s->now_us - src->newest_us) / 1000000));
        (void) json_object_set_new(j, "files", dz_json_count(src->files));
        (void) json_object_set_new(j, "bytes", dz_json_count(src->bytes));
        (void) json_object_set_new(j, "alarms", dz_json_count(src->alarms));
        (void) json_array_append_new(list, j);
    }
    return list;
}

static json_t *log_json(const struct state *s) {
    char root[2 * 32 + 1];
    dz_checkpoint head;
    json_t *j;

    if (!s->log_ok)
        return json_null();
    head = dz_tlog_head(s->v->log);
    dz_hex(head.root.b, sizeof head.root.b, root);
    j = json_object();
    (void) json_object_set_new(j, "size", dz_json_count(head.size));
    (void) json_object_set_new(j, "root", json_string(root));
    return j;
}

static json_t *verified_json(const struct state *s) {
    json_t *j;

    if (!s->verified)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "time", dz_json_time(s->last.when_us));
    (void) json_object_set_new(j, "data", json_boolean(s->last.data));
    (void) json_object_set_new(j, "damaged", dz_json_count(s->last.damaged));
    (void) json_object_set_new(j, "objects", dz_json_count(s->last.objects));
    (void) json_object_set_new(j, "packs", dz_json_count(s->last.packs));
    (void) json_object_set_new(j, "bytes", dz_json_count(s->last.bytes));
    return j;
}

static json_t *witness_json(const struct state *s) {
    json_t *j;

    if (s->witness_us == 0)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "time", dz_json_time(s->witness_us));
    (void) json_object_set_new(j, "size", dz_json_count(s->witness_size));
    (void) json_object_set_new(j, "fresh", json_boolean(s->witness_fresh));
    return j;
}

static json_t *requests_json(const struct state *s) {
    json_t *j;

    if (!s->log_ok)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "open", dz_json_count(s->asked));
    (void) json_object_set_new(j, "forged", dz_json_count(s->forged));
    return j;
}

static void put_json(const struct state *s, const char *fingerprint) {
    char id[2 * DZ_VAULT_ID_BYTES + 1];
    json_t *j = json_object(), *index = json_object(), *reasons = json_array();

    dz_hex(s->v->config.id.b, sizeof s->v->config.id.b, id);
    (void) json_object_set_new(j, "state", json_string(s->n_red ? "red" : "green"));
    for (size_t i = 0; i < s->n_red; i++)
        (void) json_array_append_new(reasons, json_string(s->red[i]));
    (void) json_object_set_new(j, "reasons", reasons);
    (void) json_object_set_new(j, "vault", json_string(id));
    (void) json_object_set_new(j, "fingerprint", json_string(fingerprint));
    (void) json_object_set_new(j, "custodians", json_integer(s->v->config.custodians));
    (void) json_object_set_new(j, "threshold", json_integer(s->v->config.threshold));
    (void) json_object_set_new(j, "sources", sources_json(s));
    (void) json_object_set_new(j, "snapshots", dz_json_count(s->snapshots));
    (void) json_object_set_new(j, "snapshots_damaged", dz_json_count(s->damaged_commits));
    (void) json_object_set_new(j, "packs", dz_json_count(s->packs));
    (void) json_object_set_new(j, "pack_bytes", dz_json_count(s->pack_bytes));
    (void) json_object_set_new(index, "damaged_runs", dz_json_count(s->damaged_runs));
    (void) json_object_set_new(index, "packs_missing", dz_json_count(s->packs_unindexed));
    (void) json_object_set_new(j, "index", index);
    (void) json_object_set_new(j, "log", log_json(s));
    (void) json_object_set_new(j, "verified", verified_json(s));
    (void) json_object_set_new(j, "witness", witness_json(s));
    (void) json_object_set_new(j, "operators",
                               s->log_ok ? dz_json_count(s->operators) : json_null());
    (void) json_object_set_new(j, "approvals", json_integer(s->v->config.approvals));
    (void) json_object_set_new(j, "requests", requests_json(s));
    (void) json_object_set_new(j, "offsite", json_null());
    (void) json_object_set_new(j, "rehearsal", json_null());
    (void) json_object_set_new(j, "alarms", dz_json_count(s->alarms));
    dz_json_put(j);
}

/* --- text ------------------------------------------------------------------------------------- */

static void label(const char *text) {
    dz_put_padded(stdout, text, LABEL);
}

static void red_line(const char *name, const char *text) {
    bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");

    label(name);
    (void) printf("%s%s%s\n", colour ? "\033[1;31m" : "", text, colour ? "\033[0m" : "");
}

static void put_sources(const struct state *s) {
    if (s->log_ok && s->n_sources == 0)
        red_line(T_("sources"), T_("none: no snapshot was ever made"));
    for (size_t i = 0; i < s->n_sources; i++) {
        const struct source *src = &s->sources[i];
        char when[DZ_WHEN_TEXT], age[DZ_AGE_TEXT], bytes[DZ_SIZE_TEXT];
        dz_when_text(src->newest_us, when);
        dz_age_text(s->now_us - src->newest_us, age);
        dz_size_text(src->bytes, bytes);
        label(i ? "" : T_("sources"));
        dz_put_padded(stdout, src->name, 16);
        (void) printf(T_(" newest %s (%s ago), %s, %llu snapshots\n"), when, age, bytes,
                      (unsigned long long) src->snapshots);
    }
    if (s->damaged_commits) {
        label("");
        (void) printf(T_("%llu snapshots are damaged: dozo snapshots names them\n"),
                      (unsigned long long) s->damaged_commits);
    }
}

static void put_store(const struct state *s) {
    char bytes[DZ_SIZE_TEXT];

    dz_size_text(s->pack_bytes, bytes);
    label(T_("stored"));
    (void) printf(T_("%s in %llu packs\n"), bytes, (unsigned long long) s->packs);
    label(T_("index"));
    if (s->packs_unindexed || s->damaged_runs)
        (void) printf(T_("%llu packs to be added; the next command that needs it does so\n"),
                      (unsigned long long) s->packs_unindexed);
    else
        (void) printf("%s\n", T_("whole"));
    if (s->log_ok) {
        dz_checkpoint head = dz_tlog_head(s->v->log);
        char root[2 * 32 + 1];
        dz_hex(head.root.b, sizeof head.root.b, root);
        label(T_("log"));
        (void) printf(T_("%llu leaves, root %s\n"), (unsigned long long) head.size, root);
    } else {
        red_line(T_("log"), T_("damaged: run dozo verify"));
    }
}

static void put_verified(const struct state *s) {
    char when[DZ_WHEN_TEXT], age[DZ_AGE_TEXT], text[160];

    if (!s->verified) {
        red_line(T_("verified"), T_("never: run dozo verify"));
        return;
    }
    dz_when_text(s->last.when_us, when);
    dz_age_text(s->now_us - s->last.when_us, age);
    if (s->last.damaged) {
        (void) snprintf(text, sizeof text, T_("%s (%s ago): %llu damaged, run dozo verify"), when,
                        age, (unsigned long long) s->last.damaged);
        red_line(T_("verified"), text);
        return;
    }
    label(T_("verified"));
    (void) printf(s->last.data ? T_("%s (%s ago), opened and whole\n")
                               : T_("%s (%s ago), every stored byte is right\n"),
                  when, age);
}

static void put_witness(const struct state *s) {
    char age[DZ_AGE_TEXT], text[160];

    if (s->witness_us == 0) {
        red_line(T_("witness"), T_("none: nobody outside would notice if the log were rewritten"));
        return;
    }
    dz_age_text(s->now_us - s->witness_us, age);
    (void) snprintf(text, sizeof text, T_("met %s ago, at %llu leaves"), age,
                    (unsigned long long) s->witness_size);
    if (!s->witness_fresh) {
        red_line(T_("witness"), text);
        label("");
        (void) printf("%s\n", T_("longer ago than 7 days: dozo witness check"));
        return;
    }
    label(T_("witness"));
    (void) printf("%s\n", text);
}

static void put_requests(const struct state *s) {
    char text[160];

    if (!s->log_ok)
        return;
    label(T_("operators"));
    if (s->v->config.approvals)
        (void) printf(T_("any %u of %llu approve\n"), s->v->config.approvals,
                      (unsigned long long) s->operators);
    else
        (void) printf("%s\n", T_("none: nothing can be approved"));
    if (s->asked) {
        label(T_("requests"));
        (void) printf(T_("%llu to be approved or carried out: dozo requests\n"),
                      (unsigned long long) s->asked);
    }
    if (s->forged) {
        (void) snprintf(text, sizeof text,
                        T_("%llu leaves claim an approval that nobody gave: dozo requests"),
                        (unsigned long long) s->forged);
        red_line(T_("requests"), text);
    }
}

static void put_text(const struct state *s, const char *fingerprint) {
    const struct dz_vault_config *c = &s->v->config;
    char alarms[32];

    label(T_("vault"));
    (void) printf("%s\n", s->v->path);
    label(T_("fingerprint"));
    (void) printf("%s\n", fingerprint);
    label(T_("opened by"));
    if (c->custodians)
        (void) printf(T_("any %u of %u custodians\n"), c->threshold, c->custodians);
    else
        (void) printf("%s\n", T_("a key file"));
    put_sources(s);
    put_store(s);
    put_verified(s);
    put_witness(s);
    put_requests(s);
    red_line(T_("copies"), T_("this one only: none off-site"));
    red_line(T_("rehearsal"), T_("none"));
    (void) snprintf(alarms, sizeof alarms, "%llu", (unsigned long long) s->alarms);
    if (s->alarms) {
        red_line(T_("alarms"), alarms);
    } else {
        label(T_("alarms"));
        (void) printf("%s\n", alarms);
    }
}

int dz_cmd_status(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    struct state s = { .now_us = dz_now_us() };
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
    if (gather(&s, &err) != DZ_OK) {
        code = dz_cli_fail(&err);
    } else {
        if (cli->json)
            put_json(&s, fingerprint);
        else
            put_text(&s, fingerprint);
        code = s.n_red ? DZ_EXIT_FOUND : DZ_EXIT_OK;
    }
    free(s.sources);
    return code;
}
