/* Where a file's data lies, and what reading it gives. */
#include "intake/read_spans.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "core/durable.h"
#include "tests/unit/intake/scratch.h"

enum { MIB = 1 << 20 };

/* --- extents ---------------------------------------------------------------------------------- */

struct island {
    uint64_t at, length;
};

/* A file of `size` bytes with data only at the islands. */
static int make_sparse(struct scratch *s, uint64_t size, const struct island *islands, size_t n) {
    int fd = open(scratch_at(s, "sparse"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    uint8_t *bytes = malloc(MIB);

    assert_true(fd >= 0 && bytes);
    memset(bytes, 'd', MIB);
    assert_int_equal(ftruncate(fd, (off_t) size), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pwrite(fd, bytes, islands[i].length, (off_t) islands[i].at),
                         (ssize_t) islands[i].length);
    free(bytes);
    assert_int_equal(fsync(fd), 0); /* st_blocks knows of it then */
    return fd;
}

static void find(int fd, struct dz_extents *x) {
    struct stat st;
    dz_err err = { 0 };

    assert_int_equal(fstat(fd, &st), 0);
    if (dz_extents_find(fd, &st, x, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* The content begins at 0, has no gaps, and its extents do not touch each other. */
static void assert_sound(const struct dz_extents *x) {
    uint64_t content = 0, end = 0;

    for (size_t i = 0; i < x->n; i++) {
        assert_true(x->list[i].content == content);
        assert_true(x->list[i].length > 0);
        assert_true(i == 0 || x->list[i].file > end);
        content += x->list[i].length;
        end = x->list[i].file + x->list[i].length;
    }
    assert_true(end <= x->size);
    assert_true(content == x->content);
}

static void holes_are_found_wherever_they_are(void **state) {
    struct scratch *s = *state;
    static const struct {
        const char *what;
        uint64_t size;
        struct island islands[3];
        size_t n;
    } rows[] = {
        { "at the start", 2 * MIB, { { MIB, MIB } }, 1 },
        { "in the middle", 3 * MIB, { { 0, MIB }, { 2 * MIB, MIB } }, 2 },
        { "at the end", 2 * MIB, { { 0, MIB } }, 1 },
        { "everywhere", 5 * MIB, { { 0 } }, 0 },
        { "around three islands",
          9LL << 30,
          { { MIB, 4096 }, { 5LL << 30, MIB }, { 8LL << 30, 65536 } },
          3 },
        { "with a size that is no block's", 4 * MIB + 1, { { 2 * MIB, MIB } }, 1 },
    };

    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int fd = make_sparse(s, rows[r].size, rows[r].islands, rows[r].n);
        struct dz_extents x;
        dz_autobuf dz_buf fields = { 0 };
        dz_entry e = { .type = DZ_ENTRY_FILE };
        dz_reader at;
        uint64_t end = 0;

        print_message("%s\n", rows[r].what);
        find(fd, &x);
        if (rows[r].n == 1 && x.n == 1 && x.content == x.size)
            skip(); /* this file system keeps no holes */
        assert_sound(&x);
        assert_int_equal(x.size, rows[r].size);
        assert_int_equal(x.n, rows[r].n);
        for (size_t i = 0; i < x.n; i++) {
            assert_true(x.list[i].file == rows[r].islands[i].at);
            assert_true(x.list[i].length == rows[r].islands[i].length);
        }
        dz_extents_put(&x, &fields);
        e.fields = dz_buf_slice(&fields);
        at = dz_reader_over(dz_entry_field(&e, DZ_TAG_EXTENTS));
        assert_non_null(dz_entry_field(&e, DZ_TAG_EXTENTS).data);
        for (size_t i = 0; i < rows[r].n; i++) {
            assert_true(dz_read_varint(&at) == rows[r].islands[i].at - end);
            assert_true(dz_read_varint(&at) == rows[r].islands[i].length);
            end = rows[r].islands[i].at + rows[r].islands[i].length;
        }
        assert_true(dz_reader_done(&at));
        dz_extents_release(&x);
        (void) close(fd);
    }
}

static void a_file_without_holes_has_no_such_field(void **state) {
    struct scratch *s = *state;
    struct dz_extents x;
    dz_autobuf dz_buf fields = { 0 };
    int fd;

    scratch_noise(s, "sparse", 100000, 1);
    fd = open(scratch_at(s, "sparse"), O_RDONLY | O_CLOEXEC);
    find(fd, &x);
    assert_int_equal(x.content, 100000);
    dz_extents_put(&x, &fields);
    assert_int_equal(fields.len, 0);
    dz_extents_release(&x);
    (void) close(fd);
    scratch_text(s, "sparse", "");
    fd = open(scratch_at(s, "sparse"), O_RDONLY | O_CLOEXEC);
    find(fd, &x);
    dz_extents_put(&x, &fields);
    assert_int_equal(fields.len, 0);
    dz_extents_release(&x);
    (void) close(fd);
}

/* More holes than an entry may hold: the smallest are read as zeros. */
static void very_many_holes_become_fewer(void **state) {
    struct scratch *s = *state;
    enum { ISLANDS = 17000, STEP = 8192 };
    int fd = open(scratch_at(s, "sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct dz_extents x;
    dz_autobuf dz_buf fields = { 0 };
    uint64_t big = (uint64_t) ISLANDS * STEP + 64 * MIB; /* behind a large hole */

    for (int i = 0; i < ISLANDS; i++)
        assert_int_equal(pwrite(fd, "x", 1, (off_t) i * STEP), 1);
    assert_int_equal(pwrite(fd, "y", 1, (off_t) big), 1);
    find(fd, &x);
    assert_sound(&x);
    assert_true(x.n >= 2 && x.n <= 16384);
    assert_true(x.content < big); /* the large hole is kept */
    assert_true(x.list[x.n - 1].file + x.list[x.n - 1].length == big + 1);
    dz_extents_put(&x, &fields);
    assert_true(fields.len < DZ_ENTRY_MAX / 2);
    dz_extents_release(&x);
    (void) close(fd);
}

static void a_file_that_ended_early_keeps_what_was_read(void **state) {
    static const struct {
        uint64_t content; /* what was read */
        size_t n;
        uint64_t last, size;
    } rows[] = {
        /* of the extents 10..20 and 50..80 in 100 */
        { 39, 2, 29, 79 }, { 25, 2, 15, 65 }, { 11, 2, 1, 51 }, { 10, 1, 10, 20 },
        { 4, 1, 4, 14 },   { 1, 1, 1, 11 },   { 0, 0, 0, 0 },
    };

    (void) state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct dz_extents x = {
            .list = calloc(2, sizeof *x.list), .n = 2, .size = 100, .content = 40
        };

        assert_non_null(x.list);
        x.list[0] = (struct dz_extent){ 0, 10, 10 };
        x.list[1] = (struct dz_extent){ 10, 50, 30 };
        dz_extents_cut(&x, rows[r].content);
        assert_sound(&x);
        assert_int_equal(x.n, rows[r].n);
        assert_int_equal(x.content, rows[r].content);
        assert_int_equal(x.size, rows[r].size);
        if (x.n > 0)
            assert_int_equal(x.list[x.n - 1].length, rows[r].last);
        dz_extents_release(&x);
    }
}

/* --- spans ------------------------------------------------------------------------------------ */

struct reading {
    struct dz_vault *v;
    struct dz_session *session;
    struct dz_chunker *chunker;
    struct dz_lane *lane;
    struct dz_file_reader *reader;
};

static void begin(struct scratch *s, struct reading *r) {
    scratch_vault(s);
    r->v = scratch_open(s, false);
    assert_int_equal(dz_session_begin(r->v, &r->session, NULL), DZ_OK);
    assert_int_equal(dz_session_lane(r->session, &r->lane, NULL), DZ_OK);
    assert_int_equal(dz_chunker_new(r->v->host->chunk, DZ_CHUNKER_DEFAULTS, &r->chunker, NULL),
                     DZ_OK);
    assert_int_equal(dz_file_reader_new(r->chunker, r->lane, &r->reader, NULL), DZ_OK);
}

static void end(struct reading *r) {
    dz_file_reader_free(r->reader);
    dz_chunker_free(r->chunker);
    dz_session_free(r->session);
    dz_vault_free(r->v);
}

/* The chunks are these bytes, in order: their identities are recomputed. */
static void assert_chunks(const dz_buf *rows, const uint8_t *bytes, size_t len) {
    dz_reader r = dz_reader_over(dz_buf_slice(rows));
    size_t at = 0;

    while (dz_reader_left(&r) > 0) {
        dz_slice id = dz_read_bytes(&r, DZ_SHA256_BYTES);
        size_t n = dz_read_le32(&r);
        uint8_t want[DZ_SHA256_BYTES];

        assert_true(dz_reader_ok(&r) && n > 0 && n <= len - at);
        dz_sha256((dz_slice){ bytes + at, n }, want);
        assert_memory_equal(id.data, want, sizeof want);
        at += n;
    }
    assert_int_equal(at, len);
}

/* A large file read span by span gives all its bytes, and the judge sees the same as in one go. */
static void spans_together_are_the_whole(void **state) {
    struct scratch *s = *state;
    enum { LEN = 2 * DZ_SPAN + 12345 };
    struct reading r;
    struct dz_span span = { 0 };
    dz_autobuf dz_buf all = { 0 };
    struct dz_features sum, whole;
    dz_feature_record a, b;
    const uint8_t digest[DZ_FEATURE_DIGEST] = { 0 };
    uint8_t *bytes = malloc(LEN);
    struct dz_extents x;
    int fd;

    begin(s, &r);
    scratch_noise(s, "large", LEN, 7);
    fd = open(scratch_at(s, "large"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && bytes);
    assert_int_equal(dz_pread_all(fd, bytes, LEN, 0), 0);
    find(fd, &x);
    dz_features_init(&sum);
    for (uint64_t at = 0; at < LEN; at += DZ_SPAN) {
        uint64_t len = LEN - at < DZ_SPAN ? LEN - at : DZ_SPAN;
        assert_int_equal(dz_file_reader_span(r.reader, fd, &x, at, len, &span, NULL), DZ_OK);
        assert_int_equal(span.read, len);
        assert_int_equal(span.failed, 0);
        assert_chunks(&span.chunks, bytes + at, len);
        dz_buf_put_slice(&all, dz_buf_slice(&span.chunks));
        dz_features_merge(&sum, &span.features);
    }
    assert_chunks(&all, bytes, LEN);
    dz_features_init(&whole);
    dz_features_update(&whole, (dz_slice){ bytes, LEN });
    dz_features_finish(&sum, DZ_SLICE_LIT("large"), digest, &a);
    dz_features_finish(&whole, DZ_SLICE_LIT("large"), digest, &b);
    assert_memory_equal(&a, &b, sizeof a);
    /* asked for more than there is: what is there, and no error */
    assert_int_equal(dz_file_reader_span(r.reader, fd, &x, LEN - 100, 5000, &span, NULL), DZ_OK);
    assert_int_equal(span.read, 100);
    assert_int_equal(span.failed, 0);
    assert_chunks(&span.chunks, bytes + LEN - 100, 100);
    dz_extents_release(&x);
    dz_buf_release(&span.chunks);
    (void) close(fd);
    free(bytes);
    end(&r);
}

static void only_the_data_of_a_sparse_file_is_read(void **state) {
    struct scratch *s = *state;
    const struct island islands[] = { { MIB, 4096 }, { 3LL << 30, MIB }, { 7LL << 30, 8192 } };
    struct reading r;
    struct dz_span span = { 0 };
    uint8_t *bytes = malloc(2 * MIB);
    struct dz_extents x;
    int fd = make_sparse(s, 8LL << 30, islands, 3);

    begin(s, &r);
    assert_non_null(bytes);
    memset(bytes, 'd', 2 * MIB);
    find(fd, &x);
    if (x.n != 3)
        skip();
    assert_int_equal(dz_file_reader_span(r.reader, fd, &x, 0, x.content, &span, NULL), DZ_OK);
    assert_int_equal(span.read, 4096 + MIB + 8192);
    assert_chunks(&span.chunks, bytes, 4096 + MIB + 8192);
    /* a span that begins inside one extent and ends inside the next */
    assert_int_equal(dz_file_reader_span(r.reader, fd, &x, 4000, 1000, &span, NULL), DZ_OK);
    assert_chunks(&span.chunks, bytes, 1000);
    dz_extents_release(&x);
    dz_buf_release(&span.chunks);
    free(bytes);
    (void) close(fd);
    end(&r);
}

static void a_failing_read_is_said_in_the_span(void **state) {
    struct scratch *s = *state;
    struct reading r;
    struct dz_span span = { 0 };
    struct dz_extents x = { .size = 5000, .content = 5000 };
    int fd;

    begin(s, &r);
    scratch_noise(s, "f", 5000, 1);
    fd = open(scratch_at(s, "f"), O_WRONLY | O_CLOEXEC); /* cannot be read */
    assert_int_equal(dz_file_reader_span(r.reader, fd, &x, 0, 5000, &span, NULL), DZ_OK);
    assert_int_equal(span.failed, EBADF);
    assert_int_equal(span.read, 0);
    assert_int_equal(span.chunks.len, 0);
    dz_buf_release(&span.chunks);
    (void) close(fd);
    end(&r);
}

/* --- attributes ------------------------------------------------------------------------------- */

static void attributes_are_sorted_by_name(void **state) {
    struct scratch *s = *state;
    static const char *const sorted[] = { "user.a", "user.a.b", "user.b", "user.c" };
    static const char *const made[] = { "user.c", "user.a.b", "user.b", "user.a" };
    dz_autobuf dz_buf fields = { 0 }, by_name = { 0 };
    dz_entry e = { .type = DZ_ENTRY_FILE };
    dz_reader r;
    int fd, dir;

    scratch_text(s, "f", "");
    fd = open(scratch_at(s, "f"), O_RDONLY | O_CLOEXEC);
    dir = open(s->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < 4; i++)
        if (fsetxattr(fd, made[i], made[i], i, 0) != 0) /* one of them empty */
            skip();
    assert_int_equal(dz_xattrs_put(fd, -1, "f", &fields), 0);
    assert_int_equal(dz_xattrs_put(-1, dir, "f", &by_name), 0);
    assert_true(dz_slice_eq(dz_buf_slice(&fields), dz_buf_slice(&by_name)));
    e.fields = dz_buf_slice(&fields);
    r = dz_reader_over(dz_entry_field(&e, DZ_TAG_XATTRS));
    for (size_t i = 0; i < 4; i++) {
        dz_slice name = dz_read_field(&r), value = dz_read_field(&r);

        if (name.len >= 9 && memcmp(name.data, "security.", 9) == 0) { /* the system's own */
            i--;
            continue;
        }
        assert_true(
            dz_slice_eq(name, (dz_slice){ (const uint8_t *) sorted[i], strlen(sorted[i]) }));
        assert_true(value.len < 4);
    }
    (void) close(fd);
    (void) close(dir);
}

static void many_and_large_attributes_fit(void **state) {
    struct scratch *s = *state;
    dz_autobuf dz_buf fields = { 0 };
    dz_entry e = { .type = DZ_ENTRY_FILE };
    char value[60] = "v", name[64];
    unsigned set = 0, seen = 0;
    dz_reader r;
    int fd;

    scratch_text(s, "f", "");
    fd = open(scratch_at(s, "f"), O_RDONLY | O_CLOEXEC);
    while (set < 500) {
        (void) snprintf(name, sizeof name, "user.an-attribute-with-some-name-%03u", set);
        if (fsetxattr(fd, name, value, sizeof value, 0) != 0)
            break; /* the file system takes no more */
        set++;
    }
    if (set < 20)
        skip();
    assert_int_equal(dz_xattrs_put(fd, -1, "f", &fields), 0);
    e.fields = dz_buf_slice(&fields);
    for (r = dz_reader_over(dz_entry_field(&e, DZ_TAG_XATTRS)); dz_reader_left(&r) > 0;) {
        dz_slice n = dz_read_field(&r);
        seen += n.len > 5 && memcmp(n.data, "user.", 5) == 0;
        assert_true(dz_read_field(&r).data != NULL);
    }
    assert_true(dz_reader_done(&r));
    assert_int_equal(seen, set);
    (void) close(fd);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(holes_are_found_wherever_they_are),  ROW(a_file_without_holes_has_no_such_field),
        ROW(very_many_holes_become_fewer),       ROW(a_file_that_ended_early_keeps_what_was_read),
        ROW(spans_together_are_the_whole),       ROW(only_the_data_of_a_sparse_file_is_read),
        ROW(a_failing_read_is_said_in_the_span), ROW(attributes_are_sorted_by_name),
        ROW(many_and_large_attributes_fit),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
