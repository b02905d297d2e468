/* trivium bench decode: drawn tokens per second over all rows, at the positions that a text passes, prompt
 * tokens read per second, each row's own and one prompt's for all rows, and where a step's time goes. The
 * kernels are timed in profiling steps between the timed ones. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/os.h"
#include "model/decoder.h"
#include "tools/bench.h"
#include "tools/bench_profile.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "vk/device.h"

enum { GROUPS = 5, WARMUP = 4, LONGEST = 1024 };

/* Prompts of `length` tokens in every row, and nothing that ends a text before it has max_tokens. `apart`:
 * they begin with other tokens, as far as the vocabulary `vocab` has any, so that none is read for another.
 */
static tv_status start_rows(tv_decoder *decoder, uint64_t rows, uint64_t length, uint64_t max_tokens,
                            uint64_t seed, bool apart, uint64_t vocab) {
    tv_decoder_prompt *prompts = calloc(rows, sizeof *prompts);
    uint32_t *tokens = calloc(rows * length, sizeof *tokens);
    const tv_decoder_settings settings = {.seed = seed, .temperature = 0.8f, .top_k = 40, .top_p = 1};
    tv_status status = prompts && tokens ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the prompts");
    for (uint64_t r = 0; r < rows && status == TV_OK; r++) {
        tokens[r * length] = apart ? (uint32_t)(r % vocab) : 0;
        prompts[r] = (tv_decoder_prompt){.tokens = tokens + r * length,
                                         .length = length,
                                         .max_new = max_tokens - length,
                                         .sequence = (uint32_t)r};
    }
    if (status == TV_OK)
        status = tv_decoder_start(decoder, prompts, rows, &settings);
    free(prompts);
    free(tokens);
    return status;
}

static tv_status profile_step(tv_decoder *decoder, tv_bench_profile *profile) {
    tv_dispatch_time *times = NULL;
    uint32_t count = 0;
    TV_RETURN_IF_FAILED(tv_decoder_profile(decoder, &times, &count));
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < count && status == TV_OK; i++)
        status = tv_bench_profile_add(profile, &times[i], 1.0 / GROUPS);
    free(times);
    return status;
}

static tv_status time_decoder(tv_decoder *decoder, uint64_t rows, uint64_t steps, double *tokens_per_second,
                              tv_bench_profile *profile) {
    double groups[GROUPS];
    uint64_t running;
    TV_RETURN_IF_FAILED(tv_decoder_run(decoder, WARMUP, &running));
    for (int g = 0; g < GROUPS; g++) {
        double start = tv_seconds();
        TV_RETURN_IF_FAILED(tv_decoder_run(decoder, steps, &running));
        groups[g] = (double)(rows * steps) / (tv_seconds() - start);
        TV_RETURN_IF_FAILED(profile_step(decoder, profile));
    }
    *tokens_per_second = tv_median(groups, GROUPS);
    return TV_OK;
}

/* Prompts of half a text, and the step that draws their first tokens. */
static tv_status time_reading(tv_decoder *decoder, uint64_t rows, uint64_t max_tokens, uint64_t seed,
                              bool apart, uint64_t vocab, double *tokens_per_second) {
    double runs[1 + GROUPS];
    uint64_t running, length = max_tokens / 2;
    for (int run = 0; run <= GROUPS; run++) {
        TV_RETURN_IF_FAILED(start_rows(decoder, rows, length, max_tokens, seed, apart, vocab));
        double start = tv_seconds();
        TV_RETURN_IF_FAILED(tv_decoder_run(decoder, 1, &running));
        runs[run] = (double)(rows * length) / (tv_seconds() - start);
    }
    *tokens_per_second = tv_median(runs + 1, GROUPS); /* the first also records the passes */
    return TV_OK;
}

typedef struct speeds {
    double drawn, read, shared; /* tokens per second; the last: of one prompt that all rows have */
} speeds;

static tv_status print_result(const tv_device *device, const speeds *found, uint64_t rows,
                              uint64_t max_tokens, tv_bench_profile *profile, bool json) {
    if (!json) {
        printf("%s, %s\n\n", tv_device_caps(device)->name, tv_device_caps(device)->driver);
        tv_bench_profile_print(profile);
        printf("\n%.1f tokens/s over %" PRIu64 " rows (%.1f each), a step of %.3f ms, texts of %" PRIu64
               " tokens\nprompts of %" PRIu64
               " tokens are read at %.1f tokens/s, one that all rows have at %.1f tokens/s of all\n",
               found->drawn, rows, found->drawn / (double)rows, 1e3 * (double)rows / found->drawn, max_tokens,
               max_tokens / 2, found->read, found->shared);
        return TV_OK;
    }
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_number(result, "tokens_per_second", found->drawn) &&
                 tv_json_set_number(result, "prompt_tokens_per_second", found->read) &&
                 tv_json_set_number(result, "shared_prompt_tokens_per_second", found->shared) &&
                 tv_json_set_number(result, "rows", (double)rows);
    return tv_print_result(result, built);
}

/* Tokens of a text: what --tokens asks for, within the model's positions. */
static tv_status choose_length(uint64_t positions, uint64_t asked, uint64_t *steps) {
    uint64_t least = 1 + WARMUP + 2 * GROUPS;
    uint64_t length = asked ? asked : tv_min_u64(positions, LONGEST);
    if (length > positions || length < least)
        return tv_fail(TV_E_CONFIG,
                       "expected texts of %" PRIu64 " to %" PRIu64
                       " tokens (the model's positions), found %" PRIu64 "; change --tokens",
                       least, positions, length);
    *steps = (length - 1 - WARMUP) / GROUPS - 1; /* one is profiled */
    return TV_OK;
}

tv_status tv_bench_decode(int argc, char **argv) {
    tv_common_options common = {.seed = 1};
    const char *directory = NULL, *config = NULL;
    tv_texts sets = {0};
    uint64_t rows = 1, tokens = 0, steps = 0;
    bool tokens_given = false;
    const tv_option options[] = {
        tv_opt_existing(tv_opt_text("model", "DIR", &directory, "a model directory, or a run")),
        tv_opt_existing(
            tv_opt_text("config", "F", &config, "or a configuration whose \"model\" is drawn by seed")),
        tv_opt_repeated("set", "KEY=VALUE", &sets, "change a setting of the configuration"),
        tv_opt_uint("rows", "R", &rows, 1, 1 << 16, "texts side by side"),
        tv_opt_given(&tokens_given, tv_opt_uint("tokens", "N", &tokens, 1, UINT64_C(1) << 24,
                                                "length of the texts (default: the model's positions, at "
                                                "most 1024)")),
    };
    const tv_command_line line = {
        .command = "bench decode",
        .summary = "Draws texts with a key-value cache: where a step's time goes, tokens per second over all "
                   "rows, the median of five parts of the text, and how fast prompts are read.",
        .notes = "example:\n  trivium bench decode --config samples/bench/gpt2_875k.json --rows 8",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    tv_status status;
    tv_run_settings settings = {0};
    tv_device *device = NULL;
    tv_bench_model model = {0};
    tv_decoder *decoder = NULL;
    tv_bench_profile profile = {0};
    speeds found = {0};
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    if (!directory == !config) {
        status = tv_fail(TV_E_USAGE, "expected either --model DIR or --config F, found %s",
                         directory ? "both" : "neither");
        goto done;
    }
    TV_TRY(tv_run_settings_read(config, sets.items, sets.count, TV_STAGE_PRETRAIN, &settings));
    TV_TRY(tv_device_open(&(tv_device_options){common.device, common.tier}, &device));
    TV_TRY(tv_bench_model_find(directory, &settings, config, &model));
    TV_TRY(choose_length(model.list->config.max_positions, tokens, &steps));
    TV_TRY(tv_bench_model_fill(device, settings.train.seed, false, &model));
    tokens = 1 + WARMUP + GROUPS * (steps + 1);
    TV_TRY(
        tv_decoder_create(model.model, &(tv_decoder_options){.rows = rows, .max_tokens = tokens}, &decoder));
    const uint64_t vocab = model.list->config.vocab_size;
    TV_TRY(start_rows(decoder, rows, 1, tokens, common.seed, false, vocab));
    TV_TRY(time_decoder(decoder, rows, steps, &found.drawn, &profile));
    TV_TRY(time_reading(decoder, rows, tokens, common.seed, true, vocab, &found.read));
    TV_TRY(time_reading(decoder, rows, tokens, common.seed, false, vocab, &found.shared));
    TV_TRY(print_result(device, &found, rows, tokens, &profile, common.json));
done:
    tv_bench_profile_free(&profile);
    tv_decoder_destroy(&decoder);
    tv_bench_model_free(&model);
    tv_device_close(&device);
    tv_run_settings_free(&settings);
    tv_texts_free(&sets);
    return status;
}
