#include "crypto/share_page.h"

#ifdef DZ_HAVE_PDF
#    include <cairo-pdf.h>
#    include <pango/pangocairo.h>
#    include <qrencode.h>
#    include <sodium.h>

#    include "core/hex.h"

/* A4 in points; everything stands inside the margins. */
static const double page_width = 595.28, page_height = 841.89, margin = 48;
static const double qr_size = 170; /* about 60 mm: 49 modules of 1.2 mm */
static const double checkpoint_qr_size = 260;

static const char text_font[] = "Noto Sans CJK JP, IPAexGothic, Noto Sans, sans-serif";
static const char mono_font[] = "Noto Sans Mono CJK JP, DejaVu Sans Mono, monospace";

struct page {
    cairo_t *cr;
    double y; /* where the next paragraph begins */
};

static cairo_status_t take_bytes(void *closure, const unsigned char *data, unsigned int len) {
    dz_buf *to = closure;

    dz_buf_put(to, data, len);
    return dz_buf_ok(to) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_NO_MEMORY;
}

/* Sets a paragraph at x, page->y in `width` and steps below it. */
static void put_text(struct page *page, const char *font, double size, bool bold, double x,
                     double width, const char *text) {
    PangoLayout *layout = pango_cairo_create_layout(page->cr);
    PangoFontDescription *desc = pango_font_description_from_string(font);
    int height = 0;

    pango_font_description_set_absolute_size(desc, size * PANGO_SCALE);
    pango_font_description_set_weight(desc, bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
    pango_layout_set_font_description(layout, desc);
    pango_layout_set_width(layout, (int) (width * PANGO_SCALE));
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_line_spacing(layout, 1.15F);
    pango_layout_set_text(layout, text, -1);
    pango_layout_get_size(layout, NULL, &height);
    cairo_move_to(page->cr, x, page->y);
    pango_cairo_show_layout(page->cr, layout);
    page->y += (double) height / PANGO_SCALE;
    pango_font_description_free(desc);
    g_object_unref(layout);
}

static void put_rule(struct page *page) {
    page->y += 7;
    cairo_set_line_width(page->cr, 0.6);
    cairo_move_to(page->cr, margin, page->y);
    cairo_line_to(page->cr, page_width - margin, page->y);
    cairo_stroke(page->cr);
    page->y += 8;
}

static dz_status put_qr(struct page *page, const char *text, double size, double x, double y,
                        dz_err *err) {
    double module;
    /* Level Q bears a quarter of the code torn or stained.  libqrencode finds by itself when the
     * text fits the alphanumeric mode. */
    QRcode *qr = QRcode_encodeString(text, 0, QR_ECLEVEL_Q, QR_MODE_8, 1);

    if (!qr)
        return DZ_FAIL_ERRNO(err, "cannot make a QR code");
    module = size / qr->width;
    for (int row = 0; row < qr->width; row++)
        for (int col = 0; col < qr->width; col++)
            if (qr->data[row * qr->width + col] & 1)
                cairo_rectangle(page->cr, x + col * module, y + row * module, module, module);
    cairo_fill(page->cr);
    sodium_memzero(qr->data, (size_t) qr->width * (size_t) qr->width);
    QRcode_free(qr);
    return DZ_OK;
}

static dz_status put_share_qr(struct page *page, const dz_share *share, double x, double y,
                              dz_err *err) {
    dz_autobuf_secret dz_buf text = { 0 };

    DZ_TRY(dz_share_write_qr(share, &text, err));
    dz_buf_put_u8(&text, 0);
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a QR code");
    return put_qr(page, (const char *) text.data, qr_size, x, y, err);
}

/* The groups, four a line, with the numbers people use on the telephone. */
static void put_groups(struct page *page, const dz_share *share) {
    char letters[DZ_SHARE_LETTERS + 1], cell[24];
    const double label = 26, step = (page_width - 2 * margin - label) / DZ_SHARE_LINE_GROUPS;
    const char *group = letters;

    dz_share_letters(share, letters);
    for (unsigned line = 0; line < DZ_SHARE_LINES; line++) {
        double top = page->y;

        (void) snprintf(cell, sizeof cell, "%u:", line + 1);
        put_text(page, mono_font, 15, false, margin, label, cell);
        for (unsigned i = 0; i < DZ_SHARE_LINE_GROUPS; i++, group += DZ_SHARE_GROUP_LETTERS) {
            page->y = top;
            (void) snprintf(cell, sizeof cell, "%.*s", DZ_SHARE_GROUP_LETTERS, group);
            put_text(page, mono_font, 19, true, margin + label + step * i, step, cell);
        }
        page->y += 3;
    }
    sodium_memzero(letters, sizeof letters);
    sodium_memzero(cell, sizeof cell);
}

static dz_status draw(struct page *page, const dz_share *share, const char *fingerprint,
                      dz_err *err) {
    const double full = page_width - 2 * margin, left = full - qr_size - 24;
    char vault[2 * DZ_VAULT_ID_BYTES + 1], text[700];
    double top;

    dz_hex(share->vault.b, sizeof share->vault.b, vault);
    put_text(page, text_font, 22, true, margin, full, "土蔵 Dozo  保管庫の鍵の分割片");
    put_text(page, text_font, 13, false, margin, full, "One share of the key to a backup vault");
    put_rule(page);

    top = page->y;
    DZ_TRY(put_share_qr(page, share, page_width - margin - qr_size, top + 4, err));
    (void) snprintf(text, sizeof text, "第 %u 片 / 全 %u 片　Share %u of %u", share->x,
                    share->count, share->x, share->count);
    put_text(page, text_font, 16, true, margin, left, text);
    (void) snprintf(text, sizeof text,
                    "%u 片のうち %u 片そろうと保管庫が開きます。\nAny %u of the %u open the vault.",
                    share->count, share->threshold, share->threshold, share->count);
    put_text(page, text_font, 11, false, margin, left, text);
    page->y += 8;
    put_text(page, text_font, 9, false, margin, left, "保管庫の指紋 Fingerprint of the vault");
    put_text(page, mono_font, 15, true, margin, left, fingerprint);
    (void) snprintf(text, sizeof text, "vault %s\nepoch %u", vault, share->epoch);
    put_text(page, mono_font, 8, false, margin, left, text);
    page->y += 8;
    put_text(page, text_font, 9, false, margin, left,
             "保管者 Custodian: ____________________________\n"
             "日付 Date: ________________　封印 Seal: ____________");
    if (page->y < top + qr_size + 8)
        page->y = top + qr_size + 8;
    put_rule(page);

    put_groups(page, share);
    put_text(
        page, text_font, 8.5, false, margin, full,
        "各組の 5 文字目は検査文字です。I・L は 1、O は 0、U は V とみなします。 "
        "The fifth letter of each group is its check letter. I and L count as 1, O as 0, U as V.");
    put_rule(page);

    put_text(page, text_font, 11, true, margin, full, "保管のしかた  How to keep it");
    put_text(
        page, text_font, 9.5, false, margin, full,
        "・封筒に入れて封をし、保管庫の機器とも他の片とも別の、鍵のかかる場所に置いてください。\n"
        "・写真を撮らず、コピーせず、メールや共有フォルダに入れないでください。\n"
        "・失くしたとき、人に見られたときは、すぐに管理者へ知らせてください。\n"
        "• Seal it in an envelope, under lock, away from the vault and from the other shares.\n"
        "• No photographs, no copies, no e-mail, no shared folder.\n"
        "• Lost, or seen by somebody? Tell the administrator at once.");
    page->y += 6;
    put_text(page, text_font, 11, true, margin, full, "使いかた  How to use it");
    put_text(page, text_font, 9.5, false, margin, full,
             "1. 画面に出る保管庫の指紋が、上の指紋と同じであることを確かめます。\n"
             "2. QR コードを読み取るか、上の 28 組の文字を打ち込み、ファイルに保存します。\n"
             "3. 必要な数の片をそろえて実行します。打ち間違いは組の番号で知らされます。\n"
             "1. See that the fingerprint on the screen is the one above.\n"
             "2. Scan the QR code, or type the 28 groups, into a file.\n"
             "3. With enough shares, run the line below. A mistyped group is named by its number.");
    page->y += 4;
    put_text(page, mono_font, 9, false, margin, full,
             "dozo --vault DIR --key SHARE1 --key SHARE2 … snapshots");
    return DZ_OK;
}

static dz_status draw_checkpoint(struct page *page, const char *checkpoint, const char *fingerprint,
                                 dz_err *err) {
    const double full = page_width - 2 * margin;

    put_text(page, text_font, 22, true, margin, full, "土蔵 Dozo  記録のチェックポイント");
    put_text(page, text_font, 13, false, margin, full, "A checkpoint of a backup vault's log");
    put_rule(page);
    DZ_TRY(put_qr(page, checkpoint, checkpoint_qr_size, (page_width - checkpoint_qr_size) / 2,
                  page->y + 4, err));
    page->y += checkpoint_qr_size + 14;
    put_text(page, text_font, 9, false, margin, full, "保管庫の指紋 Fingerprint of the vault");
    put_text(page, mono_font, 15, true, margin, full, fingerprint);
    put_text(page, mono_font, 7.5, false, margin, full, checkpoint);
    put_text(page, text_font, 9, false, margin, full,
             "印刷した人 Printed by: ____________________　日付 Date: ________________");
    put_rule(page);
    put_text(
        page, text_font, 9.5, false, margin, full,
        "・秘密ではありません。保管庫の機器とは別の場所に、改ざんされないように保管してください。\n"
        "・記録が書き換えられたり巻き戻されたりすると、この紙と合わなくなります。\n"
        "• It is no secret. Keep it away from the vault's machine, where nobody can exchange it.\n"
        "• A log that is rewritten or rolled back no longer agrees with this paper. To check:");
    page->y += 4;
    put_text(page, mono_font, 9, false, margin, full,
             "dozo --vault DIR witness check --qr-text FILE");
    return DZ_OK;
}

/* What is drawn: a share, or a checkpoint. */
struct content {
    const dz_share *share;
    const char *checkpoint;
    const char *fingerprint;
};

static dz_status make_page(const struct content *c, const char *title, dz_buf *to, dz_err *err) {
    cairo_surface_t *surface =
        cairo_pdf_surface_create_for_stream(take_bytes, to, page_width, page_height);
    struct page page = { cairo_create(surface), margin };
    cairo_status_t drawn;
    dz_status st;

    /* No date of creation: a page printed twice is the same file. */
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, title);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "");
    st = c->share ? draw(&page, c->share, c->fingerprint, err)
                  : draw_checkpoint(&page, c->checkpoint, c->fingerprint, err);
    drawn = cairo_status(page.cr);
    cairo_destroy(page.cr);
    cairo_surface_finish(surface);
    if (drawn == CAIRO_STATUS_SUCCESS)
        drawn = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (st != DZ_OK)
        return st;
    if (!dz_buf_ok(to))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a page");
    if (drawn != CAIRO_STATUS_SUCCESS)
        return DZ_FAIL(err, DZ_E_IO, "cannot draw a page: %s", cairo_status_to_string(drawn));
    return DZ_OK;
}

dz_status dz_share_page(const dz_share *share, const char *fingerprint, dz_buf *to, dz_err *err) {
    const struct content c = { .share = share, .fingerprint = fingerprint };

    return make_page(&c, "Dozo share", to, err);
}

dz_status dz_checkpoint_page(const char *checkpoint, const char *fingerprint, dz_buf *to,
                             dz_err *err) {
    const struct content c = { .checkpoint = checkpoint, .fingerprint = fingerprint };

    if (strlen(checkpoint) > DZ_CHECKPOINT_PAGE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a checkpoint of %zu bytes; %d fit a QR code",
                       strlen(checkpoint), (int) DZ_CHECKPOINT_PAGE_MAX);
    return make_page(&c, "Dozo checkpoint", to, err);
}

#else

dz_status dz_share_page(const dz_share *share, const char *fingerprint, dz_buf *to, dz_err *err) {
    (void) share, (void) fingerprint, (void) to;
    return DZ_FAIL(err, DZ_E_UNSUPPORTED, "this dozo was built without PDF: print the text file");
}

dz_status dz_checkpoint_page(const char *checkpoint, const char *fingerprint, dz_buf *to,
                             dz_err *err) {
    (void) checkpoint, (void) fingerprint, (void) to;
    return DZ_FAIL(err, DZ_E_UNSUPPORTED, "this dozo was built without PDF: print the text");
}
#endif
