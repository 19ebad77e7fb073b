/* daemon/notify_socket.h -- tells the service manager how it stands: sd_notify(3), its protocol.
 *
 *   "READY=1" ─▶ datagram ─▶ the socket that NOTIFY_SOCKET names
 *
 * Not libsystemd: it is one datagram, and a daemon that loads less holds less.  Without a manager
 * nothing is told.  Belongs to one thread. */
#pragma once

#include "core/error.h"

/* Opens what NOTIFY_SOCKET names and takes it out of the environment, so that no program that is
 * started can speak for us.  -1: there is no manager, or it cannot be reached.  The caller closes
 * it. */
int dz_notify_open(void);

/* Tells it `state`: "READY=1", "STOPPING=1", "WATCHDOG=1", lines of several.  A manager that does
 * not listen changes nothing for us. */
void dz_notify(int sock, const char *state);
/* Before a configuration is read again; READY=1 comes after it. */
void dz_notify_reloading(int sock);
