#include "daemon/news.h"

#include <stdio.h>

#include "core/utf8.h"
#include "custody/witness.h"
#include "store/snapshot.h"
#include "store/verify.h"

struct looking {
    struct dz_board *board;
    uint64_t from;
};

static bool all_known(const struct dz_board *b) {
    for (size_t i = 0; i < b->n_sources; i++)
        if (b->sources[i].newest_us == INT64_MIN)
            return false;
    return true;
}

static bool each(void *ctx, struct dz_snapshot *snap, dz_status status, const dz_err *why) {
    const struct looking *l = ctx;

    (void) why;
    if (status != DZ_OK)
        return true;
    dz_board_came(l->board, snap->commit.source, snap->commit.arrived_us, snap->leaf);
    return l->from > 0 || !all_known(l->board);
}

dz_status dz_news_read(struct dz_news *n, struct dz_board *b, dz_err *err) {
    struct looking l = { .board = b, .from = n->seen };
    uint64_t size;

    DZ_TRY(dz_tlog_refresh(n->v->log, err));
    size = dz_tlog_head(n->v->log).size;
    if (size == n->seen)
        return DZ_OK;
    DZ_TRY(dz_snapshots_back(n->v, n->seen, each, &l, err));
    n->seen = size;
    return DZ_OK;
}

/* The leaf is an alarm of this reason. */
static const char *alarm_source(const dz_ledger_leaf *leaf, const char *reason) {
    const char *said = leaf->kind == DZ_LEAF_ALARM ? dz_ledger_text(leaf, "reason") : NULL;

    return said && strcmp(said, reason) == 0 ? dz_ledger_text(leaf, "source") : NULL;
}

dz_status dz_news_alarmed(struct dz_news *n, struct dz_board *b, dz_err *err) {
    DZ_AUTO(dz_ledger) ledger = NULL;

    DZ_TRY(dz_ledger_read(n->v, &ledger, err));
    for (size_t i = 0; i < ledger->n; i++) {
        const dz_ledger_leaf *leaf = &ledger->leaves[i];
        const char *source = alarm_source(leaf, "source-late");
        dz_board_source *s = source ? dz_board_find(b, source) : NULL;

        if (s && leaf->time_us >= s->since_us &&
            (s->newest_us == INT64_MIN || leaf->index > s->newest_leaf))
            s->late_told = true;
    }
    return DZ_OK;
}

dz_status dz_news_failure(struct dz_news *n, const char *source, uint64_t leaf,
                          char ret_detail[DZ_BOARD_DETAIL_MAX + 1], dz_err *err) {
    DZ_AUTO(dz_ledger) ledger = NULL;

    ret_detail[0] = '\0';
    DZ_TRY(dz_ledger_read(n->v, &ledger, err));
    for (size_t i = ledger->n; i-- > 0 && ledger->leaves[i].index >= leaf;) {
        const char *whose = alarm_source(&ledger->leaves[i], "source-failed");
        const char *detail = dz_ledger_text(&ledger->leaves[i], "detail");

        if (!whose || strcmp(whose, source) != 0)
            continue;
        if (!detail || !dz_utf8_plain((dz_slice){ (const uint8_t *) detail, strlen(detail) }))
            detail = "see the journal";
        (void) snprintf(ret_detail, DZ_BOARD_DETAIL_MAX + 1, "%s", detail);
        return DZ_OK;
    }
    return DZ_OK;
}

dz_status dz_news_chores(struct dz_news *n, int64_t ret_us[DZ_CHORES], dz_err *err) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    struct dz_witnesses known = { 0 };
    int64_t oldest = INT64_MAX;
    dz_verify_last verified;
    bool found;

    DZ_TRY(dz_ledger_read(n->v, &ledger, err));
    DZ_TRY(dz_witnesses_read(ledger, &known, err));
    for (size_t i = 0; i < known.n; i++)
        if (known.list[i].kind != DZ_WITNESS_PAPER && known.list[i].when_us < oldest)
            oldest = known.list[i].when_us;
    dz_witnesses_release(&known);
    DZ_TRY(dz_verify_last_read(n->v, &verified, &found, err));
    ret_us[DZ_CHORE_WITNESS] = oldest;
    ret_us[DZ_CHORE_PRUNE] = INT64_MIN;
    ret_us[DZ_CHORE_VERIFY] = found ? verified.when_us : INT64_MIN;
    return DZ_OK;
}
