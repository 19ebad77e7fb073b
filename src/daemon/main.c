#include "daemon/main.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/launch.h"
#include "core/standard_files.h"
#include "core/text.h"
#include "core/zone.h"
#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/starter.h"
#include "daemon/supervise.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_COULD_NOT = 3, EXIT_REFUSED = 4 };

struct call {
    const char *config;
    bool check, no_sandbox, help, version;
};

/* Processes of ours that start again as this program: the word after --role=. */
static int role(const char *name, int argc, char **argv) {
    if (strcmp(name, "supervisor") == 0)
        return dz_supervise(STDIN_FILENO, argc == 0);
    if (strcmp(name, "job") == 0)
        return dz_job_exec(argc, argv);
    return EXIT_USAGE;
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
        dz_log_error(&err);
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
    { "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'k' },
    { "no-sandbox", no_argument, NULL, 's' },   { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },      { 0 },
};

static int usage(FILE *to, int code) {
    (void) fprintf(to, "%s\n",
                   T_("usage: dozod --config FILE [--check | --no-sandbox]\n"
                      "\n"
                      "The daemon of a Dozo vault.\n"
                      "\n"
                      "  --config FILE       what to do: dozod.yaml(5)\n"
                      "  --check             read it only, say whether it is right and when each "
                      "source is due\n"
                      "  --no-sandbox        where the kernel has no Landlock; for development\n"
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
        else if (option == 's')
            c->no_sandbox = true;
        else if (option == 'h')
            c->help = true;
        else if (option == 'v')
            c->version = true;
        else
            return false;
    return optind == argc && (c->help || c->version || c->config);
}

static int serve(const struct call *c, dz_slice text, struct dz_config *config) {
    const char *path = c->config;
    dz_autofree char *here = *path == '/' ? NULL : get_current_dir_name();
    dz_autofree char *absolute = NULL;
    char dozo[PATH_MAX];
    struct dz_starter_how how = { .dozo = dozo, .sandbox = !c->no_sandbox };

    if (!dz_program_find("dozo", DZ_BINDIR, dozo)) {
        dz_log(LOG_ERR, T_("the program dozo is neither beside this one nor in %s"), DZ_BINDIR);
        return EXIT_COULD_NOT;
    }
    if (asprintf(&absolute, "%s%s%s", here ? here : "", here ? "/" : "", path) < 0 ||
        chdir("/") != 0)
        return EXIT_COULD_NOT;
    (void) umask(077);
    how.path = absolute;
    return dz_starter_run(&how, text, config);
}

static int load_and(const struct call *c) {
    DZ_CLEANUP(dz_config_release) struct dz_config config = { 0 };
    dz_autobuf dz_buf text = { 0 };
    dz_err err = { 0 };
    dz_status s = dz_config_load(c->config, &text, &config, &err);

    if (s != DZ_OK) {
        dz_log_error(&err);
        return exit_of(s);
    }
    return c->check ? check(&config, c->config) : serve(c, dz_buf_slice(&text), &config);
}

int dz_daemon_main(int argc, char **argv) {
    static const char role_option[] = "--role=";
    struct call c = { 0 };

    if (!dz_standard_files_open())
        return EXIT_COULD_NOT;
    (void) dz_text_init(NULL);
    if (argc > 1 && strncmp(argv[1], role_option, sizeof role_option - 1) == 0)
        return role(argv[1] + sizeof role_option - 1, argc - 2, argv + 2);
    if (!parse(&c, argc, argv))
        return usage(stderr, EXIT_USAGE);
    if (c.help)
        return usage(stdout, EXIT_OK);
    if (c.version) {
        (void) printf("dozod %s\n", DZ_VERSION);
        return EXIT_OK;
    }
    return load_and(&c);
}
