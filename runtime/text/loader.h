/* Batches of token windows from shards, for training and evaluation.
 *
 * Promise: batch i is a pure function of the options and i, so a run resumes exactly from its number of rows,
 * also in batches of another size, and a thread that keeps batches ready changes nothing. Sources without
 * weights are one stream, joined in their order.
 * - In order: row b of batch i is the tokens from (first + i * B + b) * T on; the pass ends, as in llm.c,
 * where a whole batch and one more token for its last target no longer fit, and starts again.
 * - Shuffled: the stream's windows of T tokens are permuted by seed and pass.
 * - With weights each row draws its source: of every 65,536 rows, in an order drawn by seed (TV_STREAM_MIX),
 * each source has its share; a source's own windows come as above.
 */
#ifndef TV_TEXT_LOADER_H
#define TV_TEXT_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/tokens.h"

typedef struct tv_loader_source {
    const char *path; /* a token shard */
    double weight;    /* above 0; 0: none given, which counts as 1 when another source has one */
} tv_loader_source;

typedef struct tv_loader_options {
    const tv_loader_source *sources;
    uint64_t source_count;
    uint32_t batch_size, seq_len; /* B, T */
    uint32_t vocab_size;          /* every token is below it; 0: any */
    bool shuffle;
    /* The last batch of a pass may be short and is filled up with ignored targets, so that every token of a
     * validation shard is a target once. Only in order and without weights. */
    bool keep_tail;
    bool document_mask;   /* fill doc_start */
    uint32_t end_of_text; /* ends a document; needed for document_mask */
    uint64_t seed;
    uint64_t first_row; /* batch 0 begins with it: how many were drawn before, in whatever batches */
} tv_loader_options;

/* The caller's arrays of (B, T). */
typedef struct tv_batch {
    uint32_t *inputs;
    uint32_t *targets;   /* the token after each input */
    uint32_t *doc_start; /* where in its row each position's document begins; NULL: not wanted */
} tv_batch;

typedef struct tv_loader tv_loader;

/* Opens and checks the shards and starts the thread. TV_E_DATA for what is no
 * shard, TV_E_FIT for too few tokens for one batch (one row, when shuffled), TV_E_CONFIG for impossible
 * options. Nothing in the options is kept. */
tv_status tv_loader_create(const tv_loader_options *options, tv_loader **loader);
void tv_loader_destroy(tv_loader **loader);

/* Copies the next batch; blocks until it is ready. One caller at a time. Fails as tv_shard_read does when a
 * shard was cut or changed after it was opened. */
tv_status tv_loader_next(tv_loader *loader, tv_batch *batch);
/* The next batch will be number `batch`, from 0 at first_row. Fails with TV_E_USAGE above 2^40. */
tv_status tv_loader_seek(tv_loader *loader, uint64_t batch);
/* Rows before it, over all passes. */
uint64_t tv_loader_position(const tv_loader *loader);

/* Tokens in all sources; batches in one pass over them (at least 1). */
uint64_t tv_loader_token_count(const tv_loader *loader);
uint64_t tv_loader_pass_batches(const tv_loader *loader);
/* Tokens of a source, by its place in the options, among the batches before the current position. Without
 * weights there is one stream, number 0. */
uint64_t tv_loader_stream_count(const tv_loader *loader);
uint64_t tv_loader_stream_tokens(const tv_loader *loader, uint64_t stream);

#endif
