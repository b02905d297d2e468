/* What a stage does, for somebody who sees it for the first time: two sentences, and one line of its data.
 *
 * Promise: data that is not there any more, or not in a shape that is known here, is left out without a word.
 */
#ifndef TV_REPORT_LESSON_H
#define TV_REPORT_LESSON_H

#include "report/page.h"

/* Of the page's first run; nothing for a stage that is not known. */
void tv_report_write_lesson(tv_report_page *page);

#endif
