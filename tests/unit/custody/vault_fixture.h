/* tests/unit/custody/vault_fixture.h -- a vault of its own for each test, with operators or none.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/durable.h"
#include "store/vault.h"
#include "tests/ssh_fixture.h"

struct custody_vault {
    char dir[64], path[80];
    struct dz_vault *v;
    char tmp_name[DZ_VAULT_TMP_NAME];
    int tmpfd;
};

static int64_t custody_made_us = 1; /* when vaults are made */

static int custody_no_sync(int fd) {
    (void) fd;
    return 0;
}

/* `n` operators from the seeds 1 to n, called op1, op2 ...; any k of them approve. */
static inline void custody_open(struct custody_vault *c, uint8_t id, unsigned n, unsigned k) {
    const uint8_t root[DZ_ROOT_BYTES] = { 'c', 'u', 's', 't', id };
    const dz_vault_id vault = { { 'v', id } };
    static struct dz_os os;
    struct dz_vault_new how = { .approvals = k, .n_operators = n, .now_us = custody_made_us };
    char *lines[DZ_OPERATORS_MAX];
    dz_err err = { 0 };

    os = dz_os_real;
    os.fsync = custody_no_sync;
    dz_os = &os;
    assert_int_equal(dz_crypto_init(NULL), DZ_OK);
    (void) snprintf(c->dir, sizeof c->dir, "%s/dozo-custody-XXXXXX",
                    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(c->dir));
    (void) snprintf(c->path, sizeof c->path, "%s/vault", c->dir);
    for (unsigned i = 0; i < n; i++)
        lines[i] = ssh_operator_line(i + 1);
    how.path = c->path;
    how.operators = lines;
    if (dz_vault_create(&how, root, &vault, NULL, &err) != DZ_OK ||
        dz_vault_open(c->path, &c->v, &err) != DZ_OK ||
        dz_vault_tmp_make(c->v, c->tmp_name, &c->tmpfd, &err) != DZ_OK)
        fail_msg("%s", err.what);
    for (unsigned i = 0; i < n; i++)
        free(lines[i]);
}

static inline void custody_close(struct custody_vault *c) {
    char command[160];

    dz_vault_tmp_drop(c->v, c->tmp_name, c->tmpfd);
    dz_vault_free(c->v);
    (void) snprintf(command, sizeof command, "%s", c->dir);
    {
        pid_t child = fork();

        if (child == 0) {
            (void) execlp("rm", "rm", "-rf", command, NULL);
            _exit(127);
        }
        (void) waitpid(child, NULL, 0);
    }
}
