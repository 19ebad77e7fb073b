#include "core/run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/launch.h"

/* Waits until there is something to read, or a process has ended; `end` is in milliseconds, on the
 * monotonic clock. */
static dz_status wait_for(int fd, int64_t end, int timeout_ms, dz_err *err) {
    struct pollfd p = { .fd = fd, .events = POLLIN };

    for (;;) {
        int64_t left = end - dz_monotonic_us() / 1000;
        int ready = left > 0 ? poll(&p, 1, (int) left) : 0;

        if (ready > 0)
            return DZ_OK;
        if (ready < 0 && errno == EINTR)
            continue;
        errno = ready == 0 ? ETIMEDOUT : errno;
        return DZ_FAIL_ERRNO(err, "it did not end within %d ms", timeout_ms);
    }
}

/* Reads until the program has closed its output. */
static dz_status collect(int fd, size_t max, int64_t end, int timeout_ms, dz_buf *to, dz_err *err) {
    size_t start = to->len;

    for (;;) {
        uint8_t part[16 << 10];
        ssize_t n;

        DZ_TRY(wait_for(fd, end, timeout_ms, err));
        n = read(fd, part, sizeof part);
        if (n < 0 && errno != EINTR)
            return DZ_FAIL_ERRNO(err, "reading what it writes");
        if (n == 0)
            return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "its output: out of memory");
        if (n > 0 && to->len - start + (size_t) n > max)
            return DZ_FAIL(err, DZ_E_LIMIT, "it wrote more than %zu bytes", max);
        if (n > 0)
            dz_buf_put(to, part, (size_t) n);
        explicit_bzero(part, sizeof part);
    }
}

/* It may have closed its output and go on. */
static dz_status wait_for_end(pid_t pid, int64_t end, int timeout_ms, dz_err *err) {
    dz_autoclose int fd = pidfd_open(pid, 0);

    return fd < 0 ? DZ_FAIL_ERRNO(err, "watching it") : wait_for(fd, end, timeout_ms, err);
}

dz_status dz_run(const char *const argv[], dz_slice input, size_t output_max, int timeout_ms,
                 dz_buf *output, int *ret_code, dz_err *err) {
    int in[2] = { -1, -1 }, out[2] = { -1, -1 }, code = 0, e;
    const int64_t end = dz_monotonic_us() / 1000 + timeout_ms;
    dz_status s = DZ_OK;
    pid_t pid = -1;

    if (input.len > DZ_RUN_INPUT_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "input of %zu bytes, the limit is %d", input.len,
                       (int) DZ_RUN_INPUT_MAX);
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        s = DZ_FAIL_ERRNO(err, "making a pipe");
    } else if ((e = dz_launch(argv, in[0], out[1], true, &pid)) != 0) {
        errno = e;
        s = DZ_FAIL_ERRNO(err, "starting %.80s", argv[0]);
    }
    dz_close_at(&in[0]);
    dz_close_at(&out[1]);
    /* a program that does not care for its input is no failure: its exit status tells */
    if (s == DZ_OK && dz_write_all(in[1], input) != 0 && errno != EPIPE)
        s = DZ_FAIL_ERRNO(err, "writing its input");
    dz_close_at(&in[1]);
    if (s == DZ_OK)
        s = collect(out[0], output_max, end, timeout_ms, output, err);
    if (s == DZ_OK)
        s = wait_for_end(pid, end, timeout_ms, err);
    if (pid > 0 && s != DZ_OK) /* before its output is closed, of which it might die otherwise */
        (void) kill(-pid, SIGKILL);
    dz_close_at(&out[0]);
    if (pid > 0) {
        while (waitpid(pid, &code, 0) < 0 && errno == EINTR)
            ;
        *ret_code = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
    }
    return s;
}
