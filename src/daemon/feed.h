/* daemon/feed.h -- a feed: a source as dozod.yaml describes it, whose data, of which kind, when.
 *
 *   - name: files          keys of every source
 *     kind: tree           ─▶ chooses a row of the table of kinds,
 *     paths: [/srv]           and with it the keys of that kind
 *
 * A new kind is a value of the enum, its fields below, and a row in feed.c with its keys and
 * what must hold between them.  Belongs to one thread. */
#pragma once

#include "daemon/keys.h"
#include "daemon/schedule.h"

enum dz_feed_kind {
    DZ_FEED_TREE,    /* local directories */
    DZ_FEED_SHARE,   /* of a Windows server */
    DZ_FEED_COMMAND, /* what a program writes, as one file */
    DZ_FEED_KINDS
};

struct dz_feed {
    int line; /* of the file */
    char *name;
    enum dz_feed_kind kind;
    /* when */
    char *cron;           /* the line; NULL: an interval */
    dz_schedule schedule; /* with its shift */
    int64_t jitter_us, late_after_us, run_time_us;
    /* around it: lines of the shell, or NULL */
    char *pre, *post;
    /* DZ_FEED_TREE */
    dz_texts paths, excludes;
    bool one_file_system;
    /* DZ_FEED_SHARE; and excludes */
    char *share, *credentials; /* a path */
    bool no_encryption;
    /* DZ_FEED_COMMAND */
    char *file;
    dz_texts argv;
};

/* What a source has unless it says otherwise. */
struct dz_feed_defaults {
    int64_t jitter_us, late_after_us, run_time_us;
    bool zone; /* a time zone is named: cron lines mean something */
};

/* "tree", "share", "command". */
const char *dz_feed_kind_name(enum dz_feed_kind kind);

/* Reads one.  *ret_feed must be zeroed and is released by the caller, also when it fails.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_feed_read(const struct dz_yaml *y, const yaml_node_t *map,
                       const struct dz_feed_defaults *defaults, struct dz_feed *ret_feed,
                       dz_err *err) DZ_MUST_CHECK;
void dz_feed_release(struct dz_feed *s);

/* Durations that several places of the file have: keys of their own with the same limits. */
#define DZ_HOUR_US (INT64_C(3600) * 1000000)
#define DZ_DAY_US (24 * DZ_HOUR_US)
#define DZ_KEY_JITTER(type)                                            \
    {                                                                  \
        "jitter", dz_key_duration, offsetof(type, jitter_us),          \
            "0, or a duration up to 1d, such as 10m", .max = DZ_DAY_US \
    }
#define DZ_KEY_LATE_AFTER(type)                                                              \
    {                                                                                        \
        "late-after", dz_key_duration, offsetof(type, late_after_us),                        \
            "a duration from 1s to 366d, such as 4h", .min = 1000000, .max = 366 * DZ_DAY_US \
    }
#define DZ_KEY_RUN_TIME(type)                                                               \
    {                                                                                       \
        "run-time", dz_key_duration, offsetof(type, run_time_us),                           \
            "a duration from 1s to 30d, such as 12h", .min = 1000000, .max = 30 * DZ_DAY_US \
    }
