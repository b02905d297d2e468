/* train/example_rows, and fine-tuning through the trainer: gate 7 of the stages (packed and unpacked give the
 * same loss), the promises of example_rows.h, mean token accuracy against a count on the host, and the loss
 * over accumulated micro-batches.
 */
#include "support/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/tokens.h"
#include "model/forward.h"
#include "model/heads.h"
#include "oracle/logprobs.h"
#include "stages/example_rows.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/open_model.h"
#include "text/tokenizer_json.h"
#include "train/step.h"
#include "vk/transfer.h"

/* ---- rows ---- */

enum { EXAMPLES = 23, T = 12, B = 3, MOST_ROWS = 2 * (EXAMPLES + B) };

/* Example i: 2 + 5 i mod 12 tokens, all of them 100 i + place; every third is not trained. */
typedef struct made {
    tv_examples examples;
    tv_example items[EXAMPLES];
    uint32_t ids[EXAMPLES][T + 1];
    uint8_t trained[EXAMPLES][T + 1];
} made;

static void make_examples(made *m) {
    *m = (made){0};
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        uint64_t length = 2 + 5 * i % T;
        for (uint32_t k = 0; k < length; k++) {
            m->ids[i][k] = 100 * i + k;
            m->trained[i][k] = k % 3 != 0;
        }
        m->items[i] = (tv_example){.ids = m->ids[i], .trained = m->trained[i], .length = length};
    }
    m->examples.items = m->items;
    m->examples.count = EXAMPLES;
}

/* Reads a row as a stranger would: by its tokens, positions and document starts. Counts what it finds into
 * `seen`, and gives the first example as the row's name. */
static int64_t read_row(const made *m, const tv_micro_batch *batch, uint64_t b, int *seen) {
    int64_t first = -1;
    uint64_t t = 0;
    while (t < T) {
        uint64_t at = b * T + t;
        assert_int_equal(batch->positions[at], 0);
        assert_int_equal(batch->doc_start[at], t);
        if (batch->targets[at] == TV_IGNORED_TARGET && batch->tokens[at] == 0 &&
            (t + 1 == T || batch->tokens[at + 1] == 0)) {
            /* Padding to the end, which sees only itself. */
            for (uint64_t k = t; k < T; k++) {
                assert_int_equal(batch->targets[b * T + k], TV_IGNORED_TARGET);
                assert_int_equal(batch->doc_start[b * T + k], t);
            }
            return first;
        }
        uint64_t i = batch->tokens[at] / 100;
        assert_in_range(i, 0, EXAMPLES - 1);
        seen[i]++;
        first = first < 0 ? (int64_t)i : first;
        const uint64_t slots = m->items[i].length - 1, start = t;
        for (uint64_t k = 0; k < slots; k++, t++) {
            at = b * T + t;
            assert_in_range(t, 0, T - 1);
            assert_int_equal(batch->tokens[at], m->ids[i][k]);
            assert_int_equal(batch->positions[at], k);
            assert_int_equal(batch->doc_start[at], start);
            assert_int_equal(batch->targets[at], m->trained[i][k + 1] ? m->ids[i][k + 1] : TV_IGNORED_TARGET);
        }
    }
    return first;
}

/* The names of `passes` passes of rows, one after the other. */
static uint64_t read_passes(const made *m, bool packed, uint64_t seed, uint64_t first, int64_t *names) {
    tv_example_rows rows;
    uint32_t storage[4][B * T];
    tv_micro_batch batch = {
        .tokens = storage[0], .positions = storage[1], .doc_start = storage[2], .targets = storage[3]};
    assert_ok(tv_example_rows_create(&m->examples, T, packed, &rows));
    rows.shuffle = true;
    rows.seed = seed;
    rows.next = first;
    uint64_t packs = rows.packing.packs, used = 0;
    int seen[EXAMPLES] = {0};
    rows.end = 2 * packs;
    for (uint64_t row = first; row < 2 * packs; row += B) {
        memset(storage, 0xff, sizeof storage);
        int ignored[EXAMPLES] = {0};
        tv_example_rows_fill(&rows, B, &batch);
        used += batch.used;
        for (uint64_t b = 0; b < B; b++) {
            bool real = row + b < 2 * packs;
            names[row + b] = read_row(m, &batch, b, real ? seen : ignored);
            assert_int_equal(names[row + b] >= 0, real);
            if (first == 0 && row + b + 1 == packs)
                for (int i = 0; i < EXAMPLES; i++)
                    assert_int_equal(seen[i], 1);
        }
    }
    uint64_t slots = 0;
    for (int i = 0; i < EXAMPLES; i++)
        slots += m->items[i].length - 1;
    for (int i = 0; first == 0 && i < EXAMPLES; i++)
        assert_int_equal(seen[i], 2);
    if (first == 0)
        assert_int_equal(used, 2 * slots);
    tv_example_rows_free(&rows);
    return packs;
}

/* Tried on 2026-11-26, each fails here: positions of the row instead of the example's; doc_start of the row's
 * begin; the mask one place off; rows in one order for every pass and seed. */
static void every_example_is_in_one_row_of_a_pass(void **state) {
    (void)state;
    made m;
    make_examples(&m);
    for (int packed = 0; packed < 2; packed++) {
        int64_t names[MOST_ROWS], again[MOST_ROWS], other[MOST_ROWS], rest[MOST_ROWS];
        uint64_t packs = read_passes(&m, packed, 5, 0, names);
        assert_true(packed ? packs < EXAMPLES : packs == EXAMPLES);
        read_passes(&m, packed, 5, 0, again);
        assert_memory_equal(names, again, 2 * packs * sizeof *names);
        read_passes(&m, packed, 6, 0, other);
        assert_memory_not_equal(names, other, packs * sizeof *names);
        assert_memory_not_equal(names, names + packs, packs * sizeof *names);
        /* From the middle, as after a resume. */
        read_passes(&m, packed, 5, 4, rest);
        assert_memory_equal(names + 4, rest + 4, (2 * packs - 4) * sizeof *names);
    }
}

/* ---- gate 7 ---- */

enum { LENGTH = 40, TAKEN = 29 };

typedef struct demonstrations {
    tv_model_directory *directory;
    tv_model *model;
    tv_examples *examples;
} demonstrations;

static demonstrations open_demonstrations(tv_device *device, const tv_answering *place) {
    demonstrations d = {0};
    tv_tokenizer *tokenizer = NULL;
    char *model = tv_format("%s/checkpoints/last", place->model);
    char *path = tv_answering_path(place, "demonstrations.jsonl");
    const char *const paths[] = {path};
    tv_test_open_model(device, model, true, &d.directory, &d.model);
    assert_ok(tv_tokenizer_load(model, &tokenizer));
    assert_ok(tv_examples_read(
        &(tv_examples_options){
            .paths = paths, .path_count = 1, .tokenizer = tokenizer, .max_tokens = LENGTH + 1},
        &d.examples));
    assert_in_range(d.examples->count, TAKEN, UINT32_MAX);
    d.examples->count = TAKEN;
    tv_tokenizer_destroy(&tokenizer);
    free(path);
    free(model);
    return d;
}

static void close_demonstrations(demonstrations *d) {
    tv_examples_destroy(&d->examples);
    tv_model_destroy(&d->model);
    tv_model_directory_close(&d->directory);
}

typedef struct source {
    tv_example_rows *rows;
    uint64_t batch;
} source;

static tv_status fill(void *context, tv_micro_batch *batch) {
    source *s = context;
    tv_example_rows_fill(s->rows, s->batch, batch);
    return TV_OK;
}

/* One step over all examples, at a rate of 0. */
static tv_step_result step(const demonstrations *d, bool packed, uint64_t batch) {
    tv_example_rows rows;
    tv_trainer *trainer = NULL;
    tv_step_result result;
    bool has_result = false;
    assert_ok(tv_example_rows_create(d->examples, LENGTH, packed, &rows));
    uint64_t packs = rows.packing.packs;
    rows.end = packs;
    assert_ok(tv_trainer_create(d->model,
                                &(tv_trainer_options){.stage = "test",
                                                      .batch = batch,
                                                      .tokens = LENGTH,
                                                      .grad_accum = tv_div_up(packs, batch),
                                                      .head = tv_language_accuracy_head,
                                                      .document_mask = packed,
                                                      .positions = packed,
                                                      .train = true},
                                &trainer));
    const struct tv_step_constants constants = tv_step_constants_make(0, 0, 0.9, 0.95, 1e-8, 0);
    source from = {&rows, batch};
    assert_ok(tv_trainer_step(trainer, &constants, fill, &from, &result, &has_result));
    if (!has_result)
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result);
    tv_trainer_destroy(&trainer);
    tv_example_rows_free(&rows);
    return result;
}

/* Loss and hits of one example alone, from its logits, in double. */
static void add_alone(tv_device *device, const demonstrations *d, const tv_example *example, double *loss,
                      double *hits, double *count) {
    const tv_model_config *config = &tv_model_list(d->model)->config;
    uint64_t rows = example->length - 1, V = config->vocab_size;
    tv_activations *activations = NULL;
    assert_ok(tv_model_need_context(d->model, rows));
    assert_ok(tv_activations_create(device, tv_device_caps(device), tv_model_list(d->model),
                                    &(tv_activations_options){.batch = 1, .tokens = rows}, &activations));
    tv_test_tensor in = tv_test_uints(device, rows, example->ids);
    tv_recorder *recorder = tv_test_begin(device);
    tv_tensor chunk;
    float *logits = calloc(rows * V, sizeof *logits);
    double *logprobs = calloc(rows, sizeof *logprobs), *entropies = calloc(rows, sizeof *entropies);
    assert_ok(tv_forward(recorder, d->model, activations, &(tv_model_inputs){.tokens = in.tensor}));
    assert_ok(tv_language_logits(recorder, d->model, activations, 0, rows, &chunk));
    tv_test_run(device, recorder);
    assert_ok(tv_download(device, chunk.span, logits, rows * V * sizeof *logits));
    oracle_token_logprobs(rows, V, 1, logits, example->ids + 1, logprobs, entropies);
    for (uint64_t r = 0; r < rows; r++) {
        if (!example->trained[r + 1])
            continue;
        uint64_t likeliest = 0;
        for (uint64_t v = 1; v < V; v++)
            likeliest = logits[r * V + v] > logits[r * V + likeliest] ? v : likeliest;
        *loss -= logprobs[r];
        *hits += likeliest == example->ids[r + 1];
        ++*count;
    }
    tv_free_all(entropies, logprobs, logits);
    tv_test_free(&in);
    tv_activations_destroy(&activations);
}

/* The same examples packed, one a row, and alone: one loss over all trained tokens, whatever the
 * micro-batches are, among which the tokens are unequally many; one gradient; as many hits as a count of
 * argmaxes finds. fp32 holds a row's loss of some 3 to 1e-6. */
static void check_gate_7(tv_device *device, tv_architecture architecture) {
    tv_answering place = tv_answering_create(architecture, 40);
    demonstrations d = open_demonstrations(device, &place);
    double loss = 0, hits = 0, count = 0;
    for (uint64_t i = 0; i < d.examples->count; i++)
        add_alone(device, &d, &d.examples->items[i], &loss, &hits, &count);
    const struct {
        bool packed;
        uint64_t batch;
    } cases[] = {{false, 29}, {false, 4}, {true, 1}, {true, 4}};
    double norm = 0;
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_step_result result = step(&d, cases[i].packed, cases[i].batch);
        assert_near(result.loss, loss / count, 3e-6 * loss / count);
        assert_near(result.terms, count, 0);
        assert_near(result.stats[TV_LANGUAGE_HITS], hits, 0);
        norm = i == 0 ? result.grad_norm : norm;
        assert_near(result.grad_norm, norm, 2e-5 * norm);
    }
    print_message("loss %.4f over %g tokens, %g hits\n", loss / count, count, hits);
    assert_true(hits > 0.1 * count && hits < 0.9 * count);
    close_demonstrations(&d);
    tv_answering_destroy(&place);
}

/* Tried on 2026-11-26: the first three of the mistakes above fail here too. */
static void gate_7_packed_and_unpacked_are_one_loss(void **state) {
    tv_log_set_level(TV_LOG_WARNING);
    check_gate_7(*state, TV_ARCH_GPT2);
    check_gate_7(*state, TV_ARCH_LLAMA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_is_in_one_row_of_a_pass),
        cmocka_unit_test(gate_7_packed_and_unpacked_are_one_loss),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
