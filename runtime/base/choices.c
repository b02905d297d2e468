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

enum { MOST_LETTERS = 63 };

/* Letters changed, left out or put in, and neighbours that changed places (optimal string alignment). */
static uint64_t edit_distance(const char *a, const char *b) {
    uint64_t rows[3][MOST_LETTERS + 1];
    const uint64_t length_a = tv_min_u64(strlen(a), MOST_LETTERS),
                   length_b = tv_min_u64(strlen(b), MOST_LETTERS);
    for (uint64_t i = 0; i <= length_a; i++) {
        uint64_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        for (uint64_t j = 0; j <= length_b; j++) {
            if (i == 0 || j == 0) {
                row[j] = i + j;
                continue;
            }
            row[j] = tv_min_u64(above[j - 1] + (a[i - 1] != b[j - 1]), tv_min_u64(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = tv_min_u64(row[j], second[j - 2] + 1);
        }
    }
    return rows[length_a % 3][length_b];
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
