/* The rounds of `trivium align` in one directory: what each came to, side by side.
 *
 * Promise: reads what is there (round-K/candidates.jsonl, rankings.jsonl, prefs.jsonl, the runs reward, dpo,
 * ppo and grpo, STEP.finished); a round that goes on shows what it has so far. Every text from a file is
 * escaped, and a line that is not what it should be is passed over.
 */
#ifndef TV_REPORT_ROUNDS_H
#define TV_REPORT_ROUNDS_H

#include "report/page.h"

/* Whether rounds were begun there: it has an align.json. */
bool tv_report_is_rounds(const char *directory);

/* The runs of all rounds in their order, named "round-K/STAGE", and what the page says of the rounds, in the
 * shape of pipeline.h with "rounds" beside it. The caller frees both, also after a failure. */
tv_status tv_report_rounds_load(const char *directory, tv_report_run **runs, uint64_t *count, cJSON **rounds);

/* A table with a column a round, its numbers as curves over the rounds, and the same prompts answered in
 * each.
 */
void tv_report_write_rounds(tv_report_page *page);

#endif
