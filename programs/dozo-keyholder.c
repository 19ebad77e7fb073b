/* dozo-keyholder VAULT -- keeps the key of a vault that `dozo open` opened.
 *
 * A program of its own, so that the key lies in a process that parses no content, serves no user
 * interface and does little else: src/custody/holder_serve.h.  Its standard input is a socket to
 * `dozo open`; nobody else starts it. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keys.h"
#include "custody/holder_serve.h"

int main(int argc, char **argv) {
    dz_err err = { 0 };

    if (argc != 2) {
        (void) fprintf(stderr, "usage: dozo open\n");
        return 2;
    }
    (void) umask(077);
    if (chdir("/") < 0 || dz_crypto_init(&err) != DZ_OK ||
        dz_holder_serve(argv[1], STDIN_FILENO, &err) != DZ_OK) {
        (void) fprintf(stderr, "dozo-keyholder: %s\n", err.what);
        return 3;
    }
    return 0;
}
