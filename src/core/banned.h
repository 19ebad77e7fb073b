/* core/banned.h -- functions that dozo does not use; included into every file by the build.
 * Each has a replacement that cannot overrun, or keeps no hidden state. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef sprintf /* under clang, glibc's checks make it a macro */
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets atoi atol atoll
#pragma GCC poison gmtime localtime ctime asctime mktemp tmpnam tempnam system popen
