#include "net/keep.h"

#include <signal.h>
#include <stdio.h>

#include "core/hex.h"
#include "core/sandbox.h"
#include "core/text.h"
#include "custody/clock_guard.h"
#include "custody/enrol.h"
#include "intake/take_serve.h"
#include "net/ca.h"

enum { EXIT_OK = 0, EXIT_COULD_NOT = 3 };

static const struct dz_take_times enrol_times = { .idle_s = 20, .begin_s = 30, .run_s = 60 };

struct keeper {
    struct dz_vault *v;
    const char *source;
    uint8_t key[DZ_ENROL_KEY];
};

static int could_not(const char *who, const dz_err *err) {
    (void) fprintf(stderr, "dozo-intake: %s: %s%s%s\n", who, err->what, err->sys_errno ? ": " : "",
                   err->sys_errno ? strerror(err->sys_errno) : "");
    return EXIT_COULD_NOT;
}

/* The vault is open; what a hostile source has sent is read after this.  It outlives the door, so
 * that what came is kept when that goes.  Threads are still to be made: calls are not taken away.
 */
static dz_status give_away(const char *vault, dz_err *err) {
    static const char *const read[] = { "/proc/sys/kernel/random/boot_id", NULL };
    const char *const kept[] = { vault, NULL };

    if (getenv(DZ_WITHOUT_SANDBOX))
        return DZ_OK;
    DZ_TRY(dz_sandbox_begin(0, err));
    DZ_TRY(dz_sandbox_outlive(err));
    DZ_TRY(dz_sandbox_powers(err));
    return dz_sandbox_files_keep(read, kept, err);
}

static dz_status begin(const char *vault, struct dz_vault **ret_v, dz_err *err) {
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGTERM, SIG_IGN);
    (void) signal(SIGINT, SIG_IGN);
    DZ_TRY(dz_crypto_init(err));
    DZ_TRY(dz_vault_open(vault, ret_v, err));
    return give_away(vault, err);
}

/* --- a source --------------------------------------------------------------------------------- */

/* The key by which this source signs, as the log says now. */
static dz_status key_of(void *ctx, const char *source, uint8_t ret_key[DZ_WIRE_KEY], dz_err *err) {
    const struct keeper *k = ctx;
    struct dz_enrolment e = { 0 };
    const dz_enrolled *m;
    bool counts;

    if (strcmp(source, k->source) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "a run in the name of %.64s", source);
    DZ_TRY(dz_enrolment_update(k->v, &e, err));
    m = dz_enrolled_source(&e, source);
    counts = m && memcmp(m->key, k->key, sizeof k->key) == 0;
    dz_enrolment_release(&e);
    if (!counts)
        return DZ_FAIL(err, DZ_E_POLICY, "its key no longer counts");
    memcpy(ret_key, k->key, DZ_WIRE_KEY);
    return DZ_OK;
}

static void tell(const struct keeper *k, const struct dz_take_state *state) {
    char id[2 * DZ_SNAPSHOT_ID_BYTES + 1];

    dz_hex(state->done.snapshot, sizeof state->done.snapshot, id);
    if (state->is == DZ_TAKE_DONE && state->again)
        (void) fprintf(stderr, T_("dozo-intake: %s: snapshot %s was kept before\n"), k->source, id);
    else if (state->is == DZ_TAKE_DONE)
        (void) fprintf(stderr, T_("dozo-intake: %s: snapshot %s, %llu entries\n"), k->source, id,
                       (unsigned long long) state->done.entries);
    else if (state->is == DZ_TAKE_REFUSED)
        (void) fprintf(stderr, T_("dozo-intake: %s: refused, reason %u: %s\n"), k->source,
                       state->refused.code, state->why.what);
    else
        (void) fprintf(stderr, T_("dozo-intake: %s: the connection broke off\n"), k->source);
}

int dz_keep_run(const char *vault, int pair, const char *source, const char *key) {
    struct keeper k = { .source = source };
    const struct dz_take_times times = DZ_TAKE_TIMES_DEFAULT;
    struct dz_take_how how = {
        .key = key_of, .ctx = &k, .limits = DZ_TAKE_LIMITS_DEFAULT, .day = DZ_QUOTA_LIMITS_DEFAULT
    };
    struct dz_take_state state = { 0 };
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_clock_sample now;
    dz_err err = { 0 };

    if (!dz_unhex(key, strlen(key), k.key, sizeof k.key))
        return EXIT_COULD_NOT;
    if (begin(vault, &v, &err) != DZ_OK)
        return could_not(source, &err);
    how.vault = k.v = v;
    if (dz_take_serve(pair, &how, &times, &state, &err) != DZ_OK)
        return could_not(source, &err);
    tell(&k, &state);
    dz_clock_sample(&now);
    if (dz_clock_tick_if_due(v, &now, &err) != DZ_OK)
        return could_not(source, &err);
    return EXIT_OK;
}

/* --- somebody who has a token ----------------------------------------------------------------- */

static dz_status enrol(void *ctx, const struct dz_wire_enrol *m,
                       char ret_source[DZ_SOURCE_NAME_MAX + 1], dz_buf *cert, dz_buf *authority,
                       dz_err *err) {
    const struct keeper *k = ctx;
    DZ_AUTO(dz_ca) ca = NULL;
    dz_enrolled e;

    DZ_TRY(dz_ca_new(k->v->host, k->v->config.created_us, &ca, err));
    DZ_TRY(dz_enrol_take(k->v, m->token, m->key, &e, err));
    DZ_TRY(dz_ca_source(ca, e.source, e.key, e.since_us, cert, err));
    dz_buf_put_slice(authority, dz_ca_cert(ca));
    memcpy(ret_source, e.source, sizeof e.source);
    return DZ_OK;
}

int dz_keep_enrol(const char *vault, int pair) {
    struct keeper k = { 0 };
    struct dz_take_how how = { .enrol = enrol, .ctx = &k };
    struct dz_take_state state = { 0 };
    DZ_AUTO(dz_vault) v = NULL;
    dz_err err = { 0 };

    if (begin(vault, &v, &err) != DZ_OK)
        return could_not("enrol", &err);
    how.vault = k.v = v;
    if (dz_take_serve(pair, &how, &enrol_times, &state, &err) != DZ_OK)
        return could_not("enrol", &err);
    if (state.is == DZ_TAKE_DONE)
        (void) fprintf(stderr, T_("dozo-intake: a machine has enrolled as %s\n"), state.source);
    else if (state.is == DZ_TAKE_REFUSED)
        (void) fprintf(stderr, T_("dozo-intake: who wanted to enrol was refused: %s\n"),
                       state.why.what);
    return EXIT_OK;
}
