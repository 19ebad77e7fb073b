/* hold URL-PATH -- a second client that opens a file of the share and shares it with nobody.  Says
 * "held" and keeps it until its standard input ends.  Share and user: DOZO_SMB_... */
#include <fcntl.h>
#include <libsmbclient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "intake/smb_login.h"

static struct dz_smb_login login;

static void log_in(const char *server, const char *share, char *domain, int domain_n, char *user,
                   int user_n, char *password, int password_n) {
    (void) server;
    (void) share;
    (void) snprintf(domain, (size_t) domain_n, "%s", login.domain);
    (void) snprintf(user, (size_t) user_n, "%s", login.user);
    (void) snprintf(password, (size_t) password_n, "%s", login.password);
}

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int argc, char **argv) {
    SMBCCTX *ctx = smbc_new_context();
    struct dz_smb_where where;
    dz_autobuf dz_buf url = { 0 };
    SMBCFILE *file;
    char c;

    if (argc != 2 || !ctx ||
        dz_smb_login_read(getenv("DOZO_SMB_CREDENTIALS"), &login, NULL) != DZ_OK ||
        dz_smb_where_read(getenv("DOZO_SMB_WHERE"), &where, NULL) != DZ_OK)
        return fail("setting up");
    dz_smb_url(&where, (dz_slice){ (const uint8_t *) argv[1], strlen(argv[1]) }, &url);
    smbc_setFunctionAuthData(ctx, log_in);
    smbc_setOptionOpenShareMode(ctx, SMBC_SHAREMODE_DENY_ALL);
    if (!smbc_setOptionProtocols(ctx, "SMB3_00", "SMB3_11") || !smbc_init_context(ctx))
        return fail("libsmbclient");
    file = smbc_getFunctionOpen(ctx)(ctx, (const char *) url.data, O_RDWR, 0);
    if (!file)
        return fail(argv[1]);
    if (write(STDOUT_FILENO, "held\n", 5) != 5)
        return fail("saying so");
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    (void) smbc_getFunctionClose(ctx)(ctx, file);
    return 0;
}
