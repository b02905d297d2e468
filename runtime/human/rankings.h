/* Files of judgments, one a line (ranking.h).
 *
 * A file of items that annotators judged in another program (text/judged_item.h) gives a judgment for each of
 * their verdicts.
 *
 * Promise: what is refused is named with "FILE line N: ..." (TV_E_DATA).
 */
#ifndef TV_HUMAN_RANKINGS_H
#define TV_HUMAN_RANKINGS_H

#include "human/ranking.h"

typedef struct tv_rankings tv_rankings;
/* All files in the order given, read as everywhere (text/source.h). One that does not exist, or holds the
 * judgments of another, is TV_E_DATA; an empty one is fine. Files that overlap in part are warned of. */
tv_status tv_rankings_read(const char *const *paths, uint64_t count, tv_rankings **rankings);
tv_status tv_rankings_read_bytes(const char *bytes, uint64_t size, const char *name, tv_rankings **rankings);
void tv_rankings_destroy(tv_rankings **rankings);
/* A set that goes on with a plain file: adds what its lines from byte *offset on hold, and moves that behind
 * the last one that is whole. Lines count on; a failure adds nothing of them for sure. */
tv_status tv_rankings_create(tv_rankings **rankings);
tv_status tv_rankings_read_on(tv_rankings *rankings, const char *path, uint64_t *offset);
uint64_t tv_rankings_count(const tv_rankings *rankings);
const tv_ranking *tv_rankings_at(const tv_rankings *rankings, uint64_t index);

#endif
