/* Questions with several endings of which one is right, as HellaSwag has them: JSON lines to tokens.
 *
 * Promise: a line is {"ctx", "endings", "label"}, where the text may also be called "query", "prompt" or
 * "question", the list "choices", and the number of the right one, from 0 and as a number or a text, "gold"
 * or "answer". A space stands between text and ending unless one of them brings white space. Both are
 * tokenized as one text and cut where the text's own tokens end, white space at its end going to the ending;
 * what the tokenizer puts before a text, or the end-of-text token before an empty one, stands in front. So
 * log-probabilities are those of EleutherAI's lm-evaluation-harness. Anything else is TV_E_DATA with file and
 * line.
 */
#ifndef TV_TEXT_MULTIPLE_CHOICE_H
#define TV_TEXT_MULTIPLE_CHOICE_H

#include "base/arena.h"
#include "text/prompts.h"

enum { TV_MOST_ENDINGS = 64 };

/* A text with one of its endings. */
typedef struct tv_ending {
    const uint32_t *ids; /* (length) */
    uint64_t length;     /* at least 2 */
    uint64_t first;      /* the ending's first token; at least 1 */
    uint64_t bytes;      /* of the ending, the space before it not counted; at least 1 */
} tv_ending;

typedef struct tv_question {
    uint64_t first; /* of its endings among all */
    uint32_t count, right;
} tv_question;

typedef struct tv_multiple_choice_options {
    tv_tokenizer *tokenizer;
    uint64_t max_tokens; /* of a text with its ending; longer ones lose their beginning. 0: no limit */
} tv_multiple_choice_options;

typedef struct tv_multiple_choice {
    tv_question *questions;
    tv_ending *endings;
    uint64_t count, ending_count;
    uint64_t longest; /* tokens of an ending with its text */
    uint64_t cut;     /* endings whose text lost its beginning */
    tv_arena *arena;  /* what the endings point into */
} tv_multiple_choice;

/* Whether the first of the file's JSON lines is such a question; false for what cannot be read, which its
 * reader says. */
bool tv_multiple_choice_found(const char *path);
/* Which must not be a pipe. An ending that alone is over the limit is TV_E_FIT. */
tv_status tv_multiple_choice_read(const char *path, const tv_multiple_choice_options *options,
                                  tv_multiple_choice **questions);
tv_status tv_multiple_choice_read_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                        const tv_multiple_choice_options *options,
                                        tv_multiple_choice **questions);
void tv_multiple_choice_destroy(tv_multiple_choice **questions);

#endif
