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

dz_status dz_alarm_note(struct dz_vault *v, int tmpfd, enum dz_alarm_severity severity,
                        const char *reason, const char *source, const char *detail, dz_err *err) {
    static const char *const severities[] = { "info", "warning", "serious" };
    json_t *text = json_object();
    bool ok = text && set(text, "severity", json_string(severities[severity])) &&
              set(text, "reason", json_string(reason)) &&
              (!source || set(text, "source", loose_text(source))) &&
              (!detail || set(text, "detail", loose_text(detail)));

    if (!ok) {
        json_decref(text);
        text = NULL;
    }
    return dz_ledger_note(v, tmpfd, DZ_LEAF_ALARM, 0, NULL, 0, text, NULL, err);
}

dz_status dz_alarm_raise(struct dz_vault *v, enum dz_alarm_severity severity, const char *reason,
                         const char *source, const char *detail, dz_err *err) {
    char tmp[DZ_VAULT_TMP_NAME];
    int tmpfd;
    dz_status s;

    DZ_TRY(dz_vault_tmp_make(v, tmp, &tmpfd, err));
    s = dz_alarm_note(v, tmpfd, severity, reason, source, detail, err);
    dz_vault_tmp_drop(v, tmp, tmpfd);
    return s;
}
