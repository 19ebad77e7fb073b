/* test_smb_refused STATUS ERRNO [--signed] [WHERE] -- what must not be connected to is not: a
 * server without encryption, one that speaks only SMB 1, a wrong password.  Says why. */
#include <stdio.h>
#include <string.h>

#include "intake/smb_share.h"

int main(int argc, char **argv) {
    const char *where_text = getenv("DOZO_SMB_WHERE");
    enum dz_smb_guard guard = DZ_SMB_ENCRYPTED;
    DZ_AUTO(dz_smb) smb = NULL;
    struct dz_smb_where where;
    struct dz_smb_login login;
    dz_err err = { 0 };
    dz_status s;

    if (argc < 3)
        return 2;
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--signed") == 0)
            guard = DZ_SMB_SIGNED;
        else if (strcmp(argv[i], "--wrong-password") != 0)
            where_text = argv[i];
    }
    s = dz_smb_where_read(where_text, &where, &err);
    if (s == DZ_OK)
        s = dz_smb_login_read(getenv("DOZO_SMB_CREDENTIALS"), &login, &err);
    if (s == DZ_OK && strcmp(argv[argc - 1], "--wrong-password") == 0)
        login.password[0]++;
    if (s == DZ_OK)
        s = dz_smb_open(&where, &login, guard, &smb, &err);
    (void) fprintf(stderr, "%s (%s)\n", s == DZ_OK ? "connected" : err.what,
                   strerror(err.sys_errno));
    return strcmp(dz_status_name(s), argv[1]) == 0 &&
                   err.sys_errno == (int) strtol(argv[2], NULL, 10)
               ? 0
               : 1;
}
