#include "daemon/feed.h"

#include "intake/smb_login.h"
#include "intake/stream.h"

static dz_key_reader read_name, read_kind, read_cron, read_share, read_file;

#define FEED(field) offsetof(struct dz_feed, field)
#define SHELL "a line of the shell, or several after |"
static const char kinds_allowed[] = "tree, share, command";

static const dz_key common[] = {
    { "name", read_name, FEED(name),
      "letters, digits, '.', '_', '-', up to 128 bytes, no '.' or '-' in front", true },
    { "kind", read_kind, FEED(kind), kinds_allowed, true },
    { "cron", read_cron, 0, "five fields, as in \"30 2 * * *\"" },
    { "every", dz_key_duration, FEED(schedule.every_us), "a duration from 1s to 366d, such as 1h",
      .min = 1000000, .max = 366 * DZ_DAY_US },
    DZ_KEY_JITTER(struct dz_feed),
    DZ_KEY_LATE_AFTER(struct dz_feed),
    DZ_KEY_RUN_TIME(struct dz_feed),
    { "pre", dz_key_script, FEED(pre), SHELL },
    { "post", dz_key_script, FEED(post), SHELL },
    { 0 },
};

static const dz_key tree_keys[] = {
    { "paths", dz_key_paths, FEED(paths), "a list of absolute paths, such as [/srv, /etc]", true },
    { "exclude", dz_key_texts, FEED(excludes), "a list of patterns, such as [\"*.tmp\"]" },
    { "one-file-system", dz_key_yes, FEED(one_file_system), "yes, no" },
    { 0 },
};

static const dz_key share_keys[] = {
    { "share", read_share, FEED(share), "//SERVER/SHARE or //SERVER/SHARE/DIR", true },
    { "credentials", dz_key_path, FEED(credentials), "an absolute path", true },
    { "exclude", dz_key_texts, FEED(excludes), "a list of patterns, such as [\"*.tmp\"]" },
    { "no-encryption", dz_key_yes, FEED(no_encryption), "yes, no" },
    { 0 },
};

static const dz_key command_keys[] = {
    { "file", read_file, FEED(file), "the name of a file, without a slash, up to 255 bytes", true },
    { "argv", dz_key_texts, FEED(argv), "a program and its arguments, such as [pg_dump, -Fc, emr]",
      true },
    { 0 },
};

static const struct kind {
    const char *name;
    const dz_key *keys;
} kinds[DZ_FEED_KINDS] = {
    [DZ_FEED_TREE] = { "tree", tree_keys },
    [DZ_FEED_SHARE] = { "share", share_keys },
    [DZ_FEED_COMMAND] = { "command", command_keys },
};

const char *dz_feed_kind_name(enum dz_feed_kind kind) {
    return kinds[kind].name;
}

/* --- values of our own ------------------------------------------------------------------------ */

static dz_status read_name(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           void *field, dz_err *err) {
    char **name = field;

    DZ_TRY(dz_key_text(y, value, key, field, err));
    if (!dz_source_name_ok(*name))
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.40s\"", *name);
    return DZ_OK;
}

static dz_status read_file(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           void *field, dz_err *err) {
    char **name = field;

    DZ_TRY(dz_key_text(y, value, key, field, err));
    if (!dz_stream_name_ok(*name))
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.40s\"", *name);
    return DZ_OK;
}

static dz_status read_share(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                            void *field, dz_err *err) {
    struct dz_smb_where where;
    char **share = field;

    DZ_TRY(dz_key_text(y, value, key, field, err));
    if (dz_smb_where_read(*share, &where, NULL) != DZ_OK)
        return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.40s\"", *share);
    return DZ_OK;
}

static dz_status read_kind(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           void *field, dz_err *err) {
    const char *text = dz_yaml_text(value);
    enum dz_feed_kind *kind = field;

    for (unsigned i = 0; text && i < DZ_FEED_KINDS; i++)
        if (strcmp(kinds[i].name, text) == 0) {
            *kind = i;
            return DZ_OK;
        }
    return dz_key_refuse(y, dz_yaml_line(value), key, err, "\"%.40s\"", text ? text : "...");
}

static dz_status read_cron(const struct dz_yaml *y, const yaml_node_t *value, const dz_key *key,
                           void *field, dz_err *err) {
    struct dz_feed *s = field;
    int64_t every_us = s->schedule.every_us; /* stands there as well: said later */
    dz_err why = { 0 };
    dz_status st;

    DZ_TRY(dz_key_text(y, value, key, &s->cron, err));
    st = dz_schedule_cron(s->cron, &s->schedule, &why);
    s->schedule.every_us = every_us;
    if (st == DZ_E_USAGE) /* says what is allowed */
        return DZ_FAIL(err, DZ_E_MALFORMED, "%.60s:%d: %s: %s", y->name, dz_yaml_line(value),
                       key->name, why.what);
    if (st != DZ_OK && err)
        *err = why;
    return st;
}

/* --- one source ------------------------------------------------------------------------------- */

/* Which keys there are depends on the kind, wherever it stands. */
static dz_status find_kind(const struct dz_yaml *y, const yaml_node_t *map,
                           enum dz_feed_kind *ret_kind, dz_err *err) {
    const dz_key *kind = &common[1];

    if (map->type != YAML_MAPPING_NODE)
        return dz_key_refuse(y, dz_yaml_line(map), NULL, err,
                             "a source has keys: name, kind, and so on");
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const char *name = dz_yaml_text(dz_yaml_node(y, p->key));

        if (name && strcmp(name, kind->name) == 0)
            return read_kind(y, dz_yaml_node(y, p->value), kind, ret_kind, err);
    }
    return dz_key_refuse(y, dz_yaml_line(map), kind, err, "is missing");
}

dz_status dz_feed_read(const struct dz_yaml *y, const yaml_node_t *map,
                       const struct dz_feed_defaults *defaults, struct dz_feed *ret_feed,
                       dz_err *err) {
    const dz_key *tables[] = { common, NULL, NULL };
    struct dz_feed *s = ret_feed;

    s->line = dz_yaml_line(map);
    s->jitter_us = defaults->jitter_us;
    s->late_after_us = defaults->late_after_us;
    s->run_time_us = defaults->run_time_us;
    DZ_TRY(find_kind(y, map, &s->kind, err));
    tables[1] = kinds[s->kind].keys;
    DZ_TRY(dz_keys_read(y, map, tables, s, err));
    if ((s->cron != NULL) == (s->schedule.every_us > 0))
        return dz_key_refuse(y, s->line, NULL, err,
                             "source %.40s: %s; allowed: one of cron and every", s->name,
                             s->cron ? "both cron and every" : "when does it run?");
    if (s->cron && !defaults->zone)
        return dz_key_refuse(y, s->line, NULL, err,
                             "source %.40s: cron wants to know the time zone; allowed: a key "
                             "beside sources, such as timezone: Asia/Tokyo",
                             s->name);
    s->schedule.shift_us = dz_schedule_shift(s->name, s->jitter_us);
    return DZ_OK;
}

void dz_feed_release(struct dz_feed *s) {
    free(s->name);
    free(s->cron);
    free(s->pre);
    free(s->post);
    dz_texts_release(&s->paths);
    dz_texts_release(&s->excludes);
    free(s->share);
    free(s->credentials);
    free(s->file);
    dz_texts_release(&s->argv);
    *s = (struct dz_feed){ 0 };
}
