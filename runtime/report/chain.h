/* The chain of runs that a model went through, out of what each run says it began from.
 *
 * Promise: run.json's "model" and a checkpoint's "reward" lead from run to run; what is not there any more,
 * is no run or leads in a circle ends the chain without a word.
 */
#ifndef TV_REPORT_CHAIN_H
#define TV_REPORT_CHAIN_H

#include "report/run.h"

/* Adds behind the `*count` runs those that they began from. `*runs` may move; it keeps room for one more. */
tv_status tv_report_chain_complete(tv_report_run **runs, uint64_t *count);

/* Whether each run is of a stage of its own, and there is more than one: then they are steps of one workflow.
 */
bool tv_report_chain_is_one(const tv_report_run *runs, uint64_t count);

/* In the order of the workflow. */
void tv_report_chain_sort(tv_report_run *runs, uint64_t count);

/* The workflow (pipeline.h) that such runs, sorted, make; the caller deletes. NULL when memory is out. */
cJSON *tv_report_chain_pipeline(const tv_report_run *runs, uint64_t count);

#endif
