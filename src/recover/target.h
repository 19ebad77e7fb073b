/* recover/target.h -- directories of a tree being restored, and what may be done inside them.
 *
 *   walker ─▶ enter ─▶ [directory, held open] ─▶ workers make files ─▶ last one out sets
 *                                                the directory's own attributes and closes it
 *
 * A directory counts who needs it: its children, the jobs in it, and the walker while it is below
 * it.  One that we make has mode 01700 until it is complete: nobody but us gets at half-made files,
 * and a later run knows an interrupted one by it (docs/design/restore.md).
 *
 * One thread enters directories; any thread may release them. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "core/buf.h"
#include "recover/restore.h"
#include "store/entry.h"

enum { DZ_TARGET_UNFINISHED = 01700 }; /* mode of a directory that is not complete yet */

struct dz_target_dir {
    struct dz_target_dir *parent; /* holds a reference; NULL: the target itself */
    uint32_t depth;
    bool alias;       /* a component that --strip drops: stands for its parent */
    bool made;        /* ours to set attributes on at the end */
    bool leftover;    /* an interrupted restore made it: files that differ may be made anew */
    bool inherits;    /* children get a default ACL that the source did not give them */
    bool ids_known;   /* new files in it get our uid and the group `gid` */
    bool owner_right; /* it belongs to whom it should already */
    bool has_entry;
    gid_t gid;
    dev_t dev; /* to know it again when it is opened anew */
    ino_t ino;
    _Atomic uint32_t refs;
    _Atomic uint32_t busy; /* references of jobs: while there are any, fd stays open */
    int fd;                /* -1: closed to save descriptors; dz_target_dir_fd() opens it */
    dz_entry entry;        /* attributes to set; entry.fields is owned */
    char name[];           /* last component, NUL-terminated */
};

struct dz_target {
    const struct dz_restore_how *how;
    bool root; /* may give files away */
    uid_t uid;
    gid_t gid;
    struct timespec began; /* what changed since then is not from an earlier run */
    mode_t umask;          /* as it was before us */
    int dir_budget;        /* directories to hold open at most */
    _Atomic int dirs_open;
    pthread_mutex_t lock; /* over `counts` and the calls of how->problem and how->progress */
    struct dz_restore_result counts;
    pthread_mutex_t reopen_lock; /* over closing on the way down, and opening again */
    struct dz_target_dir *top;
    struct dz_target_level *stack; /* the walker's way down; [0] is top */
    size_t depth;                  /* levels in use */
    size_t stack_cap;
    size_t evicted; /* levels above this one have been closed where possible */
    dz_buf at;      /* the snapshot's path of the last level */
};

struct dz_target_level {
    struct dz_target_dir *dir;
    size_t end; /* bytes of `at` that name it */
};

/* Opens the target directory, or makes it.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_target_open(struct dz_target *t, const struct dz_restore_how *how,
                         dz_err *err) DZ_MUST_CHECK;
/* Leaves all directories.  No job may be left.  A zeroed target is fine. */
void dz_target_close(struct dz_target *t);

/* Stands in the directory above `path`, leaving and making directories on the way.  Those the
 * snapshot did not name get no attributes.  ret_dir is borrowed from the stack; NULL when it could
 * not be made, which has then been named.  DZ_E_NOMEM. */
dz_status dz_target_stand(struct dz_target *t, dz_slice path, struct dz_target_dir **ret_dir,
                          dz_err *err) DZ_MUST_CHECK;

/* Enters the directory `e`, that has a stand in `parent`.  *ret_entered is false when it could not
 * be made, which has then been named.  DZ_E_NOMEM. */
dz_status dz_target_enter(struct dz_target *t, const dz_entry *e, bool *ret_entered,
                          dz_err *err) DZ_MUST_CHECK;

/* For jobs: keeps the directory, open, until the release. */
void dz_target_dir_hold(struct dz_target_dir *d);
void dz_target_dir_release(struct dz_target *t, struct dz_target_dir *d);

/* Its descriptor, borrowed as long as the caller holds it.  -1 with errno. */
int dz_target_dir_fd(struct dz_target *t, struct dz_target_dir *d);

/* The directory at this path below the target, opened anew; -1 with errno. */
int dz_target_open_path(struct dz_target *t, dz_slice path);

/* Appends the path below the target (`below`), or the snapshot's. */
void dz_target_dir_path(const struct dz_target_dir *d, bool below, dz_buf *to);

/* Names a problem with `name` in `d` (NULL: with d itself) and counts it. */
void dz_target_problem(struct dz_target *t, enum dz_restore_problem kind,
                       const struct dz_target_dir *d, const char *name, const char *what,
                       int sys_errno);
/* The same where the path is at hand. */
void dz_target_problem_at(struct dz_target *t, enum dz_restore_problem kind, dz_slice path,
                          const char *what, int sys_errno);

/* What attributes are set on: a file or directory by descriptor, anything else through a path
 * descriptor (O_PATH), which most calls want spelled /proc/self/fd/N. */
struct dz_target_thing {
    int fd;
    bool path_only;
    bool owner_right;  /* owner and group are what they should be already */
    bool mode_right;   /* so is the mode */
    bool acl_inherits; /* got an ACL from a directory that was there before */
};

/* Sets owner, xattrs, mode, times, in this order: giving away drops capabilities and setuid, and
 * the time comes last because a file with its recorded time counts as complete.  What cannot be
 * set is named for (d, name). */
void dz_target_set(struct dz_target *t, const struct dz_target_thing *thing, const dz_entry *e,
                   const struct dz_target_dir *d, const char *name);
