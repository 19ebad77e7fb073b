#include "daemon/schedule.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "core/zone.h"

enum { HORIZON_DAYS = 9 * 366 /* from a leap day to the next, at most */, DAY_MINUTES = 1440 };
static const uint32_t every_hour = 0xffffff;
static const int64_t minute_us = INT64_C(60) * 1000000;

/* --- reading a line --------------------------------------------------------------------------- */

struct field {
    const char *name;
    unsigned from, to;
    const char *allowed;
    const char *words; /* three letters each; the first stands for `from` */
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };
static const struct field fields[FIELDS] = {
    [MINUTE] = { "minute", 0, 59, "0-59", "" },
    [HOUR] = { "hour", 0, 23, "0-23", "" },
    [DAY] = { "day of the month", 1, 31, "1-31", "" },
    [MONTH] = { "month", 1, 12, "1-12, jan-dec", "janfebmaraprmayjunjulaugsepoctnovdec" },
    [WEEKDAY] = { "day of the week", 0, 7, "0-7, sun-sat", "sunmontuewedthufrisat" },
};

/* A number or a word of this field; NULL: neither. */
static const char *take_value(const char *p, const struct field *f, unsigned *ret) {
    unsigned n = 0;

    if (isdigit((unsigned char) *p)) {
        for (; isdigit((unsigned char) *p) && n < 1000; p++)
            n = 10 * n + (unsigned) (*p - '0');
        *ret = n;
        return n >= f->from && n <= f->to ? p : NULL;
    }
    for (n = 0; f->words[3 * n]; n++)
        if (strncasecmp(p, f->words + 3 * n, 3) == 0) {
            *ret = f->from + n;
            return p + 3;
        }
    return NULL;
}

/* One of the parts between commas, up to `,` or the end; NULL: not understood. */
static const char *take_part(const char *p, const struct field *f, uint64_t *mask) {
    unsigned from = f->from, to = f->to, step = 1;
    bool range = true;

    if (*p == '*') {
        p++;
    } else {
        p = take_value(p, f, &from);
        if (!p)
            return NULL;
        to = from;
        range = *p == '-';
        if (range)
            p = take_value(p + 1, f, &to);
        if (!p || to < from)
            return NULL;
    }
    if (*p == '/') {
        for (p++, step = 0; isdigit((unsigned char) *p) && step < 1000; p++)
            step = 10 * step + (unsigned) (*p - '0');
        if (step == 0 || step > f->to || !range)
            return NULL;
    }
    for (unsigned n = from; n <= to; n += step)
        *mask |= UINT64_C(1) << n;
    return *p == ',' || *p == '\0' ? p : NULL;
}

static dz_status read_field(const char *text, const struct field *f, uint64_t *ret_mask,
                            dz_err *err) {
    uint64_t mask = 0;
    const char *p = text;

    for (;;) {
        p = take_part(p, f, &mask);
        if (!p)
            return DZ_FAIL(err, DZ_E_USAGE,
                           "%s \"%.20s\" is not understood; allowed: %s, *, ranges a-b, steps */n "
                           "and a-b/n, lists a,b",
                           f->name, text, f->allowed);
        if (*p == '\0')
            break;
        p++;
    }
    *ret_mask = mask;
    return DZ_OK;
}

/* Some month has that day: what no year ever has is a slip, not a schedule. */
static bool some_date(const dz_schedule *s) {
    static const unsigned char longest[] = { 0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    unsigned first = 1;

    if (!s->any_weekday && !s->any_day)
        return true; /* the day of the week is enough */
    while (!(s->days >> first & 1))
        first++;
    for (unsigned month = 1; month <= 12; month++)
        if (s->months >> month & 1 && first <= longest[month])
            return true;
    return false;
}

dz_status dz_schedule_cron(const char *line, dz_schedule *ret_schedule, dz_err *err) {
    static const char blanks[] = " \t";
    dz_autofree char *copy = strdup(line);
    uint64_t masks[FIELDS] = { 0 };
    bool stars[FIELDS] = { 0 };
    dz_schedule s = { 0 };
    char *rest = copy;
    unsigned n = 0;

    if (!copy)
        return DZ_FAIL(err, DZ_E_NOMEM, "cron line: out of memory");
    for (char *word; (word = strsep(&rest, blanks)) != NULL;) {
        if (*word == '\0')
            continue;
        if (n < FIELDS) {
            stars[n] = *word == '*';
            DZ_TRY(read_field(word, &fields[n], &masks[n], err));
        }
        n++;
    }
    if (n != FIELDS)
        return DZ_FAIL(err, DZ_E_USAGE,
                       "%u fields; allowed: five, minute hour day-of-month month day-of-week, as "
                       "in \"30 2 * * *\"",
                       n);
    s.minutes = masks[MINUTE];
    s.hours = (uint32_t) masks[HOUR];
    s.days = (uint32_t) masks[DAY];
    s.months = (uint32_t) masks[MONTH];
    s.weekdays = (uint32_t) ((masks[WEEKDAY] | masks[WEEKDAY] >> 7) & 0x7f); /* 7 is Sunday, too */
    s.any_day = stars[DAY];
    s.any_weekday = stars[WEEKDAY];
    if (!some_date(&s))
        return DZ_FAIL(err, DZ_E_USAGE, "no month of these has such a day of the month");
    *ret_schedule = s;
    return DZ_OK;
}

/* --- the next time ----------------------------------------------------------------------------
 *
 * Moments are counted in whole minutes UTC, wall clocks in minutes of their own since 1970-01-01
 * 00:00 on them; the zone's offset leads from one to the other.  The search walks along the
 * moments, an hour at a time where the hour does not match and a day where the date does not, but
 * minute by minute across a change of the offset. */

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* What clocks show at that minute. */
static int64_t wall_of(int64_t minute) {
    return minute + floor_div(dz_zone_offset(minute * minute_us), 60);
}

static bool date_matches(const dz_schedule *s, int64_t wall) {
    int64_t day = floor_div(wall, DAY_MINUTES);
    dz_date d = dz_date_of_day(day);
    bool by_day = s->days >> d.day & 1, by_week = s->weekdays >> dz_weekday_of_day(day) & 1;

    if (!(s->months >> d.month & 1))
        return false;
    return s->any_day || s->any_weekday ? by_day && by_week : by_day || by_week;
}

static bool hour_matches(const dz_schedule *s, int64_t wall) {
    return s->hours >> (wall - floor_div(wall, DAY_MINUTES) * DAY_MINUTES) / 60 & 1;
}

static bool matches(const dz_schedule *s, int64_t wall) {
    return s->minutes >> (wall - floor_div(wall, 60) * 60) & 1 && hour_matches(s, wall) &&
           date_matches(s, wall);
}

/* Clocks showed this before: they were set back since. */
static bool came_before(int64_t minute, int64_t wall) {
    /* no zone sets its clocks back by more than a day */
    for (int64_t back = 60; back <= DAY_MINUTES; back *= 2) {
        int64_t earlier = wall - (wall_of(minute - back) - (minute - back));

        if (earlier < minute && wall_of(earlier) == wall)
            return true;
    }
    return false;
}

/* A line with fixed hours, at the first minute after clocks were set forward. */
static bool fell_out(const dz_schedule *s, int64_t minute, int64_t wall) {
    for (int64_t missing = wall_of(minute - 1) + 1; missing < wall; missing++)
        if (matches(s, missing))
            return true;
    return false;
}

static bool is_due(const dz_schedule *s, int64_t minute) {
    int64_t wall = wall_of(minute);

    if (s->hours == every_hour)
        return matches(s, wall);
    return (matches(s, wall) && !came_before(minute, wall)) || fell_out(s, minute, wall);
}

/* How far on nothing can be due, at least a minute. */
static int64_t stride(const dz_schedule *s, int64_t minute) {
    int64_t wall = wall_of(minute);
    int64_t to_hour = 60 - (wall - floor_div(wall, 60) * 60);
    int64_t to_day = DAY_MINUTES - (wall - floor_div(wall, DAY_MINUTES) * DAY_MINUTES);
    bool date = date_matches(s, wall);

    if (date && hour_matches(s, wall))
        return 1;
    if (!date && wall_of(minute + to_day) == wall + to_day)
        return to_day;
    return wall_of(minute + to_hour) == wall + to_hour ? to_hour : 1;
}

static int64_t next_by_cron(const dz_schedule *s, int64_t after_us) {
    int64_t minute = floor_div(after_us, minute_us) + 1;
    int64_t end = minute + (int64_t) HORIZON_DAYS * DAY_MINUTES;

    while (minute < end && !is_due(s, minute))
        minute += stride(s, minute);
    return minute < end ? minute * minute_us : INT64_MAX;
}

int64_t dz_schedule_next(const dz_schedule *s, int64_t after_us) {
    const int64_t year_9999 = INT64_C(253370764800) * 1000000;
    int64_t after, next;

    if (after_us > year_9999)
        return INT64_MAX;
    after = (after_us < -year_9999 ? -year_9999 : after_us) - s->shift_us;
    if (s->every_us > 0)
        next = (floor_div(after, s->every_us) + 1) * s->every_us;
    else
        next = next_by_cron(s, after);
    return next < INT64_MAX - s->shift_us ? next + s->shift_us : INT64_MAX;
}

/* --- policy ----------------------------------------------------------------------------------- */

int64_t dz_schedule_shift(const char *source, int64_t jitter_us) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: spreads names, guards nothing */

    for (; *source; source++)
        hash = (hash ^ (unsigned char) *source) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return jitter_us > 0 ? (int64_t) (hash % ((uint64_t) jitter_us + 1)) : 0;
}

int64_t dz_schedule_turn(const dz_schedule *s, int64_t last_us, int64_t now_us) {
    int64_t next = dz_schedule_next(s, last_us < now_us ? last_us : now_us);

    return next > now_us ? next : now_us;
}

int64_t dz_schedule_late(const dz_schedule *s, int64_t last_us, int64_t late_after_us) {
    int64_t due = dz_schedule_next(s, last_us);

    return due < INT64_MAX - late_after_us ? due + late_after_us : INT64_MAX;
}
