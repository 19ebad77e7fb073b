/* Checks every file of a log, whatever state it is in.
 *
 * Hashes are known to be right from above: the edge tiles together give the checkpoint's root, each
 * full tile is given by a hash in the tile above it, each entry by its hash in level 0.  So one
 * wrong file is named as itself, not as its neighbours.  Below a wrong or missing tile the hashes
 * are derived from its children instead, down to the entries. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/durable.h"
#include "crypto/note.h"
#include "store/tlog.h"

struct edge;
struct verify {
    int logfd;
    uint64_t size;
    dz_tlog_finding_fn *found;
    void *ctx;
    dz_tlog_report report;
    struct edge *edge;
    bool edge_known; /* its hashes give the checkpoint's root */
};

typedef struct hashes {
    dz_merkle_hash at[DZ_TILE_WIDTH];
} hashes;

static void tell(struct verify *v, enum dz_tlog_finding finding, const char *name) {
    if (finding != DZ_TLOG_LEFTOVER)
        v->report.bad++;
    v->found(v->ctx, finding, name);
}

static void tell_tile(struct verify *v, enum dz_tlog_finding finding, dz_tile_name tile) {
    char path[DZ_TILE_PATH_MAX];

    dz_tile_path(tile, path);
    tell(v, finding, path);
}

static hashes *new_hashes(dz_err *err) {
    hashes *h = malloc(sizeof *h);

    if (!h)
        (void) DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    return h;
}

/* A hostile checkpoint may ask for 2^32 files that are not there. */
static bool enough(const struct verify *v) {
    return v->report.bad >= DZ_TLOG_FINDINGS_MAX;
}

/* A tile's file as it is.  *ret_finding is 0 (DAMAGED) or MISSING when it cannot be used: those
 * are findings, while running out of memory ends the check. */
static dz_status read_tile(struct verify *v, dz_tile_name tile, hashes *ret, bool *ret_usable,
                           enum dz_tlog_finding *ret_finding, dz_err *err) {
    dz_status s = dz_tile_read(v->logfd, tile, ret->at, err);

    if (s == DZ_E_NOMEM)
        return s;
    *ret_usable = s == DZ_OK;
    *ret_finding = s == DZ_E_NOT_FOUND ? DZ_TLOG_MISSING : DZ_TLOG_DAMAGED;
    return DZ_OK;
}

/* Leaf hashes of a bundle; *ret_usable is false when it does not split into its entries. */
static dz_status read_leaves(struct verify *v, dz_tile_name tile, hashes *ret, bool *ret_usable,
                             enum dz_tlog_finding *ret_finding, uint64_t *ret_bytes, dz_err *err) {
    dz_autofree dz_slice *entries = calloc(DZ_TILE_WIDTH, sizeof *entries);
    dz_autobuf dz_buf bundle = { 0 };
    dz_status s;

    if (!entries)
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    s = dz_bundle_read(v->logfd, tile, &bundle, entries, err);
    if (s == DZ_E_NOMEM)
        return s;
    *ret_usable = s == DZ_OK;
    *ret_finding = s == DZ_E_NOT_FOUND ? DZ_TLOG_MISSING : DZ_TLOG_DAMAGED;
    for (unsigned i = 0; s == DZ_OK && i < tile.width; i++)
        ret->at[i] = dz_merkle_leaf(entries[i]);
    *ret_bytes = bundle.len;
    return DZ_OK;
}

/* The hashes that a tile must have, made from what lies below it. */
static dz_status derive(struct verify *v, dz_tile_name tile, hashes *ret, bool *ret_usable,
                        dz_err *err) {
    enum dz_tlog_finding ignored;
    dz_autofree hashes *below = NULL;
    uint64_t bytes;

    if (tile.level == 0)
        return read_leaves(v, (dz_tile_name){ DZ_TILE_ENTRIES, tile.index, tile.width }, ret,
                           ret_usable, &ignored, &bytes, err);
    below = new_hashes(err);
    if (!below)
        return DZ_E_NOMEM;
    *ret_usable = true;
    for (unsigned i = 0; i < tile.width && *ret_usable; i++) {
        dz_tile_name child = { tile.level - 1, tile.index * DZ_TILE_WIDTH + i, DZ_TILE_WIDTH };

        DZ_TRY(read_tile(v, child, below, ret_usable, &ignored, err));
        if (!*ret_usable)
            DZ_TRY(derive(v, child, below, ret_usable, err));
        if (*ret_usable)
            ret->at[i] = dz_merkle_fold(below->at, DZ_TILE_WIDTH);
    }
    return DZ_OK;
}

static bool folds_to(const hashes *h, const dz_merkle_hash *want) {
    dz_merkle_hash root = dz_merkle_fold(h->at, DZ_TILE_WIDTH);

    return dz_merkle_eq(&root, want);
}

/* Checks a bundle against the hashes of its tile (NULL: nobody knows what they must be). */
static dz_status check_bundle(struct verify *v, dz_tile_name tile, const hashes *want,
                              dz_err *err) {
    dz_autofree hashes *have = new_hashes(err);
    enum dz_tlog_finding finding;
    uint64_t bytes = 0;
    bool usable;

    if (!have)
        return DZ_E_NOMEM;
    tile.level = DZ_TILE_ENTRIES;
    DZ_TRY(read_leaves(v, tile, have, &usable, &finding, &bytes, err));
    v->report.files += usable;
    v->report.bytes += bytes;
    if (usable && want) {
        unsigned good = 0;

        for (unsigned i = 0; i < tile.width; i++)
            good += dz_merkle_eq(&have->at[i], &want->at[i]);
        v->report.entries += good;
        usable = good == tile.width;
        finding = DZ_TLOG_DAMAGED;
    }
    if (!usable)
        tell_tile(v, finding, tile);
    return DZ_OK;
}

static dz_status check_below(struct verify *v, dz_tile_name tile, const hashes *good, dz_err *err);

/* Checks a full tile whose root must be `want`, and all below it. */
static dz_status check_tile(struct verify *v, dz_tile_name tile, const dz_merkle_hash *want,
                            dz_err *err) {
    dz_autofree hashes *have = new_hashes(err);
    enum dz_tlog_finding finding;
    bool usable, known;

    if (!have)
        return DZ_E_NOMEM;
    DZ_TRY(read_tile(v, tile, have, &usable, &finding, err));
    v->report.files += usable;
    v->report.bytes += usable ? sizeof *have : 0;
    known = usable && (!want || folds_to(have, want));
    if (!known) {
        tell_tile(v, usable ? DZ_TLOG_DAMAGED : finding, tile);
        DZ_TRY(derive(v, tile, have, &usable, err));
        known = usable && want && folds_to(have, want);
    }
    return check_below(v, tile, known ? have : NULL, err);
}

/* Goes on to the children of a tile whose hashes are `good` (NULL: could not be found out). */
static dz_status check_below(struct verify *v, dz_tile_name tile, const hashes *good, dz_err *err) {
    if (tile.level == 0)
        return check_bundle(v, tile, good, err);
    for (unsigned i = 0; i < tile.width && !enough(v); i++)
        DZ_TRY(check_tile(
            v, (dz_tile_name){ tile.level - 1, tile.index * DZ_TILE_WIDTH + i, DZ_TILE_WIDTH },
            good ? &good->at[i] : NULL, err));
    return DZ_OK;
}

/* The partial tiles of all levels; each as its file has it and as it follows from below. */
struct edge {
    struct {
        dz_tile_name name; /* width 0: this level has no partial tile */
        bool have_file, have_derived, use_derived;
        enum dz_tlog_finding finding;
        hashes file, derived;
    } level[DZ_TILE_LEVELS];
};

static dz_status read_edge(struct verify *v, struct edge *e, dz_err *err) {
    for (int l = 0; l < DZ_TILE_LEVELS; l++) {
        uint64_t n = v->size >> (8 * l);

        e->level[l].name = (dz_tile_name){ l, n / DZ_TILE_WIDTH, (unsigned) (n % DZ_TILE_WIDTH) };
        if (e->level[l].name.width == 0)
            continue;
        DZ_TRY(read_tile(v, e->level[l].name, &e->level[l].file, &e->level[l].have_file,
                         &e->level[l].finding, err));
        v->report.files += e->level[l].have_file;
        v->report.bytes += e->level[l].have_file ? 32 * e->level[l].name.width : 0;
        DZ_TRY(derive(v, e->level[l].name, &e->level[l].derived, &e->level[l].have_derived, err));
    }
    return DZ_OK;
}

static bool edge_gives(const struct edge *e, const dz_merkle_hash *root) {
    dz_merkle_hash list[DZ_TILE_WIDTH], right = dz_merkle_empty();
    bool have_right = false;

    for (int l = 0; l < DZ_TILE_LEVELS; l++) {
        unsigned n = e->level[l].name.width;
        bool derived = e->level[l].use_derived;

        if (n == 0)
            continue;
        if (derived ? !e->level[l].have_derived : !e->level[l].have_file)
            return false;
        memcpy(list, derived ? e->level[l].derived.at : e->level[l].file.at, n * sizeof *list);
        if (have_right)
            list[n++] = right;
        right = dz_merkle_fold(list, n);
        have_right = true;
    }
    return dz_merkle_eq(&right, root);
}

/* Looks for the choice between file and derived hashes that gives the root: at most 2^6 of them,
 * the files alone first. */
static bool settle_edge(struct edge *e, const dz_merkle_hash *root) {
    for (unsigned choice = 0; choice < 1u << DZ_TILE_LEVELS; choice++) {
        bool sensible = true;

        for (int l = 0; l < DZ_TILE_LEVELS; l++) {
            e->level[l].use_derived = (choice >> l) & 1;
            sensible &= !e->level[l].use_derived || e->level[l].name.width > 0;
        }
        if (sensible && edge_gives(e, root))
            return true;
    }
    return false;
}

static dz_status check_tree(struct verify *v, const dz_merkle_hash *root, dz_err *err) {
    struct edge *e = v->edge;
    bool known;

    DZ_TRY(read_edge(v, e, err));
    known = v->edge_known = settle_edge(e, root);
    for (int l = DZ_TILE_LEVELS - 1; l >= 0 && !enough(v); l--) {
        unsigned width = e->level[l].name.width;
        bool agree = e->level[l].have_file && e->level[l].have_derived &&
                     memcmp(e->level[l].file.at, e->level[l].derived.at, 32 * width) == 0;
        bool bad = !e->level[l].have_file || (known ? e->level[l].use_derived : !agree);

        if (width == 0)
            continue;
        if (bad)
            tell_tile(v, e->level[l].have_file ? DZ_TLOG_DAMAGED : e->level[l].finding,
                      e->level[l].name);
        DZ_TRY(check_below(v, e->level[l].name,
                           !known                    ? NULL
                           : e->level[l].use_derived ? &e->level[l].derived
                                                     : &e->level[l].file,
                           err));
    }
    if (!known && v->report.bad == 0) /* tiles and entries agree with each other only */
        tell(v, DZ_TLOG_DAMAGED, "checkpoint");
    return DZ_OK;
}

/* A partial tile narrower than the one in use was covered by an older checkpoint: its hashes must
 * be the first ones of today's. */
static dz_status check_older(struct verify *v, dz_tile_name old, dz_err *err) {
    int level = old.level == DZ_TILE_ENTRIES ? 0 : old.level;
    dz_autofree hashes *have = new_hashes(err);
    enum dz_tlog_finding finding;
    const hashes *want;
    uint64_t bytes = 32 * old.width;
    bool usable;

    if (!have)
        return DZ_E_NOMEM;
    if (old.level == DZ_TILE_ENTRIES)
        DZ_TRY(read_leaves(v, old, have, &usable, &finding, &bytes, err));
    else
        DZ_TRY(read_tile(v, old, have, &usable, &finding, err));
    v->report.files += usable;
    v->report.bytes += usable ? bytes : 0;
    if (!v->edge_known) /* named already; nothing to compare with */
        return DZ_OK;
    want = v->edge->level[level].use_derived ? &v->edge->level[level].derived
                                             : &v->edge->level[level].file;
    if (!usable || memcmp(have->at, want->at, 32 * old.width) != 0)
        tell_tile(v, DZ_TLOG_DAMAGED, old);
    return DZ_OK;
}

/* Files of the tree itself were checked already; here are the names that it does not ask for. */
static dz_status check_name(struct verify *v, const char *path, dz_err *err) {
    unsigned last_width, width_now;
    dz_tile_name t;
    uint64_t count;

    if (!dz_tile_parse_path(path, &t)) {
        char shown[DZ_TILE_PATH_MAX];

        (void) snprintf(shown, sizeof shown, "%s", path);
        for (char *c = shown; *c; c++)
            if (!isprint((unsigned char) *c))
                *c = '?';
        tell(v, DZ_TLOG_UNEXPECTED, shown);
        return DZ_OK;
    }
    count = dz_tile_count(t.level, v->size, &last_width);
    width_now = t.index + 1 < count ? DZ_TILE_WIDTH : last_width;
    if (t.index < count && t.width == width_now)
        return DZ_OK;
    if (t.index < count && t.width < width_now && width_now < DZ_TILE_WIDTH)
        return check_older(v, t, err);
    /* beyond the checkpoint, or below a full tile, where an append dies before it drops them */
    tell(v, DZ_TLOG_LEFTOVER, path);
    return DZ_OK;
}

enum { DEPTH_MAX = 8, WALK_PATH_MAX = 512 };

/* Walks the directory `path` (below the log's) without following links. */
static dz_status walk(struct verify *v, int parent, const char *name, const char *path, int depth,
                      dz_err *err) {
    int fd = dz_os->openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    dz_status s = DZ_OK;
    struct dirent *e;

    if (!dir) {
        dz_close_at(&fd);
        tell(v, DZ_TLOG_UNEXPECTED, path);
        return DZ_OK;
    }
    while (s == DZ_OK && !enough(v) && (e = readdir(dir))) {
        char below[WALK_PATH_MAX];
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void) snprintf(below, sizeof below, "%s%s%.255s", path, *path ? "/" : "", e->d_name);
        if (depth == 0 && (strcmp(below, "checkpoint") == 0 || strcmp(below, "lock") == 0))
            continue;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* gone since: an append tidies up */
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX && strlen(below) < DZ_TILE_PATH_MAX)
            s = walk(v, fd, e->d_name, below, depth + 1, err);
        else
            s = check_name(v, below, err);
    }
    (void) closedir(dir);
    return s;
}

dz_status dz_tlog_verify_all(int logfd, const dz_vault_id *vault, const uint8_t log_public[32],
                             dz_tlog_finding_fn *found, void *ctx, dz_tlog_report *ret_report,
                             dz_err *err) {
    struct verify v = { .logfd = logfd, .found = found, .ctx = ctx };
    dz_autofree struct edge *edge = calloc(1, sizeof *edge);
    dz_autobuf dz_buf note = { 0 };
    dz_checkpoint head = { 0 };
    dz_status s;

    if (!edge)
        return DZ_FAIL(err, DZ_E_NOMEM, "log: out of memory");
    v.edge = edge;
    s = dz_read_file(logfd, "checkpoint", DZ_NOTE_MAX, &note, err);
    if (s == DZ_OK)
        s = dz_checkpoint_read(dz_buf_slice(&note), vault, log_public, &head, err);
    if (s == DZ_E_NOMEM)
        return s;
    if (s != DZ_OK) { /* without it nothing tells how much must be there */
        tell(&v, s == DZ_E_NOT_FOUND ? DZ_TLOG_MISSING : DZ_TLOG_DAMAGED, "checkpoint");
        *ret_report = v.report;
        return DZ_OK;
    }
    v.size = head.size;
    v.report.files = 1;
    v.report.bytes = note.len;
    DZ_TRY(check_tree(&v, &head.root, err));
    DZ_TRY(walk(&v, logfd, ".", "", 0, err));
    *ret_report = v.report;
    return DZ_OK;
}
