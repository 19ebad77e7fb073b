#include "net/listen.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/cleanup.h"

enum { BACKLOG = 128, HOST_MAX = 256 };

/* "HOST:PORT" or "[HOST]:PORT", taken apart. */
static dz_status look_up(const char *where, int flags, struct addrinfo **ret, dz_err *err) {
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
    const char *colon = strrchr(where, ':'), *from = where, *to = colon;
    char host[HOST_MAX];
    int e;

    if (colon && where[0] == '[' && colon > where + 1 && colon[-1] == ']') {
        from++;
        to--;
    }
    if (!colon || to == from || (size_t) (to - from) >= sizeof host || colon[1] == '\0' ||
        (from == where && memchr(from, ':', (size_t) (to - from))))
        return DZ_FAIL(err, DZ_E_USAGE, "%.100s is not of the form HOST:PORT or [HOST]:PORT",
                       where);
    memcpy(host, from, (size_t) (to - from));
    host[to - from] = '\0';
    e = getaddrinfo(host, colon + 1, &hints, ret);
    if (e != 0)
        return DZ_FAIL(err, DZ_E_IO, "%.100s: %s", where, gai_strerror(e));
    return DZ_OK;
}

dz_status dz_listen_at(const char *where, int *ret_fd, dz_err *err) {
    struct addrinfo *list = NULL;
    dz_autoclose int fd = -1;
    const int yes = 1, no = 0;

    DZ_TRY(look_up(where, AI_PASSIVE | AI_NUMERICSERV, &list, err));
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && list->ai_family == AF_INET6) /* "[::]" is everybody */
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        DZ_IGNORE(DZ_FAIL_ERRNO(err, "listening at %.100s", where));
        freeaddrinfo(list);
        return DZ_E_IO;
    }
    freeaddrinfo(list);
    *ret_fd = fd;
    fd = -1;
    return DZ_OK;
}

static int connect_one(const struct addrinfo *a, int timeout_ms) {
    dz_autoclose int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int e = 0, keep;
    socklen_t len = sizeof e;

    if (fd < 0 || (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS))
        return -1;
    if (poll(&p, 1, timeout_ms) != 1)
        e = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        e = errno;
    if (e) {
        errno = e;
        return -1;
    }
    keep = fd;
    fd = -1;
    return keep;
}

dz_status dz_connect_to(const char *where, int timeout_ms, int *ret_fd, dz_err *err) {
    struct addrinfo *list = NULL;
    int fd = -1, e;

    DZ_TRY(look_up(where, AI_ADDRCONFIG, &list, err));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_one(a, timeout_ms);
    e = errno;
    freeaddrinfo(list);
    errno = e;
    if (fd < 0)
        return DZ_FAIL_ERRNO(err, "connecting to %.100s", where);
    dz_keep_alive(fd);
    *ret_fd = fd;
    return DZ_OK;
}

void dz_place_text(const struct sockaddr_storage *place, char ret_text[DZ_PLACE_TEXT]) {
    char host[DZ_PLACE_TEXT - 10], port[8];
    bool six = place->ss_family == AF_INET6;

    if (getnameinfo((const struct sockaddr *) place, sizeof *place, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void) snprintf(ret_text, DZ_PLACE_TEXT, "?");
    else
        (void) snprintf(ret_text, DZ_PLACE_TEXT, six ? "[%s]:%s" : "%s:%s", host, port);
}

struct dz_place_key dz_place_key(const struct sockaddr_storage *place) {
    struct dz_place_key key = { { 0 } };
    struct sockaddr_in6 six;
    struct sockaddr_in four;

    if (place->ss_family == AF_INET) {
        memcpy(&four, place, sizeof four);
        memcpy(key.b + 12, &four.sin_addr, 4);
        return key;
    }
    memcpy(&six, place, sizeof six);
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
        memcpy(key.b + 12, six.sin6_addr.s6_addr + 12, 4);
    else
        memcpy(key.b, six.sin6_addr.s6_addr, 8);
    return key;
}

void dz_keep_alive(int fd) {
    static const struct {
        int level, name, value;
    } rows[] = {
        { SOL_SOCKET, SO_KEEPALIVE, 1 },    { IPPROTO_TCP, TCP_KEEPIDLE, 60 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 15 }, { IPPROTO_TCP, TCP_KEEPCNT, 4 },
        { IPPROTO_TCP, TCP_NODELAY, 1 }, /* answers are small, and somebody waits for them */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) /* without it, it is noticed later */
        (void) setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof rows[i].value);
}
