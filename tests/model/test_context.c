/* Tables of positions are as long as the sequences that are computed and not as what the model has positions
 * for: their rows are the whole table's bit for bit, they take what the plan says, longer ones come beside
 * those that recorded work reads, and no pass reads behind their end.
 *
 * Tried on 2026-11-29: tables of max_positions again; rows of another length in the second
 * table's place; the shorter table freed where a longer one is made; no check before a pass; tables of a
 * model over a base in its own store: each fails.
 */
#include "support/golden.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/rotary.h"
#include "model/decoder.h"
#include "model/forward.h"
#include "support/open_model.h"
#include "train/trainer.h"

enum { T = 9, LONG = 24, B = 2 };

typedef struct fixture {
    tv_model_directory *directory;
    const tv_parameter_list *list;
    const tv_model_config *config;
    tv_model *model;
} fixture;

static fixture open_model(tv_device *device, const char *name) {
    fixture f = {0};
    char *path = tv_test_golden_path(name, "");
    tv_test_open_model(device, path, false, &f.directory, &f.model);
    f.list = tv_model_directory_parameters(f.directory);
    f.config = &f.list->config;
    free(path);
    return f;
}

static void close_model(fixture *f) {
    tv_model_destroy(&f->model);
    tv_model_directory_close(&f->directory);
}

static void expect_rows(tv_device *device, const fixture *f, const tv_rotary_scaling *scaling, uint64_t layer,
                        uint64_t rows) {
    const uint64_t floats = f->config->head_size * rows;
    float *whole = calloc(f->config->max_positions * f->config->head_size, sizeof *whole),
          *found = calloc(floats, sizeof *found);
    assert_non_null(whole);
    assert_non_null(found);
    tv_rotary_table(f->config->max_positions, f->config->head_size, scaling, whole);
    const tv_tensor table = tv_model_rotary_table(f->model, layer);
    assert_ok(tv_download(device, table.span, found, floats * sizeof *found));
    assert_memory_equal(found, whole, floats * sizeof *found);
    free(found);
    free(whole);
}

static void tables_are_as_long_as_asked(void **state) {
    static const char *const names[] = {"llama_100k", "gemma3_25k"};
    for (int m = 0; m < 2; m++) {
        fixture f = open_model(*state, names[m]);
        const uint64_t before = tv_device_bytes(*state), tables = m == 1 ? 2 : 1;
        assert_true(f.config->max_positions > 2 * LONG);
        assert_int_equal(tv_model_context(f.model), 0);
        assert_ok(tv_model_need_context(f.model, T));
        assert_int_equal(tv_model_context(f.model), T);
        const uint64_t bytes = tables * tv_align_up(T * f.config->head_size * 4, 256);
        assert_int_equal(tv_model_table_bytes(f.config, T), bytes);
        assert_int_equal(tv_device_bytes(*state) - before, bytes);
        uint64_t local = 0, global = 0;
        for (uint64_t l = 0; l < f.config->n_layer; l++)
            *(tv_model_config_is_local(f.config, l) ? &local : &global) = l;
        expect_rows(*state, &f, &f.config->rotary, global, T);
        if (m == 1)
            expect_rows(*state, &f, &f.config->rotary_local, local, T);
        assert_ok(tv_model_need_context(f.model, T - 1));
        assert_int_equal(tv_device_bytes(*state) - before, bytes);
        /* By a token: twice as many, beside the first. */
        assert_ok(tv_model_need_context(f.model, T + 1));
        assert_int_equal(tv_model_context(f.model), 2 * T);
        assert_int_equal(tv_device_bytes(*state) - before, bytes + tv_model_table_bytes(f.config, 2 * T));
        expect_rows(*state, &f, &f.config->rotary, global, 2 * T);
        assert_int_equal(tv_model_need_context(f.model, f.config->max_positions + 1), TV_E_CONFIG);
        assert_ok(tv_model_need_context(f.model, f.config->max_positions));
        assert_int_equal(tv_model_context(f.model), f.config->max_positions);
        close_model(&f);
    }
    fixture learned = open_model(*state, "gpt2_100k");
    const uint64_t before = tv_device_bytes(*state);
    assert_int_equal(tv_model_context(learned.model), learned.config->max_positions);
    assert_ok(tv_model_need_context(learned.model, T));
    assert_int_equal(tv_model_table_bytes(learned.config, T), 0);
    assert_int_equal(tv_device_bytes(*state), before);
    close_model(&learned);
}

typedef struct losses {
    uint64_t vocab, next;
    float values[B * T];
} losses;

static tv_status fill(void *context, tv_micro_batch *batch) {
    const losses *l = context;
    for (uint64_t i = 0; i < batch->rows * batch->width; i++) {
        batch->tokens[i] = (uint32_t)((i * 29 + 7) % l->vocab);
        batch->targets[i] = (uint32_t)((i * 13 + 3) % l->vocab);
    }
    return TV_OK;
}

static tv_status keep(void *context, const float *values, const uint32_t *targets, uint64_t count) {
    losses *l = context;
    (void)targets;
    assert_int_equal(count, B * T);
    memcpy(l->values, values, sizeof l->values);
    return TV_OK;
}

static void evaluate(tv_trainer *trainer, losses *l) {
    double sum;
    uint64_t targets;
    assert_ok(tv_trainer_evaluate(trainer, 1, fill, l, keep, l, &sum, &targets));
}

/* A trainer's own table, one of all positions, and the trainer again when longer tables have come. */
static void bits_do_not_follow_the_length(void **state) {
    static losses own, whole, again;
    const tv_trainer_options options = {.stage = "test", .batch = B, .tokens = T, .grad_accum = 1};
    for (int order = 0; order < 2; order++) {
        fixture f = open_model(*state, "gemma3_25k");
        tv_trainer *trainer = NULL;
        losses *l = order ? &whole : &own;
        l->vocab = again.vocab = f.config->vocab_size;
        if (order)
            assert_ok(tv_model_need_context(f.model, f.config->max_positions));
        const uint64_t before = tv_device_bytes(*state);
        tv_trainer_bytes bytes;
        assert_ok(tv_trainer_measure(f.list, tv_device_caps(*state), &options, &bytes));
        assert_int_equal(bytes.tables, tv_model_table_bytes(f.config, T));
        assert_ok(tv_trainer_create(f.model, &options, &trainer));
        assert_int_equal(tv_device_bytes(*state) - before,
                         bytes.activations + bytes.buffers + (order ? 0 : bytes.tables));
        evaluate(trainer, l);
        if (!order) {
            tv_decoder *decoder = NULL;
            assert_ok(
                tv_decoder_create(f.model, &(tv_decoder_options){.rows = 1, .max_tokens = LONG}, &decoder));
            assert_int_equal(tv_model_context(f.model), LONG);
            /* Whatever takes the place of memory that was freed. */
            tv_test_tensor other = tv_test_floats(*state, tv_model_table_bytes(f.config, T) / 4, NULL);
            evaluate(trainer, &again);
            assert_memory_equal(again.values, own.values, sizeof own.values);
            tv_test_free(&other);
            tv_decoder_destroy(&decoder);
        }
        tv_trainer_destroy(&trainer);
        close_model(&f);
    }
    assert_true(own.values[0] > 0);
    assert_memory_equal(own.values, whole.values, sizeof own.values);
}

/* The longest sequence that a run has besides its training's. */
static void a_context_is_planned_and_made(void **state) {
    fixture f = open_model(*state, "llama_100k");
    const tv_trainer_options options = {
        .stage = "test", .batch = B, .tokens = T, .context = LONG, .grad_accum = 1};
    tv_trainer_bytes bytes;
    tv_trainer *trainer = NULL;
    assert_ok(tv_trainer_measure(f.list, tv_device_caps(*state), &options, &bytes));
    assert_int_equal(bytes.tables, tv_model_table_bytes(f.config, LONG));
    assert_ok(tv_trainer_create(f.model, &options, &trainer));
    assert_int_equal(tv_model_context(f.model), LONG);
    tv_trainer_destroy(&trainer);
    close_model(&f);
}

static void no_pass_reads_behind_the_end(void **state) {
    const uint32_t tokens[LONG] = {0};
    tv_test_tensor in = tv_test_uints(*state, LONG, tokens);
    const tv_model_inputs inputs = {.tokens = in.tensor};
    for (uint64_t context = LONG - 1; context <= LONG; context++) {
        fixture f = open_model(*state, "llama_100k");
        tv_activations *activations = NULL;
        tv_recorder *recorder = tv_test_begin(*state);
        assert_ok(tv_model_need_context(f.model, context));
        assert_ok(tv_activations_create(*state, tv_device_caps(*state), f.list,
                                        &(tv_activations_options){.batch = 1, .tokens = LONG}, &activations));
        tv_status status = tv_forward(recorder, f.model, activations, &inputs);
        assert_int_equal(status, context < LONG ? TV_E_USAGE : TV_OK);
        tv_recorder_abort(&recorder);
        tv_activations_destroy(&activations);
        close_model(&f);
    }
    tv_test_free(&in);
}

static void a_base_keeps_the_tables(void **state) {
    fixture f = open_model(*state, "llama_100k");
    tv_model *over = NULL;
    assert_ok(tv_model_need_context(f.model, T));
    assert_ok(tv_model_create_over(f.model, f.list, false, &over));
    assert_int_equal(tv_model_context(over), T);
    assert_ok(tv_model_need_context(over, LONG));
    assert_int_equal(tv_model_context(f.model), LONG);
    tv_model_destroy(&over);
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_as_long_as_asked),   cmocka_unit_test(bits_do_not_follow_the_length),
        cmocka_unit_test(a_context_is_planned_and_made), cmocka_unit_test(no_pass_reads_behind_the_end),
        cmocka_unit_test(a_base_keeps_the_tables),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
