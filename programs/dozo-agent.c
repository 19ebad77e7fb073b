#include "agent/main.h"

int main(int argc, char **argv) {
    return dz_agent_main(argc, argv);
}
