/* cli/table.h -- what a command's file shows to the table. */
#pragma once

#include "cli/command.h"

int dz_cmd_init(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_backup(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_snapshots(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_ls(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_cat(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_diff(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_restore(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_rebuild(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_mount(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_export(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_verify(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_status(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_log(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_checkpoint(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_witness(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_policy(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_hold(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_prune(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_enrol(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_open(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_close(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_operator(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_request(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_requests(struct dz_cli *cli, int argc, char **argv);
int dz_cmd_approve(struct dz_cli *cli, int argc, char **argv);

extern const struct dz_option dz_init_options[], dz_backup_options[], dz_snapshots_options[],
    dz_ls_options[], dz_restore_options[], dz_mount_options[], dz_export_options[],
    dz_verify_options[], dz_log_options[], dz_checkpoint_options[], dz_witness_options[],
    dz_policy_options[], dz_hold_options[], dz_prune_options[], dz_enrol_options[],
    dz_operator_options[], dz_request_options[], dz_requests_options[], dz_approve_options[],
    dz_open_options[];
