/* Leaves of requests, approvals and changes of operators, as who has the host's keys may write
 * them.
 *
 * The input is a line a leaf: its kind, the request it names (64 digits, or "-"), its text.  The
 * corpus has one exchange that is signed by two of the three operators and adds a fourth.
 * Properties: nobody is an operator but those four, k of them always are, nobody counts twice, and
 * what was carried out was approved by enough. */
#include <stdio.h>

#include "core/hex.h"
#include "custody/quorum.h"
#include "tests/fuzz/fuzz.h"
#include "tests/ssh_fixture.h"

enum { LEAVES = 64, OPERATORS = 3, NEEDED = 2 };
#define START_US (INT64_C(1764151200) * 1000000) /* 2025-11-26T10:00:00Z */

static struct {
    dz_ledger_leaf leaves[LEAVES];
    dz_leaf_object objects[LEAVES];
} logged;

static dz_status was_head(void *ctx, const dz_checkpoint *head, bool *ret_was, dz_err *err) {
    (void) ctx;
    (void) err;
    *ret_was = head->root.b[0] == (uint8_t) head->size;
    return DZ_OK;
}

static size_t read_leaves(dz_slice input) {
    dz_reader r = dz_reader_over(input);
    size_t n = 1;

    logged.leaves[0] = (dz_ledger_leaf){ .kind = DZ_LEAF_GENESIS, .time_us = START_US };
    for (; n < LEAVES && dz_reader_left(&r) > 0; n++) {
        dz_slice line = dz_read_until(&r, '\n'), kind, name;
        dz_reader words = dz_reader_over(line);
        dz_ledger_leaf *to = &logged.leaves[n];

        kind = dz_read_until(&words, ' ');
        name = dz_read_until(&words, ' ');
        *to = (dz_ledger_leaf){ .index = n,
                                .time_us = START_US + (int64_t) n * 1000000,
                                .until_us = START_US + (int64_t) n * 1000000,
                                .objects = &logged.objects[n] };
        for (size_t i = 0; dz_reader_ok(&r) && i < kind.len && i < 2; i++)
            to->kind = (uint16_t) (to->kind * 10 + (kind.data[i] & 15));
        logged.objects[n].type = DZ_LEAF_OBJ_REQUEST;
        to->n_objects = dz_reader_ok(&words) &&
                        dz_unhex((const char *) name.data, name.len, logged.objects[n].name, 32);
        if (dz_reader_ok(&words))
            to->text = json_loadb((const char *) words.cur, dz_reader_left(&words), 0, NULL);
        if (to->text && !json_is_object(to->text)) {
            json_decref(to->text);
            to->text = NULL;
        }
    }
    return n;
}

static bool is_known(const dz_operator *o) {
    for (uint8_t seed = 1; seed <= OPERATORS + 1; seed++) {
        struct ssh_signer s = ssh_signer_of(seed, false);
        dz_autobuf dz_buf blob = { 0 };

        ssh_put_key(&s, &blob);
        if (blob.len == o->key.len && memcmp(blob.data, o->key.blob, blob.len) == 0)
            return true;
    }
    return false;
}

static void check(const struct dz_quorum *q) {
    MUST(q->n_present == OPERATORS || q->n_present == OPERATORS + 1);
    for (size_t i = 0; i < q->n_operators; i++)
        MUST(is_known(&q->operators[i]));
    for (size_t i = 0; i < q->n_approvals; i++)
        for (size_t j = 0; j < i; j++)
            MUST(q->approvals[i].ask != q->approvals[j].ask ||
                 q->approvals[i].by != q->approvals[j].by);
    for (size_t i = 0; i < q->n_asks; i++) {
        size_t before = 0;

        for (size_t j = 0; j < q->n_approvals; j++)
            before += q->approvals[j].ask == i && q->approvals[j].leaf < q->asks[i].done &&
                      q->operators[q->approvals[j].by].until >= q->asks[i].done;
        MUST(!q->asks[i].done || before >= NEEDED);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dz_quorum_start start = { .vault = { { 'v' } },
                                     .fingerprint = "2aa9-4db9-c04e-884d",
                                     .n_operators = OPERATORS,
                                     .approvals = NEEDED,
                                     .was_head = was_head };
    struct dz_ledger ledger = { .leaves = logged.leaves, .tail_us = INT64_MIN };
    char *lines[OPERATORS];
    struct dz_quorum q;

    for (uint8_t i = 0; i < OPERATORS; i++) {
        struct ssh_signer s = ssh_signer_of((uint8_t) (i + 1), false);
        dz_buf line = { 0 };
        char name[8];

        (void) snprintf(name, sizeof name, "op%d", i + 1);
        ssh_put_line(&s, name, &line);
        lines[i] = (char *) line.data;
    }
    start.operators = lines;
    ledger.n = ledger.size = read_leaves((dz_slice){ data, size });
    MUST(dz_quorum_replay(&start, &ledger, &q, NULL) == DZ_OK);
    check(&q);
    dz_quorum_release(&q);
    for (size_t i = 0; i < ledger.n; i++)
        json_decref(logged.leaves[i].text);
    for (size_t i = 0; i < OPERATORS; i++)
        free(lines[i]);
    return 0;
}
