/* Runs another program's command in a scratch directory: what we write, others must read. */
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIP = 77, TOOL_MISSING = 127 };

extern char **environ;

/* The exit status; TOOL_MISSING when there is no such command.  Its output goes to `out`, a file.
 */
static inline int tool_run(char *const argv[], const char *out) {
    posix_spawn_file_actions_t files;
    pid_t child = -1;
    int how = 0, rc;

    if (posix_spawn_file_actions_init(&files) != 0)
        return -1;
    rc = posix_spawn_file_actions_addopen(&files, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawnp(&child, argv[0], &files, NULL, argv, environ);
    (void) posix_spawn_file_actions_destroy(&files);
    if (rc != 0)
        return rc == ENOENT ? TOOL_MISSING : -1;
    if (waitpid(child, &how, 0) != child || !WIFEXITED(how))
        return -1;
    return WEXITSTATUS(how);
}

static inline bool tool_there(const char *name) {
    char command[64], *argv[] = { command, (char[]){ "--version" }, NULL };

    (void) snprintf(command, sizeof command, "%s", name);
    return tool_run(argv, "/dev/null") != TOOL_MISSING;
}
