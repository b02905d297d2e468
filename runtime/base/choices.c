/* Words between bars: see choices.h. */
#include "base/choices.h"

#include <stdio.h>
#include <string.h>

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
