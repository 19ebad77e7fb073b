/* net/intake_main.h -- dozo-intake(8). */
#pragma once

/* Exit codes are those of dozo(1): 0 done; 2 wrong usage; 3 could not. */
int dz_intake_main(int argc, char **argv);
