#include "net/visit.h"

#include <signal.h>
#include <unistd.h>

#include "core/hex.h"
#include "core/launch.h"

enum { WAIT_S = 15 /* between two WAITs */ };

/* The program that this process runs, also when it was replaced on disk meanwhile. */
static const char self[] = "/proc/self/exe";

static void close_pair(struct dz_visit *v) {
    dz_close_at(&v->pair);
    v->pair = -1;
}

static void leave(struct dz_visit *v) {
    close_pair(v);
    v->is = v->gate || v->keeper ? DZ_VISIT_LEAVING : DZ_VISIT_FREE;
}

static void say(const struct dz_visit *v, const dz_buf *frame) {
    if (dz_buf_ok(frame)) /* who does not listen hears nothing */
        (void) send(v->pair, frame->data, frame->len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

dz_status dz_visit_gate(struct dz_visit *v, int net, dz_slice config, dz_err *err) {
    static const char *const argv[] = { self, "--gate", NULL };
    int pair[2], e;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return DZ_FAIL_ERRNO(err, "making a socket pair");
    e = dz_launch(argv, net, pair[1], false, &v->gate);
    (void) close(pair[1]);
    v->pair = pair[0];
    if (e == 0 &&
        send(v->pair, config.data, config.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) config.len)
        e = errno;
    errno = e;
    return e == 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "starting a gate");
}

dz_status dz_visit_keeper(struct dz_visit *v, const char *vault, dz_err *err) {
    char key[2 * DZ_CA_KEY + 1];
    const char *const enrol[] = { self, "--enrol", vault, NULL };
    const char *const run[] = { self, "--keep", vault, v->source, key, NULL };

    dz_hex(v->key, sizeof v->key, key);
    errno = dz_launch(v->stranger ? enrol : run, v->pair, STDERR_FILENO, false, &v->keeper);
    if (errno != 0)
        return DZ_FAIL_ERRNO(err, "starting a keeper");
    close_pair(v);
    v->is = DZ_VISIT_SERVED;
    return DZ_OK;
}

void dz_visit_refuse(struct dz_visit *v, const struct dz_wire_refused *m) {
    dz_autobuf dz_buf frame = { 0 };

    dz_wire_put_refused(&frame, m);
    say(v, &frame);
    leave(v);
}

void dz_visit_wait(struct dz_visit *v, int64_t now_us) {
    dz_autobuf dz_buf frame = { 0 };

    if (now_us - v->told_us < INT64_C(1000000) * WAIT_S)
        return;
    v->told_us = now_us;
    dz_wire_put_wait(&frame);
    say(v, &frame);
}

void dz_visit_cut(struct dz_visit *v) {
    if (v->gate)
        (void) kill(v->gate, SIGKILL);
    if (v->is != DZ_VISIT_SERVED)
        leave(v);
}

void dz_visit_gone(struct dz_visit *v, pid_t pid) {
    if (pid == v->keeper)
        v->keeper = 0;
    if (pid == v->gate)
        v->gate = 0;
    if (v->is == DZ_VISIT_SERVED ? !v->keeper : !v->gate)
        leave(v);
}
