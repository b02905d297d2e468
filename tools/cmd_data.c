/* trivium data: text into token shards. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/rng.h"
#include "text/shard.h"
#include "text/source.h"
#include "text/tokenizer_json.h"
#include "tools/commands.h"
#include "tools/options.h"

/* Below so many documents the validation part is the end of the text. */
enum { FEW_DOCUMENTS = 100 };

enum { TRAIN, VAL, PARTS };

typedef struct packing {
    tv_tokenizer *tokenizer;
    tv_shard_writer *writers[PARTS];
    char *paths[PARTS];
    uint64_t tokens[PARTS];
    tv_ids ids;
    tv_rng rng;
    tv_source_totals totals; /* of the whole input; known first only when there is a validation part */
    uint64_t val_documents, train_bytes;
    bool cut_at_end;
    uint64_t document, bytes; /* so far */
    double last_progress;
} packing;

static tv_status write_part(packing *pack, int part, const uint8_t *bytes, uint64_t length,
                            bool begins_document, bool ends_document) {
    uint32_t end = tv_tokenizer_info_of(pack->tokenizer)->end_of_text;
    pack->ids.size = 0;
    if (begins_document)
        TV_RETURN_IF_FAILED(tv_tokenizer_begin_document(pack->tokenizer, &pack->ids));
    TV_RETURN_IF_FAILED(tv_tokenizer_encode(pack->tokenizer, bytes, length, false, &pack->ids));
    if (ends_document && end != TV_NO_TOKEN)
        TV_RETURN_IF_FAILED(tv_ids_append(&pack->ids, &end, 1));
    pack->tokens[part] += pack->ids.size;
    return tv_fail_advice(tv_shard_writer_add(pack->writers[part], pack->ids.data, pack->ids.size), TV_E_FIT,
                          "pack the text in several and name them all in data.train");
}

static void show_progress(packing *pack) {
    double now = tv_seconds();
    if (now - pack->last_progress < 0.2)
        return;
    pack->last_progress = now;
    char bytes[32];
    tv_log_progress("packing: %s of text, %llu tokens", tv_format_bytes(pack->bytes, bytes, sizeof bytes),
                    (unsigned long long)(pack->tokens[TRAIN] + pack->tokens[VAL]));
}

static tv_status pack_document(void *context, const uint8_t *bytes, uint64_t length) {
    packing *pack = context;
    uint64_t number = pack->document++, start = pack->bytes, train = length;
    pack->bytes += length;
    show_progress(pack);
    if (!pack->writers[VAL])
        return write_part(pack, TRAIN, bytes, length, true, true);
    if (!pack->cut_at_end) {
        bool val = number < pack->totals.documents &&
                   tv_permute(&pack->rng, number, pack->totals.documents) < pack->val_documents;
        return write_part(pack, val ? VAL : TRAIN, bytes, length, true, true);
    }
    train = start >= pack->train_bytes ? 0 : tv_min_u64(length, pack->train_bytes - start);
    /* Not within a character. */
    while (train > 0 && train < length && (bytes[train] & 0xc0) == 0x80)
        train--;
    if (train > 0)
        TV_RETURN_IF_FAILED(write_part(pack, TRAIN, bytes, train, true, train == length));
    return train < length ? write_part(pack, VAL, bytes + train, length - train, train == 0, true) : TV_OK;
}

/* How the text is divided, which needs its size. */
static tv_status plan_split(packing *pack, const tv_texts *inputs, bool by_line, double fraction) {
    for (uint64_t i = 0; i < inputs->count; i++)
        if (tv_path_is_stream(inputs->items[i]))
            return tv_fail(
                TV_E_USAGE,
                "%s: --val-fraction reads the text twice, which %s does not allow; put it into a file",
                inputs->items[i], tv_path_kind(inputs->items[i]));
    TV_RETURN_IF_FAILED(tv_source_count(inputs->items, inputs->count, by_line, &pack->totals));
    pack->cut_at_end = pack->totals.documents < FEW_DOCUMENTS;
    pack->val_documents = tv_max_u64((uint64_t)llround(fraction * (double)pack->totals.documents), 1);
    pack->train_bytes = pack->totals.bytes - (uint64_t)llround(fraction * (double)pack->totals.bytes);
    return TV_OK;
}

static tv_status name_parts(packing *pack, const char *prefix, bool split) {
    uint64_t length = strlen(prefix);
    if (length > 4 && strcmp(prefix + length - 4, ".bin") == 0)
        length -= 4;
    pack->paths[TRAIN] = tv_format("%.*s%s.bin", (int)length, prefix, split ? "_train" : "");
    pack->paths[VAL] = split ? tv_format("%.*s_val.bin", (int)length, prefix) : NULL;
    if (!pack->paths[TRAIN] || (split && !pack->paths[VAL]))
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    const char *slash = strrchr(prefix, '/');
    if (!slash || slash == prefix)
        return TV_OK;
    char *folder = tv_format("%.*s", (int)(slash - prefix), prefix);
    tv_status status = folder ? tv_make_dirs(folder) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    free(folder);
    return status;
}

static tv_status commit_parts(packing *pack) {
    for (int part = 0; part < PARTS; part++)
        if (pack->writers[part] && pack->tokens[part] == 0)
            return tv_fail(TV_E_DATA,
                           "expected text for both shards, found none for %s; change --val-fraction",
                           pack->paths[part]);
    for (int part = 0; part < PARTS; part++)
        if (pack->writers[part])
            TV_RETURN_IF_FAILED(tv_shard_writer_commit(&pack->writers[part]));
    return TV_OK;
}

static tv_status report_packing(const packing *pack, bool json) {
    if (!json) {
        for (int part = 0; part < PARTS; part++)
            if (pack->paths[part])
                tv_info("wrote %s: %llu tokens", pack->paths[part], (unsigned long long)pack->tokens[part]);
        return TV_OK;
    }
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_string(result, "train", pack->paths[TRAIN]) &&
                 tv_json_set_number(result, "train_tokens", (double)pack->tokens[TRAIN]) &&
                 tv_json_set_number(result, "documents", (double)pack->totals.documents) &&
                 tv_json_set_number(result, "bytes", (double)pack->totals.bytes) &&
                 tv_json_set_number(result, "vocab_size", tv_tokenizer_vocab_size(pack->tokenizer));
    if (built && pack->paths[VAL])
        built = tv_json_set_string(result, "val", pack->paths[VAL]) &&
                tv_json_set_number(result, "val_tokens", (double)pack->tokens[VAL]);
    return tv_print_result(result, built);
}

static tv_status run_pack(int argc, char **argv) {
    tv_texts inputs = {0};
    const char *tokenizer = NULL, *out = NULL;
    double fraction = 0;
    bool by_line = false;
    tv_common_options common = {.seed = 1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_text("tokenizer", "DIR", &tokenizer, "directory with tokenizer.json")),
        tv_opt_required(tv_opt_list("input", "F", &inputs,
                                    "text files, folders of text or source code, {\"text\": ...} JSON lines "
                                    "(*.jsonl); gzip or zstd compressed or not")),
        tv_opt_short('o',
                     tv_opt_required(tv_opt_text(
                         "out", "PREFIX", &out,
                         "writes PREFIX.bin, or PREFIX_train.bin and PREFIX_val.bin with --val-fraction"))),
        tv_opt_number(
            "val-fraction", "X", &fraction, 0, 0.99,
            "this part of the documents, drawn by --seed, is kept for validation; of fewer than 100 "
            "documents it is the end of the text"),
        tv_opt_flag("by-line", &by_line, "each line of a text file is a document, without its newline"),
    };
    const tv_command_line line = {
        .command = "data pack",
        .summary =
            "Writes text as token shards in llm.c's format. A text file is a document, and the end-of-text "
            "token follows each document; what the tokenizer puts before a text stands before each.",
        .notes = "example:\n  trivium data pack --tokenizer tokenizer --input books/ --out data/books "
                 "--val-fraction 0.05",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status;
    packing pack = {.rng = {.seed = common.seed, .stream = TV_STREAM_SPLIT}};
    TV_TRY(tv_tokenizer_load(tokenizer, &pack.tokenizer));
    if (fraction > 0)
        TV_TRY(plan_split(&pack, &inputs, by_line, fraction));
    if (tv_tokenizer_info_of(pack.tokenizer)->end_of_text == TV_NO_TOKEN)
        tv_warn("%s has no end-of-text token: nothing will stand between documents", tokenizer);
    TV_TRY(name_parts(&pack, out, fraction > 0));
    for (int part = 0; part < PARTS; part++)
        if (pack.paths[part]) {
            TV_TRY(tv_options_check_output(&line, pack.paths[part]));
            TV_TRY(tv_shard_writer_open(pack.paths[part], tv_tokenizer_vocab_size(pack.tokenizer),
                                        &pack.writers[part]));
        }
    TV_TRY(tv_source_read(inputs.items, inputs.count, by_line, pack_document, &pack, &pack.totals));
    tv_log_progress_end();
    TV_TRY(commit_parts(&pack));
    TV_TRY(report_packing(&pack, common.json));
done:
    for (int part = 0; part < PARTS; part++) {
        tv_shard_writer_abort(&pack.writers[part]);
        free(pack.paths[part]);
    }
    tv_ids_free(&pack.ids);
    tv_tokenizer_destroy(&pack.tokenizer);
    tv_texts_free(&inputs);
    return status;
}

tv_status cmd_data(int argc, char **argv) {
    static const tv_command commands[] = {
        {"pack", "text to token shards", run_pack},
        {NULL, NULL, NULL},
    };
    return tv_command_dispatch("trivium data", "Prepares data for training.", commands, argc, argv);
}
