/* guard/magic.h -- what a file's first bytes say it is, and what its name promises.
 *
 * Ransomware takes the header away, and that is the strongest single sign of it.  So a type is
 * recognised by three bytes or more: with fewer, random bytes look like something too often.
 * The numbers of the types are part of the feature record (docs/format/features.md): a type never
 * changes its number, and new ones are added at the end.  Everything here is a pure function. */
#pragma once

#include "core/slice.h"

/* X(symbol, number, name in listings) */
#define DZ_TYPES(X)                  \
    X(NONE, 0, "none")               \
    X(JPEG, 1, "jpeg")               \
    X(PNG, 2, "png")                 \
    X(GIF, 3, "gif")                 \
    X(TIFF, 4, "tiff")               \
    X(BMP, 5, "bmp")                 \
    X(PDF, 6, "pdf")                 \
    X(ZIP, 7, "zip")                 \
    X(GZIP, 8, "gzip")               \
    X(ZSTD, 9, "zstd")               \
    X(XZ, 10, "xz")                  \
    X(BZIP2, 11, "bzip2")            \
    X(SEVENZIP, 12, "7z")            \
    X(RAR, 13, "rar")                \
    X(LZ4, 14, "lz4")                \
    X(ELF, 15, "elf")                \
    X(PE, 16, "pe")                  \
    X(SQLITE, 17, "sqlite")          \
    X(DICOM, 18, "dicom")            \
    X(PGDUMP, 19, "pg_dump")         \
    X(PGPAGE, 20, "postgresql-page") \
    X(HL7, 21, "hl7")                \
    X(XML, 22, "xml")                \
    X(RIFF, 23, "riff")              \
    X(OLE2, 24, "ole2")              \
    X(AR, 25, "ar")                  \
    X(TAR, 26, "tar")                \
    X(JAVA_CLASS, 27, "java-class")  \
    X(WASM, 28, "wasm")              \
    X(WOFF, 29, "woff")              \
    X(MP4, 30, "mp4")                \
    X(MP3, 31, "mp3")                \
    X(LUKS, 32, "luks")              \
    X(EVTX, 33, "evtx")              \
    X(REGISTRY, 34, "registry-hive") \
    X(RTF, 35, "rtf")                \
    X(POSTSCRIPT, 36, "postscript")  \
    X(SCRIPT, 37, "script")          \
    X(HTML, 38, "html")              \
    X(OGG, 39, "ogg")                \
    X(FLAC, 40, "flac")              \
    X(MATROSKA, 41, "matroska")      \
    X(SFNT, 42, "font")              \
    X(GIT_PACK, 43, "git-pack")      \
    X(CAB, 44, "cab")                \
    X(LNK, 45, "lnk")                \
    X(PST, 46, "pst")                \
    X(JET, 47, "access")             \
    X(VMDK, 48, "vmdk")              \
    X(VHDX, 49, "vhdx")              \
    X(QCOW2, 50, "qcow2")            \
    X(JPEG2000, 51, "jpeg2000")      \
    X(PEM, 52, "pem")                \
    X(PSD, 53, "psd")                \
    X(PCAP, 54, "pcap")              \
    X(LZIP, 55, "lzip")              \
    X(PYC, 56, "python-bytecode")    \
    X(DER, 57, "der")                \
    X(JXL, 58, "jpeg-xl")            \
    X(ESE, 59, "ese")

typedef enum dz_type {
#define X(symbol, number, name) DZ_TYPE_##symbol = (number),
    DZ_TYPES(X)
#undef X
        DZ_TYPE_COUNT /* a newer dozo may know more */
} dz_type;

/* As much of a file's start as dz_magic_type() can use. */
enum { DZ_MAGIC_HEAD = 512 };

/* The type that the first bytes of a file have; `head` is the file's first DZ_MAGIC_HEAD bytes,
 * or all of a shorter file.  `file_len`, in bytes, rules out what cannot be. */
dz_type dz_magic_type(dz_slice head, uint64_t file_len);

/* Whether a file is what its name says.  The numbers are in the record. */
typedef enum dz_type_fit {
    DZ_FIT_UNKNOWN = 0,  /* neither name nor content names a type */
    DZ_FIT_YES = 1,      /* the content has a type that the name promises; or both are plain text */
    DZ_FIT_MISSING = 2,  /* the name promises a type, and the content has none: a lost header */
    DZ_FIT_OTHER = 3,    /* the name promises one type and the content has another */
    DZ_FIT_NO_NAME = 4,  /* the content has a type and the name has no known extension */
    DZ_FIT_NOT_TEXT = 5, /* the name promises text, and the content is binary of no known type */
    DZ_FIT_COUNT
} dz_type_fit;

/* `name` is the last component of the path, bytes of any kind; `is_text` says whether the content
 * reads as text in some character set. */
dz_type_fit dz_magic_fit(dz_slice name, dz_type type, bool is_text);

/* "jpeg"; "?" for a number that this dozo does not know.  Static storage. */
const char *dz_type_name(unsigned type);
