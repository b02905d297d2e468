/* The data loader: see loader.h. From the address of a row to its tokens, then the thread that works ahead.
 */
#include "text/loader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/os.h"
#include "base/rng.h"
#include "text/shard.h"

enum { SLOTS = 3, MIX_ROWS = 65536, MAX_STREAMS = 4096 };
_Static_assert(TV_STREAM_SOURCE + MAX_STREAMS <= UINT16_MAX, "every source has a stream of draws");
#define MAX_BATCH (UINT64_C(1) << 40)
#define MAX_ROW   (UINT64_C(1) << 53)

/* Shards that are read as one. */
typedef struct stream {
    uint64_t first_shard, shard_count;
    uint64_t tokens;
    uint64_t windows;             /* rows in one pass */
    uint64_t mix_start, mix_rows; /* its share of MIX_ROWS */
    uint64_t rows_taken;          /* before the current position */
} stream;

typedef struct slot {
    uint32_t *inputs, *targets, *doc_start; /* (B, T) */
    uint32_t *streams;                      /* (B) */
} slot;

struct tv_loader {
    uint64_t B, T;
    uint64_t seed, pass_batches, token_count, first_row;
    uint32_t end_of_text;
    bool shuffle, document_mask, keep_tail;
    tv_shard **shards;
    uint64_t shard_count;
    stream *streams;
    uint64_t stream_count;

    slot slots[SLOTS];
    tv_thread *thread;
    tv_mutex *mutex;
    tv_condition *changed;
    uint64_t next_made, next_taken; /* batch numbers; made ahead are those between */
    uint64_t seeks;                 /* a batch begun before a seek is thrown away */
    bool stopping;
    tv_status failure; /* of reading ahead, with its sentence; after it nothing is read */
    char *sentence;
};

/* Rows. */

static tv_status read_stream(const tv_loader *loader, const stream *from, uint64_t start, uint64_t count,
                             uint32_t *out) {
    for (uint64_t s = from->first_shard; count > 0; s++) {
        uint64_t tokens = tv_shard_count(loader->shards[s]);
        if (start >= tokens) {
            start -= tokens;
            continue;
        }
        uint64_t part = tv_min_u64(count, tokens - start);
        TV_RETURN_IF_FAILED(tv_shard_read(loader->shards[s], start, part, out));
        out += part;
        count -= part;
        start = 0;
    }
    return TV_OK;
}

/* The stream of row `row` and which of its windows, counted through all passes, that is. */
static uint64_t draw_stream(const tv_loader *loader, uint64_t row, uint64_t *turn) {
    if (loader->stream_count == 1) {
        *turn = row;
        return 0;
    }
    tv_rng rng = {.seed = loader->seed, .stream = TV_STREAM_MIX, .step = (uint32_t)(row / MIX_ROWS)};
    uint64_t place = tv_permute(&rng, row % MIX_ROWS, MIX_ROWS), low = 0, high = loader->stream_count;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        *(loader->streams[middle].mix_start <= place ? &low : &high) = middle;
    }
    const stream *drawn = &loader->streams[low];
    *turn = row / MIX_ROWS * drawn->mix_rows + place - drawn->mix_start;
    return low;
}

static uint64_t window_of(const tv_loader *loader, uint64_t number, uint64_t turn) {
    const stream *from = &loader->streams[number];
    uint64_t window = turn % from->windows;
    if (!loader->shuffle)
        return window;
    tv_rng rng = {.seed = loader->seed,
                  .stream = (uint16_t)(number ? TV_STREAM_SOURCE + number : TV_STREAM_SHUFFLE),
                  .step = (uint32_t)(turn / from->windows)};
    return tv_permute(&rng, window, from->windows);
}

/* inputs (T), targets (T) */
static tv_status fill_row(const tv_loader *loader, uint64_t number, uint64_t window, uint32_t *inputs,
                          uint32_t *targets) {
    const stream *from = &loader->streams[number];
    uint64_t start = window * loader->T;
    uint64_t there = start + 1 < from->tokens ? tv_min_u64(loader->T, from->tokens - 1 - start) : 0;
    if (there > 0) {
        TV_RETURN_IF_FAILED(read_stream(loader, from, start, there, inputs));
        TV_RETURN_IF_FAILED(read_stream(loader, from, start + 1, there, targets));
    }
    for (uint64_t t = there; t < loader->T; t++) {
        inputs[t] = 0;
        targets[t] = TV_IGNORED_TARGET;
    }
    return TV_OK;
}

static tv_status fill_slot(const tv_loader *loader, uint64_t batch, slot *out) {
    for (uint64_t b = 0; b < loader->B; b++) {
        uint64_t turn, number = draw_stream(loader, loader->first_row + batch * loader->B + b, &turn);
        uint32_t *inputs = out->inputs + b * loader->T, *doc_start = out->doc_start + b * loader->T;
        TV_RETURN_IF_FAILED(
            fill_row(loader, number, window_of(loader, number, turn), inputs, out->targets + b * loader->T));
        out->streams[b] = (uint32_t)number;
        uint32_t start = 0;
        for (uint64_t t = 0; t < loader->T; t++) {
            if (t > 0 && loader->document_mask && inputs[t - 1] == loader->end_of_text)
                start = (uint32_t)t;
            doc_start[t] = start;
        }
    }
    return TV_OK;
}

/* The thread. */

static void work_ahead(void *context) {
    tv_loader *loader = context;
    tv_mutex_lock(loader->mutex);
    while (!loader->stopping) {
        if (loader->failure != TV_OK || loader->next_made - loader->next_taken >= SLOTS) {
            tv_condition_wait(loader->changed, loader->mutex);
            continue;
        }
        uint64_t batch = loader->next_made, seeks = loader->seeks;
        tv_mutex_unlock(loader->mutex);
        tv_status status = fill_slot(loader, batch, &loader->slots[batch % SLOTS]);
        tv_mutex_lock(loader->mutex);
        if (status != TV_OK) {
            loader->failure = status;
            loader->sentence = tv_format("%s", tv_last_error());
        } else if (seeks == loader->seeks) {
            loader->next_made++;
        }
        tv_condition_signal_all(loader->changed);
    }
    tv_mutex_unlock(loader->mutex);
}

tv_status tv_loader_next(tv_loader *loader, tv_batch *batch) {
    uint64_t bytes = loader->B * loader->T * sizeof(uint32_t);
    tv_mutex_lock(loader->mutex);
    while (loader->failure == TV_OK && loader->next_made == loader->next_taken)
        tv_condition_wait(loader->changed, loader->mutex);
    /* What was read before comes first. */
    if (loader->next_made == loader->next_taken) {
        tv_status status =
            tv_fail(loader->failure, "%s", loader->sentence ? loader->sentence : "out of host memory");
        tv_mutex_unlock(loader->mutex);
        return status;
    }
    const slot *ready = &loader->slots[loader->next_taken % SLOTS];
    memcpy(batch->inputs, ready->inputs, bytes);
    memcpy(batch->targets, ready->targets, bytes);
    if (batch->doc_start)
        memcpy(batch->doc_start, ready->doc_start, bytes);
    for (uint64_t b = 0; b < loader->B; b++)
        loader->streams[ready->streams[b]].rows_taken++;
    loader->next_taken++;
    tv_condition_signal_all(loader->changed);
    tv_mutex_unlock(loader->mutex);
    return TV_OK;
}

/* Whole rounds of the mix by their shares, the last one row by row. */
static void count_rows(tv_loader *loader, uint64_t rows) {
    for (uint64_t s = 0; s < loader->stream_count; s++)
        loader->streams[s].rows_taken =
            loader->stream_count == 1 ? rows : rows / MIX_ROWS * loader->streams[s].mix_rows;
    for (uint64_t row = rows / MIX_ROWS * MIX_ROWS; loader->stream_count > 1 && row < rows; row++) {
        uint64_t turn;
        loader->streams[draw_stream(loader, row, &turn)].rows_taken++;
    }
}

tv_status tv_loader_seek(tv_loader *loader, uint64_t batch) {
    if (batch > MAX_BATCH)
        return tv_fail(TV_E_USAGE, "expected a batch number up to 2^40, found %llu",
                       (unsigned long long)batch);
    tv_mutex_lock(loader->mutex);
    loader->next_made = loader->next_taken = batch;
    loader->seeks++;
    count_rows(loader, loader->first_row + batch * loader->B);
    tv_condition_signal_all(loader->changed);
    tv_mutex_unlock(loader->mutex);
    return TV_OK;
}

/* Making and freeing. */

static tv_status check_options(const tv_loader_options *options, bool *weighted) {
    *weighted = false;
    if (options->source_count == 0 || options->source_count > MAX_STREAMS)
        return tv_fail(TV_E_CONFIG, "expected 1 to %d token shards to read from, found %llu", MAX_STREAMS,
                       (unsigned long long)options->source_count);
    if (options->batch_size == 0 || options->seq_len == 0)
        return tv_fail(TV_E_CONFIG, "expected a batch of at least 1 row of 1 token, found %u of %u",
                       options->batch_size, options->seq_len);
    if (options->first_row > MAX_ROW)
        return tv_fail(TV_E_CONFIG, "expected a first row up to 2^53, found %llu",
                       (unsigned long long)options->first_row);
    for (uint64_t i = 0; i < options->source_count; i++) {
        double weight = options->sources[i].weight;
        if (!(weight >= 0) || !isfinite(weight))
            return tv_fail(TV_E_CONFIG, "%s: expected a weight above 0, found %g", options->sources[i].path,
                           weight);
        *weighted |= weight > 0;
    }
    if (options->keep_tail && (options->shuffle || *weighted))
        return tv_fail(TV_E_CONFIG, "expected keep_tail without shuffle and weights");
    if (options->document_mask && options->end_of_text == UINT32_MAX)
        return tv_fail(TV_E_CONFIG, "expected an end-of-text token to find the documents by, found none");
    return TV_OK;
}

/* Every source has at least one row in MIX_ROWS, the rest goes by weight. */
static void share_rows(tv_loader *loader, const tv_loader_options *options) {
    double sum = 0, below = 0;
    for (uint64_t s = 0; s < loader->stream_count; s++)
        sum += options->sources[s].weight > 0 ? options->sources[s].weight : 1;
    uint64_t start = 0, spare = MIX_ROWS - loader->stream_count;
    for (uint64_t s = 0; s < loader->stream_count; s++) {
        below += (options->sources[s].weight > 0 ? options->sources[s].weight : 1) / sum;
        uint64_t end = s + 1 + (uint64_t)(fmin(below, 1) * (double)spare + 0.5);
        if (s + 1 == loader->stream_count)
            end = MIX_ROWS;
        loader->streams[s].mix_start = start;
        loader->streams[s].mix_rows = end - start;
        start = end;
    }
}

static tv_status measure_stream(tv_loader *loader, stream *one, const char *path) {
    uint64_t batch = loader->B * loader->T;
    for (uint64_t s = 0; s < one->shard_count; s++)
        one->tokens += tv_shard_count(loader->shards[one->first_shard + s]);
    bool in_order = loader->stream_count == 1 && !loader->shuffle;
    if (loader->keep_tail)
        one->windows = tv_div_up(one->tokens - 1, batch) * loader->B;
    else if (in_order)
        one->windows = (one->tokens - 1) / batch * loader->B;
    else
        one->windows = (one->tokens - 1) / loader->T;
    uint64_t least = in_order ? batch : loader->T;
    if (one->windows == 0)
        return tv_fail(
            TV_E_FIT, "%s%s: expected at least %llu tokens (a %s of %llu and one more), found %llu", path,
            one->shard_count > 1 ? " and the others" : "", (unsigned long long)least + 1,
            in_order ? "batch" : "row", (unsigned long long)least, (unsigned long long)one->tokens);
    loader->token_count += one->tokens;
    loader->pass_batches += one->windows;
    return TV_OK;
}

static tv_status open_sources(tv_loader *loader, const tv_loader_options *options, bool weighted) {
    loader->shards = calloc(options->source_count, sizeof(tv_shard *));
    loader->stream_count = weighted ? options->source_count : 1;
    loader->streams = calloc(loader->stream_count, sizeof *loader->streams);
    if (!loader->shards || !loader->streams)
        return tv_fail(TV_E_MEMORY, "out of host memory for the data loader");
    for (; loader->shard_count < options->source_count; loader->shard_count++)
        TV_RETURN_IF_FAILED(tv_shard_open(options->sources[loader->shard_count].path, options->vocab_size,
                                          &loader->shards[loader->shard_count]));
    for (uint64_t s = 0; s < loader->stream_count; s++) {
        loader->streams[s].first_shard = s;
        loader->streams[s].shard_count = weighted ? 1 : options->source_count;
        TV_RETURN_IF_FAILED(measure_stream(loader, &loader->streams[s], options->sources[s].path));
    }
    loader->pass_batches = tv_max_u64(loader->pass_batches / loader->B, 1);
    share_rows(loader, options);
    return TV_OK;
}

static tv_status make_slots(tv_loader *loader) {
    uint64_t positions;
    bool fits = tv_mul_u64(loader->B, loader->T, &positions) && positions < UINT64_MAX / 16;
    for (int i = 0; i < SLOTS && fits; i++) {
        slot *one = &loader->slots[i];
        one->inputs = calloc(positions, sizeof(uint32_t));
        one->targets = calloc(positions, sizeof(uint32_t));
        one->doc_start = calloc(positions, sizeof(uint32_t));
        one->streams = calloc(loader->B, sizeof(uint32_t));
        fits = one->inputs && one->targets && one->doc_start && one->streams;
    }
    return fits ? TV_OK
                : tv_fail(TV_E_MEMORY, "out of host memory for batches of %llu x %llu tokens",
                          (unsigned long long)loader->B, (unsigned long long)loader->T);
}

tv_status tv_loader_create(const tv_loader_options *options, tv_loader **out) {
    *out = NULL;
    bool weighted;
    TV_RETURN_IF_FAILED(check_options(options, &weighted));
    tv_status status;
    tv_loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return tv_fail(TV_E_MEMORY, "out of host memory for the data loader");
    loader->B = options->batch_size;
    loader->T = options->seq_len;
    loader->seed = options->seed;
    loader->first_row = options->first_row;
    loader->end_of_text = options->end_of_text;
    loader->shuffle = options->shuffle;
    loader->document_mask = options->document_mask;
    loader->keep_tail = options->keep_tail;
    TV_TRY_OR_FAIL(open_sources(loader, options, weighted));
    TV_TRY_OR_FAIL(make_slots(loader));
    TV_TRY_OR_FAIL(tv_mutex_create(&loader->mutex));
    TV_TRY_OR_FAIL(tv_condition_create(&loader->changed));
    TV_TRY_OR_FAIL(tv_loader_seek(loader, 0));
    TV_TRY_OR_FAIL(tv_thread_start(&loader->thread, work_ahead, loader));
    *out = loader;
    return TV_OK;
fail:
    tv_loader_destroy(&loader);
    return status;
}

void tv_loader_destroy(tv_loader **handle) {
    if (!handle || !*handle)
        return;
    tv_loader *loader = *handle;
    if (loader->thread) {
        tv_mutex_lock(loader->mutex);
        loader->stopping = true;
        tv_condition_signal_all(loader->changed);
        tv_mutex_unlock(loader->mutex);
        tv_thread_join(&loader->thread);
    }
    tv_condition_destroy(&loader->changed);
    tv_mutex_destroy(&loader->mutex);
    for (int i = 0; i < SLOTS; i++) {
        free(loader->slots[i].inputs);
        free(loader->slots[i].targets);
        free(loader->slots[i].doc_start);
        free(loader->slots[i].streams);
    }
    for (uint64_t s = 0; s < loader->shard_count; s++)
        tv_shard_close(&loader->shards[s]);
    free(loader->sentence);
    free(loader->shards);
    free(loader->streams);
    free(loader);
    *handle = NULL;
}

uint64_t tv_loader_position(const tv_loader *loader) {
    return loader->first_row + loader->next_taken * loader->B;
}

uint64_t tv_loader_token_count(const tv_loader *loader) {
    return loader->token_count;
}

uint64_t tv_loader_pass_batches(const tv_loader *loader) {
    return loader->pass_batches;
}

uint64_t tv_loader_stream_count(const tv_loader *loader) {
    return loader->stream_count;
}

uint64_t tv_loader_stream_tokens(const tv_loader *loader, uint64_t stream_number) {
    return stream_number < loader->stream_count ? loader->streams[stream_number].rows_taken * loader->T : 0;
}
