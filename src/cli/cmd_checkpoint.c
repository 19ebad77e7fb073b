#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/share_files.h"
#include "cli/table.h"
#include "core/hex.h"

enum { OPT_QR = DZ_OPT_FIRST };

const struct dz_option dz_checkpoint_options[] = {
    { OPT_QR, "qr", "FILE",
      N_("write a page (PDF) with it as QR code and text; never over a file") },
    { 0 },
};

static void put_json(const struct dz_vault *v) {
    dz_checkpoint head = dz_tlog_head(v->log);
    dz_slice text = dz_tlog_checkpoint(v->log);
    char root[2 * 32 + 1];
    json_t *j = json_object();

    dz_hex(head.root.b, sizeof head.root.b, root);
    (void) json_object_set_new(j, "size", dz_json_count(head.size));
    (void) json_object_set_new(j, "root", json_string(root));
    dz_json_path(j, "checkpoint", text);
    dz_json_put(j);
}

static int write_page(struct dz_vault *v, const char *file) {
    char fingerprint[DZ_FINGERPRINT_TEXT];
    const char *const arguments[] = { fingerprint, "--checkpoint" };
    dz_autobuf dz_buf pdf = { 0 };
    dz_err err = { 0 };

    dz_keys_fingerprint(v->host, fingerprint);
    if (!dz_cli_page(arguments, dz_tlog_checkpoint(v->log), &pdf)) {
        dz_say(T_("the page cannot be drawn here: this build has no PDF, or a font is missing"));
        dz_say_next(T_("Print the text instead: dozo checkpoint"));
        return DZ_EXIT_COULD_NOT;
    }
    return dz_secret_file_write(AT_FDCWD, file, dz_buf_slice(&pdf), &err) == DZ_OK
               ? (int) DZ_EXIT_OK
               : dz_cli_fail(&err);
}

int dz_cmd_checkpoint(struct dz_cli *cli, int argc, char **argv) {
    DZ_AUTO(dz_vault) v = NULL;
    const char *page = NULL;
    dz_slice text;
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        page = optarg;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (optind < argc)
        return dz_cli_usage(cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &v);
    if (code != DZ_EXIT_OK)
        return code;
    if (page)
        code = write_page(v, page);
    if (code != DZ_EXIT_OK)
        return code;
    text = dz_tlog_checkpoint(v->log);
    if (cli->json)
        put_json(v);
    else if (!page)
        (void) fwrite(text.data, 1, text.len, stdout);
    return DZ_EXIT_OK;
}
