/* daemon/news.h -- what the log says that the daemon wants to know, and what it writes there.
 *
 *   log ─▶ [news] ─▶ newest snapshots, alarms that stand ─▶ daemon/board.h
 *
 * Snapshots count whoever made them.  Belongs to one thread. */
#pragma once

#include "daemon/board.h"
#include "daemon/message.h"

struct dz_news {
    struct dz_vault *v; /* borrowed */
    uint64_t seen;      /* leaves looked at; 0: look at all */
};

/* Takes in what was appended since, and tells the board of new snapshots.  One that cannot be read
 * counts as none.  DZ_E_CORRUPT (the log), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_news_read(struct dz_news *n, struct dz_board *b, dz_err *err) DZ_MUST_CHECK;

/* Marks the sources whose silence the log has as an alarm already. */
dz_status dz_news_alarmed(struct dz_news *n, struct dz_board *b, dz_err *err) DZ_MUST_CHECK;

/* The detail of the last "source-failed" of this source, in the leaves from `leaf` on; *ret_detail
 * is "" when there is none. */
dz_status dz_news_failure(struct dz_news *n, const char *source, uint64_t leaf,
                          char ret_detail[DZ_BOARD_DETAIL_MAX + 1], dz_err *err) DZ_MUST_CHECK;

/* When each chore was last done, by the log: of the witnesses the one that was met longest ago.
 * INT64_MIN: never, or the log does not tell; INT64_MAX: there is nothing to do. */
dz_status dz_news_chores(struct dz_news *n, int64_t ret_us[DZ_CHORES], dz_err *err) DZ_MUST_CHECK;
