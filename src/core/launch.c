#include "core/launch.h"

#include <libgen.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Each step gives an errno, or 0. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int in, int out,
                   bool group) {
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigset_t none, usual;
    int e;

    if (group)
        flags |= POSIX_SPAWN_SETPGROUP;
    (void) sigemptyset(&none);
    (void) sigemptyset(&usual);
    (void) sigaddset(&usual, SIGPIPE);
    if ((e = posix_spawn_file_actions_adddup2(actions, in, STDIN_FILENO)) == 0 &&
        (e = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO)) == 0 &&
        (e = posix_spawnattr_setsigmask(attr, &none)) == 0 &&
        (e = posix_spawnattr_setsigdefault(attr, &usual)) == 0)
        e = posix_spawnattr_setflags(attr, flags);
    return e;
}

int dz_launch(const char *const argv[], int in, int out, bool group, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char *const *args;
    int e = posix_spawn_file_actions_init(&actions);

    if (e != 0)
        return e;
    e = posix_spawnattr_init(&attr);
    if (e != 0) {
        (void) posix_spawn_file_actions_destroy(&actions);
        return e;
    }
    memcpy(&args, &argv, sizeof args); /* POSIX promises not to change them */
    e = prepare(&actions, &attr, in, out, group);
    if (e == 0)
        e = posix_spawnp(ret_pid, argv[0], &actions, &attr, args, environ);
    (void) posix_spawnattr_destroy(&attr);
    (void) posix_spawn_file_actions_destroy(&actions);
    return e;
}

bool dz_program_find(const char *name, const char *installed, char ret_path[PATH_MAX]) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n > 0) {
        self[n] = '\0';
        if (snprintf(ret_path, PATH_MAX, "%s/%s", dirname(self), name) < PATH_MAX &&
            access(ret_path, X_OK) == 0)
            return true;
    }
    (void) snprintf(ret_path, PATH_MAX, "%s/%s", installed, name);
    return access(ret_path, X_OK) == 0;
}
