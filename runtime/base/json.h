/* JSON over cJSON, with the checks that cJSON leaves to its caller.
 *
 * Promise: parsing refuses trailing garbage, names file, line and column, and passes over the mark of UTF-8;
 * keys are compared with case, and of several of one name the last counts, as in other programs;
 * integers are exact or refused; doubles keep every bit when written; files are written atomically. cJSON's
 * own functions may be used to build trees and to walk arrays (cJSON_ArrayForEach, never by index: indexing
 * is linear).
 */
#ifndef TV_BASE_JSON_H
#define TV_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Parses exactly one value. `where` names the source in the sentence ("config.json", "data.jsonl line 7").
 * The caller frees *root with cJSON_Delete. Fails with TV_E_DATA. */
tv_status tv_json_parse(const char *text, uint64_t size, const char *where, cJSON **root);
tv_status tv_json_read_file(const char *path, cJSON **root);
tv_status tv_json_write_file(const char *path, const cJSON *root);
/* As a file holds it, with its newline at the end; the caller frees *text with free(). */
tv_status tv_json_print_file(const cJSON *root, char **text);
/* One line, no newline; the caller frees *line with free(). */
tv_status tv_json_print_line(const cJSON *root, char **line);

/* The last member of that name, or NULL. */
const cJSON *tv_json_get(const cJSON *object, const char *key);

/* TV_E_DATA where an object names a key twice, at any depth: what is compared or passed on must be one thing.
 */
tv_status tv_json_expect_each_once(const cJSON *root, const char *where);

/* What a value is, for "found %s": "true", "a number", "an empty array"; "nothing" for NULL. */
const char *tv_json_kind(const cJSON *item);

/* Typed members. A missing one gives `fallback` (a null counts as missing); one of another type, or an
 * integer with a fraction or out of [minimum, maximum], fails with TV_E_DATA and a sentence with `where` and
 * the key. Strings point into the tree. */
tv_status tv_json_string(const cJSON *object, const char *key, const char *where, const char *fallback,
                         const char **value);
tv_status tv_json_integer(const cJSON *object, const char *key, const char *where, int64_t minimum,
                          int64_t maximum, int64_t fallback, int64_t *value);
tv_status tv_json_number(const cJSON *object, const char *key, const char *where, double fallback,
                         double *value);
tv_status tv_json_bool(const cJSON *object, const char *key, const char *where, bool fallback, bool *value);

/* Sets or replaces a member; NaN and infinity become null, which is what JSON has. False when memory is out.
 */
bool tv_json_set_number(cJSON *object, const char *key, double value);
bool tv_json_set_string(cJSON *object, const char *key, const char *value);
bool tv_json_set_bool(cJSON *object, const char *key, bool value);

/* Puts the keys of `over` into `base`, objects key by key and anything else whole; what is no object changes
 * nothing. False when memory runs out. */
bool tv_json_overlay(cJSON *base, const cJSON *over);

#endif
