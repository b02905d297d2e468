/* Markdown (CommonMark with GitHub's tables, strikethrough, task lists and bare addresses) as a tree in JSON,
 * for a page that makes elements of a few known names from it.
 *
 * Promise: nothing in a text becomes markup: HTML in it stays text, entities become characters, an address is
 * text of a node and is marked as a link only where it begins with http:// or https://, an image is its
 * description and address. A line break of the text stays one. A text that is longer than
 * TV_MARKDOWN_LIMIT, or whose tree would be (references can multiply), gives null: it is shown as it is.
 *
 *     a tree is a list of nodes; a node is a text, or {"t": name, "c": a tree} with further members:
 *     "p" "quote" "ul" "li" ("x": a task, done or not) "ol" ("s": first number) "hr" "br" "table" "tr" "th"
 * "td" ("l": alignment) "em" "strong" "del" "code" "h" ("n": 1 to 6)   "pre" ("l": the language, if said)
 * "a", "dead", "img" ("u": the address)
 */
#ifndef TV_HUMAN_MARKDOWN_H
#define TV_HUMAN_MARKDOWN_H

#include "human/page_json.h"

enum { TV_MARKDOWN_LIMIT = 1 << 16 };

/* Once, before any thread uses the other: registers the library's extensions. */
void tv_markdown_prepare(void);
/* Appends the tree, or null. */
void tv_markdown_put(tv_page_json *out, tv_slice text);

#endif
