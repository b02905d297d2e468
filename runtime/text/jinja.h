/* Jinja templates, as far as chat templates use the language, with provenance and bounds.
 *
 * Promise: a template renders as Jinja 3.1 does with the settings of transformers (trim_blocks,
 * lstrip_blocks, break and continue, {% generation %}, tojson, raise_exception, strftime_now, Python's
 * methods); what is not supported is refused by name, with the template's line. A template is a stranger's
 * program: steps, memory and depth are bounded, nothing outside the given variables and the date is seen. A
 * byte of the output has origin 0 where the template wrote it, otherwise that of the text that it was taken
 * from (jinja_value.h), with a mark on what {% generation %} wrote. A parsed template is read only and serves
 * any thread. Source: https://jinja.palletsprojects.com/templates.
 */
#ifndef TV_TEXT_JINJA_H
#define TV_TEXT_JINJA_H

#include "text/jinja_value.h"

typedef struct tv_jinja tv_jinja;

/* TV_E_DATA names the line of what is wrong. The source is copied. */
tv_status tv_jinja_parse(const char *source, uint64_t length, tv_jinja **out);
/* Accepts NULL and clears the pointer. */
void tv_jinja_destroy(tv_jinja **jinja);
/* Whether the template calls for the date, which changes what it renders from day to day. */
bool tv_jinja_is_dated(const tv_jinja *jinja);
/* Whether it says with {% generation %} what the assistant generates. */
bool tv_jinja_generates(const tv_jinja *jinja);

/* A heap for variables and one rendering, of today's date; `input` bytes of text and `count` messages will be
 * in it, in proportion to which memory and steps are granted. */
tv_status tv_jinja_heap_create(uint64_t input, uint64_t count, tv_jinja_heap *heap);
void tv_jinja_heap_destroy(tv_jinja_heap *heap);

/* Appends what the template renders with these variables, all in the heap. */
tv_status tv_jinja_render(const tv_jinja *jinja, tv_jinja_heap *heap, const tv_jinja_dict *variables,
                          tv_jinja_buffer *out);

#endif
