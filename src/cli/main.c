#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/output.h"
#include "core/standard_files.h"
#include "crypto/keys.h"

/* DOZO_KEYS: file names separated by colons; cut apart in place. */
static void keys_from_environment(struct dz_cli *cli, char *list) {
    char *name;

    cli->default_keys = true;
    while (list && (name = strsep(&list, ":")) != NULL)
        if (*name && cli->n_keys < DZ_CLI_KEYS_MAX)
            cli->keys[cli->n_keys++] = name;
}

static int help(struct dz_cli *cli, int argc, char **argv) {
    const struct dz_command *command = NULL;

    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-') {
            command = dz_command_find(cli, argv[i]);
            if (!command)
                return DZ_EXIT_USAGE;
        }
    dz_help(command);
    return DZ_EXIT_OK;
}

static int run(struct dz_cli *cli, int argc, char **argv) {
    int option = dz_cli_option(cli, argc, argv);

    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind >= argc)
        return dz_cli_usage(cli, T_("which command?"));
    argc -= optind;
    argv += optind;
    optind = 0; /* getopt starts afresh */
    if (strcmp(argv[0], "help") == 0)
        return help(cli, argc, argv);
    cli->command = dz_command_find(cli, argv[0]);
    if (!cli->command)
        return DZ_EXIT_USAGE;
    if (cli->command->changes)
        (void) signal(SIGPIPE, SIG_IGN);
    return cli->command->run(cli, argc, argv);
}

int dz_cli_main(int argc, char **argv) {
    struct dz_cli cli = { .vault = getenv("DOZO_VAULT") };
    const char *keys_given = getenv("DOZO_KEYS");
    dz_autofree char *keys = NULL;
    dz_err err = { 0 };

    if (!dz_standard_files_open())
        return DZ_EXIT_COULD_NOT;
    /* segments of some MiB come and go: kept in the heap, or each would cost a page fault per 4 KiB
     */
    (void) mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void) mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void) umask(077);
    (void) dz_text_init(NULL);
    if (dz_crypto_init(&err) != DZ_OK)
        return dz_cli_fail(&err);
    if (cli.vault && !*cli.vault)
        cli.vault = NULL;
    if (keys_given) {
        keys = strdup(keys_given);
        keys_from_environment(&cli, keys);
    }
    return dz_out_close(run(&cli, argc, argv));
}
