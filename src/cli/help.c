#include "cli/help.h"

#include <stdio.h>

#include "cli/output.h"

enum { COMMANDS_MAX = 64, NAME_COLUMNS = 12, OPTION_COLUMNS = 28 };

static void put_options(const struct dz_option *options) {
    for (; options && options->value; options++) {
        char text[64];
        (void) snprintf(text, sizeof text, "%s%s%s%s",
                        options->name ? "--" : (char[]){ '-', (char) options->value, '\0' },
                        options->name ? options->name : "", options->arg ? " " : "",
                        options->arg ? options->arg : "");
        (void) fputs("  ", stdout);
        dz_put_padded(stdout, text, OPTION_COLUMNS);
        (void) printf(" %s\n", dz_text(options->help));
    }
}

void dz_help(const struct dz_command *command) {
    if (command) {
        (void) printf(T_("usage: dozo %s"), command->usage);
        (void) printf("\n\n%s\n", dz_text(command->summary));
        if (command->options && command->options->value) {
            (void) printf("\n%s\n", T_("Options:"));
            put_options(command->options);
        }
        (void) printf("\n");
        (void) printf(T_("Global options: dozo help.  The manual: man dozo-%s"), command->name);
        (void) printf("\n");
        return;
    }
    (void) printf(T_("usage: dozo [GLOBAL OPTIONS] COMMAND ..."));
    (void) printf("\n\n%s\n", T_("A sealed, deduplicating backup vault.  Commands:"));
    for (const struct dz_command *c = dz_commands; c->name; c++) {
        (void) fputs("  ", stdout);
        dz_put_padded(stdout, c->name, NAME_COLUMNS);
        (void) printf(" %s\n", dz_text(c->summary));
    }
    (void) printf("\n%s\n", T_("Global options:"));
    put_options(dz_global_options);
    (void) printf("\n%s\n", T_("A snapshot is named by its id or the beginning of it, latest, "
                               "latest:SOURCE, or SOURCE@TIME."));
    (void) printf("%s\n", T_("Exit codes: 0 done; 1 done, and it found something; 2 wrong usage; "
                             "3 could not; 4 refused (closed)."));
}

void dz_help_version(void) {
    (void) printf("dozo %s\n", DZ_VERSION);
}

const struct dz_command *dz_command_find(const struct dz_cli *cli, const char *name) {
    const char *names[COMMANDS_MAX + 1] = { 0 };
    const char *nearest;
    size_t n = 0;

    for (const struct dz_command *c = dz_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
        if (n < COMMANDS_MAX)
            names[n++] = c->name;
    }
    nearest = dz_cli_nearest(name, names);
    (void) (nearest
                ? dz_cli_usage(cli, T_("there is no command %s; did you mean %s?"), name, nearest)
                : dz_cli_usage(cli, T_("there is no command %s"), name));
    return NULL;
}
