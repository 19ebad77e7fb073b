#include "cli/open.h"

#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <termios.h>

#include "cli/output.h"
#include "core/durable.h"
#include "crypto/keyfile.h"
#include "custody/holder.h"

#define WARN_US \
    (INT64_C(60) * 60 * 1000000) /* less than this before the vault closes, readers say so */
enum { CACHE_BYTES = 96 << 20 /* opened segments that nobody holds */ };

/* --- the passphrase --------------------------------------------------------------------------- */

static void cut_at_newline(dz_buf *b) {
    const uint8_t *end = b->len ? memchr(b->data, '\n', b->len) : NULL;

    if (end)
        b->len = (size_t) (end - b->data);
    if (b->len > 0 && b->data[b->len - 1] == '\r')
        b->len--;
}

static volatile sig_atomic_t interrupted; /* the signal, or 0 */

static void note_signal(int number) {
    interrupted = number;
}

/* Waits for a line.  Signals end the wait and not yet the process: the terminal gets its echo back
 * first. */
static ssize_t read_silently(int tty, char *line, size_t room, const struct termios *before,
                             const struct termios *silent) {
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    struct sigaction note = { .sa_handler = note_signal }, old[4];
    ssize_t n = -1;

    for (size_t i = 0; i < 4; i++)
        (void) sigaction(numbers[i], &note, &old[i]);
    if (tcsetattr(tty, TCSAFLUSH, silent) == 0)
        n = read(tty, line, room);
    (void) tcsetattr(tty, TCSAFLUSH, before);
    for (size_t i = 0; i < 4; i++)
        (void) sigaction(numbers[i], &old[i], NULL);
    if (interrupted)
        (void) raise(interrupted);
    return n;
}

/* Reads one line without showing it. */
static dz_status ask(int tty, const char *question, dz_buf *to, dz_err *err) {
    struct termios before, silent;
    char line[DZ_KEYFILE_PASSPHRASE_MAX + 2];
    ssize_t n;

    if (tcgetattr(tty, &before) < 0)
        return DZ_FAIL_ERRNO(err, "asking for the passphrase");
    silent = before;
    silent.c_lflag &= ~(tcflag_t) ECHO;
    (void) dprintf(tty, "%s ", question);
    n = read_silently(tty, line, sizeof line, &before, &silent);
    (void) dprintf(tty, "\n");
    if (n > 0)
        dz_buf_put(to, line, (size_t) n);
    sodium_memzero(line, sizeof line);
    if (n < 0)
        return DZ_FAIL_ERRNO(err, "reading the passphrase");
    cut_at_newline(to);
    return DZ_OK;
}

static dz_status ask_terminal(bool new_one, dz_buf *to, dz_err *err) {
    dz_autoclose int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    dz_autobuf_secret dz_buf again = { 0 };

    if (tty < 0)
        return DZ_FAIL(err, DZ_E_CLOSED,
                       "a passphrase is needed and there is no terminal to ask on; "
                       "see --passphrase-file");
    DZ_TRY(ask(tty, new_one ? T_("New passphrase:") : T_("Passphrase:"), to, err));
    if (!new_one)
        return DZ_OK;
    DZ_TRY(ask(tty, T_("The same again:"), &again, err));
    if (!dz_slice_eq(dz_buf_slice(to), dz_buf_slice(&again)))
        return DZ_FAIL(err, DZ_E_USAGE, "the two passphrases differ");
    return DZ_OK;
}

dz_status dz_cli_passphrase(const struct dz_cli *cli, bool new_one, dz_buf *to, dz_err *err) {
    if (cli->passphrase_file) {
        dz_status s = dz_read_file(AT_FDCWD, cli->passphrase_file, 64 * 1024, to, err);
        if (s != DZ_OK)
            return dz_err_context(err, s, "passphrase file %.80s", cli->passphrase_file);
        cut_at_newline(to);
    } else {
        DZ_TRY(ask_terminal(new_one, to, err));
    }
    if (!dz_buf_ok(to))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a passphrase");
    if (to->len == 0)
        return DZ_FAIL(err, DZ_E_USAGE, "the passphrase is empty");
    if (to->len > DZ_KEYFILE_PASSPHRASE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "the passphrase has more than %d bytes",
                       (int) DZ_KEYFILE_PASSPHRASE_MAX);
    return DZ_OK;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* How this vault is opened, in plain words. */
static void say_how_to_open(const struct dz_vault *v) {
    const struct dz_vault_config *c = &v->config;

    if (c->custodians) {
        dz_say_next(T_("This vault is opened by %u of its %u custodians: bring %u share files "
                       "together and give each"),
                    c->threshold, c->custodians, c->threshold);
        dz_say_next(
            T_("with --key, as in: --key A.dozo-share --key B.dozo-share ... (or DOZO_KEYS, "
               "separated by colons)."));
        dz_say_next(T_("A share that exists on paper only: type its groups into a text file, or "
                       "scan its QR code."));
    } else {
        dz_say_next(
            T_("This vault is opened by a key file: give it with --key FILE (or DOZO_KEYS)."));
    }
    dz_say_next(T_("Keys are used for this one command and never stored in the vault."));
    dz_say_next(T_("For several commands, and for days: dozo open"));
}

/* Shares as they come in, in memory that is wiped. */
struct shares {
    dz_share *list;
    const char **files;
    size_t n;
};

static int key_failed(const char *file, const dz_err *err) {
    dz_err named = *err;

    (void) dz_err_context(&named, named.status, "%.90s", file);
    dz_say_error(&named);
    /* A key that does not fit is a refusal, whatever is wrong with it; a file that cannot be read
     * is not. */
    return named.status == DZ_E_MALFORMED || named.status == DZ_E_LIMIT ? (int) DZ_EXIT_REFUSED
                                                                        : dz_exit_of(named.status);
}

static dz_status open_key_file(const struct dz_cli *cli, const struct dz_vault *v, dz_slice file,
                               bool locked, uint8_t *root, dz_err *err) {
    dz_autobuf_secret dz_buf passphrase = { 0 };

    if (locked)
        DZ_TRY(dz_cli_passphrase(cli, false, &passphrase, err));
    return dz_keyfile_read(file, v->host, dz_buf_slice(&passphrase), root, err);
}

/* Reads one --key file.  *ret_done: it was a key file and `root` is filled. */
static int take_key(const struct dz_cli *cli, const struct dz_vault *v, const char *name,
                    struct shares *shares, uint8_t *root, bool *ret_done) {
    dz_autobuf_secret dz_buf file = { 0 };
    dz_err err = { 0 };
    dz_status s = dz_read_file(AT_FDCWD, name, DZ_KEYFILE_MAX, &file, &err);
    enum dz_keyfile_kind kind;

    if (s != DZ_OK)
        return key_failed(name, &err);
    kind = dz_keyfile_kind(dz_buf_slice(&file));
    if (kind == DZ_KEYFILE_RAW || kind == DZ_KEYFILE_PASSPHRASE) {
        s = open_key_file(cli, v, dz_buf_slice(&file), kind == DZ_KEYFILE_PASSPHRASE, root, &err);
        *ret_done = s == DZ_OK;
    } else { /* also what somebody typed from paper, without the first line */
        s = dz_share_read(dz_buf_slice(&file), &shares->list[shares->n], &err);
        if (s == DZ_OK)
            shares->files[shares->n++] = name;
        else if (kind == DZ_KEYFILE_UNKNOWN)
            (void) dz_err_context(&err, s, "neither a key file nor a share");
    }
    return s == DZ_OK ? (int) DZ_EXIT_OK : key_failed(name, &err);
}

static int combine(const struct dz_vault *v, const struct shares *shares, uint8_t *root) {
    const struct dz_vault_config *c = &v->config;
    size_t place;
    dz_err err = { 0 };

    if (dz_share_combine(shares->list, shares->n, v->host, c->custodians ? c->commitments : NULL,
                         c->custodians, root, &place, &err) == DZ_OK)
        return DZ_EXIT_OK;
    if (place > 0) /* counted from 1: people know them by file name */
        return key_failed(shares->files[place - 1], &err);
    dz_say_error(&err);
    if (err.status == DZ_E_CLOSED) {
        for (size_t i = 0; i < shares->n; i++)
            dz_say_next(T_("given: %s (number %u)"), shares->files[i], shares->list[i].x);
        return DZ_EXIT_REFUSED;
    }
    return err.status == DZ_E_MALFORMED ? (int) DZ_EXIT_REFUSED : dz_exit_of(err.status);
}

static void say_how(const struct shares *shares, bool key_file, dz_buf *who) {
    if (key_file)
        dz_buf_printf(who, "key file");
    for (size_t i = 0; !key_file && i < shares->n; i++)
        dz_buf_printf(who, "%s%u", i ? ", " : "shares ", shares->list[i].x);
}

int dz_cli_root(const struct dz_cli *cli, const struct dz_vault *v, uint8_t *root, dz_buf *who) {
    struct shares shares = { .list = sodium_allocarray(DZ_CLI_KEYS_MAX, sizeof(dz_share)),
                             .files = calloc(DZ_CLI_KEYS_MAX, sizeof(char *)) };
    int code = DZ_EXIT_OK;
    bool done = false;

    if (!shares.list || !shares.files) {
        dz_say(T_("out of memory"));
        code = DZ_EXIT_COULD_NOT;
    }
    for (size_t i = 0; i < cli->n_keys && code == DZ_EXIT_OK && !done; i++)
        code = take_key(cli, v, cli->keys[i], &shares, root, &done);
    if (code == DZ_EXIT_OK && !done)
        code = combine(v, &shares, root);
    if (code == DZ_EXIT_OK && who)
        say_how(&shares, done, who);
    sodium_free(shares.list);
    free(shares.files);
    return code;
}

int dz_cli_shares(const struct dz_cli *cli, const struct dz_vault *v, dz_share *list,
                  size_t *ret_n) {
    struct shares shares = { .list = list, .files = calloc(DZ_CLI_KEYS_MAX, sizeof(char *)) };
    uint8_t *root = sodium_malloc(DZ_ROOT_BYTES);
    int code = DZ_EXIT_OK;
    bool whole = false;

    if (!shares.files || !root) {
        dz_say(T_("out of memory"));
        code = DZ_EXIT_COULD_NOT;
    }
    for (size_t i = 0; i < cli->n_keys && code == DZ_EXIT_OK && !whole; i++)
        code = take_key(cli, v, cli->keys[i], &shares, root, &whole);
    if (code == DZ_EXIT_OK && whole)
        code = dz_cli_usage(cli, T_("a key file opens by itself: without --collect"));
    *ret_n = shares.n;
    sodium_free(root);
    free(shares.files);
    return code;
}

static int unlock(const struct dz_cli *cli, struct dz_vault *v) {
    uint8_t *root = sodium_malloc(DZ_ROOT_BYTES);
    dz_err err = { 0 };
    int code;

    if (!root) {
        dz_say(T_("out of memory"));
        return DZ_EXIT_COULD_NOT;
    }
    code = dz_cli_root(cli, v, root, NULL);
    if (code == DZ_EXIT_OK && dz_vault_unlock(v, root, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    sodium_free(root);
    return code;
}

/* --- through the key holder ------------------------------------------------------------------- */

static bool through_holder(const struct dz_cli *cli, struct dz_vault *v) {
    DZ_AUTO(dz_holder) h = NULL;
    dz_holder_state state = { 0 };
    char left[DZ_AGE_TEXT];
    dz_err err = { 0 };
    dz_status s = dz_holder_find(v, &h, &err);

    if (s == DZ_OK)
        s = dz_holder_ask_state(h, &state, &err);
    if (s == DZ_OK && !state.open) {
        dz_say(T_("the vault waits for shares: %u of %u are there"), state.have, state.need);
        return false;
    }
    if (s == DZ_OK)
        s = dz_holder_unlock(v, DZ_TAKE(h), &err);
    if (s != DZ_OK && s != DZ_E_NOT_FOUND)
        dz_say_error(&err);
    if (s == DZ_OK && state.left_us < WARN_US && !cli->quiet) {
        dz_age_text(state.left_us, left);
        dz_say(T_("the vault closes in %s; to go on: dozo open --renew"), left);
    }
    return s == DZ_OK;
}

/* --- the vault -------------------------------------------------------------------------------- */

int dz_cli_open(const struct dz_cli *cli, enum dz_need need, struct dz_vault **ret_vault) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_err log = { 0 };
    int code = dz_cli_open_damaged(cli, need, &v, &log);

    if (code != DZ_EXIT_OK)
        return code;
    if (log.status != DZ_OK) {
        dz_say_error(&log);
        dz_say_next(T_("See what is damaged with: dozo verify"));
        return dz_exit_of(log.status);
    }
    *ret_vault = DZ_TAKE(v);
    return DZ_EXIT_OK;
}

int dz_cli_open_damaged(const struct dz_cli *cli, enum dz_need need, struct dz_vault **ret_vault,
                        dz_err *ret_log) {
    DZ_AUTO(dz_vault) v = NULL;
    dz_err err = { 0 };
    dz_status s, log_status = DZ_OK;

    if (!cli->vault)
        return dz_cli_usage(cli, T_("which vault? Give --vault DIR, or set DOZO_VAULT"));
    s = dz_vault_open_damaged(cli->vault, &v, &log_status, &err);
    if (s != DZ_OK) {
        (void) dz_err_context(&err, s, "vault %.80s", cli->vault);
        dz_say_error(&err);
        if (s == DZ_E_NOT_FOUND)
            dz_say_next(T_("A new vault is made with: dozo init DIR"));
        return dz_exit_of(s);
    }
    if (log_status != DZ_OK)
        *ret_log = err;
    if (need == DZ_NEED_KEY && cli->n_keys == 0 && !through_holder(cli, v)) {
        dz_say(T_("the vault is closed: this needs to read what it holds"));
        say_how_to_open(v);
        return DZ_EXIT_REFUSED;
    }
    if (need != DZ_NEED_CLOSED && cli->n_keys > 0) {
        int code = unlock(cli, v);
        if (code == DZ_EXIT_REFUSED)
            say_how_to_open(v);
        if (code != DZ_EXIT_OK)
            return code;
    }
    *ret_vault = DZ_TAKE(v);
    return DZ_EXIT_OK;
}

int dz_cli_read(const struct dz_cli *cli, const char *snapshot, struct dz_reading *ret_reading) {
    struct dz_reading r = { 0 };
    dz_err err = { 0 };
    int code = dz_cli_open(cli, DZ_NEED_KEY, &r.vault);

    if (code != DZ_EXIT_OK)
        return code;
    if (dz_snapshot_find(r.vault, snapshot, &r.snap, &err) != DZ_OK ||
        dz_fetch_new(r.vault, CACHE_BYTES, &r.fetch, &err) != DZ_OK) {
        dz_reading_close(&r);
        return dz_cli_fail(&err);
    }
    r.source = dz_fetch_source(r.fetch);
    *ret_reading = r;
    return DZ_EXIT_OK;
}

void dz_reading_close(struct dz_reading *r) {
    dz_snapshot_release(&r->snap);
    dz_fetch_free(r->fetch);
    dz_vault_free(r->vault);
    *r = (struct dz_reading){ 0 };
}

int dz_cli_outside(const struct dz_cli *cli, const char *path) {
    if (!cli->vault || !dz_vault_contains(cli->vault, path))
        return DZ_EXIT_OK;
    dz_say(T_("%s lies inside the vault: nothing that can be read may be written there"), path);
    return DZ_EXIT_REFUSED;
}

dz_slice dz_cli_path(const char *typed) {
    dz_slice p = { (const uint8_t *) typed, strlen(typed) };

    while (p.len > 0 && p.data[0] == '/') {
        p.data++;
        p.len--;
    }
    while (p.len > 0 && p.data[p.len - 1] == '/')
        p.len--;
    return p;
}
