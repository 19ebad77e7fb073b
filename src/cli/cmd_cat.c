#include <getopt.h>
#include <stdio.h>

#include "cli/open.h"
#include "cli/output.h"
#include "cli/table.h"
#include "core/durable.h"
#include "store/content.h"
#include "store/cursor.h"

/* A file's bytes on their way out: data where the extents say, zeros between. */
struct stream {
    int fd;
    bool sparse;
    dz_reader extents; /* pairs (hole before, data length) */
    uint64_t data;     /* bytes of the extent begun that are still to come */
    uint64_t at;       /* bytes written */
    uint64_t size;     /* of the file */
};

static dz_status put(struct stream *s, dz_slice bytes, dz_err *err) {
    s->at += bytes.len;
    return dz_write_all(s->fd, bytes) == 0 ? DZ_OK
                                           : DZ_FAIL_ERRNO(err, "writing the file's content");
}

static dz_status put_zeros(struct stream *s, uint64_t n, dz_err *err) {
    static const uint8_t zeros[64 << 10];

    while (n > 0) {
        size_t part = n < sizeof zeros ? (size_t) n : sizeof zeros;
        DZ_TRY(put(s, (dz_slice){ zeros, part }, err));
        n -= part;
    }
    return DZ_OK;
}

static dz_status put_content(struct stream *s, dz_slice bytes, dz_err *err) {
    if (!s->sparse)
        return put(s, bytes, err);
    while (bytes.len > 0) {
        size_t part;
        if (s->data == 0) {
            uint64_t hole = dz_read_varint(&s->extents);
            s->data = dz_read_varint(&s->extents);
            if (!dz_reader_ok(&s->extents) || s->data == 0 || hole > s->size - s->at ||
                s->data > s->size - s->at - hole)
                return DZ_FAIL(err, DZ_E_CORRUPT, "the file's extents do not fit its content");
            DZ_TRY(put_zeros(s, hole, err));
        }
        part = s->data < bytes.len ? (size_t) s->data : bytes.len;
        DZ_TRY(put(s, (dz_slice){ bytes.data, part }, err));
        s->data -= part;
        bytes.data += part;
        bytes.len -= part;
    }
    return DZ_OK;
}

static dz_status put_file(struct dz_reading *r, const dz_entry *e, struct stream *s, dz_err *err) {
    DZ_AUTO(dz_content_reader) content = NULL;
    dz_slice extents = dz_entry_field(e, DZ_TAG_EXTENTS);

    s->sparse = extents.data != NULL;
    s->extents = dz_reader_over(extents);
    s->size = e->size;
    DZ_TRY(dz_content_reader_new(&r->source, &content, err));
    DZ_TRY(dz_content_reader_start(content, dz_entry_field(e, DZ_TAG_CONTENT), 0, err));
    for (;;) {
        dz_content_span span;
        struct dz_held held;
        bool end = false;
        dz_status status;

        DZ_TRY(dz_content_reader_next(content, &span, &end, err));
        if (end)
            break;
        DZ_TRY(dz_fetch_hold(r->fetch, DZ_KIND_DATA, &span.id, &held, err));
        status = held.bytes.len == span.length
                     ? put_content(s, held.bytes, err)
                     : DZ_FAIL(err, DZ_E_CORRUPT, "a chunk of %zu bytes should have %u",
                               held.bytes.len, span.length);
        dz_fetch_drop(r->fetch, &held);
        DZ_TRY(status);
    }
    return s->sparse && e->size > s->at ? put_zeros(s, e->size - s->at, err) : DZ_OK;
}

static int cat(struct dz_reading *r, struct dz_cursor *c, dz_slice path) {
    struct stream s = { .fd = STDOUT_FILENO };
    dz_err err = { 0 };
    dz_status status;
    dz_entry e;

    if (dz_cursor_find(c, path, &e, &err) != DZ_OK)
        return dz_cli_fail(&err);
    if (e.type != DZ_ENTRY_FILE) {
        dz_say(T_("this path is not a regular file"));
        return DZ_EXIT_COULD_NOT;
    }
    if (e.flags & DZ_ENTRY_UNREADABLE) {
        dz_say(T_("this file could not be read when the snapshot was made: it has no content"));
        return DZ_EXIT_COULD_NOT;
    }
    if (e.flags & DZ_ENTRY_CHANGED)
        dz_say(T_("note: this file changed while it was backed up; it may mix two states"));
    status = put_file(r, &e, &s, &err);
    if (status == DZ_OK)
        return DZ_EXIT_OK;
    dz_say_error(&err);
    if (status != DZ_E_CORRUPT && status != DZ_E_NOT_FOUND)
        return dz_exit_of(status);
    dz_say_next(T_("The content is damaged at byte %llu; what came before it is right."),
                (unsigned long long) s.at);
    return DZ_EXIT_FOUND;
}

int dz_cmd_cat(struct dz_cli *cli, int argc, char **argv) {
    struct dz_reading r = { 0 };
    struct dz_cursor *c = NULL;
    dz_err err = { 0 };
    int code;

    if (dz_cli_option(cli, argc, argv) == DZ_CLI_STOP)
        return cli->stop_code;
    if (argc - optind != 2)
        return dz_cli_usage(cli, T_("cat takes a snapshot and a path"));
    code = dz_cli_read(cli, argv[optind], &r);
    if (code != DZ_EXIT_OK)
        return code;
    code = dz_cursor_new(&r.source, &r.snap.commit.root, &c, &err) == DZ_OK
               ? cat(&r, c, dz_cli_path(argv[optind + 1]))
               : dz_cli_fail(&err);
    dz_cursor_free(c);
    dz_reading_close(&r);
    return code;
}
