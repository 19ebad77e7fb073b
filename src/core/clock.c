#include "core/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t dz_clock_ahead_us;

int64_t dz_now_us(void) {
    struct timespec ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + dz_clock_ahead_us;
}

int64_t dz_monotonic_us(void) {
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + dz_clock_ahead_us;
}

void dz_clock_sample(struct dz_clock_sample *ret) {
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    struct timespec ts;

    *ret = (struct dz_clock_sample){ .wall_us = dz_now_us() };
    (void) clock_gettime(CLOCK_BOOTTIME, &ts);
    ret->up_us = (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + dz_clock_ahead_us;
    if (f && fgets(ret->boot, sizeof ret->boot, f))
        ret->boot[strcspn(ret->boot, "\n")] = '\0';
    if (f)
        (void) fclose(f);
}

void dz_time_text(int64_t us, char ret_text[DZ_TIME_TEXT]) {
    time_t t = (time_t) (us / 1000000 - (us % 1000000 < 0));
    struct tm tm;
    char zone[8];
    size_t n;

    if (!localtime_r(&t, &tm) || !strftime(ret_text, DZ_TIME_TEXT - 8, "%Y-%m-%dT%H:%M:%S", &tm) ||
        !strftime(zone, sizeof zone, "%z", &tm)) {
        (void) snprintf(ret_text, DZ_TIME_TEXT, "@%lld", (long long) us);
        return;
    }
    n = strlen(ret_text);
    (void) snprintf(ret_text + n, DZ_TIME_TEXT - n, "%.3s:%s", zone, zone + 3);
}

void dz_time_utc_text(int64_t us, char ret_text[DZ_TIME_UTC_TEXT]) {
    time_t t = (time_t) (us / 1000000 - (us % 1000000 < 0));
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(ret_text, DZ_TIME_UTC_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) !=
                                  strlen("2026-11-22T00:30:00Z"))
        ret_text[0] = '\0';
}

static const char *zone_of(const char *p, int *ret_seconds, bool *ret_given) {
    int sign, hours, minutes, used = 0;

    *ret_given = true;
    *ret_seconds = 0;
    if (*p == 'Z')
        return p + 1;
    if (*p != '+' && *p != '-') {
        *ret_given = false;
        return p;
    }
    sign = *p == '-' ? -1 : 1;
    /* Two digits cannot overflow; what else sscanf takes for them is refused by `used`. */
    // NOLINTBEGIN(cert-err34-c)
    if (sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5)
        if (sscanf(p + 1, "%2d%2d%n", &hours, &minutes, &used) != 2 || used != 4)
            return NULL;
    // NOLINTEND(cert-err34-c)
    if (hours < 0 || hours > 14 || minutes < 0 || minutes > 59)
        return NULL;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return p + 1 + used;
}

bool dz_time_parse(const char *text, int64_t *ret_us) {
    struct tm tm = { .tm_isdst = -1 };
    int64_t fraction = 0, scale = 100000;
    const char *p = strptime(text, "%Y-%m-%d", &tm), *clock;
    bool zoned;
    int offset;
    time_t t;

    if (!p)
        return false;
    if (*p == 'T' || *p == ' ') {
        clock = strptime(p + 1, "%H:%M:%S", &tm);
        if (!clock)
            clock = strptime(p + 1, "%H:%M", &tm);
        if (!clock)
            return false;
        p = clock;
        if (*p == '.') {
            for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
                fraction += (*p - '0') * scale;
        }
    }
    p = zone_of(p, &offset, &zoned);
    if (!p || *p != '\0')
        return false;
    t = zoned ? timegm(&tm) - offset : mktime(&tm);
    *ret_us = (int64_t) t * 1000000 + fraction;
    return true;
}

bool dz_duration_parse(const char *text, int64_t *ret_us) {
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
    const int64_t most = INT64_C(365250) * 86400;
    int64_t total = 0;
    size_t unit = 0;

    while (*text) {
        int64_t n = 0;
        const char *begin = text;

        for (; *text >= '0' && *text <= '9'; text++) {
            n = n * 10 + (*text - '0');
            if (n > most)
                return false;
        }
        while (unit < sizeof units / sizeof *units && units[unit].letter != *text)
            unit++;
        if (text == begin || unit == sizeof units / sizeof *units || n > most / units[unit].seconds)
            return false;
        total += n * units[unit++].seconds;
        text++;
    }
    if (total <= 0 || total > most)
        return false;
    *ret_us = total * 1000000;
    return true;
}
