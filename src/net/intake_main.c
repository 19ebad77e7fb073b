#include "net/intake_main.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/standard_files.h"
#include "core/text.h"
#include "net/door.h"
#include "net/gate.h"
#include "net/keep.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_COULD_NOT = 3 };

struct call {
    struct dz_door_how door;
    bool help, version;
};

/* --- what the door starts: not for people ----------------------------------------------------- */

static int part(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--gate") == 0)
        return dz_gate_run(STDIN_FILENO, STDOUT_FILENO);
    (void) umask(077);
    (void) mallopt(M_MMAP_THRESHOLD, 64 << 20); /* as in cli/main.c */
    (void) mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (argc == 3 && strcmp(argv[1], "--enrol") == 0)
        return dz_keep_enrol(argv[2], STDIN_FILENO);
    if (argc == 5 && strcmp(argv[1], "--keep") == 0)
        return dz_keep_run(argv[2], STDIN_FILENO, argv[3], argv[4]);
    return -1;
}

/* --- the call --------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "vault", required_argument, NULL, 'V' },       { "listen", required_argument, NULL, 'l' },
    { "connections", required_argument, NULL, 'c' }, { "runs", required_argument, NULL, 'r' },
    { "no-sandbox", no_argument, NULL, 's' },        { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },           { 0 },
};

static int usage(FILE *to, int code) {
    (void) fprintf(to, "%s\n",
                   T_("usage: dozo-intake --vault DIR --listen HOST:PORT\n"
                      "\n"
                      "Takes in what agents send to a Dozo vault.\n"
                      "\n"
                      "  --vault DIR         the vault; or DOZO_VAULT\n"
                      "  --listen HOST:PORT  where; \"[::]:PORT\" for all addresses\n"
                      "  --connections N     at a time (250)\n"
                      "  --runs N            of these that bring something (8)\n"
                      "  --no-sandbox        for development: where the kernel has no Landlock\n"
                      "  --help, --version\n"
                      "\n"
                      "The manual: man dozo-intake"));
    return code;
}

static bool number(const char *text, unsigned max, unsigned *ret) {
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '1' || text[0] > '9' || *end || n > max)
        return false;
    *ret = (unsigned) n;
    return true;
}

static bool parse(struct call *c, int argc, char **argv) {
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if (option == 'V')
            c->door.vault = optarg;
        else if (option == 'l')
            c->door.listen = optarg;
        else if (option == 's')
            c->door.sandbox = false;
        else if (option == 'h')
            c->help = true;
        else if (option == 'v')
            c->version = true;
        else if (option == '?' || !number(optarg, DZ_DOOR_CONNECTIONS_MAX,
                                          option == 'c' ? &c->door.connections : &c->door.runs))
            return false;
    return optind == argc && (c->help || c->version || (c->door.vault && c->door.listen));
}

int dz_intake_main(int argc, char **argv) {
    struct call c = { .door = { .vault = getenv("DOZO_VAULT"),
                                .connections = DZ_DOOR_CONNECTIONS,
                                .runs = DZ_DOOR_RUNS,
                                .sandbox = !getenv(DZ_WITHOUT_SANDBOX) } };
    dz_err err = { 0 };
    int code;

    if (!dz_standard_files_open())
        return EXIT_COULD_NOT;
    (void) dz_text_init(NULL);
    code = part(argc, argv);
    if (code >= 0)
        return code;
    if (!parse(&c, argc, argv))
        return usage(stderr, EXIT_USAGE);
    if (c.help)
        return usage(stdout, EXIT_OK);
    if (c.version) {
        (void) printf("dozo-intake %s\n", DZ_VERSION);
        return EXIT_OK;
    }
    if (dz_crypto_init(&err) != DZ_OK) {
        (void) fprintf(stderr, "dozo-intake: %s\n", err.what);
        return EXIT_COULD_NOT;
    }
    if (!c.door.sandbox && setenv(DZ_WITHOUT_SANDBOX, "1", 1) < 0) /* for the keepers */
        return EXIT_COULD_NOT;
    return dz_door_run(&c.door);
}
