#include "custody/hold.h"

#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

bool dz_hold_released(const struct dz_quorum *q, uint64_t leaf) {
    char text[24];

    (void) snprintf(text, sizeof text, "%llu", (unsigned long long) leaf);
    for (size_t i = 0; i < q->n_asks; i++) {
        const dz_ask *a = &q->asks[i];

        if (a->done && a->request.kind == DZ_REQUEST_RELEASE &&
            dz_request_says(&a->request, "hold", text))
            return true;
    }
    return false;
}

bool dz_held(const struct dz_ledger *ledger, const struct dz_quorum *q,
             const uint8_t file[DZ_SHA256_BYTES]) {
    for (size_t i = 0; i < ledger->n; i++) {
        const dz_ledger_leaf *leaf = &ledger->leaves[i];
        const dz_leaf_object *o;

        if (leaf->kind != DZ_LEAF_HOLD || dz_hold_released(q, leaf->index))
            continue;
        for (size_t k = 0; (o = dz_ledger_object(leaf, DZ_LEAF_OBJ_COMMIT, k)); k++)
            if (memcmp(o->name, file, DZ_SHA256_BYTES) == 0)
                return true;
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
