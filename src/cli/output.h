/* cli/output.h -- what people and scripts read.
 *
 *   results ─▶ stdout: tables, or JSON         messages, errors ─▶ stderr
 *
 * File names are bytes.  A terminal gets them with control characters escaped, so that a name
 * cannot move the cursor or hide another; a file or pipe gets the bytes; JSON gets `path`, and
 * where it is no UTF-8 also `path_base64` with the exact bytes. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"
#include "core/slice.h"

/* The exit code for a failure; the one place where they meet. */
int dz_exit_of(dz_status status);

/* "dozo: MESSAGE" on stderr, with the system's reason where there is one. */
void dz_say_error(const dz_err *err);
/* The same, and the exit code for it. */
int dz_cli_fail(const dz_err *err);
/* "dozo: ..." on stderr, for what is not a dz_err. */
void dz_say(const char *fmt, ...) DZ_PRINTF(1, 2);
/* An indented line on stderr: what to do next. */
void dz_say_next(const char *fmt, ...) DZ_PRINTF(1, 2);

/* "dozo: PATH: WHAT" on stderr, with the system's reason unless sys_errno is 0. */
void dz_say_path(dz_slice path, const char *what, int sys_errno);

/* "1.5 GiB"; bytes below 1 KiB as "17 B". */
enum { DZ_SIZE_TEXT = 16 };
void dz_size_text(uint64_t bytes, char ret_text[DZ_SIZE_TEXT]);
/* "3 d 4 h", "12 min", "8 s". */
enum { DZ_AGE_TEXT = 32 };
void dz_age_text(int64_t us, char ret_text[DZ_AGE_TEXT]);
/* "2026-11-22 09:30:00", local. */
enum { DZ_WHEN_TEXT = 40 };
void dz_when_text(int64_t us, char ret_text[DZ_WHEN_TEXT]);

/* Writes a file name, escaped if `to` is a terminal or stderr. */
void dz_put_path(FILE *to, dz_slice path);
/* Writes text (UTF-8) and fills up with spaces; a CJK character takes two columns.  Negative
 * `columns`: the spaces come first. */
void dz_put_padded(FILE *to, const char *text, int columns);

/* Sets `key`, and `key`_base64 where `path` is not UTF-8. */
void dz_json_path(json_t *object, const char *key, dz_slice path);
static inline void dz_json_text(json_t *object, const char *key, const char *text) {
    dz_json_path(object, key, (dz_slice){ (const uint8_t *) text, strlen(text) });
}
/* A number that may be beyond jansson's range is cut there. */
json_t *dz_json_count(uint64_t n);
/* ISO 8601 with zone. */
json_t *dz_json_time(int64_t us);
/* Writes a document and a newline to stdout, and releases it. */
void dz_json_put(json_t *document);

/* Flushes stdout.  DZ_EXIT_COULD_NOT and a message if anything written was lost, else `code`. */
int dz_out_close(int code);
