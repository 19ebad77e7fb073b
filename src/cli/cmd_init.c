#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/share_files.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/hex.h"
#include "core/os.h"
#include "crypto/keyfile.h"
#include "custody/operators.h"

enum {
    OPT_CUSTODIANS = DZ_OPT_FIRST,
    OPT_THRESHOLD,
    OPT_SHARES_DIR,
    OPT_KEY_FILE,
    OPT_PASSPHRASE,
    OPT_OPERATORS,
    OPT_APPROVALS,
    OPT_HOST_KEY,
};

const struct dz_option dz_init_options[] = {
    { OPT_CUSTODIANS, "custodians", "N", N_("split the private half among N custodians ...") },
    { OPT_THRESHOLD, "threshold", "K", N_("... any K of whom open the vault") },
    { OPT_SHARES_DIR, "shares-dir", "D", N_("where the shares are written, to be handed out") },
    { OPT_KEY_FILE, "key-file", "F", N_("or: write the private half to this file") },
    { OPT_PASSPHRASE, "passphrase", NULL, N_("protect the key file with a passphrase") },
    { OPT_OPERATORS, "operators", "FILE", N_("who may approve: a name and a public key a line") },
    { OPT_APPROVALS, "approvals", "K", N_("how many of them must sign") },
    { OPT_HOST_KEY, "host-key", "FILE", N_("keep the host's keys here instead of in the vault") },
    { 0 },
};

struct init {
    const struct dz_cli *cli;
    const char *dir, *shares_dir, *key_file, *operators_file, *host_key;
    uint64_t custodians, threshold, approvals;
    bool passphrase;

    struct dz_operators operators;
    dz_vault_id id;
    uint8_t *root;    /* sodium_malloc */
    dz_share *shares; /* sodium_malloc; NULL for a key file */
    char fingerprint[DZ_FINGERPRINT_TEXT];
    unsigned pages;
    bool secret_written;
};

/* --- what is asked for ------------------------------------------------------------------------ */

static int parse(struct init *in, struct dz_cli *cli, int argc, char **argv) {
    int option;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0) {
        bool ok = true;
        switch (option) {
        case OPT_CUSTODIANS:
            ok = dz_cli_number(cli, "--custodians", optarg, 2, DZ_SHARES_MAX, &in->custodians);
            break;
        case OPT_THRESHOLD:
            ok = dz_cli_number(cli, "--threshold", optarg, 2, DZ_SHARES_MAX, &in->threshold);
            break;
        case OPT_APPROVALS:
            ok = dz_cli_number(cli, "--approvals", optarg, 1, DZ_OPERATORS_MAX, &in->approvals);
            break;
        case OPT_SHARES_DIR:
            in->shares_dir = optarg;
            break;
        case OPT_KEY_FILE:
            in->key_file = optarg;
            break;
        case OPT_PASSPHRASE:
            in->passphrase = true;
            break;
        case OPT_OPERATORS:
            in->operators_file = optarg;
            break;
        default:
            in->host_key = optarg;
            break;
        }
        if (!ok)
            return DZ_EXIT_USAGE;
    }
    if (option == DZ_CLI_STOP)
        return -1;
    if (argc - optind != 1)
        return dz_cli_usage(cli, T_("init takes one directory"));
    in->dir = argv[optind];
    return DZ_EXIT_OK;
}

static int check_way(const struct init *in, const struct dz_cli *cli) {
    bool shares = in->custodians || in->threshold || in->shares_dir;

    if (shares && in->key_file)
        return dz_cli_usage(cli, T_("shares or a key file, not both: a key file beside the shares "
                                    "would open what the custodians guard"));
    if (!shares && !in->key_file)
        return dz_cli_usage(cli, T_("how shall the vault be opened one day? Give --custodians N "
                                    "--threshold K --shares-dir D, or --key-file F"));
    if (shares && (!in->custodians || !in->threshold || !in->shares_dir))
        return dz_cli_usage(cli, T_("--custodians, --threshold and --shares-dir belong together"));
    if (in->threshold > in->custodians)
        return dz_cli_usage(cli, T_("%u of %u custodians can never come together"),
                            (unsigned) in->threshold, (unsigned) in->custodians);
    if (in->passphrase && !in->key_file)
        return dz_cli_usage(cli, T_("--passphrase goes with --key-file"));
    if (!in->operators_file != !in->approvals)
        return dz_cli_usage(cli, T_("--operators and --approvals belong together"));
    return DZ_EXIT_OK;
}

static int check_places(const struct init *in) {
    const char *secret = in->shares_dir ? in->shares_dir : in->key_file;
    struct dirent *e;
    bool empty = true;
    DIR *d;

    if (!in->dir || !secret)
        return DZ_EXIT_USAGE;
    if (dz_vault_contains(in->dir, secret)) {
        dz_say(T_("%s lies inside the vault: whoever steals the vault would have its key"), secret);
        dz_say_next(T_("Choose a place that is not on this machine's disks, such as a USB stick."));
        return DZ_EXIT_REFUSED;
    }
    d = opendir(in->dir);
    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, "lost+found") != 0)
            empty = false;
    if (d)
        (void) closedir(d);
    if (!empty) {
        dz_say(T_("%s is not empty: a new vault wants an empty directory"), in->dir);
        return DZ_EXIT_COULD_NOT;
    }
    return DZ_EXIT_OK;
}

/* --- the private half ------------------------------------------------------------------------- */

static dz_status write_key_file(struct init *in, const struct dz_host_keys *host, dz_err *err) {
    dz_autobuf_secret dz_buf passphrase = { 0 }, file = { 0 };
    dz_autofree char *copy = strdup(in->key_file);
    dz_autoclose int dirfd = -1;

    if (!copy)
        return DZ_FAIL(err, DZ_E_NOMEM, "key file: out of memory");
    if (in->passphrase || in->cli->passphrase_file)
        DZ_TRY(dz_cli_passphrase(in->cli, true, &passphrase, err));
    DZ_TRY(dz_keyfile_write(in->root, host, dz_buf_slice(&passphrase), &file, err));
    DZ_TRY(dz_secret_file_write(AT_FDCWD, in->key_file, dz_buf_slice(&file), err));
    in->secret_written = true;
    dirfd = dz_os->openat(AT_FDCWD, dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dirfd < 0 || dz_os->fsync(dirfd) < 0)
        return DZ_FAIL_ERRNO(err, "syncing the key file's directory");
    return DZ_OK;
}

static dz_status write_shares(struct init *in, const struct dz_host_keys *host, dz_err *err) {
    unsigned n = (unsigned) in->custodians;

    in->shares = sodium_allocarray(n, sizeof *in->shares);
    if (!in->shares)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory for %u shares", n);
    DZ_TRY(dz_share_split(in->root, host, n, (unsigned) in->threshold, in->shares, err));
    DZ_TRY(dz_share_files_write(in->shares_dir, in->shares, n, in->fingerprint, &in->pages, err));
    in->secret_written = true;
    return DZ_OK;
}

/* The secret first, and durably: a vault that nobody can open must never exist. */
static dz_status create(struct init *in, dz_err *err) {
    DZ_AUTO(dz_host_keys) host = NULL;
    struct dz_vault_new how = { .path = in->dir,
                                .host_key = in->host_key,
                                .custodians = (unsigned) in->custodians,
                                .threshold = (unsigned) in->threshold,
                                .operators = in->operators.lines,
                                .n_operators = in->operators.n,
                                .approvals = (unsigned) in->approvals,
                                .now_us = dz_now_us() };

    dz_random(in->root, DZ_ROOT_BYTES);
    dz_random(in->id.b, sizeof in->id.b);
    DZ_TRY(dz_keys_derive(in->root, &in->id, 1, &host, NULL, err));
    dz_keys_fingerprint(host, in->fingerprint);
    DZ_TRY(in->key_file ? write_key_file(in, host, err) : write_shares(in, host, err));
    return dz_vault_create(&how, in->root, &in->id, in->shares, err);
}

/* --- what is said ----------------------------------------------------------------------------- */

static void put_json(const struct init *in) {
    char id[2 * DZ_VAULT_ID_BYTES + 1], name[DZ_SHARE_FILE_NAME];
    json_t *j = json_object(), *shares = json_array(), *pages = json_array();

    dz_hex(in->id.b, sizeof in->id.b, id);
    (void) json_object_set_new(j, "vault", json_string(id));
    (void) json_object_set_new(j, "fingerprint", json_string(in->fingerprint));
    (void) json_object_set_new(j, "custodians", dz_json_count(in->custodians));
    (void) json_object_set_new(j, "threshold", dz_json_count(in->threshold));
    for (unsigned i = 0; i < in->custodians; i++) {
        dz_share_file_name(&in->shares[i], "dozo-share", name);
        (void) json_array_append_new(shares, json_string(name));
        dz_share_file_name(&in->shares[i], "pdf", name);
        if (in->pages == in->custodians)
            (void) json_array_append_new(pages, json_string(name));
    }
    (void) json_object_set_new(j, "shares", shares);
    (void) json_object_set_new(j, "pages", pages);
    if (in->key_file)
        dz_json_text(j, "key_file", in->key_file);
    else
        (void) json_object_set_new(j, "key_file", json_null());
    (void) json_object_set_new(j, "operators", dz_json_count(in->operators.n));
    (void) json_object_set_new(j, "approvals", dz_json_count(in->approvals));
    dz_json_put(j);
}

static void put_text(const struct init *in) {
    (void) printf(T_("vault made in %s\n"), in->dir);
    (void) printf(T_("fingerprint: %s\n"), in->fingerprint);
    (void) printf("%s\n", T_("  Write the fingerprint down, away from this machine: dozo status "
                             "shows it, and it must never change."));
    if (in->key_file) {
        (void) printf(T_("key file: %s\n"), in->key_file);
        (void) printf("%s\n", T_("  It is the only thing that opens this vault, and there is no "
                                 "other copy. Keep it, and a copy, away from this machine."));
        return;
    }
    (void) printf(T_("shares: %u in %s, any %u of which open the vault\n"),
                  (unsigned) in->custodians, in->shares_dir, (unsigned) in->threshold);
    (void) printf("%s\n", T_("  1. Hand each custodian their own file or printed page, and nobody "
                             "another's."));
    (void) printf("%s\n", T_("  2. Try them once: dozo ls latest with enough --key FILE, after the "
                             "first backup."));
    (void) printf("%s\n", T_("  3. Then delete this directory. Too many lost shares are a lost "
                             "vault: nobody can help then."));
}

/* A failure half-way: what is left, and that it is worth nothing. */
static void say_what_is_left(const struct init *in) {
    if (!in->secret_written) {
        dz_say_next(T_("Nothing was made."));
        return;
    }
    dz_say_next(T_("There is no vault. What is left in %s can be deleted;"), in->dir);
    dz_say_next(T_("so can what was written to %s: it opens nothing. Then start again."),
                in->shares_dir ? in->shares_dir : in->key_file);
}

static int init(struct init *in) {
    dz_err err = { 0 };
    dz_status s = DZ_OK;

    if (in->operators_file) {
        s = dz_operators_read(in->operators_file, &in->operators, &err);
        if (s != DZ_OK)
            return dz_cli_fail(&err);
        if (in->approvals > in->operators.n)
            return dz_cli_usage(in->cli,
                                T_("%u approvals of %zu operators can never come together"),
                                (unsigned) in->approvals, in->operators.n);
    }
    in->root = sodium_malloc(DZ_ROOT_BYTES);
    s = in->root ? create(in, &err) : DZ_FAIL(&err, DZ_E_NOMEM, "no guarded memory for a key");
    if (s != DZ_OK) {
        dz_say_error(&err);
        say_what_is_left(in);
        return dz_exit_of(s);
    }
    if (in->pages < in->custodians)
        dz_say(
            T_("note: no pages to print were made (this build has no PDF, or a font is missing); "
               "the share files hold the same text"));
    if (in->cli->json)
        put_json(in);
    else
        put_text(in);
    return DZ_EXIT_OK;
}

int dz_cmd_init(struct dz_cli *cli, int argc, char **argv) {
    struct init in = { .cli = cli };
    int code = parse(&in, cli, argc, argv);

    if (code < 0)
        return cli->stop_code;
    if (code == DZ_EXIT_OK)
        code = check_way(&in, cli);
    if (code == DZ_EXIT_OK)
        code = check_places(&in);
    if (code == DZ_EXIT_OK)
        code = init(&in);
    dz_operators_release(&in.operators);
    sodium_free(in.shares);
    sodium_free(in.root);
    return code;
}
