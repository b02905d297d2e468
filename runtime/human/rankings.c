/* Judgments as JSON lines: see rankings.h. */
#include "human/rankings.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "text/json_text.h"
#include "text/judged_item.h"

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
            cJSON_ArrayForEach(entry, group) TV_RETURN_IF_FAILED(rank_id(entry, item, where, number, rank));
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
    cJSON_ArrayForEach(entry, order) if (cJSON_IsArray(entry)) return tv_fail(
        TV_E_DATA, "%s: expected a list of ids, found a list in it", place);
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

static tv_status read_ranking(tv_slice line, const cJSON *root, const char *where, tv_arena *arena,
                              tv_ranking *ranking) {
    *ranking = (tv_ranking){0};
    TV_RETURN_IF_FAILED(tv_item_parse(line, where, arena, &ranking->item));
    return read_judgment(root, where, arena, ranking);
}

tv_status tv_ranking_parse(tv_slice line, const char *where, tv_arena *arena, tv_ranking *ranking) {
    cJSON *root = NULL;
    TV_RETURN_IF_FAILED(tv_json_parse(line.data, line.size, where, &root));
    tv_status status = read_ranking(line, root, where, arena, ranking);
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

/* ---- files ---- */

struct tv_rankings {
    tv_arena *arena; /* of the lines too */
    tv_ranking *items;
    uint64_t count, capacity;
    struct judged_file {
        const char *name; /* in the arena */
        uint64_t hash, lines;
    } * files;
    uint64_t file_count, file_capacity;
    uint64_t lines_before; /* those that are read: in the file that is read on */
    tv_judged_form form;   /* of the file that is read; NONE: judgments as trivium writes them */
    tv_judged_item item;
    tv_text line; /* made of it */
};

static tv_status begin_file(tv_rankings *rankings, const char *name) {
    void *files = rankings->files;
    TV_RETURN_IF_FAILED(
        tv_grow(&files, &rankings->file_capacity, rankings->file_count + 1, sizeof *rankings->files));
    rankings->files = files;
    const char *copy = tv_arena_copy(rankings->arena, name, strlen(name));
    rankings->files[rankings->file_count++] = (struct judged_file){.name = copy};
    return copy ? TV_OK : TV_E_MEMORY;
}

static tv_status add_ranking(tv_rankings *rankings, const tv_json_line *read, const tv_ranking *ranking) {
    void *items = rankings->items;
    TV_RETURN_IF_FAILED(tv_grow(&items, &rankings->capacity, rankings->count + 1, sizeof(tv_ranking)));
    rankings->items = items;
    tv_ranking *added = &rankings->items[rankings->count++];
    *added = *ranking;
    added->file = rankings->files[rankings->file_count - 1].name;
    added->line = rankings->lines_before + read->line;
    return TV_OK;
}

/* ---- items of other programs ---- */

static tv_status append_part(tv_rankings *rankings, const char *before, tv_judged_part part) {
    TV_RETURN_IF_FAILED(tv_json_append(&rankings->line, before));
    return tv_text_append(&rankings->line, rankings->item.json.data + part.at, part.size);
}

/* One annotator's verdict as the line that trivium would have written. */
static tv_status print_verdict(tv_rankings *rankings, const tv_json_line *read, uint32_t verdict) {
    const tv_judged_item *item = &rankings->item;
    const uint8_t *ranks = item->ranks[verdict];
    char id[32];
    rankings->line.size = 0;
    TV_RETURN_IF_FAILED(append_part(rankings, "{\"id\":", item->id));
    if (item->id.size == 0) {
        snprintf(id, sizeof id, "\"line %llu\"", (unsigned long long)(rankings->lines_before + read->line));
        TV_RETURN_IF_FAILED(tv_json_append(&rankings->line, id));
    }
    TV_RETURN_IF_FAILED(append_part(rankings, ",\"prompt\":", item->prompt));
    for (uint32_t i = 0; i < item->answer_count; i++) {
        TV_RETURN_IF_FAILED(
            append_part(rankings, i ? "},{\"id\":" : ",\"responses\":[{\"id\":", item->names[i]));
        TV_RETURN_IF_FAILED(append_part(rankings, ",\"text\":", item->answers[i]));
    }
    TV_RETURN_IF_FAILED(tv_json_append(&rankings->line, "}],\"ranking\":["));
    for (uint32_t rank = 0, named = 0; named < item->answer_count; rank++) {
        const char *before = rank ? ",[" : "[";
        for (uint32_t i = 0; i < item->answer_count; i++)
            if (ranks[i] == rank) {
                TV_RETURN_IF_FAILED(append_part(rankings, before, item->names[i]));
                before = ",";
                named++;
            }
        TV_RETURN_IF_FAILED(tv_json_append(&rankings->line, "]"));
    }
    TV_RETURN_IF_FAILED(append_part(rankings, "],\"annotator\":", item->annotators[verdict]));
    return tv_json_append(&rankings->line, "}");
}

static tv_status add_verdicts(tv_rankings *rankings, const tv_json_line *read) {
    TV_RETURN_IF_FAILED(tv_judged_item_read(rankings->form, read, &rankings->item));
    for (uint32_t i = 0; i < rankings->item.verdict_count; i++) {
        tv_ranking ranking;
        TV_RETURN_IF_FAILED(print_verdict(rankings, read, i));
        const char *copy =
            tv_arena_copy(rankings->arena, (const char *)rankings->line.data, rankings->line.size);
        if (!copy)
            return TV_E_MEMORY;
        TV_RETURN_IF_FAILED(
            tv_ranking_parse((tv_slice){copy, rankings->line.size}, read->where, rankings->arena, &ranking));
        TV_RETURN_IF_FAILED(add_ranking(rankings, read, &ranking));
    }
    return TV_OK;
}

static tv_status begin_form(tv_rankings *rankings, const tv_json_line *read) {
    TV_RETURN_IF_FAILED(begin_file(rankings, read->file));
    rankings->form = tv_json_get(read->root, "ranking") ? TV_JUDGED_NONE : tv_judged_form_of(read);
    if (rankings->form)
        tv_info("%s: %s", read->file, tv_judged_form_name(rankings->form));
    return TV_OK;
}

static tv_status add_line(void *context, const tv_json_line *read) {
    tv_rankings *rankings = context;
    tv_ranking ranking;
    if (rankings->file_count == 0 || strcmp(rankings->files[rankings->file_count - 1].name, read->file) != 0)
        TV_RETURN_IF_FAILED(begin_form(rankings, read));
    struct judged_file *file = &rankings->files[rankings->file_count - 1];
    file->hash = tv_hash_bytes(read->bytes, read->size, file->hash);
    file->lines++;
    if (rankings->form)
        return add_verdicts(rankings, read);
    const char *copy = tv_arena_copy(rankings->arena, read->bytes, read->size);
    if (!copy)
        return TV_E_MEMORY;
    /* cJSON's texts end at a zero: the tree with a mark in its place is no tree of these bytes. */
    TV_RETURN_IF_FAILED(
        read->zero_mark[0]
            ? tv_ranking_parse((tv_slice){copy, read->size}, read->where, rankings->arena, &ranking)
            : read_ranking((tv_slice){copy, read->size}, read->root, read->where, rankings->arena, &ranking));
    return add_ranking(rankings, read, &ranking);
}

tv_status tv_rankings_create(tv_rankings **rankings) {
    *rankings = calloc(1, sizeof **rankings);
    if (!*rankings)
        return tv_fail(TV_E_MEMORY, "out of host memory for rankings");
    tv_status status = tv_arena_create(&(*rankings)->arena);
    if (status != TV_OK)
        tv_rankings_destroy(rankings);
    return status;
}

tv_status tv_rankings_read_bytes(const char *bytes, uint64_t size, const char *name, tv_rankings **rankings) {
    TV_RETURN_IF_FAILED(tv_rankings_create(rankings));
    tv_status status =
        tv_source_read_json_bytes((const uint8_t *)(bytes ? bytes : ""), size, name, add_line, *rankings);
    if (status != TV_OK)
        tv_rankings_destroy(rankings);
    return status;
}

/* Judgments that count twice would look like agreement. */
static tv_status check_files_differ(const tv_rankings *rankings) {
    const struct judged_file *files = rankings->files;
    for (uint64_t i = 0; i < rankings->file_count; i++)
        for (uint64_t j = 0; j < i; j++)
            if (files[i].hash == files[j].hash && files[i].lines == files[j].lines)
                return tv_fail(TV_E_DATA,
                               "%s: expected judgments that are not in another file too, found those of %s; "
                               "leave one of them out",
                               files[i].name, files[j].name);
    return TV_OK;
}

static int by_judge(const void *a, const void *b) {
    const tv_ranking *left = *(const tv_ranking *const *)a, *right = *(const tv_ranking *const *)b;
    int order = strcmp(left->annotator, right->annotator);
    if (order == 0)
        order = strcmp(left->item.id, right->item.id);
    return order ? order : (left > right) - (left < right);
}

/* Files may overlap in part: what one annotator said of an item in two of them counts twice. */
static tv_status say_overlap(const tv_rankings *rankings) {
    if (rankings->file_count < 2)
        return TV_OK;
    const tv_ranking **sorted = calloc(rankings->count, sizeof *sorted), *one = NULL, *other = NULL;
    if (!sorted)
        return tv_fail(TV_E_MEMORY, "out of host memory for rankings");
    uint64_t count = 0, twice = 0;
    for (uint64_t i = 0; i < rankings->count; i++)
        if (rankings->items[i].annotator[0] && !rankings->items[i].repeat)
            sorted[count++] = &rankings->items[i];
    qsort(sorted, count, sizeof(const tv_ranking *), by_judge);
    for (uint64_t i = 1; i < count; i++) {
        const tv_ranking *before = sorted[i - 1], *now = sorted[i];
        if (before->file == now->file || strcmp(before->annotator, now->annotator) != 0 ||
            strcmp(before->item.id, now->item.id) != 0)
            continue;
        if (twice++ == 0) {
            one = before;
            other = now;
        }
    }
    if (twice)
        tv_warn(
            "%llu judgment%s twice: the same annotator judged the same item in another file too, as %s did "
            "\"%.80s\" in %s line %llu and %s line %llu",
            (unsigned long long)twice, twice == 1 ? " counts" : "s count", one->annotator, one->item.id,
            one->file, (unsigned long long)one->line, other->file, (unsigned long long)other->line);
    free(sorted);
    return TV_OK;
}

tv_status tv_rankings_read(const char *const *paths, uint64_t count, tv_rankings **rankings) {
    tv_status status;
    TV_RETURN_IF_FAILED(tv_rankings_create(rankings));
    for (uint64_t i = 0; i < count; i++)
        if (!tv_path_exists(paths[i]) || tv_path_is_directory(paths[i])) {
            status = tv_fail(TV_E_USAGE, "%s: expected a file of rankings, found %s", paths[i],
                             tv_path_exists(paths[i]) ? "a folder" : "nothing of that name");
            goto fail;
        }
    for (uint64_t i = 0; i < count; i++)
        for (uint64_t j = 0; j < i; j++)
            if (strcmp(paths[i], paths[j]) == 0) {
                status =
                    tv_fail(TV_E_DATA, "%s: expected each file of rankings once, found it twice", paths[i]);
                goto fail;
            }
    for (uint64_t i = 0, size; i < count; i++)
        if (tv_file_size(paths[i], &size) != TV_OK || size > 0) /* an annotator may not have begun */
            TV_TRY_OR_FAIL(tv_source_read_json(&paths[i], 1, add_line, *rankings, NULL));
    TV_TRY_OR_FAIL(check_files_differ(*rankings));
    TV_TRY_OR_FAIL(say_overlap(*rankings));
    return TV_OK;
fail:
    tv_rankings_destroy(rankings);
    return status;
}

tv_status tv_rankings_read_on(tv_rankings *rankings, const char *path, uint64_t *offset) {
    tv_file *file = NULL;
    uint8_t *bytes = NULL;
    tv_status status;
    TV_TRY(tv_file_open(path, &file));
    uint64_t whole = tv_file_bytes(file), size = whole > *offset ? whole - *offset : 0, lines = 0;
    if (!(bytes = malloc(size + 1))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for rankings");
        goto done;
    }
    TV_TRY(tv_file_read_at(file, *offset, bytes, size));
    while (size > 0 && bytes[size - 1] != '\n')
        size--;
    if (size == 0)
        goto done;
    TV_TRY(tv_source_read_json_bytes(bytes, size, path, add_line, rankings));
    for (uint64_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    rankings->lines_before += lines;
    *offset += size;
done:
    tv_file_close(&file);
    free(bytes);
    return status;
}

void tv_rankings_destroy(tv_rankings **rankings) {
    if (!rankings || !*rankings)
        return;
    tv_arena_destroy(&(*rankings)->arena);
    tv_judged_item_free(&(*rankings)->item);
    tv_text_free(&(*rankings)->line);
    free((*rankings)->items);
    free((*rankings)->files);
    free(*rankings);
    *rankings = NULL;
}

uint64_t tv_rankings_count(const tv_rankings *rankings) {
    return rankings->count;
}

const tv_ranking *tv_rankings_at(const tv_rankings *rankings, uint64_t index) {
    return &rankings->items[index];
}
