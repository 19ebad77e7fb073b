#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/output.h"

enum { OPTIONS_MAX = 48, NEAREST_MAX = 64 };

enum {
    OPT_VAULT = 1000,
    OPT_KEY,
    OPT_PASSPHRASE_FILE,
    OPT_JSON,
    OPT_QUIET,
    OPT_LANG,
    OPT_HELP,
    OPT_VERSION,
};

const struct dz_option dz_global_options[] = {
    { OPT_VAULT, "vault", "DIR", N_("the vault (or DOZO_VAULT)") },
    { OPT_KEY, "key", "FILE",
      N_("what opens it: a key file, or a share; once for each (or DOZO_KEYS)") },
    { OPT_PASSPHRASE_FILE, "passphrase-file", "FILE",
      N_("take the passphrase from its first line instead of asking") },
    { OPT_JSON, "json", NULL, N_("results as JSON") },
    { OPT_QUIET, "quiet", NULL, N_("nothing but results and errors") },
    { OPT_LANG, "lang", "en|ja", N_("language of messages") },
    { OPT_HELP, "help", NULL, N_("this help") },
    { OPT_VERSION, "version", NULL, N_("the version") },
    { 0 },
};

/* --- the nearest name ------------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b, unsigned c) {
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edit distance: letters added, taken away, changed (Wagner and Fischer 1974), or two neighbours
 * swapped. */
static unsigned distance(const char *a, const char *b) {
    unsigned rows[3][NEAREST_MAX + 1];
    size_t n = strlen(a), m = strlen(b);

    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return NEAREST_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (unsigned) j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = (unsigned) i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(before[j] + 1, now[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < now[j])
                now[j] = earlier[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

const char *dz_cli_nearest(const char *word, const char *const *names) {
    const char *best = NULL;
    unsigned best_distance = (unsigned) strlen(word) / 3 + 1;

    for (; *names; names++) {
        unsigned d = strlen(word) >= 3 && strncmp(*names, word, strlen(word)) == 0
                         ? 0 /* only begun */
                         : distance(word, *names);
        if (d < best_distance || (d == best_distance && !best)) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}

/* --- messages --------------------------------------------------------------------------------- */

int dz_cli_usage(const struct dz_cli *cli, const char *fmt, ...) {
    va_list args;

    (void) fputs("dozo: ", stderr);
    va_start(args, fmt);
    (void) vfprintf(stderr, fmt, args);
    va_end(args);
    (void) fputc('\n', stderr);
    if (cli->command) {
        dz_say_next(T_("usage: dozo %s"), cli->command->usage);
        dz_say_next(T_("more: dozo help %s"), cli->command->name);
    } else {
        dz_say_next(T_("more: dozo help"));
    }
    return DZ_EXIT_USAGE;
}

bool dz_cli_number(const struct dz_cli *cli, const char *option, const char *text, uint64_t min,
                   uint64_t max, uint64_t *ret_number) {
    unsigned long long value = 0;
    char *end = NULL;

    errno = 0;
    if (*text >= '0' && *text <= '9')
        value = strtoull(text, &end, 10);
    if (!end || *end || errno || value < min || value > max) {
        (void) dz_cli_usage(cli, T_("%s wants a whole number from %llu to %llu, not \"%s\""),
                            option, (unsigned long long) min, (unsigned long long) max, text);
        return false;
    }
    *ret_number = value;
    return true;
}

/* --- getopt ----------------------------------------------------------------------------------- */

struct parser {
    struct option longs[OPTIONS_MAX + 1];
    const char *names[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 3];
    size_t n, n_short;
};

static void add_options(struct parser *p, const struct dz_option *from) {
    for (; from && from->value && p->n < OPTIONS_MAX; from++) {
        if (from->value < DZ_OPT_FIRST) {
            p->shorts[p->n_short++] = (char) from->value;
            if (from->arg)
                p->shorts[p->n_short++] = ':';
        }
        if (!from->name)
            continue;
        p->names[p->n] = from->name;
        p->longs[p->n++] = (struct option){ from->name, from->arg ? required_argument : no_argument,
                                            NULL, from->value };
    }
}

static int stop(struct dz_cli *cli, int code) {
    cli->stop_code = code;
    return DZ_CLI_STOP;
}

/* getopt says only that something is wrong; this says what.  `optopt` is the letter, or the value
 * of a long option that is known, or 0. */
static int mistake(struct dz_cli *cli, const struct parser *p, char **argv, bool wants_argument) {
    const char *word = argv[optind - 1];
    char name[NEAREST_MAX + 1];
    const char *nearest, *equals;
    unsigned fits = 0;

    if (optopt > 0 && optopt < DZ_OPT_FIRST) {
        if (wants_argument)
            return stop(cli, dz_cli_usage(cli, T_("option -%c wants an argument"), optopt));
        if (strchr(p->shorts + 1, optopt)) /* by its long name */
            return stop(cli, dz_cli_usage(cli, T_("option -%c takes no argument"), optopt));
        return stop(cli, dz_cli_usage(cli, T_("there is no option -%c"), optopt));
    }
    if (wants_argument)
        return stop(cli, dz_cli_usage(cli, T_("option %s wants an argument"), word));
    equals = strchr(word, '=');
    (void) snprintf(name, sizeof name, "%.*s",
                    equals ? (int) (equals - word - 2) : (int) strlen(word + 2), word + 2);
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->names[i], name) == 0)
            return stop(cli, dz_cli_usage(cli, T_("option --%s takes no argument"), name));
        fits += strncmp(p->names[i], name, strlen(name)) == 0;
    }
    if (fits > 1)
        return stop(cli, dz_cli_usage(cli, T_("--%s can be several options: write it out"), name));
    nearest = dz_cli_nearest(name, p->names);
    return stop(cli, nearest ? dz_cli_usage(cli, T_("there is no option --%s; did you mean --%s?"),
                                            name, nearest)
                             : dz_cli_usage(cli, T_("there is no option --%s"), name));
}

/* True when the option was a global one; *ret_result is then what to do. */
static bool take_global(struct dz_cli *cli, int option, int *ret_result) {
    *ret_result = 0;
    switch (option) {
    case OPT_VAULT:
        cli->vault = optarg;
        return true;
    case OPT_KEY:
        if (cli->default_keys)
            cli->n_keys = 0;
        cli->default_keys = false;
        if (cli->n_keys == DZ_CLI_KEYS_MAX)
            *ret_result = stop(
                cli, dz_cli_usage(cli, T_("at most %d keys are taken"), (int) DZ_CLI_KEYS_MAX));
        else
            cli->keys[cli->n_keys++] = optarg;
        return true;
    case OPT_PASSPHRASE_FILE:
        cli->passphrase_file = optarg;
        return true;
    case OPT_JSON:
        cli->json = true;
        return true;
    case OPT_QUIET:
        cli->quiet = true;
        return true;
    case OPT_LANG:
        if (!dz_text_init(optarg))
            *ret_result =
                stop(cli, dz_cli_usage(cli, T_("--lang is en or ja, not \"%s\""), optarg));
        return true;
    case OPT_HELP:
        dz_help(cli->command);
        *ret_result = stop(cli, DZ_EXIT_OK);
        return true;
    case OPT_VERSION:
        dz_help_version();
        *ret_result = stop(cli, DZ_EXIT_OK);
        return true;
    default:
        return false;
    }
}

int dz_cli_option(struct dz_cli *cli, int argc, char **argv) {
    struct parser p = { .shorts = ":", .n_short = 1 };
    int option, result;

    if (!cli->command) /* before the command: the first operand is its name */
        (void) memcpy(p.shorts, "+:", (p.n_short = 2));
    add_options(&p, cli->command ? cli->command->options : NULL);
    add_options(&p, dz_global_options);
    opterr = 0;
    while ((option = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
        if (option == '?' || option == ':')
            return mistake(cli, &p, argv, option == ':');
        if (!take_global(cli, option, &result))
            return option;
        if (result)
            return result;
    }
    return DZ_CLI_END;
}
