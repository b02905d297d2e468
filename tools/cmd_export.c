/* trivium export: a model handed on, as a directory for transformers or one file for llama.cpp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/checksums.h"
#include "formats/directory.h"
#include "formats/gguf_adapter.h"
#include "formats/gguf_model.h"
#include "formats/merge.h"
#include "formats/model_tokenizer.h"
#include "run/checkpoint.h"
#include "tools/commands.h"
#include "tools/open_model.h"
#include "tools/options.h"

typedef enum export_format { FORMAT_HF, FORMAT_GGUF, FORMAT_GGUF_LORA } export_format;

/* In the order of the choices. */
static const char *const type_names[] = {"F32", "F16", "BF16", "Q8_0"};

typedef struct export_options {
    const char *model, *adapter, *out;
    int format, dtype;
    const char *shard_size;
    uint64_t shard_bytes; /* 0: the default */
    tv_common_options common;
} export_options;

/* What is exported. */
typedef struct exported {
    char *path;
    tv_model_directory *directory;
    tv_merged *merged;       /* an adapter's in its base; without one the model itself */
    tv_tokenizer *tokenizer; /* NULL where the model has none */
} exported;

static tv_status read_rows(void *directory, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    return tv_model_directory_read_rows(directory, index, first_row, rows, dtype, out);
}

static tv_status open_model(const export_options *given, exported *model) {
    TV_RETURN_IF_FAILED(tv_model_given_open(given->model, given->adapter, &model->path, &model->directory));
    TV_RETURN_IF_FAILED(tv_checksums_check_weights(model->path));
    TV_RETURN_IF_FAILED(tv_merged_create(model->directory, &model->merged));
    const char *path = tv_model_tokenizer_path(model->directory);
    return tv_model_has_tokenizer(path) ? tv_model_tokenizer_load(path, &model->tokenizer) : TV_OK;
}

/* Weights that go out. */
static uint64_t elements(const export_options *given, const exported *model) {
    return given->format == FORMAT_GGUF_LORA
               ? tv_model_directory_parameters(model->directory)->trainable_elements
               : tv_merged_parameters(model->merged)->elements;
}

/* The last part of the path that a person gave; of "." and the like, "model". */
static char *name_of(const char *given) {
    size_t length = strlen(given);
    while (length > 1 && given[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && given[start - 1] != '/')
        start--;
    if (length == start || given[start] == '.')
        return tv_format("model");
    return tv_format("%.*s", (int)(length - start), given + start);
}

/* A model as one file, or its adapter alone. */
static tv_status write_gguf(const export_options *given, const exported *model) {
    const tv_parameter_list *list = tv_merged_parameters(model->merged);
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(&list->config, TV_MODEL_HEAD_LANGUAGE, model->path));
    if (tv_path_is_directory(given->out))
        return tv_fail(TV_E_USAGE, "--out %s: expected the name of a file, found a directory", given->out);
    char *name = name_of(given->model);
    bool alone = given->format == FORMAT_GGUF_LORA;
    const tv_gguf_export export = {
        .list = alone ? tv_model_directory_parameters(model->directory) : list,
        .source = alone ? read_rows : tv_merged_source,
        .context = alone ? (void *)model->directory : (void *)model->merged,
        .tokenizer = model->tokenizer,
        .where = model->path,
        .name = name ? name : "model",
        .type = tv_gguf_type_named(type_names[given->dtype]),
    };
    tv_status status =
        alone ? tv_gguf_adapter_write(given->out, &export) : tv_gguf_model_write(given->out, &export);
    free(name);
    return status;
}

/* What a reward model has beside its weights. */
static tv_status copy_if_there(const char *from, const char *to, const char *name) {
    char *text = NULL, *source = tv_format("%s/%s", from, name), *target = tv_format("%s/%s", to, name);
    uint64_t size;
    tv_status status = source && target ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK && tv_path_exists(source)) {
        status = tv_read_file(source, &text, &size);
        if (status == TV_OK)
            status = tv_write_file(target, text, size);
    }
    free(text);
    free(source);
    free(target);
    return status;
}

/* Under a temporary name, so that a directory is there whole or not at all. */
static tv_status write_hf(const export_options *given, const exported *model) {
    const tv_parameter_list *list = tv_merged_parameters(model->merged);
    tv_status status;
    static const tv_dtype dtypes[] = {TV_F32, TV_F16, TV_BF16};
    if ((size_t)given->dtype >= TV_COUNT(dtypes))
        return tv_fail(TV_E_USAGE, "--dtype: a directory is written in f32, f16 or bf16; q8_0 is GGUF's");
    if (tv_path_exists(given->out))
        return tv_fail(TV_E_USAGE, "--out %s: expected a new name for the directory, found %s", given->out,
                       tv_path_kind(given->out));
    char *temporary = tv_format("%s.partial", given->out);
    if (!temporary)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_remove_tree(temporary));
    TV_TRY(tv_make_dirs(temporary));
    TV_TRY(tv_model_directory_write_as(temporary, list, dtypes[given->dtype], given->shard_bytes,
                                       tv_merged_source, model->merged));
    if (model->tokenizer)
        TV_TRY(tv_tokenizer_save(model->tokenizer, temporary));
    TV_TRY(copy_if_there(model->path, temporary, "reward.json"));
    TV_TRY(tv_rename_durable(temporary, given->out));
done:
    if (status != TV_OK)
        (void)tv_remove_tree(temporary);
    free(temporary);
    return status;
}

static tv_status print_result(const export_options *given, const exported *model) {
    static const char *const formats[] = {"hf", "gguf", "gguf-lora"};
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_string(result, "out", given->out) &&
                 tv_json_set_string(result, "format", formats[given->format]) &&
                 tv_json_set_string(result, "dtype", type_names[given->dtype]) &&
                 tv_json_set_number(result, "parameters", (double)elements(given, model));
    return tv_print_result(result, built);
}

static tv_status export_model(const export_options *given) {
    exported model = {0};
    tv_status status;
    TV_TRY(open_model(given, &model));
    TV_TRY(given->format == FORMAT_HF ? write_hf(given, &model) : write_gguf(given, &model));
    tv_info("%s: %llu parameters%s", given->out, (unsigned long long)elements(given, &model),
            model.tokenizer || given->format == FORMAT_GGUF_LORA ? "" : ", no tokenizer");
    if (given->common.json)
        TV_TRY(print_result(given, &model));
done:
    tv_tokenizer_destroy(&model.tokenizer);
    tv_merged_destroy(&model.merged);
    tv_model_directory_close(&model.directory);
    free(model.path);
    return status;
}

/* "5GB", "500MB" or bytes; thousands and not 1024, as in transformers. */
static tv_status read_size(const char *text, uint64_t *bytes) {
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
    char *end;
    double number = strtod(text, &end);
    for (size_t i = 0; end != text && i < TV_COUNT(units); i++) {
        double size = number * units[i].bytes;
        if (strcmp(end, units[i].unit) != 0 || !(size >= 1 && size < 0x1p53))
            continue;
        *bytes = (uint64_t)size;
        return TV_OK;
    }
    return tv_fail(TV_E_USAGE,
                   "--shard-size: expected a size as 5GB, 500MB or a number of bytes, found \"%.40s\"", text);
}

tv_status cmd_export(int argc, char **argv) {
    export_options given = {.format = -1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &given.model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&given.adapter),
        tv_opt_required(tv_opt_choice("format", "hf|gguf|gguf-lora", &given.format,
                                      "a directory that transformers loads, a file for llama.cpp, or the "
                                      "adapter alone as one for its --lora")),
        tv_opt_required(tv_opt_output(
            tv_opt_text("out", "PATH", &given.out, "the directory, which must be new, or the file"))),
        tv_opt_choice("dtype", "f32|f16|bf16|q8_0", &given.dtype, "the type of the matrices"),
        tv_opt_text("shard-size", "SIZE", &given.shard_size,
                    "a directory's weights beyond it are cut into files with an index (5GB without it)"),
    };
    const tv_command_line line = {
        .command = "export",
        .summary = "Hands a model on: as a directory that transformers loads, or as one GGUF file, tokenizer "
                   "and chat template within, that llama.cpp runs. Adapters are merged into their base. "
                   "Needs no device.",
        .notes = "examples:\n  trivium export --model runs/sft --format gguf --dtype q8_0 --out sft.gguf\n"
                 "  llama-cli -m sft.gguf",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &given.common,
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    if (given.shard_size)
        TV_RETURN_IF_FAILED(read_size(given.shard_size, &given.shard_bytes));
    return export_model(&given);
}
