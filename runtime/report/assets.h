/* The style sheet and the script of the report, as they go into the page.
 *
 * Promise: nothing is loaded from outside; without the script only the hover readout is missing.
 */
#ifndef TV_REPORT_ASSETS_H
#define TV_REPORT_ASSETS_H

extern const char tv_report_css[];
extern const char tv_report_script[];
extern const char tv_report_follow_script[]; /* after the other, of a page that is served */

#endif
