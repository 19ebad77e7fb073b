/* A stream is kept whole or not at all. */
#include "intake/stream.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/durable.h"
#include "intake/read_file.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"
#include "store/snapshot.h"
#include "tests/unit/intake/scratch.h"

enum { MIB = 1 << 20, LONG = 2 * DZ_SPAN + 12345 };

/* --- who writes ------------------------------------------------------------------------------- */

/* Bytes without a pattern (xorshift), `skip` of them left out: the same stream, moved. */
static uint8_t *noise(size_t len, size_t skip) {
    uint8_t *bytes = malloc(len);
    uint64_t x = 88172645463325252u;

    assert_non_null(bytes);
    for (size_t i = 0; i < len + skip; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (i >= skip)
            bytes[i - skip] = (uint8_t) (x >> 32);
    }
    return bytes;
}

struct writer {
    int fd;
    const uint8_t *bytes;
    size_t len, at_once; /* a pipe gives what is there: short reads are the rule */
};

static void *write_all(void *arg) {
    struct writer *w = arg;

    for (size_t at = 0; at < w->len;) {
        size_t n = w->len - at < w->at_once ? w->len - at : w->at_once;
        if (dz_write_all(w->fd, (dz_slice){ w->bytes + at, n }) != 0)
            break;
        at += n;
    }
    (void) close(w->fd);
    return NULL;
}

struct ended {
    dz_status say;
    unsigned times;
};

static dz_status finish(void *ctx, dz_err *err) {
    struct ended *e = ctx;

    e->times++;
    return e->say == DZ_OK ? DZ_OK : DZ_FAIL(err, e->say, "the dump broke off");
}

static dz_status keep(struct scratch *s, const uint8_t *bytes, size_t len, size_t at_once,
                      struct ended *ended, struct dz_commit *ret_commit, dz_err *err) {
    DZ_AUTO(dz_vault) v = scratch_open(s, false);
    struct dz_stream_how how = { .source = "db", .name = "db.dump", .finish = finish };
    struct writer w = { .bytes = bytes, .len = len, .at_once = at_once };
    pthread_t thread;
    dz_status st;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    how.finish_ctx = ended;
    how.fd = fds[0];
    w.fd = fds[1];
    assert_int_equal(pthread_create(&thread, NULL, write_all, &w), 0);
    st = dz_stream_run(v, &how, ret_commit, err);
    (void) close(fds[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return st;
}

/* --- what was kept ---------------------------------------------------------------------------- */

static size_t snapshots(struct scratch *s) {
    DZ_AUTO(dz_vault) v = scratch_open(s, false);
    struct dz_snapshot last;
    size_t n = dz_tlog_head(v->log).size - 1; /* the genesis is no snapshot; alarms are not ours */

    assert_int_equal(dz_snapshot_find(v, "latest:db", &last, NULL), n > 0 ? DZ_OK : DZ_E_NOT_FOUND);
    if (n > 0)
        dz_snapshot_release(&last);
    return n;
}

static void assert_latest(struct scratch *s, const uint8_t *bytes, size_t len) {
    DZ_AUTO(dz_vault) v = scratch_open(s, true);
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_cursor) c = NULL;
    DZ_AUTO(dz_content_reader) r = NULL;
    struct dz_snapshot snap = { 0 };
    struct dz_source source;
    dz_content_span span;
    size_t at = 0;
    bool end = false;
    dz_entry e;

    assert_int_equal(dz_snapshot_find(v, "latest:db", &snap, NULL), DZ_OK);
    assert_int_equal(dz_fetch_new(v, 64 * MIB, &fetch, NULL), DZ_OK);
    source = dz_fetch_source(fetch);
    assert_int_equal(dz_cursor_new(&source, &snap.commit.root, &c, NULL), DZ_OK);
    assert_int_equal(dz_cursor_find(c, DZ_SLICE_LIT("db.dump"), &e, NULL), DZ_OK);
    assert_int_equal(e.type, DZ_ENTRY_FILE);
    assert_int_equal(e.mode, 0600);
    assert_int_equal(e.size, len);
    assert_int_equal(e.flags, 0);
    assert_true(e.mtime_s > 1700000000);
    assert_int_equal(dz_content_reader_new(&source, &r, NULL), DZ_OK);
    assert_int_equal(dz_content_reader_start(r, dz_entry_field(&e, DZ_TAG_CONTENT), 0, NULL),
                     DZ_OK);
    while (dz_content_reader_next(r, &span, &end, NULL) == DZ_OK && !end) {
        struct dz_held held;
        assert_int_equal(dz_fetch_hold(fetch, DZ_KIND_DATA, &span.id, &held, NULL), DZ_OK);
        assert_true(held.bytes.len <= len - at);
        assert_memory_equal(held.bytes.data, bytes + at, held.bytes.len);
        at += held.bytes.len;
        dz_fetch_drop(fetch, &held);
    }
    assert_true(end);
    assert_int_equal(at, len);
    dz_snapshot_release(&snap);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_stream_of_many_spans_comes_back(void **state) {
    struct scratch *s = *state;
    dz_autofree uint8_t *bytes = noise(LONG, 0);
    const size_t lengths[] = { 1, DZ_SPAN - 1, DZ_SPAN, DZ_SPAN + 1, LONG };

    scratch_vault(s);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct ended ended = { 0 };
        struct dz_commit c = { 0 };
        dz_err err = { 0 };

        if (keep(s, bytes, lengths[i], i == 0 ? 1 : 70001, &ended, &c, &err) != DZ_OK)
            fail_msg("%s", err.what);
        assert_int_equal(ended.times, 1);
        assert_int_equal(c.files, 1);
        assert_int_equal(c.bytes, lengths[i]);
        assert_int_equal(c.errors + c.changed, 0);
        dz_commit_release(&c);
        assert_int_equal(snapshots(s), i + 1);
        assert_latest(s, bytes, lengths[i]);
    }
}

static void what_is_the_same_is_stored_once_even_when_it_moved(void **state) {
    struct scratch *s = *state;
    dz_autofree uint8_t *bytes = noise(LONG, 0), *moved = noise(LONG - 1000, 1000);
    struct ended ended = { 0 };
    struct dz_commit c = { 0 };

    scratch_vault(s);
    assert_int_equal(keep(s, bytes, LONG, MIB, &ended, &c, NULL), DZ_OK);
    assert_true(c.new_bytes >= LONG);
    dz_commit_release(&c);
    assert_int_equal(keep(s, bytes, LONG, 4096, &ended, &c, NULL), DZ_OK);
    assert_true(c.new_bytes < 64 << 10); /* the entry, with its new time */
    dz_commit_release(&c);
    /* at each of three spans' fronts and at the end a chunk or two is new */
    assert_int_equal(keep(s, moved, LONG - 1000, MIB, &ended, &c, NULL), DZ_OK);
    if (c.new_bytes > LONG / 4)
        fail_msg("%llu bytes are new", (unsigned long long) c.new_bytes);
    dz_commit_release(&c);
    assert_latest(s, moved, LONG - 1000);
}

static void what_its_writer_disowns_is_not_kept(void **state) {
    struct scratch *s = *state;
    dz_autofree uint8_t *bytes = noise(LONG, 0);
    struct ended good = { 0 }, bad = { .say = DZ_E_IO };
    struct dz_commit c = { 0 };
    dz_err err = { 0 };

    scratch_vault(s);
    assert_int_equal(keep(s, bytes, MIB, MIB, &good, &c, NULL), DZ_OK);
    dz_commit_release(&c);
    assert_int_equal(keep(s, bytes, LONG, MIB, &bad, &c, &err), DZ_E_IO);
    assert_string_equal(err.what, "the dump broke off");
    assert_int_equal(bad.times, 1);
    assert_int_equal(snapshots(s), 1);
    assert_latest(s, bytes, MIB);
    /* and the vault goes on */
    assert_int_equal(keep(s, bytes, LONG, MIB, &good, &c, NULL), DZ_OK);
    dz_commit_release(&c);
    assert_latest(s, bytes, LONG);
}

static void nothing_is_no_dump(void **state) {
    struct scratch *s = *state;
    struct ended ended = { 0 }, bad = { .say = DZ_E_LIMIT };
    struct dz_commit c = { 0 };

    scratch_vault(s);
    assert_int_equal(keep(s, NULL, 0, 1, &ended, &c, NULL), DZ_E_NOT_FOUND);
    assert_int_equal(ended.times, 1); /* why it is empty, its writer may know: asked first */
    assert_int_equal(keep(s, NULL, 0, 1, &bad, &c, NULL), DZ_E_LIMIT);
    assert_int_equal(snapshots(s), 0);
}

static void a_stream_that_cannot_be_read_is_not_kept(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    struct ended ended = { 0 };
    struct dz_stream_how how = {
        .source = "db", .name = "x", .fd = -1, .finish = finish, .finish_ctx = &ended
    };
    struct dz_commit c = { 0 };
    dz_err err = { 0 };

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_int_equal(dz_stream_run(v, &how, &c, &err), DZ_E_IO);
    assert_int_equal(err.sys_errno, EBADF);
    assert_int_equal(ended.times, 0);
    assert_int_equal(snapshots(s), 0);
}

static void names_are_one_component(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_stream_how how = { .source = "db", .fd = -1 };
    const char *const bad[] = { "", ".", "..", "/", "a/b", "/a", "a/" };
    struct dz_commit c = { 0 };
    char name[257];

    scratch_vault(s);
    v = scratch_open(s, false);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        how.name = bad[i];
        assert_int_equal(dz_stream_run(v, &how, &c, NULL), DZ_E_USAGE);
    }
    how.name = "db.dump";
    how.source = "../db";
    assert_int_equal(dz_stream_run(v, &how, &c, NULL), DZ_E_USAGE);
    memset(name, 'n', sizeof name - 1);
    name[256] = '\0';
    assert_false(dz_stream_name_ok(name));
    name[255] = '\0';
    assert_true(dz_stream_name_ok(name));
    assert_true(dz_stream_name_ok("..."));
    assert_true(dz_stream_name_ok("電子カルテ.dump"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
        IN_SCRATCH(a_stream_of_many_spans_comes_back),
        IN_SCRATCH(what_is_the_same_is_stored_once_even_when_it_moved),
        IN_SCRATCH(what_its_writer_disowns_is_not_kept),
        IN_SCRATCH(nothing_is_no_dump),
        IN_SCRATCH(a_stream_that_cannot_be_read_is_not_kept),
        IN_SCRATCH(names_are_one_component),
    };

    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
