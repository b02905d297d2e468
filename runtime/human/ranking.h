/* One judgment: a line in the format that every ranker of trivium writes, and the ways of saying a ranking.
 *
 *     {"id","prompt","responses":[...],"order":[response ids as displayed],
 *      "ranking":[["r2"],["r0","r3"],["r1"]],
 *      "annotator","t_shown","t_done","confidence","flags","comment","tool_version"}
 *
 * `ranking` is best first, ids in one list are tied, null is a skip. Flags that mean something here: "skip",
 * "all_bad" (none of the answers is any good; all are tied), "repeat" (shown again to the same annotator with
 * the order flipped: it counts for agreement only). confidence is 1 (a guess) to 5 (sure) or null; times are
 * seconds since 1970.
 *
 * Promise: reading refuses what does not name each response exactly once (TV_E_DATA); `order`, `annotator`,
 * times, confidence, flags and comment may be absent.
 */
#ifndef TV_HUMAN_RANKING_H
#define TV_HUMAN_RANKING_H

#include "base/json.h"
#include "human/candidates.h"

enum { TV_MAX_CONFIDENCE = 5 };

typedef struct tv_ranking {
    tv_item item;
    uint8_t order[TV_MAX_RESPONSES]; /* display position -> response */
    uint8_t rank[TV_MAX_RESPONSES];  /* of each response, 0 is best, equal is a tie; all 0 when skipped */
    bool skipped, all_bad, repeat;
    const char *annotator, *comment, *tool_version; /* never NULL */
    double t_shown, t_done;                         /* 0: not known */
    int confidence;                                 /* 0: not said */
    const char *const *flags;                       /* all of them */
    uint64_t flag_count;
    const char *file; /* of rankings.h, which reads files; else NULL, and the line 0 */
    uint64_t line;
} tv_ranking;

/* One line; what is decoded lies in `arena`. */
tv_status tv_ranking_parse(tv_slice line, const char *where, tv_arena *arena, tv_ranking *ranking);
/* The same where the line is parsed already. */
tv_status tv_ranking_read(tv_slice line, const cJSON *root, const char *where, tv_arena *arena,
                          tv_ranking *ranking);
/* Appends the line, without a newline. */
tv_status tv_ranking_print(const tv_ranking *ranking, tv_text *line);

/* The same ranking in the three ways in which it is said; each fills `rank` (0 is best, no gaps) and refuses
 * an answer that is unknown, named twice or missing, with TV_E_USAGE or, for ids, TV_E_DATA. Letters are
 * display positions: "b>a=c>d". Spaces do not count, capitals are fine. */
tv_status tv_rank_of_letters(const char *text, uint32_t k, uint8_t rank[TV_MAX_RESPONSES]);
/* Groups of display positions, counted from 0: [[1],[0,2],[3]]. */
tv_status tv_rank_of_positions(const cJSON *groups, uint32_t k, uint8_t rank[TV_MAX_RESPONSES]);
/* Groups of response ids: [["r2"],["r0","r3"],["r1"]]; an id that is not in a list is a group of its own. */
tv_status tv_rank_of_ids(const cJSON *groups, const tv_item *item, const char *where,
                         uint8_t rank[TV_MAX_RESPONSES]);

#endif
