#include "custody/quorum.h"

#include <stdio.h>

#include "core/utf8.h"
#include "custody/effect.h"

enum { NAMES_MAX = 3000 /* bytes of names in "afterwards": a line holds 4096 */ };
#define STILL UINT64_MAX

/* --- operators -------------------------------------------------------------------------------- */

bool dz_operator_name_ok(dz_slice name) {
    if (name.len == 0 || name.len > DZ_OPERATOR_NAME_MAX || !dz_utf8_plain(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == ' ' || name.data[i] == '"' || name.data[i] == '\\')
            return false;
    return true;
}

static dz_slice slice_of(const char *text) {
    return (dz_slice){ (const uint8_t *) text, strlen(text) };
}

static bool present(const dz_operator *o) {
    return o->until == STILL;
}

const dz_operator *dz_quorum_find(const struct dz_quorum *q, const char *who) {
    for (size_t i = 0; i < q->n_operators; i++)
        if (present(&q->operators[i]) && (strcmp(q->operators[i].name, who) == 0 ||
                                          strcmp(q->operators[i].fingerprint, who) == 0))
            return &q->operators[i];
    return NULL;
}

const dz_operator *dz_quorum_find_key(const struct dz_quorum *q, const dz_ssh_key *key) {
    for (size_t i = 0; i < q->n_operators; i++)
        if (present(&q->operators[i]) && dz_ssh_key_eq(&q->operators[i].key, key))
            return &q->operators[i];
    return NULL;
}

static dz_status take_genesis(struct dz_quorum *q, const struct dz_quorum_start *start,
                              dz_err *err) {
    for (size_t i = 0; i < start->n_operators; i++) {
        dz_ssh_key key;
        dz_slice name;

        if (dz_ssh_key_parse(slice_of(start->operators[i]), &key, &name, err) != DZ_OK)
            return DZ_FAIL(err, DZ_E_CORRUPT, "vault.yaml: operator %zu is no SSH key", i + 1);
        if (!dz_quorum_find_key(q, &key))
            dz_effect_join(q, &key, name, 0);
    }
    q->needed = start->approvals;
    return DZ_OK;
}

void dz_quorum_afterwards(const struct dz_quorum *q, const dz_operator *leaves, const char *comes,
                          dz_buf *to) {
    size_t n = q->n_present - (leaves != NULL) + (comes != NULL), bytes = comes ? strlen(comes) : 0;
    const char *between = ": ";

    for (size_t i = 0; i < q->n_operators; i++)
        if (present(&q->operators[i]) && &q->operators[i] != leaves)
            bytes += strlen(q->operators[i].name) + 2;
    if (bytes > NAMES_MAX) {
        dz_buf_printf(to, "any %u of %zu operators approve", q->needed, n);
        return;
    }
    dz_buf_printf(to, "any %u of these %zu approve", q->needed, n);
    for (size_t i = 0; i < q->n_operators; i++)
        if (present(&q->operators[i]) && &q->operators[i] != leaves) {
            dz_buf_printf(to, "%s%s", between, q->operators[i].name);
            between = ", ";
        }
    if (comes)
        dz_buf_printf(to, "%s%s", between, comes);
}

static bool expired(const dz_ask *a, int64_t now_us) {
    return now_us > a->request.expires_us || a->latest_us > a->request.expires_us;
}

dz_status dz_quorum_check_open(const struct dz_quorum *q, const dz_ask *a, int64_t now_us,
                               dz_err *err) {
    if (q->needed == 0)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "this vault was made without operators: nothing can be approved");
    if (a->done)
        return DZ_FAIL(err, DZ_E_POLICY, "it was carried out already, at leaf %llu",
                       (unsigned long long) a->done);
    if (expired(a, now_us))
        return DZ_FAIL(err, DZ_E_POLICY, "it has expired: ask again");
    return dz_effect_check(q, &a->request, err);
}

/* --- signatures ------------------------------------------------------------------------------- */

dz_status dz_quorum_check_signature(const struct dz_quorum *q, const dz_ask *a, dz_slice armor,
                                    int64_t now_us, size_t *ret_by, dz_err *err) {
    char fingerprint[DZ_SSH_FINGERPRINT_TEXT];
    dz_autobuf dz_buf blob = { 0 };
    const dz_operator *o;
    dz_sshsig sig;

    DZ_TRY(dz_quorum_check_open(q, a, now_us, err));
    DZ_TRY(dz_sshsig_dearmor(armor, &blob, err));
    DZ_TRY(dz_sshsig_read(dz_buf_slice(&blob), &sig, err));
    o = dz_quorum_find_key(q, &sig.key);
    if (!o) {
        dz_ssh_key_fingerprint(&sig.key, fingerprint);
        return DZ_FAIL(err, DZ_E_POLICY, "the signature is by %s, who is no operator", fingerprint);
    }
    DZ_TRY(
        dz_sshsig_verify(&sig, &o->key, DZ_REQUEST_NAMESPACE, dz_buf_slice(&a->request.text), err));
    for (size_t i = 0; i < q->n_approvals; i++)
        if (&q->asks[q->approvals[i].ask] == a && &q->operators[q->approvals[i].by] == o)
            return DZ_FAIL(err, DZ_E_POLICY, "%s has approved it already, and counts once",
                           o->name);
    *ret_by = (size_t) (o - q->operators);
    return DZ_OK;
}

size_t dz_quorum_count(const struct dz_quorum *q, const dz_ask *a) {
    size_t n = 0;

    for (size_t i = 0; i < q->n_approvals; i++)
        n += &q->asks[q->approvals[i].ask] == a && present(&q->operators[q->approvals[i].by]);
    return n;
}

bool dz_quorum_enough(const struct dz_quorum *q, const dz_ask *a) {
    return q->needed > 0 && dz_quorum_count(q, a) >= q->needed;
}

const char *dz_ask_state_name(enum dz_ask_state state) {
    static const char *const names[] = { "open", "ready", "done", "expired", "overtaken" };

    return names[state];
}

dz_status dz_quorum_state(const struct dz_quorum *q, const dz_ask *a, int64_t now_us,
                          enum dz_ask_state *ret_state, dz_err *err) {
    dz_status s = dz_quorum_check_open(q, a, now_us, err);

    if (s == DZ_E_NOMEM)
        return s;
    if (s == DZ_OK)
        *ret_state = dz_quorum_enough(q, a) ? DZ_ASK_READY : DZ_ASK_OPEN;
    else
        *ret_state = a->done ? DZ_ASK_DONE : expired(a, now_us) ? DZ_ASK_EXPIRED : DZ_ASK_OVERTAKEN;
    return DZ_OK;
}

/* --- the replay ------------------------------------------------------------------------------- */

const dz_ask *dz_quorum_ask(const struct dz_quorum *q, const uint8_t id[32]) {
    for (size_t i = 0; i < q->n_asks; i++)
        if (memcmp(q->asks[i].request.id, id, 32) == 0)
            return &q->asks[i];
    return NULL;
}

/* The request that a leaf names. */
static const dz_ask *named(const struct dz_quorum *q, const dz_ledger_leaf *leaf) {
    const dz_leaf_object *o = dz_ledger_object(leaf, DZ_LEAF_OBJ_REQUEST, 0);

    return o ? dz_quorum_ask(q, o->name) : NULL;
}

static dz_status take_request(struct dz_quorum *q, const struct dz_quorum_start *start,
                              const dz_ledger_leaf *leaf, dz_err *err) {
    const char *text = dz_ledger_text(leaf, "text");
    struct dz_request r = { 0 };
    bool good = false;
    dz_status s;

    if (!text)
        return DZ_OK;
    s = dz_request_parse(slice_of(text), &r, NULL);
    if (s != DZ_OK) /* of a later version, or nonsense: nobody can approve it here */
        return s == DZ_E_NOMEM ? DZ_FAIL(err, s, "quorum: out of memory") : DZ_OK;
    if (memcmp(r.vault.b, start->vault.b, sizeof r.vault.b) == 0 &&
        dz_slice_eq(r.fingerprint, slice_of(start->fingerprint)) && r.head.size <= leaf->index &&
        leaf->time_us >= r.created_us - DZ_REQUEST_SLACK_US && leaf->time_us <= r.expires_us &&
        !dz_quorum_ask(q, r.id))
        s = start->was_head(start->ctx, &r.head, &good, err);
    if (good)
        q->asks[q->n_asks++] = (dz_ask){
            .request = r, .leaf = leaf->index, .time_us = leaf->time_us, .latest_us = leaf->time_us
        };
    else
        dz_request_release(&r);
    return s;
}

static dz_status take_approval(struct dz_quorum *q, const dz_ledger_leaf *leaf, dz_err *err) {
    const char *armor = dz_ledger_text(leaf, "signature");
    const dz_ask *a = named(q, leaf);
    size_t by = 0;
    dz_status s;

    if (!a || !armor)
        return DZ_OK;
    s = dz_quorum_check_signature(q, a, slice_of(armor), a->latest_us, &by, NULL);
    if (s == DZ_OK)
        q->approvals[q->n_approvals++] = (dz_approval){
            .ask = (size_t) (a - q->asks), .by = by, .leaf = leaf->index, .time_us = leaf->time_us
        };
    return s == DZ_E_NOMEM ? DZ_FAIL(err, s, "quorum: out of memory") : DZ_OK;
}

static void passed_over(struct dz_quorum *q, const dz_ledger_leaf *leaf) {
    q->first_forged = q->forged++ ? q->first_forged : leaf->index;
    q->policies.passed_over += leaf->kind == DZ_LEAF_POLICY;
}

static dz_status take_effect(struct dz_quorum *q, const dz_ledger_leaf *leaf, dz_err *err) {
    const dz_ask *a = named(q, leaf);
    dz_status s = DZ_E_POLICY;

    if (a && !dz_effect_says(&a->request, leaf))
        a = NULL;
    if (a && a->done) /* two who carried it out at once: it happened once */
        return DZ_OK;
    if (a && dz_quorum_enough(q, a))
        s = dz_quorum_check_open(q, a, a->latest_us, NULL);
    if (s == DZ_E_NOMEM)
        return DZ_FAIL(err, DZ_E_NOMEM, "quorum: out of memory");
    if (s != DZ_OK) {
        passed_over(q, leaf);
        return DZ_OK;
    }
    q->asks[a - q->asks].done = leaf->index;
    dz_effect_take(q, &a->request, leaf->index);
    return DZ_OK;
}

/* Kinds that only stand for something with a request, and any other leaf that names one. */
static bool claims_approval(const dz_ledger_leaf *leaf) {
    return leaf->kind == DZ_LEAF_OPERATOR_ADD || leaf->kind == DZ_LEAF_OPERATOR_REMOVE ||
           leaf->kind == DZ_LEAF_RELEASE || leaf->kind == DZ_LEAF_CLOCK_EVENT ||
           leaf->kind == DZ_LEAF_SETTLED || dz_ledger_object(leaf, DZ_LEAF_OBJ_REQUEST, 0);
}

static void go_on(struct dz_quorum *q, int64_t us) {
    for (size_t i = 0; i < q->n_asks; i++)
        if (!q->asks[i].done && us > q->asks[i].latest_us)
            q->asks[i].latest_us = us;
}

static dz_status replay(struct dz_quorum *q, const struct dz_quorum_start *start,
                        const struct dz_ledger *ledger, dz_err *err) {
    DZ_TRY(dz_policies_begin(ledger, &q->policies, err));
    DZ_TRY(take_genesis(q, start, err));
    for (size_t i = 0; i < ledger->n; i++) {
        const dz_ledger_leaf *leaf = &ledger->leaves[i];

        go_on(q, leaf->until_us);
        if (leaf->kind == DZ_LEAF_REQUEST)
            DZ_TRY(take_request(q, start, leaf, err));
        else if (leaf->kind == DZ_LEAF_APPROVE)
            DZ_TRY(take_approval(q, leaf, err));
        else if (claims_approval(leaf))
            DZ_TRY(take_effect(q, leaf, err));
        else if (leaf->kind == DZ_LEAF_POLICY && !dz_policies_take(&q->policies, leaf))
            passed_over(q, leaf);
    }
    go_on(q, ledger->tail_us);
    return DZ_OK;
}

dz_status dz_quorum_replay(const struct dz_quorum_start *start, const struct dz_ledger *ledger,
                           struct dz_quorum *ret, dz_err *err) {
    size_t requests = 1, approvals = 1, joining = start->n_operators + 1;
    struct dz_quorum q = { .ledger = ledger };
    dz_status s;

    for (size_t i = 0; i < ledger->n; i++) {
        requests += ledger->leaves[i].kind == DZ_LEAF_REQUEST;
        approvals += ledger->leaves[i].kind == DZ_LEAF_APPROVE;
        joining += ledger->leaves[i].kind == DZ_LEAF_OPERATOR_ADD;
    }
    q.asks = calloc(requests, sizeof *q.asks);
    q.approvals = calloc(approvals, sizeof *q.approvals);
    q.operators = calloc(joining, sizeof *q.operators);
    s = q.asks && q.approvals && q.operators ? replay(&q, start, ledger, err)
                                             : DZ_FAIL(err, DZ_E_NOMEM, "quorum: out of memory");
    if (s == DZ_OK)
        *ret = q;
    else
        dz_quorum_release(&q);
    return s;
}

void dz_quorum_release(struct dz_quorum *q) {
    for (size_t i = 0; i < q->n_asks; i++)
        dz_request_release(&q->asks[i].request);
    free(q->asks);
    free(q->approvals);
    free(q->operators);
    dz_policies_release(&q->policies);
    *q = (struct dz_quorum){ 0 };
}

const dz_ask *dz_quorum_approved(const struct dz_quorum *q, uint64_t leaf) {
    for (size_t i = 0; leaf > 0 && i < q->n_asks; i++)
        if (q->asks[i].done == leaf)
            return &q->asks[i];
    return NULL;
}

/* --- of a vault ------------------------------------------------------------------------------- */

/* The Merkle tree says it: the log's present head must continue the old one (RFC 9162, 2.1.4). */
static dz_status was_head(void *ctx, const dz_checkpoint *head, bool *ret_was, dz_err *err) {
    struct dz_vault *v = ctx;
    dz_merkle_proof proof;
    dz_checkpoint now;
    dz_status s;

    (void) pthread_mutex_lock(&v->log_lock);
    now = dz_tlog_head(v->log);
    s = head->size > now.size ? DZ_E_USAGE
                              : dz_tlog_prove_consistency(v->log, head->size, &proof, err);
    (void) pthread_mutex_unlock(&v->log_lock);
    *ret_was =
        s == DZ_OK && dz_merkle_consistent(head->size, &head->root, now.size, &now.root, &proof);
    return s == DZ_E_USAGE ? DZ_OK : s;
}

dz_status dz_quorum_read(struct dz_vault *v, const struct dz_ledger *ledger, struct dz_quorum *ret,
                         dz_err *err) {
    char fingerprint[DZ_FINGERPRINT_TEXT];
    const struct dz_quorum_start start = { .vault = v->config.id,
                                           .fingerprint = fingerprint,
                                           .operators = v->config.operators,
                                           .n_operators = v->config.n_operators,
                                           .approvals = v->config.approvals,
                                           .was_head = was_head,
                                           .ctx = v };

    dz_keys_fingerprint(v->host, fingerprint);
    return dz_quorum_replay(&start, ledger, ret, err);
}
