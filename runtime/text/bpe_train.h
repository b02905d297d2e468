/* Trains a byte-level BPE tokenizer (Sennrich et al. 2016, algorithm 1, on bytes).
 *
 * Promise: the same text in any cut into documents at the same places gives the same tokenizer: the most
 * frequent pair merges first, ties go to the smallest pair of ids, as in Hugging Face tokenizers. Ids are:
 * the four reserved tokens of tokenizer.h, the 256 bytes in the order of their characters, then the merges.
 * Unique words are counted once and pair counts are updated where a merge changed them, so time hardly grows
 * with the vocabulary: 10 MB of English to 4,096 tokens takes seconds.
 */
#ifndef TV_TEXT_BPE_TRAIN_H
#define TV_TEXT_BPE_TRAIN_H

#include "text/tokenizer.h"

/* The smallest vocabulary: bytes and reserved tokens. */
enum { TV_MIN_VOCAB_SIZE = 260, TV_MAX_VOCAB_SIZE = 1 << 20 };

typedef struct tv_bpe_trainer tv_bpe_trainer;

/* `vocab_size` counts everything. Pairs seen fewer than `min_count` times (0: twice) are not merged. Fails
 * with TV_E_USAGE when the size is out of [TV_MIN_VOCAB_SIZE, TV_MAX_VOCAB_SIZE]. */
tv_status tv_bpe_trainer_create(uint64_t vocab_size, uint64_t min_count, tv_bpe_trainer **trainer);
void tv_bpe_trainer_destroy(tv_bpe_trainer **trainer);

/* Counts the words of a document. `trainer` is a void pointer so that this is a tv_document_sink. */
tv_status tv_bpe_trainer_add(void *trainer, const uint8_t *text, uint64_t length);

/* Learns the merges. A text that gives fewer than asked for gives a smaller vocabulary and a warning (as
 * Hugging Face tokenizers do); no text at all is TV_E_DATA. */
tv_status tv_bpe_trainer_finish(tv_bpe_trainer *trainer, tv_tokenizer **tokenizer);

#endif
