#include "recover/export.h"

#include "core/durable.h"
#include "core/text.h"
#include "recover/layout.h"
#include "recover/make.h"
#include "recover/pax.h"
#include "recover/walk.h"

enum {
    OUT_BYTES = 1 << 20,     /* gathered before a write */
    DIRECT_BYTES = 64 << 10, /* content that is written from where it is */
    RECORD_BYTES = 10240,    /* tar streams end on a multiple of this */
    PROGRESS_FILES = 256,
};

struct export {
    const struct dz_supply *supply;
    const struct dz_export_how *how;
    struct dz_content_reader *reader;
    struct dz_links *links;
    dz_buf out;
    uint64_t written;
    struct dz_export_result counts;
};

/* --- The stream ------------------------------------------------------------------------------- */

static dz_status flush(struct export *x, dz_err *err) {
    if (!dz_buf_ok(&x->out))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a tar header");
    if (x->out.len > 0 && dz_write_all(x->how->fd, dz_buf_slice(&x->out)) != 0)
        return DZ_FAIL_ERRNO(err, "cannot write the tar stream");
    x->written += x->out.len;
    dz_buf_clear(&x->out);
    return DZ_OK;
}

static dz_status put(struct export *x, dz_slice bytes, dz_err *err) {
    if (bytes.len >= DIRECT_BYTES) {
        DZ_TRY(flush(x, err));
        if (dz_write_all(x->how->fd, bytes) != 0)
            return DZ_FAIL_ERRNO(err, "cannot write the tar stream");
        x->written += bytes.len;
        return DZ_OK;
    }
    if (bytes.len > 0)
        dz_buf_put_slice(&x->out, bytes);
    return x->out.len >= OUT_BYTES || !dz_buf_ok(&x->out) ? flush(x, err) : DZ_OK;
}

static dz_status put_zeros(struct export *x, uint64_t n, dz_err *err) {
    static const uint8_t zeros[8192];

    while (n > 0) {
        size_t piece = n < sizeof zeros ? (size_t) n : sizeof zeros;

        DZ_TRY(put(x, (dz_slice){ zeros, piece }, err));
        n -= piece;
    }
    return DZ_OK;
}

/* --- Entries ---------------------------------------------------------------------------------- */

static void problem(struct export *x, dz_slice path, const char *what) {
    x->counts.left_out++;
    if (x->how->problem)
        x->how->problem(x->how->ctx, path, what);
}

static void name_lost(void *ctx, dz_slice path, uint64_t entries, const char *what) {
    struct export *x = ctx;

    problem(x, path, what);
    x->counts.left_out += entries > 1 ? entries - 1 : 0;
}

/* The next chunk, held; *ret_end after the last. */
static dz_status next_chunk(struct export *x, struct dz_held *ret_held, bool *ret_end,
                            dz_err *err) {
    dz_content_span span;

    *ret_end = false;
    DZ_TRY(dz_content_reader_next(x->reader, &span, ret_end, err));
    if (*ret_end)
        return DZ_OK;
    DZ_TRY(x->supply->hold(x->supply->ctx, &span.id, ret_held, err));
    if (ret_held->bytes.len == span.length)
        return DZ_OK;
    x->supply->drop(x->supply->ctx, ret_held);
    return DZ_FAIL(err, DZ_E_CORRUPT, "a chunk's length is another");
}

/* Zeros up to the place `to` of the file, as far as the stream has it. */
static dz_status put_gap(struct export *x, dz_layout *stream, uint64_t to, dz_err *err) {
    while (dz_layout_step(stream) && stream->at < to) {
        uint64_t gap = to - stream->at;
        uint64_t n = gap < stream->left ? gap : stream->left;

        DZ_TRY(put_zeros(x, n, err));
        dz_layout_take(stream, n);
    }
    return DZ_OK;
}

/* Content goes where `file` says, into a stream that may have zeros between. */
static dz_status put_content(struct export *x, dz_slice bytes, dz_layout *file, dz_layout *stream,
                             dz_err *err) {
    while (bytes.len > 0 && dz_layout_step(file)) {
        size_t n = bytes.len < file->left ? bytes.len : (size_t) file->left;

        DZ_TRY(put_gap(x, stream, file->at, err));
        n = n < stream->left ? n : (size_t) stream->left;
        if (n == 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "content outside of its extents");
        DZ_TRY(put(x, (dz_slice){ bytes.data, n }, err));
        dz_layout_take(file, n);
        dz_layout_take(stream, n);
        bytes = (dz_slice){ bytes.data + n, bytes.len - n };
    }
    return DZ_OK;
}

static dz_status put_file(struct export *x, const dz_entry *e, bool *ret_put, dz_err *err) {
    dz_slice extents = dz_entry_field(e, DZ_TAG_EXTENTS);
    struct dz_pax_entry p = { .e = e, .sparse = extents.data != NULL };
    dz_autobuf dz_buf aligned = { 0 };
    struct dz_held held = { 0 };
    dz_layout file, stream;
    size_t padding = 0;
    bool end = true;
    dz_status status;

    *ret_put = false;
    if (e->flags & DZ_ENTRY_UNREADABLE) {
        problem(x, e->path, N_("it could not be read when the snapshot was made"));
        return DZ_OK;
    }
    status = dz_content_reader_start(x->reader, dz_entry_field(e, DZ_TAG_CONTENT), 0, err);
    if (status == DZ_OK) {
        p.data = dz_content_reader_size(x->reader);
        if (!dz_layout_fits(e, p.data, &p.size))
            status = DZ_FAIL(err, DZ_E_CORRUPT, "extents and content do not agree");
    }
    if (status == DZ_OK) /* the first chunk before the header: then it can still be left out */
        status = next_chunk(x, &held, &end, err);
    if (status != DZ_OK) {
        if (!dz_supply_goes_on(status))
            return status;
        problem(x, e->path, N_("its content is damaged in the vault"));
        return DZ_OK;
    }
    if (p.sparse) {
        dz_layout_align(extents, DZ_TAR_BLOCK, &aligned, &p.data);
        p.extents = dz_buf_slice(&aligned);
        if (!dz_buf_ok(&aligned))
            x->out.bad = true;
    }
    dz_pax_header(&p, &x->out, &padding);
    file = dz_layout_begin(extents, p.size);
    stream = file;
    if (p.sparse) /* `aligned` has no bytes when all is one hole */
        stream = (dz_layout){ .extents = dz_reader_over(p.extents), .sparse = true };
    while (!end) {
        dz_status written = put_content(x, held.bytes, &file, &stream, err);

        x->supply->drop(x->supply->ctx, &held);
        DZ_TRY(written);
        status = next_chunk(x, &held, &end, err);
        if (status != DZ_OK) {
            if (!dz_supply_goes_on(status))
                return status;
            problem(x, e->path, N_("its content is damaged in the vault: zeros from there on"));
            break;
        }
    }
    *ret_put = true;
    x->counts.files++;
    x->counts.bytes += p.size;
    DZ_TRY(put_gap(x, &stream, UINT64_MAX, err));
    return put_zeros(x, padding, err);
}

/* Every name of an inode after the first is a link to it. */
static dz_status put_link(struct export *x, const dz_entry *e, const struct dz_link *link) {
    struct dz_pax_entry p = { .e = e };
    size_t padding;

    p.link = (dz_slice){ (const uint8_t *) link->dir, link->dir_len };
    dz_pax_header(&p, &x->out, &padding);
    if (e->type == DZ_ENTRY_FILE)
        x->counts.files++;
    else
        x->counts.others++;
    return DZ_OK;
}

static dz_status put_entry(struct export *x, const dz_entry *e, dz_err *err) {
    struct dz_pax_entry p = { .e = e };
    dz_slice identity = dz_entry_field(e, DZ_TAG_LINK);
    struct dz_link *link = NULL;
    size_t padding;
    bool done = true;

    if (identity.len > 0 && e->type != DZ_ENTRY_DIR && e->type != DZ_ENTRY_SOCKET) {
        DZ_TRY(dz_links_get(x->links, identity, &link, err));
        if (link->state == DZ_LINK_DONE)
            return put_link(x, e, link);
    }
    switch ((enum dz_entry_type) e->type) {
    case DZ_ENTRY_FILE:
        DZ_TRY(put_file(x, e, &done, err));
        break;
    case DZ_ENTRY_SOCKET:
        problem(x, e->path, N_("a socket: its program makes it when it starts"));
        x->counts.left_out--; /* named, but nothing is missing */
        return DZ_OK;
    case DZ_ENTRY_DIR:
        dz_pax_header(&p, &x->out, &padding);
        x->counts.dirs++;
        break;
    case DZ_ENTRY_SYMLINK:
    case DZ_ENTRY_FIFO:
    case DZ_ENTRY_CHAR:
    case DZ_ENTRY_BLOCK:
        dz_pax_header(&p, &x->out, &padding);
        x->counts.others++;
        break;
    default:
        problem(x, e->path, N_("its type is not known"));
        return DZ_OK;
    }
    if (link && done) {
        link->dir = malloc(e->path.len);
        if (!link->dir)
            return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a hardlink");
        memcpy(link->dir, e->path.data, e->path.len);
        link->dir_len = e->path.len;
        link->state = DZ_LINK_DONE;
    }
    return DZ_OK;
}

static dz_status run(struct export *x, struct dz_walk *walk, dz_err *err) {
    for (uint64_t n = 1;; n++) {
        dz_entry e;
        bool above, end;

        DZ_TRY(dz_walk_next(walk, &e, &above, &end, err));
        if (end)
            break;
        if (above && e.type != DZ_ENTRY_DIR)
            continue;
        DZ_TRY(put_entry(x, &e, err));
        DZ_TRY(put(x, (dz_slice){ 0 }, err));
        if (x->how->progress && n % PROGRESS_FILES == 0)
            x->how->progress(x->how->ctx, x->counts.files, x->counts.bytes);
    }
    DZ_TRY(put_zeros(x, 2 * DZ_TAR_BLOCK, err));
    DZ_TRY(flush(x, err));
    DZ_TRY(put_zeros(x, (RECORD_BYTES - x->written % RECORD_BYTES) % RECORD_BYTES, err));
    return flush(x, err);
}

dz_status dz_export(const struct dz_supply *supply, const dz_manifest_root *root,
                    const struct dz_export_how *how, struct dz_export_result *ret_result,
                    dz_err *err) {
    struct export x = { .supply = supply, .how = how };
    DZ_AUTO(dz_walk) walk = NULL;
    dz_status status = dz_content_reader_new(&supply->nodes, &x.reader, err);

    if (status == DZ_OK)
        status = dz_links_new(&x.links, err);
    if (status == DZ_OK)
        status = dz_walk_new(supply, root, how->paths, how->n_paths, name_lost, &x, &walk, err);
    if (status == DZ_OK)
        status = run(&x, walk, err);
    dz_content_reader_free(x.reader);
    dz_links_free(x.links);
    dz_buf_release(&x.out);
    if (status == DZ_OK)
        *ret_result = x.counts;
    return status;
}
