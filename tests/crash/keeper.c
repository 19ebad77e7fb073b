/* Keeps a tree again and again, for test_kill: changes it a little, makes a snapshot, tells its id
 * on standard output once dz_backup_run() has returned, and so on until it is killed.
 *
 * usage: keeper VAULT SOURCE SEED */
#include <stdio.h>

#include "core/hex.h"
#include "core/os.h"
#include "tests/crash/world.h"

static int no_sync(int fd) { /* a killed process loses nothing that the kernel has */
    (void) fd;
    return 0;
}

int main(int argc, char **argv) {
    struct dz_os os = dz_os_real;
    uint64_t random;

    MUST(argc == 4);
    random = strtoull(argv[3], NULL, 10);
    MUST(dz_crypto_init(NULL) == DZ_OK);
    os.fsync = no_sync;
    dz_os = &os;
    for (;;) {
        struct dz_vault *v = NULL;
        struct dz_commit c;
        char id[2 * DZ_SNAPSHOT_ID_BYTES + 2];
        dz_err err = { 0 };

        if (world_open(argv[1], &v, &err) != DZ_OK ||
            world_backup(v, "tree", argv[2], 2, &c, &err) != DZ_OK) {
            fprintf(stderr, "%s\n", err.what);
            return 1;
        }
        dz_vault_free(v);
        dz_hex(c.id, sizeof c.id, id);
        dz_commit_release(&c);
        id[2 * DZ_SNAPSHOT_ID_BYTES] = '\n';
        MUST(write(1, id, sizeof id - 1) == (ssize_t) sizeof id - 1);
        world_change(argv[2], &random);
    }
}
