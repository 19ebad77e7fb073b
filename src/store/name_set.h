/* store/name_set.h -- the names that a session has taken in and no index run holds yet.
 *
 * Names are keyed and uniform, so their own bits are the hash.  16 bytes a slot, at most 3/4 full.
 * Not locked: the owner guards it. */
#pragma once

#include "core/cleanup.h"
#include "core/error.h"
#include "crypto/hash.h"

struct dz_name_set;
dz_status dz_name_set_new(struct dz_name_set **ret_set, dz_err *err) DZ_MUST_CHECK;
void dz_name_set_free(struct dz_name_set *s); /* NULL is fine */

/* *ret_added is false when the name was there.  DZ_E_NOMEM: nothing changed. */
dz_status dz_name_set_add(struct dz_name_set *s, const dz_name *name, bool *ret_added,
                          dz_err *err) DZ_MUST_CHECK;
bool dz_name_set_has(const struct dz_name_set *s, const dz_name *name);
size_t dz_name_set_count(const struct dz_name_set *s);

/* Removes the names of which `gone` says so. */
void dz_name_set_drop_if(struct dz_name_set *s, bool (*gone)(void *ctx, const dz_name *name),
                         void *ctx);
