/* dozo-share-page FINGERPRINT [--checkpoint] <TEXT >PDF -- the printed page of one share, or of a
 * checkpoint of the log.
 *
 * A program of its own, for two reasons: pango and cairo leave copies of the letters in memory that
 * nobody wipes, and this process ends at once; and loading them would cost every dozo command
 * 10 ms.  `dozo init` runs it once for each share, `dozo checkpoint --qr` once. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/durable.h"
#include "crypto/share_page.h"

static dz_status read_all(int fd, dz_buf *to, dz_err *err) {
    uint8_t *at =
        dz_buf_extend(to, DZ_SHARE_TEXT_MAX + 1); /* one more: to see that it is too long */
    size_t len = 0;
    ssize_t n = 1;

    if (!at)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a share's text");
    while (n != 0 && len < to->len) {
        n = read(fd, at + len, to->len - len);
        if (n < 0 && errno != EINTR)
            return DZ_FAIL_ERRNO(err, "cannot read the share");
        if (n > 0)
            len += (size_t) n;
    }
    to->len = len;
    return DZ_OK;
}

static dz_status print_share(const char *fingerprint, dz_slice text, dz_buf *pdf, dz_err *err) {
    dz_share share;
    dz_status st;

    DZ_TRY(dz_share_read(text, &share, err));
    st = dz_share_page(&share, fingerprint, pdf, err);
    explicit_bzero(&share, sizeof share);
    return st;
}

static dz_status print_page(const char *fingerprint, bool checkpoint, dz_err *err) {
    dz_autobuf_secret dz_buf text = { 0 };
    dz_autobuf_secret dz_buf pdf = { 0 };

    DZ_TRY(dz_crypto_init(err));
    DZ_TRY(read_all(STDIN_FILENO, &text, err));
    if (checkpoint) {
        dz_buf_put_u8(&text, 0);
        if (!dz_buf_ok(&text))
            return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a checkpoint's text");
        DZ_TRY(dz_checkpoint_page((const char *) text.data, fingerprint, &pdf, err));
    } else {
        DZ_TRY(print_share(fingerprint, dz_buf_slice(&text), &pdf, err));
    }
    if (dz_write_all(STDOUT_FILENO, dz_buf_slice(&pdf)) != 0)
        return DZ_FAIL_ERRNO(err, "cannot write the page");
    return DZ_OK;
}

int main(int argc, char **argv) {
    bool checkpoint = argc == 3 && strcmp(argv[2], "--checkpoint") == 0;
    dz_err err = { 0 };

    if ((argc != 2 && !checkpoint) || strlen(argv[1]) != DZ_FINGERPRINT_TEXT - 1) {
        (void) fprintf(stderr, "usage: dozo-share-page FINGERPRINT [--checkpoint] <TEXT >PDF\n");
        return 2;
    }
    if (print_page(argv[1], checkpoint, &err) != DZ_OK) {
        (void) fprintf(stderr, "dozo-share-page: %s\n", err.what);
        return 3;
    }
    return 0;
}
