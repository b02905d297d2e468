/* Quotes of a shell: see shell_word.h. */
#include "base/shell_word.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool needs_quotes(const char *word) {
    return !word[0] || strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "_-./:=,+@%") != strlen(word);
}

char *tv_shell_word(const char *word) {
    const char *quote = needs_quotes(word) ? "'" : "";
    char *text = malloc(4 * strlen(word) + 3), *at = text;
    if (!text)
        return NULL;
    at += sprintf(at, "%s", quote);
    for (const char *c = word; *c; c++)
        at += *c == '\'' ? sprintf(at, "'\\''") : sprintf(at, "%c", *c);
    sprintf(at, "%s", quote);
    return text;
}
