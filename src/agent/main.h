/* agent/main.h -- dozo-agent(8). */
#pragma once

/* Exit codes are those of dozo(1): 0 done; 1 kept, with problems; 2 wrong usage; 3 could not;
 * 4 refused. */
int dz_agent_main(int argc, char **argv);
