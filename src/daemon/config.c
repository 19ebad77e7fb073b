#include "daemon/config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/buf.h"
#include "core/durable.h"
#include "core/zone.h"
#include "store/vault.h"

static dz_key_reader read_zone, read_limits, read_notify, skip_sources;

#define CONFIG(field) offsetof(struct dz_config, field)

static const dz_key top_keys[] = {
    { "vault", dz_key_path, CONFIG(vault), "an absolute path", true },
    { "timezone", read_zone, CONFIG(timezone), "a name such as Asia/Tokyo or UTC" },
    DZ_KEY_JITTER(struct dz_config),
    DZ_KEY_LATE_AFTER(struct dz_config),
    { "verify-every", dz_key_duration, CONFIG(verify_every_us),
      "a duration from 1d to 366d, such as 7d", .min = DZ_DAY_US, .max = 366 * DZ_DAY_US },
    { "limits", read_limits, CONFIG(limits), "keys at-once, run-time, grace" },
    { "notify", read_notify, CONFIG(notify), "keys command, syslog" },
    { "sources", skip_sources, CONFIG(feeds), "a list of sources", true },
    { 0 },
};

static const dz_key limit_keys[] = {
    { "at-once", dz_key_count, offsetof(struct dz_limits, at_once), "1 to 64", .min = 1,
      .max = DZ_AT_ONCE_MAX },
    DZ_KEY_RUN_TIME(struct dz_limits),
    { "grace", dz_key_duration, offsetof(struct dz_limits, grace_us),
      "a duration from 1s to 10m, such as 30s", .min = 1000000, .max = 600 * INT64_C(1000000) },
    { 0 },
};

static const dz_key notify_keys[] = {
    { "command", dz_key_texts, offsetof(struct dz_notify, command),
      "a program and its arguments, such as [/usr/local/bin/tell, it]" },
    { "syslog", dz_key_yes, offsetof(struct dz_notify, syslog), "yes, no" },
    { 0 },
};

/* --- values ----------------------------------------------------------------------------------- */

static dz_status read_zone(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           void *field, dz_err *err) {
    char **name = field;
    dz_err why = { 0 };
    dz_status s;

    DZ_TRY(dz_key_text(y, value, key, field, err));
    s = dz_zone_enter(*name, &why);
    if (s == DZ_OK)
        dz_zone_leave();
    else if (s == DZ_E_NOMEM && err)
        *err = why;
    return s == DZ_E_USAGE ? dz_key_refuse(y, dz_yaml_line(value), key, err, "%.100s", why.what)
                           : s;
}

static dz_status read_limits(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                             void *field, dz_err *err) {
    const dz_key *const tables[] = { limit_keys, NULL };

    (void) key;
    return dz_keys_read(y, value, tables, field, err);
}

static dz_status read_notify(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                             void *field, dz_err *err) {
    const dz_key *const tables[] = { notify_keys, NULL };

    (void) key;
    return dz_keys_read(y, value, tables, field, err);
}

/* --- sources ---------------------------------------------------------------------------------- */

/* They are read last: what they have unless they say otherwise may stand behind them. */
static dz_status skip_sources(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                              void *field, dz_err *err) {
    (void) field;
    if (value->type != YAML_SEQUENCE_NODE ||
        value->data.sequence.items.start == value->data.sequence.items.top)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "is no list, or an empty one");
    if (value->data.sequence.items.top - value->data.sequence.items.start > DZ_FEEDS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%.80s:%d: %s: %td of them; allowed: up to %d", y->name,
                       dz_yaml_line(value), key->name,
                       value->data.sequence.items.top - value->data.sequence.items.start,
                       (int) DZ_FEEDS_MAX);
    return DZ_OK;
}

static const yaml_node_t *node_of(const struct dz_yaml *y, const yaml_node_t *map,
                                  const char *name) {
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;; p++)
        if (strcmp(dz_yaml_text(dz_yaml_node(y, p->key)), name) == 0)
            return dz_yaml_node(y, p->value);
}

static dz_status check_source(const struct dz_yaml *y, const struct dz_config *c, size_t at,
                              dz_err *err) {
    const struct dz_feed *s = &c->feeds[at];

    for (size_t i = 0; i < at; i++)
        if (strcmp(c->feeds[i].name, s->name) == 0)
            return dz_key_refuse(y, s->line, NULL, err,
                                 "source %.80s: stands in line %d already; allowed: names of their "
                                 "own",
                                 s->name, c->feeds[i].line);
    for (size_t i = 0; i < s->paths.n; i++)
        if (dz_vault_contains(c->vault, s->paths.list[i]))
            return dz_key_refuse(y, s->line, NULL, err,
                                 "source %.40s: paths: %.60s lies inside the vault; allowed: paths "
                                 "outside",
                                 s->name, s->paths.list[i]);
    return DZ_OK;
}

static dz_status read_sources(const struct dz_yaml *y, const yaml_node_t *list, struct dz_config *c,
                              dz_err *err) {
    const struct dz_feed_defaults defaults = { .jitter_us = c->jitter_us,
                                               .late_after_us = c->late_after_us,
                                               .run_time_us = c->limits.run_time_us,
                                               .zone = c->timezone != NULL };
    const yaml_node_item_t *item = list->data.sequence.items.start;
    const yaml_node_item_t *end = list->data.sequence.items.top;

    c->feeds = calloc((size_t) (end - item), sizeof *c->feeds);
    if (!c->feeds)
        return DZ_FAIL(err, DZ_E_NOMEM, "sources: out of memory");
    for (; item < end; item++) {
        struct dz_feed *s = &c->feeds[c->n_feeds++];

        DZ_TRY(dz_feed_read(y, dz_yaml_node(y, *item), &defaults, s, err));
        DZ_TRY(check_source(y, c, c->n_feeds - 1, err));
    }
    return DZ_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static dz_status read_all(const struct dz_yaml *y, struct dz_config *c, dz_err *err) {
    const dz_key *const tables[] = { top_keys, NULL };
    const yaml_node_t *root = dz_yaml_root(y);

    if (!root)
        return dz_key_refuse(y, 1, NULL, err, "says nothing; allowed: vault, sources, and so on");
    DZ_TRY(dz_keys_read(y, root, tables, c, err));
    return read_sources(y, node_of(y, root, "sources"), c, err);
}

dz_status dz_config_read(dz_slice text, const char *name, struct dz_config *ret_config,
                         dz_err *err) {
    struct dz_config c = {
        .late_after_us = DZ_DAY_US,
        .verify_every_us = 7 * DZ_DAY_US,
        .limits = { .at_once = 2, .run_time_us = DZ_DAY_US, .grace_us = 30 * INT64_C(1000000) }
    };
    struct dz_yaml y = { 0 };
    dz_status s = dz_yaml_read(text, name, &y, err);

    if (s == DZ_OK)
        s = read_all(&y, &c, err);
    dz_yaml_release(&y);
    if (s == DZ_OK)
        *ret_config = c;
    else
        dz_config_release(&c);
    return s;
}

static dz_status check_file(const char *path, const struct stat *st, dz_err *err) {
    if (!S_ISREG(st->st_mode))
        return DZ_FAIL(err, DZ_E_POLICY, "%.120s is no regular file", path);
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return DZ_FAIL(err, DZ_E_POLICY,
                       "%.80s belongs to user %u; allowed: root, or who runs dozod", path,
                       st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return DZ_FAIL(
            err, DZ_E_POLICY,
            "%.80s can be written by others (mode %o); allowed: by its owner only, chmod "
            "go-w",
            path, st->st_mode & 07777u);
    if (st->st_size > DZ_YAML_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%.80s: %lld bytes; allowed: up to %d", path,
                       (long long) st->st_size, (int) DZ_YAML_MAX);
    return DZ_OK;
}

dz_status dz_config_load(const char *path, dz_buf *ret_text, struct dz_config *ret_config,
                         dz_err *err) {
    dz_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    uint8_t *to;

    if (fd < 0 || fstat(fd, &st) != 0)
        return DZ_FAIL_ERRNO(err, "reading %.120s", path);
    DZ_TRY(check_file(path, &st, err));
    to = dz_buf_extend(ret_text, (size_t) st.st_size);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "%.80s: out of memory", path);
    if (dz_pread_all(fd, to, (size_t) st.st_size, 0) != 0)
        return DZ_FAIL_ERRNO(err, "reading %.120s", path);
    return dz_config_read((dz_slice){ to, (size_t) st.st_size }, path, ret_config, err);
}

void dz_config_release(struct dz_config *c) {
    free(c->vault);
    free(c->timezone);
    dz_texts_release(&c->notify.command);
    for (size_t i = 0; i < c->n_feeds; i++)
        dz_feed_release(&c->feeds[i]);
    free(c->feeds);
    *c = (struct dz_config){ 0 };
}
