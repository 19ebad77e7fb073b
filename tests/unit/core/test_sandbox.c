/* What a process can no longer do.  Each row is a process of its own that tries, before and after:
 * what would not have worked anyway proves nothing. */
#include "core/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/cleanup.h"

enum {
    ALL = DZ_SANDBOX_OPEN | DZ_SANDBOX_CONNECT,
    KEEP = DZ_SANDBOX_OPEN | DZ_SANDBOX_KEEP,
    LISTENING = 102, /* a socket without a name, in the child */
};

static char dir[64], file[80], other[80], fresh[80], kept[80], kept_file[96];

/* Each gives 0, or an errno. */

static int open_as(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd < 0 ? errno : close(fd);
}
static int reads(void) {
    return open_as(file, O_RDONLY);
}
static int reads_other(void) {
    return open_as(other, O_RDONLY);
}
static int writes(void) {
    return open_as(file, O_WRONLY);
}
static int makes(void) {
    int e = open_as(fresh, O_WRONLY | O_CREAT | O_EXCL);
    return e ? e : unlink(fresh);
}
static int cuts(void) {
    return open_as(file, O_RDONLY | O_TRUNC);
}
static int removes(void) {
    return unlink(other) ? errno : 0;
}
static int renames(void) {
    return rename(other, fresh) || rename(fresh, other) ? errno : 0;
}
static int links(void) {
    return symlink(other, fresh) || unlink(fresh) ? errno : 0;
}
static int keeps(void) {
    int e = open_as(kept_file, O_RDWR | O_CREAT | O_EXCL), at = open(kept, O_PATH | O_CLOEXEC);

    if (e || at < 0)
        return e ? e : errno;
    if (renameat2(at, "kept", at, "moved", RENAME_NOREPLACE) || mkdirat(at, "kept", 0700) ||
        unlinkat(at, "kept", AT_REMOVEDIR))
        e = errno;
    (void) unlinkat(at, e ? "kept" : "moved", 0);
    (void) close(at);
    return e;
}
static int links_kept(void) {
    return symlink(other, kept_file) || unlink(kept_file) ? errno : 0;
}
static int keeps_what_is_open_elsewhere(void) {
    int from = open(file, O_RDONLY | O_CLOEXEC), e = 0;

    if (from < 0 || renameat(AT_FDCWD, other, AT_FDCWD, kept_file))
        e = errno;
    (void) close(from);
    return e ? e : rename(kept_file, other) ? errno : 0;
}
static int owns(void) {
    return chown(file, 1, 1) || chown(file, 0, 0) ? errno : 0;
}
/* LISTENING was made before. */
static int answers(void) {
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    socklen_t size = sizeof at;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), theirs, e = 0;

    if (fd < 0)
        return errno;
    if (getsockname(LISTENING, (struct sockaddr *) &at, &size) ||
        connect(fd, (struct sockaddr *) &at, size))
        e = errno;
    theirs = e ? -1 : accept4(LISTENING, NULL, NULL, SOCK_CLOEXEC);
    if (!e && theirs < 0)
        e = errno;
    (void) close(fd);
    if (theirs >= 0)
        (void) close(theirs);
    return e;
}
static int opens_up(void) {
    return chmod(other, 0644) ? errno : 0;
}
static int lists(void) {
    DIR *d = opendir(dir);
    return d ? closedir(d) : errno;
}
static int connects(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : close(fd);
}
static int listens(void) {
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), e = 0;

    if (fd < 0)
        return errno;
    if (bind(fd, (struct sockaddr *) &a, sizeof a) || listen(fd, 1))
        e = errno;
    (void) close(fd);
    return e;
}
static int forks(void) {
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : waitpid(pid, NULL, 0) == pid ? 0 : errno;
}
static int runs(void) {
    int status;
    pid_t pid = vfork(); /* forks() says that fork is gone: so this is tried in ourselves, too */

    if (pid == 0) {
        (void) execl("/bin/true", "true", (char *) NULL);
        _exit(1);
    }
    if (pid > 0)
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : EIO;
    (void) execl("/bin/true", "true", (char *) NULL);
    return errno;
}
static int traces(void) {
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? errno : 0;
}
static int kills(void) {
    return kill(getppid(), 0) ? errno : 0;
}
static int runs_what_it_wrote(void) {
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int e;

    if (p == MAP_FAILED)
        return errno;
    e = mprotect(p, 4096, PROT_READ | PROT_EXEC) ? errno : 0;
    return munmap(p, 4096) ? errno : e;
}
static int allocates(void) {
    void *p = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : munmap(p, 64 << 20);
}
static int uses_what_is_open(void) {
    int fds[2];
    char c;

    /* made before: socketpair itself is gone */
    memcpy(fds, (const int[2]){ 100, 101 }, sizeof fds);
    if (write(fds[0], "x", 1) != 1 || read(fds[1], &c, 1) != 1 || c != 'x')
        return errno ? errno : EIO;
    return 0;
}
static int dumps(void) {
    return prctl(PR_GET_DUMPABLE) == 1 ? 0 : EPERM;
}
static int is_root(void) {
    return geteuid() == 0 && getuid() == 0 ? 0 : EPERM;
}
static int becomes_root(void) {
    return setuid(0) ? errno : 0;
}

struct row {
    const char *name;
    int (*try)(void);
    unsigned calls; /* that stay allowed */
    bool works;     /* in the sandbox */
    bool root;      /* proves something only where we are */
};

/* clang-format off */
static const struct row rows[] = {
    { "reads what was named", reads, ALL, true, false },
    { "reads nothing else", reads_other, ALL, false, false },
    { "lists nothing else", lists, ALL, false, false },
    { "writes not even what was named", writes, ALL, false, false },
    { "cuts nothing off", cuts, ALL, false, false },
    { "makes nothing", makes, ALL, false, false },
    { "removes nothing", removes, ALL, false, false },
    { "renames nothing", renames, ALL, false, false },
    { "makes no links", links, ALL, false, false },
    { "changes no mode", opens_up, ALL, false, false },
    { "makes connections", connects, ALL, true, false },
    { "never listens", listens, ALL, false, false },
    { "starts no process", forks, ALL, false, false },
    { "runs no program", runs, ALL, false, false },
    { "looks into no process", traces, ALL, false, false },
    { "signals no process", kills, ALL, false, false },
    { "leaves no core", dumps, ALL, false, false },
    { "is not root", is_root, ALL, false, true },
    { "does not become root again", becomes_root, ALL, false, true },
    { "uses what is open", uses_what_is_open, ALL, true, false },
    { "keeps files below its directory", keeps, KEEP, true, false },
    { "keeping: reads what was named", reads, KEEP, true, false },
    { "keeping: reads nothing else", reads_other, KEEP, false, false },
    { "keeping: writes nowhere else", writes, KEEP, false, false },
    { "keeping: makes nothing elsewhere", makes, KEEP, false, false },
    { "keeping: removes nothing elsewhere", removes, KEEP, false, false },
    { "keeping: takes nothing from elsewhere", keeps_what_is_open_elsewhere, KEEP, false, false },
    { "keeping: makes no links", links_kept, KEEP, false, false },
    { "keeping: gives nothing away", owns, KEEP, false, true },
    { "keeping: makes no connections", connects, KEEP, false, false },
    { "keeping: runs no program", runs, KEEP, false, false },
    { "serving: answers callers", answers, KEEP | DZ_SANDBOX_SERVE, true, false },
    { "serving: makes no connections", connects, KEEP | DZ_SANDBOX_SERVE, false, false },
    { "serving: never listens anew", listens, KEEP | DZ_SANDBOX_SERVE, false, false },
    { "without: answers nobody", answers, KEEP, false, false },
    { "then, keeping: keeps files below its directory", keeps, DZ_SANDBOX_KEEP, true, false },
    { "then, keeping: reads not even what was named", reads, DZ_SANDBOX_KEEP, false, false },
    { "then, keeping: makes nothing elsewhere", makes, DZ_SANDBOX_KEEP, false, false },
    { "then, keeping: connects no more", connects, DZ_SANDBOX_KEEP, false, false },
    { "then, keeping: runs nothing that it wrote", runs_what_it_wrote, DZ_SANDBOX_KEEP, false, false },
    { "then: opens nothing at all", reads, 0, false, false },
    { "then: connects no more", connects, 0, false, false },
    { "then: runs nothing that it wrote", runs_what_it_wrote, 0, false, false },
    { "then: uses what is open", uses_what_is_open, 0, true, false },
    { "then: has memory", allocates, 0, true, false },
};
/* clang-format on */

static int enter(unsigned calls) {
    const char *const paths[] = { file, "/nonexistent/of course", NULL };
    const char *const keeps[] = { kept, "/nonexistent/either", NULL };
    dz_err err = { 0 };

    bool keep = (calls & DZ_SANDBOX_KEEP) != 0;
    unsigned first = calls == DZ_SANDBOX_KEEP ? ALL | KEEP : keep ? calls : ALL;
    dz_status s = dz_sandbox_begin(0, &err);

    if (s == DZ_OK)
        s = keep ? dz_sandbox_powers(&err) : dz_sandbox_user(&err);
    if (s == DZ_OK)
        s = keep ? dz_sandbox_files_keep(paths, keeps, &err) : dz_sandbox_files(paths, &err);
    if (s == DZ_OK)
        s = dz_sandbox_calls(first, &err);
    if (s == DZ_OK && keep && calls != first)
        s = dz_sandbox_files_keep(paths + 2, keeps, &err);
    if (s == DZ_OK && calls != first)
        s = dz_sandbox_calls(calls, &err);
    if (s != DZ_OK) {
        (void) fprintf(stderr, "%s: %s\n", err.what, strerror(err.sys_errno));
        return 101;
    }
    return 0;
}

/* In a process of its own: 0 when it works, an errno, 101 or more when the test itself failed. */
static int in_child(const struct row *row, bool sandboxed) {
    int status, pair[2];
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct sockaddr_un any = { .sun_family = AF_UNIX }; /* the kernel finds a name: unix(7) */
        int there = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int e = socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || dup2(pair[0], 100) < 0 ||
                        dup2(pair[1], 101) < 0 || dup2(there, LISTENING) < 0 ||
                        bind(LISTENING, (struct sockaddr *) &any, sizeof any.sun_family) ||
                        listen(LISTENING, 1)
                    ? 102
                    : 0;
        if (e == 0 && sandboxed)
            e = enter(row->calls);
        _exit(e ? e : row->try());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 103;
}

static void test_row(void **state) {
    const struct row *row = *state;
    int e;

    if (row->root && geteuid() != 0)
        skip();
    e = in_child(row, false);
    assert_int_equal(e, 0);
    e = in_child(row, true);
    assert_in_range(e, 0, 100);
    assert_int_equal(e == 0, row->works);
}

static void test_memory_ends(void **state) {
    int status;
    pid_t pid = fork();

    (void) state;
#if defined(__SANITIZE_ADDRESS__)
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    skip(); /* its shadow alone is larger than any limit */
#endif
    assert_true(pid >= 0);
    if (pid == 0) {
        if (dz_sandbox_begin((size_t) 1 << 30, NULL) != DZ_OK || allocates() != 0)
            _exit(1);
        _exit(mmap(NULL, (size_t) 2 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                          MAP_FAILED &&
                      errno == ENOMEM
                  ? 0
                  : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void put_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, "x", 1) != 1 || fchmod(fd, 0644) || close(fd))
        abort();
}

static int setup(void **state) {
    (void) state;
    (void) snprintf(dir, sizeof dir, "/tmp/dozo-sandbox-XXXXXX");
    if (!mkdtemp(dir) || chmod(dir, 0777))
        return -1;
    (void) snprintf(file, sizeof file, "%s/file", dir);
    (void) snprintf(other, sizeof other, "%s/other", dir);
    (void) snprintf(fresh, sizeof fresh, "%s/fresh", dir);
    (void) snprintf(kept, sizeof kept, "%s/kept", dir);
    (void) snprintf(kept_file, sizeof kept_file, "%s/kept", kept);
    put_file(file);
    put_file(other);
    return mkdir(kept, 0700);
}

static int before_each(void **state) {
    (void) state;
    put_file(other); /* what works outside may have removed it */
    return 0;
}

static int teardown(void **state) {
    (void) state;
    return unlink(file) || unlink(other) || rmdir(kept) || rmdir(dir) ? -1 : 0;
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[1 + ROWS] = { cmocka_unit_test(test_memory_ends) };

    for (size_t i = 0; i < ROWS; i++)
        tests[1 + i] = (struct CMUnitTest){ .name = rows[i].name,
                                            .test_func = test_row,
                                            .setup_func = before_each,
                                            .initial_state = (void *) (uintptr_t) &rows[i] };
    return cmocka_run_group_tests(tests, setup, teardown);
}
