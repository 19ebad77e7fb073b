#include "cli/table.h"

const struct dz_command dz_commands[] = {
    { "init", N_("make a new vault"),
      "init DIR (--custodians N --threshold K --shares-dir D | --key-file F [--passphrase])",
      dz_init_options, dz_cmd_init, .changes = true },
    { "backup", N_("keep one snapshot of local trees"), "backup --source NAME PATH...",
      dz_backup_options, dz_cmd_backup, .changes = true },
    { "snapshots", N_("list the snapshots"), "snapshots [--source NAME]", dz_snapshots_options,
      dz_cmd_snapshots },
    { "ls", N_("list the files of a snapshot"), "ls SNAP [PATH] [-l] [-R]", dz_ls_options,
      dz_cmd_ls },
    { "cat", N_("write one file of a snapshot to standard output"), "cat SNAP PATH", NULL,
      dz_cmd_cat },
    { 0 },
};
