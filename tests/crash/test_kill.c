/* A program that keeps a changing tree again and again is killed at 300 random moments.  After
 * each, every snapshot that it has told of is there; from time to time, and at the end, all of them
 * are read to the last byte.
 *
 * usage: test_kill KEEPER [SEED] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "core/os.h"
#include "tests/crash/world.h"

enum { KILLS = 300, ID_TEXT = 2 * DZ_SNAPSHOT_ID_BYTES + 1 };

static const char *keeper;
static uint64_t seed;

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

/* Runs the keeper for at most `us`; appends what it told to `told`. */
static void run_and_kill(const char *vault, const char *source, uint64_t with, uint64_t us,
                         dz_buf *told) {
    const struct timespec wait = { .tv_nsec = (long) us * 1000 };
    char number[32], bytes[4096];
    int pipes[2], status;
    ssize_t n;
    pid_t pid;

    (void) snprintf(number, sizeof number, "%llu", (unsigned long long) with);
    MUST(pipe2(pipes, O_CLOEXEC) == 0);
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        (void) dup2(pipes[1], 1);
        (void) execl(keeper, keeper, vault, source, number, (char *) NULL);
        _exit(127);
    }
    (void) close(pipes[1]);
    (void) nanosleep(&wait, NULL);
    (void) kill(pid, SIGKILL);
    MUST(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status))
        fail_msg("the keeper gave up with status %d", WEXITSTATUS(status));
    while ((n = read(pipes[0], bytes, sizeof bytes)) > 0)
        dz_buf_put(told, bytes, (size_t) n);
    (void) close(pipes[0]);
}

static void nothing_told_is_lost(void **state) {
    char base[64], vault[96], source[96], why[WHY];
    uint64_t random = seed, other = 0;
    dz_autobuf dz_buf told = { 0 };
    size_t snapshots = 0;

    (void) state;
    print_message("seed %llu\n", (unsigned long long) seed);
    world_dir(base);
    (void) snprintf(vault, sizeof vault, "%s/vault", base);
    (void) snprintf(source, sizeof source, "%s/source", base);
    world_tree(source, &random);
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    for (int i = 1; i <= KILLS; i++) {
        /* mostly within the first run or two, where the time goes */
        uint64_t us = 1000 + random_below(&random, random_below(&random, 8) ? 25000 : 120000);

        run_and_kill(vault, source, random_next(&random), us, &told);
        assert_int_equal(told.len % ID_TEXT, 0);
        if (!world_holds(vault, (const char *) told.data, told.len / ID_TEXT,
                         i % 50 == 0 || i == KILLS, &other, why))
            fail_msg("after kill %d, %llu us: %s", i, (unsigned long long) us, why);
        snapshots = told.len / ID_TEXT;
    }
    {
        struct promises p = { 0 };
        dz_err err = { 0 };

        if (world_keep(vault, "tree", source, 2, &p, &err) != DZ_OK)
            fail_msg("the last backup: %s", err.what);
        assert_int_equal(p.list[0].problems, 0);
        assert_int_equal(world_names_in(vault, "tmp"), 0);
        promises_free(&p);
    }
    print_message("%zu snapshots told of, %llu more are there\n", snapshots,
                  (unsigned long long) other);
    assert_true(snapshots > 0);
    world_remove(base);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_told_is_lost) };
    struct dz_os os = dz_os_real;

    MUST(argc > 1);
    keeper = argv[1];
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t) time(NULL);
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    os.fsync = no_sync;
    dz_os = &os;
    return cmocka_run_group_tests_name("kills", tests, NULL, NULL);
}
