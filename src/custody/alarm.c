#include "custody/alarm.h"

enum { DETAIL_MAX = 500 };

/* Steals `value`, as jansson's own; false when out of memory. */
static bool set(json_t *to, const char *key, json_t *value) {
    return value && json_object_set_new(to, key, value) == 0;
}

/* Text of any bytes: an alarm must not fail because a name is no UTF-8. */
static json_t *loose_text(const char *text) {
    char clean[DETAIL_MAX + 1];
    size_t n = 0;
    json_t *j = strlen(text) <= DETAIL_MAX ? json_string(text) : NULL;

    if (j)
        return j;
    for (; text[n] && n < DETAIL_MAX; n++)
        clean[n] = text[n];
    for (size_t i = 0; i < n; i++)
        if ((unsigned char) clean[i] >= 0x80)
            clean[i] = '?';
    clean[n] = '\0';
    return json_string(clean);
}

/* NULL: out of memory. */
static json_t *text_of(enum dz_alarm_severity severity, const char *reason, const char *source,
                       const char *detail) {
    static const char *const severities[] = { "info", "warning", "serious" };
    json_t *text = json_object();

    if (text && set(text, "severity", json_string(severities[severity])) &&
        set(text, "reason", json_string(reason)) &&
        (!source || set(text, "source", loose_text(source))) &&
        (!detail || set(text, "detail", loose_text(detail))))
        return text;
    json_decref(text);
    return NULL;
}

dz_status dz_alarm_note(struct dz_vault *v, int tmpfd, enum dz_alarm_severity severity,
                        const char *reason, const char *source, const char *detail, dz_err *err) {
    return dz_ledger_note(v, tmpfd, DZ_LEAF_ALARM, 0, NULL, 0,
                          text_of(severity, reason, source, detail), NULL, err);
}

dz_status dz_alarm_raise(struct dz_vault *v, enum dz_alarm_severity severity, const char *reason,
                         const char *source, const char *detail, dz_err *err) {
    return dz_ledger_add(v, DZ_LEAF_ALARM, 0, NULL, 0, text_of(severity, reason, source, detail),
                         NULL, err);
}
