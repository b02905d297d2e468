/* What the organiser's page shows: who, how many, how fast, how far they agree.
 *
 *     {"items","judged_items","judgments","shared_items": judged by two or more,
 *      "people": [{"name","judgments","skips","seconds": median for an item, or null,
 *                  "has_item","silent": seconds since they were heard of, null: not since the start}],
 *      "pairs": [{"a","b","items","agreement"}], "agreement","alpha": over all, or null,
 *      "with_oneself": the agreement of repeats, or null}
 */
#ifndef TV_HUMAN_WEB_OVERVIEW_H
#define TV_HUMAN_WEB_OVERVIEW_H

#include "human/links.h"
#include "human/page_json.h"
#include "human/session.h"

/* `links` may be NULL; annotators who have one and did not come yet are listed too. */
tv_status tv_web_overview_put(tv_session *session, const tv_links *links, tv_page_json *out);

#endif
