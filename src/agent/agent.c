#include "agent/agent.h"

#include <sodium.h>
#include <time.h>
#include <unistd.h>

#include "intake/push_local.h"
#include "intake/push_wire.h"

enum {
    TIMEOUT_MS = 600000,
    ENROL_TIMEOUT_MS = 30000,
    WAIT_MAX_S = 60,    /* between two tries */
    REFUSED_MAX_S = 300 /* a vault that says to come later than this is not waited for */
};

/* --- enrol ------------------------------------------------------------------------------------ */

static dz_status show_token(struct dz_agent_state *s, struct dz_push_talk *talk,
                            const uint8_t token[DZ_WIRE_TOKEN], struct dz_wire_message *ret,
                            dz_err *err) {
    uint8_t digest[DZ_SHA256_BYTES];
    struct dz_wire_enrol m;
    struct dz_wire_message welcome;

    dz_wire_put_hello(&talk->out, &(struct dz_wire_hello){ DZ_WIRE_VERSION, DZ_WIRE_VERSION });
    DZ_TRY(dz_push_flush(talk, err));
    DZ_TRY(dz_push_hear(talk, DZ_WIRE_WELCOME, DZ_WIRE_WELCOME, &welcome, err));
    memcpy(m.token, token, sizeof m.token);
    memcpy(m.key, s->key, sizeof m.key);
    dz_wire_enrol_digest(welcome.welcome.nonce, &m, digest);
    DZ_TRY(dz_agent_sign(s, digest, m.proof, err));
    dz_wire_put_enrol(&talk->out, &m);
    DZ_TRY(dz_push_flush(talk, err));
    return dz_push_hear(talk, DZ_WIRE_CERT, DZ_WIRE_CERT, ret, err);
}

dz_status dz_agent_enrol(struct dz_agent_state *s, const char *server,
                         const uint8_t fingerprint[DZ_CA_FINGERPRINT],
                         const uint8_t token[DZ_WIRE_TOKEN], dz_err *err) {
    const struct dz_link_how how = { .server = server,
                                     .timeout_ms = ENROL_TIMEOUT_MS,
                                     .tls = { .fingerprint = fingerprint } };
    uint8_t authority[DZ_CA_FINGERPRINT];
    DZ_AUTO(dz_link) link = NULL;
    struct dz_push_wire wire;
    struct dz_push_talk talk = { .wire = &wire };
    struct dz_wire_message m;
    dz_status st;

    if (s->source[0])
        return DZ_FAIL(err, DZ_E_EXISTS, "this agent is enrolled, as %.128s", s->source);
    DZ_TRY(dz_agent_make_key(s, err));
    DZ_TRY(dz_link_open(&how, &link, err));
    wire = dz_link_wire(link);
    st = show_token(s, &talk, token, &m, err);
    if (st == DZ_OK) {
        dz_cert_fingerprint(m.cert.ca, authority);
        if (memcmp(authority, fingerprint, sizeof authority) != 0)
            st = DZ_FAIL(err, DZ_E_MALFORMED, "the vault gave another authority's certificate");
        else
            st = dz_agent_set_identity(s, &m.cert, err);
    }
    dz_push_talk_done(&talk);
    return st;
}

/* --- backup ----------------------------------------------------------------------------------- */

static dz_status send_once(struct dz_agent_state *s, const struct dz_agent_backup *how,
                           const uint8_t run[DZ_WIRE_RUN], struct dz_push_end *end, dz_err *err) {
    const struct dz_link_how link_how = { .server = how->server,
                                          .rate = how->rate,
                                          .timeout_ms = TIMEOUT_MS,
                                          .tls = { .cert = dz_buf_slice(&s->cert),
                                                   .seed = s->seed,
                                                   .authority = dz_buf_slice(&s->authority) } };
    DZ_AUTO(dz_push_local) local = NULL;
    dz_autobuf dz_buf paths = { 0 }, excludes = { 0 };
    DZ_AUTO(dz_link) link = NULL;
    uint8_t secret[DZ_KEY_BYTES];
    char host[DZ_WIRE_HOST_MAX + 1] = "";
    struct dz_push_wire wire;
    struct dz_push_tree tree;
    struct dz_push_how push;
    dz_status st;

    dz_agent_secret(s, secret);
    st = dz_push_local_new(&how->scan, secret, &local, err);
    sodium_memzero(secret, sizeof secret);
    DZ_TRY(st);
    dz_push_local_paths(local, &paths);
    for (size_t i = 0; i < how->scan.n_excludes; i++)
        dz_buf_put_field(&excludes, (dz_slice){ (const uint8_t *) how->scan.excludes[i],
                                                strlen(how->scan.excludes[i]) });
    if (!dz_buf_ok(&paths) || !dz_buf_ok(&excludes))
        return DZ_FAIL(err, DZ_E_NOMEM, "backup: out of memory");
    if (paths.len > DZ_WIRE_LISTS_MAX || excludes.len > DZ_WIRE_LISTS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "paths and globs have %zu and %zu bytes, the limit is %d",
                       paths.len, excludes.len, (int) DZ_WIRE_LISTS_MAX);
    DZ_TRY(dz_link_open(&link_how, &link, err));
    (void) gethostname(host, DZ_WIRE_HOST_MAX);
    wire = dz_link_wire(link);
    tree = dz_push_local_tree(local);
    push = (struct dz_push_how){ .source = s->source,
                                 .host = host,
                                 .paths = dz_buf_slice(&paths),
                                 .excludes = dz_buf_slice(&excludes),
                                 .sign = dz_agent_sign,
                                 .sign_ctx = s,
                                 .wire = &wire,
                                 .tree = &tree,
                                 .cachefd = s->dirfd,
                                 .cache_name = DZ_AGENT_CACHE,
                                 .reread = how->reread,
                                 .progress = how->progress,
                                 .ctx = how->ctx };
    memcpy(push.run, run, sizeof push.run);
    return dz_push_run(&push, end, err);
}

/* Seconds until another try may go better; 0: it will not. */
static unsigned worth_trying(dz_status st, const struct dz_push_end *end, unsigned failed) {
    unsigned wait = failed < 6 ? 1u << failed : WAIT_MAX_S;

    if (end->stale)
        return 1;
    if (end->refused.code)
        return end->refused.after_s <= REFUSED_MAX_S ? end->refused.after_s : 0;
    return st == DZ_E_IO ? wait : 0;
}

/* Under one run id until it stands. */
static dz_status send_until_it_stands(struct dz_agent_state *s, const struct dz_agent_backup *how,
                                      const uint8_t run[DZ_WIRE_RUN], struct dz_push_end *end,
                                      dz_err *err) {
    for (unsigned failed = 0;; failed++) {
        unsigned seconds;
        dz_status st;

        *end = (struct dz_push_end){ 0 };
        st = send_once(s, how, run, end, err);
        seconds = st == DZ_OK ? 0 : worth_trying(st, end, failed);
        if (seconds == 0 || failed + 1 >= how->tries)
            return st;
        if (how->again)
            how->again(how->ctx, err, seconds);
        (void) nanosleep(&(struct timespec){ .tv_sec = seconds }, NULL);
    }
}

dz_status dz_agent_backup(struct dz_agent_state *s, const struct dz_agent_backup *how,
                          struct dz_push_end *ret_end, dz_err *err) {
    uint8_t run[DZ_WIRE_RUN];
    bool before = true;

    if (!s->source[0])
        return DZ_FAIL(err, DZ_E_CLOSED, "this agent has not enrolled");
    /* a run from before whose snapshot turns out to stand is not today's: that one follows */
    do {
        DZ_TRY(dz_agent_run(s, run, &before, err));
        DZ_TRY(send_until_it_stands(s, how, run, ret_end, err));
        DZ_TRY(dz_agent_run_over(s, err));
    } while (before && ret_end->again);
    return DZ_OK;
}
