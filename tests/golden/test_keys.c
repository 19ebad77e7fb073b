/* Keys of format version 1 derive as they always did, and what was sealed then opens now.
 *
 *   test_keys keys-v1.txt  */
#include <fcntl.h>

#include "core/durable.h"
#include "crypto/recipient.h"
#include "tests/unit/crypto/fixture.h"

static const char *vectors;

/* The rest of the file, read line by line: "name = hex". */
static dz_slice value(dz_reader *r, const char *name, uint8_t bytes[HEX_MAX]) {
    char text[2 * HEX_MAX + 1];
    size_t name_len = strlen(name);
    dz_slice line;

    do {
        line = dz_read_until(r, '\n');
        assert_true(dz_reader_ok(r));
    } while (line.len == 0 || line.data[0] == '#');
    assert_true(line.len > name_len + 3 && line.len - name_len - 3 <= 2 * HEX_MAX);
    assert_memory_equal(line.data, name, name_len);
    assert_memory_equal(line.data + name_len, " = ", 3);
    memcpy(text, line.data + name_len + 3, line.len - name_len - 3);
    text[line.len - name_len - 3] = '\0';
    return unhex(text, bytes);
}

static void expect(dz_reader *r, const char *name, const uint8_t *got, size_t len) {
    uint8_t want[HEX_MAX];
    dz_slice v = value(r, name, want);

    print_message("  %s\n", name);
    assert_int_equal(v.len, len);
    assert_memory_equal(v.data, got, len);
}

static void check_vault(dz_reader *r) {
    uint8_t root[HEX_MAX], id[HEX_MAX], epoch[HEX_MAX], bytes[HEX_MAX], key[DZ_KEY_BYTES];
    DZ_AUTO(dz_host_keys) host = NULL;
    DZ_AUTO(dz_host_keys) again = NULL;
    DZ_AUTO(dz_open_keys) open = NULL;
    char got[DZ_FINGERPRINT_TEXT], digits[17];
    dz_autobuf dz_buf file = { 0 };
    dz_vault_id vault;
    dz_slice v;
    dz_reader stanzas;

    assert_int_equal(value(r, "root", root).len, DZ_ROOT_BYTES);
    assert_int_equal(value(r, "vault", id).len, sizeof vault.b);
    assert_int_equal(value(r, "epoch", epoch).len, 4);
    memcpy(vault.b, id, sizeof vault.b);
    assert_int_equal(
        dz_keys_derive(root, &vault, (uint32_t) dz_load_le(epoch, 4), &host, &open, NULL), DZ_OK);
    expect(r, "recipient_secret", open->recipient_secret, sizeof open->recipient_secret);
    expect(r, "recipient", host->recipient, sizeof host->recipient);
    expect(r, "hedge", host->hedge, sizeof host->hedge);
    expect(r, "master", host->master, sizeof host->master);
    expect(r, "name", host->name, sizeof host->name);
    expect(r, "chunk", host->chunk, sizeof host->chunk);
    expect(r, "table", host->table, sizeof host->table);
    expect(r, "reference", host->reference, sizeof host->reference);
    expect(r, "cache", host->cache, sizeof host->cache);
    expect(r, "text", host->text, sizeof host->text);
    expect(r, "log_secret", host->log_secret, sizeof host->log_secret);
    expect(r, "log_public", host->log_public, sizeof host->log_public);

    v = value(r, "fingerprint", bytes);
    dz_hex(v.data, v.len, digits);
    dz_keys_fingerprint(host, got);
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(got + 5 * i, digits + 4 * i, 4);

    v = value(r, "host_file", bytes);
    dz_host_keys_write(host, &file);
    assert_true(dz_buf_ok(&file) && dz_slice_eq(v, dz_buf_slice(&file)));
    assert_int_equal(dz_host_keys_read(v, &again, NULL), DZ_OK);
    assert_memory_equal(again, host, sizeof *host);

    v = value(r, "sealed_key", bytes);
    stanzas = dz_reader_over(v);
    assert_int_equal(dz_recipient_open(host, open, DZ_SLICE_LIT("segment 1"), &stanzas, key, NULL),
                     DZ_OK);
    expect(r, "segment_key", key, sizeof key);
    v = value(r, "sealed_host_key", bytes);
    stanzas = dz_reader_over(v);
    assert_int_equal(dz_recipient_open(host, NULL, DZ_SLICE_LIT("segment 1"), &stanzas, key, NULL),
                     DZ_OK);
    expect(r, "host_segment_key", key, sizeof key);
}

static void version_1_is_read_for_ever(void **state) {
    dz_autobuf dz_buf file = { 0 };
    dz_reader r;
    (void) state;

    assert_int_equal(dz_read_file(AT_FDCWD, vectors, 65536, &file, NULL), DZ_OK);
    r = dz_reader_over(dz_buf_slice(&file));
    check_vault(&r);
    check_vault(&r);
    assert_true(dz_reader_done(&r));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(version_1_is_read_for_ever) };

    if (argc != 2 || dz_crypto_init(NULL) != DZ_OK)
        return 1;
    vectors = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
