/* trivium tokenizer: train, encode, decode. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "text/bpe_train.h"
#include "text/source.h"
#include "text/tokenizer_json.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/options.h"
#include "tools/text_stream.h"

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the result");
}

static tv_status report_training(const tv_tokenizer *tokenizer, const char *out,
                                 const tv_source_totals *totals, double seconds, bool json) {
    if (!json) {
        tv_info("wrote %s/tokenizer.json: %u tokens from %llu bytes of text in %.1f s", out,
                tv_tokenizer_vocab_size(tokenizer), (unsigned long long)totals->bytes, seconds);
        return TV_OK;
    }
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_string(result, "tokenizer", out) &&
                 tv_json_set_number(result, "vocab_size", tv_tokenizer_vocab_size(tokenizer)) &&
                 tv_json_set_number(result, "merges", (double)tv_tokenizer_merge_count(tokenizer)) &&
                 tv_json_set_number(result, "documents", (double)totals->documents) &&
                 tv_json_set_number(result, "bytes", (double)totals->bytes) &&
                 tv_json_set_number(result, "seconds", seconds);
    return tv_print_result(result, built);
}

/* Of the files that tv_tokenizer_save writes. */
static tv_status check_outputs(const tv_command_line *line, const char *folder) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"};
    tv_status status = TV_OK;
    for (uint64_t i = 0; i < TV_COUNT(names) && status == TV_OK; i++) {
        char *path = tv_format("%s/%s", folder, names[i]);
        status = path ? tv_options_check_output(line, path) : out_of_memory();
        free(path);
    }
    return status;
}

static tv_status run_train(int argc, char **argv) {
    tv_texts inputs = {0};
    uint64_t vocab_size = 4096, min_count = 2;
    const char *out = NULL;
    bool by_line = false;
    tv_common_options common = {0};
    const tv_option options[] = {
        tv_opt_required(tv_opt_list("input", "F", &inputs,
                                    "text files, folders of text or source code, {\"text\": ...} JSON lines "
                                    "(*.jsonl); gzip or zstd compressed or not")),
        tv_opt_required(tv_opt_uint("vocab-size", "N", &vocab_size, TV_MIN_VOCAB_SIZE, TV_MAX_VOCAB_SIZE,
                                    "tokens in all: 4 reserved ones, 256 bytes, the rest learnt")),
        tv_opt_output(tv_opt_short(
            'o', tv_opt_required(tv_opt_text("out", "DIR", &out, "where the tokenizer is written")))),
        tv_opt_uint("min-count", "N", &min_count, 1, INT64_MAX, "learn pairs that occur at least so often"),
        tv_opt_flag("by-line", &by_line, "each line of a text file is a document"),
    };
    const tv_command_line line = {
        .command = "tokenizer train",
        .summary =
            "Learns a byte-level BPE tokenizer and writes tokenizer.json and tokenizer_config.json. It "
            "reserves <|endoftext|>, <|im_start|>, <|im_end|> and <|pad|>.",
        .notes = "example:\n  trivium tokenizer train --input books/ --vocab-size 4096 --out tokenizer",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status;
    tv_bpe_trainer *trainer = NULL;
    tv_tokenizer *tokenizer = NULL;
    tv_source_totals totals = {0};
    double start = tv_seconds();
    TV_TRY(check_outputs(&line, out));
    TV_TRY(tv_bpe_trainer_create(vocab_size, min_count, &trainer));
    TV_TRY(tv_source_read(inputs.items, inputs.count, by_line, tv_bpe_trainer_add, trainer, &totals));
    TV_TRY(tv_bpe_trainer_finish(trainer, &tokenizer));
    TV_TRY(tv_tokenizer_save(tokenizer, out));
    TV_TRY(report_training(tokenizer, out, &totals, tv_seconds() - start, common.json));
done:
    tv_tokenizer_destroy(&tokenizer);
    tv_bpe_trainer_destroy(&trainer);
    tv_texts_free(&inputs);
    return status;
}

/* What encode and decode share: a tokenizer and an input from --text, --input or standard input. */
typedef struct translation {
    const char *tokenizer, *text, *input;
    bool flag; /* --special, --skip-special */
    tv_common_options common;
} translation;

static tv_status parse_translation(const char *command, const char *summary, const char *text_help,
                                   const char *flag, const char *flag_help, int argc, char **argv,
                                   translation *given, bool *done) {
    const tv_option options[] = {
        tv_opt_required(tv_opt_text("tokenizer", "DIR", &given->tokenizer, "directory with tokenizer.json")),
        tv_opt_text("text", "S", &given->text, text_help),
        tv_opt_text("input", "F", &given->input, "a file instead (without both: standard input)"),
        tv_opt_flag(flag, &given->flag, flag_help),
    };
    const tv_command_line line = {
        .command = command,
        .summary = summary,
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &given->common,
    };
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, done));
    if (!*done && given->text && given->input)
        return tv_fail(TV_E_USAGE, "expected --text or --input, found both");
    return TV_OK;
}

static tv_status read_input(const translation *given, char **bytes, uint64_t *size) {
    if (given->text) {
        *bytes = tv_format("%s", given->text);
        *size = strlen(given->text);
        return *bytes ? TV_OK : out_of_memory();
    }
    bool standard = !given->input || strcmp(given->input, "-") == 0;
    if (!standard && !tv_path_exists(given->input))
        return tv_fail(TV_E_DATA, "%s: expected a file to read, found nothing of that name", given->input);
    return tv_read_input(standard ? "/dev/stdin" : given->input, bytes, size);
}

typedef struct encoding {
    tv_tokenizer *tokenizer;
    bool special;
    tv_ids ids;
} encoding;

static tv_status encode(void *context, const uint8_t *bytes, uint64_t length) {
    encoding *e = context;
    return tv_tokenizer_encode(e->tokenizer, bytes, length, e->special, &e->ids);
}

static tv_status print_encoded(const tv_tokenizer *tokenizer, const tv_ids *ids, bool json) {
    if (!json) {
        for (uint64_t i = 0; i < ids->size; i++)
            printf(i ? " %u" : "%u", ids->data[i]);
        printf("\n");
        return TV_OK;
    }
    tv_status status;
    tv_text name = {0};
    cJSON *result = cJSON_CreateObject(), *numbers = NULL, *names = NULL;
    if (!result || !(numbers = cJSON_AddArrayToObject(result, "ids")) ||
        !(names = cJSON_AddArrayToObject(result, "tokens"))) {
        status = out_of_memory();
        goto done;
    }
    for (uint64_t i = 0; i < ids->size; i++) {
        name.size = 0;
        TV_TRY(tv_token_spell(tv_tokenizer_token(tokenizer, ids->data[i]), &name));
        TV_TRY(tv_text_append(&name, "", 1));
        if (!cJSON_AddItemToArray(numbers, cJSON_CreateNumber(ids->data[i])) ||
            !cJSON_AddItemToArray(names, cJSON_CreateString((const char *)name.data))) {
            status = out_of_memory();
            goto done;
        }
    }
    TV_TRY(tv_print_json(result));
done:
    tv_text_free(&name);
    cJSON_Delete(result);
    return status;
}

static tv_status run_encode(int argc, char **argv) {
    translation given = {0};
    bool done;
    TV_RETURN_IF_FAILED(parse_translation(
        "tokenizer encode",
        "Prints the token ids of a text; with --json {\"ids\": [...], \"tokens\": [...]}, the tokens as they "
        "stand in tokenizer.json.",
        "the text", "special", "special tokens written in the text become their ids", argc, argv, &given,
        &done));
    if (done)
        return TV_OK;
    tv_status status;
    encoding e = {.special = given.flag};
    char *bytes = NULL;
    uint64_t size = 0;
    TV_TRY(tv_tokenizer_load(given.tokenizer, &e.tokenizer));
    TV_TRY(read_input(&given, &bytes, &size));
    /* Files are read as everywhere: without their mark, unpacked, and no UTF-16. */
    TV_TRY(given.text ? encode(&e, (const uint8_t *)bytes, size)
                      : tv_source_read_text_bytes((const uint8_t *)bytes, size,
                                                  given.input ? given.input : "standard input", encode, &e));
    TV_TRY(print_encoded(e.tokenizer, &e.ids, given.common.json));
done:
    tv_ids_free(&e.ids);
    free(bytes);
    tv_tokenizer_destroy(&e.tokenizer);
    return status;
}

/* Ids between white space, commas and brackets, which takes the output of encode, with --json or without. */
static tv_status parse_ids(const char *text, uint64_t size, tv_ids *ids) {
    cJSON *root = NULL;
    const char *brace = text + strspn(text, " \t\r\n");
    if (*brace == '{') {
        TV_RETURN_IF_FAILED(tv_json_parse(text, size, "input", &root));
        const cJSON *list = tv_json_get(root, "ids"), *item;
        tv_status status =
            cJSON_IsArray(list)
                ? TV_OK
                : tv_fail(TV_E_DATA, "input: expected {\"ids\": [...]}, found no list \"ids\"");
        cJSON_ArrayForEach(item, list) {
            double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
            uint32_t id = value >= 0 && value <= TV_MAX_TOKEN_ID ? (uint32_t)value : TV_NO_TOKEN;
            if (status == TV_OK && (id == TV_NO_TOKEN || (double)id < value))
                status = tv_fail(TV_E_DATA, "input: expected token ids in \"ids\", found something else");
            if (status == TV_OK)
                status = tv_ids_append(ids, &id, 1);
        }
        cJSON_Delete(root);
        return status;
    }
    for (const char *at = text;;) {
        at += strspn(at, " \t\r\n,[]");
        if (*at == '\0')
            return TV_OK;
        char *end = NULL;
        errno = 0;
        unsigned long long value = strtoull(at, &end, 10);
        if (end == at || *at == '-' || errno || value > TV_MAX_TOKEN_ID)
            return tv_fail(TV_E_DATA, "input: expected token ids, found \"%.20s\" at byte %llu", at,
                           (unsigned long long)(at - text));
        uint32_t id = (uint32_t)value;
        TV_RETURN_IF_FAILED(tv_ids_append(ids, &id, 1));
        at = end;
    }
}

static tv_status print_decoded(const tv_text *text, bool json) {
    if (!json)
        return tv_text_print(text->data, text->size, tv_stdout_is_terminal());
    cJSON *result = cJSON_CreateObject();
    tv_status status = result ? tv_json_add_text(result, "text", text) : out_of_memory();
    if (status == TV_OK)
        status = tv_print_json(result);
    cJSON_Delete(result);
    return status;
}

static tv_status run_decode(int argc, char **argv) {
    translation given = {0};
    bool done;
    TV_RETURN_IF_FAILED(parse_translation("tokenizer decode",
                                          "Prints the bytes of token ids exactly, without a newline of its "
                                          "own; with --json {\"text\": ...}, where invalid UTF-8 is U+FFFD.",
                                          "the ids, such as \"12 7 9\", or what encode printed",
                                          "skip-special", "leave special tokens out", argc, argv, &given,
                                          &done));
    if (done)
        return TV_OK;
    tv_status status;
    tv_tokenizer *tokenizer = NULL;
    char *bytes = NULL;
    uint64_t size = 0;
    tv_ids ids = {0};
    tv_text text = {0};
    TV_TRY(tv_tokenizer_load(given.tokenizer, &tokenizer));
    TV_TRY(read_input(&given, &bytes, &size));
    TV_TRY(parse_ids(bytes, size, &ids));
    TV_TRY(tv_tokenizer_decode(tokenizer, ids.data, ids.size, given.flag, &text));
    TV_TRY(print_decoded(&text, given.common.json));
done:
    tv_text_free(&text);
    tv_ids_free(&ids);
    free(bytes);
    tv_tokenizer_destroy(&tokenizer);
    return status;
}

tv_status cmd_tokenizer(int argc, char **argv) {
    static const tv_command commands[] = {
        {"train", "learn a byte-level BPE tokenizer from text", run_train},
        {"encode", "text to token ids", run_encode},
        {"decode", "token ids to text", run_decode},
        {NULL, NULL, NULL},
    };
    return tv_command_dispatch("trivium tokenizer", "Trains a tokenizer, encodes and decodes with it.",
                               commands, argc, argv);
}
