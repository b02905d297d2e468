/* The report: runs as one self-contained HTML page.
 *
 * Promise: one file without outside resources, readable without scripts, in light and dark, on paper and in
 * narrow windows; every text that comes from a file is escaped. Files that a run lacks (no steps yet, no
 * samples, a last line cut short) are passed over with a note.
 */
#ifndef TV_REPORT_REPORT_H
#define TV_REPORT_REPORT_H

#include <stdint.h>

#include "base/status.h"

/* Reads each run directory and writes the page to `out`, atomically. `pipeline` is NULL or a description of
 * what ran around them (pipeline.h): the page then opens with the workflow. TV_E_USAGE where a
 * directory is no run; TV_E_DATA for a file that cannot be read as what it should be. */
tv_status tv_report_write(const char *const *runs, uint64_t run_count, const char *pipeline, const char *out);
/* The same page as a text, which the caller frees: without links to files, and with a script that asks for
 * the page's newer state (follow.h), which the browser runs by `nonce`. The same files give the same bytes.
 */
tv_status tv_report_make(const char *const *runs, uint64_t run_count, const char *pipeline, const char *nonce,
                         char **page, uint64_t *size);

#endif
