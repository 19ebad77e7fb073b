#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "store/cursor.h"

const struct dz_option dz_ls_options[] = {
    { 'l', NULL, NULL, N_("with type, mode, owner, size and time") },
    { 'R', NULL, NULL, N_("everything below as well") },
    { 0 },
};

struct ls {
    bool json, details, recursive;
    dz_slice path;
};

static const char *type_name(uint8_t type) {
    static const char *const names[] = { "unknown", "file",   "dir",  "symlink",
                                         "fifo",    "socket", "char", "block" };
    return names[type < sizeof names / sizeof *names ? type : 0];
}

/* File systems take times that microseconds cannot tell: those stop at the ends. */
static int64_t mtime_us(const dz_entry *e) {
    int64_t us;

    return __builtin_mul_overflow(e->mtime_s, 1000000, &us) ? e->mtime_s < 0 ? INT64_MIN : INT64_MAX
                                                            : us;
}

static void put_json(const dz_entry *e) {
    dz_slice target = dz_entry_field(e, DZ_TAG_TARGET);
    json_t *j = json_object();
    char mode[8];

    (void) snprintf(mode, sizeof mode, "%04o", e->mode);
    dz_json_path(j, "path", e->path);
    (void) json_object_set_new(j, "type", json_string(type_name(e->type)));
    (void) json_object_set_new(j, "mode", json_string(mode));
    (void) json_object_set_new(j, "uid", json_integer(e->uid));
    (void) json_object_set_new(j, "gid", json_integer(e->gid));
    (void) json_object_set_new(j, "size", dz_json_count(e->size));
    (void) json_object_set_new(j, "mtime", dz_json_time(mtime_us(e)));
    (void) json_object_set_new(j, "mtime_s", json_integer(e->mtime_s));
    (void) json_object_set_new(j, "mtime_ns", json_integer(e->mtime_ns));
    if (target.data)
        dz_json_path(j, "target", target);
    if (e->flags & DZ_ENTRY_CHANGED)
        (void) json_object_set_new(j, "changed", json_true());
    if (e->flags & DZ_ENTRY_UNREADABLE)
        (void) json_object_set_new(j, "unreadable", json_true());
    dz_json_put(j);
}

/* "drwxr-sr-t", as ls(1) has it. */
static void mode_text(const dz_entry *e, char ret[11]) {
    static const char types[] = "?-dlpscb", bits[] = "rwxrwxrwx";

    ret[0] = types[e->type < sizeof types - 1 ? e->type : 0];
    for (int i = 0; i < 9; i++)
        ret[i + 1] = '-';
    for (int i = 0; i < 9; i++)
        if (e->mode & (0400 >> i))
            ret[i + 1] = bits[i];
    if (e->mode & 04000)
        ret[3] = e->mode & 0100 ? 's' : 'S';
    if (e->mode & 02000)
        ret[6] = e->mode & 010 ? 's' : 'S';
    if (e->mode & 01000)
        ret[9] = e->mode & 01 ? 't' : 'T';
    ret[10] = '\0';
}

static void put_text(const struct ls *l, const dz_entry *e) {
    dz_slice target = dz_entry_field(e, DZ_TAG_TARGET);

    if (l->details) {
        char mode[11], size[DZ_SIZE_TEXT], when[DZ_WHEN_TEXT];
        mode_text(e, mode);
        dz_size_text(e->size, size);
        dz_when_text(mtime_us(e), when);
        (void) printf("%s %6u %6u %10s %s ", mode, e->uid, e->gid, size, when);
    }
    dz_put_path(stdout, e->path);
    if (e->type == DZ_ENTRY_DIR)
        (void) putchar('/');
    if (l->details && target.data) {
        (void) fputs(" -> ", stdout);
        dz_put_path(stdout, target);
    }
    if (l->details && (e->flags & DZ_ENTRY_CHANGED))
        (void) fputs(T_("  (changed while it was read)"), stdout);
    if (l->details && (e->flags & DZ_ENTRY_UNREADABLE))
        (void) fputs(T_("  (could not be read)"), stdout);
    (void) putchar('\n');
}

/* Everything below l->path, or the path itself when it is no directory. */
static dz_status list(struct dz_cursor *c, const struct ls *l, dz_err *err) {
    bool end = false;

    if (l->path.len > 0) {
        dz_entry e;
        DZ_TRY(dz_cursor_find(c, l->path, &e, err));
        if (e.type != DZ_ENTRY_DIR) {
            l->json ? put_json(&e) : put_text(l, &e);
            return DZ_OK;
        }
    }
    for (;;) {
        dz_entry e;
        DZ_TRY(dz_cursor_next(c, &e, &end, err));
        if (end || !dz_path_within(e.path, l->path))
            return DZ_OK;
        if (dz_slice_eq(e.path, l->path)) /* the root itself */
            continue;
        l->json ? put_json(&e) : put_text(l, &e);
        if (!l->recursive && e.type == DZ_ENTRY_DIR)
            DZ_TRY(dz_cursor_skip_below(c, err));
        if (ferror(stdout))
            return DZ_OK;
    }
}

int dz_cmd_ls(struct dz_cli *cli, int argc, char **argv) {
    struct dz_reading r = { 0 };
    struct ls l = { 0 };
    struct dz_cursor *c = NULL;
    dz_err err = { 0 };
    int option, code;

    while ((option = dz_cli_option(cli, argc, argv)) >= 0)
        *(option == 'l' ? &l.details : &l.recursive) = true;
    if (option == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind < 1 || argc - optind > 2)
        return dz_cli_usage(cli, T_("ls takes a snapshot and at most one path"));
    l.json = cli->json;
    l.path = argc - optind == 2 ? dz_cli_path(argv[optind + 1]) : (dz_slice){ 0 };
    code = dz_cli_read(cli, argv[optind], &r);
    if (code != DZ_EXIT_OK)
        return code;
    if (dz_cursor_new(&r.source, &r.snap.commit.root, &c, &err) != DZ_OK ||
        list(c, &l, &err) != DZ_OK)
        code = dz_cli_fail(&err);
    dz_cursor_free(c);
    dz_reading_close(&r);
    return code;
}
