/* core/text.h -- what people read, in English or Japanese.
 *
 * Source is written in English; po/ja.po holds the Japanese, is compiled into the program, and
 * needs nothing installed on the machine: a bare Debian has no Japanese locale, and the day of an
 * incident is not the day to make one.  Output is UTF-8 in both languages.
 *
 *   T_("%s: done") ─▶ [text] ─▶ "%s: done" or "%s: 完了" ─▶ printf
 *
 * A test (tools/check-text.py) holds that every T_() and N_() has its Japanese, and that both
 * take the same printf arguments.  JSON keys, option names and messages inside a dz_err are not
 * translated: scripts and support mail rely on them.
 *
 * The language is chosen once, before threads start; after that every function here may be
 * called from any thread. */
#pragma once

#include <stdbool.h>

/* Chooses the language: "en" or "ja", or NULL to take the first of LC_ALL, LC_MESSAGES and LANG
 * that is set and not empty (Japanese when it begins with "ja").  False when `lang` is something
 * else; English is then in force. */
bool dz_text_init(const char *lang);

/* "en" or "ja": for what is not a message, such as the printed share pages. */
const char *dz_text_language(void);

/* The text to show for `english`; `english` itself where there is no other.  Static storage. */
const char *dz_text(const char *english) __attribute__((format_arg(1), nonnull(1)));

/* A message to translate here, and one that a table holds for a later dz_text(). */
#define T_(english) dz_text(english)
#define N_(english) english
