#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "custody/action.h"
#include "custody/policy.h"

enum { OPT_MINIMUM = DZ_OPT_FIRST, OPT_DAILY, OPT_MONTHLY, OPT_YEARLY, OPT_TIMEZONE };

const struct dz_option dz_policy_options[] = {
    { OPT_MINIMUM, "minimum", "DAYS", N_("every snapshot is kept for so many days (first: 60)") },
    { OPT_DAILY, "daily", "N", N_("beyond that, first and last of so many days (first: 180)") },
    { OPT_MONTHLY, "monthly", "N", N_("... of so many months (first: 24)") },
    { OPT_YEARLY, "yearly", "N", N_("... of so many years (first: 5)") },
    { OPT_TIMEZONE, "timezone", "ZONE", N_("where a day begins, as Asia/Tokyo") },
    { 0 },
};

struct call {
    struct dz_cli *cli;
    bool set;
    const char *source;
    int64_t minimum, daily, monthly, yearly; /* -1: not given */
    const char *zone;

    struct dz_vault *v;
    struct dz_custody custody;
};

static void put(const struct call *c, const dz_policy *p) {
    if (c->cli->json) {
        json_t *j = json_object();

        dz_json_text(j, "source", p->source);
        (void) json_object_set_new(j, "minimum_days", dz_json_count(p->keep.minimum_days));
        (void) json_object_set_new(j, "daily", dz_json_count(p->keep.daily));
        (void) json_object_set_new(j, "monthly", dz_json_count(p->keep.monthly));
        (void) json_object_set_new(j, "yearly", dz_json_count(p->keep.yearly));
        (void) json_object_set_new(j, "timezone", json_string(p->keep.zone));
        (void) json_object_set_new(j, "leaf", dz_json_count(p->leaf));
        dz_json_put(j);
        return;
    }
    dz_put_padded(stdout, p->source, 20);
    (void) printf(T_(" minimum %u d, daily %u, monthly %u, yearly %u, %s (leaf %llu)\n"),
                  p->keep.minimum_days, p->keep.daily, p->keep.monthly, p->keep.yearly,
                  p->keep.zone, (unsigned long long) p->leaf);
}

static int show(const struct call *c) {
    const struct dz_policies *known = &c->custody.quorum.policies;
    size_t shown = 0;

    for (size_t i = 0; i < known->n; i++) {
        if (c->source && strcmp(known->list[i].source, c->source) != 0)
            continue;
        put(c, &known->list[i]);
        shown++;
    }
    if (shown == 0 && !c->cli->json && !c->cli->quiet)
        dz_say(T_("no rules: every snapshot is kept for ever"));
    return DZ_EXIT_OK;
}

static uint32_t choose(int64_t given, uint32_t otherwise) {
    return given >= 0 ? (uint32_t) given : otherwise;
}

/* Rules for a name that was typed wrong bind nothing: who sets them is told. */
static void say_set(const struct call *c) {
    struct dz_snapshot newest = { 0 };
    dz_autofree char *latest = NULL;

    if (c->cli->quiet)
        return;
    dz_say(T_("the rules of %s are set: dozo prune --dry-run says what follows"), c->source);
    if (asprintf(&latest, "latest:%s", c->source) < 0)
        return;
    if (dz_snapshot_find(c->v, latest, &newest, NULL) == DZ_E_NOT_FOUND)
        dz_say_next(T_("There is no snapshot of it yet: is the name right?"));
    dz_snapshot_release(&newest);
}

static int set(const struct call *c) {
    const dz_policy *old = dz_policies_find(&c->custody.quorum.policies, c->source);
    dz_keep keep = {
        .minimum_days = DZ_KEEP_MINIMUM_DAYS, .daily = 180, .monthly = 24, .yearly = 5
    };
    dz_err err = { 0 };
    dz_status s;

    if (old)
        keep = old->keep;
    else if (!c->zone)
        return dz_cli_usage(c->cli, T_("the first rules of a source want --timezone, as "
                                       "Asia/Tokyo"));
    keep.minimum_days = choose(c->minimum, keep.minimum_days);
    keep.daily = choose(c->daily, keep.daily);
    keep.monthly = choose(c->monthly, keep.monthly);
    keep.yearly = choose(c->yearly, keep.yearly);
    if (c->zone)
        (void) snprintf(keep.zone, sizeof keep.zone, "%s", c->zone);
    s = dz_policy_set(c->v, c->source, &keep, &err);
    if (s == DZ_OK) {
        say_set(c);
        return DZ_EXIT_OK;
    }
    dz_say_error(&err);
    if (s == DZ_E_POLICY)
        dz_say_next(T_("Rules can only be tightened. Nothing was changed."));
    return dz_exit_of(s);
}

static int parse(struct call *c, int argc, char **argv) {
    const char *verb;
    int option;

    while ((option = dz_cli_option(c->cli, argc, argv)) >= 0) {
        static const char *const names[] = { "--minimum", "--daily", "--monthly", "--yearly" };
        int64_t *const numbers[] = { &c->minimum, &c->daily, &c->monthly, &c->yearly };
        uint64_t n;

        if (option == OPT_TIMEZONE) {
            if (!dz_zone_name_ok(optarg))
                return dz_cli_usage(c->cli, T_("\"%s\" is no time zone; Asia/Tokyo is one"),
                                    optarg);
            c->zone = optarg;
            continue;
        }
        if (!dz_cli_number(c->cli, names[option - OPT_MINIMUM], optarg, 0, DZ_KEEP_DAYS_MAX, &n))
            return DZ_EXIT_USAGE;
        *numbers[option - OPT_MINIMUM] = (int64_t) n;
    }
    if (option == DZ_CLI_STOP)
        return -1;
    verb = optind < argc ? argv[optind++] : "show";
    c->source = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return dz_cli_usage(c->cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    c->set = strcmp(verb, "set") == 0;
    if (!c->set && strcmp(verb, "show") != 0)
        return dz_cli_usage(c->cli, T_("policy takes show or set, not \"%s\""), verb);
    if (c->set && !c->source)
        return dz_cli_usage(c->cli, T_("policy set wants the name of a source"));
    return DZ_EXIT_OK;
}

int dz_cmd_policy(struct dz_cli *cli, int argc, char **argv) {
    struct call c = { .cli = cli, .minimum = -1, .daily = -1, .monthly = -1, .yearly = -1 };
    dz_err err = { 0 };
    int code = parse(&c, argc, argv);

    if (code != DZ_EXIT_OK)
        return code < 0 ? cli->stop_code : code;
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &c.v);
    c.custody.v = c.v;
    if (code == DZ_EXIT_OK && dz_custody_read(&c.custody, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    if (code == DZ_EXIT_OK && c.custody.quorum.policies.passed_over > 0)
        dz_say(T_("%llu records of rules in the log would have loosened others, and do not count"),
               (unsigned long long) c.custody.quorum.policies.passed_over);
    if (code == DZ_EXIT_OK)
        code = c.set ? set(&c) : show(&c);
    dz_custody_release(&c.custody);
    dz_vault_free(c.v);
    return code;
}
