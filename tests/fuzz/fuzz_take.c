/* A connection of a source, message by message, honest and not.
 *
 * Properties: a run that was refused, or cut off, leaves no snapshot; one that is done leaves one,
 * and each of its files has all its bytes, as long as its entry says; HELD and REFS never reach a
 * chunk that this very source did not send; memory stays below what take.h says.
 *
 * The input is a list of steps: a byte says which (below), the bytes behind it how.  Chunks come
 * from a small table, paths from a few letters, so that what was sent before is met again. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/os.h"
#include "intake/take.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"
#include "store/manifest_check.h"
#include "store/snapshot.h"
#include "tests/fuzz/fuzz.h"

enum { CHUNKS = 16, SOURCES = 2, INPUTS_A_VAULT = 64, STEPS_MAX = 400 };
enum step { CHUNK, LIE, REF, HAVE, ENTRY, PROBLEM, COMMIT, CONNECT, CUT, RAW, FLIP, STEPS };

static char dir[] = "/dev/shm/dozo-fuzz-XXXXXX";
static struct dz_vault *vault;
static unsigned inputs;
static size_t snapshots;
static bool sent[SOURCES][CHUNKS];
static const char *const sources[SOURCES] = { "emr", "lab" };

/* The connection, and what the source thinks of it. */
static struct peer {
    struct dz_take *take;
    size_t source;
    bool now[CHUNKS]; /* sent in this run */
    uint64_t entries, bytes, content;
    dz_buf out, heard, path;
    size_t flip; /* which byte of the next frame; 0: none */
} peer;

/* --- a vault ---------------------------------------------------------------------------------- */

static int no_sync(int fd) {
    (void) fd;
    return 0;
}

static void drop_vault(void) {
    pid_t child;

    dz_vault_free(vault);
    vault = NULL;
    child = fork();
    if (child == 0) {
        (void) execlp("rm", "rm", "-rf", "--", dir, NULL);
        _exit(127);
    }
    (void) waitpid(child, NULL, 0);
}

static void make_vault(void) {
    static struct dz_os os;
    const uint8_t root[DZ_ROOT_BYTES] = "a root";
    const dz_vault_id id = { "a vault" };
    char path[64];
    struct dz_vault_new how = { .path = path, .now_us = 1 };

    if (dz_os == &dz_os_real) {
        os = dz_os_real;
        os.fsync = no_sync;
        dz_os = &os;
        MUST(dz_crypto_init(NULL) == DZ_OK && atexit(drop_vault) == 0);
    }
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    MUST(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/v", dir);
    MUST(dz_vault_create(&how, root, &id, NULL, NULL) == DZ_OK);
    MUST(dz_vault_open(path, &vault, NULL) == DZ_OK && dz_vault_unlock(vault, root, NULL) == DZ_OK);
    memset(sent, 0, sizeof sent);
    snapshots = 0;
}

/* --- what was kept ---------------------------------------------------------------------------- */

static void must_read_all(struct dz_fetch *fetch, struct dz_content_reader *r, const dz_entry *e) {
    dz_content_span span;
    uint64_t size, at = 0;
    bool end;

    MUST(dz_content_reader_start(r, dz_entry_field(e, DZ_TAG_CONTENT), 0, NULL) == DZ_OK);
    for (;;) {
        struct dz_held held;

        MUST(dz_content_reader_next(r, &span, &end, NULL) == DZ_OK);
        if (end)
            break;
        MUST(dz_fetch_hold(fetch, DZ_KIND_DATA, &span.id, &held, NULL) == DZ_OK);
        MUST(held.bytes.len == span.length);
        dz_fetch_drop(fetch, &held);
        at += span.length;
    }
    if (!(e->flags & DZ_ENTRY_UNREADABLE))
        MUST(dz_entry_content_bytes(e, &size) && size == at);
}

static void must_restore(const struct dz_snapshot *snap) {
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_cursor) cursor = NULL;
    DZ_AUTO(dz_content_reader) reader = NULL;
    DZ_AUTO(dz_manifest_check) check = NULL;
    struct dz_source source;
    uint64_t n = 0;
    bool end = false;
    dz_entry e;

    MUST(dz_fetch_new(vault, 1 << 20, &fetch, NULL) == DZ_OK);
    source = dz_fetch_source(fetch);
    MUST(dz_manifest_check_new(&source, vault->host->name, &check, NULL) == DZ_OK);
    MUST(dz_manifest_check_root(check, &snap->commit.root, NULL) == DZ_OK);
    MUST(dz_content_reader_new(&source, &reader, NULL) == DZ_OK);
    MUST(dz_cursor_new(&source, &snap->commit.root, &cursor, NULL) == DZ_OK);
    for (;; n++) {
        MUST(dz_cursor_next(cursor, &e, &end, NULL) == DZ_OK);
        if (end)
            break;
        if (e.type == DZ_ENTRY_FILE)
            must_read_all(fetch, reader, &e);
    }
    MUST(n == snap->commit.files + snap->commit.dirs + snap->commit.others);
}

/* The connection is over: the vault has one snapshot more, or none. */
static void settle(void) {
    const struct dz_take_state *state = dz_take_state(peer.take);
    bool one = state->is == DZ_TAKE_DONE && !state->again;
    struct dz_snapshot snap;
    size_t leaves;

    MUST(dz_tlog_refresh(vault->log, NULL) == DZ_OK);
    leaves = (size_t) dz_tlog_head(vault->log).size - 1;
    MUST(leaves == snapshots + one);
    snapshots = leaves;
    if (one) {
        MUST(dz_snapshot_find(vault, "latest", &snap, NULL) == DZ_OK);
        MUST(strcmp(snap.commit.source, sources[peer.source]) == 0);
        must_restore(&snap);
        dz_snapshot_release(&snap);
    }
    for (size_t i = 0; i < CHUNKS; i++)
        sent[peer.source][i] |= peer.now[i];
}

/* --- the source ------------------------------------------------------------------------------- */

static dz_slice nth(uint8_t n) {
    static const uint8_t bytes[CHUNKS + 64] = "what a file may have, in chunks of a few lengths";

    return (dz_slice){ bytes + n % CHUNKS, 1 + 3u * (n % CHUNKS) };
}

static dz_id id_of(uint8_t n) {
    dz_id id;

    dz_sha256(nth(n), id.b);
    return id;
}

static void hang_up(bool cut) {
    if (!peer.take)
        return;
    if (cut)
        dz_take_cut(peer.take);
    settle();
    dz_take_free(DZ_TAKE(peer.take));
}

/* What is answered to one frame. */
static bool answer(struct dz_wire_message *m) {
    dz_slice out = dz_take_out(peer.take), payload;
    uint8_t type;
    size_t used;

    if (out.len == 0)
        return false;
    dz_buf_clear(&peer.heard);
    dz_buf_put_slice(&peer.heard, out);
    dz_take_sent(peer.take, out.len);
    MUST(dz_wire_frame(dz_buf_slice(&peer.heard), &type, &payload, &used, NULL) == DZ_OK);
    MUST(used > 0 && dz_wire_read(type, payload, &peer.path, m, NULL) == DZ_OK);
    return true;
}

static bool say(struct dz_wire_message *m) {
    struct mallinfo2 heap;
    bool answered;

    MUST(dz_buf_ok(&peer.out));
    if (peer.flip && peer.out.len > 0)
        peer.out.data[peer.flip % peer.out.len] ^= (uint8_t) (1 << peer.flip / 32 % 8);
    peer.flip = 0;
    dz_take_feed(peer.take, dz_buf_slice(&peer.out));
    dz_buf_clear(&peer.out);
    heap = mallinfo2();
    MUST(heap.uordblks + heap.hblkhd < DZ_TAKE_MEMORY);
    answered = answer(m);
    if (dz_take_state(peer.take)->is == DZ_TAKE_REFUSED)
        memset(peer.now, 0, sizeof peer.now);
    return answered;
}

static void connect_as(uint8_t how) {
    struct dz_take_how take = { .vault = vault, .limits = { .entries = 50, .bytes = 100000 } };
    struct dz_wire_begin begin = { .run = { how >> 4 } };
    const char *source = sources[how % SOURCES];
    struct dz_wire_message m;

    memcpy(begin.run + 1, &inputs, sizeof inputs); /* other inputs' runs are others */
    hang_up(how & 4);
    peer.source = how % SOURCES;
    peer.entries = peer.bytes = peer.content = 0;
    memset(peer.now, 0, sizeof peer.now);
    take.source = source;
    begin.source = (dz_slice){ (const uint8_t *) source, strlen(source) };
    MUST(dz_take_new(&take, &peer.take, NULL) == DZ_OK);
    dz_wire_put_hello(&peer.out, &(struct dz_wire_hello){ 1, 1 });
    if (say(&m) && m.type == DZ_WIRE_WELCOME) {
        dz_wire_put_begin(&peer.out, &begin);
        (void) say(&m);
    }
}

static void put_entry(dz_reader *in) {
    static const char letters[] = "ab/c.";
    uint8_t how = dz_read_u8(in), len = dz_read_u8(in) % 6, path[8];
    dz_slice fields = dz_read_bytes(in, dz_read_u8(in) % 32);
    dz_entry e = { .path = { path, len },
                   .type = (uint8_t) (1 + how % 8),
                   .flags = how & 16 ? dz_read_u8(in) : 0,
                   .size = how & 32 ? dz_read_varint(in) : peer.content,
                   .fields = fields };

    for (size_t i = 0; i < len; i++)
        path[i] = (uint8_t) letters[dz_read_u8(in) % (sizeof letters - 1)];
    if (e.type == DZ_ENTRY_DIR && !(how & 32))
        e.size = 0;
    dz_wire_put_entry(&peer.out, &e);
    peer.entries++;
    peer.bytes += e.type == DZ_ENTRY_FILE ? e.size : 0;
    peer.content = 0;
}

/* One step.  False at the end of the input. */
static bool step(dz_reader *in) {
    uint8_t what = dz_read_u8(in), n = dz_read_u8(in);
    struct dz_wire_message m = { 0 };
    dz_autobuf dz_buf rows = { 0 };
    dz_id id = id_of(n), ids[CHUNKS];

    if (!dz_reader_ok(in))
        return false;
    if (!peer.take || what % STEPS == CONNECT) {
        connect_as(n);
        return true;
    }
    switch ((enum step)(what % STEPS)) {
    case CHUNK:
        dz_wire_put_chunk(&peer.out, &(struct dz_wire_chunk){ id, nth(n) });
        peer.content += nth(n).len;
        break;
    case LIE:
        dz_wire_put_chunk(&peer.out, &(struct dz_wire_chunk){ id, nth(n / CHUNKS) });
        break;
    case REF:
        dz_wire_put_ref(&rows, (uint32_t) nth(n).len + (n >= 240), &id);
        dz_wire_put_refs(&peer.out, dz_buf_slice(&rows));
        peer.content += nth(n).len;
        break;
    case HAVE:
        for (uint8_t i = 0; i < CHUNKS; i++)
            ids[i] = id_of(i);
        dz_wire_put_have(&peer.out, ids, CHUNKS);
        break;
    case ENTRY:
        put_entry(in);
        break;
    case PROBLEM:
        dz_wire_put_problem(&peer.out,
                            &(dz_problem){ DZ_SLICE_LIT("a"), n, (uint8_t) (1 + n % 3) });
        break;
    case COMMIT:
        dz_wire_put_commit(&peer.out,
                           &(struct dz_wire_commit){ peer.entries + (n == 1), peer.bytes });
        break;
    case CUT:
        hang_up(true);
        return true;
    case RAW:
        dz_buf_put_slice(&peer.out, dz_read_bytes(in, n % 64));
        break;
    case FLIP:
        peer.flip = n;
        return true;
    case CONNECT:
    case STEPS:
    default:
        break;
    }
    if ((what % STEPS == CHUNK || what % STEPS == LIE) && peer.flip == 0)
        peer.now[n % CHUNKS] = true;
    else if (what % STEPS == RAW || peer.flip)
        memset(peer.now, 1, sizeof peer.now); /* whatever it came to */
    if (say(&m) && m.type == DZ_WIRE_HELD && m.held.n == CHUNKS)
        for (size_t i = 0; i < CHUNKS; i++)
            MUST(!dz_wire_held(m.held.bits, i) || peer.now[i] || sent[peer.source][i]);
    if (what % STEPS == REF && !sent[peer.source][n % CHUNKS] && !peer.now[n % CHUNKS])
        MUST(dz_take_state(peer.take)->is != DZ_TAKE_OPEN);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader in = dz_reader_over((dz_slice){ data, size });

    if (inputs++ % INPUTS_A_VAULT == 0) {
        if (vault)
            drop_vault();
        make_vault();
    }
    for (int n = 0; n < STEPS_MAX && step(&in); n++)
        ;
    hang_up(false);
    peer.flip = 0;
    dz_buf_release(&peer.out);
    dz_buf_release(&peer.heard);
    dz_buf_release(&peer.path);
    return 0;
}
