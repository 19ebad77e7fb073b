#include "intake/read_file.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "core/durable.h"
#include "core/os.h"

enum {
    EXTENTS_MAX = 16384, /* what an entry holds with ease */
    NAMES_MAX = 65536,
    VALUES_MAX = 384 << 10, /* bytes of all attributes of an entry */
};

/* --- extents ---------------------------------------------------------------------------------- */

void dz_extents_release(struct dz_extents *x) {
    free(x->list);
    *x = (struct dz_extents){ 0 };
}

/* One pass with SEEK_DATA and SEEK_HOLE, joining what a hole below `least` parts.  False when there
 * are too many. */
static bool find_extents(int fd, uint64_t size, uint64_t least, struct dz_extents *x, dz_err *err,
                         dz_status *status) {
    uint64_t at = 0;

    x->n = 0;
    x->content = 0;
    *status = DZ_OK;
    while (at < size) {
        off_t data = lseek(fd, (off_t) at, SEEK_DATA), hole;

        if (data < 0 && errno == ENXIO)
            break; /* a hole to the end */
        hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole < 0 && errno == EINVAL) { /* a file system that cannot tell: all is data */
            x->list[0] = (struct dz_extent){ .length = size };
            x->n = 1;
            x->content = size;
            return true;
        }
        if (hole < 0) {
            *status = DZ_FAIL_ERRNO(err, "looking for holes");
            return true;
        }
        if ((uint64_t) hole > size)
            hole = (off_t) size;
        if (hole <= data)
            break; /* the file shrank */
        if (x->n > 0 && (uint64_t) data - at < least) {
            struct dz_extent *last = &x->list[x->n - 1];
            uint64_t more = (uint64_t) hole - (last->file + last->length);
            last->length += more;
            x->content += more;
        } else {
            if (x->n == EXTENTS_MAX)
                return false;
            x->list[x->n++] =
                (struct dz_extent){ x->content, (uint64_t) data, (uint64_t) (hole - data) };
            x->content += (uint64_t) (hole - data);
        }
        at = (uint64_t) hole;
    }
    return true;
}

dz_status dz_extents_find(int fd, const struct stat *st, struct dz_extents *ret_extents,
                          dz_err *err) {
    struct dz_extents x = { .size = (uint64_t) st->st_size };
    dz_status s = DZ_OK;

    if ((uint64_t) st->st_blocks * 512 >= x.size) {
        x.content = x.size;
        *ret_extents = x;
        return DZ_OK;
    }
    x.list = calloc(EXTENTS_MAX, sizeof *x.list);
    if (!x.list)
        return DZ_FAIL(err, DZ_E_NOMEM, "extents: out of memory");
    for (uint64_t least = 1; !find_extents(fd, x.size, least, &x, err, &s); least *= 8)
        ;
    if (s != DZ_OK) {
        dz_extents_release(&x);
        return s;
    }
    *ret_extents = x;
    return DZ_OK;
}

void dz_extents_put(const struct dz_extents *x, dz_buf *fields) {
    dz_autobuf dz_buf value = { 0 };
    uint64_t at = 0;

    if (!x->list || x->content == x->size)
        return;
    for (size_t i = 0; i < x->n; i++) {
        dz_buf_put_varint(&value, x->list[i].file - at);
        dz_buf_put_varint(&value, x->list[i].length);
        at = x->list[i].file + x->list[i].length;
    }
    if (!dz_buf_ok(&value))
        fields->bad = true;
    dz_entry_put_field(fields, DZ_TAG_EXTENTS, dz_buf_slice(&value));
}

void dz_extents_cut(struct dz_extents *x, uint64_t content) {
    if (!x->list)
        x->size = content;
    while (x->list && x->n > 0 && x->list[x->n - 1].content >= content)
        x->n--;
    if (x->list) {
        struct dz_extent *last = x->n ? &x->list[x->n - 1] : NULL;
        if (last && last->length > content - last->content)
            last->length = content - last->content;
        x->size = last ? last->file + last->length : 0;
    }
    x->content = content;
}

ssize_t dz_extents_read(int fd, const struct dz_extents *x, uint64_t from, uint8_t *to,
                        size_t len) {
    uint64_t at = from;
    ssize_t n;

    if (x->stream) {
        do
            n = read(fd, to, len);
        while (n < 0 && errno == EINTR);
        return n;
    }
    if (x->list) {
        size_t lo = 0, hi = x->n;
        const struct dz_extent *e;

        while (hi - lo > 1) {
            size_t mid = (lo + hi) / 2;
            *(x->list[mid].content <= from ? &lo : &hi) = mid;
        }
        if (x->n == 0 || from >= x->content)
            return 0;
        e = &x->list[lo];
        at = e->file + (from - e->content);
        if (len > e->content + e->length - from)
            len = (size_t) (e->content + e->length - from);
    }
    do
        n = dz_os->pread(fd, to, len, (off_t) at);
    while (n < 0 && errno == EINTR);
    return n;
}

/* --- fields ----------------------------------------------------------------------------------- */

void dz_content_digest(const uint8_t digest_key[32], const uint8_t content[DZ_SHA256_BYTES],
                       uint8_t ret_digest[DZ_FEATURE_DIGEST]) {
    (void) crypto_generichash(ret_digest, DZ_FEATURE_DIGEST, content, DZ_SHA256_BYTES, digest_key,
                              32);
}

void dz_features_put(const struct dz_features *f, const char *name, const uint8_t digest_key[32],
                     const uint8_t content[DZ_SHA256_BYTES], dz_buf *fields) {
    dz_autobuf dz_buf value = { 0 };
    uint8_t digest[DZ_FEATURE_DIGEST];
    dz_feature_record record;

    dz_content_digest(digest_key, content, digest);
    dz_features_finish(f, (dz_slice){ (const uint8_t *) name, strlen(name) }, digest, &record);
    dz_feature_record_put(&value, &record);
    if (!dz_buf_ok(&value))
        fields->bad = true;
    dz_entry_put_field(fields, DZ_TAG_FEATURES, dz_buf_slice(&value));
}

static ssize_t list_xattrs(int fd, const char *path, char *list, size_t room) {
    return fd >= 0 ? flistxattr(fd, list, room) : llistxattr(path, list, room);
}
static ssize_t get_xattr(int fd, const char *path, const char *name, void *value, size_t room) {
    return fd >= 0 ? fgetxattr(fd, name, value, room) : lgetxattr(path, name, value, room);
}

static int by_text(const void *a, const void *b) {
    const char *x, *y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return strcmp(x, y);
}

/* One attribute: name and value.  0, or errno. */
static int put_xattr(int fd, const char *path, const char *name, dz_buf *value) {
    ssize_t len = get_xattr(fd, path, name, NULL, 0), n;
    dz_autofree uint8_t *bytes = NULL;

    if (len < 0)
        return errno == ENODATA ? 0 : errno; /* gone meanwhile */
    if ((size_t) len + value->len > VALUES_MAX)
        return E2BIG;
    bytes = malloc((size_t) len + 1);
    if (!bytes)
        return ENOMEM;
    /* with room for a byte at least: asked with none, the kernel tells a length and copies nothing
     */
    n = get_xattr(fd, path, name, bytes, (size_t) len + 1);
    if (n < 0)
        return errno == ENODATA ? 0 : errno;
    dz_buf_put_field(value, (dz_slice){ (const uint8_t *) name, strlen(name) });
    dz_buf_put_field(value, (dz_slice){ bytes, (size_t) n });
    return 0;
}

int dz_xattrs_put(int fd, int dirfd, const char *name, dz_buf *fields) {
    char path[32 + 256], few[1024];
    dz_autofree char *many = NULL;
    dz_autofree const char **names = NULL;
    dz_autobuf dz_buf value = { 0 };
    char *list = few;
    ssize_t len;
    size_t n = 0;
    int failed = 0;

    /* there is no llistxattrat(): the kernel's own link to the directory keeps it race-free */
    if (fd < 0)
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
    len = list_xattrs(fd, path, few, sizeof few);
    if (len < 0 && errno == ERANGE) {
        many = malloc(NAMES_MAX);
        if (!many)
            return ENOMEM;
        list = many;
        len = list_xattrs(fd, path, many, NAMES_MAX);
    }
    if (len <= 0)
        return len == 0 || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
    for (ssize_t i = 0; i < len; i += (ssize_t) strlen(list + i) + 1)
        n++;
    names = calloc(n, sizeof *names);
    if (!names)
        return ENOMEM;
    n = 0;
    for (ssize_t i = 0; i < len; i += (ssize_t) strlen(list + i) + 1)
        names[n++] = list + i;
    qsort(names, n, sizeof *names, by_text); /* one set of attributes, one spelling */
    for (size_t i = 0; i < n; i++) {
        int r = put_xattr(fd, path, names[i], &value);
        if (r != 0)
            failed = r;
    }
    if (!dz_buf_ok(&value))
        return ENOMEM;
    if (value.len > 0)
        dz_entry_put_field(fields, DZ_TAG_XATTRS, dz_buf_slice(&value));
    return failed;
}
