/* vault.yaml, by libcyaml: written by hand, so that the bytes are ours, read by schema. */
#include <ctype.h>
#include <cyaml/cyaml.h>
#include <stdio.h>

#include "core/hex.h"
#include "store/vault.h"

enum {
    VERSION = 1,
    BRACKETS_MAX = 1000, /* libyaml takes quadratic time in open brackets: minutes for 250,000 */
};

struct raw {
    char *dozo;
    unsigned version;
    char *id;
    unsigned epoch;
    int64_t created_us;
    char *recipient;
    char *log_public;
    char *host_key;
    unsigned custodians;
    unsigned threshold;
    char **commitments;
    unsigned commitments_count;
    unsigned approvals;
    char **operators;
    unsigned operators_count;
};

static const cyaml_schema_value_t text_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 16384),
};
static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_STRING_PTR("dozo", CYAML_FLAG_POINTER, struct raw, dozo, 1, 16),
    CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, struct raw, version),
    CYAML_FIELD_STRING_PTR("id", CYAML_FLAG_POINTER, struct raw, id, 32, 32),
    CYAML_FIELD_UINT("epoch", CYAML_FLAG_DEFAULT, struct raw, epoch),
    CYAML_FIELD_INT("created_us", CYAML_FLAG_DEFAULT, struct raw, created_us),
    CYAML_FIELD_STRING_PTR("recipient", CYAML_FLAG_POINTER, struct raw, recipient, 64, 64),
    CYAML_FIELD_STRING_PTR("log_public", CYAML_FLAG_POINTER, struct raw, log_public, 64, 64),
    CYAML_FIELD_STRING_PTR("host_key", CYAML_FLAG_POINTER, struct raw, host_key, 1, 4096),
    CYAML_FIELD_UINT("custodians", CYAML_FLAG_DEFAULT, struct raw, custodians),
    CYAML_FIELD_UINT("threshold", CYAML_FLAG_DEFAULT, struct raw, threshold),
    CYAML_FIELD_SEQUENCE("commitments", CYAML_FLAG_POINTER, struct raw, commitments, &text_entry, 0,
                         DZ_SHARES_MAX),
    CYAML_FIELD_UINT("approvals", CYAML_FLAG_DEFAULT, struct raw, approvals),
    CYAML_FIELD_SEQUENCE("operators", CYAML_FLAG_POINTER, struct raw, operators, &text_entry, 0,
                         DZ_OPERATORS_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, fields),
};

/* Keeps the first complaint of libcyaml, which names the line. */
__attribute__((format(printf, 3, 0))) static void keep_first(cyaml_log_t level, void *ctx,
                                                             const char *fmt, va_list args) {
    char *first = ctx;

    if (level >= CYAML_LOG_ERROR && first[0] == '\0') {
        (void) vsnprintf(first, 160, fmt, args);
        first[strcspn(first, "\n")] = '\0';
    }
}

static void put_list(dz_buf *to, const char *key, size_t n,
                     const char *(*item)(const void *, size_t), const void *ctx) {
    dz_buf_printf(to, "%s:%s\n", key, n ? "" : " []");
    for (size_t i = 0; i < n; i++)
        dz_buf_printf(to, "  - \"%s\"\n", item(ctx, i));
}

static const char *commitment_text(const void *ctx, size_t i) {
    static _Thread_local char text[65];
    const struct dz_vault_config *c = ctx;

    dz_hex(c->commitments + 32 * i, 32, text);
    return text;
}

static const char *operator_text(const void *ctx, size_t i) {
    const struct dz_vault_config *c = ctx;
    return c->operators[i];
}

/* What stands between double quotes as it is. */
static bool plain_text(const char *s) {
    for (; *s; s++)
        if ((unsigned char) *s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)
            return false;
    return true;
}

dz_status dz_vault_config_write(const struct dz_vault_config *c, dz_buf *to, dz_err *err) {
    char id[2 * DZ_VAULT_ID_BYTES + 1], recipient[65], log_public[65];

    if (!plain_text(c->host_key))
        return DZ_FAIL(err, DZ_E_USAGE, "the host key's path has control characters, \" or \\");
    for (size_t i = 0; i < c->n_operators; i++)
        if (!plain_text(c->operators[i]))
            return DZ_FAIL(err, DZ_E_USAGE, "operator key %zu has control characters, \" or \\",
                           i + 1);
    dz_hex(c->id.b, sizeof c->id.b, id);
    dz_hex(c->recipient, 32, recipient);
    dz_hex(c->log_public, 32, log_public);
    dz_buf_printf(to,
                  "# A Dozo vault.  Leaf 0 of the log binds these bytes: do not edit.\n"
                  "dozo: vault\nversion: %d\nid: \"%s\"\nepoch: %u\ncreated_us: %lld\n"
                  "recipient: \"%s\"\nlog_public: \"%s\"\nhost_key: \"%s\"\n"
                  "custodians: %u\nthreshold: %u\n",
                  VERSION, id, c->epoch, (long long) c->created_us, recipient, log_public,
                  c->host_key, c->custodians, c->threshold);
    put_list(to, "commitments", c->commitments ? c->custodians : 0, commitment_text, c);
    dz_buf_printf(to, "approvals: %u\n", c->approvals);
    put_list(to, "operators", c->n_operators, operator_text, c);
    return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "vault.yaml: out of memory");
}

void dz_vault_config_release(struct dz_vault_config *c) {
    free(c->host_key);
    free(c->commitments);
    for (size_t i = 0; i < c->n_operators; i++)
        free(c->operators[i]);
    free(c->operators);
    *c = (struct dz_vault_config){ 0 };
}

static dz_status take(const struct raw *raw, struct dz_vault_config *c, dz_err *err) {
    if (strcmp(raw->dozo, "vault") != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "vault.yaml: 'dozo' must be 'vault'");
    if (raw->version != VERSION)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "vault.yaml: version %u; this dozo knows %d",
                       raw->version, VERSION);
    if (!dz_unhex(raw->id, strlen(raw->id), c->id.b, sizeof c->id.b) ||
        !dz_unhex(raw->recipient, strlen(raw->recipient), c->recipient, 32) ||
        !dz_unhex(raw->log_public, strlen(raw->log_public), c->log_public, 32))
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "vault.yaml: id, recipient and log_public are lower-case hex digits");
    if (raw->custodians > DZ_SHARES_MAX || raw->threshold > raw->custodians ||
        (raw->threshold == 0) != (raw->custodians == 0) ||
        raw->commitments_count != raw->custodians || raw->approvals > raw->operators_count)
        return DZ_FAIL(
            err, DZ_E_MALFORMED,
            "vault.yaml: %u of %u custodians, %u commitments, %u approvals of %u operators "
            "do not fit together",
            raw->threshold, raw->custodians, raw->commitments_count, raw->approvals,
            raw->operators_count);
    if (!plain_text(raw->host_key))
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "vault.yaml: host_key has control characters, \" or \\");
    c->epoch = raw->epoch;
    c->created_us = raw->created_us;
    c->custodians = raw->custodians;
    c->threshold = raw->threshold;
    c->approvals = raw->approvals;
    c->host_key = strdup(raw->host_key);
    c->operators = calloc(raw->operators_count + 1, sizeof *c->operators);
    c->commitments = calloc(raw->custodians + 1, 32);
    if (!c->host_key || !c->operators || !c->commitments)
        return DZ_FAIL(err, DZ_E_NOMEM, "vault.yaml: out of memory");
    for (unsigned i = 0; i < raw->operators_count; i++) {
        if (!plain_text(raw->operators[i]))
            return DZ_FAIL(err, DZ_E_MALFORMED,
                           "vault.yaml: operator %u has control characters, \" or \\", i + 1);
        c->operators[i] = strdup(raw->operators[i]);
        if (!c->operators[i])
            return DZ_FAIL(err, DZ_E_NOMEM, "vault.yaml: out of memory");
        c->n_operators++;
    }
    for (unsigned i = 0; i < raw->commitments_count; i++)
        if (!dz_unhex(raw->commitments[i], strlen(raw->commitments[i]), c->commitments + 32 * i,
                      32))
            return DZ_FAIL(err, DZ_E_MALFORMED, "vault.yaml: commitment %u is not 64 hex digits",
                           i + 1);
    return DZ_OK;
}

static bool too_many_brackets(dz_slice text) {
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '[' || text.data[i] == '{';
    return n > BRACKETS_MAX;
}

dz_status dz_vault_config_read(dz_slice text, struct dz_vault_config *ret_config, dz_err *err) {
    char first[160] = "";
    const cyaml_config_t how = {
        .log_fn = keep_first,
        .log_ctx = first,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_IGNORE_UNKNOWN_KEYS | CYAML_CFG_NO_ALIAS,
    };
    struct dz_vault_config c = { 0 };
    struct raw *raw = NULL;
    cyaml_err_t r;
    dz_status s;

    if (text.len > DZ_VAULT_FILE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "vault.yaml: %zu bytes, limit is %d", text.len,
                       DZ_VAULT_FILE_MAX);
    if (too_many_brackets(text))
        return DZ_FAIL(err, DZ_E_LIMIT, "vault.yaml: more than %d brackets [ or {", BRACKETS_MAX);
    r = cyaml_load_data(text.data, text.len, &how, &schema, (cyaml_data_t **) &raw, NULL);
    if (r == CYAML_ERR_OOM)
        return DZ_FAIL(err, DZ_E_NOMEM, "vault.yaml: out of memory");
    if (r != CYAML_OK || !raw)
        return DZ_FAIL(err, DZ_E_MALFORMED, "vault.yaml: %s", first[0] ? first : cyaml_strerror(r));
    s = take(raw, &c, err);
    (void) cyaml_free(&how, &schema, raw, 0);
    if (s != DZ_OK) {
        dz_vault_config_release(&c);
        return s;
    }
    *ret_config = c;
    return DZ_OK;
}
