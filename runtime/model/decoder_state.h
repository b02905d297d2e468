/* The insides of a decoder: its tensors, and the host's books of rows and slots. For decoder.c,
 * decoder_held.c, decoder_prompts.c and decoder_place.c alone.
 *
 * A row is one of the caller's sequences; a slot is a row of the device's state and caches, where a row that
 * runs stands. What a slot's caches hold stays known when its row has ended: a prompt that begins alike is
 * read from where it differs.
 *
 * A prefix is a region of the caches that holds the first tokens of texts. As a rule there is one for each
 * slot, which is the slot: text, answer and all. Where prompts are shared, prefixes hold prompts but for
 * their last tokens, each for all rows that draw behind it, and slots hold what comes behind; a running row
 * has claimed its prefix.
 */
#ifndef TV_MODEL_DECODER_STATE_H
#define TV_MODEL_DECODER_STATE_H

#include "model/activations.h"
#include "model/decoder.h"
#include "vk/transfer.h"

enum { MAX_LEVELS = 33 /* rows, half of them, a quarter, ... one: rows are below 2^32 */ };

/* What the host reads back comes first, and what it writes is in the middle. "Slot": a row of these tensors
 * and of the caches. */
typedef enum state_tensor {
    STATE_RECENT,                    /* (slots, TV_DECODE_RECENT) tv_decode_drawn */
    STATE_POSITIONS,                 /* (slots), the first that the host writes */
    STATE_FINISHED,                  /* (slots) */
    STATE_READ_BACK,                 /* so many are read back */
    STATE_PROMPTS = STATE_READ_BACK, /* (slots, max_tokens) */
    STATE_TOKENS,                    /* (slots) */
    STATE_NUMBERS,                   /* (slots) sequence numbers */
    STATE_BOUNDS,                    /* (slots, 2) */
    STATE_PREFIXES,                  /* (slots, 2) the prefix, and how many positions stand there */
    STATE_ENDS,                      /* (TV_DECODE_ENDS_WORDS) */
    STATE_SETTINGS,                  /* struct tv_sample_settings */
    STATE_READ_TOKENS,               /* (reading rows) of prompts, for a pass that reads them, */
    STATE_READ_POSITIONS,            /* (reading rows) where they stand, */
    STATE_READ_SLOTS,                /* (reading rows) and in which slots */
    STATE_WRITTEN,                   /* all from POSITIONS to this are written by the host */
    STATE_DRAWN = STATE_WRITTEN,     /* (slots) log-probabilities, (slots) entropies, each aligned */
    STATE_DRAWN_LSE,                 /* (slots, 2) beside them, where they are those of training's heads */
    STATE_ARRIVED,                   /* of products that norm (kernels/matmul.h): zeros between them */
    STATE_COUNT
} state_tensor;

typedef struct decoder_plan {
    tv_plan_item state[STATE_COUNT];
    tv_plan_item back[STATE_READ_BACK];
    tv_plan_item up[STATE_WRITTEN]; /* as in `state`, nothing for what is only read back */
    tv_plan_item *cache;            /* k, v of layer 0, of layer 1, ... */
    uint64_t cache_count;
    uint64_t prefix_count, prefix_tokens; /* prefixes, and positions of one */
    uint64_t own_tokens;                  /* positions of a slot behind them; 0: each slot is a prefix */
    tv_memory_plan state_plan, back_plan, up_plan, cache_plan;
} decoder_plan;

/* The host's book of a row. A running row stands in a slot; an ended one keeps only its text, on the host. */
static const uint64_t NO_SLOT = UINT64_MAX;
typedef struct row_book {
    uint64_t slot;          /* NO_SLOT: the row is empty, has ended or is not placed yet */
    uint64_t prefix;        /* NO_SLOT: likewise, or of a shared prompt of one token */
    uint64_t length;        /* tokens fed and drawn; 0: empty */
    uint64_t prompt_length; /* all of it lies in the decoder's `tokens` from the start */
    uint32_t limit, sequence, finished;
    bool reads; /* its prompt is read by the passes that are being written */
} row_book;

/* The host's book of a prefix: the tokens whose keys and values the caches hold, from the text's first on. */
typedef struct prefix_book {
    uint64_t rows;    /* that run behind it; 0: free */
    uint64_t held;    /* tokens; they lie in the decoder's `held` */
    uint64_t claimed; /* of a shared prompt: those that it holds before the next step; they lie there, too */
} prefix_book;

struct tv_decoder {
    const tv_model *model;
    tv_decoder_options options;
    uint64_t reading_rows;               /* of the largest pass */
    uint64_t tokens_read, tokens_shared; /* of prompts, so far: in passes; found in the caches */
    tv_activations *activations; /* of as many rows as either takes; smaller steps use the front of them */
    decoder_plan plan;
    tv_device_arena *state, *back, *up, *cache;
    tv_tensor *k, *v; /* of each layer: (prefixes, Hkv, prefix_tokens, D), (slots, Hkv, own_tokens, D) */
    tv_recording *steps[MAX_LEVELS]; /* of rows >> level, rounded up; recorded when first needed */
    tv_recording *reads[MAX_LEVELS]; /* the same of reading rows: passes that read prompts */
    tv_recording *read_back, *columns, *change, *profile;
    uint64_t steps_run, capture_step; /* 0: none */
    uint32_t level;                   /* of the last run */
    bool changed;                     /* the host's books are ahead of the device */
    bool stale; /* what the caches hold is from before the last start: the model may have changed since */
    row_book *books;             /* (rows) */
    uint64_t *slots;             /* (slots) rows; NO_SLOT: free */
    prefix_book *prefixes;       /* (prefixes) */
    uint32_t *tokens;            /* (rows, max_tokens) texts */
    uint32_t *held;              /* (prefixes, prefix_tokens) */
    float *logprobs, *entropies; /* (rows, max_tokens) */
};

/* The caller frees the plan, also on failure. */
tv_status tv_decoder_plan_make(const tv_model_config *config, const tv_caps *caps,
                               const tv_decoder_options *options, decoder_plan *plan);
void tv_decoder_plan_free(decoder_plan *plan);

/* Rows of the largest pass that reads prompts. */
uint64_t tv_decoder_reading_rows(const tv_decoder_options *options);

/* Activations of one token per row, forward only, for steps and for reading, in the tier's own types. */
tv_activations_options tv_decoder_activations(const tv_caps *caps, const tv_decoder_options *options);

/* A tensor on the device, where the host writes it before it is copied there, and where it is read back. */
tv_tensor tv_decoder_state(const tv_decoder *decoder, state_tensor which);
/* The element of STATE_DRAWN that is the first slot's entropy. */
static inline uint64_t tv_decoder_entropies_at(uint64_t rows) {
    return tv_align_up(rows, TV_TENSOR_ALIGNMENT / sizeof(float));
}
/* Of the passes over the caches; absent where kernels have no use for it. */
tv_tensor tv_decoder_arrived(const tv_decoder *decoder);
void *tv_decoder_up(const tv_decoder *decoder, state_tensor which);
const void *tv_decoder_back(const tv_decoder *decoder, state_tensor which);

/* Half of `rows` per level, rounded up. */
static inline uint64_t tv_decoder_rows_of_level(uint64_t rows, uint32_t level) {
    return tv_div_up(rows, UINT64_C(1) << level);
}

/* The smallest level that holds `wanted` of `rows`. */
uint32_t tv_decoder_level_for(uint64_t rows, uint64_t wanted);

/* The recording that brings the host's columns up. */
tv_status tv_decoder_record_columns(tv_decoder *decoder);

/* Chooses the step, brings the device's slots up to the host's books (rows behind the step move into it, new
 * rows take what is free) and reads the prompts of new rows where they are many tokens. Nothing of the
 * decoder runs meanwhile. */
tv_status tv_decoder_place_rows(tv_decoder *decoder);

/* The prompts of new rows, which stand in their slots, but for each one's last token: a prompt, or the front
 * of one, that several have is read once and copied. Waits. */
tv_status tv_decoder_read_prompts(tv_decoder *decoder);

/* Tokens of a row's prompt that neither the cache holds nor the next step feeds. */
static inline uint64_t tv_decoder_unread(const row_book *book) {
    bool reads = book->finished == TV_DECODE_RUNNING && book->length < book->prompt_length;
    return reads ? book->prompt_length - book->length : 0;
}

/* Tokens, at most `most`, that two texts have in common at their beginning. */
uint64_t tv_decoder_common(const uint32_t *a, const uint32_t *b, uint64_t most);

/* Whether `gain` tokens of `left` that a row has to read are worth a copy. */
bool tv_decoder_worth_a_copy(uint64_t gain, uint64_t left);

/* Whether prompts stand once for all rows behind them. */
static inline bool tv_decoder_shares(const tv_decoder *decoder) {
    return decoder->plan.own_tokens > 0;
}

/* Of shared prompts: the prefix for this one, NO_SLOT where none is free; *held: tokens of it that stand
 * there or will before the next step. */
uint64_t tv_decoder_prefix_for(const tv_decoder *decoder, const tv_decoder_prompt *prompt, uint64_t *held);
/* The row, which is in no slot yet, runs behind that prefix from the next run on. */
void tv_decoder_claim(tv_decoder *decoder, uint64_t row, uint64_t prefix, uint64_t held);

/* Tokens of the row's prompt, but for its last one, that a prefix holds; the prefix that holds most of them.
 */
uint64_t tv_decoder_held(const tv_decoder *decoder, uint64_t row, uint64_t prefix);
uint64_t tv_decoder_best_prefix(const tv_decoder *decoder, uint64_t row, uint64_t *held);

/* Prefix `to`, which holds so many tokens of the text of prefix `from` already, gets those up to `count`. */
tv_status tv_decoder_copy_held(tv_recorder *recorder, tv_decoder *decoder, uint64_t from, uint64_t to,
                               uint64_t count);
/* The row's prefix gets what another one holds of its prompt, where that is worth it. */
tv_status tv_decoder_take_held(tv_recorder *recorder, tv_decoder *decoder, uint64_t row);
/* Of shared prompts: what slot `from` holds behind the prefix, to slot `to`. */
tv_status tv_decoder_copy_own(tv_recorder *recorder, const tv_decoder *decoder, uint64_t from, uint64_t to,
                              uint64_t count);

#endif
