#include "custody/request.h"

#include <sodium.h>
#include <stdio.h>

#include "core/hex.h"
#include "core/utf8.h"
#include "crypto/base64.h"
#include "crypto/hash.h"

enum { SECOND = 1000000, LINE_MAX_BYTES = 4096, TIME_LEN = 20 /* 2026-11-26T10:00:00Z */ };

static const char FIRST[] = "Dozo request, version 1";

/* The sentences stand in the text, in both languages: who signs reads what they approve, and a
 * kind cannot be passed off as another. */
static const struct kind {
    const char *name, *english, *japanese;
    const char *fields[DZ_REQUEST_SUBJECT_MAX + 1];
    size_t snapshots_min, snapshots_max;
} kinds[DZ_REQUEST_KIND_COUNT] = {
    [DZ_REQUEST_DELETE] = { "delete-snapshot",
                            "I approve that each snapshot below is deleted before its time. It "
                            "cannot be brought back.",
                            "下記の各スナップショットを保存期間の終わる前に削除することを承認しま"
                            "す。元に戻すことはできません。",
                            { NULL },
                            1,
                            DZ_REQUEST_SNAPSHOTS_MAX },
    [DZ_REQUEST_POLICY] = { "loosen-policy",
                            "I approve that snapshots of the source below are kept for a shorter "
                            "time from now on.",
                            "下記のソースのスナップショットの保存期間を今後短くすることを承認し"
                            "ます。",
                            { "source", "from", "to", "today" } },
    [DZ_REQUEST_RELEASE] = { "release-hold",
                             "I approve that the hold below ends: what it kept may be deleted "
                             "again when its time comes.",
                             "下記の保全を解除し、対象を期間の終了後に削除できるようにすることを"
                             "承認します。",
                             { "hold", "held-for" },
                             1,
                             DZ_REQUEST_SNAPSHOTS_MAX },
    [DZ_REQUEST_ALARM] = { "acknowledge-alarm",
                           "I approve that the alarm below, and those like it before it, are "
                           "settled: "
                           "what they kept may be deleted again when its time comes.",
                           "下記の警報と、それ以前の同種の警報を確認済みとし、警報のために保持し"
                           "ていた対象を期間の終了後に削除できるようにすることを承認します。",
                           { "alarm", "raised", "reason", "about" },
                           0,
                           DZ_REQUEST_SNAPSHOTS_MAX },
    [DZ_REQUEST_UNFREEZE] = { "unfreeze-clock",
                              "I approve that this vault trusts its clock again and snapshots "
                              "expire by it. I have checked the time below.",
                              "この保管庫が時計を再び信頼し、期限切れの処理を再開することを承認し"
                              "ます。下記の時刻を確認しました。",
                              { "event", "cause", "clock-now" } },
    [DZ_REQUEST_OPERATOR_ADD] = { "add-operator",
                                  "I approve that the holder of the key below may approve "
                                  "requests of this vault.",
                                  "下記の鍵の持ち主を、この保管庫の承認者に加えることを承認しま"
                                  "す。",
                                  { "name", "key", "key-fingerprint", "afterwards" } },
    [DZ_REQUEST_OPERATOR_REMOVE] = { "remove-operator",
                                     "I approve that the holder of the key below may no longer "
                                     "approve requests of this vault.",
                                     "下記の鍵の持ち主を、この保管庫の承認者から外すことを承認しま"
                                     "す。",
                                     { "name", "key", "key-fingerprint", "afterwards" } },
};

static const char *const lines[DZ_REQUEST_LINES] = {
    [DZ_REQUEST_ID] = "snapshot",     [DZ_REQUEST_COMMIT] = "commit",
    [DZ_REQUEST_SOURCE] = "source",   [DZ_REQUEST_ARRIVED] = "arrived",
    [DZ_REQUEST_CONTENT] = "content", [DZ_REQUEST_THEN] = "then",
};

const char *dz_request_kind_name(enum dz_request_kind kind) {
    return kinds[kind].name;
}

const char *const *dz_request_fields(enum dz_request_kind kind) {
    return kinds[kind].fields;
}

const char *dz_request_line_name(enum dz_request_line line) {
    return lines[line];
}

void dz_request_release(struct dz_request *r) {
    dz_buf_release(&r->text);
    *r = (struct dz_request){ 0 };
}

static dz_slice slice_of(const char *text) {
    return (dz_slice){ (const uint8_t *) text, strlen(text) };
}

static bool value_ok(dz_slice value, size_t max) {
    return value.len > 0 && value.len <= max && value.data[0] != ' ' &&
           value.data[value.len - 1] != ' ' && dz_utf8_plain(value);
}

/* --- making ----------------------------------------------------------------------------------- */

static void put_line(dz_buf *to, const char *name, const char *value) {
    dz_buf_printf(to, "%s: %s\n", name, value);
}

static void put_time(dz_buf *to, const char *name, int64_t us) {
    char text[DZ_TIME_UTC_TEXT];

    dz_time_utc_text(us, text); /* empty: refused when it is read */
    put_line(to, name, text);
}

static dz_status check_values(const struct dz_request_new *n, dz_err *err) {
    const char *const *fields = kinds[n->kind].fields;

    for (size_t i = 0; fields[i]; i++)
        if (!value_ok(slice_of(n->subject[i]), LINE_MAX_BYTES))
            return DZ_FAIL(err, DZ_E_USAGE,
                           "request: \"%s\" must be one line of UTF-8, all of it visible, at most "
                           "%d bytes",
                           fields[i], (int) LINE_MAX_BYTES);
    if (!value_ok(slice_of(n->why), DZ_REQUEST_WHY_MAX))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "request: the reason must be one line of UTF-8, all of it visible, 1 to %d "
                       "bytes",
                       (int) DZ_REQUEST_WHY_MAX);
    if (n->expires_us <= n->created_us || n->expires_us - n->created_us > DZ_REQUEST_LIFE_MAX_US)
        return DZ_FAIL(err, DZ_E_USAGE, "request: it may live for up to %d days",
                       (int) (DZ_REQUEST_LIFE_MAX_US / SECOND / 86400));
    return DZ_OK;
}

static dz_status check_snapshots(const struct dz_request_new *n, dz_err *err) {
    const struct kind *k = &kinds[n->kind];

    if (n->n_snapshots < k->snapshots_min || n->n_snapshots > k->snapshots_max)
        return DZ_FAIL(err, DZ_E_USAGE, "request: it names %zu snapshots, not %zu to %zu",
                       n->n_snapshots, k->snapshots_min, k->snapshots_max);
    for (size_t i = 0; i < n->n_snapshots; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            if (!value_ok(slice_of(n->snapshots[i][l]), LINE_MAX_BYTES))
                return DZ_FAIL(err, DZ_E_USAGE,
                               "request: \"%s\" of a snapshot must be one line of UTF-8, all of it "
                               "visible",
                               lines[l]);
    return DZ_OK;
}

dz_status dz_request_make(const struct dz_request_new *n, struct dz_request *ret_request,
                          dz_err *err) {
    const struct kind *k = &kinds[n->kind];
    char hex[2 * DZ_VAULT_ID_BYTES + 1], root[45];
    uint8_t nonce[DZ_REQUEST_NONCE];
    dz_autobuf dz_buf text = { 0 };
    dz_status s;

    _Static_assert(sizeof nonce == DZ_VAULT_ID_BYTES, "one buffer for both");
    DZ_TRY(check_values(n, err));
    DZ_TRY(check_snapshots(n, err));
    dz_buf_printf(&text, "%s\n%s\n%s\n", FIRST, k->english, k->japanese);
    dz_hex(n->vault.b, sizeof n->vault.b, hex);
    put_line(&text, "vault", hex);
    put_line(&text, "fingerprint", n->fingerprint);
    (void) sodium_bin2base64(root, sizeof root, n->head.root.b, sizeof n->head.root.b,
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_printf(&text, "log: %llu %s\n", (unsigned long long) n->head.size, root);
    put_line(&text, "kind", k->name);
    for (size_t i = 0; k->fields[i]; i++)
        put_line(&text, k->fields[i], n->subject[i]);
    for (size_t i = 0; i < n->n_snapshots; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            put_line(&text, lines[l], n->snapshots[i][l]);
    put_line(&text, "asked-by", n->asked_by);
    put_line(&text, "why", n->why);
    put_time(&text, "created", n->created_us);
    put_time(&text, "expires", n->expires_us);
    dz_random(nonce, sizeof nonce);
    dz_hex(nonce, sizeof nonce, hex);
    put_line(&text, "nonce", hex);
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "request: out of memory");
    s = dz_request_parse(dz_buf_slice(&text), ret_request, err);
    return s == DZ_E_MALFORMED || s == DZ_E_LIMIT ? DZ_FAIL(err, DZ_E_USAGE, "request: too long")
                                                  : s;
}

void dz_request_put_visible(const char *text, dz_buf *to) {
    dz_reader r = dz_reader_over((dz_slice){ (const uint8_t *) text, text ? strlen(text) : 0 });
    size_t start = to->len;

    while (dz_reader_left(&r) > 0) {
        dz_slice letter = { r.cur, 0 };
        uint32_t point;

        if (!dz_utf8_take(&r, &point))
            break;
        letter.len = (size_t) (r.cur - letter.data);
        if (to->len - start + letter.len > DZ_REQUEST_QUOTE_MAX)
            break;
        if (!dz_utf8_plain(letter))
            dz_buf_put_u8(to, '?');
        else if (point != ' ' || to->len > start)
            dz_buf_put_slice(to, letter);
    }
    while (to->len > start && to->data[to->len - 1] == ' ')
        to->len--;
    if (to->len == start)
        dz_buf_put_u8(to, '?');
}

/* --- reading ---------------------------------------------------------------------------------- */

static dz_slice take_line(dz_reader *r, size_t max) {
    dz_slice line = dz_read_until(r, '\n');

    if (!value_ok(line, max))
        r->bad = true;
    return line;
}

static dz_slice take_value(dz_reader *r, const char *name, size_t max) {
    size_t len = strlen(name);
    dz_slice head = dz_read_bytes(r, len + 2);

    if (!dz_reader_ok(r) || memcmp(head.data, name, len) != 0 ||
        memcmp(head.data + len, ": ", 2) != 0) {
        r->bad = true;
        return (dz_slice){ r->cur, 0 };
    }
    return take_line(r, max);
}

static int64_t take_time(dz_reader *r, const char *name) {
    dz_slice s = take_value(r, name, TIME_LEN);
    char text[DZ_TIME_UTC_TEXT] = "", again[DZ_TIME_UTC_TEXT];
    int64_t us = 0;

    if (s.len == TIME_LEN)
        memcpy(text, s.data, TIME_LEN);
    if (!dz_time_parse(text, &us)) {
        r->bad = true;
        return 0;
    }
    dz_time_utc_text(us, again); /* 31 February has another spelling */
    if (strcmp(text, again) != 0)
        r->bad = true;
    return us;
}

static void take_hex(dz_reader *r, const char *name, uint8_t *to, size_t len) {
    dz_slice s = take_value(r, name, 2 * len);

    if (!dz_unhex((const char *) s.data, s.len, to, len))
        r->bad = true;
}

/* A number above 0 of up to 13 digits, in its only spelling. */
static bool decimal(dz_slice s, uint64_t *ret) {
    uint64_t n = 0;

    if (s.len == 0 || s.len > 13 || s.data[0] == '0')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t) (s.data[i] - '0');
    }
    *ret = n;
    return true;
}

/* "SIZE ROOT", as in a checkpoint. */
static void take_head(dz_reader *r, dz_checkpoint *ret_head) {
    dz_slice s = take_value(r, "log", 80), size;
    dz_reader in = dz_reader_over(s);

    size = dz_read_until(&in, ' ');
    if (!decimal(size, &ret_head->size))
        in.bad = true;
    if (!dz_reader_ok(&in) || ret_head->size > DZ_LOG_SIZE_MAX ||
        dz_base64_decode((dz_slice){ in.cur, dz_reader_left(&in) }, ret_head->root.b,
                         sizeof ret_head->root.b) != sizeof ret_head->root.b)
        r->bad = true;
}

static bool begins(const dz_reader *r, const char *name) {
    size_t len = strlen(name);

    return dz_reader_left(r) > len && memcmp(r->cur, name, len) == 0 && r->cur[len] == ':';
}

static void take_snapshots(dz_reader *r, const struct kind *k, struct dz_request *q) {
    while (dz_reader_ok(r) && q->n_snapshots < k->snapshots_max && begins(r, lines[0])) {
        struct dz_request_snapshot *to = &q->snapshots[q->n_snapshots++];

        for (size_t l = 0; l < DZ_REQUEST_LINES; l++)
            to->line[l] = take_value(r, lines[l], LINE_MAX_BYTES);
        if (!dz_reader_ok(r) ||
            !dz_unhex((const char *) to->line[DZ_REQUEST_COMMIT].data,
                      to->line[DZ_REQUEST_COMMIT].len, to->file, sizeof to->file))
            r->bad = true;
    }
    if (q->n_snapshots < k->snapshots_min)
        r->bad = true;
}

static bool is_line(dz_slice line, const char *text) {
    return dz_slice_eq(line, slice_of(text));
}

/* Fills in what follows the first line.  False when the kind is not known. */
static bool take_rest(dz_reader *r, struct dz_request *q) {
    dz_slice english = take_line(r, LINE_MAX_BYTES), japanese = take_line(r, LINE_MAX_BYTES), kind;
    uint8_t nonce[DZ_REQUEST_NONCE];
    size_t k = 0;

    take_hex(r, "vault", q->vault.b, sizeof q->vault.b);
    q->fingerprint = take_value(r, "fingerprint", DZ_FINGERPRINT_TEXT);
    take_head(r, &q->head);
    kind = take_value(r, "kind", 64);
    if (!dz_reader_ok(r))
        return true;
    while (k < DZ_REQUEST_KIND_COUNT && !is_line(kind, kinds[k].name))
        k++;
    if (k == DZ_REQUEST_KIND_COUNT)
        return false;
    q->kind = (enum dz_request_kind) k;
    if (!is_line(english, kinds[k].english) || !is_line(japanese, kinds[k].japanese))
        r->bad = true;
    for (size_t i = 0; kinds[k].fields[i]; i++)
        q->subject[i] = take_value(r, kinds[k].fields[i], LINE_MAX_BYTES);
    take_snapshots(r, &kinds[k], q);
    q->asked_by = take_value(r, "asked-by", LINE_MAX_BYTES);
    q->why = take_value(r, "why", DZ_REQUEST_WHY_MAX);
    q->created_us = take_time(r, "created");
    q->expires_us = take_time(r, "expires");
    take_hex(r, "nonce", nonce, sizeof nonce);
    return true;
}

dz_status dz_request_parse(dz_slice text, struct dz_request *ret_request, dz_err *err) {
    struct dz_request q = { 0 };
    dz_reader r;
    bool known;

    if (text.len > DZ_REQUEST_TEXT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "request: %zu bytes, the limit is %d", text.len,
                       (int) DZ_REQUEST_TEXT_MAX);
    dz_buf_put_slice(&q.text, text);
    if (!dz_buf_ok(&q.text)) {
        dz_request_release(&q);
        return DZ_FAIL(err, DZ_E_NOMEM, "request: out of memory");
    }
    r = dz_reader_over(dz_buf_slice(&q.text));
    if (!is_line(take_line(&r, LINE_MAX_BYTES), FIRST)) {
        dz_request_release(&q);
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "request: does not begin with \"%s\"", FIRST);
    }
    known = take_rest(&r, &q);
    if (!known) {
        dz_request_release(&q);
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "request: of a kind that this dozo does not know");
    }
    if (!dz_reader_done(&r) || q.expires_us <= q.created_us ||
        q.expires_us - q.created_us > DZ_REQUEST_LIFE_MAX_US) {
        dz_request_release(&q);
        return DZ_FAIL(err, DZ_E_MALFORMED, "request: damaged");
    }
    dz_sha256(text, q.id);
    *ret_request = q;
    return DZ_OK;
}

bool dz_request_names(const struct dz_request *r, const dz_ledger_leaf *leaf) {
    const dz_leaf_object *o;
    size_t n = 0;

    for (; (o = dz_ledger_object(leaf, DZ_LEAF_OBJ_COMMIT, n)); n++)
        if (n == r->n_snapshots || memcmp(o->name, r->snapshots[n].file, sizeof o->name) != 0)
            return false;
    return n == r->n_snapshots;
}

dz_slice dz_request_value(const struct dz_request *r, const char *field) {
    const char *const *fields = kinds[r->kind].fields;

    for (size_t i = 0; fields[i]; i++)
        if (strcmp(fields[i], field) == 0)
            return r->subject[i];
    return (dz_slice){ NULL, 0 };
}

bool dz_request_index(const struct dz_request *r, const char *field, uint64_t *ret_index) {
    dz_slice s = dz_request_value(r, field);
    uint64_t n;

    if (!decimal(s, &n) || n >= r->head.size)
        return false;
    *ret_index = n;
    return true;
}

bool dz_request_says(const struct dz_request *r, const char *field, const char *value) {
    return dz_slice_eq(dz_request_value(r, field), slice_of(value));
}
