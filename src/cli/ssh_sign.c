#include "cli/ssh_sign.h"

#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "crypto/sshsig.h"

extern char **environ;

/* In our own process group, unlike core/run.h: it may ask on the terminal. */
static dz_status run(const char *const argv[], int in, int out, dz_err *err) {
    posix_spawn_file_actions_t actions;
    char *const *args;
    int e = posix_spawn_file_actions_init(&actions), state = 0;
    pid_t child = -1;

    memcpy(&args, &argv, sizeof args); /* POSIX promises not to change them */
    if (e == 0) {
        if ((e = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO)) == 0 &&
            (e = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO)) == 0)
            e = posix_spawnp(&child, argv[0], &actions, NULL, args, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
    }
    errno = e;
    if (e != 0)
        return e == ENOENT
                   ? DZ_FAIL(err, DZ_E_UNSUPPORTED, "there is no ssh-keygen here; sign elsewhere")
                   : DZ_FAIL_ERRNO(err, "starting ssh-keygen");
    while (waitpid(child, &state, 0) < 0)
        if (errno != EINTR)
            return DZ_FAIL_ERRNO(err, "waiting for ssh-keygen");
    return WIFEXITED(state) && WEXITSTATUS(state) == 0
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_IO, "ssh-keygen did not sign");
}

static dz_status collect(int fd, dz_buf *to, dz_err *err) {
    uint8_t part[DZ_SSHSIG_ARMOR_MAX + 1];
    ssize_t n = pread(fd, part, sizeof part, 0);

    if (n < 0)
        return DZ_FAIL_ERRNO(err, "reading the signature");
    if ((size_t) n == sizeof part)
        return DZ_FAIL(err, DZ_E_LIMIT, "a signature of more than %d bytes",
                       (int) DZ_SSHSIG_ARMOR_MAX);
    dz_buf_put(to, part, (size_t) n);
    return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "signature: out of memory");
}

dz_status dz_ssh_sign(const char *key, const char *name_space, dz_slice text, dz_buf *ret_armor,
                      dz_err *err) {
    const char *const argv[] = { "ssh-keygen", "-Y", "sign", "-n", name_space, "-f", key, NULL };
    dz_autoclose int in = memfd_create("dozo-to-sign", MFD_CLOEXEC),
                     out = memfd_create("dozo-signature", MFD_CLOEXEC);

    if (in < 0 || out < 0 || dz_write_all(in, text) < 0 || lseek(in, 0, SEEK_SET) < 0)
        return DZ_FAIL_ERRNO(err, "handing the text to ssh-keygen");
    DZ_TRY(run(argv, in, out, err));
    return collect(out, ret_armor, err);
}
