/* cli/asks.h -- what the commands about operators and requests share.
 *
 *   --vault ─▶ [open] ─▶ log, operators, requests ─▶ command ─▶ [put] ─▶ text or JSON
 *
 * What is wrong is said here; the caller gets an exit code. */
#pragma once

#include <jansson.h>

#include "cli/command.h"
#include "custody/action.h"

/* A zeroed one may be closed. */
struct dz_asks {
    const struct dz_cli *cli;
    struct dz_custody custody;
    char tmp[DZ_VAULT_TMP_NAME];
    int tmpfd; /* a writer's directory, if it was opened for writing; else -1 */
};
/* DZ_EXIT_OK, or the exit code, said already. */
int dz_asks_open(const struct dz_cli *cli, bool writing, struct dz_asks *ret);
void dz_asks_close(struct dz_asks *a);

/* The request that the user named. */
int dz_asks_find(const struct dz_asks *a, const char *prefix, const dz_ask **ret_ask);

/* The request with all that is known of it: a JSON document, or lines. */
json_t *dz_ask_json(const struct dz_asks *a, const dz_ask *ask);
void dz_ask_put(const struct dz_asks *a, const dz_ask *ask);
/* "2f9c01d84a66": enough of its name to be typed. */
enum { DZ_ASK_SHORT = 12 };
void dz_ask_short(const uint8_t id[32], char ret_text[DZ_ASK_SHORT + 1]);

/* Says on stderr that the log has leaves that claim an approval they do not have, and gives
 * DZ_EXIT_FOUND; else DZ_EXIT_OK. */
int dz_asks_forged(const struct dz_asks *a);

/* Asks for something and shows the text: `request`, and its short forms. */
int dz_asks_ask(struct dz_asks *a, const struct dz_action *action, const struct dz_operands *typed,
                const char *why, int64_t life_us);

/* Reads "--for".  False: it was reported. */
bool dz_asks_life(const struct dz_cli *cli, const char *text, int64_t *ret_us);
