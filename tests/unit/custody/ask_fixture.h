/* tests/unit/custody/ask_fixture.h -- operators who ask and sign in the vault of vault_fixture.h.
 */
#pragma once

#include "core/clock.h"
#include "custody/action.h"
#include "tests/unit/custody/vault_fixture.h"

enum { ASK_ROOM = 512 };

static inline void ask_read(struct dz_custody *c) {
    dz_err err = { 0 };

    if (dz_custody_read(c, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* Asks with one operand, or none; reads again. */
static inline dz_status ask_for(struct custody_vault *v, struct dz_custody *c, const char *word,
                                const char *what, int64_t life_us, dz_err *err) {
    char copy[ASK_ROOM], *const words[] = { copy };
    const struct dz_operands typed = { .what = words, .n = what != NULL };
    struct dz_request r = { 0 };
    dz_status s;

    (void) snprintf(copy, sizeof copy, "%s", what ? what : "");
    s = dz_ask_for(c, v->tmpfd, dz_action_find(word), &typed, "somebody", "because", life_us, &r,
                   err);
    dz_request_release(&r);
    if (s == DZ_OK)
        ask_read(c);
    return s;
}

/* Operator `seed`'s signature of these bytes. */
static inline void ask_sign(uint8_t seed, dz_slice text, dz_buf *ret_armor) {
    struct ssh_signer s = ssh_signer_of(seed, false);
    dz_autobuf dz_buf blob = { 0 };

    ssh_sign(&s, DZ_REQUEST_NAMESPACE, text, &blob);
    dz_sshsig_armor(dz_buf_slice(&blob), ret_armor);
}

static inline dz_status ask_approve(struct custody_vault *v, struct dz_custody *c, size_t at,
                                    uint8_t seed, dz_err *err) {
    const dz_ask *a = &c->quorum.asks[at];
    dz_autobuf dz_buf armor = { 0 };

    ask_sign(seed, dz_buf_slice(&a->request.text), &armor);
    return dz_ask_approve(c, v->tmpfd, a, dz_buf_slice(&armor), NULL, err);
}
