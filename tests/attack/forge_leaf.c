/* forge_leaf -- appends any custody leaf, as who has stolen the host's keys can.
 *
 *   forge_leaf VAULT KIND REQUEST|- <TEXT    KIND: a number; REQUEST: 64 digits; TEXT: JSON */
#include <stdio.h>

#include "core/durable.h"
#include "core/hex.h"
#include "store/leaf_text.h"

int main(int argc, char **argv) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
    DZ_AUTO(dz_vault) v = NULL;
    char tmp[DZ_VAULT_TMP_NAME];
    uint8_t text[DZ_LEAF_PLAIN_MAX];
    dz_err err = { 0 };
    int kind, tmpfd;
    bool named;
    size_t n;

    if (argc != 4)
        return 2;
    kind = atoi(argv[2]);
    named = strcmp(argv[3], "-") != 0;
    n = fread(text, 1, sizeof text, stdin);
    if (named && !dz_unhex(argv[3], strlen(argv[3]), object.name, sizeof object.name))
        return 2;
    if (dz_crypto_init(&err) != DZ_OK || dz_vault_open(argv[1], &v, &err) != DZ_OK ||
        dz_vault_tmp_make(v, tmp, &tmpfd, &err) != DZ_OK) {
        (void) fprintf(stderr, "%s\n", err.what);
        return 3;
    }
    if (dz_vault_note(v, tmpfd, (enum dz_leaf_kind) kind, 0, &object, named, (dz_slice){ text, n },
                      NULL, &err) != DZ_OK)
        (void) fprintf(stderr, "%s\n", err.what);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return err.status == DZ_OK ? 0 : 3;
}
