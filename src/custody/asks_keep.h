/* custody/asks_keep.h -- what can be asked about keeping: rows of the table of custody/action.h.
 *
 * delete-snapshot SNAPSHOT...       they are announced at once, and go a week later as all do
 * loosen-policy SOURCE,RULE=N,...   the rules of a source, each only if it is named
 * release-hold LEAF                 the hold that this leaf of the log made
 * acknowledge-alarm LEAF|SNAPSHOT   an alarm of the log, or those of a snapshot */
#pragma once

#include "custody/action.h"

dz_status dz_describe_delete(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err);
dz_status dz_carry_out_delete(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                              dz_err *err);

dz_status dz_describe_loosen(const struct dz_custody *c, const struct dz_operands *typed,
                             struct dz_subject *ret, dz_err *err);
dz_status dz_carry_out_loosen(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                              dz_err *err);

dz_status dz_describe_release(const struct dz_custody *c, const struct dz_operands *typed,
                              struct dz_subject *ret, dz_err *err);
dz_status dz_carry_out_release(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                               dz_err *err);

dz_status dz_describe_alarm(const struct dz_custody *c, const struct dz_operands *typed,
                            struct dz_subject *ret, dz_err *err);
dz_status dz_carry_out_alarm(struct dz_custody *c, int tmpfd, const dz_ask *a, uint64_t *ret_leaf,
                             dz_err *err);
