/* dozod.yaml, as an administrator's slip or a generator's fault leaves it.
 *
 * Property: what is refused is refused with the file's name in front; what is accepted can be acted
 * on: names are fit and of their own, every source has one kind, something to take, and a next
 * time. */
#include "daemon/config.h"
#include "intake/stream.h"
#include "tests/fuzz/fuzz.h"

static void texts_are_whole(const dz_texts *t) {
    for (size_t i = 0; i < t->n; i++)
        MUST(t->list[i] && t->list[i][0]);
    MUST(t->n == 0 || t->list[t->n] == NULL);
}

static void can_be_acted_on(const struct dz_config *c, const struct dz_feed *f) {
    for (const struct dz_feed *other = c->feeds; other < f; other++)
        MUST(strcmp(other->name, f->name) != 0);
    MUST(dz_source_name_ok(f->name) && f->line > 0 && f->kind < DZ_FEED_KINDS);
    MUST((f->cron != NULL) != (f->schedule.every_us > 0));
    MUST(!f->cron || c->timezone);
    MUST(f->late_after_us > 0 && f->run_time_us > 0);
    MUST(f->schedule.shift_us >= 0 && f->schedule.shift_us <= f->jitter_us);
    MUST(dz_schedule_next(&f->schedule, 0) > 0);
    texts_are_whole(&f->paths);
    texts_are_whole(&f->excludes);
    texts_are_whole(&f->argv);
    MUST((f->paths.n > 0) == (f->kind == DZ_FEED_TREE));
    MUST((f->share && f->credentials) == (f->kind == DZ_FEED_SHARE));
    MUST((f->argv.n > 0 && f->file && dz_stream_name_ok(f->file)) == (f->kind == DZ_FEED_COMMAND));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    dz_err err = { 0 };
    dz_status s = dz_config_read((dz_slice){ data, size }, "dozod.yaml", &c, &err);

    if (s != DZ_OK) {
        MUST(s == DZ_E_MALFORMED || s == DZ_E_LIMIT);
        MUST(strncmp(err.what, "dozod.yaml:", 11) == 0);
        return 0;
    }
    MUST(c.vault && c.vault[0] == '/' && c.n_feeds > 0);
    MUST(c.limits.at_once >= 1 && c.limits.at_once <= DZ_AT_ONCE_MAX);
    texts_are_whole(&c.notify.command);
    for (size_t i = 0; i < c.n_feeds; i++)
        can_be_acted_on(&c, &c.feeds[i]);
    return 0;
}
