#include "net/door.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "core/text.h"
#include "custody/enrol.h"
#include "net/gate.h"
#include "net/listen.h"
#include "net/visit.h"

enum {
    EXIT_OK = 0,
    EXIT_COULD_NOT = 3,
    TICK_MS = 1000,
    KNOCK_S = 2 * DZ_GATE_HANDSHAKE_S, /* for a gate that hangs */
    SAY_S = 60,                        /* between two lines about strangers */
    STOP_S = 60,                       /* for keepers to be done */
    ACCEPTS = 32,                      /* before others have their turn */
    LISTEN = 0,
    SIGNALS,
    FIRST_VISIT,
};

struct door {
    const struct dz_door_how *how;
    struct dz_vault *v;
    struct dz_enrolment enrolment;
    dz_buf config[2]; /* what gates are told: strangers stay outside, and may come in */
    int listen, signals;
    struct dz_visit *visits;
    size_t n;
    uint64_t number;
    struct dz_place_key known[DZ_DOOR_ADDRESSES]; /* where sources came from; the oldest goes */
    size_t n_known;
    uint64_t closed, unknown; /* since strangers were spoken of */
    int64_t said_us;
    bool stopping, broken;
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...) {
    va_list args;

    (void) fputs("dozo-intake: ", stderr);
    va_start(args, fmt);
    (void) vfprintf(stderr, fmt, args);
    va_end(args);
    (void) fputc('\n', stderr);
}

static void say_error(const dz_err *err) {
    say("%s%s%s", err->what, err->sys_errno ? ": " : "",
        err->sys_errno ? strerror(err->sys_errno) : "");
}

/* --- ends ------------------------------------------------------------------------------------- */

static void gone(struct door *d, struct dz_visit *v, pid_t pid, int status) {
    if (pid == v->gate && WIFEXITED(status) && WEXITSTATUS(status) == DZ_GATE_NO_SANDBOX) {
        say("%s", T_("no sandbox, no service"));
        d->stopping = d->broken = true;
    }
    dz_visit_gone(v, pid);
}

static void reap(struct door *d) {
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < d->n; i++)
            if (d->visits[i].is != DZ_VISIT_FREE &&
                (d->visits[i].gate == pid || d->visits[i].keeper == pid)) {
                gone(d, &d->visits[i], pid, status);
                break;
            }
}

/* --- who knocks ------------------------------------------------------------------------------- */

static struct dz_visit *free_visit(struct door *d) {
    for (size_t i = 0; i < d->n; i++)
        if (d->visits[i].is == DZ_VISIT_FREE)
            return &d->visits[i];
    return NULL;
}

static bool is_known(const struct door *d, const struct dz_place_key *key) {
    for (size_t i = 0; i < d->n_known && i < DZ_DOOR_ADDRESSES; i++)
        if (memcmp(&d->known[i], key, sizeof *key) == 0)
            return true;
    return false;
}

static void remember(struct door *d, const struct sockaddr_storage *place) {
    struct dz_place_key key = dz_place_key(place);

    if (!is_known(d, &key))
        d->known[d->n_known++ % DZ_DOOR_ADDRESSES] = key;
}

/* Whether one more of this address may knock. */
static bool may_knock(const struct door *d, const struct sockaddr_storage *place) {
    struct dz_place_key key = dz_place_key(place);
    unsigned of_address = 0, all = 0;

    for (size_t i = 0; i < d->n; i++) {
        struct dz_place_key other;

        if (d->visits[i].is != DZ_VISIT_KNOCKING)
            continue;
        other = dz_place_key(&d->visits[i].place);
        of_address += memcmp(&other, &key, sizeof key) == 0;
        all++;
    }
    return of_address < DZ_DOOR_UNKNOWN_OF_ADDRESS &&
           all < DZ_DOOR_UNKNOWN + (is_known(d, &key) ? DZ_DOOR_UNKNOWN_MORE : 0);
}

static dz_status start_gate(struct door *d, struct dz_visit *v, int net, dz_err *err) {
    DZ_TRY(dz_enrolment_update(d->v, &d->enrolment, err));
    return dz_visit_gate(v, net, dz_buf_slice(&d->config[dz_enrolment_invites(&d->enrolment)]),
                         err);
}

static void open_to(struct door *d, int net, const struct sockaddr_storage *place) {
    struct dz_visit *v = free_visit(d);
    dz_err err = { 0 };

    if (!v || !may_knock(d, place)) {
        d->closed++;
        return;
    }
    dz_keep_alive(net);
    *v = (struct dz_visit){ .is = DZ_VISIT_KNOCKING,
                            .pair = -1,
                            .place = *place,
                            .number = ++d->number,
                            .came_us = dz_monotonic_us() };
    if (start_gate(d, v, net, &err) != DZ_OK) {
        say_error(&err);
        dz_visit_cut(v);
    }
}

static void accept_some(struct door *d) {
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage place = { 0 };
        socklen_t len = sizeof place;
        dz_autoclose int net =
            accept4(d->listen, (struct sockaddr *) &place, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (net < 0)
            return;
        open_to(d, net, &place);
    }
}

/* --- who it is -------------------------------------------------------------------------------- */

/* Of one source the newest connection counts. */
static void replace_others(struct door *d, const struct dz_visit *by) {
    for (size_t i = 0; i < d->n; i++) {
        struct dz_visit *v = &d->visits[i];

        if (v != by && (v->is == DZ_VISIT_WAITING || v->is == DZ_VISIT_SERVED) && !v->stranger &&
            strcmp(v->source, by->source) == 0)
            dz_visit_cut(v);
    }
}

static void recognise(struct door *d, struct dz_visit *v) {
    const dz_enrolled *m = NULL;
    char place[DZ_PLACE_TEXT];
    dz_err err = { 0 };

    v->is = DZ_VISIT_WAITING;
    v->told_us = dz_monotonic_us();
    if (v->stranger)
        return;
    if (dz_enrolment_update(d->v, &d->enrolment, &err) != DZ_OK) {
        say_error(&err);
        dz_visit_refuse(v, &(struct dz_wire_refused){ .code = DZ_WIRE_FAILED, .after_s = 60 });
        return;
    }
    m = dz_enrolled_key(&d->enrolment, v->key);
    if (!m) {
        dz_place_text(&v->place, place);
        say(T_("%s: a certificate that no longer counts"), place);
        dz_visit_refuse(v, &(struct dz_wire_refused){ .code = DZ_WIRE_NOT_ALLOWED });
        return;
    }
    (void) snprintf(v->source, sizeof v->source, "%s", m->source);
    remember(d, &v->place);
    replace_others(d, v);
}

static void hear(struct door *d, struct dz_visit *v) {
    uint8_t hello[DZ_GATE_HELLO];
    ssize_t n = recv(v->pair, hello, sizeof hello, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t) sizeof hello ||
        (hello[0] != DZ_GATE_STRANGER && hello[0] != DZ_GATE_SOURCE)) {
        d->unknown++;
        dz_visit_cut(v);
        return;
    }
    v->stranger = hello[0] == DZ_GATE_STRANGER;
    memcpy(v->key, hello + 1, sizeof v->key);
    recognise(d, v);
}

/* --- whose turn it is ------------------------------------------------------------------------- */

static unsigned served(const struct door *d, bool strangers) {
    unsigned n = 0;

    for (size_t i = 0; i < d->n; i++)
        n += d->visits[i].is == DZ_VISIT_SERVED && d->visits[i].stranger == strangers;
    return n;
}

static bool source_is_served(const struct door *d, const char *source) {
    for (size_t i = 0; i < d->n; i++)
        if (d->visits[i].is == DZ_VISIT_SERVED && !d->visits[i].stranger &&
            strcmp(d->visits[i].source, source) == 0)
            return true;
    return false;
}

/* The one that has waited longest, and need not wait for its own run before. */
static struct dz_visit *next(struct door *d, bool strangers) {
    struct dz_visit *first = NULL;

    for (size_t i = 0; i < d->n; i++) {
        struct dz_visit *v = &d->visits[i];

        if (v->is == DZ_VISIT_WAITING && v->stranger == strangers &&
            (!first || v->number < first->number) && (strangers || !source_is_served(d, v->source)))
            first = v;
    }
    return first;
}

static void start_keeper(struct door *d, struct dz_visit *v) {
    char place[DZ_PLACE_TEXT];
    dz_err err = { 0 };

    if (dz_visit_keeper(v, d->how->vault, &err) != DZ_OK) {
        say_error(&err);
        dz_visit_refuse(v, &(struct dz_wire_refused){ .code = DZ_WIRE_FAILED, .after_s = 60 });
        return;
    }
    dz_place_text(&v->place, place);
    if (!v->stranger)
        say(T_("%s: %s is connected"), place, v->source);
}

static void admit(struct door *d) {
    struct dz_visit *v;

    while (served(d, false) < d->how->runs && (v = next(d, false)))
        start_keeper(d, v);
    while (served(d, true) < DZ_DOOR_ENROLLING && (v = next(d, true)))
        start_keeper(d, v);
}

/* --- time ------------------------------------------------------------------------------------- */

static void tick(struct door *d) {
    int64_t now_us = dz_monotonic_us();

    for (size_t i = 0; i < d->n; i++) {
        struct dz_visit *v = &d->visits[i];

        if (v->is == DZ_VISIT_WAITING)
            dz_visit_wait(v, now_us);
        else if (v->is == DZ_VISIT_KNOCKING && now_us - v->came_us > INT64_C(1000000) * KNOCK_S)
            dz_visit_cut(v);
    }
    if ((d->closed || d->unknown) && now_us - d->said_us > INT64_C(1000000) * SAY_S) {
        say(T_("connections closed because there were too many: %llu; without a right handshake: "
               "%llu"),
            (unsigned long long) d->closed, (unsigned long long) d->unknown);
        d->closed = d->unknown = 0;
        d->said_us = now_us;
    }
}

static bool busy(const struct door *d) {
    for (size_t i = 0; i < d->n; i++)
        if (d->visits[i].is != DZ_VISIT_FREE)
            return true;
    return d->closed || d->unknown;
}

static void take_signals(struct door *d) {
    struct signalfd_siginfo s;

    while (read(d->signals, &s, sizeof s) == (ssize_t) sizeof s)
        if (s.ssi_signo != SIGCHLD)
            d->stopping = true;
    reap(d);
}

/* --- serving ---------------------------------------------------------------------------------- */

static void turn(struct door *d, struct pollfd *fds, size_t *which) {
    nfds_t n = FIRST_VISIT;

    fds[LISTEN] = (struct pollfd){ .fd = d->stopping ? -1 : d->listen, .events = POLLIN };
    fds[SIGNALS] = (struct pollfd){ .fd = d->signals, .events = POLLIN };
    for (size_t i = 0; i < d->n; i++)
        if (d->visits[i].is == DZ_VISIT_KNOCKING && d->visits[i].pair >= 0) {
            which[n] = i;
            fds[n++] = (struct pollfd){ .fd = d->visits[i].pair, .events = POLLIN };
        }
    if (poll(fds, n, busy(d) || d->stopping ? TICK_MS : -1) < 0)
        return;
    for (nfds_t i = FIRST_VISIT; i < n; i++)
        if (fds[i].revents && d->visits[which[i]].is == DZ_VISIT_KNOCKING)
            hear(d, &d->visits[which[i]]);
    if (fds[SIGNALS].revents)
        take_signals(d);
    if (fds[LISTEN].revents)
        accept_some(d);
    tick(d);
    if (!d->stopping)
        admit(d);
}

static int serve(struct door *d) {
    dz_autofree struct pollfd *fds = calloc(d->n + FIRST_VISIT, sizeof *fds);
    dz_autofree size_t *which = calloc(d->n + FIRST_VISIT, sizeof *which);
    int64_t until_us;

    if (!fds || !which)
        return EXIT_COULD_NOT;
    while (!d->stopping)
        turn(d, fds, which);
    for (size_t i = 0; i < d->n; i++)
        if (d->visits[i].is != DZ_VISIT_FREE)
            dz_visit_cut(&d->visits[i]);
    until_us = dz_monotonic_us() + INT64_C(1000000) * STOP_S;
    while (served(d, false) + served(d, true) > 0 && dz_monotonic_us() < until_us)
        turn(d, fds, which);
    return d->broken ? EXIT_COULD_NOT : EXIT_OK;
}

static dz_status make_configs(struct door *d, dz_err *err) {
    struct dz_gate_config c = { .sandbox = d->how->sandbox };
    dz_autobuf dz_buf cert = { 0 };
    DZ_AUTO(dz_ca) ca = NULL;

    DZ_TRY(dz_ca_new(d->v->host, d->v->config.created_us, &ca, err));
    DZ_TRY(dz_ca_vault(ca, c.seed, &cert, err));
    c.cert = dz_buf_slice(&cert);
    c.authority = dz_ca_cert(ca);
    for (int i = 0; i < 2; i++) {
        c.strangers = i == 1;
        dz_gate_config_put(&d->config[i], &c);
    }
    explicit_bzero(c.seed, sizeof c.seed);
    return dz_buf_ok(&d->config[0]) && dz_buf_ok(&d->config[1])
               ? DZ_OK
               : DZ_FAIL(err, DZ_E_NOMEM, "door: out of memory");
}

static dz_status take_over_signals(struct door *d, dz_err *err) {
    sigset_t set;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGCHLD);
    (void) signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        (d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return DZ_FAIL_ERRNO(err, "taking over signals");
    return DZ_OK;
}

static dz_status say_where(const struct door *d, dz_err *err) {
    struct sockaddr_storage place = { 0 };
    socklen_t len = sizeof place;
    char text[DZ_PLACE_TEXT];

    if (getsockname(d->listen, (struct sockaddr *) &place, &len) < 0)
        return DZ_FAIL_ERRNO(err, "asking where we listen");
    dz_place_text(&place, text);
    (void) printf(T_("listening on %s\n"), text);
    return fflush(stdout) == 0 ? DZ_OK : DZ_FAIL_ERRNO(err, "saying where we listen");
}

static dz_status open_door(struct door *d, dz_err *err) {
    DZ_TRY(dz_vault_open(d->how->vault, &d->v, err));
    DZ_TRY(dz_enrolment_update(d->v, &d->enrolment, err));
    DZ_TRY(make_configs(d, err));
    DZ_TRY(take_over_signals(d, err));
    DZ_TRY(dz_listen_at(d->how->listen, &d->listen, err));
    return say_where(d, err);
}

int dz_door_run(const struct dz_door_how *how) {
    struct door d = { .how = how, .listen = -1, .signals = -1, .n = how->connections };
    dz_err err = { 0 };
    int code = EXIT_COULD_NOT;

    d.visits = calloc(d.n, sizeof *d.visits);
    if (!d.visits)
        say("%s", T_("out of memory"));
    else if (open_door(&d, &err) != DZ_OK)
        say_error(&err);
    else
        code = serve(&d);
    dz_close_at(&d.listen);
    dz_close_at(&d.signals);
    dz_enrolment_release(&d.enrolment);
    dz_buf_release_secret(&d.config[0]);
    dz_buf_release_secret(&d.config[1]);
    dz_vault_free(d.v);
    free(d.visits);
    return code;
}
