/* Items that people or models judged, as other programs write them: several answers to a prompt, and what
 * each annotator said of them.
 *
 *   PandaLM        {"instruction", "input", "response1", "response2", "annotator1", "annotator2", ...}: each
 *                  annotator says 1, 2, or 0 for a tie
 *   UltraFeedback  {"instruction", "completions": [{"response", "fine-grained_score" or "overall_score"}]}:
 *                  the higher score is better
 *   UltraFeedback, pairs   {"instruction", "chosen_response", "rejected_response"}
 *   Argilla        records as they are exported: {"fields", "responses": {question: [{"value", "user_id"}]}},
 *                  flat {field..., "question.responses", "question.responses.users"}, or {field..., question:
 *                  [{"value", "user_id", "status"}]}; a value names fields, best first, or the better one
 *
 * Promise: a form is known by a line's keys; a line that does not keep to it is TV_E_DATA with file, line and
 * key. An instruction is what the user says, its input below it behind a blank line, as in demonstrations.
 * What an answer is may be a text, a list of messages, or a number or truth value, which counts as its text.
 */
#ifndef TV_TEXT_JUDGED_ITEM_H
#define TV_TEXT_JUDGED_ITEM_H

#include "text/source.h"

typedef enum tv_judged_form {
    TV_JUDGED_NONE,
    TV_JUDGED_PANDALM,
    TV_JUDGED_ULTRAFEEDBACK,
    TV_JUDGED_ULTRAFEEDBACK_PAIRS,
    TV_JUDGED_ARGILLA,
    TV_JUDGED_ARGILLA_FLAT,
    TV_JUDGED_ARGILLA_QUESTIONS
} tv_judged_form;

enum { TV_JUDGED_ANSWERS = 16, TV_JUDGED_VERDICTS = 64 };

/* A piece of tv_judged_item.json. */
typedef struct tv_judged_part {
    uint64_t at, size;
} tv_judged_part;

/* Zero-initialised it is empty; its memory is used again by the next reading. */
typedef struct tv_judged_item {
    tv_text json;              /* what the parts are of */
    tv_judged_part id, prompt; /* id: of size 0 where there is none */
    tv_judged_part names[TV_JUDGED_ANSWERS], answers[TV_JUDGED_ANSWERS]; /* names: texts in the file */
    uint32_t answer_count;                                               /* 2 or more */
    tv_judged_part annotators[TV_JUDGED_VERDICTS];                       /* texts */
    uint8_t ranks[TV_JUDGED_VERDICTS][TV_JUDGED_ANSWERS]; /* 0 is best, no gaps, equal is a tie */
    uint32_t verdict_count;                               /* 0: nobody has judged it yet */
} tv_judged_item;

/* By the keys of a file's first line. */
tv_judged_form tv_judged_form_of(const tv_json_line *line);
/* "PandaLM: {...}", as the log says it. */
const char *tv_judged_form_name(tv_judged_form form);
tv_status tv_judged_item_read(tv_judged_form form, const tv_json_line *line, tv_judged_item *item);
void tv_judged_item_free(tv_judged_item *item);

/* The keys that are read of the form's lines, up to NULL; NULL where they are the file's own. */
const char *const *tv_judged_form_keys(tv_judged_form form);

/* How several verdicts of an item become preferences. Values are pinned by "majority|each". */
typedef enum tv_verdicts {
    TV_VERDICTS_MAJORITY, /* of every two answers what most say; where no verdict leads, a tie */
    TV_VERDICTS_EACH      /* each annotator's own, so that a pair counts as often as it was said */
} tv_verdicts;

/* What most say of two answers: -1 the first is better, 1 the second, 0 a tie or no verdict that leads. */
int tv_verdict_of_most(uint64_t first, uint64_t second, uint64_t ties);

/* Appends the item as lines that text/preferences.h reads, each with its newline; of two answers that are
 * equal there is no line, and *ties counts them. */
tv_status tv_judged_item_print(const tv_judged_item *item, tv_verdicts verdicts, tv_text *lines,
                               uint64_t *ties);

#endif
