/* A program that is asked and answers: a judge, or a scorer of texts.
 *
 *     question   {"id": ..., ...}                  a line
 *     answer     {"id": ..., ...} or anything      a line; with the id of its question or without
 *
 * Promise: an answer is given to the question it belongs to, or the dialogue ends with a sentence
 * (TV_E_DATA). Answers that name ids may come in any order, and several questions are then out at a time. A
 * program whose answers name none has one question at a time, and must have read it before it answers. A line
 * that answers nothing is an end, whether it comes before a question, twice, or after the last; where no ids
 * are named it may be found a few questions late, but it is found.
 */
#ifndef TV_BASE_DIALOGUE_H
#define TV_BASE_DIALOGUE_H

#include <stdbool.h>

#include "base/json.h"

typedef struct tv_dialogue tv_dialogue;

typedef struct tv_answer {
    uint64_t question; /* the number it was asked with; after a failure that of the one waiting longest */
    const char *line;  /* terminated by zero */
    uint64_t length;
    const cJSON *object; /* NULL: the line is no JSON object */
} tv_answer;

/* Starts the program as tv_subprocess_start does. At most `most` questions are out at a time. */
tv_status tv_dialogue_start(const char *command, uint64_t most, tv_dialogue **dialogue);
/* Seconds that an answer may take from when it is waited for, then TV_E_DATA; 0, as it begins: no limit. */
void tv_dialogue_set_limit(tv_dialogue *dialogue, double seconds);
/* Whether a question may be asked now; one may whenever none is out. */
bool tv_dialogue_takes_more(const tv_dialogue *dialogue);
uint64_t tv_dialogue_outstanding(const tv_dialogue *dialogue);
/* `line` is the question, without its newline; `id` the id that stands in it, as a text. Both are copied. */
tv_status tv_dialogue_ask(tv_dialogue *dialogue, uint64_t question, const char *id, const char *line,
                          uint64_t length);
/* Waits so many seconds at most until tv_dialogue_answer would not wait (*came); fails as it does. */
tv_status tv_dialogue_await(tv_dialogue *dialogue, double seconds, bool *came);
/* Waits for the next answer, which lasts until the next call. TV_E_INTERRUPTED after Ctrl-C. */
tv_status tv_dialogue_answer(tv_dialogue *dialogue, tv_answer *answer);
/* When all is answered: the program gets two seconds to end, and must have nothing left to say. */
tv_status tv_dialogue_finish(tv_dialogue *dialogue);
void tv_dialogue_close(tv_dialogue **dialogue);

#endif
