/* What the ranking page asks of a session: JSON in, JSON out. Knows of HTTP no more than its status codes.
 *
 *     start      {}               -> {"title","version","annotator","organiser","guidelines"}
 *     next       {"annotator"}    -> a showing: {"item": {...} or null, "progress": {...}}
 *     judge      {"annotator","presentation","ranking","all_bad","confidence","comment","t_shown"}
 *                                 -> the showing that follows
 *     undo       {"annotator"}    -> the showing that is open again
 *     progress   {"annotator"}    -> {"progress": {"done","total","before_others"}}
 *     here       {"annotator","presentation"}
 *                                 -> {"kept"}: false where the item went to others meanwhile
 *     release    {"annotator"}    -> {}; what they held is free for others
 *     overview   {}               -> of the organiser's link only: web_overview.h
 *
 * "annotator" may be left out where the link names one; start says that name or null. Guidelines are a tree
 * (markdown.h) or null.
 *
 * An item is {"presentation","id","k","prompt","texts","trees","t_shown"}, a ranking [[1],[0,2]], or null for
 * a skip; texts, their trees (an assistant's turn in the prompt has one too) and the positions of a ranking
 * are in the order of display, and nothing tells which answer is whose. Whatever is refused comes back as
 * {"error": a sentence}.
 */
#ifndef TV_HUMAN_WEB_API_H
#define TV_HUMAN_WEB_API_H

#include "human/links.h"
#include "human/session.h"

typedef struct tv_web_api {
    tv_session *session;
    const char *title;   /* what is judged, for people */
    const char *version; /* of the tool */
    tv_slice guidelines; /* Markdown of at most TV_MARKDOWN_LIMIT bytes; empty: none */
    const tv_links *links;
    const tv_link *link; /* of the one who asks */
} tv_web_api;

/* True where `name` is a call. */
bool tv_web_api_knows(const char *name);

/* Answers with a status code and a body that the caller frees. `name` is a call. Fails only when memory is
 * out. */
tv_status tv_web_api_answer(const tv_web_api *api, const char *name, tv_slice body, unsigned *code,
                            tv_text *out);

/* Appends {"error": sentence}. */
tv_status tv_web_api_refusal(const char *sentence, tv_text *out);

#endif
