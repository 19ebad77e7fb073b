/* core/clock.h -- times as the formats and people have them.  Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* UTC now, microseconds since 1970. */
int64_t dz_now_us(void);
/* Microseconds since some moment, for how long a thing takes: nobody sets this clock. */
int64_t dz_monotonic_us(void);
/* Added to all clocks of this page: how tests let weeks go by.  Set before threads start. */
extern int64_t dz_clock_ahead_us; /* 0 */

/* The clocks of one moment, to tell later whether the wall clock was moved. */
enum { DZ_BOOT_TEXT = 37 };
struct dz_clock_sample {
    char boot[DZ_BOOT_TEXT]; /* of this boot: /proc/sys/kernel/random/boot_id; "" when unknown */
    int64_t up_us;           /* since then, time asleep included (CLOCK_BOOTTIME) */
    int64_t wall_us;         /* as dz_now_us() */
};
void dz_clock_sample(struct dz_clock_sample *ret);

/* "2026-11-22T09:30:00+09:00" in the local zone, and NUL. */
enum { DZ_TIME_TEXT = 40 };
void dz_time_text(int64_t us, char ret_text[DZ_TIME_TEXT]);

/* "2026-11-22T00:30:00Z", whole seconds, and NUL; empty beyond the year 9999. */
enum { DZ_TIME_UTC_TEXT = 24 };
void dz_time_utc_text(int64_t us, char ret_text[DZ_TIME_UTC_TEXT]);

/* Reads ISO 8601: YYYY-MM-DD[THH:MM[:SS[.frac]]][Z|+HH:MM|+HHMM]; without a zone it is local time.
 * False when `text` is anything else. */
bool dz_time_parse(const char *text, int64_t *ret_us);

/* Reads a duration as people write it: "90d", "12h", "30m", "45s", or several with the larger unit
 * first ("1d12h").  False when `text` is anything else, 0, or longer than 1000 years. */
bool dz_duration_parse(const char *text, int64_t *ret_us);
