/* Pieces that a judged item is made of while a line is read: for judged_item.c and judged_argilla.c alone.
 * Each appends to item->json. TV_E_DATA names file, line and key. */
#ifndef TV_TEXT_JUDGED_PARTS_H
#define TV_TEXT_JUDGED_PARTS_H

#include "text/judged_item.h"

/* The member `key`, where it is a number or a text that is not empty. */
tv_status tv_judged_set_id(tv_judged_item *item, const tv_json_line *line, const char *key);
/* What the user says: a text, and below it another one that is not empty; or a list of messages. */
tv_status tv_judged_set_prompt(tv_judged_item *item, const tv_json_line *line, const char *key,
                               const cJSON *prompt, const cJSON *below);
tv_status tv_judged_add_answer(tv_judged_item *item, const tv_json_line *line, const char *key,
                               const cJSON *value);
/* `text` as a JSON text; *part is where it stands. */
tv_status tv_judged_name_text(tv_judged_item *item, const char *text, tv_judged_part *part);
/* Ranks for the next verdict, all 0; the caller counts it. */
tv_status tv_judged_next_verdict(tv_judged_item *item, const tv_json_line *line, uint8_t **ranks);
/* Ranks by falling scores: 0 is best, equal scores have one. */
void tv_judged_rank_scores(const double *scores, uint32_t count, uint8_t *ranks);

#endif
