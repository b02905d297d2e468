/* The curves of the report: one chart per number that a run records.
 *
 * Promise: a number that no one here has heard of still gets its chart.
 */
#ifndef TV_REPORT_CURVES_H
#define TV_REPORT_CURVES_H

#include "report/page.h"

/* All runs of the page over each other, one colour each. */
void tv_report_write_curves(tv_report_page *page);

/* Of a page with one run: what shows whether its stage did its work, and the rest folded away. */
void tv_report_write_stage_curves(tv_report_page *page);

#endif
