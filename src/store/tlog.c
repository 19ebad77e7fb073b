#include "store/tlog.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/dir.h"
#include "core/durable.h"
#include "crypto/note.h"

/* The partial tile of each level: what the tree's right edge is made of. */
struct edge {
    unsigned width;
    dz_merkle_hash hash[DZ_TILE_WIDTH];
};

/* A verified head of the log. */
struct state {
    dz_checkpoint head;
    dz_buf note;
    struct edge edge[DZ_TILE_LEVELS];
};

struct dz_tlog {
    int logfd;
    dz_vault_id vault;
    uint8_t log_public[32];
    struct state *state;
    struct { /* the last full tile used of each level; verified */
        bool filled;
        uint64_t index;
        dz_merkle_hash hash[DZ_TILE_WIDTH];
    } tile[DZ_TILE_LEVELS];
    struct { /* the last bundle used; verified */
        bool filled;
        dz_tile_name name;
        dz_buf bytes;
        dz_slice entry[DZ_TILE_WIDTH];
    } bundle;
};

static void state_free(struct state *s) {
    if (s)
        dz_buf_release(&s->note);
    free(s);
}
DZ_DEFINE_AUTO(state, state_free)

static void forget_tiles(struct dz_tlog *log) {
    for (int l = 0; l < DZ_TILE_LEVELS; l++)
        log->tile[l].filled = false;
    log->bundle.filled = false;
}

static dz_merkle_hash edge_root(const struct edge edge[DZ_TILE_LEVELS]) {
    dz_merkle_hash list[DZ_TILE_WIDTH], right = dz_merkle_empty();
    bool have_right = false;

    for (int l = 0; l < DZ_TILE_LEVELS; l++) {
        unsigned n = edge[l].width;

        if (n == 0)
            continue;
        memcpy(list, edge[l].hash, n * sizeof *list);
        if (have_right)
            list[n++] = right;
        right = dz_merkle_fold(list, n);
        have_right = true;
    }
    return right;
}

static uint64_t edge_index(int level, uint64_t size) {
    return (size >> (8 * level)) / DZ_TILE_WIDTH;
}

/* Reads checkpoint and edge tiles, and checks that they belong together. */
static dz_status load_state(int logfd, const dz_vault_id *vault, const uint8_t log_public[32],
                            struct state **ret_state, dz_err *err) {
    DZ_AUTO(state) s = calloc(1, sizeof *s);
    dz_merkle_hash root;
    dz_status st;

    if (!s)
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    st = dz_read_file(logfd, "checkpoint", DZ_NOTE_MAX, &s->note, err);
    if (st == DZ_OK)
        st = dz_checkpoint_read(dz_buf_slice(&s->note), vault, log_public, &s->head, err);
    if (st == DZ_E_MALFORMED || st == DZ_E_LIMIT) { /* hostile or not: it was ours */
        if (err)
            err->status = DZ_E_CORRUPT;
        st = DZ_E_CORRUPT;
    }
    DZ_TRY(st);
    for (int l = 0; l < DZ_TILE_LEVELS; l++) {
        dz_tile_name t = { l, edge_index(l, s->head.size),
                           (unsigned) (s->head.size >> (8 * l)) % DZ_TILE_WIDTH };

        s->edge[l].width = t.width;
        if (t.width == 0)
            continue;
        st = dz_tile_read(logfd, t, s->edge[l].hash, err);
        if (st == DZ_E_NOT_FOUND) {
            char path[DZ_TILE_PATH_MAX];

            dz_tile_path(t, path);
            st = DZ_FAIL(err, DZ_E_CORRUPT, "log: %s is missing", path);
        }
        DZ_TRY(st);
    }
    root = edge_root(s->edge);
    if (!dz_merkle_eq(&root, &s->head.root))
        return DZ_FAIL(
            err, DZ_E_CORRUPT,
            "log: the edge tiles do not give the root of the checkpoint of size %" PRIu64,
            s->head.size);
    *ret_state = DZ_TAKE(s);
    return DZ_OK;
}

dz_status dz_tlog_create(int logfd, int tmpfd, const dz_vault_id *vault,
                         const uint8_t log_secret[64], dz_err *err) {
    dz_checkpoint head = { .size = 0, .root = dz_merkle_empty() };
    dz_autobuf dz_buf note = { 0 };

    DZ_TRY(dz_checkpoint_write(&head, vault, log_secret, &note, err));
    return dz_durable_publish(tmpfd, logfd, "checkpoint", dz_buf_slice(&note), err);
}

dz_status dz_tlog_open(int logfd, const dz_vault_id *vault, const uint8_t log_public[32],
                       struct dz_tlog **ret_log, dz_err *err) {
    DZ_AUTO(dz_tlog) log = calloc(1, sizeof *log);

    if (!log)
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    log->logfd = fcntl(logfd, F_DUPFD_CLOEXEC, 3);
    if (log->logfd < 0)
        return DZ_FAIL_ERRNO(err, "log: duplicating the directory");
    log->vault = *vault;
    memcpy(log->log_public, log_public, sizeof log->log_public);
    DZ_TRY(load_state(log->logfd, vault, log_public, &log->state, err));
    *ret_log = DZ_TAKE(log);
    return DZ_OK;
}

void dz_tlog_close(struct dz_tlog *log) {
    if (!log)
        return;
    if (log->logfd >= 0)
        (void) close(log->logfd);
    state_free(log->state);
    dz_buf_release(&log->bundle.bytes);
    free(log);
}

dz_checkpoint dz_tlog_head(const struct dz_tlog *log) {
    return log->state->head;
}

dz_slice dz_tlog_checkpoint(const struct dz_tlog *log) {
    return dz_buf_slice(&log->state->note);
}

/* Gives the verified hashes of a tile: of the edge as they are, of a full tile once its root
 * stands in the (verified) tile above. */
static dz_status tile_hashes(struct dz_tlog *log, int level, uint64_t index,
                             const dz_merkle_hash **ret_hashes, dz_err *err) {
    dz_tile_name name = { level, index, DZ_TILE_WIDTH };
    const dz_merkle_hash *above;
    char path[DZ_TILE_PATH_MAX];
    dz_merkle_hash root;
    dz_status s;

    if (index == edge_index(level, log->state->head.size)) {
        *ret_hashes = log->state->edge[level].hash;
        return DZ_OK;
    }
    if (log->tile[level].filled && log->tile[level].index == index) {
        *ret_hashes = log->tile[level].hash;
        return DZ_OK;
    }
    if (level + 1 == DZ_TILE_LEVELS) /* a log of 2^40 leaves has no full tile there */
        return DZ_FAIL(err, DZ_E_USAGE, "log: no tile %" PRIu64 " at level %d", index, level);
    DZ_TRY(tile_hashes(log, level + 1, index / DZ_TILE_WIDTH, &above, err));
    dz_tile_path(name, path);
    log->tile[level].filled = false;
    s = dz_tile_read(log->logfd, name, log->tile[level].hash, err);
    if (s == DZ_E_NOT_FOUND)
        return DZ_FAIL(err, DZ_E_CORRUPT, "log: %s is missing", path);
    DZ_TRY(s);
    root = dz_merkle_fold(log->tile[level].hash, DZ_TILE_WIDTH);
    if (!dz_merkle_eq(&root, &above[index % DZ_TILE_WIDTH]))
        return DZ_FAIL(err, DZ_E_CORRUPT, "log: %s is not what the tile above it says", path);
    log->tile[level].filled = true;
    log->tile[level].index = index;
    *ret_hashes = log->tile[level].hash;
    return DZ_OK;
}

static dz_status get_node(void *ctx, unsigned level, uint64_t index, dz_merkle_hash *ret_hash,
                          dz_err *err) {
    unsigned inside = level % 8; /* levels between two tile levels are folded from the lower one */
    uint64_t first = index << inside;
    const dz_merkle_hash *hashes;

    DZ_TRY(tile_hashes(ctx, (int) (level / 8), first / DZ_TILE_WIDTH, &hashes, err));
    *ret_hash = dz_merkle_fold(hashes + first % DZ_TILE_WIDTH, (size_t) 1 << inside);
    return DZ_OK;
}

static struct dz_merkle_nodes nodes_of(struct dz_tlog *log) {
    return (struct dz_merkle_nodes){ get_node, log };
}

/* Is `old` a head that this log had?  All nodes come from tiles verified against today's root. */
static dz_status check_continues(struct dz_tlog *log, const dz_checkpoint *old, dz_err *err) {
    struct dz_merkle_nodes nodes = nodes_of(log);
    dz_merkle_proof proof = { 0 };

    if (old->size > log->state->head.size)
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "log: has %" PRIu64 " leaves, an older checkpoint says %" PRIu64,
                       log->state->head.size, old->size);
    if (old->size > 0)
        DZ_TRY(dz_merkle_prove_consistency(&nodes, old->size, log->state->head.size, &proof, err));
    if (!dz_merkle_consistent(old->size, &old->root, log->state->head.size, &log->state->head.root,
                              &proof))
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "log: does not continue the checkpoint of size %" PRIu64 ": it was changed",
                       old->size);
    return DZ_OK;
}

dz_status dz_tlog_refresh(struct dz_tlog *log, dz_err *err) {
    DZ_AUTO(state) fresh = NULL;
    struct state *had = log->state;
    dz_status s;

    DZ_TRY(load_state(log->logfd, &log->vault, log->log_public, &fresh, err));
    if (fresh->head.size == had->head.size && dz_merkle_eq(&fresh->head.root, &had->head.root)) {
        log->state = DZ_TAKE(fresh); /* a witness may have added a line */
        state_free(had);
        return DZ_OK;
    }
    forget_tiles(log);
    log->state = fresh;
    s = check_continues(log, &had->head, err);
    if (s != DZ_OK) {
        log->state = had;
        forget_tiles(log);
        return s;
    }
    fresh = NULL;
    state_free(had);
    return DZ_OK;
}

/* Puts the bundle with this index into log->bundle, checked against its tile of level 0. */
static dz_status load_bundle(struct dz_tlog *log, uint64_t index, dz_err *err) {
    uint64_t size = log->state->head.size;
    dz_tile_name name = { DZ_TILE_ENTRIES, index,
                          index < edge_index(0, size) ? DZ_TILE_WIDTH
                                                      : (unsigned) (size % DZ_TILE_WIDTH) };
    const dz_merkle_hash *hashes;
    char path[DZ_TILE_PATH_MAX];
    dz_status s;

    if (log->bundle.filled && log->bundle.name.index == index &&
        log->bundle.name.width == name.width)
        return DZ_OK;
    log->bundle.filled = false;
    dz_buf_release(&log->bundle.bytes);
    DZ_TRY(tile_hashes(log, 0, index, &hashes, err));
    dz_tile_path(name, path);
    s = dz_bundle_read(log->logfd, name, &log->bundle.bytes, log->bundle.entry, err);
    if (s == DZ_E_NOT_FOUND)
        return DZ_FAIL(err, DZ_E_CORRUPT, "log: %s is missing", path);
    DZ_TRY(s);
    for (unsigned i = 0; i < name.width; i++) {
        dz_merkle_hash leaf = dz_merkle_leaf(log->bundle.entry[i]);

        if (!dz_merkle_eq(&leaf, &hashes[i]))
            return DZ_FAIL(err, DZ_E_CORRUPT, "log: entry %u of %s is not in the tree", i, path);
    }
    log->bundle.name = name;
    log->bundle.filled = true;
    return DZ_OK;
}

dz_status dz_tlog_read(struct dz_tlog *log, uint64_t index, dz_buf *ret_entry, dz_err *err) {
    if (index >= log->state->head.size)
        return DZ_FAIL(err, DZ_E_NOT_FOUND, "log: entry %" PRIu64 " of %" PRIu64, index,
                       log->state->head.size);
    DZ_TRY(load_bundle(log, index / DZ_TILE_WIDTH, err));
    dz_buf_clear(ret_entry);
    dz_buf_put_slice(ret_entry, log->bundle.entry[index % DZ_TILE_WIDTH]);
    if (!dz_buf_ok(ret_entry))
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    return DZ_OK;
}

dz_status dz_tlog_each(struct dz_tlog *log, uint64_t from, uint64_t to, dz_tlog_each_fn *each,
                       void *ctx, dz_err *err) {
    if (to > log->state->head.size)
        to = log->state->head.size;
    for (uint64_t i = from; i < to; i++) {
        DZ_TRY(load_bundle(log, i / DZ_TILE_WIDTH, err));
        DZ_TRY(each(ctx, i, log->bundle.entry[i % DZ_TILE_WIDTH], err));
    }
    return DZ_OK;
}

dz_status dz_tlog_prove_inclusion(struct dz_tlog *log, uint64_t index, dz_merkle_proof *ret_proof,
                                  dz_err *err) {
    struct dz_merkle_nodes nodes = nodes_of(log);

    return dz_merkle_prove_inclusion(&nodes, index, log->state->head.size, ret_proof, err);
}

dz_status dz_tlog_prove_consistency(struct dz_tlog *log, uint64_t old_size,
                                    dz_merkle_proof *ret_proof, dz_err *err) {
    struct dz_merkle_nodes nodes = nodes_of(log);

    return dz_merkle_prove_consistency(&nodes, old_size, log->state->head.size, ret_proof, err);
}

dz_status dz_tlog_check_consistency(struct dz_tlog *log, dz_slice old_checkpoint, dz_err *err) {
    dz_checkpoint old;

    DZ_TRY(dz_checkpoint_read(old_checkpoint, &log->vault, log->log_public, &old, err));
    return check_continues(log, &old, err);
}

/* ---- append ---- */

struct append {
    struct dz_tlog *log;
    int tmpfd;
    struct state *next; /* grows; becomes the log's state once its checkpoint is durable */
};

struct partials {
    int dirfd;
    unsigned keep;
};

static dz_status drop_wider(void *ctx, const char *name, dz_err *err) {
    const struct partials *p = ctx;
    char *end;
    unsigned long width = strtoul(name, &end, 10);

    if (name[0] < '1' || name[0] > '9' || *end != '\0' || width <= p->keep)
        return DZ_OK;
    return dz_os->unlinkat(p->dirfd, name, 0) < 0 && errno != ENOENT
               ? DZ_FAIL_ERRNO(err, "log: removing a leftover partial tile")
               : DZ_OK;
}

/* Removes the files of one .p directory that are wider than `keep`: leftovers of a crash, which
 * later would pass for tiles of this log.  The caller syncs the directory. */
static dz_status sweep_partials(int dirfd, unsigned keep, dz_err *err) {
    struct partials p = { .dirfd = dirfd, .keep = keep };

    return dz_dir_each(dirfd, "partial tiles", drop_wider, &p, err);
}

/* Opens the directory that holds the tile's file and gives the file's own name in *ret_name, a
 * part of `path`.  Directories that may not be durable yet are made and their parents synced:
 * the ones above .p come with each first tile of a thousand, .p with the first partial tile.
 * *dirfd is the caller's to close, also on failure. */
static dz_status open_tile_dir(const struct append *a, dz_tile_name tile, char *path, int *dirfd,
                               const char **ret_name, dz_err *err) {
    unsigned had_width;
    uint64_t had = dz_tile_count(tile.level, a->log->state->head.size, &had_width);
    bool have_dirs = tile.index < had || tile.index % 1000 != 0;
    bool have_p = tile.index + 1 == had && had_width < DZ_TILE_WIDTH;
    char *part = path;

    *dirfd = fcntl(a->log->logfd, F_DUPFD_CLOEXEC, 3);
    if (*dirfd < 0)
        return DZ_FAIL_ERRNO(err, "log: duplicating the directory");
    for (char *slash; (slash = strchr(part, '/')); part = slash + 1) {
        bool is_p = slash - part > 2 && slash[-1] == 'p' && slash[-2] == '.';
        int next;

        *slash = '\0';
        if (is_p ? !have_p : !have_dirs)
            DZ_TRY(dz_durable_mkdir(*dirfd, part, 0700, err));
        next = dz_os->openat(*dirfd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (next < 0)
            return DZ_FAIL_ERRNO(err, "log: opening the directory %s", part);
        (void) close(*dirfd);
        *dirfd = next;
        if (is_p)
            DZ_TRY(sweep_partials(*dirfd, have_p ? had_width : 0, err));
    }
    *ret_name = part;
    return DZ_OK;
}

static dz_status put_tile(const struct append *a, dz_tile_name tile, dz_slice content,
                          dz_err *err) {
    dz_autoclose int dirfd = -1;
    char path[DZ_TILE_PATH_MAX];
    const char *name;

    dz_tile_path(tile, path);
    DZ_TRY(open_tile_dir(a, tile, path, &dirfd, &name, err));
    /* Not published but replaced: a crash may have left another one, which no checkpoint covers. */
    return dz_durable_replace(a->tmpfd, dirfd, name, content, err);
}

static dz_status put_edge(const struct append *a, int level, uint64_t index, dz_err *err) {
    const struct edge *e = &a->next->edge[level];

    return put_tile(a, (dz_tile_name){ level, index, e->width },
                    (dz_slice){ e->hash[0].b, e->width * sizeof *e->hash }, err);
}

/* Adds a hash to the edge of level 0; full tiles are written and their root goes one level up. */
static dz_status add_leaf(struct append *a, dz_merkle_hash hash, bool changed[DZ_TILE_LEVELS],
                          dz_err *err) {
    uint64_t size = ++a->next->head.size;

    for (int l = 0; l < DZ_TILE_LEVELS; l++) {
        struct edge *e = &a->next->edge[l];

        e->hash[e->width++] = hash;
        changed[l] = true;
        if (e->width < DZ_TILE_WIDTH)
            break;
        DZ_TRY(put_edge(a, l, edge_index(l, size) - 1, err));
        hash = dz_merkle_fold(e->hash, DZ_TILE_WIDTH);
        e->width = 0;
    }
    return DZ_OK;
}

static dz_status write_entries(struct append *a, const dz_slice *entries, size_t n, dz_err *err) {
    dz_autobuf dz_buf bundle = { 0 };
    bool changed[DZ_TILE_LEVELS] = { false };
    struct state *next = a->next;

    if (next->head.size % DZ_TILE_WIDTH > 0) { /* go on where the last bundle ends */
        unsigned width = (unsigned) (next->head.size % DZ_TILE_WIDTH);
        dz_slice last;

        DZ_TRY(load_bundle(a->log, next->head.size / DZ_TILE_WIDTH, err));
        last = a->log->bundle.entry[width - 1]; /* the file may be a wider one */
        dz_buf_put(&bundle, a->log->bundle.bytes.data,
                   (size_t) (last.data + last.len - a->log->bundle.bytes.data));
    }
    for (size_t i = 0; i < n; i++) {
        dz_buf_put_u8(&bundle, (uint8_t) (entries[i].len >> 8));
        dz_buf_put_u8(&bundle, (uint8_t) entries[i].len);
        dz_buf_put_slice(&bundle, entries[i]);
        if (!dz_buf_ok(&bundle))
            return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
        if ((next->head.size + 1) % DZ_TILE_WIDTH == 0) {
            DZ_TRY(put_tile(
                a,
                (dz_tile_name){ DZ_TILE_ENTRIES, next->head.size / DZ_TILE_WIDTH, DZ_TILE_WIDTH },
                dz_buf_slice(&bundle), err));
            dz_buf_clear(&bundle);
        }
        DZ_TRY(add_leaf(a, dz_merkle_leaf(entries[i]), changed, err));
    }
    if (bundle.len > 0)
        DZ_TRY(put_tile(a,
                        (dz_tile_name){ DZ_TILE_ENTRIES, next->head.size / DZ_TILE_WIDTH,
                                        (unsigned) (next->head.size % DZ_TILE_WIDTH) },
                        dz_buf_slice(&bundle), err));
    for (int l = 0; l < DZ_TILE_LEVELS; l++)
        if (changed[l] && next->edge[l].width > 0)
            DZ_TRY(put_edge(a, l, edge_index(l, next->head.size), err));
    return DZ_OK;
}

/* The tiles that became full are covered by a durable checkpoint: their partial ones may go.  Only
 * tidiness, so failures do not count. */
static void drop_partials(const struct dz_tlog *log, uint64_t old_size, uint64_t size) {
    for (int l = DZ_TILE_ENTRIES; l < DZ_TILE_LEVELS; l++) {
        int level = l == DZ_TILE_ENTRIES ? 0 : l;

        for (uint64_t i = edge_index(level, old_size); i < edge_index(level, size); i++) {
            char path[DZ_TILE_PATH_MAX];
            dz_autoclose int dirfd = -1;

            dz_tile_path((dz_tile_name){ l, i, 1 }, path);
            *strrchr(path, '/') = '\0';
            dirfd =
                dz_os->openat(log->logfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
            if (dirfd >= 0 && sweep_partials(dirfd, 0, NULL) == DZ_OK)
                (void) dz_os->unlinkat(log->logfd, path, AT_REMOVEDIR);
        }
    }
}

/* *fd holds the lock until the caller closes it; it is the caller's to close also on failure. */
static dz_status take_lock(int logfd, int *fd, dz_err *err) {
    *fd = dz_os->openat(logfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*fd < 0)
        return DZ_FAIL_ERRNO(err, "log: opening its lock");
    while (dz_os->flock(*fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return DZ_FAIL_ERRNO(err, "log: taking its lock");
    return DZ_OK;
}

dz_status dz_tlog_append(struct dz_tlog *log, int tmpfd, const uint8_t log_secret[64],
                         const dz_slice *entries, size_t n, uint64_t *ret_first, dz_err *err) {
    DZ_AUTO(state) next = calloc(1, sizeof *next);
    dz_autoclose int lock = -1;
    struct append a = { .log = log, .tmpfd = tmpfd, .next = next };
    uint64_t old_size;

    if (!next)
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    if (n == 0 || n > DZ_TLOG_APPEND_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log: %zu entries in one append, the limit is %d", n,
                       DZ_TLOG_APPEND_MAX);
    for (size_t i = 0; i < n; i++)
        if (entries[i].len > DZ_LOG_ENTRY_MAX)
            return DZ_FAIL(err, DZ_E_LIMIT, "log: an entry of %zu bytes, the limit is %d",
                           entries[i].len, DZ_LOG_ENTRY_MAX);
    DZ_TRY(take_lock(log->logfd, &lock, err));
    DZ_TRY(dz_tlog_refresh(log, err));
    old_size = log->state->head.size;
    if (n > DZ_LOG_SIZE_MAX - old_size)
        return DZ_FAIL(err, DZ_E_LIMIT, "log: full at %" PRIu64 " leaves", old_size);
    next->head = log->state->head;
    memcpy(next->edge, log->state->edge, sizeof next->edge);

    DZ_TRY(write_entries(&a, entries, n, err));
    next->head.root = edge_root(next->edge);
    DZ_TRY(dz_checkpoint_write(&next->head, &log->vault, log_secret, &next->note, err));
    DZ_TRY(dz_durable_replace(tmpfd, log->logfd, "checkpoint", dz_buf_slice(&next->note), err));
    state_free(log->state);
    log->state = DZ_TAKE(next);
    drop_partials(log, old_size, log->state->head.size);
    *ret_first = old_size;
    return DZ_OK;
}
