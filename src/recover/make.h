/* recover/make.h -- makes one file, link or device of a restored tree.
 *
 *   job ─▶ [maker, one per thread] ─▶ chunks held ─▶ file created, filled, attributes set
 *
 * A maker belongs to one thread; many share a target. */
#pragma once

#include "recover/target.h"
#include "store/content.h"

/* All names of one inode, shared by the makers: who comes first makes it, the others link. */
struct dz_link {
    enum { DZ_LINK_NONE, DZ_LINK_BUSY, DZ_LINK_DONE } state;
    dev_t dev;
    ino_t ino;
    char *dir; /* below the target, once DONE; owned */
    size_t dir_len;
    char *name; /* owned */
};

struct dz_links; /* finds the links by the identity that an entry carries */
dz_status dz_links_new(struct dz_links **ret_links, dz_err *err) DZ_MUST_CHECK;
void dz_links_free(struct dz_links *l); /* NULL is fine */
/* One thread only.  The link is borrowed as long as `l`.  DZ_E_NOMEM. */
dz_status dz_links_get(struct dz_links *l, dz_slice identity, struct dz_link **ret_link,
                       dz_err *err) DZ_MUST_CHECK;

/* Over the states of all links; waiting is for one of them to leave BUSY. */
void dz_links_lock(struct dz_links *l);
void dz_links_wait(struct dz_links *l);
void dz_links_unlock(struct dz_links *l, bool changed);

struct dz_maker {
    struct dz_target *target;         /* borrowed */
    const struct dz_supply *supply;   /* borrowed */
    struct dz_links *links;           /* borrowed */
    struct dz_content_reader *reader; /* owned */
    struct dz_restore_result counts;  /* of what this maker made; the caller adds them up */
};
dz_status dz_maker_init(struct dz_maker *m, struct dz_target *target,
                        const struct dz_supply *supply, struct dz_links *links,
                        dz_err *err) DZ_MUST_CHECK;
void dz_maker_done(struct dz_maker *m);

/* Makes `name` in `dir` (held by the caller) as `e` says, or names why not.  `link` is NULL for an
 * inode with one name.  Anything but DZ_OK ends the restore: DZ_E_IO (target full or read-only),
 * DZ_E_NOMEM, DZ_E_CLOSED. */
dz_status dz_make(struct dz_maker *m, struct dz_target_dir *dir, const char *name,
                  const dz_entry *e, struct dz_link *link, dz_err *err) DZ_MUST_CHECK;
