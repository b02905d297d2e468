/* Candidates from JSON lines: see candidates.h. */
#include "human/candidates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "text/source.h"

struct tv_candidates {
    tv_arena *arena; /* of the lines too */
    tv_item *items;
    uint64_t count, capacity;
    uint64_t *table; /* open addressing by id: item + 1, 0 is free */
    uint64_t table_size;
};

static tv_status field_missing(const char *where, const char *key, const char *expected, tv_slice found) {
    if (found.size == 0)
        return tv_fail(TV_E_DATA, "%s: expected %s under \"%s\", found no such member", where, expected, key);
    return tv_fail(TV_E_DATA, "%s: expected %s under \"%s\", found %.*s", where, expected, key,
                   (int)tv_min_u64(found.size, 60), found.data);
}

/* A string or a number as text. */
static tv_status read_id(tv_slice object, const char *where, tv_arena *arena, tv_slice *json,
                         const char **id) {
    *json = tv_raw_get(object, "id");
    if (json->size && (json->data[0] == '-' || (json->data[0] >= '0' && json->data[0] <= '9'))) {
        *id = tv_arena_copy(arena, json->data, json->size);
        return *id ? TV_OK : TV_E_MEMORY;
    }
    if (json->size < 3 || json->data[0] != '"')
        return field_missing(where, "id", "a text", *json);
    tv_text text = {0};
    tv_status status;
    TV_TRY(tv_raw_string(*json, &text));
    if (memchr(text.data, '\0', text.size)) {
        status = tv_fail(TV_E_DATA, "%s: expected an id without zero bytes", where);
        goto done;
    }
    *id = tv_arena_copy(arena, (const char *)text.data, text.size);
    status = *id ? TV_OK : TV_E_MEMORY;
done:
    tv_text_free(&text);
    return status;
}

/* Rankings name responses through cJSON, whose numbers are doubles: an id must come back as it is written. */
static bool is_plain(tv_slice id) {
    uint64_t i = id.size > 1 && id.data[0] == '-' ? 1 : 0, digits = id.size - i;
    if (id.data[0] == '"')
        return true;
    if (digits > 15 || (id.data[i] == '0' && id.size > 1))
        return false;
    for (; i < id.size; i++)
        if (id.data[i] < '0' || id.data[i] > '9')
            return false;
    return true;
}

static tv_status read_response(tv_slice json, uint64_t number, const char *where, tv_arena *arena,
                               tv_response *response) {
    char place[560];
    snprintf(place, sizeof place, "%s, response %llu", where, (unsigned long long)number + 1);
    if (json.data[0] != '{')
        return tv_fail(TV_E_DATA, "%s: expected {\"id\", \"text\", ...}, found %.*s", place,
                       (int)tv_min_u64(json.size, 60), json.data);
    response->json = json;
    TV_RETURN_IF_FAILED(read_id(json, place, arena, &response->id_json, &response->id));
    if (!is_plain(response->id_json))
        return tv_fail(TV_E_DATA,
                       "%s: expected a text or a whole number of at most 15 digits under \"id\", found %.*s",
                       place, (int)tv_min_u64(response->id_json.size, 60), response->id_json.data);
    response->text_json = tv_raw_get(json, "text");
    if (response->text_json.size == 0 || response->text_json.data[0] != '"')
        return field_missing(place, "text", "a text", response->text_json);
    tv_text text = {0};
    tv_status status;
    TV_TRY(tv_raw_string(response->text_json, &text));
    const char *copy = tv_arena_copy(arena, text.size ? (const char *)text.data : "", text.size);
    response->text = (tv_slice){copy, text.size};
    status = copy ? TV_OK : TV_E_MEMORY;
done:
    tv_text_free(&text);
    return status;
}

/* A text, or messages with a role and a content each. */
static tv_status check_prompt(tv_slice prompt, const char *where) {
    if (prompt.size && prompt.data[0] == '"')
        return TV_OK;
    if (prompt.size == 0 || prompt.data[0] != '[')
        return field_missing(where, "prompt", "a text or a list of messages", prompt);
    tv_raw_walk walk = tv_raw_begin(prompt);
    uint64_t messages = 0;
    for (tv_slice key, message; tv_raw_next(&walk, &key, &message); messages++) {
        tv_slice role = tv_raw_get(message, "role"), content = tv_raw_get(message, "content");
        if (role.size == 0 || role.data[0] != '"' || content.size == 0 || content.data[0] != '"')
            return tv_fail(
                TV_E_DATA, "%s: expected {\"role\", \"content\"} as message %llu of the prompt, found %.*s",
                where, (unsigned long long)messages + 1, (int)tv_min_u64(message.size, 60), message.data);
    }
    return messages ? TV_OK : tv_fail(TV_E_DATA, "%s: the prompt is an empty list of messages", where);
}

tv_status tv_item_parse(tv_slice line, const char *where, tv_arena *arena, tv_item *item) {
    *item = (tv_item){0};
    tv_raw_walk inside = tv_raw_begin(line);
    while (line.size && (unsigned char)line.data[0] <= ' ') {
        line.data++;
        line.size--;
    }
    if (line.size == 0 || line.data[0] != '{' || inside.cursor == inside.end)
        return tv_fail(TV_E_DATA, "%s: expected {\"id\", \"prompt\", \"responses\"}, found no object", where);
    TV_RETURN_IF_FAILED(read_id(line, where, arena, &item->id_json, &item->id));
    item->prompt_json = tv_raw_get(line, "prompt");
    TV_RETURN_IF_FAILED(check_prompt(item->prompt_json, where));
    item->responses_json = tv_raw_get(line, "responses");
    if (item->responses_json.size == 0 || item->responses_json.data[0] != '[')
        return field_missing(where, "responses", "a list of responses", item->responses_json);
    tv_raw_walk walk = tv_raw_begin(item->responses_json);
    uint64_t count = 0;
    for (tv_slice key, json; tv_raw_next(&walk, &key, &json);)
        count++;
    if (count < TV_MIN_RESPONSES || count > TV_MAX_RESPONSES)
        return tv_fail(TV_E_DATA, "%s: expected %d to %d responses, found %llu", where, TV_MIN_RESPONSES,
                       TV_MAX_RESPONSES, (unsigned long long)count);
    tv_response *responses = tv_arena_alloc(arena, count, sizeof *responses);
    if (!responses)
        return TV_E_MEMORY;
    item->responses = responses;
    walk = tv_raw_begin(item->responses_json);
    count = 0;
    for (tv_slice key, json; tv_raw_next(&walk, &key, &json); count++)
        TV_RETURN_IF_FAILED(read_response(json, count, where, arena, &responses[count]));
    item->count = (uint32_t)count;
    for (uint32_t i = 0; i < item->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(item->responses[i].id, item->responses[j].id) == 0)
                return tv_fail(TV_E_DATA, "%s: two responses have the id \"%s\"", where,
                               item->responses[i].id);
    return TV_OK;
}

/* Where the id is or would be. */
static uint64_t slot_of(const tv_candidates *candidates, const char *id) {
    uint64_t mask = candidates->table_size - 1, slot = tv_hash_bytes(id, strlen(id), 0) & mask;
    while (candidates->table[slot] && strcmp(candidates->items[candidates->table[slot] - 1].id, id) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

static tv_status index_ids(tv_candidates *candidates, const char *name) {
    candidates->table_size = 16;
    while (candidates->table_size < 2 * candidates->count)
        candidates->table_size *= 2;
    candidates->table = calloc(candidates->table_size, sizeof *candidates->table);
    if (!candidates->table)
        return tv_fail(TV_E_MEMORY, "out of host memory while reading %s", name);
    for (uint64_t i = 0; i < candidates->count; i++) {
        uint64_t slot = slot_of(candidates, candidates->items[i].id);
        if (candidates->table[slot])
            return tv_fail(TV_E_DATA,
                           "%s line %llu: the id \"%s\" was used in line %llu already; ids must differ", name,
                           (unsigned long long)candidates->items[i].line, candidates->items[i].id,
                           (unsigned long long)candidates->items[candidates->table[slot] - 1].line);
        candidates->table[slot] = i + 1;
    }
    return TV_OK;
}

static tv_status add_line(void *context, const tv_json_line *read) {
    tv_candidates *candidates = context;
    const char *copy = tv_arena_copy(candidates->arena, read->bytes, read->size);
    void *items = candidates->items;
    if (!copy)
        return TV_E_MEMORY;
    TV_RETURN_IF_FAILED(tv_grow(&items, &candidates->capacity, candidates->count + 1, sizeof(tv_item)));
    candidates->items = items;
    tv_item *item = &candidates->items[candidates->count];
    TV_RETURN_IF_FAILED(tv_item_parse((tv_slice){copy, read->size}, read->where, candidates->arena, item));
    item->line = read->line;
    candidates->count++;
    return TV_OK;
}

/* `bytes` NULL: the file of that name. */
static tv_status read_candidates(const char *name, const char *bytes, uint64_t size, tv_candidates **out) {
    *out = NULL;
    tv_candidates *candidates = calloc(1, sizeof *candidates);
    if (!candidates)
        return tv_fail(TV_E_MEMORY, "out of host memory while reading %s", name);
    tv_status status;
    TV_TRY_OR_FAIL(tv_arena_create(&candidates->arena));
    if (bytes)
        TV_TRY_OR_FAIL(tv_source_read_json_bytes((const uint8_t *)bytes, size, name, add_line, candidates));
    else
        TV_TRY_OR_FAIL(tv_source_read_json(&name, 1, add_line, candidates, NULL));
    TV_TRY_OR_FAIL(index_ids(candidates, name));
    *out = candidates;
    return TV_OK;
fail:
    tv_candidates_destroy(&candidates);
    return status;
}

tv_status tv_candidates_read_bytes(const char *bytes, uint64_t size, const char *name, tv_candidates **out) {
    return read_candidates(name, bytes ? bytes : "", size, out);
}

tv_status tv_candidates_read(const char *path, tv_candidates **candidates) {
    *candidates = NULL;
    if (!tv_path_exists(path) || tv_path_is_directory(path))
        return tv_fail(TV_E_DATA, "%s: expected a file of candidates, as sampling writes them, found %s",
                       path, tv_path_exists(path) ? "a folder" : "nothing of that name");
    return read_candidates(path, NULL, 0, candidates);
}

void tv_candidates_destroy(tv_candidates **candidates) {
    if (!candidates || !*candidates)
        return;
    tv_arena_destroy(&(*candidates)->arena);
    free((*candidates)->items);
    free((*candidates)->table);
    free(*candidates);
    *candidates = NULL;
}

uint64_t tv_candidates_count(const tv_candidates *candidates) {
    return candidates->count;
}

const tv_item *tv_candidates_item(const tv_candidates *candidates, uint64_t index) {
    return &candidates->items[index];
}

uint64_t tv_candidates_find(const tv_candidates *candidates, const char *id) {
    uint64_t entry = candidates->table[slot_of(candidates, id)];
    return entry ? entry - 1 : UINT64_MAX;
}

uint64_t tv_item_hash(const tv_item *item) {
    uint64_t hash = tv_hash_bytes(item->id, strlen(item->id) + 1, 0);
    hash = tv_hash_bytes(item->prompt_json.data, item->prompt_json.size, hash);
    for (uint32_t i = 0; i < item->count; i++) {
        hash = tv_hash_bytes(item->responses[i].id, strlen(item->responses[i].id) + 1, hash);
        hash = tv_hash_bytes(item->responses[i].text.data, item->responses[i].text.size, hash);
    }
    return hash;
}
