/* Preference data for reward models and DPO: pairs and ranked answers as JSON lines.
 *
 * Promise: these shapes are read, and the items of other programs (judged_item.h), found by the keys of a
 * file's first line and named in the log (docs/data.md):
 *   {"prompt": p, "chosen": a, "rejected": a} (+ "margin": number, "tie": true)
 *   {"chosen": a, "rejected": a}: texts or lists of messages; what both begin with is the prompt
 *   {"prompt": p, "answers": [{"answer": a, "rank": number}, ...]}: the lower rank is better
 *   {"prompt": p, "completion": a, "label": true or false}: an answer by itself, where the options take them
 * A prompt is a text or a list of messages; an answer is a text, or a list with one message of the assistant
 * (with the prompt's messages in front or not). A group with a response over `max_tokens` is dropped, not
 * cut, and counted; so is a pair of twice the same answer. Any other line is TV_E_DATA with file and line.
 */
#ifndef TV_TEXT_PREFERENCES_H
#define TV_TEXT_PREFERENCES_H

#include "base/arena.h"
#include "text/judged_item.h"
#include "text/prompts.h"

typedef struct tv_preference_response {
    const uint32_t *ids; /* prompt, response, end token */
    uint64_t length, prompt_length;
    uint32_t rank; /* 0 is best; equal ranks are a tie; no number is left out */
} tv_preference_response;

typedef struct tv_preference_group {
    tv_preference_response *responses; /* best first; answers of one rank in the file's order */
    uint64_t count;                    /* at least 2; 1: an answer by itself */
    bool desirable;                    /* its label */
    double margin;                     /* of a pair; 0 where the line gives none */
    uint64_t prompt_hash;              /* of the prompt's tokens: for tv_split_by_prompt */
    const char *file;
    uint64_t line;
} tv_preference_group;

typedef struct tv_preferences_options {
    const char *const *paths;
    uint64_t path_count;
    tv_tokenizer *tokenizer;
    uint64_t max_tokens;  /* the longest response with its prompt; 0: no limit */
    tv_verdicts verdicts; /* what several annotators of an item make */
    bool unpaired;        /* answers by themselves are taken too; without it they are TV_E_USAGE */
} tv_preferences_options;

typedef struct tv_preferences {
    tv_preference_group *groups; /* in the order of the files */
    uint64_t count;
    uint64_t responses, most; /* of all groups, and of the largest */
    uint64_t longest;         /* tokens of the longest response with its prompt */
    uint64_t too_long, same;  /* groups that were dropped */
    uint64_t undecided;  /* pairs of judged items that nobody, or no majority, set in an order: dropped */
    tv_answer_ends ends; /* of their answers */
    tv_arena *arena;     /* what the groups point into */
} tv_preferences;

/* No group at all, or none left, is TV_E_DATA, and TV_E_FIT where some were too long; a file of rankings,
 * from which preferences are yet to be made, is TV_E_USAGE. */
tv_status tv_preferences_read(const tv_preferences_options *options, tv_preferences **set);
/* One file's bytes; `paths` of the options is not looked at. */
tv_status tv_preferences_read_bytes(const tv_preferences_options *options, const uint8_t *bytes,
                                    uint64_t size, const char *name, tv_preferences **set);
void tv_preferences_destroy(tv_preferences **set);

#endif
