#include "daemon/notify_socket.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "core/cleanup.h"

int dz_notify_open(void) {
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = name ? strlen(name) : 0;
    dz_autoclose int sock = -1;
    int ret;

    if (n < 2 || n >= sizeof to.sun_path || (name[0] != '/' && name[0] != '@')) {
        (void) unsetenv("NOTIFY_SOCKET");
        return -1;
    }
    memcpy(to.sun_path, name, n);
    if (name[0] == '@') /* abstract: as long as it is, and a NUL in front */
        to.sun_path[0] = '\0';
    (void) unsetenv("NOTIFY_SOCKET");
    sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || connect(sock, (const struct sockaddr *) &to,
                            (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n)) != 0)
        return -1;
    ret = sock;
    sock = -1;
    return ret;
}

void dz_notify(int sock, const char *state) {
    if (sock >= 0)
        (void) send(sock, state, strlen(state), MSG_NOSIGNAL);
}

void dz_notify_reloading(int sock) {
    struct timespec t;
    char state[64];

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    (void) snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                    (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000);
    dz_notify(sock, state);
}
