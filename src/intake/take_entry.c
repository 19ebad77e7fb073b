#include "intake/read_file.h"
#include "intake/take_run.h"

enum {
    TARGET_MAX = 65535, /* bytes of a symlink's target */
    LINK_BYTES = 16,
    XATTR_NAME_MAX = 255,
};

/* --- what an entry may say -------------------------------------------------------------------- */

/* It stands below directories that came before.  By induction all directories above the entry
 * before did, so only that one itself must be looked at. */
static bool has_parent(const struct dz_take_run *run, dz_slice path) {
    size_t len = path.len;
    dz_slice above = { path.data, 0 };
    const dz_slice before = dz_buf_slice(&run->path);

    while (len > 0 && path.data[len - 1] != '/')
        len--;
    if (len == 0)
        return true;
    above.len = len - 1;
    return run->type != 0 && dz_path_within(before, above) &&
           (before.len != above.len || run->type == DZ_ENTRY_DIR);
}

static bool xattrs_ok(dz_slice list) {
    dz_reader r = dz_reader_over(list);
    dz_slice last = { 0 };

    while (dz_reader_left(&r) > 0) {
        dz_slice name = dz_read_field(&r);
        size_t shared = name.len < last.len ? name.len : last.len;
        int order;

        (void) dz_read_field(&r);
        if (!dz_reader_ok(&r) || name.len == 0 || name.len > XATTR_NAME_MAX ||
            memchr(name.data, 0, name.len))
            return false;
        order = shared ? memcmp(last.data, name.data, shared) : 0;
        if (order > 0 || (order == 0 && last.len >= name.len))
            return false;
        last = name;
    }
    return true;
}

static bool target_ok(const dz_entry *e) {
    dz_slice target = dz_entry_field(e, DZ_TAG_TARGET);

    if (e->type != DZ_ENTRY_SYMLINK)
        return !target.data;
    return target.len > 0 && target.len <= TARGET_MAX && e->size == target.len &&
           !memchr(target.data, 0, target.len);
}

static bool rdev_ok(const dz_entry *e) {
    dz_slice rdev = dz_entry_field(e, DZ_TAG_RDEV);
    dz_reader r = dz_reader_over(rdev);
    uint64_t major, minor;

    if (e->type != DZ_ENTRY_CHAR && e->type != DZ_ENTRY_BLOCK)
        return !rdev.data;
    major = dz_read_varint(&r);
    minor = dz_read_varint(&r);
    return dz_reader_done(&r) && major <= UINT32_MAX && minor <= UINT32_MAX;
}

static bool link_ok(const dz_entry *e) {
    dz_slice link = dz_entry_field(e, DZ_TAG_LINK);

    return !link.data || (link.len == LINK_BYTES && e->type != DZ_ENTRY_DIR);
}

/* What is wrong with it, or NULL. */
static const char *wrong(const struct dz_take_run *run, const dz_entry *e) {
    const uint32_t may = DZ_ENTRY_CHANGED | DZ_ENTRY_UNREADABLE | DZ_ENTRY_MOUNT_POINT;
    bool file = e->type == DZ_ENTRY_FILE;
    uint64_t content;

    if (!has_parent(run, e->path))
        return "below what is no directory";
    if (e->flags & ~may)
        return "with flags that a source may not set";
    if (!file && (dz_entry_field(e, DZ_TAG_EXTENTS).data ||
                  dz_entry_field(e, DZ_TAG_FEATURES).data || run->begun))
        return "with content that only a file has";
    if (file && (!dz_entry_content_bytes(e, &content) ||
                 (content != run->bytes && !(e->flags & DZ_ENTRY_UNREADABLE))))
        return "whose content has another length";
    if (file && e->size > (uint64_t) INT64_MAX - run->commit.bytes)
        return "with which all files have more than 2^63 - 1 bytes";
    if (!xattrs_ok(dz_entry_field(e, DZ_TAG_XATTRS)))
        return "with attributes that are not written so";
    if (!target_ok(e))
        return "with a target that can be none";
    if (!rdev_ok(e) || !link_ok(e))
        return "with a device or link that can be none";
    return NULL;
}

/* --- what is kept of it ----------------------------------------------------------------------- */

static void copy_fields(const dz_entry *e, uint64_t from, uint64_t to, dz_buf *fields) {
    dz_reader r = dz_reader_over(e->fields);

    while (dz_reader_left(&r) > 0) {
        uint64_t tag = dz_read_varint(&r);
        dz_slice value = dz_read_field(&r);
        if (tag >= from && tag <= to)
            dz_entry_put_field(fields, (enum dz_entry_tag) tag, value);
    }
}

/* The judge's record: from the bytes, if all of them passed; else the source's own, with the digest
 * that only the vault can make.  *ret_claimed tells which. */
static dz_status put_features(struct dz_take_run *run, const dz_entry *e,
                              const uint8_t identity[DZ_SHA256_BYTES], bool *ret_claimed,
                              dz_err *err) {
    dz_slice claim = dz_entry_field(e, DZ_TAG_FEATURES);
    dz_reader r = dz_reader_over(claim);
    dz_autobuf dz_buf name = { 0 }, value = { 0 };
    dz_feature_record record;
    size_t at = e->path.len;

    *ret_claimed = false;
    if ((e->flags & DZ_ENTRY_UNREADABLE) && run->bytes == 0)
        return DZ_OK; /* nothing is known of its bytes */
    if (run->seen) {
        while (at > 0 && e->path.data[at - 1] != '/')
            at--;
        dz_buf_put(&name, e->path.data + at, e->path.len - at);
        dz_buf_put_u8(&name, 0);
        if (!dz_buf_ok(&name))
            return DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
        dz_features_put(&run->features, (const char *) name.data, run->digest_key, identity,
                        &run->fields);
        return DZ_OK;
    }
    if (!claim.data)
        return DZ_OK;
    if (dz_feature_record_read(&r, &record, err) != DZ_OK || !dz_reader_done(&r))
        return DZ_TAKE_REFUSE(run, DZ_WIRE_BAD_FRAME,
                              "an entry with a judge's record that is none");
    record.has_digest = true;
    dz_content_digest(run->digest_key, identity, record.digest);
    dz_feature_record_put(&value, &record);
    if (!dz_buf_ok(&value))
        return DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
    dz_entry_put_field(&run->fields, DZ_TAG_FEATURES, dz_buf_slice(&value));
    *ret_claimed = true;
    return DZ_OK;
}

static dz_status put_file(struct dz_take_run *run, dz_entry *e, dz_err *err) {
    uint8_t identity[DZ_SHA256_BYTES];
    bool claimed;

    dz_hasher_final(run->hasher, identity);
    if (e->flags & DZ_ENTRY_UNREADABLE)
        dz_content_builder_reset(run->content); /* what came of it is not the file */
    else
        DZ_TRY(dz_content_builder_finish(run->content, &run->fields, err));
    copy_fields(e, DZ_TAG_EXTENTS, DZ_TAG_FEATURES - 1, &run->fields);
    DZ_TRY(put_features(run, e, identity, &claimed, err));
    copy_fields(e, DZ_TAG_FEATURES + 1, UINT64_MAX, &run->fields);
    e->flags |= claimed ? (uint32_t) DZ_ENTRY_CLAIMED : 0u;
    return DZ_OK;
}

dz_status dz_take_run_entry(struct dz_take_run *run, const dz_entry *e, dz_err *err) {
    const char *what = wrong(run, e);
    dz_entry kept = *e;
    bool added;

    if (what)
        return DZ_TAKE_REFUSE(run, DZ_WIRE_BAD_FRAME, "an entry %s", what);
    dz_buf_clear(&run->fields);
    if (e->type == DZ_ENTRY_FILE) {
        DZ_TRY(put_file(run, &kept, err));
        kept.fields = dz_buf_slice(&run->fields);
    }
    if (!dz_buf_ok(&run->fields))
        return DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
    DZ_TRY(dz_gather_add(&run->gather, &kept, &added, err));
    if (!added) { /* out of order, or too large with its content: err says */
        run->refused.code = DZ_WIRE_BAD_FRAME;
        return DZ_E_POLICY;
    }
    dz_buf_clear(&run->path);
    dz_buf_put_slice(&run->path, e->path);
    run->type = e->type;
    return dz_buf_ok(&run->path) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "entry: out of memory");
}
