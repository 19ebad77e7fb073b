/* tests/crash/crash_os.h -- records what is done to a directory, and shows what a power cut at any
 * moment may leave of it.
 *
 *   crash_os_record(dir) ─▶ init, backups ... ─▶ crash_os_stop()
 *   for each moment, for each variant:  crash_os_image() ─▶ a directory as found after the cut
 *
 * What is assumed of disk and file system:
 *
 *  - fsync() of a file makes its bytes and length durable, and nothing else: not its name.
 *  - fsync() of a directory makes the names in it durable as they are at that moment, whatever was
 *    done to it before by anybody; not the bytes of the files, not the directory's own name.
 *  - A sync that the cut interrupts may have done nothing.
 *  - What is not synced may be there or not.  Bytes, in sectors of 512: none of them, all, a
 *    beginning of them that ends within a write, or any sectors of them while the others hold what
 *    was there before, zeros or noise.  The length may be right where the bytes are not.
 *  - Names that are not synced: those of a directory up to some moment, each directory by itself,
 *    so that a file that was moved may be found under both names or under none; or, as journals
 *    have it, all names up to one moment.
 *  - A sector is written whole or not at all, and what is durable does not rot.  rename() over a
 *    name leaves the old file or the new one there, never neither.
 *  - Locks and descriptors are gone.
 *
 * This is weaker than ext4, XFS and btrfs in their usual modes, on purpose.
 *
 * Calls are recorded whole and in one order: while recording, threads wait for each other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Records what is done through dz_os below `dir`, an empty directory; it counts as durable. */
void crash_os_record(const char *dir);
/* A note for whoever looks at images: "from here on `what` has been promised". */
void crash_os_mark(int what);
void crash_os_stop(void);
void crash_os_free(void);

/* Moments are numbers below crash_os_moments(): before and after each sync, and between marks. */
size_t crash_os_moments(void);
/* The largest mark at or before the moment; -1 when there is none. */
int crash_os_marked(size_t moment);
/* Calls recorded until then, for messages. */
size_t crash_os_call(size_t moment);

enum crash_variant {
    CRASH_DROPPED,   /* nothing that was not synced */
    CRASH_ALL,       /* all of it: a cut of the program only */
    CRASH_JOURNAL,   /* all names up to a moment; bytes torn */
    CRASH_TORN,      /* each directory up to a moment; bytes torn */
    CRASH_REORDERED, /* each directory up to a moment; sectors lost or noise */
    CRASH_NAMES,     /* all names, no bytes: zeros of the right length */
    CRASH_VARIANTS
};
/* Makes the directory `to`.  The same seed gives the same image. */
void crash_os_image(size_t moment, enum crash_variant variant, uint64_t seed, const char *to);
