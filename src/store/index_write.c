#include "store/index_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "core/buf.h"
#include "core/durable.h"
#include "core/hex.h"
#include "core/os.h"
#include "core/slice.h"

enum {
    OUT_PAGES = 64,      /* pages gathered for one write */
    MANY_SOURCES = 256,  /* from here on a source reads in small pieces */
    READ_PAGES_FEW = 32, /* per source */
    READ_PAGES_MANY = 8, /* per source */
    GROUP_MAX = DZ_INDEX_PAGE_ENTRIES,
};

void dz_index_file_name(const uint8_t id[DZ_INDEX_ID_LEN], char ret_name[DZ_INDEX_FILE_NAME]) {
    dz_hex(id, DZ_INDEX_ID_LEN, ret_name);
    memcpy(ret_name + (size_t) 2 * DZ_INDEX_ID_LEN, ".run", 5);
}

int dz_pwrite_all(int fd, const uint8_t *bytes, size_t len, uint64_t at) {
    while (len > 0) {
        ssize_t n = dz_os->pwrite(fd, bytes, len, (off_t) at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        at += (uint64_t) n;
        len -= (size_t) n;
    }
    return 0;
}

/* ---- sources: one entry at a time, with the ordinal of the new run ---- */

struct cursor {
    const dz_index_source *from;
    uint8_t *pages; /* owned; NULL for entries in memory */
    unsigned page_cap, page_have, page_i;
    uint64_t next; /* page of the file, or entry in memory, to take next */
    unsigned entry_i, entry_have;
    uint8_t entry[DZ_INDEX_ENTRY];
};

static dz_status next_page(struct cursor *c, bool *ret_more, dz_err *err) {
    const dz_index_source *from = c->from;
    uint64_t number;

    if (++c->page_i >= c->page_have) {
        uint64_t left = from->pages - c->next;
        c->page_have = left < c->page_cap ? (unsigned) left : c->page_cap;
        c->page_i = 0;
        if (c->page_have == 0) {
            *ret_more = false;
            return DZ_OK;
        }
        if (dz_pread_all(from->fd, c->pages, (size_t) c->page_have * DZ_INDEX_PAGE,
                         (off_t) (from->at + c->next * DZ_INDEX_PAGE)) < 0)
            return errno == EIO || errno == ENODATA
                       ? DZ_FAIL(err, DZ_E_CORRUPT, "index: page %" PRIu64 " is unreadable",
                                 c->next)
                       : DZ_FAIL_ERRNO(err, "index: reading page %" PRIu64, c->next);
        c->next += c->page_have;
    }
    number = c->next - c->page_have + c->page_i;
    c->entry_i = 0;
    *ret_more = true;
    return dz_index_page_check(c->pages + (size_t) c->page_i * DZ_INDEX_PAGE, from->sum_id,
                               (uint32_t) number, from->ordinals, &c->entry_have, err);
}

/* Steps to the next entry whose pack is kept. */
static dz_status advance(struct cursor *c, bool *ret_more, dz_err *err) {
    const dz_index_source *from = c->from;
    uint32_t ordinal;
    bool more = true;

    do {
        const uint8_t *e;

        if (from->entries) {
            if (c->next == from->count) {
                *ret_more = false;
                return DZ_OK;
            }
            e = from->entries + c->next++ * DZ_INDEX_ENTRY;
        } else {
            if (c->entry_i == c->entry_have)
                DZ_TRY(next_page(c, &more, err));
            if (!more) {
                *ret_more = false;
                return DZ_OK;
            }
            e = c->pages + (size_t) c->page_i * DZ_INDEX_PAGE + DZ_INDEX_PAGE_HEAD +
                (size_t) c->entry_i++ * DZ_INDEX_ENTRY;
        }
        memcpy(c->entry, e, DZ_INDEX_ENTRY);
        ordinal = from->ordinal[dz_load_le(e + 16, 4)];
    } while (ordinal == DZ_INDEX_DROP);
    dz_store_le(c->entry + 16, 4, ordinal);
    *ret_more = true;
    return DZ_OK;
}

struct merge {
    struct cursor *cursors; /* owned */
    size_t cursor_count;
    struct cursor **heap; /* owned; least name first */
    size_t heap_len;
};

static void merge_done(struct merge *m) {
    for (size_t i = 0; m->cursors && i < m->cursor_count; i++)
        free(m->cursors[i].pages);
    free(m->cursors);
    free(m->heap);
}

static bool below(const struct cursor *a, const struct cursor *b) {
    return memcmp(a->entry, b->entry, DZ_CHUNK_NAME_LEN) < 0;
}

static void sift_down(struct merge *m, size_t i) {
    struct cursor *moving = m->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->heap_len)
            break;
        if (child + 1 < m->heap_len && below(m->heap[child + 1], m->heap[child]))
            child++;
        if (!below(m->heap[child], moving))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moving;
}

static dz_status merge_init(struct merge *m, const dz_index_source *sources, size_t n,
                            dz_err *err) {
    unsigned pages = n < MANY_SOURCES ? READ_PAGES_FEW : READ_PAGES_MANY;

    m->cursors = calloc(n ? n : 1, sizeof *m->cursors);
    m->heap = calloc(n ? n : 1, sizeof(struct cursor *));
    if (!m->cursors || !m->heap)
        return DZ_FAIL(err, DZ_E_NOMEM, "index: merging %zu sources: out of memory", n);
    m->cursor_count = n;
    for (size_t i = 0; i < n; i++) {
        struct cursor *c = &m->cursors[i];
        bool more;

        c->from = &sources[i];
        c->page_cap = sources[i].pages < pages ? (unsigned) sources[i].pages : pages;
        if (!sources[i].entries && c->page_cap > 0) {
            c->pages = malloc((size_t) c->page_cap * DZ_INDEX_PAGE);
            if (!c->pages)
                return DZ_FAIL(err, DZ_E_NOMEM, "index: merging %zu sources: out of memory", n);
        }
        DZ_TRY(advance(c, &more, err));
        if (more)
            m->heap[m->heap_len++] = c;
    }
    for (size_t i = m->heap_len / 2; i-- > 0;)
        sift_down(m, i);
    return DZ_OK;
}

/* Steps past the least entry. */
static dz_status merge_next(struct merge *m, dz_err *err) {
    bool more;

    DZ_TRY(advance(m->heap[0], &more, err));
    if (!more)
        m->heap[0] = m->heap[--m->heap_len];
    if (m->heap_len > 0)
        sift_down(m, 0);
    return DZ_OK;
}

/* ---- the new file: filter and pages grow side by side, each front to back ---- */

struct writer {
    int fd;
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_index_shape shape;
    uint64_t pages_at;
    uint8_t *filter;        /* owned; the region being filled */
    uint64_t filter_region; /* its number */
    uint8_t *out;           /* owned; OUT_PAGES pages, the last one being filled */
    unsigned out_full;      /* sealed pages in it */
    unsigned count;         /* entries in the page being filled */
    uint8_t group[GROUP_MAX * DZ_INDEX_ENTRY]; /* the places of one name */
    unsigned group_len;
    dz_buf fences, sums;
};

static void writer_done(struct writer *w) {
    free(w->filter);
    free(w->out);
    dz_buf_release(&w->fences);
    dz_buf_release(&w->sums);
}

static dz_status write_at(struct writer *w, const uint8_t *bytes, size_t len, uint64_t at,
                          dz_err *err) {
    if (dz_pwrite_all(w->fd, bytes, len, at) < 0)
        return DZ_FAIL_ERRNO(err, "index: writing %zu bytes at %" PRIu64, len, at);
    return DZ_OK;
}

static void put_sum(struct writer *w, const uint8_t *bytes, size_t len) {
    uint64_t number = w->sums.len / 8;
    dz_buf_put_le64(&w->sums, dz_index_sum(w->id, DZ_INDEX_SUM_REGION, number, bytes, len));
}

static dz_status flush_filter(struct writer *w, dz_err *err) {
    uint64_t at = w->filter_region * DZ_INDEX_REGION;
    uint64_t left = w->shape.filter_blocks * DZ_INDEX_BLOCK - at;
    size_t len = left < DZ_INDEX_REGION ? (size_t) left : DZ_INDEX_REGION;

    put_sum(w, w->filter, len);
    DZ_TRY(write_at(w, w->filter, len, DZ_INDEX_PAGE + at, err));
    memset(w->filter, 0, DZ_INDEX_REGION);
    w->filter_region++;
    return DZ_OK;
}

static dz_status flush_pages(struct writer *w, dz_err *err) {
    uint64_t first = w->shape.pages - w->out_full;

    DZ_TRY(write_at(w, w->out, (size_t) w->out_full * DZ_INDEX_PAGE,
                    w->pages_at + first * DZ_INDEX_PAGE, err));
    w->out_full = 0;
    return DZ_OK;
}

static dz_status end_page(struct writer *w, dz_err *err) {
    uint8_t *page = w->out + (size_t) w->out_full * DZ_INDEX_PAGE;
    size_t used = DZ_INDEX_PAGE_HEAD + (size_t) w->count * DZ_INDEX_ENTRY;

    if (w->count == 0)
        return DZ_OK;
    memset(page + used, 0, DZ_INDEX_PAGE - used);
    dz_index_page_seal(page, w->id, (uint32_t) w->shape.pages, w->count);
    dz_buf_put(&w->fences, page + DZ_INDEX_PAGE_HEAD, DZ_CHUNK_NAME_LEN);
    w->shape.pages++;
    w->out_full++;
    w->count = 0;
    return w->out_full == OUT_PAGES ? flush_pages(w, err) : DZ_OK;
}

/* Writes the places of one name.  They stay in one page, so that one page answers. */
static dz_status end_group(struct writer *w, dz_err *err) {
    const uint64_t per_region = DZ_INDEX_REGION / DZ_INDEX_BLOCK;
    uint64_t block;
    uint8_t *page;

    if (w->group_len == 0)
        return DZ_OK;
    if (w->count + w->group_len > DZ_INDEX_PAGE_ENTRIES)
        DZ_TRY(end_page(w, err));
    page = w->out + (size_t) w->out_full * DZ_INDEX_PAGE;
    memcpy(page + DZ_INDEX_PAGE_HEAD + (size_t) w->count * DZ_INDEX_ENTRY, w->group,
           (size_t) w->group_len * DZ_INDEX_ENTRY);
    w->count += w->group_len;
    w->shape.entries += w->group_len;
    if (w->shape.entries > DZ_INDEX_MAX_ENTRIES)
        return DZ_FAIL(err, DZ_E_LIMIT, "index: more than %" PRIu64 " entries in one run",
                       DZ_INDEX_MAX_ENTRIES);

    block = dz_index_filter_block(w->group, w->shape.filter_blocks);
    while (w->filter_region < block / per_region)
        DZ_TRY(flush_filter(w, err));
    dz_index_filter_set(w->filter + block % per_region * DZ_INDEX_BLOCK, w->group);
    w->group_len = 0;
    return DZ_OK;
}

static dz_status put(struct writer *w, const uint8_t *entry, dz_err *err) {
    if (w->group_len > 0) {
        int order = memcmp(w->group, entry, DZ_CHUNK_NAME_LEN);

        if (order > 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "index: a source is not sorted");
        if (order < 0)
            DZ_TRY(end_group(w, err));
    }
    for (unsigned i = 0; i < w->group_len; i++)
        if (memcmp(w->group + (size_t) i * DZ_INDEX_ENTRY + 16, entry + 16, 4) == 0)
            return DZ_OK; /* this pack is known to have it */
    if (w->group_len < GROUP_MAX)
        memcpy(w->group + (size_t) w->group_len++ * DZ_INDEX_ENTRY, entry, DZ_INDEX_ENTRY);
    return DZ_OK;
}

static dz_status write_section(struct writer *w, const uint8_t *bytes, uint64_t len, uint64_t at,
                               dz_err *err) {
    for (uint64_t i = 0; i < len; i += DZ_INDEX_REGION)
        put_sum(w, bytes + i, len - i < DZ_INDEX_REGION ? (size_t) (len - i) : DZ_INDEX_REGION);
    return write_at(w, bytes, (size_t) len, at, err);
}

static dz_status write_header(struct writer *w, const uint8_t *vault_id, const dz_index_layout *lay,
                              dz_err *err) {
    dz_autobuf dz_buf head = { 0 };
    uint8_t *rest;
    size_t used;

    dz_buf_put_slice(&head, DZ_SLICE_LIT(DZ_INDEX_MAGIC));
    dz_buf_put_le32(&head, 1); /* version */
    dz_buf_put_le32(&head, DZ_INDEX_PAGE);
    dz_buf_put_le64(&head, 0); /* compatible features */
    dz_buf_put_le64(&head, 0); /* incompatible features */
    dz_buf_put(&head, vault_id, DZ_INDEX_ID_LEN);
    dz_buf_put(&head, w->id, DZ_INDEX_ID_LEN);
    dz_buf_put_le64(&head, w->shape.entries);
    dz_buf_put_le64(&head, w->shape.filter_blocks);
    dz_buf_put_le64(&head, w->shape.pages);
    dz_buf_put_le64(&head, w->shape.packs);
    dz_buf_put_le64(&head, lay->file_bytes);
    dz_buf_put_le64(&head, dz_index_sum(w->id, DZ_INDEX_SUM_TABLE, 0, w->sums.data, w->sums.len));
    used = head.len;
    rest = dz_buf_ok(&head) ? dz_buf_extend(&head, DZ_INDEX_PAGE - used) : NULL;
    if (!rest)
        return DZ_FAIL(err, DZ_E_NOMEM, "index: header: out of memory");
    memset(rest, 0, DZ_INDEX_PAGE - used);
    dz_store_le(head.data + DZ_INDEX_PAGE - 8, 8, XXH3_64bits(head.data, DZ_INDEX_PAGE - 8));
    return write_at(w, head.data, head.len, 0, err);
}

static dz_status writer_init(struct writer *w, int fd, const dz_index_run_plan *plan, dz_err *err) {
    const uint64_t per_page = DZ_INDEX_PAGE / DZ_INDEX_BLOCK;
    uint64_t bits = plan->entries_at_most * DZ_INDEX_BITS_PER_KEY;
    uint64_t page_bits = per_page * DZ_INDEX_BLOCK * 8;
    uint64_t filter_pages = (bits + page_bits - 1) / page_bits;

    w->fd = fd;
    if (getrandom(w->id, sizeof w->id, 0) != (ssize_t) sizeof w->id)
        return DZ_FAIL_ERRNO(err, "index: no randomness");
    w->shape.filter_blocks = (filter_pages ? filter_pages : 1) * per_page;
    w->shape.packs = plan->pack_count;
    w->pages_at = DZ_INDEX_PAGE + w->shape.filter_blocks * DZ_INDEX_BLOCK;
    w->filter = calloc(1, DZ_INDEX_REGION);
    w->out = malloc((size_t) OUT_PAGES * DZ_INDEX_PAGE);
    if (!w->filter || !w->out)
        return DZ_FAIL(err, DZ_E_NOMEM, "index: out of memory");
    return DZ_OK;
}

static dz_status write_all(struct writer *w, const dz_index_run_plan *plan, struct merge *m,
                           dz_err *err) {
    dz_index_layout lay;

    for (; m->heap_len > 0;) {
        DZ_TRY(put(w, m->heap[0]->entry, err));
        DZ_TRY(merge_next(m, err));
    }
    DZ_TRY(end_group(w, err));
    DZ_TRY(end_page(w, err));
    DZ_TRY(flush_pages(w, err));
    while (w->filter_region * DZ_INDEX_REGION < w->shape.filter_blocks * DZ_INDEX_BLOCK)
        DZ_TRY(flush_filter(w, err));

    if (!dz_buf_ok(&w->fences) || !dz_buf_ok(&w->sums))
        return DZ_FAIL(err, DZ_E_NOMEM, "index: fences: out of memory");
    if (!dz_index_layout_of(&w->shape, &lay))
        return DZ_FAIL(err, DZ_E_LIMIT,
                       "index: %" PRIu64 " entries in %" PRIu64 " packs are too many for one run",
                       w->shape.entries, w->shape.packs);
    DZ_TRY(
        write_section(w, w->fences.data, lay.len[DZ_INDEX_FENCES], lay.at[DZ_INDEX_FENCES], err));
    DZ_TRY(write_section(w, plan->packs, lay.len[DZ_INDEX_PACKS], lay.at[DZ_INDEX_PACKS], err));
    if (!dz_buf_ok(&w->sums))
        return DZ_FAIL(err, DZ_E_NOMEM, "index: checksums: out of memory");
    DZ_TRY(write_at(w, w->sums.data, w->sums.len, lay.sums_at, err));
    return write_header(w, plan->vault_id, &lay, err);
}

static dz_status fill(int fd, const dz_index_run_plan *plan, const dz_index_source *sources,
                      size_t n, uint8_t ret_id[DZ_INDEX_ID_LEN], dz_err *err) {
    struct writer w = { 0 };
    struct merge m = { 0 };
    dz_status s = writer_init(&w, fd, plan, err);

    if (s == DZ_OK)
        s = merge_init(&m, sources, n, err);
    if (s == DZ_OK)
        s = write_all(&w, plan, &m, err);
    if (s == DZ_OK)
        memcpy(ret_id, w.id, sizeof w.id);
    merge_done(&m);
    writer_done(&w);
    return s;
}

dz_status dz_index_write_run(int tmpfd, int dirfd, const dz_index_run_plan *plan,
                             const dz_index_source *sources, size_t source_count,
                             uint8_t ret_id[DZ_INDEX_ID_LEN], dz_err *err) {
    char temp[DZ_TEMP_NAME_MAX], name[DZ_INDEX_FILE_NAME];
    uint8_t id[DZ_INDEX_ID_LEN];
    dz_status s;
    int fd;

    if (plan->entries_at_most > DZ_INDEX_MAX_ENTRIES || plan->pack_count > DZ_INDEX_MAX_PACKS)
        return DZ_FAIL(err, DZ_E_LIMIT,
                       "index: %" PRIu64 " entries in %" PRIu64 " packs are too many for one run",
                       plan->entries_at_most, plan->pack_count);
    DZ_TRY(dz_durable_temp(tmpfd, temp, &fd, err));
    s = fill(fd, plan, sources, source_count, id, err);
    if (s != DZ_OK) {
        (void) dz_os->close(fd);
        (void) dz_os->unlinkat(tmpfd, temp, 0);
        return s;
    }
    dz_index_file_name(id, name);
    DZ_TRY(dz_durable_publish_temp(tmpfd, temp, fd, dirfd, name, err));
    memcpy(ret_id, id, sizeof id);
    return DZ_OK;
}
