#include "tests/unit/intake/scratch.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/durable.h"

int scratch_run(const char *const *argv) {
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        (void) dup2(null, 2);
        execvp(argv[0], (char *const *) (uintptr_t) argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int scratch_setup(void **state) {
    struct scratch *s = calloc(1, sizeof *s);
    const char *tmp = getenv("TMPDIR");
    char *real;

    if (!s || dz_crypto_init(NULL) != DZ_OK)
        return -1;
    (void) snprintf(s->dir, sizeof s->dir, "%s/dozo-intake-XXXXXX",
                    tmp && strlen(tmp) < 32 ? tmp : "/var/tmp");
    if (!mkdtemp(s->dir) || chmod(s->dir, 0755) < 0)
        return -1;
    real = realpath(s->dir, NULL);
    if (!real || strlen(real) >= sizeof s->dir)
        return -1;
    memcpy(s->dir, real, strlen(real) + 1);
    free(real);
    (void) snprintf(s->tree, sizeof s->tree, "%s/tree", s->dir);
    (void) snprintf(s->vault, sizeof s->vault, "%s/vault", s->dir);
    *state = s;
    return mkdir(s->tree, 0755);
}

int scratch_teardown(void **state) {
    struct scratch *s = *state;
    const char *const argv[] = { "rm", "-rf", "--", s->dir, NULL };

    (void) scratch_run(argv);
    free(s);
    return 0;
}

const char *scratch_at(struct scratch *s, const char *path) {
    static char text[4][PATH_MAX];
    static unsigned n;
    char *to = text[n++ % 4];

    (void) snprintf(to, PATH_MAX, "%s/%s", s->tree, path);
    return to;
}

void scratch_dir(struct scratch *s, const char *path) {
    assert_int_equal(mkdir(scratch_at(s, path), 0755), 0);
}

void scratch_file(struct scratch *s, const char *path, const void *bytes, size_t len) {
    int fd = open(scratch_at(s, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(dz_write_all(fd, (dz_slice){ bytes, len }), 0);
    assert_int_equal(close(fd), 0);
}

void scratch_text(struct scratch *s, const char *path, const char *text) {
    scratch_file(s, path, text, strlen(text));
}

void scratch_noise(struct scratch *s, const char *path, size_t len, uint64_t seed) {
    uint8_t *bytes = malloc(len + 8);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        dz_store_le(bytes + i, 8, seed ^ seed >> 29);
    }
    scratch_file(s, path, bytes, len);
    free(bytes);
}

void scratch_vault(struct scratch *s) {
    struct dz_vault_new how = { .path = s->vault, .now_us = dz_now_us() };
    dz_vault_id id;
    dz_err err = { 0 };

    dz_random(s->root, sizeof s->root);
    dz_random(id.b, sizeof id.b);
    if (dz_vault_create(&how, s->root, &id, NULL, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

struct dz_vault *scratch_open(struct scratch *s, bool unlocked) {
    struct dz_vault *v = NULL;
    dz_err err = { 0 };

    if (dz_vault_open(s->vault, &v, &err) != DZ_OK ||
        (unlocked && dz_vault_unlock(v, s->root, &err) != DZ_OK))
        fail_msg("%s", err.what);
    return v;
}

void scratch_settle(void) {
    (void) usleep(60000);
}
