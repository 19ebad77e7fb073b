#include "recover/mount_tree.h"

#include <pthread.h>
#include <sodium.h>
#include <sys/sysmacros.h>

enum {
    IDENTITY_BYTES = 16,
    FIRST_BUCKETS = 4096,
    SPARE_CURSORS = 16,
    ROOT_INO = 1,
};

struct dz_mount_tree {
    const struct dz_supply *supply;
    dz_manifest_root manifest;
    uint8_t key[crypto_shorthash_KEYBYTES]; /* names cannot be made to clash */
    struct dz_node *root;

    pthread_mutex_t lock; /* over nodes, buckets and spare cursors */
    struct dz_node **buckets;
    size_t n_buckets; /* a power of two */
    size_t n_nodes;
    struct dz_cursor *spare[SPARE_CURSORS];
    size_t n_spare;

    pthread_mutex_t links_lock;
    bool links_known;
    dz_buf links; /* identities of all hardlinked names, sorted */
};

/* --- Cursors ---------------------------------------------------------------------------------- */

dz_status dz_mount_tree_cursor(struct dz_mount_tree *t, struct dz_cursor **ret_cursor,
                               dz_err *err) {
    struct dz_cursor *c = NULL;

    pthread_mutex_lock(&t->lock);
    if (t->n_spare > 0)
        c = t->spare[--t->n_spare];
    pthread_mutex_unlock(&t->lock);
    if (!c)
        return dz_cursor_new(&t->supply->nodes, &t->manifest, ret_cursor, err);
    *ret_cursor = c;
    return DZ_OK;
}

void dz_mount_tree_cursor_back(struct dz_mount_tree *t, struct dz_cursor *c) {
    if (!c)
        return;
    pthread_mutex_lock(&t->lock);
    if (t->n_spare < SPARE_CURSORS) {
        t->spare[t->n_spare++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&t->lock);
    dz_cursor_free(c);
}

void dz_mount_tree_path(const struct dz_node *n, dz_buf *to) {
    size_t total = 0;
    uint8_t *end;

    for (const struct dz_node *p = n; p->parent; p = p->parent)
        total += strlen(p->name) + (total > 0);
    end = total > 0 ? dz_buf_extend(to, total) : NULL;
    if (!end)
        return;
    end += total;
    for (const struct dz_node *p = n; p->parent; p = p->parent) {
        size_t len = strlen(p->name);

        end -= len;
        memcpy(end, p->name, len);
        if (p->parent->parent)
            *--end = '/';
    }
}

static dz_status find(struct dz_mount_tree *t, const struct dz_node *n, const char *child,
                      struct dz_cursor **ret_cursor, dz_entry *ret_entry, dz_err *err) {
    dz_autobuf dz_buf path = { 0 };
    struct dz_cursor *c;
    dz_status status;

    dz_mount_tree_path(n, &path);
    if (child) {
        if (path.len > 0)
            dz_buf_put_u8(&path, '/');
        dz_buf_put(&path, child, strlen(child));
    }
    if (!dz_buf_ok(&path))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a path");
    DZ_TRY(dz_mount_tree_cursor(t, &c, err));
    status = dz_cursor_find(c, dz_buf_slice(&path), ret_entry, err);
    if (status == DZ_OK)
        *ret_cursor = c;
    else
        dz_mount_tree_cursor_back(t, c);
    return status;
}

dz_status dz_mount_tree_entry(struct dz_mount_tree *t, const struct dz_node *n,
                              struct dz_cursor **ret_cursor, dz_entry *ret_entry, dz_err *err) {
    return find(t, n, NULL, ret_cursor, ret_entry, err);
}

/* --- Attributes ------------------------------------------------------------------------------- */

static int compare_identities(const void *a, const void *b) {
    return memcmp(a, b, IDENTITY_BYTES);
}

/* Reads the whole list of entries once, for the number of names that each inode has.  What is lost
 * is not counted. */
static dz_status learn_links(struct dz_mount_tree *t, dz_err *err) {
    DZ_AUTO(dz_cursor) c = NULL;

    DZ_TRY(dz_cursor_new(&t->supply->nodes, &t->manifest, &c, err));
    for (;;) {
        dz_entry e;
        bool end;
        dz_status status = dz_cursor_next(c, &e, &end, err);

        if (status != DZ_OK) {
            dz_slice first;
            uint64_t lost;

            if (!dz_supply_goes_on(status) || dz_cursor_skip_lost(c, &first, &lost, NULL) != DZ_OK)
                return status;
            continue;
        }
        if (end)
            break;
        if (dz_entry_field(&e, DZ_TAG_LINK).len == IDENTITY_BYTES)
            dz_buf_put_slice(&t->links, dz_entry_field(&e, DZ_TAG_LINK));
    }
    if (!dz_buf_ok(&t->links)) {
        dz_buf_release(&t->links);
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for hardlinks");
    }
    if (t->links.len > 0)
        qsort(t->links.data, t->links.len / IDENTITY_BYTES, IDENTITY_BYTES, compare_identities);
    t->links_known = true;
    return DZ_OK;
}

static nlink_t count_links(struct dz_mount_tree *t, dz_slice identity) {
    nlink_t n = 0;

    pthread_mutex_lock(&t->links_lock);
    if (t->links_known || learn_links(t, NULL) == DZ_OK) {
        size_t low = 0, high = t->links.len / IDENTITY_BYTES, all = high;

        while (low < high) {
            size_t mid = low + (high - low) / 2;

            if (memcmp(t->links.data + mid * IDENTITY_BYTES, identity.data, IDENTITY_BYTES) < 0)
                low = mid + 1;
            else
                high = mid;
        }
        while (low + n < all && memcmp(t->links.data + (low + n) * IDENTITY_BYTES, identity.data,
                                       IDENTITY_BYTES) == 0)
            n++;
    }
    pthread_mutex_unlock(&t->links_lock);
    return n > 0 ? n : 1;
}

static uint64_t hash_of(const struct dz_mount_tree *t, uint64_t seed, const void *bytes,
                        size_t len) {
    uint8_t text[8 + 256], hash[crypto_shorthash_BYTES];
    size_t n = len < 256 ? len : 256;

    dz_store_le(text, 8, seed);
    memcpy(text + 8, bytes, n);
    crypto_shorthash(hash, text, 8 + n, t->key);
    return dz_load_le(hash, 8);
}

static uint64_t hash_child(const struct dz_mount_tree *t, const struct dz_node *parent,
                           const char *name) {
    return hash_of(t, parent->hash, name, strlen(name));
}

static uint64_t usable_ino(uint64_t hash) {
    return hash > ROOT_INO ? hash : hash + ROOT_INO + 1;
}

uint64_t dz_mount_tree_ino(const struct dz_mount_tree *t, const struct dz_node *parent,
                           const char *name, const dz_entry *e) {
    dz_slice link = dz_entry_field(e, DZ_TAG_LINK);

    return usable_ino(link.len == IDENTITY_BYTES ? hash_of(t, 0, link.data, link.len)
                                                 : hash_child(t, parent, name));
}

static void fill_stat(struct dz_mount_tree *t, const dz_entry *e, struct stat *st) {
    static const mode_t types[] = {
        [DZ_ENTRY_FILE] = S_IFREG,  [DZ_ENTRY_DIR] = S_IFDIR,     [DZ_ENTRY_SYMLINK] = S_IFLNK,
        [DZ_ENTRY_FIFO] = S_IFIFO,  [DZ_ENTRY_SOCKET] = S_IFSOCK, [DZ_ENTRY_CHAR] = S_IFCHR,
        [DZ_ENTRY_BLOCK] = S_IFBLK,
    };
    dz_slice link = dz_entry_field(e, DZ_TAG_LINK);
    dz_slice extents = dz_entry_field(e, DZ_TAG_EXTENTS);
    dz_reader rdev = dz_reader_over(dz_entry_field(e, DZ_TAG_RDEV));
    uint64_t device_major = dz_read_varint(&rdev);
    uint64_t data = e->size;

    if (extents.data) {
        dz_reader r = dz_reader_over(extents);

        for (data = 0; dz_reader_left(&r) > 0 && dz_reader_ok(&r);) {
            (void) dz_read_varint(&r);
            data += dz_read_varint(&r);
        }
    }
    st->st_mode = types[e->type] | (e->mode & 07777);
    st->st_uid = e->uid;
    st->st_gid = e->gid;
    st->st_size = e->size > INT64_MAX ? INT64_MAX : (off_t) e->size;
    st->st_blocks = (blkcnt_t) (data / 512 + (data % 512 > 0));
    st->st_blksize = 128 << 10;
    st->st_mtim = (struct timespec){ .tv_sec = e->mtime_s, .tv_nsec = (long) e->mtime_ns };
    st->st_atim = st->st_ctim = st->st_mtim;
    st->st_rdev = makedev((unsigned) device_major, (unsigned) dz_read_varint(&rdev));
    /* 1 for directories: "not counted", so that nobody deduces the number of subdirectories. */
    st->st_nlink = link.len == IDENTITY_BYTES ? count_links(t, link) : 1;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static struct dz_node **slot_of(struct dz_mount_tree *t, const struct dz_node *parent,
                                uint64_t hash, const char *name) {
    struct dz_node **at = &t->buckets[hash & (t->n_buckets - 1)];

    while (*at &&
           !((*at)->hash == hash && (*at)->parent == parent && strcmp((*at)->name, name) == 0))
        at = &(*at)->next;
    return at;
}

static void grow(struct dz_mount_tree *t) {
    size_t n = 2 * t->n_buckets;
    struct dz_node **more = calloc(n, sizeof(*more)); /* without memory it stays as it is */

    if (!more)
        return;
    for (size_t i = 0; i < t->n_buckets; i++)
        while (t->buckets[i]) {
            struct dz_node *node = t->buckets[i];

            t->buckets[i] = node->next;
            node->next = more[node->hash & (n - 1)];
            more[node->hash & (n - 1)] = node;
        }
    free(t->buckets);
    t->buckets = more;
    t->n_buckets = n;
}

static struct dz_node *node_new(struct dz_mount_tree *t, struct dz_node *parent, const char *name,
                                const dz_entry *e) {
    size_t len = strlen(name);
    struct dz_node *n = calloc(1, sizeof *n + len + 1);

    if (!n)
        return NULL;
    memcpy(n->name, name, len);
    n->refs = 1;
    n->parent = parent;
    n->hash = parent ? hash_child(t, parent, name) : ROOT_INO;
    n->has_xattrs = dz_entry_field(e, DZ_TAG_XATTRS).len > 0;
    n->unreadable = e->flags & DZ_ENTRY_UNREADABLE;
    fill_stat(t, e, &n->st);
    n->st.st_ino = parent ? dz_mount_tree_ino(t, parent, name, e) : ROOT_INO;
    return n;
}

/* The node if it is known, with one more reference. */
static struct dz_node *known(struct dz_mount_tree *t, struct dz_node *parent, uint64_t hash,
                             const char *name) {
    struct dz_node *n;

    pthread_mutex_lock(&t->lock);
    n = *slot_of(t, parent, hash, name);
    if (n)
        n->refs++;
    pthread_mutex_unlock(&t->lock);
    return n;
}

dz_status dz_mount_tree_enter(struct dz_mount_tree *t, struct dz_node *parent, const char *name,
                              const dz_entry *e, struct dz_node **ret_node, dz_err *err) {
    uint64_t hash = hash_child(t, parent, name);
    struct dz_node *n = known(t, parent, hash, name);
    struct dz_node *fresh;

    if (n) {
        *ret_node = n;
        return DZ_OK;
    }
    fresh = node_new(t, parent, name, e);
    if (!fresh)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a node");
    pthread_mutex_lock(&t->lock);
    n = *slot_of(t, parent, hash, name); /* another thread may have been faster */
    if (n) {
        n->refs++;
    } else {
        struct dz_node **bucket;

        if (t->n_nodes >= t->n_buckets)
            grow(t);
        bucket = &t->buckets[hash & (t->n_buckets - 1)];
        fresh->next = *bucket;
        *bucket = fresh;
        t->n_nodes++;
        parent->refs++;
        n = DZ_TAKE(fresh);
    }
    pthread_mutex_unlock(&t->lock);
    free(fresh);
    *ret_node = n;
    return DZ_OK;
}

dz_status dz_mount_tree_lookup(struct dz_mount_tree *t, struct dz_node *parent, const char *name,
                               struct dz_node **ret_node, dz_err *err) {
    struct dz_node *n = known(t, parent, hash_child(t, parent, name), name);
    struct dz_cursor *c;
    dz_entry e;
    dz_status status;

    if (n) {
        *ret_node = n;
        return DZ_OK;
    }
    DZ_TRY(find(t, parent, name, &c, &e, err));
    status = dz_mount_tree_enter(t, parent, name, &e, ret_node, err);
    dz_mount_tree_cursor_back(t, c);
    return status;
}

void dz_mount_tree_forget(struct dz_mount_tree *t, struct dz_node *n, uint64_t refs) {
    pthread_mutex_lock(&t->lock);
    while (n) {
        struct dz_node *parent = n->parent;

        n->refs -= refs < n->refs ? refs : n->refs;
        if (n->refs > 0 || !parent)
            break;
        *slot_of(t, parent, n->hash, n->name) = n->next;
        t->n_nodes--;
        free(n);
        n = parent;
        refs = 1;
    }
    pthread_mutex_unlock(&t->lock);
}

/* --- The tree --------------------------------------------------------------------------------- */

struct dz_node *dz_mount_tree_root(struct dz_mount_tree *t) {
    return t->root;
}

dz_status dz_mount_tree_new(const struct dz_supply *supply, const dz_manifest_root *root,
                            struct dz_mount_tree **ret_tree, dz_err *err) {
    static const dz_entry bare = { .type = DZ_ENTRY_DIR, .mode = 0755 };
    DZ_AUTO(dz_mount_tree) t = calloc(1, sizeof *t);
    struct dz_cursor *c = NULL;
    dz_entry e;
    dz_status status;

    if (!t)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a mount");
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->links_lock, NULL);
    t->supply = supply;
    t->manifest = *root;
    t->n_buckets = FIRST_BUCKETS;
    t->buckets = calloc(t->n_buckets, sizeof(*t->buckets));
    if (!t->buckets)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a mount");
    randombytes_buf(t->key, sizeof t->key);
    DZ_TRY(dz_mount_tree_cursor(t, &c, err));
    status = dz_cursor_find(c, (dz_slice){ 0 }, &e, err);
    if (status == DZ_OK || status == DZ_E_NOT_FOUND)
        t->root = node_new(t, NULL, "", status == DZ_OK ? &e : &bare);
    dz_mount_tree_cursor_back(t, c);
    if (!t->root)
        return status == DZ_OK || status == DZ_E_NOT_FOUND
                   ? DZ_FAIL(err, DZ_E_NOMEM, "no memory for a mount")
                   : status;
    *ret_tree = DZ_TAKE(t);
    return DZ_OK;
}

void dz_mount_tree_free(struct dz_mount_tree *t) {
    if (!t)
        return;
    for (size_t i = 0; t->buckets && i < t->n_buckets; i++)
        while (t->buckets[i]) {
            struct dz_node *n = t->buckets[i];

            t->buckets[i] = n->next;
            free(n);
        }
    while (t->n_spare > 0)
        dz_cursor_free(t->spare[--t->n_spare]);
    free(t->buckets);
    free(t->root);
    dz_buf_release(&t->links);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->links_lock);
    free(t);
}
