/* daemon/job.h -- the programs that the daemon starts: a backup of a source, a check, a notice.
 *
 *   starter ─▶ dozod --role=job ─▶ dozo backup ... ─▶ its pre, post, command      one process group
 *
 * What stands in between is small and sees to it that nothing of the group outlives the starter,
 * however that died: a second daemon would start what still runs.  Belongs to one thread. */
#pragma once

#include "daemon/config.h"
#include "daemon/message.h"

/* Arguments: the array is the caller's to free, what it points to is borrowed. */
typedef struct dz_job_argv {
    const char **list; /* NULL ends it */
    size_t n, room;
    bool bad; /* out of memory */
    char parent[16], grace[16];
} dz_job_argv;
void dz_job_argv_release(dz_job_argv *a);

/* dozo backup, as the feed wants it.  `dozo`: the program's path.  Borrowed: config and dozo.
 * DZ_E_NOMEM. */
dz_status dz_job_backup(const struct dz_config *config, const struct dz_feed *feed,
                        const char *dozo, dz_job_argv *ret_argv, dz_err *err) DZ_MUST_CHECK;
/* dozo, with the words of a chore. */
dz_status dz_job_chore(const struct dz_config *config, enum dz_chore chore, const char *dozo,
                       dz_job_argv *ret_argv, dz_err *err) DZ_MUST_CHECK;
/* The program that tells people. */
dz_status dz_job_tell(const struct dz_config *config, dz_job_argv *ret_argv,
                      dz_err *err) DZ_MUST_CHECK;

/* Puts the facts of a TELL into the environment (DOZO_EVENT and so on, dozod(8)), for a program
 * that is started next; and takes them out. */
void dz_job_facts_set(const struct dz_config *config, const dz_message *tell);
void dz_job_facts_unset(void);

/* What dozod --role=job does: its parent's number, the grace in seconds, the program, its
 * arguments. Gives the program's exit status, or dies of its signal. */
int dz_job_exec(int argc, char **argv);
