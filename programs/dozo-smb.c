/* dozo-smb -- reads a Windows share for `dozo backup --smb`.
 *
 * A program of its own, so that libsmbclient and what a server says to it meet no key and no part
 * of a vault: src/intake/smb_source.h.  Its standard input is a socket to dozo, its standard output
 * a pipe for why it failed; nobody else starts it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "intake/smb_source.h"

int main(void) {
    int report = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct stat st;

    if (fstat(STDIN_FILENO, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        (void) fprintf(stderr, "usage: dozo backup --smb //SERVER/SHARE\n");
        return 2;
    }
    (void) umask(077);
    /* libsmbclient writes to both what servers say */
    if (report < 0 || null < 0 || chdir("/") < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0)
        return 3;
    return dz_smb_source_run(STDIN_FILENO, report, NULL) == DZ_OK ? 0 : 3;
}
