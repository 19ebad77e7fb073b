/* Who gets through a handshake, and who does not. */
#include "net/tls.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { TURNS = 100, MESSAGE = 100000 };

/* An authority, and what it certifies. */
struct side {
    struct dz_ca *ca;
    dz_buf vault, source;
    uint8_t vault_seed[DZ_CA_KEY], source_seed[DZ_CA_KEY], source_key[DZ_CA_KEY];
    uint8_t fingerprint[DZ_CA_FINGERPRINT];
};

static void side_open(struct side *s, uint8_t n) {
    const uint8_t root[DZ_ROOT_BYTES] = { n };
    const dz_vault_id id = { { n } };
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    DZ_AUTO(dz_host_keys) host = NULL;

    *s = (struct side){ .source_seed = { n, 2 } };
    assert_int_equal(dz_crypto_init(NULL), DZ_OK);
    assert_int_equal(dz_keys_derive(root, &id, 1, &host, NULL, NULL), DZ_OK);
    assert_int_equal(dz_ca_new(host, 0, &s->ca, NULL), DZ_OK);
    assert_int_equal(dz_ca_vault(s->ca, s->vault_seed, &s->vault, NULL), DZ_OK);
    assert_int_equal(crypto_sign_seed_keypair(s->source_key, secret, s->source_seed), 0);
    assert_int_equal(dz_ca_source(s->ca, "emr", s->source_key, 0, &s->source, NULL), DZ_OK);
    dz_cert_fingerprint(dz_ca_cert(s->ca), s->fingerprint);
}

static void side_close(struct side *s) {
    dz_ca_free(s->ca);
    dz_buf_release(&s->vault);
    dz_buf_release(&s->source);
}

struct both {
    int fds[2];
    struct dz_tls *vault, *source;
};

static void both_open(struct both *b, const struct dz_tls_how *vault,
                      const struct dz_tls_how *source) {
    dz_err err = { 0 };

    *b = (struct both){ 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->fds), 0);
    if (dz_tls_new(vault, b->fds[0], &b->vault, &err) != DZ_OK ||
        dz_tls_new(source, b->fds[1], &b->source, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static void both_close(struct both *b) {
    dz_tls_free(b->vault);
    dz_tls_free(b->source);
    (void) close(b->fds[0]);
    (void) close(b->fds[1]);
}

/* Whether both are through; in 1.3 the source is before the vault has judged it. */
static bool shake(struct both *b) {
    enum dz_tls_result v = DZ_TLS_WAIT, s = DZ_TLS_WAIT;

    for (int i = 0; i < TURNS && (v == DZ_TLS_WAIT || s == DZ_TLS_WAIT); i++) {
        if (s == DZ_TLS_WAIT)
            s = dz_tls_handshake(b->source);
        if (v == DZ_TLS_WAIT)
            v = dz_tls_handshake(b->vault);
    }
    return v == DZ_TLS_OK && s == DZ_TLS_OK;
}

static void who_gets_through(void **state) {
    enum { OURS, THEIRS, VAULTS, NONE };
    static const struct {
        const char *name;
        int shows;  /* the source's end */
        int trusts; /* likewise: an authority, or none: then by fingerprint */
        int finger; /* whose */
        bool strangers, through, known;
    } rows[] = {
        { "a source of ours", OURS, OURS, NONE, false, true, true },
        { "a source of ours, while strangers are let in", OURS, OURS, NONE, true, true, true },
        { "a source of another vault", THEIRS, OURS, NONE, false, false, false },
        { "a source of another vault, while strangers are let in", THEIRS, OURS, NONE, true, false,
          false },
        { "a source that trusts another vault", OURS, THEIRS, NONE, false, false, false },
        { "the vault's own certificate, as a source", VAULTS, OURS, NONE, false, false, false },
        { "nobody", NONE, OURS, NONE, false, false, false },
        { "a stranger who knows our fingerprint", NONE, NONE, OURS, true, true, false },
        { "a stranger who knows another one", NONE, NONE, THEIRS, true, false, false },
        { "a stranger, while none are let in", NONE, NONE, OURS, false, false, false },
        { "a stranger who trusts nobody", NONE, NONE, NONE, true, false, false },
    };
    struct side ours, theirs;
    size_t bad = 0;

    (void) state;
    side_open(&ours, 1);
    side_open(&theirs, 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct side *shown = rows[i].shows == THEIRS ? &theirs : &ours;
        const struct side *trusted = rows[i].trusts == THEIRS ? &theirs : &ours;
        struct dz_tls_how vault = { .vault = true,
                                    .cert = dz_buf_slice(&ours.vault),
                                    .seed = ours.vault_seed,
                                    .authority = dz_ca_cert(ours.ca),
                                    .strangers = rows[i].strangers };
        struct dz_tls_how source = { 0 };
        uint8_t key[DZ_CA_KEY];
        struct both b;
        bool through, known;

        if (rows[i].shows != NONE) {
            source.cert = dz_buf_slice(rows[i].shows == VAULTS ? &ours.vault : &shown->source);
            source.seed = rows[i].shows == VAULTS ? ours.vault_seed : shown->source_seed;
        }
        if (rows[i].trusts != NONE)
            source.authority = dz_ca_cert(trusted->ca);
        if (rows[i].finger != NONE)
            source.fingerprint = rows[i].finger == OURS ? ours.fingerprint : theirs.fingerprint;
        both_open(&b, &vault, &source);
        through = shake(&b);
        known = through && dz_tls_peer_key(b.vault, key) &&
                memcmp(key, ours.source_key, sizeof key) == 0;
        if (through != rows[i].through || known != rows[i].known) {
            print_error("%s: through %d, known %d\n", rows[i].name, through, known);
            bad++;
        }
        both_close(&b);
    }
    side_close(&ours);
    side_close(&theirs);
    assert_int_equal(bad, 0);
}

static void bytes_arrive_and_the_end_is_told(void **state) {
    static uint8_t message[MESSAGE], heard[MESSAGE];
    struct dz_tls_how vault, source;
    size_t sent = 0, got = 0;
    enum dz_tls_result r = DZ_TLS_WAIT;
    struct side ours;
    struct both b;

    (void) state;
    side_open(&ours, 1);
    vault = (struct dz_tls_how){ .vault = true,
                                 .cert = dz_buf_slice(&ours.vault),
                                 .seed = ours.vault_seed,
                                 .authority = dz_ca_cert(ours.ca) };
    source = (struct dz_tls_how){ .cert = dz_buf_slice(&ours.source),
                                  .seed = ours.source_seed,
                                  .authority = dz_ca_cert(ours.ca) };
    both_open(&b, &vault, &source);
    assert_true(shake(&b));
    dz_random(message, sizeof message);
    while (got < sizeof heard) {
        size_t n = 0;

        if (sent < sizeof message &&
            dz_tls_write(b.source, (dz_slice){ message + sent, sizeof message - sent }, &n) ==
                DZ_TLS_OK)
            sent += n;
        n = 0;
        if (dz_tls_read(b.vault, heard + got, sizeof heard - got, &n) == DZ_TLS_OK)
            got += n;
    }
    assert_memory_equal(message, heard, sizeof heard);
    assert_int_equal(dz_tls_close(b.source), DZ_TLS_OK);
    r = dz_tls_read(b.vault, heard, sizeof heard, &got);
    assert_int_equal(r, DZ_TLS_END);
    both_close(&b);
    side_close(&ours);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_gets_through),
        cmocka_unit_test(bytes_arrive_and_the_end_is_told),
    };
    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
