#include "core/text.h"

#include <stdlib.h>
#include <string.h>

#include "core/text_table.h"

static bool japanese;

static bool begins_japanese(const char *locale) {
    return strncmp(locale, "ja", 2) == 0 && strchr("_.@", locale[2]) != NULL; /* or ends there */
}

bool dz_text_init(const char *lang) {
    static const char *const variables[] = { "LC_ALL", "LC_MESSAGES", "LANG" };

    japanese = false;
    if (lang) {
        japanese = strcmp(lang, "ja") == 0;
        return japanese || strcmp(lang, "en") == 0;
    }
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *locale = getenv(variables[i]);
        if (locale && *locale) {
            japanese = begins_japanese(locale);
            break;
        }
    }
    return true;
}

const char *dz_text_language(void) {
    return japanese ? "ja" : "en";
}

static int by_english(const void *key, const void *element) {
    const struct dz_text_pair *pair = element;
    return strcmp(key, pair->english);
}

const char *dz_text(const char *english) {
    const struct dz_text_pair *hit = NULL;

    if (japanese)
        hit = bsearch(english, dz_text_table, dz_text_table_len, sizeof *dz_text_table, by_english);
    return hit ? hit->japanese : english;
}
