/* dozod.yaml: what it says is taken; what is wrong is named with its line and what may stand there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/buf.h"
#include "daemon/config.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

static dz_status take(const char *text, struct dz_config *c, dz_err *err) {
    return dz_config_read((dz_slice){ (const uint8_t *) text, strlen(text) }, "dozod.yaml", c, err);
}

static void good(const char *text, struct dz_config *c) {
    dz_err err = { 0 };

    if (take(text, c, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static void everything_that_is_said_is_taken(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    const struct dz_feed *f;

    (void) state;
    good(
        "vault: /srv/vault\n"
        "sources:\n"
        "  - name: 電子カルテ\n"
        "    kind: tree\n"
        "    cron: '30 2 * * *'\n"
        "    paths: [/srv, /etc]\n"
        "    exclude: ['*.tmp', '~*']\n"
        "    one-file-system: true\n"
        "    pre: |\n"
        "      lvcreate one\n"
        "      mount two\n"
        "    post: umount two\n"
        "  - {name: emr-db, kind: command, every: 15m, jitter: 0, late-after: 1h, run-time: 10m,\n"
        "     file: emr.dump, argv: [pg_dump, -Fc, 電子]}\n"
        "  - {name: wards, kind: share, every: 1h, share: //fs1/部門, credentials: /etc/dozo/fs1,\n"
        "     exclude: ['*.tmp']}\n"
        "timezone: Asia/Tokyo\n" /* what is said behind the sources counts for them, too */
        "jitter: 10m\n"
        "late-after: 4h\n"
        "limits: {at-once: 3, run-time: 6h, grace: 1m}\n"
        "notify:\n"
        "  command: [/usr/local/bin/tell, --now]\n"
        "  syslog: yes\n",
        &c);
    assert_string_equal(c.vault, "/srv/vault");
    assert_string_equal(c.timezone, "Asia/Tokyo");
    assert_int_equal(c.limits.at_once, 3);
    assert_int_equal(c.limits.grace_us, HOUR / 60);
    assert_int_equal(c.notify.command.n, 2);
    assert_string_equal(c.notify.command.list[1], "--now");
    assert_true(c.notify.syslog);
    assert_int_equal(c.n_feeds, 3);
    f = &c.feeds[0];
    assert_string_equal(f->name, "電子カルテ");
    assert_int_equal(f->kind, DZ_FEED_TREE);
    assert_int_equal(f->line, 3);
    assert_string_equal(f->cron, "30 2 * * *");
    assert_true(f->schedule.minutes == UINT64_C(1) << 30 && f->schedule.hours == 1u << 2);
    assert_int_equal(f->schedule.shift_us, dz_schedule_shift("電子カルテ", HOUR / 6));
    assert_int_equal(f->late_after_us, 4 * HOUR);
    assert_int_equal(f->run_time_us, 6 * HOUR);
    assert_int_equal(f->paths.n, 2);
    assert_string_equal(f->paths.list[1], "/etc");
    assert_int_equal(f->excludes.n, 2);
    assert_string_equal(f->excludes.list[1], "~*");
    assert_true(f->one_file_system);
    assert_string_equal(f->pre, "lvcreate one\nmount two\n");
    assert_string_equal(f->post, "umount two");
    f = &c.feeds[1];
    assert_int_equal(f->kind, DZ_FEED_COMMAND);
    assert_int_equal(f->schedule.every_us, HOUR / 4);
    assert_int_equal(f->schedule.shift_us, 0);
    assert_int_equal(f->late_after_us, HOUR);
    assert_int_equal(f->run_time_us, HOUR / 6);
    assert_string_equal(f->file, "emr.dump");
    assert_int_equal(f->argv.n, 3);
    assert_string_equal(f->argv.list[2], "電子");
    assert_null(f->argv.list[3]);
    f = &c.feeds[2];
    assert_int_equal(f->kind, DZ_FEED_SHARE);
    assert_string_equal(f->share, "//fs1/部門");
    assert_string_equal(f->credentials, "/etc/dozo/fs1");
    assert_int_equal(f->excludes.n, 1);
    assert_false(f->no_encryption);
}

static void what_is_not_said_has_a_value(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };

    (void) state;
    good("vault: /v\nsources: [{name: a, kind: tree, every: 1h, paths: [/a]}]", &c);
    assert_null(c.timezone);
    assert_int_equal(c.limits.at_once, 2);
    assert_int_equal(c.notify.command.n, 0);
    assert_false(c.notify.syslog);
    assert_int_equal(c.feeds[0].jitter_us, 0);
    assert_int_equal(c.feeds[0].late_after_us, 24 * HOUR);
    assert_int_equal(c.feeds[0].run_time_us, 24 * HOUR);
    assert_false(c.feeds[0].one_file_system);
    assert_null(c.feeds[0].pre);
}

#define HEAD "vault: /v\ntimezone: UTC\n"
#define TREE HEAD "sources:\n- name: a\n  kind: tree\n  every: 1h\n  paths: [/a]\n"
#define SHARE HEAD "sources:\n- name: a\n  kind: share\n  every: 1h\n"
#define COMMAND HEAD "sources:\n- name: a\n  kind: command\n  every: 1h\n"

static void what_is_wrong_is_named_with_its_line(void **state) {
    static const struct {
        const char *what, *text, *says;
    } rows[] = {
        { "nothing", "", "dozod.yaml:1: says nothing; allowed: vault, sources" },
        { "a comment", "# later\n", "dozod.yaml:1: says nothing" },
        { "a list", "- vault\n", "dozod.yaml:1: here belong keys with values, such as vault:" },
        { "no vault", "timezone: UTC\nsources: [a]",
          "dozod.yaml:1: vault: is missing; allowed: an absolute path" },
        { "no sources", "vault: /v\n", ":1: sources: is missing; allowed: a list of sources" },
        { "empty sources", HEAD "sources: []", ":3: sources: is no list, or an empty one" },
        { "sources that are no list", HEAD "sources: {name: a}", ":3: sources: is no list" },
        { "a source that is a word", HEAD "sources: [a]", ":3: a source has keys" },
        { "a relative vault", "vault: v\n", ":1: vault: \"v\"; allowed: an absolute path" },
        { "a vault that is a list", "vault: [/v]\n", ":1: vault: is no text; allowed:" },
        { "an unknown key", "vault: /v\nvalut: /v\n",
          ":2: valut: no such key here; allowed: vault, timezone, jitter, late-after, "
          "verify-every, limits, notify, sources" },
        { "a key twice", "vault: /v\n\nvault: /w\n", ":3: vault: stands in line 1 already" },
        { "a key that is a list", "vault: /v\n[a]: b\n", ":2: a key is a word" },
        { "an unknown zone", "timezone: Asia/Osaka\n",
          ":1: timezone: time zone \"Asia/Osaka\" is not known here" },
        { "a long jitter", "jitter: 25h\n",
          ":1: jitter: \"25h\"; allowed: 0, or a duration up to" },
        { "no late-after", "late-after: 0\n", ":1: late-after: \"0\"; allowed: a duration from" },
        { "verified each hour", "verify-every: 1h\n",
          ":1: verify-every: \"1h\"; allowed: a duration from 1d" },
        { "no duration", "late-after: soon\n", ":1: late-after: \"soon\"; allowed: a duration" },
        { "too many at once", "limits:\n  at-once: 65\n", ":2: at-once: \"65\"; allowed: 1 to 64" },
        { "none at once", "limits: {at-once: 0}", ":1: at-once: \"0\"; allowed: 1 to 64" },
        { "a negative number", "limits: {at-once: -1}", ":1: at-once: \"-1\"; allowed:" },
        { "an unknown limit", "limits: {memory: 1}",
          ":1: memory: no such key here; allowed: at-once, run-time, grace" },
        { "a limit that is a word", "limits: 3",
          ":1: here belong keys with values, such as at-once:" },
        { "a command line for a list", "notify: {command: tell it}",
          ":1: command: is no list; allowed: a program and its arguments" },
        { "an empty command", "notify: {command: []}", ":1: command: is an empty list" },
        { "an empty word", "notify: {command: [a, '']}", ":1: command: is empty" },
        { "neither yes nor no", "notify: {syslog: maybe}",
          ":1: syslog: \"maybe\"; allowed: yes, no" },
        { "no name", HEAD "sources: [{kind: tree, every: 1h, paths: [/a]}]",
          ":3: name: is missing; allowed: letters" },
        { "a name with a slash", HEAD "sources: [{name: a/b, kind: tree}]",
          ":3: name: \"a/b\"; allowed: letters" },
        { "no kind", HEAD "sources: [{name: a}]",
          ":3: kind: is missing; allowed: tree, share, command" },
        { "an unknown kind", HEAD "sources:\n- name: a\n  kind: fax\n",
          ":5: kind: \"fax\"; allowed: tree, share, command" },
        { "a kind that is a list", HEAD "sources:\n- name: a\n  kind: [tree]\n",
          ":5: kind: \"...\"; allowed: tree, share, command" },
        { "a key of another kind", TREE "  argv: [a]\n",
          ":8: argv: no such key here; allowed: name, kind, cron, every, jitter, late-after, "
          "run-time, pre, post, paths" },
        { "no paths", HEAD "sources: [{name: a, kind: tree, every: 1h}]",
          ":3: paths: is missing; allowed: a list of absolute paths" },
        { "a relative path", HEAD "sources: [{name: a, kind: tree, every: 1h, paths: [/a,\nb]}]",
          ":4: paths: \"b\"; allowed: a list of absolute paths" },
        { "a path in the vault", HEAD "sources: [{name: a, kind: tree, every: 1h, paths: [/v/x]}]",
          ":3: source a: paths: /v/x lies inside the vault" },
        { "no program", COMMAND "  file: f\n", ":4: argv: is missing; allowed: a program" },
        { "no file", COMMAND "  argv: [a]\n", ":4: file: is missing; allowed: the name of a file" },
        { "a file with a slash", COMMAND "  file: a/b\n  argv: [a]\n",
          ":7: file: \"a/b\"; allowed: the name of a file" },
        { "no credentials", SHARE "  share: //s/x\n",
          ":4: credentials: is missing; allowed: an absolute path" },
        { "a share without a name", SHARE "  share: //s\n  credentials: /c\n",
          ":7: share: \"//s\"; allowed: //SERVER/SHARE" },
        { "never", HEAD "sources: [{name: a, kind: tree, paths: [/a]}]",
          ":3: source a: when does it run?; allowed: one of cron and every" },
        { "both", TREE "  cron: '0 0 * * *'\n",
          ":4: source a: both cron and every; allowed: one of cron and every" },
        { "both, the other way round",
          HEAD "sources: [{name: a, kind: tree, cron: 0 0 * * *, every: 1h, paths: [/a]}]",
          ":3: source a: both cron and every" },
        { "a line that is none", TREE "  cron: '0 24 * * *'\n",
          ":8: cron: hour \"24\" is not understood; allowed: 0-23, *" },
        { "cron without a zone",
          "vault: /v\nsources: [{name: a, kind: tree, cron: 0 0 * * *, paths: [/a]}]",
          ":2: source a: cron wants to know the time zone; allowed: a key beside sources" },
        { "a name twice", TREE "- {name: a, kind: tree, every: 1h, paths: [/a]}\n",
          ":8: source a: stands in line 4 already; allowed: names of their own" },
        { "an anchor", "vault: &v /v\n", ":1: anchors (&) are not used here" },
        { "an anchor of a list", "vault: /v\nsources: &s [a]\n", ":2: anchors (&)" },
        { "an alias", "vault: /v\nsources: *s\n", ":2: aliases (*) are not used here" },
        { "a pattern without quotes", TREE "  exclude: [*.tmp]\n", ":8: " },
        { "a tag", "vault: !!str /v\n", ":1: tags (!) are not used here" },
        { "a tag of a mapping", "vault: /v\nlimits: !x {at-once: 1}\n", ":2: tags (!)" },
        { "a second document", TREE "---\nvault: /w\n", ":8: a second document (---) begins here" },
        { "too deep", "vault: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
          ":1: lists and mappings nested" },
        { "no YAML", "vault: /v\nsources: [\n", ": did not find expected" },
        { "a tab", "vault: /v\n\tsources: 1\n", ":2: " },
        { "no UTF-8", "vault: /v\n\nlimits: \xff\n", ":3: invalid leading UTF-8 octet" },
        { "a control character", "vault: \"/v\\a\"\n", ":1: vault: has control characters" },
        { "a NUL", "vault: \"/v\\0\"\n", ":1: a NUL within a text" },
        { "two lines in a path", "vault: \"/v\\nw\"\n", ":1: vault: has control characters" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
        dz_err err = { 0 };

        if (take(rows[i].text, &c, &err) != DZ_E_MALFORMED || c.vault ||
            !strstr(err.what, rows[i].says))
            fail_msg("%s: %s", rows[i].what, err.what);
    }
}

static void long_files_lists_and_texts_are_refused(void **state) {
    static const struct {
        const char *what, *head, *part, *tail, *says;
        unsigned times; /* that the part stands there and is refused; once less is not */
    } rows[] = {
        { "the file", "# ", "x",
          "\nvault: /v\nsources: [{name: a, kind: tree, every: 1s, paths: [/a]}]",
          "262145 bytes; allowed: up to 262144", 262145 - 69 },
        { "a text", "vault: /", "v", "\nsources: [{name: a, kind: tree, every: 1s, paths: [/a]}]",
          ":1: a text of 4097 bytes; allowed: up to 4096", 4096 },
        { "a list", "vault: /v\nsources: [{name: a, kind: tree, every: 1s, paths: [", "/a,", "]}]",
          ":2: paths: 1001 entries; allowed: up to 1000", 1001 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned n = rows[i].times - 1; n <= rows[i].times; n++) {
            DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
            dz_autobuf dz_buf text = { 0 };
            dz_err err = { 0 };
            dz_status s;

            dz_buf_printf(&text, "%s", rows[i].head);
            for (unsigned k = 0; k < n; k++)
                dz_buf_printf(&text, "%s", rows[i].part);
            dz_buf_printf(&text, "%s", rows[i].tail);
            assert_true(dz_buf_ok(&text));
            s = dz_config_read(dz_buf_slice(&text), "dozod.yaml", &c, &err);
            if (n < rows[i].times ? s != DZ_OK : s != DZ_E_LIMIT || !strstr(err.what, rows[i].says))
                fail_msg("%s, %u times: %s (%zu bytes)", rows[i].what, n, err.what, text.len);
        }
}

static void too_many_sources_are_refused(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    dz_autobuf dz_buf text = { 0 };
    dz_err err = { 0 };

    (void) state;
    dz_buf_printf(&text, "vault: /v\nsources:\n");
    for (unsigned k = 0; k <= DZ_FEEDS_MAX; k++)
        dz_buf_printf(&text, "- {name: s%u, kind: tree, every: 1s, paths: [/a]}\n", k);
    assert_int_equal(dz_config_read(dz_buf_slice(&text), "dozod.yaml", &c, &err), DZ_E_LIMIT);
    assert_non_null(strstr(err.what, ":3: sources: 1001 of them; allowed: up to 1000"));
}

/* --- the file --------------------------------------------------------------------------------- */

static void a_file_that_others_may_write_is_refused(void **state) {
    char dir[] = "/tmp/dozo-config-XXXXXX", path[64];
    static const char text[] = TREE;
    static const struct {
        mode_t mode;
        dz_status status;
    } rows[] = { { 0600, DZ_OK }, { 0644, DZ_OK }, { 0664, DZ_E_POLICY }, { 0602, DZ_E_POLICY } };
    dz_autobuf dz_buf file = { 0 };
    int fd;

    (void) state;
    assert_non_null(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/dozod.yaml", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
        dz_err err = { 0 };

        assert_int_equal(fchmod(fd, rows[i].mode), 0);
        if (dz_config_load(path, &file, &c, &err) != rows[i].status)
            fail_msg("mode %o: %s", rows[i].mode, err.what);
    }
    (void) close(fd);
    {
        DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
        assert_int_equal(dz_config_load(dir, &file, &c, NULL), DZ_E_POLICY);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(dz_config_load(path, &file, &c, NULL), DZ_E_IO);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_is_said_is_taken),
        cmocka_unit_test(what_is_not_said_has_a_value),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(long_files_lists_and_texts_are_refused),
        cmocka_unit_test(too_many_sources_are_refused),
        cmocka_unit_test(a_file_that_others_may_write_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
