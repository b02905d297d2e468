/* One judgment and its line: see ranking.h. */
#include "human/ranking.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "text/json_text.h"

/* ---- the ways of saying a ranking ---- */

/* While a ranking is read: not named yet. */
enum { UNNAMED = 0xff };

static char letter_of(uint32_t position) {
    return (char)('a' + position);
}

/* What all forms check in the end: every answer has a rank. */
static tv_status check_named(tv_status failure, const uint8_t *rank, uint32_t k) {
    for (uint32_t i = 0; i < k; i++)
        if (rank[i] == UNNAMED)
            return tv_fail(failure, "answer %c is missing; name each of a to %c once", letter_of(i),
                           letter_of(k - 1));
    return TV_OK;
}

tv_status tv_rank_of_letters(const char *text, uint32_t k, uint8_t rank[TV_MAX_RESPONSES]) {
    memset(rank, UNNAMED, TV_MAX_RESPONSES);
    uint8_t group = 0;
    bool expects_letter = true;
    for (; *text; text++) {
        char c = *text;
        if (c == ' ' || c == '\t')
            continue;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (expects_letter != (c >= 'a' && c <= 'z') || (!expects_letter && c != '>' && c != '='))
            return tv_fail(TV_E_USAGE,
                           "expected %s, found \"%.1s\"; write a ranking such as b>a=c, best first",
                           expects_letter ? "a letter" : "> or = between the letters",
                           (unsigned char)*text >= 0x20 && (unsigned char)*text < 0x7f ? text : "?");
        if (expects_letter) {
            uint32_t position = (uint32_t)(c - 'a');
            if (position >= k)
                return tv_fail(TV_E_USAGE, "there is no answer %c; the answers are a to %c", c,
                               letter_of(k - 1));
            if (rank[position] != UNNAMED)
                return tv_fail(TV_E_USAGE, "answer %c is named twice; name each of a to %c once", c,
                               letter_of(k - 1));
            rank[position] = group;
        } else {
            group = (uint8_t)(group + (c == '>'));
        }
        expects_letter = !expects_letter;
    }
    if (expects_letter)
        return tv_fail(TV_E_USAGE, "expected a letter at the end; write a ranking such as b>a=c, best first");
    return check_named(TV_E_USAGE, rank, k);
}

tv_status tv_rank_of_positions(const cJSON *groups, uint32_t k, uint8_t rank[TV_MAX_RESPONSES]) {
    memset(rank, UNNAMED, TV_MAX_RESPONSES);
    if (!cJSON_IsArray(groups))
        return tv_fail(TV_E_USAGE, "expected a ranking such as [[1],[0,2]], found no list");
    uint8_t number = 0;
    const cJSON *group, *entry;
    cJSON_ArrayForEach(group, groups) {
        if (!cJSON_IsArray(group) || !group->child)
            return tv_fail(TV_E_USAGE, "expected lists of positions in the ranking, found something else");
        cJSON_ArrayForEach(entry, group) {
            double value = cJSON_IsNumber(entry) ? entry->valuedouble : -1;
            if (!(value >= 0 && value < k) || value != floor(value))
                return tv_fail(TV_E_USAGE,
                               "expected positions from 0 to %u in the ranking, found another one", k - 1);
            uint32_t position = (uint32_t)value;
            if (rank[position] != UNNAMED)
                return tv_fail(TV_E_USAGE, "position %u is named twice in the ranking", position);
            rank[position] = number;
        }
        number++;
    }
    return check_named(TV_E_USAGE, rank, k);
}

static tv_status rank_id(const cJSON *entry, const tv_item *item, const char *where, uint8_t group,
                         uint8_t *rank) {
    char digits[32] = "";
    const char *id = cJSON_IsString(entry) ? entry->valuestring : digits;
    if (cJSON_IsNumber(entry))
        snprintf(digits, sizeof digits, "%.15g", entry->valuedouble);
    else if (!cJSON_IsString(entry))
        return tv_fail(TV_E_DATA, "%s: expected ids of responses in the ranking, found something else",
                       where);
    for (uint32_t i = 0; i < item->count; i++) {
        if (strcmp(item->responses[i].id, id) != 0)
            continue;
        if (rank[i] != UNNAMED)
            return tv_fail(TV_E_DATA, "%s: the ranking names the response \"%s\" twice", where, id);
        rank[i] = group;
        return TV_OK;
    }
    return tv_fail(TV_E_DATA, "%s: the ranking names the response \"%s\", which is not among the responses",
                   where, id);
}

tv_status tv_rank_of_ids(const cJSON *groups, const tv_item *item, const char *where,
                         uint8_t rank[TV_MAX_RESPONSES]) {
    memset(rank, UNNAMED, TV_MAX_RESPONSES);
    if (!cJSON_IsArray(groups))
        return tv_fail(TV_E_DATA,
                       "%s: expected a ranking such as [[\"r2\"],[\"r0\",\"r1\"]] or null, found no list",
                       where);
    uint8_t number = 0;
    const cJSON *group, *entry;
    cJSON_ArrayForEach(group, groups) {
        if (number >= item->count)
            return tv_fail(TV_E_DATA, "%s: the ranking has more groups than there are responses", where);
        if (!cJSON_IsArray(group)) {
            TV_RETURN_IF_FAILED(rank_id(group, item, where, number, rank));
        } else {
            if (!group->child)
                return tv_fail(TV_E_DATA, "%s: the ranking has an empty group", where);
            cJSON_ArrayForEach(entry, group)
                TV_RETURN_IF_FAILED(rank_id(entry, item, where, number, rank));
        }
        number++;
    }
    for (uint32_t i = 0; i < item->count; i++)
        if (rank[i] == UNNAMED)
            return tv_fail(TV_E_DATA, "%s: the ranking does not name the response \"%s\"", where,
                           item->responses[i].id);
    return TV_OK;
}

/* ---- a line ---- */

static tv_status read_order(const cJSON *root, const char *where, tv_ranking *ranking) {
    const cJSON *order = tv_json_get(root, "order");
    for (uint32_t i = 0; i < ranking->item.count; i++)
        ranking->order[i] = (uint8_t)i;
    if (!order || cJSON_IsNull(order))
        return TV_OK;
    uint8_t position[TV_MAX_RESPONSES];
    char place[560];
    snprintf(place, sizeof place, "%s, \"order\"", where);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, order) {
        if (cJSON_IsArray(entry))
            return tv_fail(TV_E_DATA, "%s: expected a list of ids, found a list in it", place);
    }
    TV_RETURN_IF_FAILED(tv_rank_of_ids(order, &ranking->item, place, position));
    for (uint32_t i = 0; i < ranking->item.count; i++)
        ranking->order[position[i]] = (uint8_t)i;
    return TV_OK;
}

static tv_status read_flags(const cJSON *root, const char *where, tv_arena *arena, tv_ranking *ranking) {
    const cJSON *flags = tv_json_get(root, "flags"), *flag;
    if (!flags || cJSON_IsNull(flags))
        return TV_OK;
    if (!cJSON_IsArray(flags))
        return tv_fail(TV_E_DATA, "%s: expected a list of texts for \"flags\"", where);
    const char **list = tv_arena_alloc(arena, (uint64_t)cJSON_GetArraySize(flags) + 1, sizeof *list);
    if (!list)
        return TV_E_MEMORY;
    ranking->flags = list;
    cJSON_ArrayForEach(flag, flags) {
        if (!cJSON_IsString(flag))
            return tv_fail(TV_E_DATA, "%s: expected a list of texts for \"flags\"", where);
        const char *name = tv_arena_copy(arena, flag->valuestring, strlen(flag->valuestring));
        if (!name)
            return TV_E_MEMORY;
        list[ranking->flag_count++] = name;
        ranking->all_bad = ranking->all_bad || strcmp(name, "all_bad") == 0;
        ranking->repeat = ranking->repeat || strcmp(name, "repeat") == 0;
    }
    return TV_OK;
}

static tv_status copy_text(const cJSON *root, const char *key, const char *where, tv_arena *arena,
                           const char **copy) {
    const char *text;
    TV_RETURN_IF_FAILED(tv_json_string(root, key, where, "", &text));
    *copy = tv_arena_copy(arena, text, strlen(text));
    return *copy ? TV_OK : TV_E_MEMORY;
}

static tv_status read_judgment(const cJSON *root, const char *where, tv_arena *arena, tv_ranking *ranking) {
    const cJSON *groups = tv_json_get(root, "ranking");
    if (!groups)
        return tv_fail(TV_E_DATA,
                       "%s: expected the groups of ids or null under \"ranking\", found no such member",
                       where);
    TV_RETURN_IF_FAILED(read_order(root, where, ranking));
    ranking->skipped = cJSON_IsNull(groups);
    if (!ranking->skipped)
        TV_RETURN_IF_FAILED(tv_rank_of_ids(groups, &ranking->item, where, ranking->rank));
    TV_RETURN_IF_FAILED(read_flags(root, where, arena, ranking));
    TV_RETURN_IF_FAILED(copy_text(root, "annotator", where, arena, &ranking->annotator));
    TV_RETURN_IF_FAILED(copy_text(root, "comment", where, arena, &ranking->comment));
    TV_RETURN_IF_FAILED(copy_text(root, "tool_version", where, arena, &ranking->tool_version));
    TV_RETURN_IF_FAILED(tv_json_number(root, "t_shown", where, 0, &ranking->t_shown));
    TV_RETURN_IF_FAILED(tv_json_number(root, "t_done", where, 0, &ranking->t_done));
    int64_t confidence;
    TV_RETURN_IF_FAILED(tv_json_integer(root, "confidence", where, 0, TV_MAX_CONFIDENCE, 0, &confidence));
    ranking->confidence = (int)confidence;
    return TV_OK;
}

tv_status tv_ranking_read(tv_slice line, const cJSON *root, const char *where, tv_arena *arena,
                          tv_ranking *ranking) {
    *ranking = (tv_ranking){0};
    TV_RETURN_IF_FAILED(tv_item_parse(line, where, arena, &ranking->item));
    return read_judgment(root, where, arena, ranking);
}

tv_status tv_ranking_parse(tv_slice line, const char *where, tv_arena *arena, tv_ranking *ranking) {
    cJSON *root = NULL;
    TV_RETURN_IF_FAILED(tv_json_parse(line.data, line.size, where, &root));
    tv_status status = tv_ranking_read(line, root, where, arena, ranking);
    cJSON_Delete(root);
    return status;
}

static tv_status add_string(tv_text *out, const char *before, const char *text) {
    TV_RETURN_IF_FAILED(tv_json_append(out, before));
    return tv_json_append_string(text ? text : "", text ? strlen(text) : 0, out);
}

static tv_status print_groups(const tv_ranking *ranking, tv_text *line) {
    const tv_item *item = &ranking->item;
    if (ranking->skipped)
        return tv_json_append(line, "null");
    TV_RETURN_IF_FAILED(tv_json_append(line, "["));
    for (uint32_t group = 0, printed = 0; printed < item->count && group < item->count; group++) {
        TV_RETURN_IF_FAILED(tv_json_append(line, group ? ",[" : "["));
        bool first = true;
        for (uint32_t i = 0; i < item->count; i++) {
            if (ranking->rank[i] != group)
                continue;
            TV_RETURN_IF_FAILED(tv_raw_append(line, first ? "" : ",", item->responses[i].id_json));
            first = false;
            printed++;
        }
        TV_RETURN_IF_FAILED(tv_json_append(line, "]"));
    }
    return tv_json_append(line, "]");
}

tv_status tv_ranking_print(const tv_ranking *ranking, tv_text *line) {
    const tv_item *item = &ranking->item;
    char numbers[2 * (DBL_MAX_10_EXP + sizeof ".000") + 64]; /* any two times that a file may hold */
    TV_RETURN_IF_FAILED(tv_raw_append(line, "{\"id\":", item->id_json));
    TV_RETURN_IF_FAILED(tv_raw_append(line, ",\"prompt\":", item->prompt_json));
    TV_RETURN_IF_FAILED(tv_raw_append(line, ",\"responses\":", item->responses_json));
    TV_RETURN_IF_FAILED(tv_json_append(line, ",\"order\":["));
    for (uint32_t i = 0; i < item->count; i++)
        TV_RETURN_IF_FAILED(tv_raw_append(line, i ? "," : "", item->responses[ranking->order[i]].id_json));
    TV_RETURN_IF_FAILED(tv_json_append(line, "],\"ranking\":"));
    TV_RETURN_IF_FAILED(print_groups(ranking, line));
    TV_RETURN_IF_FAILED(add_string(line, ",\"annotator\":", ranking->annotator));
    snprintf(numbers, sizeof numbers, ",\"t_shown\":%.3f,\"t_done\":%.3f,\"confidence\":", ranking->t_shown,
             ranking->t_done);
    TV_RETURN_IF_FAILED(tv_json_append(line, numbers));
    snprintf(numbers, sizeof numbers, "%d", ranking->confidence);
    TV_RETURN_IF_FAILED(tv_json_append(line, ranking->confidence ? numbers : "null"));
    TV_RETURN_IF_FAILED(tv_json_append(line, ",\"flags\":["));
    for (uint64_t i = 0; i < ranking->flag_count; i++)
        TV_RETURN_IF_FAILED(add_string(line, i ? "," : "", ranking->flags[i]));
    TV_RETURN_IF_FAILED(add_string(line, "],\"comment\":", ranking->comment));
    TV_RETURN_IF_FAILED(add_string(line, ",\"tool_version\":", ranking->tool_version));
    return tv_json_append(line, "}");
}
