#include "cli/status.h"

#include <stdio.h>

#include "cli/output.h"
#include "core/hex.h"

enum { LABEL = 16 };

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *sources_json(const struct dz_status_state *s) {
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_sources; i++) {
        const struct dz_status_source *src = &s->sources[i];
        json_t *j = json_object();
        dz_json_text(j, "source", src->name);
        (void) json_object_set_new(j, "snapshots", dz_json_count(src->snapshots));
        (void) json_object_set_new(j, "newest",
                                   src->snapshots ? json_string(src->newest) : json_null());
        (void) json_object_set_new(j, "arrived",
                                   src->snapshots ? dz_json_time(src->newest_us) : json_null());
        (void) json_object_set_new(
            j, "age_seconds",
            src->snapshots ? json_integer((s->now_us - src->newest_us) / 1000000) : json_null());
        (void) json_object_set_new(j, "failed",
                                   src->failed_us ? dz_json_time(src->failed_us) : json_null());
        (void) json_object_set_new(
            j, "due",
            src->due_us == 0 || src->due_us == INT64_MAX ? json_null() : dz_json_time(src->due_us));
        (void) json_object_set_new(j, "late", json_boolean(src->late));
        (void) json_object_set_new(j, "files", dz_json_count(src->files));
        (void) json_object_set_new(j, "bytes", dz_json_count(src->bytes));
        (void) json_object_set_new(j, "alarms", dz_json_count(src->alarms));
        (void) json_array_append_new(list, j);
    }
    return list;
}

static json_t *log_json(const struct dz_status_state *s) {
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

static json_t *verified_json(const struct dz_status_state *s) {
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

static json_t *witness_json(const struct dz_status_state *s) {
    json_t *j;

    if (s->witness_us == 0)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "time", dz_json_time(s->witness_us));
    (void) json_object_set_new(j, "size", dz_json_count(s->witness_size));
    (void) json_object_set_new(j, "fresh", json_boolean(s->witness_fresh));
    return j;
}

static json_t *requests_json(const struct dz_status_state *s) {
    json_t *j;

    if (!s->log_ok)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "open", dz_json_count(s->asked));
    (void) json_object_set_new(j, "forged", dz_json_count(s->forged));
    return j;
}

static json_t *clock_json(const struct dz_status_state *s) {
    json_t *j;

    if (!s->log_ok)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "time", dz_json_time(s->trusted_us));
    (void) json_object_set_new(j, "frozen", json_boolean(s->frozen));
    (void) json_object_set_new(j, "removed_early", dz_json_count(s->untimely));
    return j;
}

static json_t *standing_json(const struct dz_status_state *s) {
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_standing && i < DZ_STATUS_ALARMS; i++) {
        json_t *j = json_object();

        (void) json_object_set_new(j, "leaf", dz_json_count(s->standing[i].leaf));
        (void) json_object_set_new(j, "time", dz_json_time(s->standing[i].time_us));
        dz_json_text(j, "reason", s->standing[i].reason);
        dz_json_text(j, "about", s->standing[i].about);
        (void) json_array_append_new(list, j);
    }
    return list;
}

static json_t *open_json(const struct dz_status_state *s) {
    json_t *j;

    if (!s->open)
        return json_null();
    j = json_object();
    (void) json_object_set_new(j, "opened", dz_json_time(s->holder.opened_us));
    (void) json_object_set_new(j, "until", dz_json_time(s->now_us + s->holder.left_us));
    (void) json_object_set_new(j, "seconds_left", json_integer(s->holder.left_us / 1000000));
    return j;
}

void dz_status_put_json(const struct dz_status_state *s, const char *fingerprint) {
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
    (void) json_object_set_new(j, "clock", clock_json(s));
    (void) json_object_set_new(j, "open", open_json(s));
    (void) json_object_set_new(j, "offsite", json_null());
    (void) json_object_set_new(j, "rehearsal", json_null());
    (void) json_object_set_new(j, "alarms", dz_json_count(s->alarms));
    (void) json_object_set_new(j, "standing", standing_json(s));
    dz_json_put(j);
}

/* --- text ------------------------------------------------------------------------------------- */

static void label(const char *text) {
    dz_put_padded(stdout, text, LABEL);
}

static void put_red(const char *text) {
    bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");

    (void) printf("%s%s%s\n", colour ? "\033[1;31m" : "", text, colour ? "\033[0m" : "");
}

static void red_line(const char *name, const char *text) {
    label(name);
    put_red(text);
}

static void put_late(const struct dz_status_source *src) {
    char late[160], when[DZ_WHEN_TEXT];

    dz_when_text(src->due_us, when);
    (void) snprintf(late, sizeof late, T_("late: due at %s, and nothing came"), when);
    label("");
    put_red(late);
}

static void put_sources(const struct dz_status_state *s) {
    if (s->log_ok && s->n_sources == 0)
        red_line(T_("sources"), T_("none: no snapshot was ever made"));
    for (size_t i = 0; i < s->n_sources; i++) {
        const struct dz_status_source *src = &s->sources[i];
        char failed[160], when[DZ_WHEN_TEXT], age[DZ_AGE_TEXT], bytes[DZ_SIZE_TEXT];
        label(i ? "" : T_("sources"));
        dz_put_padded(stdout, src->name, 16);
        if (src->snapshots > 0) {
            dz_when_text(src->newest_us, when);
            dz_age_text(s->now_us - src->newest_us, age);
            dz_size_text(src->bytes, bytes);
            (void) printf(T_(" newest %s (%s ago), %s, %llu snapshots\n"), when, age, bytes,
                          (unsigned long long) src->snapshots);
        } else {
            (void) printf(" %s\n", T_("no snapshot yet"));
        }
        if (src->late)
            put_late(src);
        if (src->failed_us == 0)
            continue;
        dz_when_text(src->failed_us, when);
        (void) snprintf(failed, sizeof failed, T_("its last run failed, %s: dozo backup again"),
                        when);
        label("");
        put_red(failed);
    }
    if (s->damaged_commits) {
        label("");
        (void) printf(T_("%llu snapshots are damaged: dozo snapshots names them\n"),
                      (unsigned long long) s->damaged_commits);
    }
}

static void put_store(const struct dz_status_state *s) {
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

static void put_verified(const struct dz_status_state *s) {
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

static void put_witness(const struct dz_status_state *s) {
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

static void put_requests(const struct dz_status_state *s) {
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

static void put_clock(const struct dz_status_state *s) {
    char when[DZ_WHEN_TEXT], text[160];

    if (!s->log_ok)
        return;
    dz_when_text(s->trusted_us, when);
    if (s->frozen) {
        (void) snprintf(text, sizeof text,
                        T_("stands still at %s: this host's clock jumped, nothing expires"), when);
        red_line(T_("clock"), text);
    } else {
        label(T_("clock"));
        (void) printf(T_("%s, by the vault's own account\n"), when);
    }
    if (s->untimely) {
        (void) snprintf(text, sizeof text,
                        T_("%llu snapshots, without a week's announcement: not by dozo prune"),
                        (unsigned long long) s->untimely);
        red_line(T_("removed"), text);
    }
}

static void put_alarms(const struct dz_status_state *s) {
    char text[320], when[DZ_WHEN_TEXT];

    (void) snprintf(text, sizeof text, "%llu", (unsigned long long) s->n_standing);
    if (s->n_standing) {
        red_line(T_("alarms"), text);
    } else {
        label(T_("alarms"));
        (void) printf("%s\n", text);
    }
    for (size_t i = 0; i < s->n_standing && i < DZ_STATUS_ALARMS; i++) {
        const struct dz_status_alarm *a = &s->standing[i];

        dz_when_text(a->time_us, when);
        (void) snprintf(text, sizeof text, T_("leaf %llu, %s: %s: %s"),
                        (unsigned long long) a->leaf, when, a->reason, a->about);
        label("");
        put_red(text);
    }
    if (s->n_standing > DZ_STATUS_ALARMS) {
        label("");
        (void) printf(T_("and %llu more\n"),
                      (unsigned long long) (s->n_standing - DZ_STATUS_ALARMS));
    }
}

void dz_status_put_text(const struct dz_status_state *s, const char *fingerprint) {
    const struct dz_vault_config *c = &s->v->config;
    char when[DZ_WHEN_TEXT], text[120];

    label(T_("vault"));
    (void) printf("%s\n", s->v->path);
    label(T_("fingerprint"));
    (void) printf("%s\n", fingerprint);
    label(T_("opened by"));
    if (c->custodians)
        (void) printf(T_("any %u of %u custodians\n"), c->threshold, c->custodians);
    else
        (void) printf("%s\n", T_("a key file"));
    if (s->open) {
        dz_when_text(s->now_us + s->holder.left_us, when);
        (void) snprintf(text, sizeof text, T_("open for reading until %s: dozo close"), when);
        red_line(T_("key"), text);
    }
    put_sources(s);
    put_store(s);
    put_verified(s);
    put_witness(s);
    put_requests(s);
    put_clock(s);
    red_line(T_("copies"), T_("this one only: none off-site"));
    red_line(T_("rehearsal"), T_("none"));
    put_alarms(s);
}
