/* Candidates: prompts with the answers that a policy gave, as `trivium sample` writes them.
 *
 *     {"id","prompt","responses":[{"id","text",...}, ...]}          one line per prompt, 2 to 16 responses
 *
 * Promise: files are read as everywhere (text/source.h: gzip, zstd, an array); a line that is not so is
 * TV_E_DATA with "FILE line N: ..."; ids are unique in a file, ids of responses in their line. Prompts (a
 * text or a list of messages), texts and all further members are kept byte for byte.
 */
#ifndef TV_HUMAN_CANDIDATES_H
#define TV_HUMAN_CANDIDATES_H

#include "base/arena.h"
#include "human/raw_json.h"

enum { TV_MIN_RESPONSES = 2, TV_MAX_RESPONSES = 16 };

typedef struct tv_response {
    const char *id;   /* a text; a number as it is written */
    tv_slice id_json; /* as it stands in the line */
    tv_slice json;    /* the whole response */
    tv_slice text_json;
    tv_slice text; /* the bytes, zero bytes included */
} tv_response;

/* What is judged. */
typedef struct tv_item {
    const char *id;
    tv_slice id_json, prompt_json, responses_json;
    const tv_response *responses;
    uint32_t count; /* k, the number of responses */
    uint64_t line;
} tv_item;

/* The fields of one parsed line ("FILE line N" is `where`); what is decoded lies in `arena`, the rest in the
 * line. */
tv_status tv_item_parse(tv_slice line, const char *where, tv_arena *arena, tv_item *item);

/* Of what is judged: the id, the prompt as it stands, the answers. */
uint64_t tv_item_hash(const tv_item *item);

typedef struct tv_candidates tv_candidates;
tv_status tv_candidates_read(const char *path, tv_candidates **candidates);
/* What lies in memory already. */
tv_status tv_candidates_read_bytes(const char *bytes, uint64_t size, const char *name,
                                   tv_candidates **candidates);
void tv_candidates_destroy(tv_candidates **candidates);

uint64_t tv_candidates_count(const tv_candidates *candidates);
const tv_item *tv_candidates_item(const tv_candidates *candidates, uint64_t index);
/* The item's number, or UINT64_MAX. */
uint64_t tv_candidates_find(const tv_candidates *candidates, const char *id);

#endif
