/* The packs, on all cores: bytes against names, tables against the index, and, opened, every object
 * against its name.
 *
 *   pack ─▶ SHA-256 of the file ─▶ table ─▶ index has each row ─▶ (opened) segments ─▶ objects
 *
 * Where a pack is damaged and the vault is open, its segments are opened even if nobody asked for
 * `data`: that tells what is lost in it from what is not. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "core/durable.h"
#include "core/hex.h"
#include "store/segment.h"
#include "store/verify_parts.h"

enum {
    READ_BYTES = 1 << 20,
    AHEAD_BYTES = 8 << 20, /* the device reads these while we hash */
    PLACES_MAX = 1 << 20,  /* bad places kept one by one; beyond, the whole pack is bad */
    PROGRESS_MS = 200,
    THREADS_MAX = 256,
};

struct pool {
    struct dz_verify *x;
    size_t *order; /* indexes into catalog.all */
    size_t n;
    pthread_cond_t changed; /* with x->lock, which guards all below */
    size_t next;
    size_t running;
    dz_status failed;
    dz_err why;
};

/* What one thread works with. */
struct hand {
    struct dz_verify *x;
    uint8_t *block; /* READ_BYTES */
    struct dz_hasher *hasher;
    struct dz_coder *coder;
    dz_buf sealed;
};

size_t dz_verify_pack_at(const struct dz_verify *x, const uint8_t pack[DZ_SHA256_BYTES]) {
    const struct dz_packlist *l = &x->catalog.all;
    size_t from = 0, to = l->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int order = memcmp(l->ids[mid].b, pack, DZ_SHA256_BYTES);
        if (order == 0)
            return mid;
        if (order < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return SIZE_MAX;
}

static int by_place(const void *a, const void *b) {
    const struct dz_verify_place *p = a, *q = b;
    int order = memcmp(p->pack.b, q->pack.b, sizeof p->pack.b);

    if (order != 0)
        return order;
    if (p->seg_offset != q->seg_offset)
        return p->seg_offset < q->seg_offset ? -1 : 1;
    return p->slot < q->slot ? -1 : p->slot > q->slot;
}

static bool is_bad_place(const struct dz_verify *x, const dz_place *place, uint32_t slot) {
    struct dz_verify_place key = { .seg_offset = place->seg_offset, .slot = slot };

    memcpy(key.pack.b, place->pack, sizeof key.pack.b);
    return bsearch(&key, x->bad_places.data, x->bad_places.len / sizeof key, sizeof key, by_place);
}

bool dz_verify_place_good(void *ctx, const dz_place *place) {
    const struct dz_verify *x = ctx;
    size_t at = dz_verify_pack_at(x, place->pack);

    if (at == SIZE_MAX || x->bad_packs[at])
        return false;
    return x->bad_places.len == 0 ||
           (!is_bad_place(x, place, DZ_VERIFY_ALL_SLOTS) && !is_bad_place(x, place, place->slot));
}

/* --- one pack --------------------------------------------------------------------------------- */

static dz_status note(struct hand *h, size_t at, bool whole, enum dz_verify_what what,
                      const char *detail, dz_err *err) {
    struct dz_verify *x = h->x;

    x->found_packs[at] = 1; /* one thread has this pack */
    if (whole)
        x->bad_packs[at] = 1;
    return dz_verify_note_pack(x, &x->catalog.all.ids[at], what, detail, err);
}

static dz_status note_place(struct hand *h, size_t at, uint32_t seg_offset, uint32_t slot,
                            dz_err *err) {
    struct dz_verify *x = h->x;
    const struct dz_verify_place place = { x->catalog.all.ids[at], seg_offset, slot };
    bool ok;

    (void) pthread_mutex_lock(&x->lock);
    if (x->bad_places.len / sizeof place < PLACES_MAX)
        dz_buf_put(&x->bad_places, &place, sizeof place);
    else
        x->bad_packs[at] = 1;
    ok = dz_buf_ok(&x->bad_places);
    (void) pthread_mutex_unlock(&x->lock);
    return ok ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "no memory for what was found");
}

/* Gives what the bytes hash to; a failure to read gives the errno, 0 otherwise. */
static int hash_file(struct hand *h, int fd, uint64_t size, uint8_t ret_hash[DZ_SHA256_BYTES]) {
    struct dz_verify *x = h->x;
    uint64_t ahead = 0;
    int failed = 0;

    for (uint64_t at = 0; at < size && !failed;) {
        size_t n = size - at < READ_BYTES ? (size_t) (size - at) : READ_BYTES;

        if (at + READ_BYTES > ahead && ahead < size) {
            ahead = at + AHEAD_BYTES; /* a hint: without it the hashing waits for each read */
            (void) posix_fadvise(fd, (off_t) at, AHEAD_BYTES, POSIX_FADV_WILLNEED);
        }
        if (dz_pread_all(fd, h->block, n, (off_t) at) < 0)
            failed = errno;
        else
            dz_hasher_update(h->hasher, (dz_slice){ h->block, n });
        at += n;
        (void) pthread_mutex_lock(&x->lock);
        x->result.bytes += n;
        (void) pthread_mutex_unlock(&x->lock);
    }
    dz_hasher_final(h->hasher, ret_hash);
    return failed;
}

static bool same_place(void *ctx, const dz_place *place) {
    const dz_place *want = ctx;

    return place->seg_offset == want->seg_offset && place->slot == want->slot &&
           memcmp(place->pack, want->pack, sizeof want->pack) == 0;
}

/* The index is a cache and anybody may have written it: each row of the table must be in it, and
 * verify.c counts that no other is. */
static dz_status compare_index(struct hand *h, size_t at, const dz_pack_table *t, dz_err *err) {
    struct dz_verify *x = h->x;
    dz_place want, got;

    memcpy(want.pack, x->catalog.all.ids[at].b, sizeof want.pack);
    for (size_t i = 0; i < t->n_segments; i++) {
        want.seg_offset = t->segments[i].offset;
        for (uint32_t slot = 0; slot < t->segments[i].count; slot++) {
            bool found = false;
            dz_status s;

            want.slot = (uint16_t) slot;
            s = dz_index_find(x->catalog.index, t->names[t->segments[i].first + slot].b, same_place,
                              &want, &got, &found, err);
            if (s == DZ_E_NOMEM)
                return s;
            if (s == DZ_OK && found && got.seg_len == t->segments[i].length &&
                got.type == t->segments[i].kind)
                continue;
            (void) pthread_mutex_lock(&x->lock);
            x->index_lacks = true;
            (void) pthread_mutex_unlock(&x->lock);
            return DZ_OK; /* once is enough: it is made anew */
        }
    }
    return DZ_OK;
}

/* Holds the objects of an opened segment against the table. */
static dz_status check_objects(struct hand *h, size_t at, const dz_pack_table *t,
                               const dz_pack_segment *row, const struct dz_segment *seg,
                               uint64_t *bad, dz_err *err) {
    if (seg->kind != row->kind || seg->count != row->count) {
        *bad += row->count;
        return note_place(h, at, row->offset, DZ_VERIFY_ALL_SLOTS, err);
    }
    for (uint32_t slot = 0; slot < seg->count; slot++) {
        dz_slice bytes = dz_segment_object(seg, slot);
        dz_name name;
        dz_id id;

        dz_sha256(bytes, id.b);
        name = dz_name_of(h->x->v->host->name, seg->kind, &id);
        if (bytes.len == t->lengths[row->first + slot] &&
            memcmp(name.b, t->names[row->first + slot].b, sizeof name.b) == 0)
            continue;
        ++*bad;
        DZ_TRY(note_place(h, at, row->offset, slot, err));
    }
    return DZ_OK;
}

static dz_status check_segment(struct hand *h, int fd, size_t at, const dz_pack_table *t,
                               const dz_pack_segment *row, uint64_t *bad, dz_err *err) {
    struct dz_segment seg = { 0 };
    dz_status s = DZ_E_CORRUPT;
    uint8_t *to;

    dz_buf_clear(&h->sealed);
    to = dz_buf_extend(&h->sealed, row->length);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "segment of %u bytes: out of memory", row->length);
    if (dz_pread_all(fd, to, row->length, row->offset) == 0)
        s = dz_segment_open(h->coder, h->x->v->host, h->x->v->open, dz_buf_slice(&h->sealed), &seg,
                            err);
    if (s == DZ_E_NOMEM)
        return s;
    if (s != DZ_OK) {
        *bad += row->count;
        return note_place(h, at, row->offset, DZ_VERIFY_ALL_SLOTS, err);
    }
    s = check_objects(h, at, t, row, &seg, bad, err);
    dz_segment_release(&seg);
    return s;
}

static dz_status check_segments(struct hand *h, int fd, size_t at, const dz_pack_table *t,
                                bool whole, dz_err *err) {
    struct dz_verify *x = h->x;
    uint64_t bad = 0;
    char detail[96];

    for (size_t i = 0; i < t->n_segments; i++)
        DZ_TRY(check_segment(h, fd, at, t, &t->segments[i], &bad, err));
    (void) pthread_mutex_lock(&x->lock);
    x->result.opened += t->n_names - bad;
    (void) pthread_mutex_unlock(&x->lock);
    if (bad == 0)
        return DZ_OK;
    (void) snprintf(detail, sizeof detail, "%llu of its %zu objects are lost",
                    (unsigned long long) bad, t->n_names);
    return note(h, at, false, whole ? DZ_VERIFY_WRONG : DZ_VERIFY_CHANGED, detail, err);
}

static dz_status check_content(struct hand *h, int fd, size_t at, uint64_t size, dz_err *err) {
    struct dz_verify *x = h->x;
    const dz_pack_id *id = &x->catalog.all.ids[at];
    uint8_t hash[DZ_SHA256_BYTES];
    int failed = hash_file(h, fd, size, hash);
    bool whole = !failed && memcmp(hash, id->b, sizeof hash) == 0;
    dz_pack_table t = { 0 };
    dz_err why = { 0 };
    dz_status s = dz_pack_table_read(fd, size, x->v->host, &t, &why);

    if (s == DZ_E_NOMEM) {
        if (err)
            *err = why;
        return s;
    }
    if (s != DZ_OK) {
        (void) pthread_mutex_lock(&x->lock);
        x->tables_known = false;
        (void) pthread_mutex_unlock(&x->lock);
        return note(h, at, true,
                    failed || s == DZ_E_IO  ? DZ_VERIFY_UNREADABLE
                    : !whole                ? DZ_VERIFY_CHANGED
                    : s == DZ_E_UNSUPPORTED ? DZ_VERIFY_NEWER
                                            : DZ_VERIFY_FORGED,
                    failed ? strerror(failed) : why.what, err);
    }
    x->pack_names[at] = (uint32_t) t.n_names;
    (void) pthread_mutex_lock(&x->lock);
    x->result.objects += t.n_names;
    (void) pthread_mutex_unlock(&x->lock);
    s = compare_index(h, at, &t, err);
    if (s == DZ_OK && x->v->open && (x->how->data || !whole))
        s = check_segments(h, fd, at, &t, whole, err);
    dz_pack_table_release(&t);
    DZ_TRY(s);
    if (whole)
        return DZ_OK;
    return note(h, at, !x->v->open, failed ? DZ_VERIFY_UNREADABLE : DZ_VERIFY_CHANGED,
                failed       ? strerror(failed)
                : x->v->open ? "no object in it is lost"
                             : "what is in it may be lost",
                err);
}

static dz_status check_pack(struct hand *h, size_t at, dz_err *err) {
    struct dz_verify *x = h->x;
    dz_autoclose int fd = -1;
    char name[DZ_PACK_NAME_TEXT];
    struct stat st = { 0 };

    dz_hex(x->catalog.all.ids[at].b, DZ_SHA256_BYTES, name);
    /* nonblocking: a pipe with a pack's name must not make us wait */
    fd = dz_os->openat(x->v->packsfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0 || dz_os->fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > DZ_PACK_MAX) {
        int failed = errno;
        (void) pthread_mutex_lock(&x->lock);
        x->tables_known = false;
        (void) pthread_mutex_unlock(&x->lock);
        if (fd < 0)
            return note(h, at, true, failed == ENOENT ? DZ_VERIFY_MISSING : DZ_VERIFY_UNREADABLE,
                        strerror(failed), err);
        return note(h, at, true, DZ_VERIFY_CHANGED, "not a file, or larger than any pack", err);
    }
    return check_content(h, fd, at, (uint64_t) st.st_size, err);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void hand_done(struct hand *h) {
    free(h->block);
    dz_hasher_free(h->hasher);
    dz_coder_free(h->coder);
    dz_buf_release(&h->sealed);
}

static dz_status hand_init(struct hand *h, struct dz_verify *x, dz_err *err) {
    h->x = x;
    h->block = malloc(READ_BYTES);
    if (!h->block)
        return DZ_FAIL(err, DZ_E_NOMEM, "verify: out of memory");
    DZ_TRY(dz_hasher_new(&h->hasher, err));
    return dz_coder_new(&h->coder, err);
}

static bool next_pack(struct pool *p, size_t *ret_at) {
    bool more;

    (void) pthread_mutex_lock(&p->x->lock);
    more = p->failed == DZ_OK && p->next < p->n;
    if (more)
        *ret_at = p->order[p->next++];
    (void) pthread_mutex_unlock(&p->x->lock);
    return more;
}

static void *hand_main(void *arg) {
    DZ_CLEANUP(hand_done) struct hand h = { 0 };
    struct pool *p = arg;
    dz_err err = { 0 };
    dz_status s = hand_init(&h, p->x, &err);
    size_t at = 0;

    while (s == DZ_OK && next_pack(p, &at)) {
        s = check_pack(&h, at, &err);
        (void) pthread_mutex_lock(&p->x->lock);
        p->x->result.packs++;
        (void) pthread_mutex_unlock(&p->x->lock);
    }
    (void) pthread_mutex_lock(&p->x->lock);
    if (s != DZ_OK && p->failed == DZ_OK) {
        p->failed = s;
        p->why = err;
    }
    p->running--;
    (void) pthread_cond_broadcast(&p->changed);
    (void) pthread_mutex_unlock(&p->x->lock);
    return NULL;
}

void dz_verify_tell_progress(const struct dz_verify *x, uint64_t snapshots) {
    struct dz_verify_progress p = { .packs = x->result.packs,
                                    .packs_total = x->packs_total,
                                    .bytes = x->result.bytes,
                                    .bytes_total = x->bytes_total,
                                    .snapshots = snapshots,
                                    .snapshots_total = dz_verify_snap_count(x) };
    if (x->how->progress)
        x->how->progress(x->how->ctx, &p);
}

/* Waits for the workers, telling how far they are. */
static void wait_for_all(struct pool *p) {
    (void) pthread_mutex_lock(&p->x->lock);
    while (p->running > 0) {
        struct timespec until;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void) pthread_cond_timedwait(&p->changed, &p->x->lock, &until);
        dz_verify_tell_progress(p->x, 0);
    }
    (void) pthread_mutex_unlock(&p->x->lock);
}

static dz_status run_pool(struct pool *p, unsigned threads, dz_err *err) {
    pthread_t thread[THREADS_MAX];
    unsigned started = 0;

    p->running = threads;
    while (started < threads) {
        errno = pthread_create(&thread[started], NULL, hand_main, p);
        if (errno)
            break;
        started++;
    }
    if (started < threads) {
        (void) pthread_mutex_lock(&p->x->lock);
        p->running -= threads - started;
        if (started == 0 && p->failed == DZ_OK)
            p->failed = DZ_FAIL_ERRNO(&p->why, "verify: starting a thread");
        (void) pthread_mutex_unlock(&p->x->lock);
    }
    wait_for_all(p);
    for (unsigned i = 0; i < started; i++)
        (void) pthread_join(thread[i], NULL);
    if (p->failed != DZ_OK && err)
        *err = p->why;
    return p->failed;
}

/* Which packs, in which order: the order of their names, and of a sample a random part. */
static dz_status choose(struct dz_verify *x, struct pool *p, dz_err *err) {
    size_t all = x->catalog.all.n;

    p->order = calloc(all + 1, sizeof *p->order);
    if (!p->order)
        return DZ_FAIL(err, DZ_E_NOMEM, "verify: out of memory");
    p->n = all;
    for (size_t i = 0; i < all; i++)
        p->order[i] = i;
    if (x->how->sample_pct > 0 && x->how->sample_pct < 100) {
        p->n = (all * x->how->sample_pct + 99) / 100;
        for (size_t i = 0; i < p->n; i++) {
            size_t pick, was = p->order[i], left = all - i;
            uint64_t r;

            dz_random(&r, sizeof r);
            pick = i + (left > 1 ? (size_t) (r % left) : 0);
            p->order[i] = p->order[pick];
            p->order[pick] = was;
        }
    }
    for (size_t i = 0; i < p->n; i++) {
        char name[DZ_PACK_NAME_TEXT];
        struct stat st;

        dz_hex(x->catalog.all.ids[p->order[i]].b, DZ_SHA256_BYTES, name);
        if (dz_os->fstatat(x->v->packsfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            x->bytes_total += (uint64_t) st.st_size;
    }
    x->packs_total = p->n;
    return DZ_OK;
}

dz_status dz_verify_packs(struct dz_verify *x, dz_err *err) {
    struct pool p = { .x = x };
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = x->how->threads > 0 ? x->how->threads : online > 0 ? (size_t) online : 1;
    dz_status s;

    x->tables_known = true;
    s = choose(x, &p, err);
    if (threads > p.n)
        threads = p.n;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    (void) pthread_cond_init(&p.changed, NULL);
    if (s == DZ_OK && threads > 0)
        s = run_pool(&p, (unsigned) threads, err);
    (void) pthread_cond_destroy(&p.changed);
    free(p.order);
    if (x->bad_places.len > 0)
        qsort(x->bad_places.data, x->bad_places.len / sizeof(struct dz_verify_place),
              sizeof(struct dz_verify_place), by_place);
    return s;
}
