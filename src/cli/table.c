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
    { "diff", N_("say what differs between two snapshots"), "diff A B", NULL, dz_cmd_diff },
    { "restore", N_("write files of a snapshot back to disk"), "restore SNAP [PATH...] --to DIR",
      dz_restore_options, dz_cmd_restore, .changes = true },
    { "rebuild", N_("make the index again from the packs"), "rebuild", NULL, dz_cmd_rebuild,
      .changes = true },
    { "log", N_("show the transparency log, check a checkpoint"),
      "log [--since N] [--verify CHECKPOINT]", dz_log_options, dz_cmd_log },
    { 0 },
};
