#include "daemon/main.h"

#include <getopt.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/standard_files.h"
#include "core/text.h"
#include "core/zone.h"
#include "daemon/config.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_COULD_NOT = 3, EXIT_REFUSED = 4 };

struct call {
    const char *config;
    bool check, help, version;
};

static void say_error(const dz_err *err) {
    (void) fprintf(stderr, "dozod: %s%s%s\n", err->what, err->sys_errno ? ": " : "",
                   err->sys_errno ? strerror(err->sys_errno) : "");
}

static int exit_of(dz_status status) {
    if (status == DZ_E_POLICY)
        return EXIT_REFUSED;
    return status == DZ_E_MALFORMED || status == DZ_E_LIMIT ? EXIT_USAGE : EXIT_COULD_NOT;
}

/* --- check ------------------------------------------------------------------------------------ */

static void put_source(const struct dz_feed *s, int64_t now_us) {
    int64_t next = dz_schedule_next(&s->schedule, now_us);
    char when[DZ_TIME_TEXT] = "-";

    if (next != INT64_MAX)
        dz_time_text(next, when);
    (void) printf(T_("  %s (%s): next at %s\n"), s->name, dz_feed_kind_name(s->kind), when);
}

static int check(const struct dz_config *c, const char *path) {
    const char *zone = c->timezone ? c->timezone : "UTC";
    int64_t now_us = dz_now_us();
    dz_err err = { 0 };

    if (dz_zone_enter(zone, &err) != DZ_OK) {
        say_error(&err);
        return EXIT_COULD_NOT;
    }
    (void) printf(T_("%s is right: %zu sources, time zone %s\n"), path, c->n_feeds, zone);
    for (size_t i = 0; i < c->n_feeds; i++)
        put_source(&c->feeds[i], now_us);
    dz_zone_leave();
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_OK : EXIT_COULD_NOT;
}

/* --- the call --------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "check", no_argument, NULL, 'k' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    { 0 },
};

static int usage(FILE *to, int code) {
    (void) fprintf(to, "%s\n",
                   T_("usage: dozod --config FILE --check\n"
                      "\n"
                      "The daemon of a Dozo vault.\n"
                      "\n"
                      "  --config FILE   what to do: dozod.yaml(5)\n"
                      "  --check         read it, say whether it is right and when each source is "
                      "due\n"
                      "  --help, --version\n"
                      "\n"
                      "The manual: man dozod"));
    return code;
}

static bool parse(struct call *c, int argc, char **argv) {
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if (option == 'c')
            c->config = optarg;
        else if (option == 'k')
            c->check = true;
        else if (option == 'h')
            c->help = true;
        else if (option == 'v')
            c->version = true;
        else
            return false;
    return optind == argc && (c->help || c->version || (c->config && c->check));
}

int dz_daemon_main(int argc, char **argv) {
    struct dz_config config = { 0 };
    struct call c = { 0 };
    dz_err err = { 0 };
    dz_status s;
    int code;

    if (!dz_standard_files_open())
        return EXIT_COULD_NOT;
    (void) dz_text_init(NULL);
    if (!parse(&c, argc, argv))
        return usage(stderr, EXIT_USAGE);
    if (c.help)
        return usage(stdout, EXIT_OK);
    if (c.version) {
        (void) printf("dozod %s\n", DZ_VERSION);
        return EXIT_OK;
    }
    s = dz_config_load(c.config, &config, &err);
    if (s != DZ_OK) {
        say_error(&err);
        return exit_of(s);
    }
    code = check(&config, c.config);
    dz_config_release(&config);
    return code;
}
