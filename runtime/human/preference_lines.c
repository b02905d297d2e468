/* Pairs and partial orders from judgments: see preference_lines.h. */
#include "human/preference_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "text/json_text.h"
#include "text/split.h"

enum { TRAIN, VAL, PARTS };

typedef struct writing {
    const tv_rankings *rankings;
    const tv_preference_lines_options *options;
    tv_preference_lines_totals *totals;
    uint8_t *part; /* of each judgment */
    tv_writer *writers[PARTS];
    tv_text line;
} writing;

static bool counts(const tv_ranking *ranking) {
    return !ranking->skipped && !ranking->repeat;
}

/* Whether there is a pair of different texts to learn from. */
static bool gives_lines(const tv_preference_lines_options *options, const tv_ranking *ranking) {
    const tv_item *item = &ranking->item;
    /* Of one that is a tie others may say more. */
    const bool ties = options->ties || options->verdicts == TV_VERDICTS_MAJORITY;
    for (uint32_t i = 0; counts(ranking) && i < item->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if ((ties || ranking->rank[i] != ranking->rank[j]) &&
                !tv_slice_equal(item->responses[i].text, item->responses[j].text))
                return true;
    return false;
}

/* ---- the split ---- */

/* Spelled alike, whatever spaces and escapes the file has: one prompt must not be in both parts. */
static tv_status hash_prompt(tv_slice prompt, uint64_t *hash) {
    cJSON *root = NULL;
    char *text = NULL;
    tv_status status;
    TV_TRY(tv_json_parse(prompt.data, prompt.size, "prompt", &root));
    TV_TRY(tv_json_print_line(root, &text));
    *hash = tv_hash_bytes(text, strlen(text), 0);
done:
    cJSON_free(text);
    cJSON_Delete(root);
    return status;
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Different hashes among `count`, which are sorted for it. */
static uint64_t count_prompts(uint64_t *hashes, uint64_t count) {
    uint64_t prompts = 0;
    if (count)
        qsort(hashes, count, sizeof *hashes, compare_hashes);
    for (uint64_t i = 0; i < count; i++)
        prompts += i == 0 || hashes[i] != hashes[i - 1];
    return prompts;
}

/* The part of each judgment, and how many prompts there are in each. */
static tv_status split(writing *w) {
    uint64_t count = tv_rankings_count(w->rankings), used = 0, held = 0;
    uint64_t *hashes = calloc(count + 1, sizeof *hashes);
    uint8_t *held_out = calloc(count + 1, sizeof *held_out);
    w->part = calloc(count + 1, sizeof *w->part);
    tv_status status;
    if (!hashes || !held_out || !w->part) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the split");
        goto done;
    }
    for (uint64_t i = 0; i < count; i++)
        if (gives_lines(w->options, tv_rankings_at(w->rankings, i)))
            TV_TRY(hash_prompt(tv_rankings_at(w->rankings, i)->item.prompt_json, &hashes[used++]));
    TV_TRY(tv_split_by_prompt(hashes, used, w->options->seed, w->options->val_fraction, held_out));
    for (uint64_t i = 0, next = 0; i < count; i++)
        if (gives_lines(w->options, tv_rankings_at(w->rankings, i)))
            w->part[i] = held_out[next++] ? VAL : TRAIN;
    /* Those held out, moved to the front, are a part of their own to count. */
    for (uint64_t i = 0; i < used; i++) {
        uint64_t hash = hashes[i];
        if (!held_out[i])
            continue;
        hashes[i] = hashes[held];
        hashes[held++] = hash;
    }
    w->totals->val_prompts = count_prompts(hashes, held);
    w->totals->prompts = count_prompts(hashes, used);
done:
    free(hashes);
    free(held_out);
    return status;
}

/* ---- lines ---- */

static tv_status begin_line(writing *w, const tv_item *item) {
    w->line.size = 0;
    return tv_raw_append(&w->line, "{\"prompt\":", item->prompt_json);
}

static tv_status add_answer(writing *w, const tv_item *item, uint32_t response) {
    bool messages = item->prompt_json.data[0] == '[';
    const char *before = messages ? "[{\"role\":\"assistant\",\"content\":" : "";
    TV_RETURN_IF_FAILED(tv_raw_append(&w->line, before, item->responses[response].text_json));
    return messages ? tv_json_append(&w->line, "}]") : TV_OK;
}

static tv_status end_line(writing *w, int part) {
    TV_RETURN_IF_FAILED(tv_json_append(&w->line, "}\n"));
    *(part == VAL ? &w->totals->val_lines : &w->totals->lines) += 1;
    return tv_writer_write(w->writers[part], w->line.data, w->line.size);
}

static tv_status write_pair(writing *w, const tv_item *item, uint32_t chosen, uint32_t rejected, bool tie,
                            int part) {
    TV_RETURN_IF_FAILED(begin_line(w, item));
    TV_RETURN_IF_FAILED(tv_json_append(&w->line, ",\"chosen\":"));
    TV_RETURN_IF_FAILED(add_answer(w, item, chosen));
    TV_RETURN_IF_FAILED(tv_json_append(&w->line, ",\"rejected\":"));
    TV_RETURN_IF_FAILED(add_answer(w, item, rejected));
    if (tie)
        TV_RETURN_IF_FAILED(tv_json_append(&w->line, ",\"tie\":true"));
    return end_line(w, part);
}

/* Responses best first; the order of the file among equals. */
static void sort_by_rank(const tv_ranking *ranking, uint32_t *sorted) {
    uint32_t used = 0;
    for (uint32_t rank = 0; rank < ranking->item.count; rank++)
        for (uint32_t i = 0; i < ranking->item.count; i++)
            if (ranking->rank[i] == rank)
                sorted[used++] = i;
}

static tv_status write_list(writing *w, const tv_ranking *ranking, const uint32_t *sorted, int part) {
    const tv_item *item = &ranking->item;
    TV_RETURN_IF_FAILED(begin_line(w, item));
    TV_RETURN_IF_FAILED(tv_json_append(&w->line, ",\"answers\":["));
    for (uint32_t i = 0; i < item->count; i++) {
        char rank[32];
        snprintf(rank, sizeof rank, ",\"rank\":%u}", ranking->rank[sorted[i]] + 1u);
        TV_RETURN_IF_FAILED(tv_json_append(&w->line, i ? ",{\"answer\":" : "{\"answer\":"));
        TV_RETURN_IF_FAILED(add_answer(w, item, sorted[i]));
        TV_RETURN_IF_FAILED(tv_json_append(&w->line, rank));
    }
    TV_RETURN_IF_FAILED(tv_json_append(&w->line, "]"));
    return end_line(w, part);
}

static tv_status write_judgment(writing *w, const tv_ranking *ranking, int part) {
    const tv_item *item = &ranking->item;
    uint32_t sorted[TV_MAX_RESPONSES] = {0};
    uint64_t strict = 0, tied = 0;
    sort_by_rank(ranking, sorted);
    for (uint32_t i = 0; i < item->count; i++)
        for (uint32_t j = i + 1; j < item->count; j++) {
            uint32_t a = sorted[i], b = sorted[j];
            bool tie = ranking->rank[a] == ranking->rank[b];
            if (tv_slice_equal(item->responses[a].text, item->responses[b].text)) {
                w->totals->same++;
                continue;
            }
            *(tie ? &tied : &strict) += 1;
            if (!w->options->listwise && (!tie || w->options->ties))
                TV_RETURN_IF_FAILED(write_pair(w, item, a, b, tie, part));
        }
    w->totals->pairs += strict;
    w->totals->ties += tied;
    /* An order in which all are equal teaches nothing, unless ties do. */
    if (w->options->listwise && (strict > 0 || (w->options->ties && tied > 0)))
        return write_list(w, ranking, sorted, part);
    return TV_OK;
}

/* ---- what most say ---- */

typedef struct judged {
    uint64_t item, number; /* the item's hash; of the judgment */
} judged;

static int compare_judged(const void *a, const void *b) {
    const judged *x = a, *y = b;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int compare_numbers(const void *a, const void *b) {
    const judged *const *x = a, *const *y = b;
    return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

/* All judgments of one item, of which the first says the part. */
static tv_status write_item(writing *w, const judged *all, uint64_t count) {
    const tv_item *item = &tv_rankings_at(w->rankings, all[0].number)->item;
    for (uint32_t i = 0; i < item->count; i++)
        for (uint32_t j = i + 1; j < item->count; j++) {
            uint64_t votes[3] = {0};
            if (tv_slice_equal(item->responses[i].text, item->responses[j].text)) {
                w->totals->same++;
                continue;
            }
            for (uint64_t v = 0; v < count; v++) {
                const uint8_t *rank = tv_rankings_at(w->rankings, all[v].number)->rank;
                votes[rank[i] < rank[j] ? 0 : rank[i] > rank[j] ? 1 : 2]++;
            }
            int most = tv_verdict_of_most(votes[0], votes[1], votes[2]);
            *(most ? &w->totals->pairs : &w->totals->ties) += 1;
            if (most || w->options->ties)
                TV_RETURN_IF_FAILED(
                    write_pair(w, item, most > 0 ? j : i, most > 0 ? i : j, !most, w->part[all[0].number]));
        }
    return TV_OK;
}

/* Items in the order of their first judgments. */
static tv_status write_majorities(writing *w) {
    uint64_t rankings = tv_rankings_count(w->rankings), count = 0, items = 0;
    judged *all = calloc(rankings + 1, sizeof *all);
    const judged **first = calloc(rankings + 1, sizeof *first);
    tv_status status = all && first ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for judgments");
    for (uint64_t i = 0; status == TV_OK && i < rankings; i++)
        if (counts(tv_rankings_at(w->rankings, i)))
            all[count++] = (judged){tv_item_hash(&tv_rankings_at(w->rankings, i)->item), i};
    if (status == TV_OK && count)
        qsort(all, count, sizeof *all, compare_judged);
    for (uint64_t i = 0; i < count; i++)
        if (i == 0 || all[i].item != all[i - 1].item)
            first[items++] = &all[i];
    if (items)
        qsort(first, items, sizeof *first, compare_numbers);
    for (uint64_t i = 0; status == TV_OK && i < items; i++) {
        uint64_t judges = 1, left = count - (uint64_t)(first[i] - all);
        while (judges < left && first[i][judges].item == first[i]->item)
            judges++;
        status = write_item(w, first[i], judges);
    }
    w->totals->items = items;
    free(first);
    free(all);
    return status;
}

static tv_status write_all(writing *w) {
    for (uint64_t i = 0; i < tv_rankings_count(w->rankings); i++) {
        const tv_ranking *ranking = tv_rankings_at(w->rankings, i);
        w->totals->judgments++;
        w->totals->skipped += ranking->skipped;
        w->totals->repeats += ranking->repeat && !ranking->skipped;
        w->totals->all_bad += ranking->all_bad && counts(ranking);
        if (counts(ranking) && w->options->verdicts == TV_VERDICTS_EACH)
            TV_RETURN_IF_FAILED(write_judgment(w, ranking, w->part[i]));
    }
    return w->options->verdicts == TV_VERDICTS_MAJORITY ? write_majorities(w) : TV_OK;
}

tv_status tv_preference_lines_write(const tv_rankings *rankings, const tv_preference_lines_options *options,
                                    tv_preference_lines_totals *totals) {
    writing w = {.rankings = rankings, .options = options, .totals = totals};
    tv_status status;
    *totals = (tv_preference_lines_totals){0};
    TV_TRY(split(&w));
    TV_TRY(tv_writer_open_named(options->out, &w.writers[TRAIN]));
    if (options->val_fraction > 0)
        TV_TRY(tv_writer_open_named(options->val_out, &w.writers[VAL]));
    TV_TRY(write_all(&w));
    if (totals->lines == 0) {
        status = tv_fail(
            TV_E_DATA,
            "%llu judgments give no preference: %llu skipped, %llu tied pairs, %llu pairs of the same text; "
            "nothing was written",
            (unsigned long long)totals->judgments, (unsigned long long)totals->skipped,
            (unsigned long long)totals->ties, (unsigned long long)totals->same);
        goto done;
    }
    if (w.writers[VAL])
        TV_TRY(tv_writer_commit(&w.writers[VAL]));
    TV_TRY(tv_writer_commit(&w.writers[TRAIN]));
done:
    tv_writer_abort(&w.writers[TRAIN]);
    tv_writer_abort(&w.writers[VAL]);
    tv_text_free(&w.line);
    free(w.part);
    return status;
}
