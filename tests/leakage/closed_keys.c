/* What dozo itself opens with host keys alone: closed_keys VAULT
 *
 * Prints a line a segment: pack, offset, kind, and "closed" or "open"; anything else fails. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "store/pack.h"
#include "store/segment.h"
#include "store/vault.h"

static dz_status try_segment(struct dz_vault *v, struct dz_coder *coder, int fd, const char *pack,
                             const dz_pack_segment *row, dz_err *err) {
    struct dz_segment seg = { 0 };
    dz_autobuf dz_buf sealed = { 0 };
    dz_status s;

    if (!dz_buf_extend(&sealed, row->length))
        return DZ_FAIL(err, DZ_E_NOMEM, "out of memory");
    if (dz_pread_all(fd, sealed.data, row->length, row->offset) < 0)
        return DZ_FAIL_ERRNO(err, "reading a segment");
    s = dz_segment_open(coder, v->host, NULL, dz_buf_slice(&sealed), &seg, err);
    dz_segment_release(&seg);
    if (s != DZ_OK && s != DZ_E_CLOSED)
        return s;
    (void) printf("%s %" PRIu32 " %u %s\n", pack, row->offset, row->kind,
                  s == DZ_OK ? "open" : "closed");
    return DZ_OK;
}

static dz_status try_pack(struct dz_vault *v, struct dz_coder *coder, const char *name,
                          dz_err *err) {
    dz_autoclose int fd = openat(v->packsfd, name, O_RDONLY | O_CLOEXEC);
    dz_pack_table t = { 0 };
    struct stat st;
    dz_status s;

    if (fd < 0 || fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "opening a pack");
    DZ_TRY(dz_pack_table_read(fd, (uint64_t) st.st_size, v->host, &t, err));
    s = DZ_OK;
    for (size_t i = 0; s == DZ_OK && i < t.n_segments; i++)
        s = try_segment(v, coder, fd, name, &t.segments[i], err);
    dz_pack_table_release(&t);
    return s;
}

static dz_status run(const char *path, dz_err *err) {
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_coder) coder = NULL;
    dz_status s = DZ_OK;
    struct dirent *e;
    DIR *d;

    DZ_TRY(dz_crypto_init(err));
    DZ_TRY(dz_vault_open(path, &v, err));
    DZ_TRY(dz_coder_new(&coder, err));
    d = fdopendir(openat(v->packsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!d)
        return DZ_FAIL_ERRNO(err, "listing packs");
    while (s == DZ_OK && (e = readdir(d)))
        if (e->d_name[0] != '.')
            s = try_pack(v, coder, e->d_name, err);
    (void) closedir(d);
    return s;
}

int main(int argc, char **argv) {
    dz_err err = { 0 };

    if (argc != 2 || run(argv[1], &err) != DZ_OK) {
        (void) fprintf(stderr, "closed_keys: %s\n", argc != 2 ? "VAULT" : err.what);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
