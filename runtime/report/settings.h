/* The settings part of the report: JSON trees of several runs side by side.
 *
 * Promise: objects become dotted keys in the order of the files; with several runs, what differs stands
 * first.
 */
#ifndef TV_REPORT_SETTINGS_H
#define TV_REPORT_SETTINGS_H

#include "report/html.h"

/* `trees[i]` belongs to the run called `names[i]`; a NULL tree has no keys. Writes nothing, not even the
 * title, when no tree has a key. */
void tv_report_settings_write(tv_html *html, const char *title, const cJSON *const *trees,
                              const char *const *names, uint64_t count);

#endif
