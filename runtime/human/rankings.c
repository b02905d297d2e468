/* Files of judgments: see rankings.h. */
#include "human/rankings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "text/json_text.h"
#include "text/judged_item.h"

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
    TV_RETURN_IF_FAILED(read->zero_mark[0] ? tv_ranking_parse((tv_slice){copy, read->size}, read->where,
                                                              rankings->arena, &ranking)
                                           : tv_ranking_read((tv_slice){copy, read->size}, read->root,
                                                             read->where, rankings->arena, &ranking));
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
