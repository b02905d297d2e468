/* What a run comes to in a few numbers: those by which its stage is judged.
 *
 * Promise: single steps are noisy, so numbers of steps are means of the last tenth; a number that the run
 * does not have is not there.
 */
#ifndef TV_REPORT_FACTS_H
#define TV_REPORT_FACTS_H

#include "report/run.h"

extern const uint64_t tv_report_fact_count;
/* Fact number `index` of all stages, for people; false where it is none of this run. */
bool tv_report_fact(const tv_report_run *run, uint64_t index, const char **label, char text[40]);

/* "1,234", "0.123" or "12.3 %"; returns `text`. */
const char *tv_report_say(double value, bool percent, char text[40]);

#endif
