/* Words between bars, and the nearest of several: see choices.h. */
#include "base/choices.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static size_t word_length(const char *start) {
    return strcspn(start, "|");
}

/* NULL after the last. */
static const char *next_word(const char *start) {
    const char *end = start + word_length(start);
    return *end ? end + 1 : NULL;
}

int tv_choice_find(const char *choices, const char *word) {
    size_t length = strlen(word);
    int position = 0;
    for (const char *at = choices; at; at = next_word(at), position++)
        if (word_length(at) == length && memcmp(at, word, length) == 0)
            return position;
    return -1;
}

const char *tv_choice_word(const char *choices, int position, char *text, size_t size) {
    const char *at = choices;
    for (const char *next = next_word(at); position > 0 && next; position--, next = next_word(at))
        at = next;
    snprintf(text, size, "%.*s", (int)word_length(at), at);
    return text;
}

const char *tv_choices_list(const char *choices, char *text, size_t size) {
    size_t used = 0;
    for (const char *at = choices; at && used < size; at = next_word(at))
        used +=
            (size_t)snprintf(text + used, size - used, "%s%.*s", used ? ", " : "", (int)word_length(at), at);
    return text;
}

/* Levenshtein distance, words cut to 63 characters. */
static uint64_t edit_distance(const char *a, const char *b) {
    uint64_t row[64];
    uint64_t length_a = tv_min_u64(strlen(a), 63), length_b = tv_min_u64(strlen(b), 63);
    for (uint64_t j = 0; j <= length_b; j++)
        row[j] = j;
    for (uint64_t i = 1; i <= length_a; i++) {
        uint64_t diagonal = row[0];
        row[0] = i;
        for (uint64_t j = 1; j <= length_b; j++) {
            uint64_t above = row[j];
            uint64_t best = diagonal + (a[i - 1] != b[j - 1]);
            best = tv_min_u64(best, tv_min_u64(above, row[j - 1]) + 1);
            diagonal = above;
            row[j] = best;
        }
    }
    return row[length_b];
}

const char *tv_nearest_word(const char *word, const char *const *candidates, uint64_t count) {
    const char *nearest = NULL;
    /* More than half of the letters changed is another word, not a typo. */
    uint64_t best = strlen(word) / 2 + 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t distance = edit_distance(word, candidates[i]);
        /* "warmup" means "warmup_steps", however many letters are missing. */
        if (distance > 1 && strlen(word) >= 3 && strncmp(candidates[i], word, strlen(word)) == 0)
            distance = 1;
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
