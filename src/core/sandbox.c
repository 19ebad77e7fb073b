#include "core/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/cleanup.h"

static bool limit(int what, rlim_t most) {
    const struct rlimit r = { most, most };
    return setrlimit((__rlimit_resource_t) what, &r) == 0;
}

dz_status dz_sandbox_begin(size_t memory_max, dz_err *err) {
    if (!limit(RLIMIT_CORE, 0) || (memory_max && !limit(RLIMIT_AS, memory_max)) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return DZ_FAIL_ERRNO(err, "sandbox: limits");
    return DZ_OK;
}

dz_status dz_sandbox_user(dz_err *err) {
    if (geteuid() != 0)
        return DZ_OK;
    if (setgroups(0, NULL) != 0 ||
        setresgid(DZ_SANDBOX_NOBODY, DZ_SANDBOX_NOBODY, DZ_SANDBOX_NOBODY) != 0 ||
        setresuid(DZ_SANDBOX_NOBODY, DZ_SANDBOX_NOBODY, DZ_SANDBOX_NOBODY) != 0)
        return DZ_FAIL_ERRNO(err, "sandbox: becoming nobody");
    /* both were undone by the change */
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return DZ_FAIL_ERRNO(err, "sandbox: limits");
    return DZ_OK;
}

dz_status dz_sandbox_powers(dz_err *err) {
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

    if (geteuid() != 0)
        return DZ_OK;
    data[0].effective = data[0].permitted = 1U << CAP_DAC_OVERRIDE;
    if (syscall(SYS_capset, &head, data) != 0)
        return DZ_FAIL_ERRNO(err, "sandbox: capabilities");
    return DZ_OK;
}

dz_status dz_sandbox_outlive(dz_err *err) {
    return prctl(PR_SET_PDEATHSIG, 0) == 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "sandbox: limits");
}

/* --- files ------------------------------------------------------------------------------------ */

/* Newer than the headers of Debian 12: linux/landlock.h of 6.2 and 6.10. */
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)

/* Every right that this kernel can take away. */
static uint64_t all_rights(long abi) {
    uint64_t rights = LANDLOCK_ACCESS_FS_REFER - 1;

    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= ACCESS_TRUNCATE;
    if (abi >= 5)
        rights |= ACCESS_IOCTL_DEV;
    return rights;
}

/* What a vault's writer does below its directory, as far as this kernel knows of it. */
static uint64_t keeping_rights(long abi) {
    return all_rights(abi) &
           (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
            LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
            LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER | ACCESS_TRUNCATE);
}

static bool allow_path(int rules, const char *path, uint64_t more) {
    dz_autoclose int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr a = { .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
                                            .parent_fd = fd };
    struct stat st;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR;
    if (fstat(fd, &st) != 0)
        return false;
    if (S_ISDIR(st.st_mode))
        a.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR | more;
    return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) == 0;
}

dz_status dz_sandbox_files_keep(const char *const paths[], const char *const kept[], dz_err *err) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr all = { .handled_access_fs = all_rights(abi) };
    dz_autoclose int rules = -1;

    if (abi < 1)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "sandbox: this kernel has no Landlock (add it to lsm= on its command line)");
    rules = (int) syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (rules < 0)
        return DZ_FAIL_ERRNO(err, "sandbox: Landlock");
    for (size_t i = 0; paths[i]; i++)
        if (!allow_path(rules, paths[i], 0))
            return DZ_FAIL_ERRNO(err, "sandbox: %.100s", paths[i]);
    for (size_t i = 0; kept[i]; i++)
        if (!allow_path(rules, kept[i], keeping_rights(abi)))
            return DZ_FAIL_ERRNO(err, "sandbox: %.100s", kept[i]);
    if (syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        return DZ_FAIL_ERRNO(err, "sandbox: Landlock");
    return DZ_OK;
}

dz_status dz_sandbox_files(const char *const paths[], dz_err *err) {
    return dz_sandbox_files_keep(paths, (const char *const[]){ NULL }, err);
}

/* --- calls ------------------------------------------------------------------------------------ */

/* clang-format off */
static const int basic[] = {
    /* what is open */
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(lseek),
    SCMP_SYS(fstat), SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(ioctl),
    /* waiting */
    SCMP_SYS(epoll_create), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall), SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    /* memory, time, chance */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(membarrier), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(munlock),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom),
    /* ourselves */
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(getgroups), SCMP_SYS(uname), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
    SCMP_SYS(exit), SCMP_SYS(exit_group),
};
static const int opening[] = {
    SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(memfd_create), SCMP_SYS(getdents64), SCMP_SYS(pread64), SCMP_SYS(getcwd), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
    /* to take more away later */
    SCMP_SYS(seccomp), SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule), SCMP_SYS(landlock_restrict_self),
};
static const int keeping[] = {
    SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range),
    SCMP_SYS(flock), SCMP_SYS(mkdirat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(newfstatat), SCMP_SYS(pread64),
};
static const int connecting[] = {
    SCMP_SYS(connect), SCMP_SYS(setsockopt),
    SCMP_SYS(bind), /* netlink's: addresses of the machine are looked up there; listen is missing */
};
static const int serving[] = {
    SCMP_SYS(accept4), SCMP_SYS(timerfd_settime), SCMP_SYS(connect),
};
static const int families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };
/* clang-format on */

/* All of these give 0, or a negative errno. */

static int allow(scmp_filter_ctx f, const int *calls, size_t n) {
    int e = 0;

    for (size_t i = 0; i < n && e == 0; i++)
        e = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    return e;
}

/* Memory becomes executable only where libraries may be loaded. */
static int allow_memory(scmp_filter_ctx f, bool executable) {
    const struct scmp_arg_cmp data = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    unsigned n = executable ? 0 : 1;
    int e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), n, &data);

    return e ? e : seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), n, &data);
}

static int allow_open(scmp_filter_ctx f) {
    const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
    const struct scmp_arg_cmp at1 = SCMP_A1(SCMP_CMP_MASKED_EQ, writing, 0);
    const struct scmp_arg_cmp at2 = SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0);
    const struct scmp_arg_cmp no_privs = SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS);
    int e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1, &at1);

    if (e == 0)
        e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, &at2);
    if (e == 0) /* libseccomp's own, when it loads the next filter */
        e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, &no_privs);
    return e ? e : allow(f, opening, sizeof opening / sizeof *opening);
}

static int allow_connect(scmp_filter_ctx f) {
    int e = 0;

    for (size_t i = 0; i < sizeof families / sizeof *families && e == 0; i++) {
        const struct scmp_arg_cmp is = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) families[i]);
        e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &is);
    }
    return e ? e : allow(f, connecting, sizeof connecting / sizeof *connecting);
}

static int allow_serve(scmp_filter_ctx f) {
    const struct scmp_arg_cmp local = SCMP_A0(SCMP_CMP_EQ, AF_UNIX);
    int e = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &local);

    return e ? e : allow(f, serving, sizeof serving / sizeof *serving);
}

dz_status dz_sandbox_calls(unsigned more, dz_err *err) {
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int e;

    if (!f)
        return DZ_FAIL(err, DZ_E_NOMEM, "sandbox: out of memory");
    e = allow(f, basic, sizeof basic / sizeof *basic);
    if (e == 0)
        e = allow_memory(f, (more & DZ_SANDBOX_OPEN) != 0);
    if (e == 0 && (more & DZ_SANDBOX_OPEN))
        e = allow_open(f);
    if (e == 0 && (more & DZ_SANDBOX_KEEP))
        e = allow(f, keeping, sizeof keeping / sizeof *keeping);
    if (e == 0 && (more & DZ_SANDBOX_CONNECT))
        e = allow_connect(f);
    if (e == 0 && (more & DZ_SANDBOX_SERVE))
        e = allow_serve(f);
    if (e == 0)
        e = seccomp_load(f);
    seccomp_release(f);
    errno = -e;
    return e == 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "sandbox: system calls");
}
