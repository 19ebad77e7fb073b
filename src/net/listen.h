/* net/listen.h -- addresses as people write them, and sockets for them.  Thread-safe. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "core/error.h"

/* A socket that listens at "HOST:PORT" or "[HOST]:PORT".  The caller closes *ret_fd, which does not
 * block.  DZ_E_USAGE (no such thing), DZ_E_IO. */
dz_status dz_listen_at(const char *where, int *ret_fd, dz_err *err) DZ_MUST_CHECK;
/* A connection to such a place, made within `timeout_ms`; does not block.  As above; DZ_E_IO. */
dz_status dz_connect_to(const char *where, int timeout_ms, int *ret_fd, dz_err *err) DZ_MUST_CHECK;

/* Who is at the other end, or where this end is: "192.0.2.7:5000". */
enum { DZ_PLACE_TEXT = 64 };
void dz_place_text(const struct sockaddr_storage *place, char ret_text[DZ_PLACE_TEXT]);
/* Equal for addresses that one machine may choose from: IPv4, or the first 64 bits of IPv6. */
struct dz_place_key {
    uint8_t b[16];
};
struct dz_place_key dz_place_key(const struct sockaddr_storage *place);

/* The other end must be there: a machine that lost its power is noticed within two minutes. */
void dz_keep_alive(int fd);
