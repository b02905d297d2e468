/* Tables of fields against JSON trees: see config.h. */
#include "base/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/choices.h"

enum { MAX_FIELDS = 128 };

static tv_status unknown_key(const char *where, const char *key, const tv_config_field *fields,
                             uint64_t count) {
    const char *names[MAX_FIELDS];
    uint64_t known = tv_min_u64(count, MAX_FIELDS);
    for (uint64_t i = 0; i < known; i++)
        names[i] = fields[i].key;
    const char *nearest = tv_nearest_word(key, names, known);
    if (nearest)
        return tv_fail(TV_E_CONFIG, "%s: unknown key \"%s\"; the nearest known one is \"%s\"", where, key,
                       nearest);
    return tv_fail(TV_E_CONFIG, "%s: unknown key \"%s\"", where, key);
}

static tv_status wrong_value(const cJSON *item, const char *where, const char *key, const char *expected) {
    /* What no double holds is read as infinity, which JSON cannot print. */
    const bool beyond = cJSON_IsNumber(item) && !isfinite(item->valuedouble);
    char *found = beyond ? NULL : cJSON_PrintUnformatted(item);
    tv_status status = tv_fail(TV_E_CONFIG, "%s.%s: expected %s, found %.80s", where, key, expected,
                               found    ? found
                               : beyond ? "a number beyond all range"
                                        : "something else");
    cJSON_free(found);
    return status;
}

static tv_status read_field(const cJSON *item, const char *where, const tv_config_field *field, void *slot) {
    char expected[256];
    double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    switch (field->type) {
    case TV_CONFIG_BOOL:
        if (!cJSON_IsBool(item))
            return wrong_value(item, where, field->key, "true or false");
        *(bool *)slot = cJSON_IsTrue(item);
        return TV_OK;
    case TV_CONFIG_UINT:
        /* Seeds beyond 2^53 come as texts, because JSON numbers are doubles. */
        if (cJSON_IsString(item) && item->valuestring[0] >= '0' && item->valuestring[0] <= '9') {
            char *end = NULL;
            unsigned long long value = strtoull(item->valuestring, &end, 10);
            if (*end == '\0' && (double)value >= field->minimum && (double)value <= field->maximum) {
                *(uint64_t *)slot = value;
                return TV_OK;
            }
        }
        if (!(number >= field->minimum && number <= field->maximum) || number != floor(number) ||
            number > 0x1p53) {
            snprintf(expected, sizeof expected,
                     field->maximum > 0x1p53 ? "a whole number from %.0f to %.0f (in quotes up to 2^64 - 1)"
                                             : "a whole number from %.0f to %.0f",
                     field->minimum, fmin(field->maximum, 0x1p53));
            return wrong_value(item, where, field->key, expected);
        }
        *(uint64_t *)slot = (uint64_t)number;
        return TV_OK;
    case TV_CONFIG_NUMBER:
        if (!(number >= field->minimum && number <= field->maximum)) {
            snprintf(expected, sizeof expected, "a number from %g to %g", field->minimum, field->maximum);
            return wrong_value(item, where, field->key, expected);
        }
        *(double *)slot = number;
        return TV_OK;
    case TV_CONFIG_STRING:
        if (!cJSON_IsString(item))
            return wrong_value(item, where, field->key, "a text");
        *(const char **)slot = item->valuestring;
        return TV_OK;
    case TV_CONFIG_CHOICE: {
        int choice = cJSON_IsString(item) ? tv_choice_find(field->choices, item->valuestring) : -1;
        if (choice < 0) {
            snprintf(expected, sizeof expected, "one of %s", field->choices);
            return wrong_value(item, where, field->key, expected);
        }
        *(int *)slot = choice;
        return TV_OK;
    }
    case TV_CONFIG_TREE:
        if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
            return wrong_value(item, where, field->key, "an object, or a list as [\"...\"]");
        *(const cJSON **)slot = item;
        return TV_OK;
    }
    return TV_OK;
}

tv_status tv_config_read(const cJSON *object, const char *where, const tv_config_field *fields,
                         uint64_t count, void *out) {
    if (!object)
        return TV_OK;
    if (!cJSON_IsObject(object))
        return tv_fail(TV_E_CONFIG, "%s: expected an object", where);
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        const tv_config_field *field = NULL;
        for (uint64_t i = 0; i < count && !field; i++)
            if (strcmp(fields[i].key, item->string) == 0)
                field = &fields[i];
        if (!field)
            return unknown_key(where, item->string, fields, count);
        if (tv_json_get(object, item->string) != item)
            return tv_fail(TV_E_CONFIG, "%s: expected each key once, found \"%s\" again", where,
                           item->string);
        TV_RETURN_IF_FAILED(read_field(item, where, field, (char *)out + field->offset));
    }
    return TV_OK;
}

tv_status tv_config_write(cJSON *object, const tv_config_field *fields, uint64_t count, const void *in) {
    for (uint64_t i = 0; i < count; i++) {
        const char *slot = (const char *)in + fields[i].offset;
        const char *key = fields[i].key;
        bool written = true;
        switch (fields[i].type) {
        case TV_CONFIG_BOOL:
            written = tv_json_set_bool(object, key, *(const bool *)slot);
            break;
        case TV_CONFIG_UINT: {
            uint64_t value = *(const uint64_t *)slot;
            char text[32];
            snprintf(text, sizeof text, "%llu", (unsigned long long)value);
            written = value > (UINT64_C(1) << 53) ? tv_json_set_string(object, key, text)
                                                  : tv_json_set_number(object, key, (double)value);
            break;
        }
        case TV_CONFIG_NUMBER:
            written = tv_json_set_number(object, key, *(const double *)slot);
            break;
        case TV_CONFIG_STRING:
            if (*(const char *const *)slot)
                written = tv_json_set_string(object, key, *(const char *const *)slot);
            break;
        case TV_CONFIG_CHOICE: {
            char text[64];
            tv_choice_word(fields[i].choices, *(const int *)slot, text, sizeof text);
            written = tv_json_set_string(object, key, text);
            break;
        }
        case TV_CONFIG_TREE: {
            const cJSON *tree = *(const cJSON *const *)slot;
            cJSON *copy = tree ? cJSON_Duplicate(tree, true) : NULL;
            if (tree) {
                cJSON_DeleteItemFromObjectCaseSensitive(object, key);
                written = copy && cJSON_AddItemToObject(object, key, copy);
            }
            break;
        }
        }
        if (!written)
            return tv_fail(TV_E_MEMORY, "out of host memory for a configuration");
    }
    return TV_OK;
}

tv_status tv_config_set(cJSON *root, const char *assignment) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return tv_fail(TV_E_USAGE, "expected KEY=VALUE, found \"%s\"", assignment);
    char *path = tv_format("%.*s", (int)(equals - assignment), assignment);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a setting");
    tv_status status = TV_OK;
    cJSON *object = root;
    char *key = path;
    for (char *dot = strchr(key, '.'); dot && status == TV_OK; dot = strchr(key, '.')) {
        *dot = '\0';
        cJSON *child = cJSON_GetObjectItemCaseSensitive(object, key);
        if (!child)
            child = cJSON_AddObjectToObject(object, key);
        if (!cJSON_IsObject(child))
            status = tv_fail(TV_E_USAGE, "%s: \"%s\" is a value and has no keys below it", assignment, key);
        object = child;
        key = dot + 1;
    }
    if (status == TV_OK) {
        cJSON *value = cJSON_ParseWithOpts(equals + 1, NULL, true);
        if (!value)
            value = cJSON_CreateString(equals + 1);
        cJSON_DeleteItemFromObjectCaseSensitive(object, key);
        if (!value || !cJSON_AddItemToObject(object, key, value))
            status = tv_fail(TV_E_MEMORY, "out of host memory for a setting");
    }
    free(path);
    return status;
}
