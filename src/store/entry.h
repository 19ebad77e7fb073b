/* store/entry.h -- one file-system object as a snapshot keeps it.
 *
 *   scan ─▶ [entry] ─▶ manifest leaf;   manifest leaf ─▶ [entry] ─▶ ls, diff, restore
 *
 * The path is relative to the snapshot's root, has no leading '/', and is any bytes but NUL; the
 * empty path is the root itself, a directory.
 * Entries stand in tree order: byte order with '/' lowest, so a directory comes right before all
 * that is below it.  Fields beyond the fixed ones are tagged and length-prefixed; a reader keeps
 * and skips tags that it does not know.  Layout: docs/format/manifest.md.  All functions are
 * thread-safe: they keep nothing. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/slice.h"

enum dz_entry_type { /* numbers are on disk */
                     DZ_ENTRY_FILE = 1,
                     DZ_ENTRY_DIR = 2,
                     DZ_ENTRY_SYMLINK = 3,
                     DZ_ENTRY_FIFO = 4,
                     DZ_ENTRY_SOCKET = 5,
                     DZ_ENTRY_CHAR = 6,
                     DZ_ENTRY_BLOCK = 7,
};

enum dz_entry_flag { /* on disk, as a varint */
                     DZ_ENTRY_CHANGED =
                         1 << 0, /* changed while it was read: content may mix two states */
                     DZ_ENTRY_UNREADABLE =
                         1 << 1, /* could not be read (or not to its end): content is missing */
                     DZ_ENTRY_MOUNT_POINT = 1
                                            << 2, /* a directory where another file system starts */
                     /* the judge's record is what the source said: the vault did not see all of
                        the content pass */
                     DZ_ENTRY_CLAIMED = 1 << 3,
};

enum dz_entry_tag {                     /* fields, in ascending order; numbers are on disk */
                    DZ_TAG_CONTENT = 1, /* store/content.h: how the bytes are found */
                    DZ_TAG_EXTENTS = 2, /* sparse: varint pairs (hole before, data length); content
                                           is the data */
                    DZ_TAG_XATTRS = 3, /* fields: name, value, name, value, ... sorted by name; ACLs
                                          are among them */
                    DZ_TAG_TARGET = 4, /* symlink target, bytes */
                    DZ_TAG_RDEV = 5,   /* varint major, varint minor */
                    DZ_TAG_LINK =
                        6, /* 16 bytes: same for all names of one inode with several names */
                    DZ_TAG_FEATURES = 7, /* guard/features.h: the judge's record, opaque here */
                    DZ_TAG_DOS = 8,      /* reserved: DOS attributes and NT security descriptor */
                    DZ_TAG_STREAMS = 9,  /* reserved: alternate data streams */
                    DZ_TAG_CLASS = 10,   /* reserved: evidence class */
};

enum {
    DZ_PATH_MAX = 256 * 1024,  /* bytes of a path: two of them fit into any node */
    DZ_ENTRY_MAX = 512 * 1024, /* bytes of an encoded entry, path included */
};

typedef struct dz_entry {
    dz_slice path; /* borrowed from where the entry was read */
    uint8_t type;  /* enum dz_entry_type */
    uint16_t mode; /* permission bits with setuid, setgid, sticky: 07777 */
    uint32_t uid;
    uint32_t gid;
    int64_t mtime_s; /* seconds since 1970, may be negative */
    uint32_t mtime_ns;
    uint64_t size;   /* bytes; of files and symlinks, else 0 */
    uint32_t flags;  /* enum dz_entry_flag */
    dz_slice fields; /* encoded tagged fields: varint tag, varint length, bytes; borrowed */
} dz_entry;

/* Tree order: <0, 0, >0. */
int dz_path_cmp(dz_slice a, dz_slice b);
/* True when `path` is `dir` itself or below it; everything is below the empty path. */
bool dz_path_within(dz_slice path, dz_slice dir);

/* The field with this tag, or an empty slice with data == NULL. */
dz_slice dz_entry_field(const dz_entry *e, enum dz_entry_tag tag);
/* Bytes of content that the entry says it has: its size, or the data of its extents.  False when
 * its extents are malformed or do not fit into its size, or it has a size beyond what a file may
 * have (2^63 - 1). */
bool dz_entry_content_bytes(const dz_entry *e, uint64_t *ret_bytes);
/* Appends one field to an encoded field list.  Call in ascending order of tags. */
void dz_entry_put_field(dz_buf *fields, enum dz_entry_tag tag, dz_slice value);

/* How many leading bytes two paths share. */
size_t dz_path_common(dz_slice a, dz_slice b);

/* True when the path may stand in a manifest: no NUL, no empty component, none that is "." or "..",
 * no '/' at either end, at most DZ_PATH_MAX bytes.  The empty path may. */
bool dz_path_ok(dz_slice path);

/* Checks what a scan made before it is kept: path, type, ranges, the order and bounds of the fields
 * (not what is in them), and that it encodes to at most DZ_ENTRY_MAX bytes.
 * DZ_E_USAGE (what is wrong), DZ_E_LIMIT. */
dz_status dz_entry_check(const dz_entry *e, dz_err *err) DZ_MUST_CHECK;

/* Appends the entry as it stands in a leaf after an entry with the path `previous` (empty for the
 * first).  `e` has passed dz_entry_check().  Memory running out shows in dz_buf_ok(to). */
void dz_entry_encode(const dz_entry *e, dz_slice previous, dz_buf *to);

/* Bytes that dz_entry_encode() would append. */
size_t dz_entry_encoded_size(const dz_entry *e, dz_slice previous);

/* Reads one entry.  `path` holds the path of the entry before and receives this one's; `first` says
 * that there is none before.  ret_entry borrows `path` and the reader's bytes.  What is accepted
 * encodes to the same bytes again and stands strictly after the entry before.
 * DZ_E_CORRUPT (what is wrong), DZ_E_NOMEM. */
dz_status dz_entry_decode(dz_reader *r, bool first, dz_buf *path, dz_entry *ret_entry,
                          dz_err *err) DZ_MUST_CHECK;

/* The path part alone, as inner nodes have it too; same rules. */
void dz_path_encode(dz_slice path, dz_slice previous, dz_buf *to);
dz_status dz_path_decode(dz_reader *r, bool first, dz_buf *path, dz_err *err) DZ_MUST_CHECK;
