#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/clock.h"

enum { BAR = 24 };
static const int64_t terminal_every_us = 200000, line_every_us = 10000000;

void dz_progress_start(struct dz_progress *p, const struct dz_cli *cli, const char *label,
                       uint64_t total_bytes) {
    *p = (struct dz_progress){ .on = !cli->quiet,
                               .terminal = isatty(STDERR_FILENO),
                               .label = label,
                               .total_bytes = total_bytes,
                               .start_us = dz_now_us() };
    p->next_us = p->start_us + (p->terminal ? terminal_every_us : line_every_us);
}

double dz_progress_seconds(const struct dz_progress *p) {
    return (double) (dz_now_us() - p->start_us) / 1e6;
}

void dz_progress_show(struct dz_progress *p, uint64_t files, uint64_t bytes) {
    int64_t now = p->on ? dz_now_us() : 0;
    char done[DZ_SIZE_TEXT], rate_text[DZ_SIZE_TEXT], left[DZ_AGE_TEXT + 32] = "";
    double seconds, rate, part;

    if (!p->on || now < p->next_us)
        return;
    p->next_us = now + (p->terminal ? terminal_every_us : line_every_us);
    seconds = (double) (now - p->start_us) / 1e6;
    rate = (double) bytes / seconds;
    dz_size_text(bytes, done);
    dz_size_text((uint64_t) rate, rate_text);
    /* the total is a guess; once it is passed there is nothing to say about what is left */
    part = p->total_bytes > bytes ? (double) bytes / (double) p->total_bytes : 0;
    if (part > 0.001) {
        char age[DZ_AGE_TEXT];
        dz_age_text((int64_t) ((double) (p->total_bytes - bytes) / rate * 1e6), age);
        (void) snprintf(left, sizeof left, T_(", about %s left"), age);
    }
    if (p->terminal) {
        (void) fputs("\r\033[K", stderr);
        if (part > 0) {
            int full = (int) (part * BAR);
            (void) fputc('[', stderr);
            for (int i = 0; i < BAR; i++)
                (void) fputc(i < full ? '#' : '.', stderr);
            (void) fputs("] ", stderr);
        }
    }
    (void) fprintf(stderr, T_("%s: %llu files, %s, %s/s%s"), p->label, (unsigned long long) files,
                   done, rate_text, left);
    if (p->terminal)
        (void) fflush(stderr);
    else
        (void) fputc('\n', stderr);
    p->shown = true;
}

void dz_progress_end(struct dz_progress *p) {
    if (p->on && p->terminal && p->shown)
        (void) fputs("\r\033[K", stderr);
    p->on = false;
}
