/* formats/gguf_model and gguf_config: a model of each family goes into a file and comes back bit for bit, its
 * config with it; the rows that llama.cpp wants in another order lie there, by a formula of this file's own;
 * files that are no model of a known family are refused by name.
 *
 * Tried on 2026-11-29, each fails here: an adapter's rows not turned, rsLoRA not folded into alpha, the
 * factor of rotary factors inverted. */
#include "support/small_config.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/directory.h"
#include "formats/gguf_adapter.h"
#include "formats/gguf_config.h"
#include "formats/gguf_model.h"

static tv_model_config small(tv_architecture architecture) {
    tv_model_config c = tv_test_config(architecture, (tv_test_sizes){.vocab = 33,
                                                                     .layers = 7,
                                                                     .heads = 2,
                                                                     .channels = 32,
                                                                     .head_size = 16,
                                                                     .ffn = 40,
                                                                     .positions = 48});
    c.bos_token_id = 1;
    c.eos_token_id = 2;
    if (architecture != TV_ARCH_GPT2) {
        c.n_head = 4;
        c.head_size = 12;
        c.rotary.theta = 20000;
        if (architecture != TV_ARCH_GEMMA3)
            c.rotary_local = c.rotary;
    }
    if (architecture == TV_ARCH_GEMMA3 || architecture == TV_ARCH_MISTRAL)
        c.window = 9;
    if (architecture == TV_ARCH_GEMMA3)
        c.query_scalar = 12;
    for (uint64_t l = 0; l < c.n_layer && c.window; l++)
        if (architecture == TV_ARCH_MISTRAL || (l + 1) % 3 > 0)
            tv_model_config_set_local(&c, l);
    return c;
}

/* Numbers that tell rows and columns of every parameter apart. */
static tv_status source(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                        void *out) {
    const tv_parameter_list *list = context;
    assert_int_equal(dtype, TV_F32);
    tv_parameter_initialise(list, index, 5, first_row, rows, out);
    float *values = out;
    for (uint64_t i = 0; i < rows * list->items[index].shape[1]; i++)
        values[i] +=
            (float)(index + 1) * 0x1p-7F + (float)(first_row * list->items[index].shape[1] + i) * 0x1p-16F;
    return TV_OK;
}

static tv_status write(const char *path, const tv_parameter_list *list, const char *type) {
    return tv_gguf_model_write(path, &(tv_gguf_export){.list = list,
                                                       .source = source,
                                                       .context = (void *)(uintptr_t)list,
                                                       .where = "here",
                                                       .name = "small",
                                                       .type = tv_gguf_type_named(type)});
}

/* Written as `type`, read through the directory's door; every value within what the type rounds. */
static void goes_round(const tv_model_config *config, const char *type, double relative) {
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    tv_parameter_list *list = NULL;
    tv_model_directory *back = NULL;
    assert_ok(tv_parameter_list_create(config, &list));
    assert_ok(write(path, list, type));
    assert_ok(tv_model_directory_open(path, &back));
    const tv_parameter_list *found = tv_model_directory_parameters(back);
    assert_true(tv_model_config_same_body(&list->config, &found->config));
    assert_string_equal(tv_model_config_architecture(config), tv_model_config_architecture(&found->config));
    assert_int_equal(found->config.tied, config->tied);
    assert_int_equal(found->config.max_positions, config->max_positions);
    assert_int_equal(found->config.eos_token_id, -1); /* there is no tokenizer that could say it */
    assert_int_equal(found->count, list->count);
    float *wanted = malloc(list->max_elements * sizeof *wanted),
          *values = malloc(list->max_elements * sizeof *values);
    assert_non_null(wanted);
    assert_non_null(values);
    for (uint32_t p = 0; p < list->count; p++) {
        const uint64_t rows = list->items[p].shape[0], columns = list->items[p].shape[1];
        assert_ok(source(list, p, 0, rows, TV_F32, wanted));
        assert_ok(tv_model_directory_read(back, p, values));
        /* 1 + gain is rounded to a float. */
        double most = config->gain_from_one && list->items[p].rank == 1 ? 0x1p-23 : 0;
        bool exact = list->items[p].rank == 1 || list->items[p].role == TV_PARAMETER_POSITIONS;
        for (uint64_t i = 0; i < rows * columns; i++) {
            double bound =
                most + (exact || !(relative > 0) ? 0 : relative * fabs((double)wanted[i]) + 0x1p-25);
            if (!(fabs((double)values[i] - (double)wanted[i]) <= bound))
                fail_msg("%s, element %d: expected %.9g, found %.9g", list->items[p].name, (int)i,
                         (double)wanted[i], (double)values[i]);
        }
        /* In pieces that end within heads, and in another type. */
        uint16_t halves[64];
        for (uint64_t r = 0; r < rows; r += 5) {
            const uint64_t some = tv_min_u64(5, rows - r);
            float piece[5 * 64];
            assert_true(columns <= 64);
            assert_ok(tv_model_directory_read_rows(back, p, r, some, TV_F32, piece));
            assert_memory_equal(piece, values + r * columns, some * columns * sizeof *piece);
            assert_ok(tv_model_directory_read_rows(back, p, r, 1, TV_BF16, halves));
            assert_int_equal(halves[columns - 1], tv_float_to_bfloat16(values[(r + 1) * columns - 1]));
        }
    }
    tv_free_all(wanted, values, path);
    tv_model_directory_close(&back);
    tv_parameter_list_destroy(&list);
    tv_test_dir_remove(&dir);
}

static void every_family_goes_round(void **state) {
    (void)state;
    for (int a = 0; a < TV_ARCH_COUNT; a++) {
        tv_model_config config = small((tv_architecture)a);
        goes_round(&config, "F32", 0);
        config.tied = !config.tied;
        goes_round(&config, "F32", 0);
        goes_round(&config, "F16", 0x1p-11);
        goes_round(&config, "BF16", 0x1p-8);
    }
    tv_model_config biased = small(TV_ARCH_LLAMA);
    biased.attention_bias = biased.attention_out_bias = biased.mlp_bias = true;
    goes_round(&biased, "F32", 0);
}

/* Another scaling may say the same; the frequencies are what counts. */
static void factors_come_back(const tv_model_config *config) {
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    tv_parameter_list *list = NULL;
    tv_model_directory *back = NULL;
    assert_ok(tv_parameter_list_create(config, &list));
    assert_ok(write(path, list, "F32"));
    assert_ok(tv_model_directory_open(path, &back));
    const tv_model_config *found = &tv_model_directory_parameters(back)->config;
    for (uint64_t i = 0; i < config->head_size / 2; i++) {
        const double frequency = tv_rotary_frequency(&config->rotary, config->head_size, i);
        assert_near(tv_rotary_frequency(&found->rotary, config->head_size, i), frequency, 1e-4 * frequency);
    }
    tv_model_directory_close(&back);
    tv_parameter_list_destroy(&list);
    free(path);
    tv_test_dir_remove(&dir);
}

static void scaled_positions_go_round(void **state) {
    (void)state;
    tv_model_config config = small(TV_ARCH_LLAMA);
    config.n_head = config.n_kv_head = 1;
    config.head_size = 64;
    config.rotary = (tv_rotary_scaling){.kind = TV_ROTARY_LINEAR, .theta = 10000, .factor = 4};
    config.rotary_local = config.rotary;
    goes_round(&config, "F32", 0);
    config.rotary = (tv_rotary_scaling){.kind = TV_ROTARY_YARN,
                                        .theta = 1e6,
                                        .factor = 4,
                                        .original_positions = 32768,
                                        .slow_rotations = 1,
                                        .fast_rotations = 32,
                                        .attention_factor = 0.1 * log(4.0) + 1};
    config.rotary_local = config.rotary;
    goes_round(&config, "F32", 0);
    /* Llama 3.1 and 3.2. */
    for (int factor = 8; factor <= 32; factor *= 4) {
        config.rotary = (tv_rotary_scaling){.kind = TV_ROTARY_LLAMA3,
                                            .theta = 500000,
                                            .factor = factor,
                                            .original_positions = 8192,
                                            .low_factor = 1,
                                            .high_factor = 4};
        config.rotary_local = config.rotary;
        goes_round(&config, "F32", 0);
    }
    /* Other lengths: heads of few pairs have two, one or none of them between the factors. */
    for (int size = 4; size <= 64; size *= 2)
        for (int positions = 64; positions <= 4096; positions *= 8) {
            config.head_size = (uint64_t)size;
            config.rotary.original_positions = positions;
            config.rotary_local = config.rotary;
            factors_come_back(&config);
        }
}

/* A weight of q, by its place: head h of the file alternates between the halves of head h here. */
static void llama_heads_are_turned(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    for (int a = 0; a < 2; a++) {
        const bool turned = a == 0;
        tv_model_config config = small(turned ? TV_ARCH_LLAMA : TV_ARCH_QWEN2);
        tv_parameter_list *list = NULL;
        tv_gguf *file = NULL;
        assert_ok(tv_parameter_list_create(&config, &list));
        assert_ok(write(path, list, "F32"));
        assert_ok(tv_gguf_open(path, &file));
        const uint32_t qkv = tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 2);
        float weights[96 * 32], rows[48 * 32];
        assert_ok(source(list, qkv, 0, 96, TV_F32, weights));
        const char *const names[] = {"blk.2.attn_q.weight", "blk.2.attn_k.weight", "blk.2.attn_v.weight"};
        const uint64_t heads[] = {4, 2, 2}, first[] = {0, 48, 72};
        for (int n = 0; n < 3; n++) {
            const tv_gguf_tensor *tensor = tv_gguf_tensor_find(file, names[n]);
            assert_non_null(tensor);
            assert_int_equal(tensor->rows, heads[n] * 12);
            assert_ok(tv_gguf_read(file, tensor, 0, tensor->rows, rows));
            for (uint64_t h = 0; h < heads[n]; h++)
                for (uint64_t i = 0; i < 6; i++)
                    for (uint64_t half = 0; half < 2; half++) {
                        const uint64_t here = first[n] + h * 12 + half * 6 + i;
                        const uint64_t there =
                            turned && n < 2 ? h * 12 + 2 * i + half : h * 12 + half * 6 + i;
                        assert_memory_equal(rows + there * 32, weights + here * 32, 32 * sizeof *rows);
                    }
        }
        tv_gguf_close(&file);
        tv_parameter_list_destroy(&list);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

/* Rows of blocks are the file's own, turned heads included, and stand for what the floats say. */
static void blocks_keep_their_bits(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    tv_model_config config = small(TV_ARCH_LLAMA);
    tv_parameter_list *list = NULL;
    tv_model_directory *back = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(write(path, list, "Q8_0"));
    assert_ok(tv_model_directory_open(path, &back));
    float floats[96 * 32], again[96 * 32];
    uint8_t rows[96 * 36];
    const uint32_t qkv = tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 1);
    assert_int_equal(tv_model_directory_dtype(back, qkv), TV_Q8_0);
    assert_int_equal(tv_model_directory_dtype(back, tv_parameter_index(list, TV_PARAMETER_NORM1_GAIN, 1)),
                     TV_F32);
    /* Rows of 40 are no whole blocks. */
    assert_int_equal(tv_model_directory_dtype(back, tv_parameter_index(list, TV_PARAMETER_MLP_OUT_WEIGHT, 1)),
                     TV_F16);
    assert_int_equal(tv_dtype_row_bytes(TV_Q8_0, 32), 36);
    assert_ok(tv_model_directory_read_rows(back, qkv, 0, 96, TV_F32, floats));
    assert_ok(tv_model_directory_read_rows(back, qkv, 0, 7, TV_Q8_0, rows));
    assert_ok(tv_model_directory_read_rows(back, qkv, 7, 89, TV_Q8_0, rows + 7 * 36));
    tv_dtype_to_f32(TV_Q8_0, 32, 96, rows, again);
    assert_memory_equal(again, floats, sizeof floats);
    tv_model_directory_close(&back);
    tv_parameter_list_destroy(&list);
    free(path);
    tv_test_dir_remove(&dir);
}

/* Steps of 1/32 of the block's range from its least value on: an encoder of the test's own. */
static void encode_q5_1(const float *in, uint8_t *block) {
    float least = in[0], most = in[0];
    for (int i = 1; i < 32; i++) {
        least = fminf(least, in[i]);
        most = fmaxf(most, in[i]);
    }
    const uint16_t halves[2] = {tv_float_to_half((most - least) / 31), tv_float_to_half(least)};
    memset(block, 0, 24);
    memcpy(block, halves, sizeof halves);
    for (int i = 0; i < 32; i++) {
        unsigned whole = (unsigned)fminf(31, roundf((in[i] - least) * 31 / (most - least)));
        block[8 + i % 16] |= (uint8_t)((whole & 15) << (i < 16 ? 0 : 4));
        block[4 + i / 8] |= (uint8_t)(whole >> 4 << i % 8);
    }
}

/* Blocks of a type that has no arithmetic here are held as q8_0, though both have 32 elements. */
static void other_blocks_are_converted(void **state) {
    (void)state;
    static const tv_gguf_type q5_1 = {"Q5_1", 7, 9, 32, 24, NULL, encode_q5_1};
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    tv_model_config config = small(TV_ARCH_LLAMA);
    tv_parameter_list *list = NULL;
    tv_model_directory *back = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_gguf_model_write(path, &(tv_gguf_export){.list = list,
                                                          .source = source,
                                                          .context = list,
                                                          .where = "here",
                                                          .name = "small",
                                                          .type = &q5_1}));
    assert_ok(tv_model_directory_open(path, &back));
    float given[96 * 32], floats[96 * 32], again[96 * 32];
    uint8_t rows[96 * 36];
    const uint32_t qkv = tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 1);
    assert_int_equal(tv_model_directory_dtype(back, qkv), TV_Q8_0);
    assert_ok(source(list, qkv, 0, 96, TV_F32, given));
    assert_ok(tv_model_directory_read_rows(back, qkv, 0, 96, TV_F32, floats));
    assert_ok(tv_model_directory_read_rows(back, qkv, 0, 96, TV_Q8_0, rows));
    tv_dtype_to_f32(TV_Q8_0, 32, 96, rows, again);
    for (int r = 0; r < 96; r++) {
        float most = 0;
        for (int i = 0; i < 32; i++)
            most = fmaxf(most, fabsf(given[r * 32 + i]));
        /* Half a step of 2 most / 31, and of most / 127; halves of scale and least value are off by 2^-11. */
        for (int i = r * 32; i < r * 32 + 32; i++) {
            assert_near(floats[i], given[i], most * (1.0 / 31 + 0x1p-10));
            assert_near(again[i], floats[i], most * 1.1 * (0.5 / 127 + 0x1p-11));
        }
    }
    tv_model_directory_close(&back);
    tv_parameter_list_destroy(&list);
    free(path);
    tv_test_dir_remove(&dir);
}

/* q and the gate of every layer: A as it is, B with q's rows turned, alpha by the scale that training used.
 */
static void an_adapter_stands_beside_its_matrices(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/adapter.gguf", dir);
    tv_model_config config = small(TV_ARCH_LLAMA);
    tv_adapter adapter = {.rank = 3, .alpha = 5, .target_count = 2};
    adapter.targets[0] = (tv_adapter_target){TV_PARAMETER_QKV_WEIGHT, 0, 48};
    adapter.targets[1] = (tv_adapter_target){TV_PARAMETER_MLP_IN_WEIGHT, 0, 40};
    for (int rslora = 0; rslora < 2; rslora++) {
        tv_parameter_list *list = NULL;
        tv_gguf *file = NULL;
        const char *text = NULL;
        double alpha = 0;
        adapter.rslora = rslora;
        assert_ok(
            tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &list));
        const tv_gguf_export export = {.list = list,
                                       .source = source,
                                       .context = list,
                                       .where = "here",
                                       .name = "small",
                                       .type = tv_gguf_type_named("F32")};
        assert_int_equal(tv_gguf_model_write(path, &export),
                         TV_E_CONFIG); /* a model's file has no place for it */
        assert_ok(tv_gguf_adapter_write(path, &export));
        assert_ok(tv_gguf_open(path, &file));
        assert_int_equal(tv_gguf_tensor_count(file), 2 * 2 * config.n_layer);
        assert_ok(tv_gguf_text(file, "general.type", &text));
        assert_string_equal(text, "adapter");
        assert_ok(tv_gguf_text(file, "general.architecture", &text));
        assert_string_equal(text, "llama");
        assert_ok(tv_gguf_text(file, "adapter.type", &text));
        assert_string_equal(text, "lora");
        assert_ok(tv_gguf_number(file, "adapter.lora.alpha", &alpha));
        assert_near(alpha, rslora ? 5 * sqrt(3.0) : 5, 1e-6);
        float wanted[48 * 32], found[48 * 32];
        const struct {
            const char *name;
            uint32_t target;
            tv_parameter_role role;
            uint64_t rows, columns;
        } tensors[] = {{"blk.4.attn_q.weight.lora_a", 0, TV_PARAMETER_ADAPTER_A, 3, 32},
                       {"blk.4.attn_q.weight.lora_b", 0, TV_PARAMETER_ADAPTER_B, 48, 3},
                       {"blk.4.ffn_gate.weight.lora_a", 1, TV_PARAMETER_ADAPTER_A, 3, 32},
                       {"blk.4.ffn_gate.weight.lora_b", 1, TV_PARAMETER_ADAPTER_B, 40, 3}};
        for (size_t i = 0; i < TV_COUNT(tensors); i++) {
            const tv_gguf_tensor *tensor = tv_gguf_tensor_find(file, tensors[i].name);
            const uint64_t rows = tensors[i].rows, columns = tensors[i].columns;
            assert_non_null(tensor);
            assert_int_equal(tensor->rows, rows);
            assert_int_equal(tensor->columns, columns);
            assert_ok(tv_gguf_read(file, tensor, 0, rows, found));
            assert_ok(source(list, tv_parameter_adapter(list, tensors[i].target, 4, tensors[i].role), 0, rows,
                             TV_F32, wanted));
            for (uint64_t r = 0; r < rows; r++) {
                const uint64_t h = r / 12, at = r % 12;
                const uint64_t from = i == 1 ? h * 12 + at % 2 * 6 + at / 2 : r;
                assert_memory_equal(found + r * columns, wanted + from * columns, columns * sizeof *found);
            }
        }
        tv_gguf_close(&file);
        tv_parameter_list_destroy(&list);
    }
    tv_parameter_list *plain = NULL;
    assert_ok(tv_parameter_list_create(&config, &plain));
    assert_int_equal(tv_gguf_adapter_write(path, &(tv_gguf_export){.list = plain, .where = "here"}),
                     TV_E_DATA);
    tv_parameter_list_destroy(&plain);
    free(path);
    tv_test_dir_remove(&dir);
}

static void what_gguf_cannot_say_is_refused(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    tv_model_config config = small(TV_ARCH_GEMMA3);
    config.query_scalar = 168;
    const tv_rotary_scaling llama3 = {.kind = TV_ROTARY_LLAMA3,
                                      .theta = 500000,
                                      .factor = 8,
                                      .original_positions = 8192,
                                      .low_factor = 1,
                                      .high_factor = 4};
    tv_model_config qwen = small(TV_ARCH_QWEN2), score = small(TV_ARCH_LLAMA), odd = small(TV_ARCH_GEMMA3);
    qwen.rotary = qwen.rotary_local = llama3;
    score.head = TV_MODEL_HEAD_SCORE;
    odd.local_layers[0] = 0x25;
    const struct {
        const tv_model_config *config;
        const char *words;
    } cases[] = {{&config, "query_pre_attn_scalar"},
                 {&qwen, "llama3"},
                 {&score, "LlamaForSequenceClassification"},
                 {&odd, "local layers"}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_parameter_list *list = NULL;
        assert_ok(tv_parameter_list_create(cases[i].config, &list));
        tv_status status = write(path, list, "F32");
        if (status != TV_E_CONFIG || !strstr(tv_last_error(), cases[i].words))
            fail_msg("expected \"%s\", found %s: %s", cases[i].words, tv_status_name(status),
                     tv_last_error());
        assert_false(tv_path_exists(path));
        tv_parameter_list_destroy(&list);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

/* A file of a small Llama with keys changed, and what is said of it. */
typedef struct hostile {
    const char *words;
    const char *family;                     /* NULL: llama */
    const char *text_key, *text, *flag_key; /* further keys */
    const char *number_key;                 /* in place of the model's */
    double number;
    const char *without, *with; /* a tensor */
} hostile;

static void write_hostile(const char *path, const hostile *h) {
    static const struct {
        const char *key;
        uint64_t value;
    } sizes[] = {{"llama.context_length", 8},       {"llama.embedding_length", 4},
                 {"llama.block_count", 1},          {"llama.feed_forward_length", 6},
                 {"llama.attention.head_count", 2}, {"llama.rope.dimension_count", 2}};
    static const struct {
        const char *name;
        uint64_t rows, columns;
    } tensors[] = {
        {"token_embd.weight", 5, 4},     {"blk.0.attn_norm.weight", 4, 0}, {"blk.0.attn_q.weight", 4, 4},
        {"blk.0.attn_k.weight", 4, 4},   {"blk.0.attn_v.weight", 4, 4},    {"blk.0.attn_output.weight", 4, 4},
        {"blk.0.ffn_norm.weight", 4, 0}, {"blk.0.ffn_gate.weight", 6, 4},  {"blk.0.ffn_up.weight", 6, 4},
        {"blk.0.ffn_down.weight", 4, 6}, {"output_norm.weight", 4, 0},     {"rope_freqs.weight", 1, 0}};
    static const float zeros[64];
    tv_gguf_writer *writer = NULL;
    uint64_t bytes[16], count = 0;
    assert_ok(tv_gguf_writer_create(path, &writer));
    if (!h->family || h->family[0])
        tv_gguf_set_text(writer, "general.architecture", h->family ? h->family : "llama");
    for (size_t i = 0; i < TV_COUNT(sizes); i++)
        if (!h->number_key || strcmp(h->number_key, sizes[i].key) != 0)
            tv_gguf_set_uint32(writer, sizes[i].key, sizes[i].value);
    tv_gguf_set_float32(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    if (h->text_key)
        tv_gguf_set_text(writer, h->text_key, h->text);
    if (h->flag_key)
        tv_gguf_set_bool(writer, h->flag_key, false);
    if (h->number_key && h->number >= 0)
        tv_gguf_set_uint32(writer, h->number_key, (uint64_t)h->number);
    for (size_t i = 0; i < TV_COUNT(tensors); i++) {
        bool optional = strcmp(tensors[i].name, "rope_freqs.weight") == 0;
        if ((h->without && strcmp(h->without, tensors[i].name) == 0) ||
            (optional && !(h->with && strcmp(h->with, tensors[i].name) == 0)))
            continue;
        const uint64_t shape[2] = {tensors[i].rows, tensors[i].columns};
        tv_gguf_add_tensor(writer, tensors[i].name, tv_gguf_type_named("F32"), tensors[i].columns ? 2 : 1,
                           shape);
        bytes[count++] = shape[0] * tv_max_u64(shape[1], 1) * sizeof(float);
    }
    if (h->with && strcmp(h->with, "rope_freqs.weight") != 0) {
        tv_gguf_add_tensor(writer, h->with, tv_gguf_type_named("F32"), 1, &(uint64_t){3});
        bytes[count++] = 12;
    }
    assert_ok(tv_gguf_writer_begin(writer));
    for (uint64_t i = 0; i < count; i++)
        assert_ok(tv_gguf_write(writer, zeros, bytes[i]));
    assert_ok(tv_gguf_writer_commit(&writer));
}

static void other_files_are_refused_by_name(void **state) {
    (void)state;
    static const hostile cases[] = {
        {.words = NULL},
        {.words = "\"mamba\"", .family = "mamba"},
        {.words = "general.architecture", .family = ""},
        {.words = "type \"adapter\"", .text_key = "general.type", .text = "adapter"},
        {.words = "llama-gguf-split", .number_key = "split.count", .number = 3},
        {.words = "llama.expert_count", .number_key = "llama.expert_count", .number = 8},
        {.words = NULL, .number_key = "llama.expert_count", .number = 0},
        {.words = "llama.attention.causal", .flag_key = "llama.attention.causal"},
        {.words = "rope.scaling.type", .text_key = "llama.rope.scaling.type", .text = "longrope"},
        {.words = "llama.unheard_of", .text_key = "llama.unheard_of", .text = "x"},
        {.words = "num_hidden_layers", .number_key = "llama.block_count", .number = 4097},
        {.words = "num_hidden_layers", .number_key = "llama.block_count", .number = -1},
        {.words = "found 4294967295", .number_key = "llama.block_count", .number = 4294967295.0},
        {.words = "blk.1.attn_norm.weight", .number_key = "llama.block_count", .number = 2},
        {.words = "expected the shape", .number_key = "llama.feed_forward_length", .number = 7},
        {.words = "rope.dimension_count", .number_key = "llama.rope.dimension_count", .number = 1},
        {.words = "does not divide", .number_key = "llama.attention.head_count_kv", .number = 3},
        {.words = "blk.0.ffn_up.weight", .without = "blk.0.ffn_up.weight"},
        {.words = "token_embd.weight", .without = "token_embd.weight"},
        {.words = "has no place", .with = "blk.0.attn_sinks.weight"},
        {.words = "not those of Llama 3", .with = "rope_freqs.weight"},
        {.words = "outside the vocabulary", .number_key = "tokenizer.ggml.bos_token_id", .number = 5},
    };
    char *dir = tv_test_dir(), *path = tv_format("%s/small.gguf", dir);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_model_directory *d = NULL;
        write_hostile(path, &cases[i]);
        tv_status status = tv_model_directory_open(path, &d);
        if (!cases[i].words)
            assert_ok(status);
        else if ((status != TV_E_DATA && status != TV_E_CONFIG) || !strstr(tv_last_error(), cases[i].words) ||
                 !strstr(tv_last_error(), path))
            fail_msg("case %d: expected \"%s\", found %s: %s", (int)i, cases[i].words, tv_status_name(status),
                     tv_last_error());
        tv_model_directory_close(&d);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_goes_round),
        cmocka_unit_test(scaled_positions_go_round),
        cmocka_unit_test(llama_heads_are_turned),
        cmocka_unit_test(blocks_keep_their_bits),
        cmocka_unit_test(other_blocks_are_converted),
        cmocka_unit_test(an_adapter_stands_beside_its_matrices),
        cmocka_unit_test(what_gguf_cannot_say_is_refused),
        cmocka_unit_test(other_files_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
