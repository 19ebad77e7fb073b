/* cli/command.h -- the command line: a table of commands, and what every command is handed.
 *
 *   argv ─▶ [global options] ─▶ row of the table ─▶ run() ─▶ exit code
 *
 * A command is a row of cli/table.c and a file cmd_NAME.c.  Its run() steps through its options
 * with dz_cli_option(), which also takes the global ones, and returns the exit code.
 * Single-threaded, except where a header below says otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/text.h"

/* What a script may rely on (the man page dozo(1), "exit status"). */
enum dz_exit {
    DZ_EXIT_OK = 0,
    DZ_EXIT_FOUND = 1, /* done, and it found something */
    DZ_EXIT_USAGE = 2, /* wrong usage */
    DZ_EXIT_COULD_NOT = 3,
    DZ_EXIT_REFUSED = 4, /* by policy; closed */
};

enum { DZ_CLI_KEYS_MAX = 300 };

struct dz_command;
struct dz_cli {
    const char *vault;                 /* --vault, or DOZO_VAULT; NULL when neither is given */
    const char *keys[DZ_CLI_KEYS_MAX]; /* --key, or DOZO_KEYS */
    size_t n_keys;
    bool default_keys; /* they are from DOZO_KEYS: --key replaces them */
    const char *passphrase_file;
    bool json, quiet;

    const struct dz_command *command;
    int stop_code; /* after DZ_CLI_STOP */
};

/* One option.  A list ends with a zeroed row. */
struct dz_option {
    int value;        /* what dz_cli_option() gives: a letter, or from DZ_OPT_FIRST on */
    const char *name; /* the long name, or NULL */
    const char *arg;  /* what its argument is called, or NULL: takes none */
    const char *help; /* N_() */
};
enum { DZ_OPT_FIRST = 256 };

struct dz_command {
    const char *name;
    const char *summary; /* N_() */
    const char *usage;   /* what follows "dozo " */
    const struct dz_option *options;
    int (*run)(struct dz_cli *cli, int argc, char **argv);
    bool changes; /* must not be ended by a closed pipe: what it does goes on */
};

/* The whole program: main() hands over.  Returns the exit code. */
int dz_cli_main(int argc, char **argv);

extern const struct dz_command dz_commands[]; /* ends with a zeroed row */

/* The next option of the command, its argument in getopt's `optarg`; global ones are taken here.
 * DZ_CLI_END: argv[optind] is the first operand.  DZ_CLI_STOP: return cli->stop_code (help was
 * asked for, or a mistake was reported). */
enum { DZ_CLI_END = -1, DZ_CLI_STOP = -2 };
int dz_cli_option(struct dz_cli *cli, int argc, char **argv);

/* Says what is wrong with the call and where help is; returns DZ_EXIT_USAGE. */
int dz_cli_usage(const struct dz_cli *cli, const char *fmt, ...) DZ_PRINTF(2, 3);

/* Reads a whole number from `text`, the argument of `option`.  False: it was reported. */
bool dz_cli_number(const struct dz_cli *cli, const char *option, const char *text, uint64_t min,
                   uint64_t max, uint64_t *ret_number);

/* The nearest of the names (NULL ends the list), or NULL when none is near. */
const char *dz_cli_nearest(const char *word, const char *const *names);
