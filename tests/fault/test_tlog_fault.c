/* Every system call and every allocation of the log fails once: the log is the old one or the new
 * one, verifies clean, and the next append works, with the same handle and with a fresh one. */
#include "core/durable.h"
#include "tests/fault/fault_alloc.h"
#include "tests/fault/fault_os.h"
#include "tests/tlog_fixture.h"

static const struct {
    const char *name;
    uint64_t from, to;
} rows[] = {
    { "the first entry", 0, 1 },
    { "one more in a partial tile", 4, 5 },
    { "a tile gets full", 255, 256 },
    { "a new tile starts", 256, 257 },
    { "a group over two tiles", 200, 520 },
};

static const struct fault_plan plans[] = {
    { .error = EIO, .skip_syncs = true },
    { .error = ENOSPC, .forever = true, .skip_syncs = true },
    { .error = EIO, .short_io = true, .forever = true, .skip_syncs = true },
};

static dz_status try_append(struct place *p, struct dz_tlog *log, uint64_t to, dz_err *err) {
    uint64_t from = dz_tlog_head(log).size, first;
    static dz_slice entries[600];
    static char text[600][40];

    for (uint64_t i = from; i < to; i++)
        entries[i - from] = entry_of(i, text[i - from]);
    return dz_tlog_append(log, p->tmpfd, p->sec, entries, to - from, &first, err);
}

static void look(struct place *p, struct dz_tlog *log, uint64_t from, uint64_t to, bool worked) {
    struct dz_tlog *fresh = open_log(p);
    uint64_t size = dz_tlog_head(fresh).size;

    assert_true(size == to || (size == from && !worked));
    expect_clean(p, size);
    assert_int_equal(dz_tlog_refresh(log, NULL), DZ_OK);
    assert_int_equal(dz_tlog_head(log).size, size);
    append_to(p, log, size + 1);
    expect_clean(p, size + 1);
    assert_int_equal(dz_tlog_refresh(fresh, NULL), DZ_OK);
    append_to(p, fresh, size + 3);
    expect_clean(p, size + 3);
    dz_tlog_close(fresh);
}

static struct dz_tlog *start(struct place *p, uint64_t size) {
    struct dz_tlog *log;

    place_make(p);
    log = open_log(p);
    if (size > 3) /* so that there are older partial tiles, too */
        append_to(p, log, size - 2);
    if (size > 0)
        append_to(p, log, size);
    return log;
}

static void every_call_of_an_append_fails(void **state) {
    (void) state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t k = 0; k < sizeof plans / sizeof *plans; k++) {
            bool fired = true;
            long n = 0;

            for (; fired; n++) {
                struct fault_plan plan = plans[k];
                DZ_AUTO(dz_tlog) log = NULL;
                dz_err err = { 0 };
                struct place p;
                dz_status s;

                log = start(&p, rows[r].from);
                plan.allowed = n;
                fault_os_arm(plan);
                s = try_append(&p, log, rows[r].to, &err);
                fired = fault_os_disarm();
                if (s != DZ_OK) {
                    assert_true(fired);
                    assert_int_equal(err.status, s);
                    assert_int_equal(err.sys_errno, plan.error);
                }
                look(&p, log, rows[r].from, rows[r].to, s == DZ_OK);
                place_drop(&p);
            }
            print_message("%s, %s: %ld calls\n", rows[r].name, strerror(plans[k].error), n - 1);
        }
}

static void every_allocation_of_an_append_fails(void **state) {
    (void) state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        bool fired = true;
        long n = 0;

        for (; fired; n++) {
            DZ_AUTO(dz_tlog) log = NULL;
            struct place p;
            dz_status s;

            log = start(&p, rows[r].from);
            fault_alloc_arm(n);
            s = try_append(&p, log, rows[r].to, NULL);
            fired = fault_alloc_disarm();
            if (s != DZ_OK) {
                assert_true(fired);
                assert_int_equal(s, DZ_E_NOMEM);
            }
            look(&p, log, rows[r].from, rows[r].to, s == DZ_OK);
            place_drop(&p);
        }
        print_message("%s: %ld allocations\n", rows[r].name, n - 1);
    }
}

/* Opening, reading, proving: an answer that is right, or an error. */
static void reading_fails_and_says_so(void **state) {
    struct place p;
    DZ_AUTO(dz_tlog) writer = NULL;

    (void) state;
    writer = start(&p, 520);
    for (int alloc = 0; alloc < 2; alloc++) {
        bool fired = true;

        for (long n = 0; fired; n++) {
            DZ_AUTO(dz_tlog) log = NULL;
            dz_autobuf dz_buf entry = { 0 };
            dz_merkle_proof proof;
            char text[40];
            dz_status s;

            if (alloc)
                fault_alloc_arm(n);
            else
                fault_os_arm((struct fault_plan){ .allowed = n, .error = EIO });
            s = dz_tlog_open(p.logfd, &VAULT, p.pub, &log, NULL);
            if (s == DZ_OK)
                s = dz_tlog_read(log, 300, &entry, NULL);
            if (s == DZ_OK)
                s = dz_tlog_prove_consistency(log, 100, &proof, NULL);
            fired = alloc ? fault_alloc_disarm() : fault_os_disarm();
            assert_int_equal(s == DZ_OK, !fired);
            if (fired)
                assert_int_equal(s, alloc ? DZ_E_NOMEM : DZ_E_IO);
            else
                assert_true(dz_slice_eq(dz_buf_slice(&entry), entry_of(300, text)));
        }
    }
    place_drop(&p);
}

static int no_fsync(int fd) {
    (void) fd;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_an_append_fails),
        cmocka_unit_test(every_allocation_of_an_append_fails),
        cmocka_unit_test(reading_fails_and_says_so),
    };

    struct dz_os os = dz_os_real;

    if (sodium_init() < 0)
        return 1;
    os.fsync = no_fsync; /* around the faults; what syncs are for is the crash tests' matter */
    dz_os = &os;
    return cmocka_run_group_tests_name("log under faults", tests, NULL, NULL);
}
