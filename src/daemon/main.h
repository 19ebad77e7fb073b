/* daemon/main.h -- dozod(8). */
#pragma once

/* Exit codes are those of dozo(1): 0 done; 2 wrong usage, or a wrong configuration; 3 could not;
 * 4 refused. */
int dz_daemon_main(int argc, char **argv);
