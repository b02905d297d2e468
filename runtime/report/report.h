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

#endif
