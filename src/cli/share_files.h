/* cli/share_files.h -- the custodians' shares on disk, before there is a vault.
 *
 *   root ─▶ split ─▶ share-1-of-5.dozo-share, share-1-of-5.pdf ... ─▶ fsync
 *
 * Pages are drawn by a program of their own (cli/page.h), started for each share. */
#pragma once

#include "cli/command.h"
#include "core/buf.h"
#include "crypto/share.h"

/* Makes the directory if it is not there and writes every share, never over a file that exists,
 * mode 0600.  When it returns DZ_OK all of it survives a power cut.  On failure the files that this
 * call made are taken away again.  *ret_pages counts the pages written: fewer than n when they
 * cannot be drawn here, which is no failure.
 * DZ_E_EXISTS, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_share_files_write(const char *dir, const dz_share *shares, unsigned n,
                               const char *fingerprint, unsigned *ret_pages,
                               dz_err *err) DZ_MUST_CHECK;

/* "share-1-of-5.dozo-share" */
enum { DZ_SHARE_FILE_NAME = 48 };
void dz_share_file_name(const dz_share *share, const char *extension,
                        char ret_name[DZ_SHARE_FILE_NAME]);

/* Writes a new file durably, mode 0600.  DZ_E_EXISTS (never overwrites), DZ_E_IO. */
dz_status dz_secret_file_write(int dirfd, const char *name, dz_slice bytes,
                               dz_err *err) DZ_MUST_CHECK;
