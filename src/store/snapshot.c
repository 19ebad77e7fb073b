#include "store/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/durable.h"
#include "core/hex.h"
#include "core/os.h"
#include "store/leaf.h"
#include "store/removed.h"

void dz_snapshot_release(struct dz_snapshot *s) {
    dz_commit_release(&s->commit);
}

void dz_snapshot_id_text(const uint8_t id[DZ_SNAPSHOT_ID_BYTES], char ret[DZ_SNAPSHOT_ID_TEXT]) {
    dz_hex(id, DZ_SNAPSHOT_ID_BYTES, ret);
}

/* Reads the commit file that a leaf names, and holds it against that name. */
static dz_status read_commit(struct dz_vault *v, struct dz_snapshot *snap, dz_err *err) {
    dz_autobuf dz_buf bytes = { 0 };
    char name[2 * DZ_SHA256_BYTES + 1];
    uint8_t hash[DZ_SHA256_BYTES];
    dz_status s;

    dz_hex(snap->file, sizeof snap->file, name);
    s = dz_read_file(v->commitsfd, name, DZ_COMMIT_MAX, &bytes, err);
    if (s == DZ_E_NOT_FOUND)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit %.16s is missing", name);
    DZ_TRY(s);
    dz_sha256(dz_buf_slice(&bytes), hash);
    if (memcmp(hash, snap->file, sizeof hash) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "commit %.16s is damaged", name);
    s = dz_commit_read(dz_buf_slice(&bytes), v->host, v->open, &snap->commit, err);
    return dz_err_context(err, s, "commit %.16s", name);
}

dz_status dz_snapshot_load(struct dz_vault *v, const uint8_t file[DZ_SHA256_BYTES],
                           struct dz_snapshot *ret_snap, dz_err *err) {
    struct dz_snapshot snap = { 0 };

    memcpy(snap.file, file, sizeof snap.file);
    DZ_TRY(read_commit(v, &snap, err));
    *ret_snap = snap;
    return DZ_OK;
}

/* The commit file named by a leaf; false when the leaf is of another kind. */
static bool names_commit(const dz_leaf *leaf, uint8_t ret_file[DZ_SHA256_BYTES]) {
    if (leaf->kind != DZ_LEAF_COMMIT)
        return false;
    for (size_t i = 0; i < leaf->object_count; i++)
        if (leaf->objects[i].type == DZ_LEAF_OBJ_COMMIT) {
            memcpy(ret_file, leaf->objects[i].name, DZ_SHA256_BYTES);
            return true;
        }
    return false;
}

/* The log says that it was removed, and its record is no more.  A leaf alone removes nothing: who
 * has stolen the host's keys can write one. */
static bool is_gone(struct dz_vault *v, const struct dz_removed *removed,
                    const uint8_t file[DZ_SHA256_BYTES]) {
    char name[2 * DZ_SHA256_BYTES + 1];
    struct stat st;

    dz_hex(file, DZ_SHA256_BYTES, name);
    return dz_removed_snapshot(removed, file) &&
           dz_os->fstatat(v->commitsfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* A commit that the log names. */
struct named {
    uint8_t file[DZ_SHA256_BYTES];
    uint64_t leaf;
};

/* All that the log says; what is gone is known only at its end. */
struct reading {
    struct dz_removed *removed;
    dz_buf named; /* struct named */
};

static dz_status each_leaf(void *ctx, uint64_t index, dz_slice entry, dz_err *err) {
    struct reading *r = ctx;
    struct named n = { .leaf = index };
    dz_leaf leaf;

    if (dz_leaf_read(entry, &leaf, NULL) != DZ_OK)
        return DZ_OK;
    DZ_TRY(dz_removed_take(r->removed, &leaf, err));
    if (names_commit(&leaf, n.file))
        dz_buf_put(&r->named, &n, sizeof n);
    return dz_buf_ok(&r->named) ? DZ_OK
                                : DZ_FAIL(err, DZ_E_NOMEM, "list of snapshots: out of memory");
}

static dz_status visit_all(struct dz_vault *v, const struct reading *r, dz_snapshot_visit *visit,
                           void *ctx, dz_err *err) {
    const void *data = r->named.data;
    const struct named *named = data;

    for (size_t i = 0; i < r->named.len / sizeof *named; i++) {
        struct dz_snapshot snap = { .leaf = named[i].leaf };
        dz_err why = { 0 };
        dz_status s;

        memcpy(snap.file, named[i].file, sizeof snap.file);
        s = read_commit(v, &snap, &why);
        if (s == DZ_E_CORRUPT && is_gone(v, r->removed, snap.file))
            continue;
        if (s == DZ_E_NOMEM) {
            if (err)
                *err = why;
            return s;
        }
        s = visit(ctx, &snap, s, &why, err);
        dz_snapshot_release(&snap);
        DZ_TRY(s);
    }
    return DZ_OK;
}

dz_status dz_snapshots_each(struct dz_vault *v, dz_snapshot_visit *visit, void *ctx, dz_err *err) {
    struct reading r = { 0 };
    dz_err why = { 0 };
    dz_status s = dz_removed_new(false, &r.removed, &why), visited = DZ_OK;

    if (s == DZ_OK)
        s = dz_tlog_each(v->log, 1, UINT64_MAX, each_leaf, &r, &why);
    if (s == DZ_OK || s == DZ_E_CORRUPT) /* what stands before the damage is visited */
        visited = visit_all(v, &r, visit, ctx, err);
    if (visited == DZ_OK && s != DZ_OK && err)
        *err = why;
    dz_removed_free(r.removed);
    dz_buf_release(&r.named);
    return visited != DZ_OK ? visited : s;
}

/* --- from the newest back -------------------------------------------------------------------- */

static dz_status visit_leaf(struct dz_vault *v, uint64_t index, struct dz_removed *removed,
                            dz_snapshot_visit_back *visit, void *ctx, bool *go_on, dz_err *err) {
    struct dz_snapshot snap = { .leaf = index };
    dz_autobuf dz_buf entry = { 0 };
    dz_err why = { 0 };
    dz_leaf leaf;
    dz_status s;

    DZ_TRY(dz_tlog_read(v->log, index, &entry, err));
    if (dz_leaf_read(dz_buf_slice(&entry), &leaf, NULL) != DZ_OK)
        return DZ_OK;
    DZ_TRY(dz_removed_take(removed, &leaf, err));
    if (!names_commit(&leaf, snap.file))
        return DZ_OK;
    s = read_commit(v, &snap, &why);
    if (s == DZ_E_CORRUPT && is_gone(v, removed, snap.file))
        return DZ_OK;
    if (s == DZ_E_NOMEM) {
        if (err)
            *err = why;
        return s;
    }
    *go_on = visit(ctx, &snap, s, &why);
    dz_snapshot_release(&snap);
    return DZ_OK;
}

dz_status dz_snapshots_back(struct dz_vault *v, uint64_t from, dz_snapshot_visit_back *visit,
                            void *ctx, dz_err *err) {
    DZ_AUTO(dz_removed) removed = NULL;
    bool go_on = true;

    DZ_TRY(dz_removed_new(true, &removed, err));
    for (uint64_t i = dz_tlog_head(v->log).size; go_on && i-- > (from ? from : 1);)
        DZ_TRY(visit_leaf(v, i, removed, visit, ctx, &go_on, err));
    return DZ_OK;
}

/* --- by name --------------------------------------------------------------------------------- */

struct newest {
    const char *source; /* NULL: any */
    int64_t until_us;
    struct dz_snapshot *ret;
    bool found;
    dz_status status; /* of a commit that could not be read, and the reason */
    dz_err why;
};

static bool is_newest(void *ctx, struct dz_snapshot *snap, dz_status status, const dz_err *why) {
    struct newest *n = ctx;

    if (status != DZ_OK) {
        n->status = status;
        n->why = *why;
        return false;
    }
    if ((n->source && strcmp(snap->commit.source, n->source) != 0) ||
        snap->commit.arrived_us > n->until_us)
        return true;
    *n->ret = *snap;
    *snap = (struct dz_snapshot){ 0 };
    n->found = true;
    return false;
}

/* What people ask for is mostly the newest. */
static dz_status find_newest(struct dz_vault *v, const char *source, int64_t until_us,
                             struct dz_snapshot *ret_snapshot, dz_err *err) {
    struct newest n = { .source = source, .until_us = until_us, .ret = ret_snapshot };

    DZ_TRY(dz_snapshots_back(v, 0, is_newest, &n, err));
    if (n.status != DZ_OK) {
        if (err)
            *err = n.why;
        return n.status;
    }
    if (n.found)
        return DZ_OK;
    if (source)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "no such snapshot of source %.80s", source);
    return DZ_FAIL(err, DZ_E_NOT_FOUND, "the vault holds no snapshot yet");
}

struct by_prefix {
    const char *prefix;
    uint8_t file[DZ_SHA256_BYTES];
    uint64_t leaf;
    unsigned hits;
};

static dz_status match_prefix(void *ctx, const struct dz_snapshot *snap, dz_status status,
                              const dz_err *why, dz_err *err) {
    struct by_prefix *m = ctx;
    char id[DZ_SNAPSHOT_ID_TEXT];

    (void) why;
    (void) err;
    if (status != DZ_OK)
        return DZ_OK; /* its id cannot be read; others may match */
    dz_snapshot_id_text(snap->commit.id, id);
    if (strncmp(id, m->prefix, strlen(m->prefix)) == 0) {
        memcpy(m->file, snap->file, sizeof m->file);
        m->leaf = snap->leaf;
        m->hits++;
    }
    return DZ_OK;
}

static dz_status find_prefix(struct dz_vault *v, const char *name, struct dz_snapshot *ret_snapshot,
                             dz_err *err) {
    struct by_prefix m = { .prefix = name };
    struct dz_snapshot snap = { 0 };

    DZ_TRY(dz_snapshots_each(v, match_prefix, &m, err));
    if (m.hits == 0)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "no snapshot %.40s; `dozo snapshots` lists them", name);
    if (m.hits > 1)
        return DZ_FAIL(err, DZ_E_USAGE, "%u snapshots begin with %.40s; give more digits", m.hits,
                       name);
    snap.leaf = m.leaf;
    memcpy(snap.file, m.file, sizeof snap.file);
    DZ_TRY(read_commit(v, &snap, err));
    *ret_snapshot = snap;
    return DZ_OK;
}

dz_status dz_snapshot_find(struct dz_vault *v, const char *name, struct dz_snapshot *ret_snapshot,
                           dz_err *err) {
    const char *at = strrchr(name, '@');
    char source[DZ_SOURCE_NAME_MAX + 1];
    int64_t until;

    if (strcmp(name, "latest") == 0)
        return find_newest(v, NULL, INT64_MAX, ret_snapshot, err);
    if (strncmp(name, "latest:", 7) == 0)
        return find_newest(v, name + 7, INT64_MAX, ret_snapshot, err);
    if (at) {
        if ((size_t) (at - name) >= sizeof source)
            return DZ_FAIL(err, DZ_E_USAGE, "source name longer than %d bytes", DZ_SOURCE_NAME_MAX);
        memcpy(source, name, (size_t) (at - name));
        source[at - name] = '\0';
        if (!dz_time_parse(at + 1, &until))
            return DZ_FAIL(err, DZ_E_USAGE,
                           "%.40s is no time; write it as 2026-11-22T09:30:00+09:00", at + 1);
        return find_newest(v, source, until, ret_snapshot, err);
    }
    if (name[strspn(name, "0123456789abcdef")] != '\0' || strlen(name) >= DZ_SNAPSHOT_ID_TEXT ||
        name[0] == '\0')
        return DZ_FAIL(err, DZ_E_USAGE,
                       "%.40s is no snapshot: give an id, latest, latest:SOURCE or SOURCE@TIME",
                       name);
    return find_prefix(v, name, ret_snapshot, err);
}
