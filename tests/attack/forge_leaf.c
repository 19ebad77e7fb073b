/* forge_leaf -- appends any custody leaf, as who has stolen the host's keys can.
 *
 *   forge_leaf VAULT KIND REQUEST|- [TYPE:NAME...] <TEXT
 *
 * KIND and TYPE are numbers, REQUEST and NAME 64 digits, TEXT is JSON. */
#include <stdio.h>

#include "core/durable.h"
#include "core/hex.h"
#include "store/leaf_text.h"

enum { OBJECTS = 32 };

static bool object_of(const char *text, dz_leaf_object *ret) {
    const char *name = strchr(text, ':');

    ret->type = (uint8_t) atoi(text);
    return name && dz_unhex(name + 1, strlen(name + 1), ret->name, sizeof ret->name);
}

int main(int argc, char **argv) {
    dz_leaf_object objects[OBJECTS] = { { .type = DZ_LEAF_OBJ_REQUEST } };
    DZ_AUTO(dz_vault) v = NULL;
    char tmp[DZ_VAULT_TMP_NAME];
    uint8_t text[DZ_LEAF_PLAIN_MAX];
    size_t n_text, n = 0;
    dz_err err = { 0 };
    int tmpfd;

    if (argc < 4 || argc - 3 > OBJECTS)
        return 2;
    n_text = fread(text, 1, sizeof text, stdin);
    if (strcmp(argv[3], "-") != 0 &&
        !dz_unhex(argv[3], strlen(argv[3]), objects[n++].name, sizeof objects[0].name))
        return 2;
    for (int i = 4; i < argc; i++)
        if (!object_of(argv[i], &objects[n++]))
            return 2;
    if (dz_crypto_init(&err) != DZ_OK || dz_vault_open(argv[1], &v, &err) != DZ_OK ||
        dz_vault_tmp_make(v, tmp, &tmpfd, &err) != DZ_OK) {
        (void) fprintf(stderr, "%s\n", err.what);
        return 3;
    }
    if (dz_vault_note(v, tmpfd, (enum dz_leaf_kind) atoi(argv[2]), 0, objects, n,
                      (dz_slice){ text, n_text }, NULL, &err) != DZ_OK)
        (void) fprintf(stderr, "%s\n", err.what);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return err.status == DZ_OK ? 0 : 3;
}
