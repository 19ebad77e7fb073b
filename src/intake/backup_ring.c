#include "intake/backup_parts.h"

enum { HELD_MAX = 64 << 20 /* bytes of finished entries that wait for their turn */ };

void dz_backup_fail(struct dz_backup *b, dz_status s, const dz_err *why) {
    (void) pthread_mutex_lock(&b->lock);
    if (b->failed == DZ_OK) {
        b->failed = s;
        b->why = *why;
    }
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
}

dz_status dz_backup_failed(struct dz_backup *b, dz_err *err) {
    dz_status s;

    (void) pthread_mutex_lock(&b->lock);
    s = b->failed;
    if (s != DZ_OK && err)
        *err = b->why;
    (void) pthread_mutex_unlock(&b->lock);
    return s;
}

void dz_backup_big_unref(struct dz_backup_big *big) {
    if (!big || atomic_fetch_sub(&big->refs, 1) != 1)
        return;
    (void) close(big->fd);
    dz_extents_release(&big->extents);
    free(big);
}

struct dz_backup_item *dz_backup_item_new(size_t nodes) {
    struct dz_backup_item *it = calloc(1, sizeof *it);

    if (it)
        it->nodes = calloc(nodes, sizeof *it->nodes);
    if (it && it->nodes)
        return it;
    free(it);
    return NULL;
}

void dz_backup_item_free(struct dz_backup_item *it) {
    if (!it)
        return;
    for (size_t i = 0; i < it->n; i++)
        dz_dir_unref(it->nodes[i].dir);
    if (it->n)
        explicit_bzero(it->nodes, it->n * sizeof *it->nodes); /* keys of the path cache */
    free(it->nodes);
    dz_buf_release(&it->text);
    dz_buf_release(&it->fields);
    dz_buf_release(&it->result.chunks);
    dz_backup_big_unref(it->big);
    free(it);
}

bool dz_backup_ring_add(struct dz_backup *b, struct dz_backup_item *it) {
    bool ok;

    (void) pthread_mutex_lock(&b->lock);
    while (b->tail - b->head == DZ_BACKUP_RING && b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    ok = b->failed == DZ_OK;
    if (ok) {
        b->ring[b->tail++ % DZ_BACKUP_RING] = it;
        (void) pthread_cond_broadcast(&b->changed);
    }
    (void) pthread_mutex_unlock(&b->lock);
    if (!ok)
        dz_backup_item_free(it);
    return ok;
}

struct dz_backup_item *dz_backup_ring_work(struct dz_backup *b) {
    struct dz_backup_item *it = NULL;

    (void) pthread_mutex_lock(&b->lock);
    /* many entries with large attributes: the assembler first.  If nothing before the next item
     * is under way, nobody else can free memory, and it is worked on. */
    while (((b->run == b->tail && !b->closed) || (b->held > HELD_MAX && b->run != b->head)) &&
           b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    if (b->run < b->tail && b->failed == DZ_OK)
        it = b->ring[b->run++ % DZ_BACKUP_RING];
    (void) pthread_mutex_unlock(&b->lock);
    return it;
}

void dz_backup_ring_done(struct dz_backup *b, struct dz_backup_item *it) {
    (void) pthread_mutex_lock(&b->lock);
    it->done = true;
    b->held += it->fields.len;
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
}

struct dz_backup_item *dz_backup_ring_take(struct dz_backup *b) {
    struct dz_backup_item *it = NULL;

    (void) pthread_mutex_lock(&b->lock);
    while (b->failed == DZ_OK && !(b->head < b->tail && b->ring[b->head % DZ_BACKUP_RING]->done) &&
           !(b->closed && b->head == b->tail))
        (void) pthread_cond_wait(&b->changed, &b->lock);
    if (b->failed == DZ_OK && b->head < b->tail) {
        it = b->ring[b->head % DZ_BACKUP_RING];
        b->ring[b->head++ % DZ_BACKUP_RING] = NULL;
        b->held -= it->fields.len;
        (void) pthread_cond_broadcast(&b->changed);
    }
    (void) pthread_mutex_unlock(&b->lock);
    return it;
}

void dz_backup_ring_close(struct dz_backup *b) {
    (void) pthread_mutex_lock(&b->lock);
    b->closed = true;
    (void) pthread_cond_broadcast(&b->changed);
    (void) pthread_mutex_unlock(&b->lock);
}

void dz_backup_ring_wait_dirs(struct dz_backup *b) {
    (void) pthread_mutex_lock(&b->lock);
    while (dz_scan_open_dirs(b->scan) > b->dirs_max && b->head != b->tail && b->failed == DZ_OK)
        (void) pthread_cond_wait(&b->changed, &b->lock);
    (void) pthread_mutex_unlock(&b->lock);
}
