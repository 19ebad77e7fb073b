#include "guard/magic.h"

#include <stdlib.h>

/* ---- the content ---- */

struct signature {
    uint8_t type;
    uint16_t at; /* offset in the file */
    uint8_t len;
    char bytes[17];
};
#define SIG(type, at, bytes) \
    { DZ_TYPE_##type, at, sizeof(bytes) - 1, bytes }

/* The first that fits decides, so the longer of two that begin alike stands first. */
static const struct signature signatures[] = {
    SIG(JPEG, 0, "\xff\xd8\xff"),
    SIG(ZIP, 0, "PK\3\4"),
    SIG(ZIP, 0, "PK\5\6"),  /* empty */
    SIG(ZIP, 0, "PK\7\10"), /* spanned */
    SIG(PDF, 0, "%PDF-"),
    SIG(DICOM, 128, "DICM"),
    SIG(HL7, 0, "MSH|"),
    SIG(HL7, 0, "\x0bMSH|"), /* with the MLLP frame kept */
    SIG(HL7, 0, "FHS|"),
    SIG(HL7, 0, "BHS|"),
    SIG(XML, 0, "<?xml"),
    SIG(XML, 0, "\xef\xbb\xbf<?xml"),
    SIG(XML, 0, "\xff\xfe<\0?\0x\0"),
    SIG(XML, 0, "\xfe\xff\0<\0?\0x"),
    SIG(PNG, 0, "\x89PNG\r\n\x1a\n"),
    SIG(GIF, 0, "GIF87a"),
    SIG(GIF, 0, "GIF89a"),
    SIG(TIFF, 0, "II*\0"),
    SIG(TIFF, 0, "MM\0*"),
    SIG(TIFF, 0, "II+\0"), /* BigTIFF */
    SIG(TIFF, 0, "MM\0+"),
    SIG(GZIP, 0, "\x1f\x8b\x08"),
    SIG(ZSTD, 0, "\x28\xb5\x2f\xfd"),
    SIG(XZ, 0, "\xfd\x37zXZ\0"),
    SIG(SEVENZIP, 0, "7z\xbc\xaf\x27\x1c"),
    SIG(RAR, 0, "Rar!\x1a\x07"),
    SIG(LZ4, 0, "\x04\x22\x4d\x18"),
    SIG(LZIP, 0, "LZIP"),
    SIG(ELF, 0,
        "\x7f"
        "ELF"),
    SIG(SQLITE, 0, "SQLite format 3\0"),
    SIG(PGDUMP, 0, "PGDMP"),
    SIG(RIFF, 0, "RIFF"),
    SIG(OLE2, 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    SIG(AR, 0, "!<arch>\n"),
    SIG(TAR, 257, "ustar"),
    SIG(WASM, 0, "\0asm"),
    SIG(WOFF, 0, "wOFF"),
    SIG(WOFF, 0, "wOF2"),
    SIG(MP4, 4, "ftyp"),
    SIG(MP3, 0, "ID3"),
    SIG(LUKS, 0, "LUKS\xba\xbe"),
    SIG(EVTX, 0, "ElfFile\0"),
    SIG(REGISTRY, 0, "regf"),
    SIG(RTF, 0, "{\\rtf"),
    SIG(POSTSCRIPT, 0, "%!PS"),
    SIG(SCRIPT, 0, "#!/"),
    SIG(SCRIPT, 0, "#! /"),
    SIG(OGG, 0, "OggS"),
    SIG(FLAC, 0, "fLaC"),
    SIG(MATROSKA, 0, "\x1a\x45\xdf\xa3"),
    SIG(JET, 0, "\0\1\0\0Standard "),
    SIG(SFNT, 0, "OTTO"),
    SIG(SFNT, 0, "ttcf"),
    SIG(GIT_PACK, 0, "PACK\0\0\0\2"),
    SIG(CAB, 0, "MSCF\0\0\0\0"),
    SIG(LNK, 0, "L\0\0\0\1\x14\2\0"),
    SIG(PST, 0, "!BDN"),
    SIG(VMDK, 0, "KDMV"),
    SIG(VMDK, 0, "# Disk Descripto"),
    SIG(VHDX, 0, "vhdxfile"),
    SIG(QCOW2, 0, "QFI\xfb"),
    SIG(JPEG2000, 0, "\0\0\0\x0cjP  \r\n\x87\n"),
    SIG(JPEG2000, 0, "\xff\x4f\xff\x51"),
    SIG(JXL, 0, "\0\0\0\x0cJXL "),
    SIG(PEM, 0, "-----BEGIN "),
    SIG(PSD, 0, "8BPS"),
    SIG(PCAP, 0, "\xd4\xc3\xb2\xa1"),
    SIG(PCAP, 0, "\xa1\xb2\xc3\xd4"),
    SIG(PCAP, 0, "\x0a\x0d\x0d\x0a"),
    SIG(ESE, 4, "\xef\xcd\xab\x89"),
};

static bool has(dz_slice s, size_t at, const void *bytes, size_t len) {
    return at <= s.len && len <= s.len - at && memcmp(s.data + at, bytes, len) == 0;
}

static bool starts_without_case(dz_slice s, const char *lower) {
    size_t i = 0;

    for (; lower[i] && i < s.len; i++) {
        uint8_t b = s.data[i];
        if (b >= 'A' && b <= 'Z')
            b = (uint8_t) (b + 32);
        if (b != (uint8_t) lower[i])
            return false;
    }
    return lower[i] == '\0';
}

static uint64_t be(const uint8_t *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* PostgreSQL, storage/bufpage.h: the header of a table or index page.  24 bytes that leave little
 * to chance: the size and version word alone is two fixed bytes. */
static bool is_postgresql_page(dz_slice head, uint64_t file_len) {
    uint64_t flags, lower, upper, special, size, version;

    if (head.len < 24)
        return false;
    flags = dz_load_le(head.data + 10, 2);
    lower = dz_load_le(head.data + 12, 2);
    upper = dz_load_le(head.data + 14, 2);
    special = dz_load_le(head.data + 16, 2);
    size = dz_load_le(head.data + 18, 2) & 0xff00;
    version = dz_load_le(head.data + 18, 2) & 0xff;
    return version >= 4 && version <= 5 && (size == 4096 || size == 8192 || size == 16384) &&
           file_len % size == 0 && (flags & ~7u) == 0 && lower >= 24 && lower <= upper &&
           upper <= special && special <= size;
}

/* "MZ" is two bytes; so the PE header must be where it points, or out of our sight. */
static bool is_pe(dz_slice head, uint64_t file_len) {
    uint64_t at;

    if (head.len < 64 || !has(head, 0, "MZ", 2))
        return false;
    at = dz_load_le(head.data + 60, 4);
    if (at < 64 || at % 4 != 0 || at > 4096 || at + 24 > file_len)
        return false;
    return at + 4 > head.len || has(head, (size_t) at, "PE\0\0", 4);
}

/* Types whose fixed bytes are too few, and which other bytes must confirm. */
static dz_type confirmed_type(dz_slice head, uint64_t file_len) {
    const uint8_t *p = head.data;

    if (head.len >= 4 && has(head, 0, "BZh", 3) && p[3] >= '1' && p[3] <= '9')
        return DZ_TYPE_BZIP2;
    if (is_pe(head, file_len))
        return DZ_TYPE_PE;
    if (head.len >= 10 && has(head, 0, "BM", 2) && dz_load_le(p + 2, 4) == file_len &&
        dz_load_le(p + 6, 4) == 0)
        return DZ_TYPE_BMP;
    if (head.len >= 8 && has(head, 0, "\xca\xfe\xba\xbe", 4) && be(p + 6, 2) >= 45 &&
        be(p + 6, 2) < 200)
        return DZ_TYPE_JAVA_CLASS; /* a fat Mach-O file begins alike, with a small count */
    if (head.len >= 12 && has(head, 0, "\0\1\0\0\0", 5) && p[5] >= 4 && p[5] <= 64)
        return DZ_TYPE_SFNT;
    if (head.len >= 16 && p[1] == 0x0d && p[2] == 0x0d && p[3] == 0x0a && p[4] <= 3 &&
        has(head, 5, "\0\0\0", 3))
        return DZ_TYPE_PYC;
    if (head.len >= 5 && has(head, 0, "\x30\x82", 2) && be(p + 2, 2) + 4 == file_len &&
        (p[4] == 0x02 || p[4] == 0x06 || p[4] == 0x30))
        return DZ_TYPE_DER;
    if (starts_without_case(head, "<!doctype html") || starts_without_case(head, "<html"))
        return DZ_TYPE_HTML;
    if (is_postgresql_page(head, file_len))
        return DZ_TYPE_PGPAGE;
    return DZ_TYPE_NONE;
}

dz_type dz_magic_type(dz_slice head, uint64_t file_len) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *s = &signatures[i];
        if (has(head, s->at, s->bytes, s->len))
            return (dz_type) s->type;
    }
    return head.len > 0 ? confirmed_type(head, file_len) : DZ_TYPE_NONE;
}

/* ---- the name ---- */

enum { PROMISE_MAX = 3, EXTENSION_MAX = 10 };

struct promise {
    char extension[EXTENSION_MAX + 1];
    bool text;                  /* any text will do */
    uint8_t types[PROMISE_MAX]; /* any of these will do; 0: no more */
};
#define T1(e, a)        \
    {                   \
        e, false, {     \
            DZ_TYPE_##a \
        }               \
    }
#define T2(e, a, b)                  \
    {                                \
        e, false, {                  \
            DZ_TYPE_##a, DZ_TYPE_##b \
        }                            \
    }
#define T3(e, a, b, c)                            \
    {                                             \
        e, false, {                               \
            DZ_TYPE_##a, DZ_TYPE_##b, DZ_TYPE_##c \
        }                                         \
    }
#define TEXT(e)    \
    {              \
        e, true, { \
            0      \
        }          \
    }
#define TEXT_OR(e, a)   \
    {                   \
        e, true, {      \
            DZ_TYPE_##a \
        }               \
    }

/* Sorted by extension, for bsearch.  Left out: extensions that say nothing (dat, bin, db, bak). */
static const struct promise promises[] = {
    T1("7z", SEVENZIP),
    T1("a", AR),
    T2("accdb", JET, OLE2),
    TEXT_OR("asc", PEM),
    T1("avi", RIFF),
    TEXT("bat"),
    T1("bmp", BMP),
    T1("bz2", BZIP2),
    TEXT("c"),
    T1("cab", CAB),
    TEXT("cfg"),
    T1("class", JAVA_CLASS),
    TEXT("cmd"),
    TEXT("conf"),
    TEXT("cpp"),
    TEXT("cs"),
    TEXT("css"),
    TEXT("csv"),
    T1("dcm", DICOM),
    T1("deb", AR),
    T1("der", DER),
    T1("dicom", DICOM),
    T1("dit", ESE),
    T1("dll", PE),
    T3("doc", OLE2, RTF, ZIP),
    T2("docm", ZIP, OLE2), /* Office keeps a password-protected file in OLE2 */
    T2("docx", ZIP, OLE2),
    T1("dot", OLE2),
    T2("dotx", ZIP, OLE2),
    T1("edb", ESE),
    T1("eps", POSTSCRIPT),
    T1("epub", ZIP),
    T1("evtx", EVTX),
    T1("exe", PE),
    T1("flac", FLAC),
    T1("gif", GIF),
    TEXT("go"),
    T1("gz", GZIP),
    TEXT("h"),
    T1("heic", MP4),
    TEXT_OR("hl7", HL7),
    TEXT("hpp"),
    TEXT("htm"),
    TEXT("html"),
    TEXT("ini"),
    T1("j2k", JPEG2000),
    T1("jar", ZIP),
    TEXT("java"),
    T1("jp2", JPEG2000),
    T1("jpeg", JPEG),
    T1("jpg", JPEG),
    TEXT("js"),
    TEXT("json"),
    T1("jxl", JXL),
    TEXT("ldif"),
    T1("lnk", LNK),
    TEXT("log"),
    T1("lz", LZIP),
    T1("lz4", LZ4),
    T2("m4a", MP4, MP3),
    T1("m4v", MP4),
    TEXT("md"),
    T1("mdb", JET),
    T1("mkv", MATROSKA),
    T1("mov", MP4),
    T1("mp4", MP4),
    T1("msg", OLE2),
    T1("msi", OLE2),
    T1("odp", ZIP),
    T1("ods", ZIP),
    T1("odt", ZIP),
    T3("ogg", OGG, FLAC, MP3),
    T1("ost", PST),
    T1("otf", SFNT),
    T1("pcap", PCAP),
    T1("pcapng", PCAP),
    T1("pdf", PDF),
    TEXT_OR("pem", PEM),
    TEXT("php"),
    TEXT("pl"),
    T1("png", PNG),
    T1("pot", OLE2),
    T2("ppt", OLE2, ZIP),
    T2("pptm", ZIP, OLE2),
    T2("pptx", ZIP, OLE2),
    TEXT("properties"),
    T1("ps", POSTSCRIPT),
    TEXT("ps1"),
    T1("psd", PSD),
    T1("pst", PST),
    TEXT("py"),
    T1("pyc", PYC),
    T1("qcow2", QCOW2),
    T1("rar", RAR),
    TEXT("rb"),
    T1("rtf", RTF),
    TEXT("sh"),
    T1("so", ELF),
    TEXT("sql"),
    T1("sqlite", SQLITE),
    T1("sqlite3", SQLITE),
    TEXT_OR("svg", GZIP),
    T1("sys", PE),
    T1("tar", TAR),
    T1("tgz", GZIP),
    T1("tif", TIFF),
    T1("tiff", TIFF),
    TEXT("toml"),
    TEXT("ts"),
    TEXT("tsv"),
    T1("ttc", SFNT),
    T1("ttf", SFNT),
    TEXT("txt"),
    TEXT("uke"), /* claims to the insurer: Shift_JIS lines */
    TEXT("vbs"),
    T1("vhdx", VHDX),
    T1("vmdk", VMDK),
    T1("wasm", WASM),
    T1("wav", RIFF),
    T1("webm", MATROSKA),
    T1("webp", RIFF),
    T1("whl", ZIP),
    T1("woff", WOFF),
    T1("woff2", WOFF),
    T3("xls", OLE2, ZIP, HTML), /* programs write tables as HTML under this name */
    T2("xlsb", ZIP, OLE2),
    T2("xlsm", ZIP, OLE2),
    T2("xlsx", ZIP, OLE2),
    TEXT("xml"),
    TEXT("xsd"),
    TEXT("xsl"),
    T1("xz", XZ),
    TEXT("yaml"),
    TEXT("yml"),
    T1("zip", ZIP),
    T1("zst", ZSTD),
};

static int compare_promise(const void *key, const void *row) {
    return strcmp(key, ((const struct promise *) row)->extension);
}

static const struct promise *find_promise(dz_slice name) {
    char extension[EXTENSION_MAX + 1];
    size_t n = 0;

    while (n < name.len && name.data[name.len - 1 - n] != '.')
        if (++n > EXTENSION_MAX)
            return NULL;
    if (n == name.len) /* no dot */
        return NULL;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = name.data[name.len - n + i];
        extension[i] = (char) (b >= 'A' && b <= 'Z' ? b + 32 : b);
    }
    extension[n] = '\0';
    return bsearch(extension, promises, sizeof promises / sizeof *promises, sizeof *promises,
                   compare_promise);
}

static bool type_is_text(dz_type type) {
    static const uint64_t text_types =
        1ull << DZ_TYPE_HL7 | 1ull << DZ_TYPE_XML | 1ull << DZ_TYPE_HTML | 1ull << DZ_TYPE_SCRIPT |
        1ull << DZ_TYPE_PEM | 1ull << DZ_TYPE_RTF | 1ull << DZ_TYPE_POSTSCRIPT;
    _Static_assert(DZ_TYPE_COUNT <= 64, "one bit per type");

    return type < DZ_TYPE_COUNT && (text_types >> type & 1) != 0;
}

dz_type_fit dz_magic_fit(dz_slice name, dz_type type, bool is_text) {
    const struct promise *p = find_promise(name);

    if (!p)
        return type == DZ_TYPE_NONE ? DZ_FIT_UNKNOWN : DZ_FIT_NO_NAME;
    for (size_t i = 0; i < PROMISE_MAX && p->types[i]; i++)
        if (p->types[i] == type)
            return DZ_FIT_YES;
    if (p->text && (type == DZ_TYPE_NONE || type_is_text(type)))
        return type_is_text(type) || is_text ? DZ_FIT_YES : DZ_FIT_NOT_TEXT;
    return type == DZ_TYPE_NONE ? DZ_FIT_MISSING : DZ_FIT_OTHER;
}

const char *dz_type_name(unsigned type) {
    static const char *const names[] = {
#define X(symbol, number, name) [number] = name, // NOLINT(bugprone-macro-parentheses)
        DZ_TYPES(X)
#undef X
    };
    return type < DZ_TYPE_COUNT ? names[type] : "?";
}
