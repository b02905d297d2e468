/* Messages of lines of JSON: see messages.h. */
#include "text/messages.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

tv_status tv_messages_add(tv_messages *messages, tv_role role, const void *content, uint64_t length) {
    void *items = messages->items;
    const uint8_t *before = messages->contents.data;
    TV_RETURN_IF_FAILED(tv_grow(&items, &messages->capacity, messages->count + 1, sizeof *messages->items));
    messages->items = items;
    TV_RETURN_IF_FAILED(tv_text_append(&messages->contents, content, length));
    TV_RETURN_IF_FAILED(tv_text_append(&messages->contents, "", 1)); /* so that no content is NULL */
    messages->contents.size--;
    messages->items[messages->count++] = (tv_message){.role = role, .length = length};
    /* Contents lie one behind the other; when their array moved, all are found again. */
    const char *at = (const char *)messages->contents.data;
    uint64_t from = messages->contents.data == before ? messages->count - 1 : 0;
    if (from > 0)
        at += messages->contents.size - length;
    for (uint64_t i = from; i < messages->count; i++) {
        messages->items[i].content = at;
        at += messages->items[i].length;
    }
    return TV_OK;
}

void tv_messages_free(tv_messages *messages) {
    free(messages->items);
    tv_text_free(&messages->contents);
    *messages = (tv_messages){0};
}

static bool role_of(const char *name, tv_message_keys keys, tv_role *role) {
    static const struct {
        const char *name;
        tv_role role;
        bool foreign;
    } names[] = {{"system", TV_SYSTEM, false},
                 {"user", TV_USER, false},
                 {"assistant", TV_ASSISTANT, false},
                 {"human", TV_USER, true},
                 {"gpt", TV_ASSISTANT, true}};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        if (strcmp(name, names[i].name) == 0 && (keys == TV_FROM_VALUE || !names[i].foreign)) {
            *role = names[i].role;
            return true;
        }
    }
    return false;
}

tv_status tv_messages_from_json(const tv_json_line *line, const cJSON *list, const char *key,
                                tv_message_keys keys, tv_messages *messages) {
    const char *role_key = keys == TV_FROM_VALUE ? "from" : "role";
    const char *content_key = keys == TV_FROM_VALUE ? "value" : "content";
    const char *roles = keys == TV_FROM_VALUE ? "system, human or gpt" : "system, user or assistant";
    tv_text content = {0};
    tv_status status = TV_OK;
    messages->count = messages->contents.size = 0;
    if (!cJSON_IsArray(list) || !list->child)
        return tv_fail(TV_E_DATA, "%s: expected a list of messages for \"%s\", found %s", line->where, key,
                       !list                 ? "no such key"
                       : cJSON_IsArray(list) ? "an empty one"
                                             : "something else");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const cJSON *name = tv_json_get(item, role_key), *text = tv_json_get(item, content_key);
        unsigned long long number = messages->count + 1;
        tv_role role;
        if (!cJSON_IsString(name) || !role_of(name->valuestring, keys, &role)) {
            status = tv_fail(TV_E_DATA, "%s: expected %s for \"%s\" of message %llu in \"%s\", found %.60s",
                             line->where, roles, role_key, number, key,
                             cJSON_IsString(name) ? name->valuestring : "no text");
            goto done;
        }
        if (!cJSON_IsString(text)) {
            status = tv_fail(TV_E_DATA, "%s: expected a text for \"%s\" of message %llu in \"%s\", found %s",
                             line->where, content_key, number, key, text ? "something else" : "no such key");
            goto done;
        }
        const cJSON *weight = tv_json_get(item, "weight");
        bool none = cJSON_IsNumber(weight) && !(weight->valuedouble < 0 || weight->valuedouble > 0);
        bool whole = cJSON_IsNumber(weight) && !(weight->valuedouble < 1 || weight->valuedouble > 1);
        if (weight && !cJSON_IsNull(weight) && !none && !whole) {
            status =
                tv_fail(TV_E_DATA, "%s: expected 0 or 1 for \"weight\" of message %llu in \"%s\", found %s",
                        line->where, number, key, cJSON_IsNumber(weight) ? "another number" : "no number");
            goto done;
        }
        content.size = 0;
        TV_TRY(tv_json_line_text(line, text, &content));
        TV_TRY(tv_messages_add(messages, role, content.data, content.size));
        messages->items[messages->count - 1].untrained = none;
    }
done:
    tv_text_free(&content);
    return status;
}

tv_status tv_messages_add_system(const tv_json_line *line, tv_messages *messages) {
    const cJSON *item = tv_json_get(line->root, "system");
    tv_messages whole = {0};
    tv_text text = {0};
    tv_status status;
    if (!item || cJSON_IsNull(item))
        return TV_OK;
    if (!cJSON_IsString(item))
        return tv_fail(TV_E_DATA, "%s: expected a text for \"system\", found something else", line->where);
    TV_TRY(tv_json_line_text(line, item, &text));
    if (text.size == 0)
        goto done;
    if (messages->count && messages->items[0].role == TV_SYSTEM) {
        status =
            tv_fail(TV_E_DATA,
                    "%s: expected one message of the system, found \"system\" and another among the messages",
                    line->where);
        goto done;
    }
    TV_TRY(tv_messages_add(&whole, TV_SYSTEM, text.data, text.size));
    for (uint64_t i = 0; i < messages->count; i++) {
        const tv_message *message = &messages->items[i];
        TV_TRY(tv_messages_add(&whole, message->role, message->content, message->length));
        whole.items[whole.count - 1].untrained = message->untrained;
    }
    tv_messages_free(messages);
    *messages = whole;
    whole = (tv_messages){0};
done:
    tv_messages_free(&whole);
    tv_text_free(&text);
    return status;
}
