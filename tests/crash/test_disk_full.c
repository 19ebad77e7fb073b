/* A backup meets the end of the disk, with more and more room before: it says so, what was kept
 * before stays readable while the disk is full, and once there is room again the next backup works
 * without help.  The same for file systems that run out of inodes.
 *
 * Needs the right to mount; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "core/os.h"
#include "tests/crash/world.h"

enum { ROUNDS = 40, FILE_BYTES = 600 << 10, SKIPPED = 77 };

static char base[64], disk[80], vault[96], source[80], ballast[96];
static struct promises promises;

/* Leaves so many bytes, or inodes, free. */
static void fill_bytes(uint64_t leave) {
    struct statvfs fs;
    int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    uint64_t room;

    MUST(fd >= 0 && statvfs(disk, &fs) == 0);
    room = (uint64_t) fs.f_bavail * fs.f_bsize;
    MUST(room > leave && posix_fallocate(fd, 0, (off_t) (room - leave)) == 0);
    (void) close(fd);
}

static void fill_inodes(uint64_t leave) {
    struct statvfs fs;

    MUST(mkdir(ballast, 0700) == 0 && statvfs(disk, &fs) == 0);
    for (uint64_t i = leave; i < fs.f_ffree; i++) {
        char name[32];
        (void) snprintf(name, sizeof name, "%llu", (unsigned long long) i);
        world_file(ballast, name, "", 0);
    }
}

static void one_more_file(uint64_t *random, int i) {
    dz_autofree uint8_t *noise = malloc(FILE_BYTES);
    char name[32];

    MUST(noise);
    random_fill(random, noise, FILE_BYTES);
    (void) snprintf(name, sizeof name, "noise-%d", i % 3); /* the tree does not grow for ever */
    world_file(source, name, noise, FILE_BYTES);
}

static void fill_and_free(void (*fill)(uint64_t leave), uint64_t step) {
    uint64_t random = 11;
    unsigned refused = 0, kept = 0;
    char why[WHY];

    world_tree(source, &random);
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    assert_int_equal(world_keep(vault, "tree", source, 1, &promises, NULL), DZ_OK);
    for (int i = 0; i < ROUNDS && kept < 3; i++) {
        dz_err err = { 0 };
        dz_status s;

        one_more_file(&random, i);
        world_change(source, &random);
        fill((uint64_t) i * step);
        s = world_keep(vault, "tree", source, 1, &promises, &err);
        if (s != DZ_OK) {
            refused++;
            assert_int_equal(s, DZ_E_IO);
            assert_int_equal(err.sys_errno, ENOSPC);
            /* the words must be for people, and name what was being done */
            assert_true(strlen(err.what) > 10);
        } else {
            kept++;
        }
        if (!world_check(vault, &promises, true, why))
            fail_msg("round %d, while the disk is full: %s", i, why);
        world_remove(ballast);
        if (world_keep(vault, "tree", source, 1, &promises, &err) != DZ_OK)
            fail_msg("round %d, with room again: %s", i, err.what);
        assert_int_equal(promises.list[promises.n - 1].problems, 0);
        if (!world_check(vault, &promises, true, why))
            fail_msg("round %d, with room again: %s", i, why);
        assert_int_equal(world_names_in(vault, "tmp"), 0);
    }
    print_message("%u runs met the end, %u found room\n", refused, kept);
    assert_true(refused > 3);
    if (!world_check(vault, &promises, false, why))
        fail_msg("at the end: %s", why);
    promises_free(&promises);
    world_remove(source);
}

static void no_blocks_left(void **state) {
    (void) state;
    MUST(mount("tmpfs", disk, "tmpfs", 0, "size=96m") == 0);
    fill_and_free(fill_bytes, 40 << 10);
    MUST(umount(disk) == 0);
}

static void no_inodes_left(void **state) {
    (void) state;
    MUST(mount("tmpfs", disk, "tmpfs", 0, "size=96m,nr_inodes=700") == 0);
    fill_and_free(fill_inodes, 1);
    MUST(umount(disk) == 0);
}

/* The index is lost, and there is no room to make it again, or no right: all can be read. */
static void reads_without_an_index_and_without_room(void **state) {
    uint64_t random = 3;
    char index[112], why[WHY];

    (void) state;
    (void) snprintf(index, sizeof index, "%s/index", vault);
    MUST(mount("tmpfs", disk, "tmpfs", 0, "size=96m") == 0);
    world_tree(source, &random);
    assert_int_equal(world_create(vault, NULL), DZ_OK);
    assert_int_equal(world_keep(vault, "tree", source, 1, &promises, NULL), DZ_OK);
    world_remove(index);
    MUST(mkdir(index, 0700) == 0);
    fill_bytes(0);
    if (!world_check(vault, &promises, true, why))
        fail_msg("full: %s", why);
    MUST(mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    if (!world_check(vault, &promises, true, why))
        fail_msg("read-only: %s", why);
    MUST(umount(disk) == 0);
    promises_free(&promises);
    world_remove(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_blocks_left),
        cmocka_unit_test(no_inodes_left),
        cmocka_unit_test(reads_without_an_index_and_without_room),
    };
    int failed;

    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    world_dir(base);
    (void) snprintf(disk, sizeof disk, "%s/disk", base);
    (void) snprintf(vault, sizeof vault, "%s/vault", disk);
    (void) snprintf(ballast, sizeof ballast, "%s/ballast", disk);
    (void) snprintf(source, sizeof source, "%s/source", base);
    MUST(mkdir(disk, 0700) == 0);
    /* mounts of our own: they are gone with this process, whatever happens */
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=1m") < 0) {
        print_message("no right to mount: skipped\n");
        world_remove(base);
        return SKIPPED;
    }
    MUST(umount(disk) == 0);
    failed = cmocka_run_group_tests_name("a full disk", tests, NULL, NULL);
    world_remove(base);
    return failed;
}
