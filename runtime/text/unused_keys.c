/* Counting keys that nothing reads: see unused_keys.h. */
#include "text/unused_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

static bool is_known(const char *name, const char *const *known) {
    while (*known && strcmp(*known, name) != 0)
        known++;
    return *known != NULL;
}

static bool is_empty(const cJSON *item) {
    return cJSON_IsNull(item) || (cJSON_IsString(item) && !item->valuestring[0]) ||
           ((cJSON_IsArray(item) || cJSON_IsObject(item)) && !item->child);
}

static void add_key(tv_unused_keys *keys, const char *name, bool in_list) {
    for (uint32_t i = 0; i < keys->count; i++)
        if (keys->items[i].in_list == in_list &&
            strncmp(keys->items[i].name, name, TV_MAX_UNUSED_NAME) == 0) {
            keys->items[i].count++;
            return;
        }
    if (keys->count == TV_MAX_UNUSED_KEYS) {
        keys->others++;
        return;
    }
    tv_unused_key *key = &keys->items[keys->count++];
    *key = (tv_unused_key){.in_list = in_list, .count = 1};
    snprintf(key->name, sizeof key->name, "%.*s", TV_MAX_UNUSED_NAME, name);
}

static void add_object(tv_unused_keys *keys, const cJSON *object, const char *const *known, bool in_list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        if (item->string && !is_known(item->string, known) && !is_empty(item))
            add_key(keys, item->string, in_list);
    }
}

void tv_unused_keys_add(tv_unused_keys *keys, const char *file, const cJSON *line, const char *const *known) {
    if (keys->file != file)
        tv_unused_keys_report(keys);
    keys->file = file;
    add_object(keys, line, known, false);
}

void tv_unused_keys_add_items(tv_unused_keys *keys, const cJSON *list, const char *const *known) {
    const cJSON *item;
    if (!cJSON_IsArray(list))
        return;
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsObject(item))
            add_object(keys, item, known, true);
    }
}

void tv_unused_keys_report(tv_unused_keys *keys) {
    char names[TV_MAX_UNUSED_KEYS * (TV_MAX_UNUSED_NAME + 48) + 64] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < keys->count; i++) {
        const tv_unused_key *key = &keys->items[i];
        used += (size_t)snprintf(names + used, sizeof names - used, "%s\"%s\" of %llu %s%s", i ? ", " : "",
                                 key->name, (unsigned long long)key->count,
                                 key->in_list ? "list item" : "line", key->count == 1 ? "" : "s");
    }
    if (keys->others)
        snprintf(names + used, sizeof names - used, ", and %llu others", (unsigned long long)keys->others);
    if (keys->count)
        tv_warn("%s: keys that nothing reads: %s; docs/data.md names those that are read", keys->file, names);
    *keys = (tv_unused_keys){0};
}
