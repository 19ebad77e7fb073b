/* A tree that is pushed comes back as it was, however often the connection breaks. */
#include "intake/push.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "core/durable.h"
#include "intake/push_local.h"
#include "intake/push_wire.h"
#include "intake/take_serve.h"
#include "recover/restore.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/snapshot.h"
#include "tests/unit/intake/peer.h"

enum { MIB = 1 << 20, LARGE = 40 * MIB + 12345 };

struct place {
    struct scratch *s;
    int cachefd;
};

static int setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    char path[128];
    void *s = NULL;

    if (!place || scratch_setup(&s) != 0)
        return -1;
    place->s = s;
    scratch_vault(place->s);
    (void) snprintf(path, sizeof path, "%s/cache", place->s->dir);
    if (mkdir(path, 0700) < 0)
        return -1;
    place->cachefd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = place;
    return place->cachefd < 0 ? -1 : 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    void *s = place->s;

    (void) close(place->cachefd);
    free(place);
    return scratch_teardown(&s);
}

/* --- the vault at the other end ----------------------------------------------------------------
 */

struct vault_end {
    struct scratch *s;
    int fd;
    struct dz_take_limits limits;
    struct dz_take_times times;
    struct dz_take_state state;
};

static void *serve(void *arg) {
    struct vault_end *e = arg;
    DZ_AUTO(dz_vault) v = scratch_open(e->s, false);
    const struct dz_take_how how = { .vault = v, .source = "emr", .limits = e->limits };

    assert_int_equal(dz_take_serve(e->fd, &how, &e->times, &e->state, NULL), DZ_OK);
    (void) close(e->fd);
    return NULL;
}

/* A wire that breaks: after so many bytes were sent, or when DONE would come. */
struct breaking {
    struct dz_push_socket socket;
    struct dz_push_wire wire;
    size_t sent, most;
    bool before_done, committed;
};

static dz_status breaking_send(void *ctx, dz_slice bytes, dz_err *err) {
    struct breaking *b = ctx;
    dz_slice part = bytes;

    if (part.len > b->most - b->sent)
        part.len = b->most - b->sent;
    b->sent += part.len;
    b->committed = bytes.len > 0 && bytes.data[0] == DZ_WIRE_COMMIT;
    DZ_TRY(b->wire.send(b->wire.ctx, part, err));
    if (part.len == bytes.len)
        return DZ_OK;
    (void) shutdown(b->socket.fd, SHUT_RDWR);
    return DZ_FAIL(err, DZ_E_IO, "the wire broke");
}

static dz_status breaking_receive(void *ctx, uint8_t *to, size_t room, size_t *ret_len,
                                  dz_err *err) {
    struct breaking *b = ctx;
    dz_status s = b->wire.receive(b->wire.ctx, to, room, ret_len, err);

    if (s != DZ_OK || !b->before_done || !b->committed)
        return s;
    (void) shutdown(b->socket.fd, SHUT_RDWR);
    return DZ_FAIL(err, DZ_E_IO, "the wire broke");
}

struct run {
    uint8_t id;
    size_t breaks_after; /* bytes sent; 0: never */
    bool breaks_before_done, cached;
    const struct dz_push_tree *tree; /* NULL: the scratch tree */
    struct dz_take_limits limits;
    /* what came of it */
    dz_status status;
    dz_err err;
    struct dz_push_end end;
    struct dz_push_progress progress;
    struct vault_end vault;
    size_t sent;
};

static void see(void *ctx, const struct dz_push_progress *p) {
    struct run *r = ctx;

    r->progress = *p;
}

static void push_over(struct place *place, struct run *r, int fd) {
    const uint8_t secret[DZ_KEY_BYTES] = "a secret of this agent";
    const char *const paths[] = { place->s->tree };
    const struct dz_scan_how scan = { .paths = paths, .n_paths = 1 };
    DZ_AUTO(dz_push_local) local = NULL;
    struct breaking b = { .socket = { fd, 60000 },
                          .most = r->breaks_after ? r->breaks_after : SIZE_MAX,
                          .before_done = r->breaks_before_done };
    const struct dz_push_wire wire = { breaking_send, breaking_receive, &b };
    struct dz_push_tree tree;
    struct dz_push_how how = { .source = "emr",
                               .run = { r->id },
                               .host = "ward 7",
                               .wire = &wire,
                               .tree = r->tree ? r->tree : &tree,
                               .cachefd = r->cached ? place->cachefd : -1,
                               .cache_name = "paths",
                               .progress = see,
                               .ctx = r };

    b.wire = dz_push_wire_of(&b.socket);
    assert_int_equal(dz_push_local_new(&scan, secret, &local, NULL), DZ_OK);
    tree = dz_push_local_tree(local);
    r->status = dz_push_run(&how, &r->end, &r->err);
    r->sent = b.sent;
}

static void push(struct place *place, struct run *r) {
    pthread_t thread;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    r->progress = (struct dz_push_progress){ 0 };
    r->vault = (struct vault_end){ .s = place->s,
                                   .fd = fds[1],
                                   .limits = r->limits.bytes ? r->limits : DZ_TAKE_LIMITS_DEFAULT,
                                   .times = DZ_TAKE_TIMES_DEFAULT };
    assert_int_equal(pthread_create(&thread, NULL, serve, &r->vault), 0);
    push_over(place, r, fds[0]);
    (void) close(fds[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void push_ok(struct place *place, struct run *r) {
    push(place, r);
    if (r->status != DZ_OK)
        fail_msg("%s; %s", r->err.what, r->vault.state.why.what);
}

/* --- what came back ----------------------------------------------------------------------------
 */

static void restore_and_compare(struct place *place) {
    DZ_AUTO(dz_vault) v = scratch_open(place->s, true);
    DZ_AUTO(dz_fetch) fetch = NULL;
    struct dz_supply supply;
    struct dz_snapshot snap;
    struct dz_restore_result got;
    struct dz_restore_how how = { .threads = 2 };
    char to[128], back[140], tool[512];
    const char *const remove[] = { "rm", "-rf", "--", to, NULL };
    const char *const compare[] = { "python3", tool, place->s->tree, back, NULL };
    dz_err err = { 0 };

    (void) snprintf(to, sizeof to, "%s/back", place->s->dir);
    how.to = to;
    (void) snprintf(back, sizeof back, "%s/tree", to);
    for (const char *p = place->s->dir; *p; p++)
        how.strip += *p == '/';
    assert_int_equal(dz_snapshot_find(v, "latest:emr", &snap, NULL), DZ_OK);
    assert_int_equal(dz_fetch_new(v, 64 * MIB, &fetch, NULL), DZ_OK);
    supply = dz_supply_of(fetch);
    if (dz_restore(&supply, &snap.commit.root, &how, &got, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(got.left_out + got.partial, 0);
    dz_snapshot_release(&snap);
    (void) snprintf(tool, sizeof tool, "%s/tools/compare-trees.py", getenv("DOZO_TOP"));
    assert_int_equal(scratch_run(compare), 0);
    assert_int_equal(scratch_run(remove), 0);
}

static void sparse(struct scratch *s, const char *path) {
    dz_autoclose int fd = open(scratch_at(s, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "first", 5, MIB), 5);
    assert_int_equal(pwrite(fd, "second", 6, 5 * MIB + 17), 6);
    assert_int_equal(ftruncate(fd, 64 * MIB), 0);
}

static void make_tree(struct scratch *s) {
    static const char *const names[] = {
        "plain", "-rf", " ", "a\nb", "\xff\xfe broken", "患者", "a", "a b", "a-b", "~", "*",
    };
    char longest[256];

    memset(longest, 'x', 255);
    longest[255] = 0;
    scratch_dir(s, "odd");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[300];

        (void) snprintf(path, sizeof path, "odd/%s", names[i]);
        scratch_text(s, path, names[i]);
    }
    scratch_text(s, longest, "a long name");
    scratch_dir(s, "odd/dir");
    scratch_text(s, "odd/dir/below", "a directory stands right before what is below it");
    scratch_text(s, "odd/dir.txt", "and '.' comes after that");
    scratch_text(s, "empty", "");
    scratch_dir(s, "empty dir");
    sparse(s, "sparse");
    scratch_noise(s, "large", LARGE, 7);
    scratch_noise(s, "the same", 3 * MIB, 7);
    assert_int_equal(link(scratch_at(s, "large"), scratch_at(s, "odd/a hard link")), 0);
    assert_int_equal(symlink("../nowhere", scratch_at(s, "symlink")), 0);
    assert_int_equal(link(scratch_at(s, "symlink"), scratch_at(s, "second symlink")), 0);
    assert_int_equal(mkfifo(scratch_at(s, "fifo"), 0640), 0);
    assert_int_equal(chmod(scratch_at(s, "empty"), 04711), 0);
    if (setxattr(scratch_at(s, "empty"), "user.b", "two", 3, 0) < 0 ||
        setxattr(scratch_at(s, "empty"), "user.a", "", 0, 0) < 0 ||
        setxattr(scratch_at(s, "odd"), "user.dir", "of a directory", 14, 0) < 0)
        print_message("no extended attributes here\n");
    scratch_settle();
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void a_pushed_tree_comes_back_as_it_was(void **state) {
    struct place *place = *state;
    struct run r = { .id = 1 };

    make_tree(place->s);
    push_ok(place, &r);
    assert_int_equal(r.vault.state.is, DZ_TAKE_DONE);
    assert_int_equal(r.end.problems, 0);
    assert_int_equal(r.end.done.entries, r.progress.entries);
    assert_int_equal(r.end.done.bytes, r.progress.bytes);
    assert_int_equal(r.end.done.sent, r.progress.sent_bytes);
    assert_true(r.end.done.sent >= LARGE && r.end.done.sent < LARGE + 2 * MIB);
    restore_and_compare(place);
}

static void what_did_not_change_is_not_sent_again(void **state) {
    struct place *place = *state;
    struct run first = { .id = 1, .cached = true }, again = { .id = 2, .cached = true },
               reread = { .id = 3 }, changed = { .id = 4, .cached = true };

    make_tree(place->s);
    push_ok(place, &first);
    push_ok(place, &again);
    assert_int_equal(again.end.done.sent, 0);
    assert_int_equal(again.progress.read_bytes, 0);
    assert_int_equal(again.end.done.entries, first.end.done.entries);
    assert_true(again.sent < MIB / 4);
    restore_and_compare(place);
    push_ok(place, &reread); /* without a cache all is read, and the vault is asked */
    assert_int_equal(reread.end.done.sent, 0);
    assert_true(reread.progress.read_bytes > LARGE);
    scratch_text(place->s, "odd/plain", "something else");
    scratch_settle();
    push_ok(place, &changed);
    assert_int_equal(changed.end.done.sent, 14);
    assert_int_equal(changed.progress.read_bytes, 14);
    restore_and_compare(place);
}

static void a_run_that_is_cut_off_goes_on_where_it_was(void **state) {
    struct place *place = *state;
    const size_t at[] = { 1, 14, 60, 100, 300, 2 * MIB, 13 * MIB, 20 * MIB };
    uint64_t sent = 0;
    struct run last = { .id = 1, .cached = true };

    make_tree(place->s);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        struct run r = { .id = 1, .cached = true, .breaks_after = at[i] };

        push(place, &r);
        assert_int_equal(r.status, DZ_E_IO);
        assert_int_equal(r.vault.state.is, DZ_TAKE_CUT);
        sent += r.sent;
    }
    push_ok(place, &last);
    assert_false(last.end.again);
    /* all in all not much more than once: at a cut at most the chunks that were under way are lost
     */
    assert_true(sent + last.sent < (size_t) LARGE + 10 * MIB);
    assert_true(last.end.done.sent < LARGE / 2);
    restore_and_compare(place);
}

static void a_lost_done_is_no_second_snapshot(void **state) {
    struct place *place = *state;
    struct run lost = { .id = 1, .breaks_before_done = true }, again = { .id = 1 },
               other = { .id = 2 };
    DZ_AUTO(dz_vault) v = scratch_open(place->s, false);

    scratch_text(place->s, "a", "hello");
    push(place, &lost);
    assert_int_equal(lost.status, DZ_E_IO);
    assert_int_equal(lost.vault.state.is, DZ_TAKE_DONE);
    scratch_text(place->s, "b", "came later");
    push_ok(place, &again);
    assert_true(again.end.again);
    assert_memory_equal(again.end.done.snapshot, lost.vault.state.done.snapshot,
                        sizeof again.end.done.snapshot);
    assert_int_equal(again.end.done.arrived_us, lost.vault.state.done.arrived_us);
    assert_int_equal(again.end.done.sent, 5);
    assert_int_equal(peer_snapshots(v), 1);
    push_ok(place, &other);
    assert_false(other.end.again);
    assert_int_equal(peer_snapshots(v), 2);
}

static void what_the_vault_forgot_is_read_and_sent_again(void **state) {
    struct place *place = *state;
    struct run first = { .id = 1, .cached = true }, stale = { .id = 2, .cached = true },
               again = { .id = 2, .cached = true };
    char caches[160];
    const char *const argv[] = { "sh", "-c", "rm -r \"$0\"/sent-*", caches, NULL };

    scratch_text(place->s, "a", "hello");
    scratch_noise(place->s, "b", MIB, 1);
    scratch_settle();
    push_ok(place, &first);
    (void) snprintf(caches, sizeof caches, "%s/cache", place->s->vault);
    assert_int_equal(scratch_run(argv), 0);
    push(place, &stale);
    assert_int_equal(stale.status, DZ_E_BUSY);
    assert_true(stale.end.stale);
    assert_int_equal(stale.vault.state.is, DZ_TAKE_CUT);
    push_ok(place, &again);
    assert_int_equal(again.end.done.sent, MIB + 5);
    restore_and_compare(place);
}

static void who_is_refused_hears_why(void **state) {
    struct place *place = *state;
    struct run r = { .id = 1, .limits = { .entries = 1000, .bytes = 5 * MIB } };
    DZ_AUTO(dz_vault) v = scratch_open(place->s, false);

    scratch_noise(place->s, "large", LARGE, 7);
    push(place, &r);
    assert_int_equal(r.status, DZ_E_POLICY);
    assert_int_equal(r.end.refused.code, DZ_WIRE_LIMIT);
    assert_int_equal(r.end.refused.number, DZ_WIRE_BYTES);
    assert_int_equal(r.end.refused.limit, 5 * MIB);
    assert_int_equal(peer_snapshots(v), 0);
}

/* --- a tree that has its troubles ---------------------------------------------------------------
 */

struct fake {
    size_t at, given;
    bool was_read;
};
static const char *const fake_paths[] = { "dir",       "dir/broken", "dir/gone",
                                          "dir/large", "dir/never",  "dir/whole" };

static dz_status fake_next(void *ctx, struct dz_push_item *ret_item, bool *ret_end, dz_err *err) {
    static dz_buf large;
    struct fake *f = ctx;
    const char *path = f->at < 6 ? fake_paths[f->at] : "";

    (void) err;
    f->given = 0;
    f->was_read = false;
    *ret_end = f->at == 6;
    *ret_item = (struct dz_push_item){
        .content = f->at > 0 && f->at != 2,
        .entry = { .path = { (const uint8_t *) path, strlen(path) },
                   .type = f->at ? DZ_ENTRY_FILE : DZ_ENTRY_DIR,
                   .mode = 0700 },
    };
    if (f->at == 0) { /* attributes beyond what an entry may hold */
        dz_buf_release(&large);
        (void) dz_buf_extend(&large, DZ_ENTRY_MAX);
        memset(large.data, 0, large.len);
        ret_item->entry.fields = dz_buf_slice(&large);
    }
    if (f->at == 2) {
        ret_item->gone = true;
        ret_item->what = DZ_PROBLEM_UNREADABLE;
        ret_item->sys_errno = ENOENT;
    }
    if (f->at == 6)
        dz_buf_release(&large);
    f->at++;
    return DZ_OK;
}

static ssize_t fake_read(void *ctx, uint8_t *to, size_t room) {
    struct fake *f = ctx;
    size_t n = f->given < 3 * MIB ? room : 0;

    f->was_read = true;
    if (f->at == 5 || (n == 0 && f->at == 2)) { /* never: at once; broken: behind 3 MiB */
        errno = f->at == 5 ? EACCES : EIO;
        return -1;
    }
    memset(to, (int) f->at, n);
    f->given += n;
    return (ssize_t) n;
}

static dz_status fake_finish(void *ctx, uint64_t bytes, int failed, struct dz_push_item *item,
                             dz_err *err) {
    static uint8_t large[DZ_ENTRY_MAX];
    struct fake *f = ctx;

    (void) err;
    assert_true(f->was_read);
    assert_int_equal(bytes, f->given);
    item->entry.size = bytes;
    if (failed) {
        item->entry.flags = DZ_ENTRY_UNREADABLE;
        item->what = DZ_PROBLEM_UNREADABLE;
        item->sys_errno = failed;
    }
    if (f->at == 4)
        item->entry.fields = (dz_slice){ large, sizeof large };
    return DZ_OK;
}

static void what_cannot_be_read_is_named_and_the_rest_is_kept(void **state) {
    struct place *place = *state;
    struct fake fake = { 0 };
    const struct dz_push_tree tree = { fake_next, fake_read, fake_finish, &fake };
    struct run r = { .id = 1, .tree = &tree };
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_cursor) cursor = NULL;
    struct dz_snapshot snap;
    struct dz_source source;
    dz_entry e;
    const struct {
        const char *path;
        uint32_t flags;
        bool content;
    } rows[] = { { "dir", DZ_ENTRY_UNREADABLE, false },
                 { "dir/broken", DZ_ENTRY_UNREADABLE, false },
                 { "dir/large", DZ_ENTRY_UNREADABLE, false },
                 { "dir/never", DZ_ENTRY_UNREADABLE, false },
                 { "dir/whole", 0, true } };

    push_ok(place, &r);
    assert_int_equal(r.end.problems, 5);
    assert_int_equal(r.end.done.entries, 5);
    v = scratch_open(place->s, true);
    assert_int_equal(dz_snapshot_find(v, "latest:emr", &snap, NULL), DZ_OK);
    assert_int_equal(snap.commit.errors, 5);
    assert_int_equal(dz_fetch_new(v, MIB, &fetch, NULL), DZ_OK);
    source = dz_fetch_source(fetch);
    assert_int_equal(dz_cursor_new(&source, &snap.commit.root, &cursor, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_slice path = { (const uint8_t *) rows[i].path, strlen(rows[i].path) };

        if (dz_cursor_find(cursor, path, &e, NULL) != DZ_OK ||
            (e.flags & ~(uint32_t) DZ_ENTRY_CLAIMED) != rows[i].flags ||
            (dz_entry_field(&e, DZ_TAG_CONTENT).data != NULL) != rows[i].content)
            fail_msg("%s", rows[i].path);
    }
    assert_int_equal(dz_cursor_find(cursor, DZ_SLICE_LIT("dir/gone"), &e, NULL), DZ_E_NOT_FOUND);
    dz_snapshot_release(&snap);
}

/* --- a vault that is none -----------------------------------------------------------------------
 */

static void whoever_answers_may_be_no_vault(void **state) {
    struct place *place = *state;
    static const uint8_t http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const uint8_t welcome_0[] = "\2\0\x22\0\0\0\0\0"
                                       "0123456789abcdef0123456789abcdef";
    static const uint8_t done_at_once[] = "\x0a\0\x14\0\0\0"
                                          "0123456789abcdef\0\0\0\0";
    const struct {
        const char *name;
        dz_slice says;
        bool ends;
        int timeout_ms;
        dz_status status;
    } rows[] = {
        { "a web server", { http, sizeof http - 1 }, true, 60000, DZ_E_MALFORMED },
        { "a version that was not offered", { welcome_0, 40 }, true, 60000, DZ_E_MALFORMED },
        { "an answer out of turn", { done_at_once, 26 }, true, 60000, DZ_E_MALFORMED },
        { "somebody who hangs up", { 0 }, true, 60000, DZ_E_IO },
        { "somebody who says nothing", { 0 }, false, 1, DZ_E_IO },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_push_socket socket = { .timeout_ms = rows[i].timeout_ms };
        struct dz_push_wire wire;
        struct dz_push_how how = { .source = "emr", .host = "h", .wire = &wire, .cachefd = -1 };
        struct dz_push_end end;
        dz_err err = { 0 };
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        socket.fd = fds[0];
        wire = dz_push_wire_of(&socket);
        if (rows[i].says.len)
            assert_int_equal(dz_write_all(fds[1], rows[i].says), 0);
        if (rows[i].ends)
            assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        if (dz_push_run(&how, &end, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].name, err.what);
        (void) close(fds[0]);
        (void) close(fds[1]);
    }
    (void) place;
}

static void a_source_that_says_nothing_is_sent_away(void **state) {
    struct place *place = *state;
    struct vault_end e = { .s = place->s, .times = { .idle_s = 0, .run_s = 3600 } };
    uint8_t heard[64];
    pthread_t thread;
    int fds[2];
    ssize_t n;

    for (int i = 0; i < 2; i++) {
        if (i)
            e.times = (struct dz_take_times){ .idle_s = 3600, .run_s = 0 };
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        e.fd = fds[1];
        assert_int_equal(pthread_create(&thread, NULL, serve, &e), 0);
        n = read(fds[0], heard, sizeof heard);
        assert_true(n > DZ_WIRE_HEADER + 2);
        assert_int_equal(heard[0], DZ_WIRE_REFUSED);
        assert_int_equal(heard[DZ_WIRE_HEADER], DZ_WIRE_TOO_SLOW);
        (void) close(fds[0]);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(e.state.is, DZ_TAKE_REFUSED);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_pushed_tree_comes_back_as_it_was),
        TEST(what_did_not_change_is_not_sent_again),
        TEST(a_run_that_is_cut_off_goes_on_where_it_was),
        TEST(a_lost_done_is_no_second_snapshot),
        TEST(what_the_vault_forgot_is_read_and_sent_again),
        TEST(who_is_refused_hears_why),
        TEST(what_cannot_be_read_is_named_and_the_rest_is_kept),
        TEST(whoever_answers_may_be_no_vault),
        TEST(a_source_that_says_nothing_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
