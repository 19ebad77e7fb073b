#include "custody/hold.h"

#include <string.h>

#include "core/utf8.h"
#include "custody/shown.h"

void dz_hold_why(const dz_ledger_leaf *hold, dz_buf *to) {
    dz_request_put_visible(dz_ledger_text(hold, "why"), to);
}

const dz_ledger_leaf *dz_hold_of(const struct dz_ledger *ledger, const struct dz_request *r) {
    const dz_ledger_leaf *hold = NULL;
    dz_autobuf dz_buf why = { 0 };
    uint64_t index;

    if (dz_request_index(r, "hold", &index))
        hold = dz_ledger_leaf_at(ledger, DZ_LEAF_HOLD, index);
    if (!hold || !dz_request_names(r, hold))
        return NULL;
    dz_hold_why(hold, &why);
    return dz_buf_ok(&why) && dz_slice_eq(dz_request_value(r, "held-for"), dz_buf_slice(&why))
               ? hold
               : NULL;
}

const dz_ask *dz_hold_ended(const struct dz_quorum *q, uint64_t leaf) {
    for (size_t i = 0; i < q->n_asks; i++) {
        const dz_ask *a = &q->asks[i];
        uint64_t hold;

        if (a->done && a->request.kind == DZ_REQUEST_RELEASE &&
            dz_request_index(&a->request, "hold", &hold) && hold == leaf)
            return a;
    }
    return NULL;
}

bool dz_held(const struct dz_quorum *q, const struct dz_snapshot *snap, uint64_t ended) {
    for (size_t i = 0; i < q->ledger->n; i++) {
        const dz_ledger_leaf *leaf = &q->ledger->leaves[i];
        const dz_leaf_object *o;
        const dz_ask *by;

        if (leaf->kind != DZ_LEAF_HOLD || (ended && leaf->index == ended))
            continue;
        for (size_t k = 0; (o = dz_ledger_object(leaf, DZ_LEAF_OBJ_COMMIT, k)); k++) {
            if (memcmp(o->name, snap->file, sizeof snap->file) != 0)
                continue;
            by = dz_hold_ended(q, leaf->index);
            if (!by || !dz_shown_is(&by->request, snap))
                return true;
        }
    }
    return false;
}

dz_status dz_hold_add(struct dz_vault *v, const struct dz_snapshot *snap, const char *why,
                      uint64_t *ret_leaf, dz_err *err) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT };
    char id[DZ_SNAPSHOT_ID_TEXT];

    if (why[0] == '\0' || strlen(why) > DZ_HOLD_WHY_MAX ||
        !dz_utf8_clean((dz_slice){ (const uint8_t *) why, strlen(why) }, false))
        return DZ_FAIL(err, DZ_E_USAGE, "a hold says why, in one line of at most %d bytes of UTF-8",
                       DZ_HOLD_WHY_MAX);
    memcpy(object.name, snap->file, sizeof object.name);
    dz_snapshot_id_text(snap->commit.id, id);
    return dz_ledger_add(v, DZ_LEAF_HOLD, 0, &object, 1,
                         json_pack("{s:s,s:s}", "snapshot", id, "why", why), ret_leaf, err);
}
