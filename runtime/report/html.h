/* A growing text of HTML.
 *
 * Promise: text from outside goes through tv_html_text (escaped, invalid UTF-8 replaced); out of memory is
 * remembered and reported once, at the end.
 */
#ifndef TV_REPORT_HTML_H
#define TV_REPORT_HTML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

/* Zero-initialise; free `text` with free(). */
typedef struct tv_html {
    char *text;
    uint64_t size, room;
    bool failed;
} tv_html;

/* Markup as it stands. */
void tv_html_raw(tv_html *html, const char *markup);
/* Markup with numbers; never with texts from outside. */
void tv_html_format(tv_html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text for element content and quoted attributes. */
void tv_html_text(tv_html *html, const char *text);
/* The same, cut after `limit` bytes (at a whole character) with an ellipsis. */
void tv_html_text_cut(tv_html *html, const char *text, uint64_t limit);
/* A JSON value inside <script type="application/json">. */
void tv_html_json(tv_html *html, const cJSON *value);
/* A path as the value of href: percent-encoded, slashes kept. */
void tv_html_href(tv_html *html, const char *path);

/* Numbers for people: "1,234", "12.3M", "6e-4", "3.2145"; each returns `text`. */
char *tv_html_count(double value, char text[40]);
char *tv_html_number(double value, char text[40]);
char *tv_html_duration(double seconds, char text[40]);

#endif
