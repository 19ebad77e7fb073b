/* What an agent keeps is there again, and nobody else's. */
#include "agent/state.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/durable.h"

struct place {
    char dir[64], state[80];
};

static int setup(void **state) {
    struct place *p = calloc(1, sizeof *p);

    if (!p || dz_crypto_init(NULL) != DZ_OK)
        return -1;
    (void) snprintf(p->dir, sizeof p->dir, "/tmp/dozo-agent-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    (void) snprintf(p->state, sizeof p->state, "%s/state", p->dir);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;
    pid_t child = fork();

    if (child == 0) {
        (void) execlp("rm", "rm", "-rf", p->dir, NULL);
        _exit(127);
    }
    (void) waitpid(child, NULL, 0);
    free(p);
    return 0;
}

static struct dz_agent_state must_open(const struct place *p) {
    struct dz_agent_state s = { 0 };
    dz_err err = { 0 };

    if (dz_agent_state_open(p->state, &s, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return s;
}

/* The certificate of this key by some authority. */
static void certify(const uint8_t key[DZ_CA_KEY], dz_buf *cert, dz_buf *authority) {
    const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    const dz_vault_id id = { { 1 } };
    DZ_AUTO(dz_host_keys) host = NULL;
    DZ_AUTO(dz_ca) ca = NULL;

    assert_int_equal(dz_keys_derive(root, &id, 1, &host, NULL, NULL), DZ_OK);
    assert_int_equal(dz_ca_new(host, 0, &ca, NULL), DZ_OK);
    assert_int_equal(dz_ca_source(ca, "emr", key, 0, cert, NULL), DZ_OK);
    dz_buf_put_slice(authority, dz_ca_cert(ca));
}

static void who_it_is_is_there_again(void **state) {
    dz_autobuf dz_buf cert = { 0 }, authority = { 0 };
    struct dz_agent_state s = must_open(*state);
    uint8_t key[DZ_CA_KEY], digest[DZ_SHA256_BYTES] = { 5 }, proof[DZ_WIRE_PROOF];
    struct dz_wire_cert m = { .source = DZ_SLICE_LIT("emr") };

    assert_string_equal(s.source, "");
    assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    memcpy(key, s.key, sizeof key);
    assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    assert_memory_equal(key, s.key, sizeof key);
    dz_agent_state_close(&s);

    s = must_open(*state);
    assert_memory_equal(key, s.key, sizeof key);
    assert_string_equal(s.source, "");
    certify(key, &cert, &authority);
    m.cert = dz_buf_slice(&cert);
    m.ca = dz_buf_slice(&authority);
    assert_int_equal(dz_agent_set_identity(&s, &m, NULL), DZ_OK);
    dz_agent_state_close(&s);

    s = must_open(*state);
    assert_string_equal(s.source, "emr");
    assert_true(dz_slice_eq(dz_buf_slice(&s.cert), m.cert));
    assert_true(dz_slice_eq(dz_buf_slice(&s.authority), m.ca));
    assert_int_equal(dz_agent_sign(&s, digest, proof, NULL), DZ_OK);
    assert_int_equal(crypto_sign_verify_detached(proof, digest, sizeof digest, key), 0);
    dz_agent_state_close(&s);
}

static void a_certificate_of_another_key_is_refused(void **state) {
    dz_autobuf dz_buf cert = { 0 }, authority = { 0 };
    struct dz_agent_state s = must_open(*state);
    struct dz_wire_cert m = { .source = DZ_SLICE_LIT("emr") };
    const uint8_t other[DZ_CA_KEY] = { 9 };

    assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    certify(other, &cert, &authority);
    m.cert = dz_buf_slice(&cert);
    m.ca = dz_buf_slice(&authority);
    assert_int_equal(dz_agent_set_identity(&s, &m, NULL), DZ_E_MALFORMED);
    m.cert = DZ_SLICE_LIT("no certificate");
    assert_int_equal(dz_agent_set_identity(&s, &m, NULL), DZ_E_MALFORMED);
    dz_agent_state_close(&s);
    s = must_open(*state);
    assert_string_equal(s.source, "");
    dz_agent_state_close(&s);
}

static void a_run_is_the_same_until_it_is_over(void **state) {
    uint8_t first[DZ_WIRE_RUN], then[DZ_WIRE_RUN];
    struct dz_agent_state s = must_open(*state);
    bool again = true;

    assert_int_equal(dz_agent_run(&s, first, &again, NULL), DZ_OK);
    assert_false(again);
    dz_agent_state_close(&s);
    s = must_open(*state);
    assert_int_equal(dz_agent_run(&s, then, &again, NULL), DZ_OK);
    assert_true(again);
    assert_memory_equal(first, then, sizeof first);
    assert_int_equal(dz_agent_run_over(&s, NULL), DZ_OK);
    assert_int_equal(dz_agent_run_over(&s, NULL), DZ_OK);
    assert_int_equal(dz_agent_run(&s, then, &again, NULL), DZ_OK);
    assert_false(again);
    assert_memory_not_equal(first, then, sizeof first);
    dz_agent_state_close(&s);
}

static void others_are_kept_out(void **state) {
    struct dz_agent_state s = must_open(*state), second = { 0 };
    const struct place *p = *state;

    assert_int_equal(dz_agent_state_open(p->state, &second, NULL), DZ_E_BUSY);
    dz_agent_state_close(&s);
    assert_int_equal(chmod(p->state, 0750), 0);
    assert_int_equal(dz_agent_state_open(p->state, &second, NULL), DZ_E_POLICY);
}

static void what_was_begun_is_swept(void **state) {
    struct dz_agent_state s = must_open(*state);
    char temp[DZ_TEMP_NAME_MAX];
    int fd = -1;

    assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    assert_int_equal(dz_durable_temp(s.dirfd, temp, &fd, NULL), DZ_OK);
    (void) close(fd);
    dz_agent_state_close(&s);
    s = must_open(*state);
    assert_int_equal(faccessat(s.dirfd, temp, F_OK, 0), -1);
    assert_int_equal(faccessat(s.dirfd, "key", F_OK, 0), 0);
    dz_agent_state_close(&s);
}

static void what_is_damaged_is_said(void **state) {
    static const char *const names[] = { "key", "identity", "run" };
    const struct place *p = *state;
    struct dz_agent_state s = must_open(p);
    uint8_t run[DZ_WIRE_RUN];
    bool again;

    assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dz_agent_state second = { 0 };
        int fd = openat(s.dirfd, names[i], O_WRONLY | O_CREAT | O_TRUNC, 0600);

        assert_true(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
        dz_agent_state_close(&s);
        if (i < 2) {
            assert_int_equal(dz_agent_state_open(p->state, &second, NULL), DZ_E_CORRUPT);
            s = (struct dz_agent_state){ .dirfd = open(p->state, O_RDONLY | O_DIRECTORY) };
            assert_int_equal(unlinkat(s.dirfd, names[i], 0), 0);
            dz_agent_state_close(&s);
        }
        s = must_open(p);
        assert_int_equal(dz_agent_make_key(&s, NULL), DZ_OK);
    }
    assert_int_equal(dz_agent_run(&s, run, &again, NULL), DZ_OK); /* a new one, at worst */
    assert_false(again);
    dz_agent_state_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_it_is_is_there_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_certificate_of_another_key_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_is_the_same_until_it_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(others_are_kept_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_begun_is_swept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_damaged_is_said, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
