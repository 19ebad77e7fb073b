#include "intake/smb_object.h"

#include <stdio.h>

#include "intake/samba_attr.h"
#include "store/commit.h"

enum { FILE_MODE = 0600, DIR_MODE = 0700 };

/* What the internet explorers of Windows and the Finder of macOS leave on shares; sorted. */
static const char *const streams[] = { "AFP_AfpInfo", "AFP_Resource", "Zone.Identifier" };

static void put_xattr(dz_buf *list, const char *name, const dz_buf *value) {
    dz_buf_put_field(list, (dz_slice){ (const uint8_t *) name, strlen(name) });
    dz_buf_put_field(list, dz_buf_slice(value));
    if (!dz_buf_ok(value))
        list->bad = true;
}

static void note(const struct dz_smb_notes *notes, dz_slice path, int e) {
    notes->problem(notes->ctx, path, DZ_PROBLEM_PARTIAL, e);
}

static void put_acl(struct dz_smb *smb, dz_slice path, const struct dz_smb_notes *notes,
                    dz_buf *list) {
    dz_autobuf dz_buf text = { 0 };
    dz_autobuf dz_buf value = { 0 };
    int e = dz_smb_acl(smb, path, &text);

    if (e == ENOTSUP && path.len > 0) /* said of the root */
        return;
    if (e == 0) {
        dz_status s = dz_samba_put_acl(&value, dz_buf_slice(&text), NULL);
        e = s == DZ_OK              ? 0
            : s == DZ_E_NOMEM       ? ENOMEM
            : s == DZ_E_LIMIT       ? E2BIG
            : s == DZ_E_UNSUPPORTED ? EOPNOTSUPP
                                    : EPROTO;
    }
    if (e)
        note(notes, path, e);
    else
        put_xattr(list, DZ_SAMBA_ACL, &value);
}

/* Gives 0, or an errno: E2BIG when it is larger than can be kept. */
static int read_stream(struct dz_smb *smb, dz_slice path, const char *name, dz_buf *value) {
    dz_autobuf dz_buf bytes = { 0 };
    struct dz_smb_file *f;
    uint8_t *to;
    size_t n = 0;
    int e = dz_smb_file_open(smb, path, name, &f);

    if (e)
        return e;
    to = dz_buf_extend(&bytes, DZ_SAMBA_STREAM_MAX + 1); /* one more: to see that it is too long */
    e = to ? dz_smb_file_read(f, to, DZ_SAMBA_STREAM_MAX + 1, &n) : ENOMEM;
    dz_smb_file_close(f);
    if (e == 0 && n > DZ_SAMBA_STREAM_MAX)
        return E2BIG;
    if (e == 0)
        dz_samba_put_stream(value, (dz_slice){ to, n });
    return e;
}

static void put_streams(struct dz_smb *smb, dz_slice path, const struct dz_smb_notes *notes,
                        dz_buf *list) {
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        dz_autobuf dz_buf value = { 0 };
        dz_autobuf dz_buf name = { 0 };
        int e = read_stream(smb, path, streams[i], &value);

        if (e == EINVAL) /* a share without streams: no name may have a colon */
            return;
        if (e == ENOENT)
            continue;
        if (e == 0) {
            dz_buf_printf(&name, "%s%s:$DATA", DZ_SAMBA_STREAM, streams[i]);
            dz_buf_put_u8(&name, 0);
            if (dz_buf_ok(&name))
                put_xattr(list, (const char *) name.data, &value);
            else
                list->bad = true;
            continue;
        }
        dz_buf_put_slice(&name, path);
        dz_buf_printf(&name, ":%s", streams[i]);
        if (dz_buf_ok(&name))
            note(notes, dz_buf_slice(&name), e);
        else
            list->bad = true;
    }
}

dz_status dz_smb_put_xattrs(struct dz_smb *smb, const struct dz_smb_entry *of,
                            const struct dz_smb_notes *notes, dz_buf *fields, dz_err *err) {
    dz_autobuf dz_buf list = { 0 };
    dz_autobuf dz_buf dos = { 0 };

    put_acl(smb, of->path, notes, &list);
    dz_samba_put_dos(&dos, of->is.attributes, &of->is.created);
    put_xattr(&list, DZ_SAMBA_DOS, &dos);
    if (!of->dir)
        put_streams(smb, of->path, notes, &list);
    if (dz_buf_ok(&list))
        dz_entry_put_field(fields, DZ_TAG_XATTRS, dz_buf_slice(&list));
    return dz_buf_ok(&list) && dz_buf_ok(fields) ? DZ_OK
                                                 : DZ_FAIL(err, DZ_E_NOMEM, "share: out of memory");
}

dz_entry dz_smb_entry_of(const struct dz_smb_entry *of, uint32_t flags, dz_slice fields) {
    return (dz_entry){ .path = of->path,
                       .type = of->dir ? DZ_ENTRY_DIR : DZ_ENTRY_FILE,
                       .mode = of->dir ? DIR_MODE : FILE_MODE,
                       .mtime_s = of->is.modified.tv_sec,
                       .mtime_ns = (uint32_t) of->is.modified.tv_nsec,
                       .size = of->dir ? 0 : of->is.size,
                       .flags = flags,
                       .fields = fields };
}
