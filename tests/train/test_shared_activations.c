/* Roles that borrow one arena of activations in turn, as PPO's do: a trainer, a scoring pass of another shape
 * and of recomputed blocks, and a decoder give the bits that they give with activations of their own, also
 * where the arena is full of NaN between two of them; it takes the largest one's bytes; a second user at
 * once, a user larger than what was planned, and logits that somebody wrote over are refused by name.
 *
 * Tried on 2026-11-29: each with activations of its own (bytes), the last plan in place of the largest, the
 * borrow left out of the forward pass, its return left out, logits handed out all the same: each fails.
 */
#include "support/golden.h"

#include <stdlib.h>
#include <string.h>

#include "model/activations.h"
#include "model/decoder.h"
#include "support/open_model.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/submit.h"

enum { B = 3, T = 24, LONG = 40, STEPS = 3, WIDTH = 32, PROMPT = 9 };

typedef struct roles {
    tv_device *device;
    tv_model_directory *directory;
    tv_model *model;
    tv_activation_arena *arena; /* NULL: each has its own */
    tv_activations *poison;     /* as large as the arena; NULL without */
    uint64_t saved;             /* planned: the bytes of all activations less those of the arena */
    tv_trainer *learner, *scorer;
    tv_decoder *decoder;
    uint64_t next, vocab;
} roles;

static tv_trainer_options learner_options(tv_activation_arena *arena) {
    return (tv_trainer_options){
        .stage = "the learner", .batch = B, .tokens = T, .grad_accum = 2, .train = true, .shared = arena};
}

static tv_trainer_options scorer_options(tv_activation_arena *arena) {
    return (tv_trainer_options){.stage = "the scorer",
                                .batch = 1,
                                .tokens = LONG,
                                .grad_accum = 1,
                                .recompute = true,
                                .shared = arena};
}

static tv_decoder_options decoder_options(tv_activation_arena *arena) {
    return (tv_decoder_options){.rows = 1, .max_tokens = WIDTH, .shared = arena};
}

/* The bytes that each needs alone, the most of them and their sum, and what is planned of them together. */
static void plan(const tv_parameter_list *list, const tv_caps *caps, tv_activation_arena *arena,
                 uint64_t *largest, uint64_t *sum) {
    *largest = *sum = 0;
    for (int shared = 0; shared < 2; shared++) {
        const tv_trainer_options options[] = {learner_options(shared ? arena : NULL),
                                              scorer_options(shared ? arena : NULL)};
        const tv_decoder_options drawing = decoder_options(shared ? arena : NULL);
        tv_trainer_bytes bytes;
        tv_decoder_bytes drawn;
        for (int i = 0; i < 2; i++) {
            assert_ok(tv_trainer_measure(list, caps, &options[i], &bytes));
            assert_int_equal(bytes.shared, shared);
            *largest = bytes.activations > *largest ? bytes.activations : *largest;
            *sum += bytes.activations;
            assert_true(shared ? bytes.activations == 0 : bytes.activations > 0);
        }
        assert_ok(tv_decoder_measure(list, caps, &drawing, &drawn));
        assert_true(shared ? drawn.activations == 0 : drawn.activations > 0);
        *largest = drawn.activations > *largest ? drawn.activations : *largest;
        *sum += drawn.activations;
    }
}

static roles open_roles(tv_device *device, const char *name, bool shared) {
    roles r = {.device = device};
    char *path = tv_test_golden_path(name, "");
    tv_test_open_model(device, path, true, &r.directory, &r.model);
    const tv_parameter_list *list = tv_model_directory_parameters(r.directory);
    free(path);
    r.vocab = list->config.vocab_size;
    if (shared) {
        uint64_t largest, sum;
        assert_ok(tv_activation_arena_create(&r.arena));
        plan(list, tv_device_caps(device), r.arena, &largest, &sum);
        r.saved = sum - largest;
        assert_int_equal(tv_activation_arena_bytes(r.arena), largest);
        const tv_activations_options all = {.batch = B, .tokens = T, .backward = true, .shared = r.arena};
        uint64_t before = tv_device_bytes(device);
        assert_ok(tv_activations_create(device, tv_device_caps(device), list, &all, &r.poison));
        assert_int_equal(tv_device_bytes(device) - before, largest);
    }
    const tv_trainer_options learner = learner_options(r.arena), scorer = scorer_options(r.arena);
    const tv_decoder_options decoder = decoder_options(r.arena);
    assert_ok(tv_trainer_create(r.model, &learner, &r.learner));
    assert_ok(tv_trainer_create(r.model, &scorer, &r.scorer));
    assert_ok(tv_decoder_create(r.model, &decoder, &r.decoder));
    return r;
}

/* The arena goes with the last who has it. */
static void close_roles(roles *r) {
    tv_activation_arena_release(&r->arena);
    tv_activations_destroy(&r->poison);
    tv_decoder_destroy(&r->decoder);
    tv_trainer_destroy(&r->scorer);
    tv_trainer_destroy(&r->learner);
    tv_model_destroy(&r->model);
    tv_model_directory_close(&r->directory);
}

/* NaN over all that the largest plan has. */
static void poison(const roles *r) {
    if (!r->poison)
        return;
    const tv_activations *a = r->poison;
    const tv_tensor all[] = {a->sum_final,
                             a->final,
                             a->logits,
                             a->d_stream,
                             a->d_narrow,
                             a->d_wide,
                             a->scratch,
                             a->delta,
                             a->blocks[0].sum1,
                             a->blocks[0].norm1,
                             a->blocks[0].qkv,
                             a->blocks[0].lse,
                             a->blocks[0].attended,
                             a->blocks[0].sum2,
                             a->blocks[0].norm2,
                             a->blocks[0].rstd1,
                             a->blocks[0].mlp_in,
                             a->blocks[0].mlp_act,
                             a->blocks[1].qkv,
                             a->blocks[1].mlp_in,
                             a->blocks[1].mlp_act,
                             a->blocks[1].norm1};
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    assert_ok(tv_activations_borrow(a, "poison"));
    assert_ok(tv_recorder_begin(r->device, &(tv_recorder_options){.name = "poison"}, &recorder));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_ok(tv_record_fill(recorder, all[i].span, 0x7fc00000));
    assert_ok(tv_recorder_end(&recorder, &recording));
    assert_ok(tv_submit(r->device, &recording, 1, &value));
    assert_ok(tv_wait(r->device, value));
    tv_recording_destroy(&recording);
    tv_activations_return(a);
}

static tv_status fill(void *context, tv_micro_batch *batch) {
    roles *r = context;
    uint64_t number = r->next++;
    for (uint64_t i = 0; i < batch->rows * batch->width; i++) {
        batch->tokens[i] = (uint32_t)((number * 977 + i * 29 + 7) % r->vocab);
        batch->targets[i] = (uint32_t)((number * 131 + i * 13 + 3) % r->vocab);
    }
    return TV_OK;
}

typedef struct outcome {
    double losses[STEPS], norms[STEPS], scores[STEPS];
    uint32_t tokens[STEPS][WIDTH];
    float logprobs[STEPS][WIDTH];
} outcome;

static void draw(roles *r, uint32_t number, outcome *o) {
    uint32_t tokens[PROMPT];
    uint64_t running = 1;
    for (uint32_t i = 0; i < PROMPT; i++)
        tokens[i] = (uint32_t)((number * 17 + i * 5 + 1) % r->vocab);
    const tv_decoder_prompt prompt = {.tokens = tokens, .length = PROMPT, .max_new = WIDTH - PROMPT};
    assert_ok(tv_decoder_start(r->decoder, &prompt, 1,
                               &(tv_decoder_settings){.seed = number, .temperature = 1, .top_p = 1}));
    while (running) {
        assert_ok(tv_decoder_run(r->decoder, 5, &running));
        poison(r);
    }
    const tv_decoder_row row = tv_decoder_read(r->decoder, 0);
    assert_int_equal(row.length, WIDTH);
    memcpy(o->tokens[number], row.tokens, sizeof o->tokens[number]);
    memcpy(o->logprobs[number], row.logprobs, sizeof o->logprobs[number]);
}

/* Nobody waits for the learner: its step is in flight when the next ones are submitted. */
static void run_all(tv_device *device, const char *name, bool shared, outcome *o) {
    roles r = open_roles(device, name, shared);
    memset(o, 0, sizeof *o);
    uint32_t seen = 0;
    for (uint32_t s = 0; s < STEPS; s++) {
        const struct tv_step_constants constants = tv_step_constants_make(1e-2, 0, 0.9, 0.999, 1e-8, 1);
        tv_step_result result;
        bool has_result;
        uint64_t targets;
        poison(&r);
        assert_ok(tv_trainer_step(r.learner, &constants, fill, &r, &result, &has_result));
        assert_ok(tv_trainer_evaluate(r.scorer, 3, fill, &r, NULL, NULL, &o->scores[s], &targets));
        draw(&r, s, o);
        for (bool again = true; again || has_result; again = false) {
            if (has_result) {
                o->losses[seen] = result.loss;
                o->norms[seen++] = result.grad_norm;
            }
            assert_ok(tv_trainer_drain(r.learner, &result, &has_result));
        }
    }
    assert_int_equal(seen, STEPS);
    close_roles(&r);
}

static void the_bits_are_those_of_their_own(void **state) {
    static const char *const names[] = {"gpt2_100k", "llama_100k"};
    for (int i = 0; i < 2; i++) {
        static outcome own, shared;
        uint64_t before = tv_device_bytes(*state);
        run_all(*state, names[i], false, &own);
        run_all(*state, names[i], true, &shared);
        assert_true(own.losses[0] > 0 && own.norms[0] > 0 && own.losses[0] != own.losses[1]);
        assert_memory_equal(&own, &shared, sizeof own);
        assert_int_equal(tv_device_bytes(*state), before);
    }
}

static void it_takes_the_largest_ones_bytes(void **state) {
    uint64_t before = tv_device_bytes(*state);
    roles r = open_roles(*state, "llama_100k", false);
    uint64_t alone = tv_device_bytes(*state) - before;
    close_roles(&r);
    r = open_roles(*state, "llama_100k", true);
    assert_true(r.saved > 100000);
    assert_int_equal(tv_device_bytes(*state) - before, alone - r.saved);
    close_roles(&r);
    assert_int_equal(tv_device_bytes(*state), before);
}

/* ---- what is refused ---- */

static tv_status use_the_scorer(void *context, tv_micro_batch *batch) {
    roles *r = context;
    double sum;
    uint64_t targets;
    (void)batch;
    return tv_trainer_evaluate(r->scorer, 1, fill, r, NULL, NULL, &sum, &targets);
}

static void two_at_once_are_refused(void **state) {
    roles r = open_roles(*state, "gpt2_100k", true);
    double sum, before;
    uint64_t targets;
    assert_ok(tv_trainer_evaluate(r.scorer, 1, fill, &r, NULL, NULL, &before, &targets));
    assert_int_equal(tv_trainer_evaluate(r.learner, 1, use_the_scorer, &r, NULL, NULL, &sum, &targets),
                     TV_E_USAGE);
    assert_string_equal(tv_last_error(),
                        "the scorer asked for the activations that the learner has not returned");
    assert_ok(tv_activations_borrow(r.poison, "somebody"));
    uint64_t running;
    tv_step_result result;
    bool has_result;
    const struct tv_step_constants constants = {0};
    assert_int_equal(tv_decoder_run(r.decoder, 1, &running), TV_E_USAGE);
    assert_string_equal(tv_last_error(), "drawing asked for the activations that somebody has not returned");
    assert_int_equal(tv_trainer_step(r.learner, &constants, fill, &r, &result, &has_result), TV_E_USAGE);
    assert_int_equal(tv_trainer_accumulate(r.learner, 1, fill, &r, &result, &has_result), TV_E_USAGE);
    tv_activations_return(r.poison);
    /* Whoever was refused, or failed, left the arena free. */
    r.next = 0;
    assert_ok(tv_trainer_evaluate(r.scorer, 1, fill, &r, NULL, NULL, &sum, &targets));
    assert_true(sum == before);
    close_roles(&r);
}

static void what_is_gone_is_not_handed_out(void **state) {
    static outcome o;
    roles r = open_roles(*state, "gpt2_100k", true);
    float *logits = calloc(r.vocab, sizeof *logits);
    double sum;
    uint64_t targets, running;
    const uint32_t token = 5;
    const tv_decoder_prompt prompt = {.tokens = &token, .length = 1, .max_new = 4};
    assert_non_null(logits);
    draw(&r, 0, &o);
    assert_int_equal(tv_decoder_logits(r.decoder, logits), TV_E_USAGE);
    assert_ok(tv_decoder_start(r.decoder, &prompt, 1, &(tv_decoder_settings){.temperature = 1, .top_p = 1}));
    assert_ok(tv_decoder_run(r.decoder, 1, &running));
    assert_ok(tv_decoder_logits(r.decoder, logits));
    assert_ok(tv_trainer_evaluate(r.scorer, 1, fill, &r, NULL, NULL, &sum, &targets));
    assert_int_equal(tv_decoder_logits(r.decoder, logits), TV_E_USAGE);
    assert_non_null(strstr(tv_last_error(), "the logits of the last step are gone"));
    free(logits);
    close_roles(&r);
}

/* A plan that came too late. */
static void what_was_not_planned_is_refused(void **state) {
    roles r = open_roles(*state, "gpt2_100k", true);
    tv_trainer_options larger = learner_options(r.arena);
    larger.batch = 4 * B;
    tv_trainer *trainer = NULL;
    tv_trainer_bytes bytes;
    assert_int_equal(tv_trainer_measure(tv_model_list(r.model), tv_device_caps(*state), &larger, &bytes),
                     TV_E_USAGE);
    assert_int_equal(tv_trainer_create(r.model, &larger, &trainer), TV_E_USAGE);
    assert_null(trainer);
    assert_non_null(strstr(tv_last_error(), "were not planned in the arena of"));
    close_roles(&r);
}

/* Blocks of several buffers, each as large as the largest of its place. */
static void blocks_grow_one_by_one(void **state) {
    (void)state;
    tv_activation_arena *arena = NULL;
    uint64_t one[] = {100}, two[] = {40, 70};
    const tv_memory_plan first = {.block_bytes = one, .block_count = 1, .total_bytes = 100},
                         second = {.block_bytes = two, .block_count = 2, .total_bytes = 110};
    assert_ok(tv_activation_arena_create(&arena));
    assert_ok(tv_activation_arena_reserve(arena, &first));
    assert_int_equal(tv_activation_arena_bytes(arena), 100);
    assert_false(tv_activation_arena_has_room(arena, &second));
    assert_ok(tv_activation_arena_reserve(arena, &second));
    assert_int_equal(tv_activation_arena_bytes(arena), 170);
    assert_ok(tv_activation_arena_reserve(arena, &first));
    assert_int_equal(tv_activation_arena_bytes(arena), 170);
    assert_true(tv_activation_arena_has_room(arena, &first) && tv_activation_arena_has_room(arena, &second));
    tv_activation_arena_release(&arena);
    assert_null(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_those_of_their_own), cmocka_unit_test(it_takes_the_largest_ones_bytes),
        cmocka_unit_test(two_at_once_are_refused),         cmocka_unit_test(what_is_gone_is_not_handed_out),
        cmocka_unit_test(what_was_not_planned_is_refused), cmocka_unit_test(blocks_grow_one_by_one),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
