/* A program as annotator: each item goes to it as one JSON line, its ranking comes back as one.
 *
 *     in   {"id","prompt","responses":[the responses as they are in the candidates, in the order drawn]}
 *     out  {"id","ranking":[["r2"],["r0","r3"],["r1"]]} or {"id","ranking":null} to skip; "confidence" (1 to
 * 5) and "comment" may stand beside it
 *
 * Promise: it is started once. Answers that name the item's "id" may come in any order, and several items are
 * then on their way to it at a time; without ids it is one (base/dialogue.h). Each answer is on the disk
 * before the next is read. Its judgments carry the flag "judge". When it dies or answers anything else, the
 * sentence names the item (TV_E_DATA) and all judgments before it stand.
 */
#ifndef TV_HUMAN_JUDGE_H
#define TV_HUMAN_JUDGE_H

#include "human/session.h"

tv_status tv_judge_run(tv_session *session, const char *command, const char *annotator, uint64_t *judged);

#endif
