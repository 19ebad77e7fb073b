#include "custody/holder_sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "core/sandbox.h"

dz_status dz_holder_give_away(const char *vault, const char *socket, dz_err *err) {
    static const char *const read[] = { "/etc/localtime", NULL };
    char place[PATH_MAX];
    const char *const kept[] = { vault, place, NULL };
    char *slash;

    if (getenv("DOZO_NO_SANDBOX"))
        return DZ_OK;
    (void) snprintf(place, sizeof place, "%s", socket);
    slash = strrchr(place, '/');
    if (slash)
        *slash = '\0';
    openlog("dozo-keyholder", LOG_NDELAY, LOG_AUTHPRIV); /* while it can be found */
    DZ_TRY(dz_sandbox_begin(0, err));
    DZ_TRY(dz_sandbox_outlive(err));
    DZ_TRY(dz_sandbox_powers(err));
    DZ_TRY(dz_sandbox_files_keep(read, kept, err));
    return dz_sandbox_calls(DZ_SANDBOX_OPEN | DZ_SANDBOX_KEEP | DZ_SANDBOX_SERVE, err);
}
