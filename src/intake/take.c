#include "intake/take.h"

#include <sodium.h>

#include "intake/take_run.h"

enum { BUSY_AFTER_S = 60 };

struct dz_take {
    struct dz_take_how how;
    struct dz_take_state state;
    enum dz_wire_state turn;
    uint8_t nonce[DZ_WIRE_NONCE];
    uint8_t key[DZ_WIRE_KEY]; /* of the source, when it has proved its name by one */
    struct dz_take_run *run;
    dz_buf in, out, path;
    size_t sent; /* of out */
};

/* --- answers ---------------------------------------------------------------------------------- */

static void refuse(struct dz_take *t, const struct dz_wire_refused *refused, const dz_err *why) {
    t->state.is = DZ_TAKE_REFUSED;
    t->state.waiting = false;
    t->state.running = false;
    t->state.refused = *refused;
    t->state.why = *why;
    if (t->run && refused->after_s > 0) /* no rule was broken: what came need not come again */
        DZ_IGNORE(dz_take_run_keep(t->run, NULL));
    dz_take_run_free(DZ_TAKE(t->run));
    dz_wire_put_refused(&t->out, refused); /* without memory for it the end itself is the answer */
}

static void refuse_code(struct dz_take *t, uint16_t code, const dz_err *why) {
    refuse(t, &(struct dz_wire_refused){ .code = code }, why);
}

static void done(struct dz_take *t, const struct dz_wire_done *m, bool again) {
    t->state.is = DZ_TAKE_DONE;
    t->state.running = false;
    t->state.done = *m;
    t->state.again = again;
    dz_take_run_free(DZ_TAKE(t->run));
    dz_wire_put_done(&t->out, m);
}

/* --- before a run ----------------------------------------------------------------------------- */

static void take_hello(struct dz_take *t, const struct dz_wire_hello *m) {
    dz_err why = { 0 };

    if (m->lowest > DZ_WIRE_VERSION || m->highest < DZ_WIRE_VERSION) {
        DZ_IGNORE(DZ_FAIL(&why, DZ_E_UNSUPPORTED, "the source speaks versions %u to %u", m->lowest,
                          m->highest));
        refuse(t, &(struct dz_wire_refused){ .code = DZ_WIRE_NO_VERSION, .limit = DZ_WIRE_VERSION },
               &why);
        return;
    }
    t->state.waiting = true;
    if (!t->how.wait)
        dz_take_admit(t);
}

/* The name is this source's: it is the one that this end of the socket pair stands for, or its key
 * signed our nonce. */
static dz_status prove(struct dz_take *t, const struct dz_wire_begin *m, const char *source,
                       dz_err *err) {
    uint8_t digest[DZ_SHA256_BYTES];

    if (t->how.source) {
        if (strcmp(source, t->how.source) != 0 || m->proof.len != 0)
            return DZ_FAIL(err, DZ_E_POLICY, "a run in another source's name");
        return DZ_OK;
    }
    if (!t->how.key)
        return DZ_FAIL(err, DZ_E_POLICY, "a run of somebody who has not enrolled");
    DZ_TRY(t->how.key(t->how.ctx, source, t->key, err));
    DZ_TRY(dz_wire_begin_digest(t->nonce, m, digest, err));
    if (m->proof.len != DZ_WIRE_PROOF ||
        crypto_sign_verify_detached(m->proof.data, digest, sizeof digest, t->key) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "a run that the source's key did not sign");
    return DZ_OK;
}

static void take_begin(struct dz_take *t, const struct dz_wire_begin *m) {
    char source[DZ_SOURCE_NAME_MAX + 1];
    struct dz_wire_ready ready;
    struct dz_wire_refused refused = { 0 };
    struct dz_wire_done before;
    bool again = false;
    dz_err why = { 0 };
    dz_status s;

    memcpy(source, m->source.data, m->source.len);
    source[m->source.len] = '\0';
    s = prove(t, m, source, &why);
    if (s != DZ_OK) {
        refuse_code(t, s == DZ_E_POLICY ? DZ_WIRE_NOT_ALLOWED : DZ_WIRE_FAILED, &why);
        return;
    }
    memcpy(t->state.source, source, sizeof source);
    s = dz_take_run_new(&t->how, m, &t->run, &again, &before, &refused, &why);
    if (s == DZ_E_BUSY) {
        refuse(t, &(struct dz_wire_refused){ .code = DZ_WIRE_BUSY, .after_s = BUSY_AFTER_S }, &why);
    } else if (s != DZ_OK && refused.code) {
        refuse(t, &refused, &why);
    } else if (s != DZ_OK) {
        refuse_code(t, DZ_WIRE_FAILED, &why);
    } else if (again) {
        done(t, &before, true);
    } else {
        t->state.running = true;
        dz_take_run_ready(t->run, &ready);
        dz_wire_put_ready(&t->out, &ready);
    }
}

/* What was proved at BEGIN still holds. */
static dz_status still_proven(struct dz_take *t, dz_err *err) {
    uint8_t key[DZ_WIRE_KEY];

    if (t->how.source)
        return DZ_OK;
    DZ_TRY(t->how.key(t->how.ctx, t->state.source, key, err));
    if (memcmp(key, t->key, sizeof key) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "the source has enrolled another key meanwhile");
    return DZ_OK;
}

static dz_status enrol(struct dz_take *t, const struct dz_wire_enrol *m, dz_err *err) {
    dz_autobuf dz_buf cert = { 0 }, authority = { 0 };
    char source[DZ_SOURCE_NAME_MAX + 1];
    uint8_t digest[DZ_SHA256_BYTES];

    if (!t->how.enrol)
        return DZ_FAIL(err, DZ_E_POLICY, "nobody enrols here");
    dz_wire_enrol_digest(t->nonce, m, digest);
    if (crypto_sign_verify_detached(m->proof, digest, sizeof digest, m->key) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "an enrolment that its key did not sign");
    DZ_TRY(t->how.enrol(t->how.ctx, m, source, &cert, &authority, err));
    if (!dz_buf_ok(&cert) || !dz_buf_ok(&authority))
        return DZ_FAIL(err, DZ_E_NOMEM, "enrolment: out of memory");
    memcpy(t->state.source, source, sizeof source);
    t->state.is = DZ_TAKE_DONE;
    t->state.enrolled = true;
    dz_wire_put_cert(&t->out,
                     &(struct dz_wire_cert){ .source = { (const uint8_t *) source, strlen(source) },
                                             .cert = dz_buf_slice(&cert),
                                             .ca = dz_buf_slice(&authority) });
    return DZ_OK;
}

/* --- messages --------------------------------------------------------------------------------- */

static dz_status commit(struct dz_take *t, const struct dz_wire_commit *m,
                        struct dz_wire_done *ret_end, dz_err *err) {
    dz_status s = still_proven(t, err);

    if (s == DZ_E_POLICY)
        t->run->refused.code = DZ_WIRE_NOT_ALLOWED;
    return s == DZ_OK ? dz_take_run_commit(t->run, m, ret_end, err) : s;
}

static void take_in_run(struct dz_take *t, const struct dz_wire_message *m, size_t payload_len) {
    struct dz_wire_done end;
    dz_err why = { 0 };
    dz_status s = m->type == DZ_WIRE_COMMIT
                      ? commit(t, &m->commit, &end, &why)
                      : dz_take_run_message(t->run, m, payload_len, &t->out, &why);

    if (s != DZ_OK) {
        struct dz_wire_refused refused = t->run->refused;
        if (refused.code == 0)
            refused = (struct dz_wire_refused){ .code = DZ_WIRE_FAILED, .after_s = BUSY_AFTER_S };
        refuse(t, &refused, &why);
    } else if (m->type == DZ_WIRE_COMMIT) {
        if (t->how.commit) {
            *t->how.commit = t->run->commit;
            t->run->commit = (struct dz_commit){ 0 };
        }
        done(t, &end, false);
    }
}

static void take_message(struct dz_take *t, uint8_t type, dz_slice payload) {
    struct dz_wire_message m;
    dz_err why = { 0 };
    dz_status s;

    if (t->state.waiting || !dz_wire_step(&t->turn, type)) {
        DZ_IGNORE(DZ_FAIL(&why, DZ_E_MALFORMED, "a message of type %d out of turn", type));
        refuse_code(t, DZ_WIRE_BAD_FRAME, &why);
        return;
    }
    s = dz_wire_read(type, payload, &t->path, &m, &why);
    if (s != DZ_OK) {
        refuse_code(t, s == DZ_E_NOMEM ? DZ_WIRE_FAILED : DZ_WIRE_BAD_FRAME, &why);
    } else if (type == DZ_WIRE_HELLO) {
        take_hello(t, &m.hello);
    } else if (type == DZ_WIRE_BEGIN) {
        take_begin(t, &m.begin);
    } else if (type == DZ_WIRE_ENROL) {
        s = enrol(t, &m.enrol, &why);
        if (s != DZ_OK)
            refuse_code(t, s == DZ_E_POLICY ? DZ_WIRE_NOT_ALLOWED : DZ_WIRE_FAILED, &why);
    } else {
        take_in_run(t, &m, payload.len);
    }
}

/* The next whole frame at *at, if there is one. */
static bool next_frame(struct dz_take *t, size_t *at) {
    dz_slice left = { t->in.data + *at, t->in.len - *at }, payload;
    dz_err why = { 0 };
    uint8_t type;
    size_t used;

    if (dz_wire_frame(left, &type, &payload, &used, &why) != DZ_OK) {
        refuse_code(t, DZ_WIRE_BAD_FRAME, &why);
        return false;
    }
    if (used == 0)
        return false;
    take_message(t, type, payload);
    *at += used;
    return true;
}

void dz_take_feed(struct dz_take *t, dz_slice bytes) {
    size_t at = 0;

    if (t->state.is != DZ_TAKE_OPEN)
        return;
    dz_buf_put_slice(&t->in, bytes);
    if (!dz_buf_ok(&t->in)) {
        dz_err why = { .status = DZ_E_NOMEM, .what = "a frame: out of memory" };
        refuse_code(t, DZ_WIRE_FAILED, &why);
        return;
    }
    while (t->state.is == DZ_TAKE_OPEN && t->in.len > at && next_frame(t, &at))
        ;
    if (at > 0) {
        memmove(t->in.data, t->in.data + at, t->in.len - at);
        t->in.len -= at;
    }
    if (!dz_buf_ok(&t->out) && t->state.is == DZ_TAKE_OPEN) { /* an answer is missing */
        dz_err why = { .status = DZ_E_NOMEM, .what = "an answer: out of memory" };
        refuse_code(t, DZ_WIRE_FAILED, &why);
    }
}

/* --- from outside ----------------------------------------------------------------------------- */

dz_status dz_take_new(const struct dz_take_how *how, struct dz_take **ret_take, dz_err *err) {
    struct dz_take *t = calloc(1, sizeof *t);

    if (!t)
        return DZ_FAIL(err, DZ_E_NOMEM, "connection: out of memory");
    t->how = *how;
    dz_random(t->nonce, sizeof t->nonce);
    *ret_take = t;
    return DZ_OK;
}

void dz_take_free(struct dz_take *t) {
    if (!t)
        return;
    dz_take_run_free(t->run);
    dz_buf_release(&t->in);
    dz_buf_release(&t->out);
    dz_buf_release(&t->path);
    free(t);
}

dz_slice dz_take_out(const struct dz_take *t) {
    return (dz_slice){ t->out.data + t->sent, t->out.len - t->sent };
}

void dz_take_sent(struct dz_take *t, size_t n) {
    t->sent += n;
    if (t->sent == t->out.len) {
        t->out.len = 0;
        t->sent = 0;
    }
}

const struct dz_take_state *dz_take_state(const struct dz_take *t) {
    return &t->state;
}

void dz_take_admit(struct dz_take *t) {
    struct dz_wire_welcome m = { .version = DZ_WIRE_VERSION };

    if (!t->state.waiting)
        return;
    t->state.waiting = false;
    memcpy(m.nonce, t->nonce, sizeof m.nonce);
    dz_wire_put_welcome(&t->out, &m);
}

void dz_take_wait(struct dz_take *t) {
    if (t->state.waiting)
        dz_wire_put_wait(&t->out);
}

void dz_take_refuse(struct dz_take *t, const struct dz_wire_refused *refused) {
    const dz_err why = { .status = DZ_E_LIMIT, .what = "ended by whoever serves the connection" };

    if (t->state.is == DZ_TAKE_OPEN)
        refuse(t, refused, &why);
}

void dz_take_cut(struct dz_take *t) {
    if (t->state.is != DZ_TAKE_OPEN)
        return;
    t->state.is = DZ_TAKE_CUT;
    t->state.waiting = false;
    t->state.running = false;
    if (t->run)
        DZ_IGNORE(dz_take_run_keep(t->run, &t->state.why)); /* else it is sent again */
    dz_take_run_free(DZ_TAKE(t->run));
}
