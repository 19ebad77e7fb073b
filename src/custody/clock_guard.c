#include "custody/clock_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/durable.h"
#include "custody/alarm.h"

static const int64_t second_us = 1000000;
static const int64_t wall_max_us = INT64_MAX / 4; /* sums stay far from overflow */

/* What two honest clocks may differ by after so long: steps of a second or two, slewing. */
static int64_t tolerance(int64_t up_us) {
    return 60 * second_us + up_us / 1000;
}

/* Whether `now` agrees with the sample before it; *ret_passed is the time that counts. */
static bool agrees(const struct dz_clock_sample *before, const struct dz_clock_sample *now,
                   int64_t *ret_passed) {
    int64_t wall = now->wall_us - before->wall_us, up = now->up_us - before->up_us;

    *ret_passed = 0;
    if (now->boot[0] == '\0' || strcmp(now->boot, before->boot) != 0)
        return wall >= -tolerance(0); /* off for a while; how long, nobody knows */
    if (up < 0 || wall < up - tolerance(up) || wall > up + tolerance(up))
        return false;
    *ret_passed = wall < 0 ? 0 : wall < up ? wall : up;
    return true;
}

/* False: the leaf is no tick that can be read. */
static bool sample_of(const dz_ledger_leaf *leaf, struct dz_clock_sample *ret) {
    const char *boot = dz_ledger_text(leaf, "boot");
    json_int_t up, wall;

    *ret = (struct dz_clock_sample){ 0 };
    if (!boot || strlen(boot) >= sizeof ret->boot ||
        json_unpack(leaf->text, "{s:I,s:I}", "up_us", &up, "wall_us", &wall) != 0 || up < 0 ||
        wall < 0 || wall > wall_max_us)
        return false;
    memcpy(ret->boot, boot, strlen(boot));
    ret->up_us = up > wall_max_us ? wall_max_us : up;
    ret->wall_us = wall;
    return true;
}

static void take_tick(struct dz_clock_guard *g, const dz_ledger_leaf *leaf) {
    struct dz_clock_sample now;
    int64_t passed;

    if (g->frozen || !sample_of(leaf, &now))
        return;
    if (g->ticks > 0 && !agrees(&g->last, &now, &passed)) {
        g->frozen = true;
        g->frozen_leaf = leaf->index;
    } else if (g->ticks > 0) {
        if (strcmp(g->last.boot, now.boot) != 0 && now.wall_us > g->last.wall_us)
            g->off_us += now.wall_us - g->last.wall_us;
        g->trusted_us += passed;
    }
    g->last = now;
    g->ticks++;
}

static struct dz_clock_meeting *met_before(struct dz_clock_guard *g, const char *name) {
    for (unsigned i = 0; i < g->n_met; i++)
        if (strcmp(g->met[i].name, name) == 0)
            return &g->met[i];
    return NULL;
}

/* What counts of the time off: not more than the wall clock says it was, nor than the witness's
 * clock says is missing. */
static int64_t off_that_counts(const struct dz_clock_guard *g, const struct dz_clock_meeting *m,
                               int64_t clock_us, int64_t wall_us) {
    int64_t missing = (clock_us - m->clock_us) - (g->trusted_us - m->trusted_us);
    int64_t off = g->off_us < DZ_CLOCK_OFF_MAX_US ? g->off_us : DZ_CLOCK_OFF_MAX_US;
    int64_t apart = clock_us - wall_us;

    if (apart > tolerance(0) || apart < -tolerance(0))
        return 0;
    off = missing < off ? missing : off;
    off = wall_us - g->trusted_us < off ? wall_us - g->trusted_us : off;
    return off > 0 ? off : 0;
}

/* A witness was met whose clock we know.  The tick before it in the log is of the same moment. */
static void take_meeting(struct dz_clock_guard *g, const dz_ledger_leaf *leaf) {
    const char *event = dz_ledger_text(leaf, "event"), *name = dz_ledger_text(leaf, "name");
    const json_t *clock = json_object_get(leaf->text, "clock_us");
    int64_t clock_us = json_integer_value(clock);
    struct dz_clock_meeting *m;

    if (g->frozen || !event || strcmp(event, "confirmed") != 0 || !name ||
        strlen(name) > DZ_WITNESS_NAME_MAX || !json_is_integer(clock) || clock_us <= 0 ||
        clock_us > wall_max_us)
        return;
    m = met_before(g, name);
    if (m)
        g->trusted_us += off_that_counts(g, m, clock_us, g->last.wall_us);
    else if (g->n_met < DZ_CLOCK_WITNESSES)
        m = &g->met[g->n_met++];
    else
        return;
    *m = (struct dz_clock_meeting){ .clock_us = clock_us, .trusted_us = g->trusted_us };
    memcpy(m->name, name, strlen(name));
    g->off_us = 0;
}

/* Operators have said which time it was when they were asked. */
static void take_event(struct dz_clock_guard *g, const struct dz_quorum *q,
                       const dz_ledger_leaf *leaf) {
    const dz_ask *a = dz_quorum_approved(q, leaf->index);
    char frozen[24], time[DZ_TIME_TEXT];
    struct dz_clock_sample now;
    dz_slice said;
    int64_t said_us;

    if (!g->frozen || !a || a->request.kind != DZ_REQUEST_UNFREEZE || !sample_of(leaf, &now))
        return;
    said = dz_request_value(&a->request, "clock-now");
    (void) snprintf(frozen, sizeof frozen, "%llu", (unsigned long long) g->frozen_leaf);
    (void) snprintf(time, sizeof time, "%.*s", (int) said.len, (const char *) said.data);
    if (!dz_request_says(&a->request, "event", frozen) || said.len >= sizeof time ||
        !dz_time_parse(time, &said_us) || said_us < 0 || said_us > wall_max_us)
        return;
    g->frozen = false;
    g->trusted_us = said_us;
    g->off_us = 0;
    g->n_met = 0; /* what they said goes with the time before */
    g->last = now;
    g->ticks++;
}

void dz_clock_guard_take(struct dz_clock_guard *g, const struct dz_quorum *q,
                         const dz_ledger_leaf *leaf) {
    if (leaf->kind == DZ_LEAF_GENESIS)
        g->trusted_us = leaf->time_us;
    else if (leaf->kind == DZ_LEAF_CLOCK_TICK)
        take_tick(g, leaf);
    else if (leaf->kind == DZ_LEAF_WITNESS)
        take_meeting(g, leaf);
    else if (leaf->kind == DZ_LEAF_CLOCK_EVENT)
        take_event(g, q, leaf);
}

void dz_clock_guard_read(const struct dz_ledger *ledger, const struct dz_quorum *q,
                         struct dz_clock_guard *ret) {
    *ret = (struct dz_clock_guard){ 0 };
    for (size_t i = 0; i < ledger->n; i++)
        dz_clock_guard_take(ret, q, &ledger->leaves[i]);
}

/* The same, of a vault's log as it is. */
static dz_status guard_of(struct dz_vault *v, struct dz_clock_guard *ret, dz_err *err) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    struct dz_quorum q = { 0 };

    DZ_TRY(dz_ledger_read(v, &ledger, err));
    DZ_TRY(dz_quorum_read(v, ledger, &q, err));
    dz_clock_guard_read(ledger, &q, ret);
    dz_quorum_release(&q);
    return DZ_OK;
}

int64_t dz_clock_guard_at(const struct dz_clock_guard *g, const struct dz_clock_sample *now,
                          bool *ret_frozen) {
    int64_t passed = 0;

    *ret_frozen = g->frozen || (g->ticks > 0 && !agrees(&g->last, now, &passed));
    return g->trusted_us + (*ret_frozen || g->ticks == 0 ? 0 : passed);
}

int64_t dz_clock_guard_now(const struct dz_ledger *ledger, const struct dz_quorum *q,
                           bool *ret_frozen) {
    struct dz_clock_sample now;
    struct dz_clock_guard g;

    dz_clock_guard_read(ledger, q, &g);
    dz_clock_sample(&now);
    return dz_clock_guard_at(&g, &now, ret_frozen);
}

json_t *dz_clock_sample_text(const struct dz_clock_sample *s) {
    return json_pack("{s:s,s:I,s:I}", "boot", s->boot, "up_us", (json_int_t) s->up_us, "wall_us",
                     (json_int_t) s->wall_us);
}

dz_status dz_clock_tick(struct dz_vault *v, int tmpfd, const struct dz_clock_sample *now,
                        int64_t every_s, struct dz_clock_guard *ret, dz_err *err) {
    struct dz_clock_guard g;
    int64_t passed = 0;
    bool fine;

    DZ_TRY(guard_of(v, &g, err));
    fine = g.ticks == 0 || agrees(&g.last, now, &passed);
    if (!g.frozen && (g.ticks == 0 || !fine || strcmp(g.last.boot, now->boot) != 0 ||
                      passed >= every_s * second_us)) {
        DZ_TRY(dz_ledger_note(v, tmpfd, DZ_LEAF_CLOCK_TICK, 0, NULL, 0, dz_clock_sample_text(now),
                              NULL, err));
        if (!fine)
            DZ_TRY(dz_alarm_note(v, tmpfd, DZ_ALARM_SERIOUS, "clock-jumped", NULL,
                                 "the wall clock and the time since boot disagree; nothing expires "
                                 "until operators say that the time is right",
                                 err));
    }
    return ret ? guard_of(v, ret, err) : DZ_OK;
}

/* --- every now and then ----------------------------------------------------------------------- */

static const char cache_name[] = "tick"; /* a sample's three members, a line each */

/* False: there is none, or it is odd; then the log is asked. */
static bool cached(struct dz_vault *v, struct dz_clock_sample *ret) {
    dz_autobuf dz_buf text = { 0 };
    char *line, *end;
    size_t len;

    *ret = (struct dz_clock_sample){ 0 };
    if (dz_read_file(v->cachefd, cache_name, 128, &text, NULL) != DZ_OK)
        return false;
    dz_buf_put_u8(&text, 0);
    if (!dz_buf_ok(&text))
        return false;
    line = (char *) text.data;
    len = strcspn(line, "\n");
    if (len >= sizeof ret->boot || line[len] != '\n')
        return false;
    memcpy(ret->boot, line, len);
    ret->up_us = strtoll(line + len + 1, &end, 10);
    if (*end != '\n')
        return false;
    ret->wall_us = strtoll(end + 1, &end, 10);
    return *end == '\n' && ret->up_us >= 0 && ret->up_us <= wall_max_us && ret->wall_us >= 0 &&
           ret->wall_us <= wall_max_us;
}

static dz_status tick_and_cache(struct dz_vault *v, int tmpfd, const struct dz_clock_sample *now,
                                dz_err *err) {
    char text[128];
    int len = snprintf(text, sizeof text, "%s\n%lld\n%lld\n", now->boot, (long long) now->up_us,
                       (long long) now->wall_us);

    DZ_TRY(dz_clock_tick(v, tmpfd, now, DZ_TICK_EVERY_S, NULL, err));
    return dz_durable_replace(tmpfd, v->cachefd, cache_name,
                              (dz_slice){ (const uint8_t *) text, (size_t) len }, err);
}

dz_status dz_clock_tick_if_due(struct dz_vault *v, const struct dz_clock_sample *now, dz_err *err) {
    char tmp[DZ_VAULT_TMP_NAME];
    struct dz_clock_sample last;
    int64_t passed;
    dz_status s;
    int tmpfd;

    if (cached(v, &last) && agrees(&last, now, &passed) && strcmp(last.boot, now->boot) == 0 &&
        passed < DZ_TICK_EVERY_S * second_us)
        return DZ_OK;
    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    s = tick_and_cache(v, tmpfd, now, err);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}
