#include "net/intake_main.h"

int main(int argc, char **argv) {
    return dz_intake_main(argc, argv);
}
