#include "custody/witness.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/run.h"
#include "crypto/hash.h"
#include "crypto/note.h"
#include "custody/alarm.h"
#include "custody/clock_guard.h"

static const char *const kind_names[] = { "paper", "file", "command" };

const char *dz_witness_kind_name(enum dz_witness_kind kind) {
    return kind_names[kind];
}

/* --- who they are ------------------------------------------------------------------------------
 */

static bool name_ok(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-";
    size_t n = strlen(name);

    return n > 0 && n <= DZ_WITNESS_NAME_MAX && name[0] != '.' && name[0] != '-' &&
           strspn(name, letters) == n;
}

static bool kind_of(const char *text, enum dz_witness_kind *ret_kind) {
    for (size_t i = 0; text && i < sizeof kind_names / sizeof *kind_names; i++)
        if (strcmp(text, kind_names[i]) == 0) {
            *ret_kind = (enum dz_witness_kind) i;
            return true;
        }
    return false;
}

static dz_witness *find(const struct dz_witnesses *w, const char *name) {
    for (size_t i = 0; name && i < w->n; i++)
        if (strcmp(w->list[i].name, name) == 0)
            return &w->list[i];
    return NULL;
}

const dz_witness *dz_witnesses_find(const struct dz_witnesses *w, const char *name) {
    return find(w, name);
}

/* Leaves are our own, or a thief's: what does not read as one is passed over. */
static void take(struct dz_witnesses *w, const dz_ledger_leaf *leaf) {
    const char *event = dz_ledger_text(leaf, "event"), *name = dz_ledger_text(leaf, "name");
    const json_t *size = json_object_get(leaf->text, "size");
    const json_t *when = json_object_get(leaf->text, "time_us");
    dz_witness *old = find(w, name), fresh = { .name = name };

    if (!event || !name || !name_ok(name))
        return;
    if (strcmp(event, "add") == 0) {
        fresh.place = dz_ledger_text(leaf, "place");
        if (!kind_of(dz_ledger_text(leaf, "kind"), &fresh.kind) ||
            (fresh.kind != DZ_WITNESS_PAPER && !fresh.place))
            return;
        *(old ? old : &w->list[w->n++]) = fresh;
    } else if (strcmp(event, "confirmed") == 0 && old && json_is_integer(size) &&
               json_is_integer(when) && json_integer_value(size) > 0 &&
               (uint64_t) json_integer_value(size) <= leaf->index) {
        old->size = (uint64_t) json_integer_value(size);
        old->when_us = json_integer_value(when);
        w->size = old->size > w->size ? old->size : w->size;
        w->when_us = old->when_us > w->when_us ? old->when_us : w->when_us;
    }
}

dz_status dz_witnesses_read(const struct dz_ledger *ledger, struct dz_witnesses *ret, dz_err *err) {
    struct dz_witnesses w = { 0 };
    size_t most = 0;

    for (size_t i = 0; i < ledger->n; i++)
        most += ledger->leaves[i].kind == DZ_LEAF_WITNESS;
    w.list = calloc(most + 1, sizeof *w.list);
    if (!w.list)
        return DZ_FAIL(err, DZ_E_NOMEM, "witnesses: out of memory");
    for (size_t i = 0; i < ledger->n; i++)
        if (ledger->leaves[i].kind == DZ_LEAF_WITNESS && ledger->leaves[i].text)
            take(&w, &ledger->leaves[i]);
    *ret = w;
    return DZ_OK;
}

void dz_witnesses_release(struct dz_witnesses *w) {
    free(w->list);
    *w = (struct dz_witnesses){ 0 };
}

bool dz_witnesses_fresh(const struct dz_witnesses *w, int64_t now_us) {
    for (size_t i = 0; i < w->n; i++) {
        int64_t when = w->list[i].when_us;

        if (when > 0 && when <= now_us && now_us - when <= DZ_WITNESS_FRESH_US)
            return true;
    }
    return false;
}

/* --- what they keep ----------------------------------------------------------------------------
 */

/* The command's text comes from the log.  Whoever could write the log could else make an
 * administrator run something: so it is run only as the owner of the vault, who can do it anyway.
 */
static dz_status may_run(const struct dz_vault *v, dz_err *err) {
    struct stat st;

    if (dz_os->fstat(v->dirfd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "looking at the vault's directory");
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return DZ_FAIL(err, DZ_E_POLICY,
                       "a witness's command runs only as the owner of the vault's directory (uid "
                       "%u), and only if nobody else may write there",
                       (unsigned) st.st_uid);
    return DZ_OK;
}

/* `{}` in the command stands for what is asked of it. */
static dz_status run(const struct dz_vault *v, const char *command, const char *verb,
                     dz_slice input, dz_buf *output, dz_err *err) {
    dz_autobuf dz_buf line = { 0 };
    const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
    int code = 0;
    dz_status s;

    DZ_TRY(may_run(v, err));
    for (const char *c = command; *c; c++)
        if (c[0] == '{' && c[1] == '}') {
            dz_buf_printf(&line, "%s", verb);
            c++;
        } else {
            dz_buf_put_u8(&line, (uint8_t) *c);
        }
    dz_buf_put_u8(&line, 0);
    if (!dz_buf_ok(&line))
        return DZ_FAIL(err, DZ_E_NOMEM, "witness: out of memory");
    argv[2] = (const char *) line.data;
    s = dz_run(argv, input, DZ_NOTE_MAX, DZ_WITNESS_TIMEOUT_MS, output, &code, err);
    if (s == DZ_OK && code != 0)
        s = DZ_FAIL(err, DZ_E_IO, "its command ended with %d when asked to %s", code, verb);
    return s;
}

static dz_status get(const struct dz_vault *v, const dz_witness *w, dz_buf *kept, dz_err *err) {
    if (!w->place)
        return DZ_FAIL(err, DZ_E_USAGE, "paper cannot be asked: what it says must be given");
    if (w->kind == DZ_WITNESS_COMMAND) {
        DZ_TRY(run(v, w->place, "get", (dz_slice){ 0 }, kept, err));
        return kept->len > 0 ? DZ_OK : DZ_FAIL(err, DZ_E_NOT_FOUND, "it keeps nothing");
    }
    return dz_read_file(AT_FDCWD, w->place, DZ_NOTE_MAX, kept, err);
}

static dz_status put_file(const char *path, dz_slice checkpoint, dz_err *err) {
    char above[PATH_MAX], name[PATH_MAX];
    dz_autoclose int dirfd = -1;

    if (snprintf(above, sizeof above, "%s", path) >= PATH_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a path of %zu bytes, limit is %d", strlen(path), PATH_MAX);
    (void) snprintf(name, sizeof name, "%s", path);
    dirfd = dz_os->openat(AT_FDCWD, dirname(above), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dirfd < 0)
        return DZ_FAIL_ERRNO(err, "opening the directory of its file");
    return dz_durable_replace(dirfd, dirfd, basename(name), checkpoint, err);
}

/* A line with a time; 0: it says none. */
static int64_t time_said(const dz_buf *said) {
    char text[DZ_TIME_TEXT];
    int64_t us = 0;
    size_t n = 0;

    while (n < said->len && said->data[n] != '\n')
        n++;
    if (n >= sizeof text)
        return 0;
    (void) snprintf(text, sizeof text, "%.*s", (int) n, (const char *) said->data);
    return dz_time_parse(text, &us) ? us : 0;
}

/* *ret_clock_us is what the witness's own clock says; 0: it does not tell. */
static dz_status put(const struct dz_vault *v, const dz_witness *w, dz_slice checkpoint,
                     int64_t *ret_clock_us, dz_err *err) {
    dz_autobuf dz_buf said = { 0 };

    *ret_clock_us = 0;
    if (!w->place)
        return DZ_OK; /* paper is printed by people */
    if (w->kind != DZ_WITNESS_COMMAND)
        return put_file(w->place, checkpoint, err);
    DZ_TRY(run(v, w->place, "put", checkpoint, &said, err));
    *ret_clock_us = said.len > 0 ? time_said(&said) : 0;
    return DZ_OK;
}

/* --- leaves ------------------------------------------------------------------------------------
 */

static dz_status note_confirmed(struct dz_vault *v, int tmpfd, const dz_witness *w,
                                dz_slice checkpoint, uint64_t size, int64_t when_us,
                                int64_t clock_us, dz_err *err) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_CHECKPOINT };
    struct dz_clock_sample now;

    if (clock_us > 0) { /* so that the guard compares times of one moment */
        dz_clock_sample(&now);
        DZ_TRY(dz_clock_tick(v, tmpfd, &now, 0, NULL, err));
    }
    dz_sha256(checkpoint, object.name);
    return dz_ledger_note(v, tmpfd, DZ_LEAF_WITNESS, 0, &object, 1,
                          json_pack("{s:s, s:s, s:I, s:I, s:o*}", "event", "confirmed", "name",
                                    w->name, "size", (json_int_t) size, "time_us",
                                    (json_int_t) when_us, "clock_us",
                                    clock_us > 0 ? json_integer(clock_us) : NULL),
                          NULL, err);
}

/* Paper has no date; the last leaf that it covers has. */
static dz_status time_of_leaf(struct dz_vault *v, uint64_t index, int64_t *ret_us, dz_err *err) {
    dz_autobuf dz_buf entry = { 0 };
    dz_leaf leaf;

    DZ_TRY(dz_tlog_read(v->log, index, &entry, err));
    DZ_TRY(dz_leaf_read(dz_buf_slice(&entry), &leaf, err));
    *ret_us = leaf.time_us;
    return DZ_OK;
}

static dz_status copy_head(struct dz_vault *v, dz_buf *to, dz_err *err) {
    dz_buf_put_slice(to, dz_tlog_checkpoint(v->log));
    return dz_buf_ok(to) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "witness: out of memory");
}

/* --- meeting one -------------------------------------------------------------------------------
 */

dz_status dz_witness_check(struct dz_vault *v, int tmpfd, const dz_witness *w, const dz_slice *kept,
                           uint64_t *ret_size, dz_err *err) {
    dz_autobuf dz_buf fetched = { 0 }, head = { 0 };
    dz_checkpoint old = { 0 };
    int64_t when_us = 0, clock_us = 0;
    dz_slice before;
    dz_status s;

    if (!kept)
        DZ_TRY(get(v, w, &fetched, err));
    before = kept ? *kept : dz_buf_slice(&fetched);
    s = dz_tlog_check_consistency(v->log, before, err);
    if (s == DZ_E_CORRUPT)
        /* what the witness says counts, whether or not the leaf can be written */
        DZ_IGNORE(
            dz_alarm_note(v, tmpfd, DZ_ALARM_SERIOUS, "witness-contradicts", NULL, w->name, NULL));
    DZ_TRY(s);
    if (w->kind == DZ_WITNESS_PAPER) {
        DZ_TRY(dz_checkpoint_read(before, &v->config.id, v->config.log_public, &old, err));
        if (old.size > 0)
            DZ_TRY(time_of_leaf(v, old.size - 1, &when_us, err));
        dz_buf_put_slice(&head, before);
    } else {
        old = dz_tlog_head(v->log);
        when_us = dz_now_us();
        DZ_TRY(copy_head(v, &head, err));
        DZ_TRY(put(v, w, dz_buf_slice(&head), &clock_us, err));
    }
    DZ_TRY(note_confirmed(v, tmpfd, w, dz_buf_slice(&head), old.size, when_us, clock_us, err));
    *ret_size = old.size;
    return DZ_OK;
}

static dz_status first_meeting(struct dz_vault *v, int tmpfd, const dz_witness *w, dz_err *err) {
    dz_autobuf dz_buf there = { 0 }, head = { 0 };
    int64_t clock_us = 0;
    uint64_t size = 0;
    dz_status s;

    if (w->kind == DZ_WITNESS_PAPER)
        return DZ_OK;
    s = get(v, w, &there, err);
    if (s == DZ_OK) /* it knows us already, as after a new disk in the vault's host */
        return dz_witness_check(v, tmpfd, w, NULL, &size, err);
    if (s != DZ_E_NOT_FOUND)
        return s;
    DZ_TRY(copy_head(v, &head, err));
    size = dz_tlog_head(v->log).size;
    DZ_TRY(put(v, w, dz_buf_slice(&head), &clock_us, err));
    return note_confirmed(v, tmpfd, w, dz_buf_slice(&head), size, dz_now_us(), clock_us, err);
}

dz_status dz_witness_add(struct dz_vault *v, int tmpfd, const char *name, enum dz_witness_kind kind,
                         const char *place, dz_err *err) {
    const dz_witness w = { .name = name, .kind = kind, .place = place };
    json_t *text;

    if (!name_ok(name))
        return DZ_FAIL(err, DZ_E_USAGE,
                       "a witness's name has 1 to %d letters, digits, '.', '_' or '-'",
                       (int) DZ_WITNESS_NAME_MAX);
    if ((place == NULL) != (kind == DZ_WITNESS_PAPER))
        return DZ_FAIL(err, DZ_E_USAGE, "paper has no place, every other witness has one");
    if (place && (!*place || strlen(place) > DZ_WITNESS_PLACE_MAX))
        return DZ_FAIL(err, DZ_E_USAGE, "a witness's path or command has 1 to %d bytes",
                       (int) DZ_WITNESS_PLACE_MAX);
    if (kind == DZ_WITNESS_FILE && dz_vault_contains(v->path, place))
        return DZ_FAIL(err, DZ_E_POLICY,
                       "a file inside the vault is no witness: who rewrites the vault rewrites it");
    if (kind == DZ_WITNESS_COMMAND)
        DZ_TRY(may_run(v, err));
    text = json_pack("{s:s, s:s, s:s, s:s*}", "event", "add", "name", name, "kind",
                     kind_names[kind], "place", place);
    DZ_TRY(dz_ledger_note(v, tmpfd, DZ_LEAF_WITNESS, 0, NULL, 0, text, NULL, err));
    return first_meeting(v, tmpfd, &w, err);
}
