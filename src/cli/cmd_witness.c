#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/clock.h"
#include "core/durable.h"
#include "crypto/note.h"
#include "custody/witness.h"

enum { OPT_FILE = DZ_OPT_FIRST, OPT_COMMAND, OPT_PAPER, OPT_QR_TEXT };

const struct dz_option dz_witness_options[] = {
    { OPT_FILE, "file", "PATH", N_("the witness is this file, on a disk or host of its own") },
    { OPT_COMMAND, "command", "CMD",
      N_("the witness is asked by this command; {} in it becomes get or put") },
    { OPT_PAPER, "paper", NULL, N_("the witness is a printed page") },
    { OPT_QR_TEXT, "qr-text", "TEXT",
      N_("what the QR code of the page says: the text, or a file that holds it") },
    { 0 },
};

struct call {
    struct dz_cli *cli;
    const char *verb, *name;
    const char *file, *command, *qr_text;
    bool paper;

    struct dz_vault *v;
    int tmpfd;
    struct dz_ledger *ledger;
    struct dz_witnesses known;
};

/* --- list --------------------------------------------------------------------------------------
 */

static int list(const struct call *c) {
    int64_t now = dz_now_us();

    for (size_t i = 0; i < c->known.n; i++) {
        const dz_witness *w = &c->known.list[i];
        char when[DZ_WHEN_TEXT];

        if (c->cli->json) {
            json_t *j = json_object();
            (void) json_object_set_new(j, "witness", json_string(w->name));
            (void) json_object_set_new(j, "kind", json_string(dz_witness_kind_name(w->kind)));
            if (w->place)
                dz_json_text(j, "place", w->place);
            (void) json_object_set_new(j, "size", dz_json_count(w->size));
            (void) json_object_set_new(j, "time",
                                       w->when_us ? dz_json_time(w->when_us) : json_null());
            dz_json_put(j);
            continue;
        }
        dz_when_text(w->when_us, when);
        dz_put_padded(stdout, w->name, 20);
        (void) printf(" %-8s ", dz_witness_kind_name(w->kind));
        if (w->when_us)
            (void) printf(T_("%llu leaves, %s"), (unsigned long long) w->size, when);
        else
            (void) printf("%s", T_("nothing yet"));
        (void) printf("  %s\n", w->place ? w->place : "");
    }
    if (c->known.n == 0 && !c->cli->json)
        dz_say(T_("no witness yet: dozo witness add NAME --file PATH"));
    return dz_witnesses_fresh(&c->known, now) ? DZ_EXIT_OK : DZ_EXIT_FOUND;
}

/* --- add ---------------------------------------------------------------------------------------
 */

static int failed(const char *name, dz_err *err) {
    (void) dz_err_context(err, err->status, "witness %.64s", name);
    dz_say_error(err);
    if (err->status == DZ_E_CORRUPT) {
        dz_say_next(T_("The log does NOT continue this checkpoint. Keep both: somebody may have "
                       "rewritten the log."));
        return DZ_EXIT_FOUND;
    }
    if (err->status == DZ_E_NOT_FOUND) {
        dz_say_next(T_("The checkpoint that it kept is gone: find out why. To begin anew: dozo "
                       "witness add"));
        return DZ_EXIT_FOUND;
    }
    return dz_exit_of(err->status);
}

static int add(struct call *c) {
    enum dz_witness_kind kind = c->paper     ? DZ_WITNESS_PAPER
                                : c->command ? DZ_WITNESS_COMMAND
                                             : DZ_WITNESS_FILE;
    dz_autofree char *path = NULL;
    const char *place = c->command;
    dz_err err = { 0 };

    if (c->file && c->file[0] != '/') { /* it will be looked for from other directories */
        dz_autofree char *here = get_current_dir_name();
        if (!here || asprintf(&path, "%s/%s", here, c->file) < 0) {
            dz_say(T_("out of memory"));
            return DZ_EXIT_COULD_NOT;
        }
    }
    if (c->file)
        place = path ? path : c->file;
    if (dz_witness_add(c->v, c->tmpfd, c->name, kind, place, &err) != DZ_OK)
        return failed(c->name, &err);
    if (c->paper && !c->cli->quiet)
        dz_say_next(T_("Now print a page: dozo checkpoint --qr FILE, and again every week."));
    return DZ_EXIT_OK;
}

/* --- check -------------------------------------------------------------------------------------
 */

static int check_one(struct call *c, const dz_witness *w, const dz_slice *kept) {
    uint64_t size = 0;
    dz_err err = { 0 };
    dz_status s = dz_witness_check(c->v, c->tmpfd, w, kept, &size, &err);

    if (c->cli->json) {
        json_t *j = json_object();
        (void) json_object_set_new(j, "witness", json_string(w->name));
        (void) json_object_set_new(j, "consistent",
                                   s == DZ_OK          ? json_true()
                                   : s == DZ_E_CORRUPT ? json_false()
                                                       : json_null());
        (void) json_object_set_new(j, "size", s == DZ_OK ? dz_json_count(size) : json_null());
        (void) json_object_set_new(j, "reason", s == DZ_OK ? json_null() : json_string(err.what));
        dz_json_put(j);
    } else if (s == DZ_OK) {
        (void) printf(T_("%s: the log continues what it kept; %llu leaves are witnessed\n"),
                      w->name, (unsigned long long) size);
    }
    return s == DZ_OK ? (int) DZ_EXIT_OK : failed(w->name, &err);
}

/* What a scanner gave: with other line ends, or none at the end. */
static void tidy(dz_buf *text) {
    size_t to = 0;

    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] != '\r')
            text->data[to++] = text->data[i];
    while (to > 0 && (text->data[to - 1] == '\n' || text->data[to - 1] == ' '))
        to--;
    text->len = to;
    dz_buf_put_u8(text, '\n');
}

static int read_paper(const char *text, dz_buf *to) {
    dz_err err = { 0 };
    dz_status s = DZ_OK;

    if (strncmp(text, "dozo.vault/", 11) == 0)
        dz_buf_put(to, text, strlen(text));
    else
        s = dz_read_file(AT_FDCWD, text, DZ_NOTE_MAX, to, &err);
    tidy(to);
    if (s == DZ_OK && !dz_buf_ok(to))
        s = DZ_FAIL(&err, DZ_E_NOMEM, "checkpoint: out of memory");
    return s == DZ_OK ? (int) DZ_EXIT_OK : dz_cli_fail(&err);
}

/* A log that was rolled back may have forgotten its witnesses: the paper speaks all the same. */
static int check_paper(struct call *c) {
    static const dz_witness nobody = { .name = "paper", .kind = DZ_WITNESS_PAPER };
    const dz_witness *w = c->name ? dz_witnesses_find(&c->known, c->name) : NULL;
    dz_autobuf dz_buf text = { 0 };
    dz_slice kept;
    int code = read_paper(c->qr_text, &text);

    if (code != DZ_EXIT_OK)
        return code;
    for (size_t i = 0; !c->name && i < c->known.n; i++)
        if (c->known.list[i].kind == DZ_WITNESS_PAPER)
            w = &c->known.list[i];
    kept = dz_buf_slice(&text);
    code = check_one(c, w ? w : &nobody, &kept);
    if (!w && code == DZ_EXIT_OK)
        dz_say_next(T_("It is not recorded as a witness: dozo witness add NAME --paper"));
    return code;
}

static int unknown(const struct call *c) {
    dz_say(T_("the log knows no witness %s"), c->name);
    dz_say_next(T_("If there was one, the log may have been rolled back. Hold what it kept against "
                   "the log: dozo log --verify CHECKPOINT"));
    return DZ_EXIT_FOUND;
}

static int check(struct call *c) {
    size_t met = 0;
    int worst = DZ_EXIT_OK;

    if (c->qr_text)
        return check_paper(c);
    if (c->name && !dz_witnesses_find(&c->known, c->name))
        return unknown(c);
    for (size_t i = 0; i < c->known.n; i++) {
        const dz_witness *w = &c->known.list[i];
        int code;

        if (c->name ? strcmp(w->name, c->name) != 0 : w->kind == DZ_WITNESS_PAPER)
            continue;
        if (w->kind == DZ_WITNESS_PAPER)
            return dz_cli_usage(c->cli, T_("%s is paper: give --qr-text"), w->name);
        met++;
        code = check_one(c, w, NULL);
        if (code == DZ_EXIT_FOUND || worst == DZ_EXIT_OK)
            worst = code == DZ_EXIT_OK ? worst : code;
    }
    if (met == 0) {
        dz_say(T_("no witness that could be asked"));
        return DZ_EXIT_FOUND;
    }
    return worst;
}

/* --- the call ----------------------------------------------------------------------------------
 */

static int parse(struct call *c, int argc, char **argv) {
    int option;

    while ((option = dz_cli_option(c->cli, argc, argv)) >= 0)
        if (option == OPT_FILE)
            c->file = optarg;
        else if (option == OPT_COMMAND)
            c->command = optarg;
        else if (option == OPT_PAPER)
            c->paper = true;
        else
            c->qr_text = optarg;
    if (option == DZ_CLI_STOP)
        return -1;
    c->verb = optind < argc ? argv[optind++] : "list";
    c->name = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return dz_cli_usage(c->cli, T_("too many arguments, from \"%s\" on"), argv[optind]);
    if (strcmp(c->verb, "add") == 0) {
        if (!c->name || (c->file != NULL) + (c->command != NULL) + c->paper != 1)
            return dz_cli_usage(c->cli, T_("a witness wants a name, and one of --file, --command "
                                           "and --paper"));
    } else if (strcmp(c->verb, "check") != 0 && strcmp(c->verb, "list") != 0) {
        return dz_cli_usage(c->cli, T_("witness takes list, add or check, not \"%s\""), c->verb);
    }
    return DZ_EXIT_OK;
}

static dz_status read_witnesses(struct call *c, dz_err *err) {
    DZ_TRY(dz_ledger_read(c->v, &c->ledger, err));
    return dz_witnesses_read(c->ledger, &c->known, err);
}

/* What appends to the log. */
static int writing(struct call *c) {
    char tmp[DZ_VAULT_TMP_NAME];
    dz_err err = { 0 };
    int code;

    if (dz_vault_tmp_make(c->v, tmp, &c->tmpfd, &err) != DZ_OK)
        return dz_cli_fail(&err);
    code = strcmp(c->verb, "add") == 0 ? add(c) : check(c);
    dz_vault_tmp_drop(c->v, tmp, c->tmpfd);
    return code;
}

int dz_cmd_witness(struct dz_cli *cli, int argc, char **argv) {
    struct call c = { .cli = cli };
    dz_err err = { 0 };
    int code = parse(&c, argc, argv);

    if (code != DZ_EXIT_OK)
        return code < 0 ? cli->stop_code : code;
    code = dz_cli_open(cli, DZ_NEED_CLOSED, &c.v);
    if (code == DZ_EXIT_OK && read_witnesses(&c, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    if (code == DZ_EXIT_OK)
        code = strcmp(c.verb, "list") == 0 ? list(&c) : writing(&c);
    dz_witnesses_release(&c.known);
    dz_ledger_free(c.ledger);
    dz_vault_free(c.v);
    return code;
}
