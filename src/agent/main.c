#include "agent/main.h"

#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "core/standard_files.h"
#include "core/text.h"

enum { EXIT_OK = 0, EXIT_FOUND = 1, EXIT_USAGE = 2, EXIT_COULD_NOT = 3, EXIT_REFUSED = 4 };
enum { TOKEN_FILE_MAX = 256, TRIES = 8, TRIES_MAX = 1000 };

struct call {
    const char *verb, *state, *server, *fingerprint, *token_file;
    const char **excludes;
    size_t n_excludes;
    bool one_file_system, reread, json, quiet, help, version;
    uint64_t rate;
    unsigned tries;
    char *const *paths;
    size_t n_paths;
};

static void say(const char *what) {
    (void) fprintf(stderr, "dozo-agent: %s\n", what);
}

static void say_error(const dz_err *err) {
    (void) fprintf(stderr, "dozo-agent: %s%s%s\n", err->what, err->sys_errno ? ": " : "",
                   err->sys_errno ? strerror(err->sys_errno) : "");
}

static int fail(const dz_err *err) {
    say_error(err);
    if (err->status == DZ_E_USAGE)
        return EXIT_USAGE;
    return err->status == DZ_E_POLICY || err->status == DZ_E_CLOSED || err->status == DZ_E_EXISTS
               ? EXIT_REFUSED
               : EXIT_COULD_NOT;
}

/* --- enrol ------------------------------------------------------------------------------------ */

static dz_status read_token(const char *file, uint8_t ret[DZ_WIRE_TOKEN], dz_err *err) {
    dz_autobuf_secret dz_buf text = { 0 };
    size_t len;

    DZ_TRY(dz_read_file(AT_FDCWD, file, TOKEN_FILE_MAX, &text, err));
    len = text.len;
    while (len > 0 &&
           (text.data[len - 1] == '\n' || text.data[len - 1] == '\r' || text.data[len - 1] == ' '))
        len--;
    return dz_unhex((const char *) text.data, len, ret, DZ_WIRE_TOKEN)
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_USAGE, "%.100s holds no token: %d hexadecimal digits", file,
                         2 * DZ_WIRE_TOKEN);
}

static int enrol(const struct call *c) {
    uint8_t fingerprint[DZ_CA_FINGERPRINT], token[DZ_WIRE_TOKEN];
    struct dz_agent_state state = { 0 };
    dz_err err = { 0 };
    dz_status s;

    if (!c->fingerprint ||
        !dz_unhex(c->fingerprint, strlen(c->fingerprint), fingerprint, sizeof fingerprint)) {
        say(T_("a fingerprint has 64 hexadecimal digits, as dozo enrol printed them"));
        return EXIT_USAGE;
    }
    s = read_token(c->token_file, token, &err);
    if (s == DZ_OK)
        s = dz_agent_state_open(c->state, &state, &err);
    if (s == DZ_OK)
        s = dz_agent_enrol(&state, c->server, fingerprint, token, &err);
    explicit_bzero(token, sizeof token);
    if (s == DZ_OK && !c->quiet)
        (void) printf(T_("enrolled as %s\n"), state.source);
    dz_agent_state_close(&state);
    return s == DZ_OK ? EXIT_OK : fail(&err);
}

/* --- backup ----------------------------------------------------------------------------------- */

static const char *reason(uint16_t code) {
    switch (code) {
    case DZ_WIRE_NO_VERSION:
        return T_("the vault speaks another version; update one of the two");
    case DZ_WIRE_NOT_ALLOWED:
        return T_("the vault does not take what this machine sends: revoked, or enrolled anew "
                  "elsewhere");
    case DZ_WIRE_LIMIT:
        return T_("this is more than one run may bring");
    case DZ_WIRE_QUOTA:
        return T_("this is more than the source may bring in a day; what came is kept");
    case DZ_WIRE_BUSY:
        return T_("another run of this source goes on");
    case DZ_WIRE_FAILED:
        return T_("the vault could not keep it; its own log says why");
    case DZ_WIRE_TOO_SLOW:
        return T_("it took too long; what came is kept");
    default:
        return T_("the vault and this agent do not understand each other");
    }
}

static void put_refused(const struct dz_wire_refused *r) {
    say(reason(r->code));
    if (r->after_s > 0)
        (void) fprintf(stderr, T_("  Try again in %u s.\n"), (unsigned) r->after_s);
}

static void again(void *ctx, const dz_err *why, unsigned seconds) {
    const struct call *c = ctx;

    if (c->quiet)
        return;
    say_error(why);
    (void) fprintf(stderr, T_("  trying again in %u s\n"), seconds);
}

static void put_done(const struct call *c, const char *source, const struct dz_push_end *end) {
    const struct dz_wire_done *d = &end->done;
    char id[2 * DZ_SNAPSHOT_ID_BYTES + 1], when[DZ_TIME_TEXT];
    json_t *j;

    dz_hex(d->snapshot, sizeof d->snapshot, id);
    dz_time_text(d->arrived_us, when);
    if (!c->json) {
        if (!c->quiet)
            (void) printf(T_("snapshot %s of %s stands: %llu entries, %llu bytes, %llu new\n"), id,
                          source, (unsigned long long) d->entries, (unsigned long long) d->bytes,
                          (unsigned long long) d->sent);
        return;
    }
    j = json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:b}", "snapshot", id, "source", source, "arrived",
                  when, "entries", (json_int_t) d->entries, "bytes", (json_int_t) d->bytes,
                  "new_bytes", (json_int_t) d->sent, "problems", (json_int_t) end->problems,
                  "again", end->again);
    if (j)
        (void) json_dumpf(j, stdout, JSON_COMPACT);
    (void) putchar('\n');
    json_decref(j);
}

static int backup(struct call *c) {
    struct dz_agent_backup how = { .server = c->server,
                                   .rate = c->rate,
                                   .scan = { .paths = (const char *const *) c->paths,
                                             .n_paths = c->n_paths,
                                             .excludes = c->excludes,
                                             .n_excludes = c->n_excludes,
                                             .one_file_system = c->one_file_system },
                                   .reread = c->reread,
                                   .tries = c->tries,
                                   .again = again,
                                   .ctx = c };
    struct dz_agent_state state = { 0 };
    struct dz_push_end end = { 0 };
    dz_err err = { 0 };
    struct stat st;
    dz_status s = dz_agent_state_open(c->state, &state, &err);

    if (s == DZ_OK && fstat(state.dirfd, &st) == 0) { /* what changes as we send is left out */
        how.scan.skip_dev = st.st_dev;
        how.scan.skip_ino = st.st_ino;
    }
    if (s == DZ_OK)
        s = dz_agent_backup(&state, &how, &end, &err);
    if (s == DZ_OK)
        put_done(c, state.source, &end);
    else if (end.refused.code)
        put_refused(&end.refused);
    dz_agent_state_close(&state);
    if (s == DZ_OK && end.problems > 0 && !c->quiet)
        (void) fprintf(stderr,
                       T_("dozo-agent: %llu could not be read as they are; the vault knows "
                          "which\n"),
                       (unsigned long long) end.problems);
    if (s != DZ_OK)
        return end.refused.code ? EXIT_REFUSED : fail(&err);
    return end.problems > 0 ? EXIT_FOUND : EXIT_OK;
}

/* --- the call --------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "state", required_argument, NULL, 'S' },
    { "server", required_argument, NULL, 's' },
    { "ca-fingerprint", required_argument, NULL, 'f' },
    { "token-file", required_argument, NULL, 't' },
    { "limit-rate", required_argument, NULL, 'r' },
    { "exclude", required_argument, NULL, 'x' },
    { "one-file-system", no_argument, NULL, 'o' },
    { "reread", no_argument, NULL, 'R' },
    { "tries", required_argument, NULL, 'T' },
    { "json", no_argument, NULL, 'j' },
    { "quiet", no_argument, NULL, 'q' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    { 0 },
};

static int usage(FILE *to, int code) {
    (void) fprintf(
        to, "%s\n",
        T_("usage: dozo-agent enrol --server HOST:PORT --ca-fingerprint HEX --token-file FILE\n"
           "       dozo-agent backup --server HOST:PORT PATH...\n"
           "\n"
           "Sends trees of this machine to a Dozo vault.\n"
           "\n"
           "  --server HOST:PORT    where dozo-intake listens\n"
           "  --state DIR           what the agent keeps (/var/lib/dozo-agent)\n"
           "  --quiet               say nothing but errors\n"
           "enrol, with what \"dozo enrol\" printed on the vault's host:\n"
           "  --ca-fingerprint HEX  of the vault's authority\n"
           "  --token-file FILE     holds the token\n"
           "backup:\n"
           "  --limit-rate BYTES    a second; KiB, MiB and GiB may follow the number\n"
           "  --exclude GLOB        leave out what matches; may be given several times\n"
           "  --one-file-system     do not enter other file systems\n"
           "  --reread              read every file, changed or not\n"
           "  --tries N             in a row without success (8)\n"
           "  --json                say what was kept as JSON\n"
           "  --help, --version\n"
           "\n"
           "The manual: man dozo-agent"));
    return code;
}

static bool number(const char *text, uint64_t max, uint64_t *ret) {
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = { { "", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 } };
    char *end = NULL;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || errno)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && n <= max >> units[i].shift) {
            *ret = (uint64_t) n << units[i].shift;
            return true;
        }
    return false;
}

/* False: wrong usage. */
static bool take_option(struct call *c, int option) {
    uint64_t n = 0;

    switch (option) {
    case 'S':
        c->state = optarg;
        return true;
    case 's':
        c->server = optarg;
        return true;
    case 'f':
        c->fingerprint = optarg;
        return true;
    case 't':
        c->token_file = optarg;
        return true;
    case 'r':
        return number(optarg, UINT64_C(1) << 40, &c->rate);
    case 'x':
        c->excludes[c->n_excludes++] = optarg;
        return true;
    case 'o':
        return c->one_file_system = true;
    case 'R':
        return c->reread = true;
    case 'T':
        if (!number(optarg, TRIES_MAX, &n))
            return false;
        c->tries = (unsigned) n;
        return true;
    case 'j':
        return c->json = true;
    case 'q':
        return c->quiet = true;
    case 'h':
        return c->help = true;
    case 'v':
        return c->version = true;
    default:
        return false;
    }
}

static bool parse(struct call *c, int argc, char **argv) {
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if (!take_option(c, option))
            return false;
    if (c->help || c->version)
        return true;
    c->verb = optind < argc ? argv[optind++] : "";
    c->paths = argv + optind;
    c->n_paths = (size_t) (argc - optind);
    if (strcmp(c->verb, "enrol") == 0)
        return c->server && c->fingerprint && c->token_file && c->n_paths == 0 && c->rate == 0 &&
               c->n_excludes == 0;
    return strcmp(c->verb, "backup") == 0 && c->server && c->n_paths > 0 && !c->fingerprint &&
           !c->token_file;
}

static int run(struct call *c) {
    dz_err err = { 0 };

    (void) umask(077);
    (void) signal(SIGPIPE, SIG_IGN);
    if (dz_crypto_init(&err) != DZ_OK)
        return fail(&err);
    return strcmp(c->verb, "enrol") == 0 ? enrol(c) : backup(c);
}

int dz_agent_main(int argc, char **argv) {
    dz_autofree const char **excludes = calloc((size_t) argc + 1, sizeof *excludes);
    const char *state = getenv("STATE_DIRECTORY"); /* systemd.exec(5) */
    struct call c = { .state = state && *state ? state : "/var/lib/dozo-agent",
                      .excludes = excludes,
                      .tries = TRIES };

    if (!excludes || !dz_standard_files_open())
        return EXIT_COULD_NOT;
    (void) dz_text_init(NULL);
    if (!parse(&c, argc, argv))
        return usage(stderr, EXIT_USAGE);
    if (c.help)
        return usage(stdout, EXIT_OK);
    if (c.version) {
        (void) printf("dozo-agent %s\n", DZ_VERSION);
        return EXIT_OK;
    }
    return run(&c);
}
