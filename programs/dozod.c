#include "daemon/main.h"

int main(int argc, char **argv) {
    return dz_daemon_main(argc, argv);
}
