/* cli/help.h -- what `dozo help` prints. */
#pragma once

#include "cli/command.h"

extern const struct dz_option dz_global_options[];

/* Help for one command, or with NULL for the whole program; on stdout. */
void dz_help(const struct dz_command *command);
void dz_help_version(void);

/* The row of this name; NULL: there is none, and that was said. */
const struct dz_command *dz_command_find(const struct dz_cli *cli, const char *name);
