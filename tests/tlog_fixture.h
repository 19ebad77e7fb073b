/* tests/tlog_fixture.h -- a log in a temporary directory, filled with numbered entries. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>

#include "store/tlog.h"

static const dz_vault_id VAULT = { { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19,
                                     0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f } };

struct place {
    char path[32];
    int top, logfd, tmpfd;
    uint8_t pub[32], sec[64];
};

static inline void place_make(struct place *p) {
    const uint8_t seed[32] = { 1 };

    (void) crypto_sign_seed_keypair(p->pub, p->sec, seed);
    (void) snprintf(p->path, sizeof p->path, "/tmp/dozo-tlog-XXXXXX");
    assert_non_null(mkdtemp(p->path));
    p->top = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(p->top, "log", 0700), 0);
    assert_int_equal(mkdirat(p->top, "tmp", 0700), 0);
    p->logfd = openat(p->top, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->tmpfd = openat(p->top, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(dz_tlog_create(p->logfd, p->tmpfd, &VAULT, p->sec, NULL), DZ_OK);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static inline void place_drop(struct place *p) {
    (void) close(p->logfd);
    (void) close(p->tmpfd);
    (void) close(p->top);
    assert_int_equal(nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline struct dz_tlog *open_log(const struct place *p) {
    struct dz_tlog *log = NULL;
    dz_err err = { 0 };
    dz_status s = dz_tlog_open(p->logfd, &VAULT, p->pub, &log, &err);

    if (s != DZ_OK)
        print_error("open: %s\n", err.what);
    assert_int_equal(s, DZ_OK);
    return log;
}

static inline dz_slice entry_of(uint64_t index, char text[40]) {
    (void) snprintf(text, 40, "entry %llu", (unsigned long long) index);
    return (dz_slice){ (const uint8_t *) text, strlen(text) - (index % 7 == 0) };
}

/* Appends entries [size, to) in one go. */
static inline void append_to(struct place *p, struct dz_tlog *log, uint64_t to) {
    uint64_t from = dz_tlog_head(log).size, first = UINT64_MAX;
    size_t n = (size_t) (to - from);
    dz_autofree dz_slice *entries = calloc(n, sizeof *entries);
    char(*text)[40] = calloc(n, sizeof *text);
    dz_err err = { 0 };
    dz_status s;

    for (size_t i = 0; i < n; i++)
        entries[i] = entry_of(from + i, text[i]);
    s = dz_tlog_append(log, p->tmpfd, p->sec, entries, n, &first, &err);
    if (s != DZ_OK)
        print_error("append: %s\n", err.what);
    assert_int_equal(s, DZ_OK);
    assert_int_equal(first, from);
    free(text);
}

struct findings {
    unsigned count[4];
    char last[64];
};
static inline void note_finding(void *ctx, enum dz_tlog_finding finding, const char *name) {
    struct findings *f = ctx;

    f->count[finding]++;
    if (finding != DZ_TLOG_LEFTOVER)
        (void) snprintf(f->last, sizeof f->last, "%s", name);
}

static inline struct findings verify(const struct place *p, uint64_t entries) {
    struct findings f = { 0 };
    dz_tlog_report report;

    assert_int_equal(dz_tlog_verify_all(p->logfd, &VAULT, p->pub, note_finding, &f, &report, NULL),
                     DZ_OK);
    assert_int_equal(report.bad, f.count[DZ_TLOG_DAMAGED] + f.count[DZ_TLOG_MISSING] +
                                     f.count[DZ_TLOG_UNEXPECTED]);
    if (report.bad == 0)
        assert_int_equal(report.entries, entries);
    return f;
}

static inline void expect_clean(const struct place *p, uint64_t entries) {
    struct findings f = verify(p, entries);

    if (f.last[0])
        print_error("size %llu: %s\n", (unsigned long long) entries, f.last);
    assert_string_equal(f.last, "");
}
