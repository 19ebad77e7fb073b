/* Somebody who knows the public key, or is root on the closed host, adds files of their own:
 * readers refuse them, and verification names them. */
#include "core/durable.h"
#include "core/hex.h"
#include "store/fetch.h"
#include "store/index.h"
#include "store/pack.h"
#include "store/segment.h"
#include "store/session.h"
#include "tests/honest/vault_fixture.h"

static struct fixture fx;
static struct findings found;

static struct dz_vault *open_vault(void) {
    struct dz_vault *v = NULL;
    dz_err err = { 0 };

    if (dz_vault_open(fx.vault, &v, &err) != DZ_OK ||
        dz_vault_unlock(v, fixture_root, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return v;
}

/* A pack of one object with this name, made with these keys.  Gives its file. */
static void plant_pack(struct dz_vault *v, const struct dz_host_keys *keys, enum dz_kind kind,
                       const dz_name *name, dz_slice bytes, char ret_file[80]) {
    const uint32_t length = (uint32_t) bytes.len;
    struct dz_pack_writer *w = NULL;
    DZ_AUTO(dz_coder) coder = NULL;
    dz_autobuf dz_buf sealed = { 0 };
    char tmp[DZ_VAULT_TMP_NAME];
    dz_pack_id id;
    int tmpfd;

    assert_int_equal(dz_coder_new(&coder, NULL), DZ_OK);
    assert_int_equal(dz_segment_seal(coder, keys, kind, bytes, &length, 1, 3, &sealed, NULL),
                     DZ_OK);
    assert_int_equal(dz_vault_tmp_make(v, tmp, &tmpfd, NULL), DZ_OK);
    assert_int_equal(dz_pack_writer_new(tmpfd, keys, &w, NULL), DZ_OK);
    assert_int_equal(dz_pack_writer_add(w, kind, dz_buf_slice(&sealed), name, &length, 1, NULL),
                     DZ_OK);
    assert_int_equal(dz_pack_writer_finish(w, v->packsfd, &id, NULL, NULL), DZ_OK);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    memcpy(ret_file, "packs/", 7);
    dz_hex(id.b, sizeof id.b, ret_file + 6);
}

static void find_snapshot(struct dz_vault *v, size_t snap, struct dz_snapshot *ret_snapshot) {
    char id[DZ_SNAPSHOT_ID_TEXT];

    dz_snapshot_id_text(fx.snaps[snap], id);
    assert_int_equal(dz_snapshot_find(v, id, ret_snapshot, NULL), DZ_OK);
}

static void drop_index(void) {
    size_t n;
    char **files = fixture_files(fx.vault, "index/", &n);

    for (size_t i = 0; i < n; i++) {
        char path[600];
        (void) snprintf(path, sizeof path, "%s/%s", fx.vault, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    fixture_files_free(files, n);
}

static void expect_all_readable(void) {
    static struct paths none;

    none.n = 0;
    for (size_t s = 0; s < FIXTURE_SNAPS; s++)
        assert_true(fixture_read_snapshot(&fx, fx.vault, s, s + 1 == FIXTURE_SNAPS, &none));
    assert_int_equal(none.n, 0);
}

/* Right vault, right public key, right file name, and the names of what the vault holds. */
static void a_forged_pack_is_named_and_never_used(void **state) {
    uint8_t other_root[DZ_ROOT_BYTES] = { 'x' };
    DZ_AUTO(dz_host_keys) other = NULL;
    struct dz_snapshot snap = { 0 };
    const struct found *x;
    struct dz_host_keys forged;
    struct dz_vault *v;
    char file[80];
    dz_name name;

    (void) state;
    fixture_copy(&fx);
    v = open_vault();
    find_snapshot(v, 2, &snap);
    name = dz_name_of(v->host->name, DZ_KIND_NODE, &snap.commit.root.node);
    dz_snapshot_release(&snap);
    assert_int_equal(dz_keys_derive(other_root, &fixture_id, 1, &other, NULL, NULL), DZ_OK);
    forged = *other;
    memcpy(forged.recipient, v->host->recipient, sizeof forged.recipient);
    plant_pack(v, &forged, DZ_KIND_NODE, &name, DZ_SLICE_LIT("L\1\0\0"), file);
    dz_vault_free(v);

    for (int with = CLOSED; with <= WITH_DATA; with++) {
        fixture_verify(&fx, fx.vault, (enum fixture_with) with, &found);
        x = found_object(&found, file);
        if (!x || x->what != DZ_VERIFY_FORGED || x->snaps != 0 || found.n != 1)
            found_fail(&found, "a forged pack");
        expect_all_readable();
        drop_index(); /* nor does a new index hold it */
    }
    expect_all_readable();
    fixture_backup(&fx, fx.vault, NULL);
    expect_all_readable();
}

/* With the host's own keys a table can say anything; the content's identity still decides. */
static void an_object_under_anothers_name_is_refused(void **state) {
    struct dz_snapshot snap = { 0 };
    const struct found *x;
    struct dz_vault *v;
    char file[80];
    dz_name name;

    (void) state;
    fixture_copy(&fx);
    v = open_vault();
    find_snapshot(v, 2, &snap);
    name = dz_name_of(v->host->name, DZ_KIND_NODE, &snap.commit.root.node);
    dz_snapshot_release(&snap);
    plant_pack(v, v->host, DZ_KIND_NODE, &name, DZ_SLICE_LIT("L\1\0\0"), file);
    dz_vault_free(v);

    expect_all_readable(); /* the other copy serves */
    fixture_verify(&fx, fx.vault, CLOSED, &found);
    assert_int_equal(found.n, 0); /* sealed: only who opens it can see */
    expect_all_readable();
    fixture_verify(&fx, fx.vault, WITH_DATA, &found);
    x = found_object(&found, file);
    if (!x || x->what != DZ_VERIFY_WRONG || x->snaps != 0 || found.n != 1)
        found_fail(&found, "an object that is another");
    expect_all_readable();
}

static void an_object_that_is_only_there_as_a_fake_is_refused(void **state) {
    DZ_AUTO(dz_fetch) f = NULL;
    dz_id id = { { 1, 2, 3 } };
    struct dz_held held;
    struct dz_vault *v;
    char file[80];
    dz_name name;

    (void) state;
    fixture_copy(&fx);
    v = open_vault();
    name = dz_name_of(v->host->name, DZ_KIND_NODE, &id);
    plant_pack(v, v->host, DZ_KIND_NODE, &name, DZ_SLICE_LIT("L\1\0\0"), file);
    assert_int_equal(dz_fetch_new(v, 1 << 20, &f, NULL), DZ_OK);
    assert_int_equal(dz_fetch_hold(f, DZ_KIND_NODE, &id, &held, NULL), DZ_E_CORRUPT);
    dz_fetch_free(DZ_TAKE(f));
    dz_vault_free(v);
}

static dz_status count_snapshot(void *ctx, const struct dz_snapshot *snap, dz_status status,
                                const dz_err *why, dz_err *err) {
    (void) snap, (void) why, (void) err;
    ((unsigned *) ctx)[status != DZ_OK]++;
    return DZ_OK;
}

/* A record that the host itself could have made, of the latest snapshot with another id. */
static void forge_commit(dz_buf *ret_bytes, char ret_file[80]) {
    struct dz_vault *v = open_vault();
    struct dz_snapshot snap = { 0 };
    uint8_t hash[DZ_SHA256_BYTES];

    find_snapshot(v, 2, &snap);
    dz_random(snap.commit.id, sizeof snap.commit.id);
    assert_int_equal(dz_commit_write(&snap.commit, v->host, ret_bytes, NULL), DZ_OK);
    dz_sha256(dz_buf_slice(ret_bytes), hash);
    memcpy(ret_file, "commits/", 9);
    dz_hex(hash, sizeof hash, ret_file + 8);
    dz_snapshot_release(&snap);
    dz_vault_free(v);
}

static void a_commit_without_a_leaf_is_no_snapshot(void **state) {
    dz_autobuf dz_buf bytes = { 0 };
    unsigned count[2] = { 0 };
    struct dz_vault *v;
    char file[80];

    (void) state;
    fixture_copy(&fx);
    forge_commit(&bytes, file);
    fixture_write(fx.vault, file, bytes.data, bytes.len);
    v = open_vault();
    assert_int_equal(dz_snapshots_each(v, count_snapshot, count, NULL), DZ_OK);
    assert_int_equal(count[0], FIXTURE_SNAPS);
    assert_int_equal(count[1], 0);
    dz_vault_free(v);
    fixture_verify(&fx, fx.vault, WITH_DATA, &found);
    if (found.n != 0 || found.result.leftovers != 1)
        found_fail(&found, "a leftover");
}

static void a_commit_that_is_swapped_for_another_is_refused(void **state) {
    dz_autobuf dz_buf bytes = { 0 };
    unsigned count[2] = { 0 };
    struct dz_vault *v;
    char forged[80];
    size_t n;
    char **files = fixture_files(fx.pristine, "commits/", &n);

    (void) state;
    fixture_copy(&fx);
    forge_commit(&bytes, forged);
    fixture_write(fx.vault, files[0], bytes.data, bytes.len);
    v = open_vault();
    assert_int_equal(dz_snapshots_each(v, count_snapshot, count, NULL), DZ_OK);
    assert_int_equal(count[0], FIXTURE_SNAPS - 1);
    assert_int_equal(count[1], 1);
    dz_vault_free(v);
    fixture_verify(&fx, fx.vault, CLOSED, &found);
    if (found.n != 1 || !found_object(&found, files[0]))
        found_fail(&found, "a swapped commit");
    fixture_files_free(files, n);
}

/* The host's root binds the reference tree of an older snapshot, so that prune would delete what
 * the newer one needs: only who reads the list of files can tell. */
static void a_reference_tree_of_another_snapshot_is_found(void **state) {
    DZ_AUTO(dz_session) s = NULL;
    struct dz_snapshot old = { 0 }, snap = { 0 };
    struct dz_vault *v;

    (void) state;
    fixture_copy(&fx);
    v = open_vault();
    find_snapshot(v, 0, &old);
    find_snapshot(v, 2, &snap);
    snap.commit.ref_root = old.commit.ref_root;
    snap.commit.root.ref = old.commit.root.ref;
    assert_int_equal(dz_session_begin(v, &s, NULL), DZ_OK);
    assert_int_equal(dz_session_commit(s, &snap.commit, NULL), DZ_OK);
    dz_session_free(DZ_TAKE(s));
    dz_snapshot_release(&old);
    dz_snapshot_release(&snap);
    dz_vault_free(v);

    fixture_verify(&fx, fx.vault, CLOSED, &found);
    assert_int_equal(found.n, 0);
    fixture_verify(&fx, fx.vault, OPENED, &found);
    if (found.n != 1 || found.at[0].what != DZ_VERIFY_DISAGREES ||
        strncmp(found.at[0].object, "commits/", 8) != 0)
        found_fail(&found, "a tree that does not agree");
}

/* Anybody who can write the index can say that the vault holds what it does not: a backup would
 * leave it out. */
static void an_index_that_says_more_than_the_packs_is_made_anew(void **state) {
    DZ_AUTO(dz_index_builder) b = NULL;
    const dz_name name = { { 9, 9, 9 } };
    uint8_t run[DZ_INDEX_ID_LEN];
    dz_place place = { .seg_offset = 32, .seg_len = 100, .type = DZ_KIND_DATA };
    char tmp[DZ_VAULT_TMP_NAME];
    struct dz_vault *v;
    size_t n;
    char **files = fixture_files(fx.pristine, "packs/", &n);
    int tmpfd;

    (void) state;
    fixture_copy(&fx);
    v = open_vault();
    assert_true(dz_unhex(files[0] + 6, 64, place.pack, sizeof place.pack));
    assert_int_equal(dz_vault_tmp_make(v, tmp, &tmpfd, NULL), DZ_OK);
    assert_int_equal(dz_index_builder_new(tmpfd, v->host->vault.b, DZ_INDEX_BUILD_MEMORY, &b, NULL),
                     DZ_OK);
    assert_int_equal(dz_index_builder_cover(b, place.pack, NULL), DZ_OK);
    assert_int_equal(dz_index_builder_add(b, name.b, &place, NULL), DZ_OK);
    assert_int_equal(dz_index_builder_finish(b, v->indexfd, run, NULL), DZ_OK);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    dz_vault_free(v);

    fixture_verify(&fx, fx.vault, CLOSED, &found);
    assert_int_equal(found.n, 0);
    assert_int_equal(found.result.rebuilt, n);
    fixture_verify(&fx, fx.vault, CLOSED, &found);
    assert_int_equal(found.result.rebuilt, 0);
    expect_all_readable();
    fixture_files_free(files, n);
}

static int setup(void **state) {
    (void) state;
    fixture_make(&fx);
    return 0;
}

static int teardown(void **state) {
    (void) state;
    fixture_drop(&fx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_pack_is_named_and_never_used),
        cmocka_unit_test(an_object_under_anothers_name_is_refused),
        cmocka_unit_test(an_object_that_is_only_there_as_a_fake_is_refused),
        cmocka_unit_test(a_commit_without_a_leaf_is_no_snapshot),
        cmocka_unit_test(a_commit_that_is_swapped_for_another_is_refused),
        cmocka_unit_test(a_reference_tree_of_another_snapshot_is_found),
        cmocka_unit_test(an_index_that_says_more_than_the_packs_is_made_anew),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
