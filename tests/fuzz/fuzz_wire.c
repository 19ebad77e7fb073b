/* Frames of the take protocol, as a stream.
 *
 * Properties: what is accepted is written as the same bytes again; a frame is never longer than its
 * type may be; a frame that comes out of turn changes nothing about whose turn it is. */
#include "intake/wire.h"
#include "tests/fuzz/fuzz.h"

static void must_bound(const struct dz_wire_message *m, size_t used) {
    MUST(used <= DZ_WIRE_HEADER + dz_wire_limit(m->type));
    if (m->type == DZ_WIRE_HAVE)
        MUST(m->have.n > 0 && m->have.n <= DZ_WIRE_HAVE_MAX);
    if (m->type == DZ_WIRE_CHUNK)
        MUST(m->chunk.bytes.len > 0 && m->chunk.bytes.len <= DZ_OBJECT_MAX);
    if (m->type == DZ_WIRE_ENTRY)
        MUST(dz_path_ok(m->entry.path) && !dz_entry_field(&m->entry, DZ_TAG_CONTENT).data);
}

static void must_count(const struct dz_wire_message *m) {
    dz_reader r = dz_reader_over(m->refs.rows);
    uint32_t length;
    size_t n = 0;
    dz_id id;

    while (dz_wire_next_ref(&r, &length, &id))
        n++;
    MUST(dz_reader_done(&r) && n == m->refs.n && n <= DZ_WIRE_REFS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_slice left = { data, size };
    enum dz_wire_state state = DZ_WIRE_NEW, before;
    dz_autobuf dz_buf path = { 0 };

    for (;;) {
        dz_autobuf dz_buf again = { 0 };
        struct dz_wire_message m;
        dz_slice payload = { 0 };
        uint8_t type = 0;
        size_t used;

        if (dz_wire_frame(left, &type, &payload, &used, NULL) != DZ_OK || used == 0)
            return 0;
        MUST(used == DZ_WIRE_HEADER + payload.len && used <= left.len);
        before = state;
        if (!dz_wire_step(&state, type))
            MUST(state == before);
        if (dz_wire_read(type, payload, &path, &m, NULL) == DZ_OK) {
            must_bound(&m, used);
            if (type == DZ_WIRE_REFS)
                must_count(&m);
            dz_wire_put(&again, &m);
            MUST(dz_slice_eq(dz_buf_slice(&again), (dz_slice){ left.data, used }));
        }
        left.data += used;
        left.len -= used;
    }
}
