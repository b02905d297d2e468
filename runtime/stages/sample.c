/* Stage 3a, sampling candidates: see sample.h. */
#include "stages/sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "stages/rollout.h"
#include "text/json_text.h"
#include "text/prompts.h"

static const double SECONDS_PER_LINE = 10; /* of progress, where there is no terminal */
/* Texts of a rank in a block, for each of its rows: at the end of a block rows stand free until its longest
 * text has ended, and until then its lines wait in memory. */
enum { BLOCK_ROWS = 8 };

typedef struct sample_run {
    const tv_stage_sample_options *options;
    const tv_model_config *config;
    tv_prompts *prompts;
    uint64_t context; /* tokens of the longest prompt with its answer, */
    uint64_t longest; /* and of the longest prompt */
    tv_appender *out; /* of the rank that leads */
    uint64_t first;   /* prompts before it were there */
    uint64_t next;    /* the prompt whose line comes next */
    /* Prompts are drawn by blocks, of which this rank has every Nth prompt; alone a block is all of them. */
    uint64_t begin, end; /* of the block */
    uint64_t own;        /* prompts of it that this rank draws */
    char **responses;    /* (own, k) the JSON of those that wait for their line */
    uint64_t *missing;   /* (own) */
    uint64_t complete;   /* of own: those from the first on whose lines are made */
    tv_text lines;       /* several ranks: those lines */
    tv_stage_sample_result *result;
    double start, last_progress;
} sample_run;

/* ---- lines ---- */

static uint64_t limit_of(const sample_run *run, const tv_prompt *prompt) {
    return tv_min_u64(run->options->max_new, run->config->max_positions - prompt->length);
}

/* One response as JSON; the caller frees it. */
static tv_status print_response(const sample_run *run, const tv_prompt *prompt, uint64_t candidate,
                                const tv_decoder_row *row, char **json) {
    const tv_sampling *sampling = &run->options->sampling;
    tv_status status;
    tv_text text = {0}, string = {0};
    char id[24], seed[24];
    snprintf(id, sizeof id, "r%" PRIu64, candidate);
    snprintf(seed, sizeof seed, "%" PRIu64, sampling->seed); /* exact, which a double is not */
    cJSON *object = cJSON_CreateObject();
    TV_TRY(tv_sampling_text(run->options->tokenizer, row, prompt->is_chat, &text));
    TV_TRY(tv_json_append_string(text.data, text.size, &string));
    TV_TRY(tv_text_append(&string, "", 1));
    if (!object || !tv_json_set_string(object, "id", id) ||
        !cJSON_AddRawToObject(object, "text", (const char *)string.data) ||
        !tv_json_set_number(object, "tokens", (double)(row->length - row->prompt_length)) ||
        !tv_json_set_string(object, "policy", run->options->policy) ||
        !tv_json_set_string(object, "policy_fingerprint", run->options->policy_fingerprint) ||
        !cJSON_AddRawToObject(object, "seed", seed) ||
        !tv_json_set_number(object, "temperature", sampling->temperature) ||
        !tv_json_set_number(object, "top_k", (double)sampling->top_k) ||
        !tv_json_set_number(object, "top_p", sampling->top_p) ||
        !tv_json_set_string(object, "finish", tv_sampling_finish(row))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a response");
        goto done;
    }
    TV_TRY(tv_json_print_line(object, json));
done:
    cJSON_Delete(object);
    tv_text_free(&text);
    tv_text_free(&string);
    return status;
}

/* Number `own` of this rank's in the block. */
static uint64_t prompt_number(const sample_run *run, uint64_t own) {
    return run->begin + tv_ranks_own(run->options->ranks) + own * tv_ranks_count(run->options->ranks);
}

/* Alone it goes out; several ranks' lines meet at the end of the block. */
static tv_status write_line(sample_run *run, uint64_t own) {
    const tv_prompt *prompt = &run->prompts->items[prompt_number(run, own)];
    uint64_t k = run->options->candidates;
    char **responses = run->responses + own * k;
    tv_status status;
    tv_text line = {0};
    TV_TRY(tv_json_append(&line, "{\"id\":"));
    TV_TRY(tv_json_append_string(prompt->id, strlen(prompt->id), &line));
    TV_TRY(tv_json_append(&line, ",\"prompt\":"));
    TV_TRY(tv_json_append(&line, prompt->json));
    for (uint64_t c = 0; c < k; c++) {
        TV_TRY(tv_json_append(&line, c == 0 ? ",\"responses\":[" : ","));
        TV_TRY(tv_json_append(&line, responses[c]));
        free(responses[c]);
        responses[c] = NULL;
    }
    TV_TRY(tv_json_append(&line, "]}"));
    if (run->options->ranks) {
        TV_TRY(tv_text_append(&line, "\n", 1));
        status = tv_text_append(&run->lines, line.data, line.size);
    } else {
        status = tv_append_line(run->out, (const char *)line.data, line.size);
        run->next++;
    }
done:
    tv_text_free(&line);
    return status;
}

/* ---- continuing a file ---- */

typedef struct old_lines {
    const sample_run *run;
    const char *path;
    uint64_t count;
    bool differed; /* accepted, and said once */
} old_lines;

static tv_status other_settings(const tv_json_line *line, const char *what, const cJSON *found,
                                const char *expected) {
    char *text = cJSON_PrintUnformatted(found);
    tv_status status = tv_fail(TV_E_DATA,
                               "%s: %s is %.80s and this run's is %.80s; give another --out, or the model, "
                               "settings and prompts of that file",
                               line->where, what, text ? text : "absent", expected);
    cJSON_free(text);
    return status;
}

static tv_status check_number(const tv_json_line *line, const cJSON *response, const char *key,
                              double expected) {
    const cJSON *found = tv_json_get(response, key);
    char text[40];
    snprintf(text, sizeof text, "%.17g", expected);
    return cJSON_IsNumber(found) && found->valuedouble == expected ? TV_OK
                                                                   : other_settings(line, key, found, text);
}

static tv_status check_text(const tv_json_line *line, const cJSON *object, const char *key,
                            const char *expected) {
    const cJSON *found = tv_json_get(object, key);
    return cJSON_IsString(found) && strcmp(found->valuestring, expected) == 0
               ? TV_OK
               : other_settings(line, key, found, expected);
}

/* max_new is not in the file, but an answer that it ended has so many tokens. */
static tv_status check_length(const tv_json_line *line, const cJSON *response, uint64_t limit) {
    const cJSON *tokens = tv_json_get(response, "tokens"), *finish = tv_json_get(response, "finish");
    bool cut = cJSON_IsString(finish) && strcmp(finish->valuestring, "length") == 0;
    char text[40];
    snprintf(text, sizeof text, "%s%" PRIu64, cut ? "" : "at most ", limit);
    bool fits = cJSON_IsNumber(tokens) &&
                (cut ? tokens->valuedouble == (double)limit : tokens->valuedouble <= (double)limit);
    return fits ? TV_OK : other_settings(line, "tokens", tokens, text);
}

/* Who drew a response, and how. A model is known by what it is, not by where it lies. */
static tv_status check_response(const sample_run *run, const tv_prompt *prompt, const tv_json_line *line,
                                const cJSON *response) {
    const tv_sampling *sampling = &run->options->sampling;
    TV_RETURN_IF_FAILED(check_text(line, response, "policy_fingerprint", run->options->policy_fingerprint));
    TV_RETURN_IF_FAILED(check_number(line, response, "seed", (double)sampling->seed));
    TV_RETURN_IF_FAILED(check_number(line, response, "temperature", sampling->temperature));
    TV_RETURN_IF_FAILED(check_number(line, response, "top_k", (double)sampling->top_k));
    TV_RETURN_IF_FAILED(check_number(line, response, "top_p", sampling->top_p));
    return check_length(line, response, limit_of(run, prompt));
}

/* A line that is there against what this run would write. */
static tv_status check_old_line(void *context, const tv_json_line *line) {
    old_lines *old = context;
    const sample_run *run = old->run;
    if (old->count >= run->prompts->count)
        return tv_fail(TV_E_DATA, "%s: there are only %" PRIu64 " prompts; give another --out", line->where,
                       run->prompts->count);
    const tv_prompt *prompt = &run->prompts->items[old->count++];
    TV_RETURN_IF_FAILED(check_text(line, line->root, "id", prompt->id));
    tv_text json = {0};
    const cJSON *given = tv_json_get(line->root, "prompt");
    tv_status status = given ? tv_json_line_print(line, given, &json) : TV_OK;
    bool same =
        json.data && json.size == strlen(prompt->json) && memcmp(json.data, prompt->json, json.size) == 0;
    tv_text_free(&json);
    TV_RETURN_IF_FAILED(status);
    if (!same)
        return other_settings(line, "prompt", given, prompt->json);
    const cJSON *responses = tv_json_get(line->root, "responses"), *response;
    char k[24];
    snprintf(k, sizeof k, "%" PRIu64, run->options->candidates);
    if ((uint64_t)cJSON_GetArraySize(responses) != run->options->candidates)
        return other_settings(line, "the number of responses", responses, k);
    cJSON_ArrayForEach(response, responses) {
        status = check_response(run, prompt, line, response);
        if (status != TV_E_DATA || !run->options->accept_changes)
            TV_RETURN_IF_FAILED(status);
        else if (!old->differed)
            tv_info("taken over: %s", tv_last_error());
        old->differed |= status != TV_OK;
    }
    return TV_OK;
}

/* Opens the file behind its last whole line and counts those. */
static tv_status open_file(sample_run *run, uint64_t *lines) {
    const char *path = run->options->out;
    tv_status status = TV_OK;
    char *text = NULL;
    uint64_t size = 0;
    old_lines old = {.run = run, .path = path};
    if (!run->options->dry_run) {
        TV_TRY(tv_appender_open_named(path, UINT64_MAX, true, &run->out));
        TV_TRY(tv_appender_lock(run->out));
    }
    if (tv_path_exists(path))
        TV_TRY(tv_read_file(path, &text, &size));
    while (size > 0 && text[size - 1] != '\n')
        size--;
    if (size > 0)
        TV_TRY(tv_source_read_json_bytes((const uint8_t *)text, size, path, check_old_line, &old));
    *lines = old.count;
    if (old.count > 0)
        tv_info("%s: goes on behind the %" PRIu64 " lines that are there", path, old.count);
    if (run->out)
        TV_TRY(tv_appender_cut(run->out, size));
done:
    free(text);
    return status;
}

/* By all ranks; the one that leads has the file. */
static tv_status open_out(sample_run *run) {
    tv_ranks *ranks = run->options->ranks;
    uint64_t lines = 0;
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, tv_ranks_leads(ranks) ? open_file(run, &lines) : TV_OK));
    TV_RETURN_IF_FAILED(tv_ranks_broadcast(ranks, 0, &lines, sizeof lines));
    run->first = run->next = run->result->resumed = lines;
    return TV_OK;
}

/* ---- drawing ---- */

static void show_progress(sample_run *run) {
    double now = tv_seconds();
    bool terminal = tv_terminal_columns() > 0;
    if (now - run->last_progress < (terminal ? 0.2 : SECONDS_PER_LINE))
        return;
    run->last_progress = now;
    const tv_stage_sample_result *result = run->result;
    double done = (double)result->responses,
           all = (double)((run->prompts->count - run->first) * run->options->candidates) /
                 tv_ranks_count(run->options->ranks);
    char text[160];
    snprintf(text, sizeof text, "%" PRIu64 "/%" PRIu64 " prompts  %.0f tokens/s  %.0f s left", run->next,
             run->prompts->count, (double)result->tokens / (now - run->start),
             (now - run->start) * (all - done) / done);
    if (terminal)
        tv_log_progress("%s", text);
    else
        tv_info("%s", text);
}

static tv_status interrupted(const sample_run *run) {
    return tv_fail(TV_E_INTERRUPTED,
                   "interrupted with %" PRIu64 " of %" PRIu64
                   " prompts in %s; the same command goes on behind them",
                   run->next, run->prompts->count, run->options->out);
}

static tv_status take(void *context, uint64_t index, const tv_decoder_row *row) {
    sample_run *run = context;
    tv_stage_sample_result *result = run->result;
    const uint64_t own = index / run->options->candidates;
    TV_RETURN_IF_FAILED(print_response(run, &run->prompts->items[prompt_number(run, own)],
                                       index % run->options->candidates, row, &run->responses[index]));
    result->responses++;
    result->ended += row->finished == TV_DECODE_END_OF_TEXT;
    result->tokens += row->length - row->prompt_length;
    result->prompt_tokens += row->prompt_length;
    run->missing[own]--;
    for (; run->complete < run->own && run->missing[run->complete] == 0; run->complete++)
        TV_RETURN_IF_FAILED(write_line(run, run->complete));
    show_progress(run);
    return tv_interrupted() && run->complete < run->own ? interrupted(run) : TV_OK;
}

static tv_rollout_options rollout_options(const sample_run *run) {
    const uint64_t ranks = tv_ranks_count(run->options->ranks), k = run->options->candidates,
                   prompts = tv_div_up(run->prompts->count - run->first, ranks);
    return (tv_rollout_options){.rows = tv_max_u64(1, tv_min_u64(run->options->rows, prompts * k)),
                                .max_tokens = run->context,
                                .prompts = prompts,
                                .answers = k,
                                .prompt_tokens = run->longest,
                                .max_new = run->options->max_new,
                                .capture_step = run->options->capture_step};
}

/* This rank's texts of the block. */
static tv_status draw_own(sample_run *run, tv_rollout *rollout, const tv_decoder_settings *settings) {
    const uint64_t k = run->options->candidates, ranks = tv_ranks_count(run->options->ranks),
                   first = run->begin + tv_ranks_own(run->options->ranks);
    run->own = first < run->end ? tv_div_up(run->end - first, ranks) : 0;
    run->complete = run->lines.size = 0;
    const uint64_t count = run->own * k;
    tv_status status;
    tv_rollout_request *requests = calloc(count + 1, sizeof *requests);
    run->responses = calloc(count + 1, sizeof *run->responses);
    run->missing = calloc(run->own + 1, sizeof *run->missing);
    if (!requests || !run->responses || !run->missing) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " responses", count);
        goto done;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = prompt_number(run, i / k);
        const tv_prompt *prompt = &run->prompts->items[index];
        run->missing[i / k] = k;
        requests[i] =
            (tv_rollout_request){prompt->ids, prompt->length, (uint32_t)(index * TV_MAX_CANDIDATES + i % k)};
    }
    status = tv_rollout_run(rollout, requests, count, settings, run->options->max_new, take, run);
    run->result->seconds += tv_rollout_totals_of(rollout).seconds;
done:
    for (uint64_t i = 0; run->responses && i < count; i++)
        free(run->responses[i]);
    free(run->responses);
    free(run->missing);
    free(requests);
    run->responses = NULL;
    run->missing = NULL;
    return status;
}

/* By all: the block's lines, in the order of the prompts, up to the first that is not there. */
static tv_status write_block(sample_run *run) {
    tv_ranks *ranks = run->options->ranks;
    const uint64_t count = tv_ranks_count(ranks);
    uint64_t *at = calloc(2 * count, sizeof *at), *ends = at + count;
    uint8_t *all = NULL;
    tv_status status = at ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    if (status == TV_OK)
        status = tv_ranks_collect(ranks, run->lines.data, run->lines.size, &all, ends);
    for (uint64_t r = 1; r < count && status == TV_OK; r++)
        at[r] = ends[r - 1];
    for (; run->next < run->end && status == TV_OK; run->next++) {
        const uint64_t r = (run->next - run->begin) % count;
        const uint8_t *newline = at[r] < ends[r] ? memchr(all + at[r], '\n', ends[r] - at[r]) : NULL;
        if (!newline)
            break;
        const uint64_t length = (uint64_t)(newline - (all + at[r]));
        if (run->out)
            status = tv_append_line(run->out, (const char *)all + at[r], length);
        at[r] += length + 1;
    }
    free(all);
    free(at);
    return status;
}

/* An interrupt of one is one of all, when the block is written. */
static tv_status draw_block(sample_run *run, tv_rollout *rollout, const tv_decoder_settings *settings) {
    tv_ranks *ranks = run->options->ranks;
    bool ends;
    tv_status status = draw_own(run, rollout, settings);
    if (!ranks || (status != TV_OK && status != TV_E_INTERRUPTED))
        return status;
    TV_RETURN_IF_FAILED(write_block(run));
    TV_RETURN_IF_FAILED(tv_ranks_any(ranks, tv_interrupted(), &ends));
    return ends && run->next < run->prompts->count ? interrupted(run) : TV_OK;
}

/* By all: what was drawn, and the time of the slowest. */
static tv_status add_up(sample_run *run) {
    tv_stage_sample_result *result = run->result, *all;
    const uint32_t count = tv_ranks_count(run->options->ranks);
    if (count == 1)
        return TV_OK;
    const tv_stage_sample_result own = *result;
    all = calloc(count, sizeof *all);
    if (!all)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    tv_status status = tv_ranks_gather(run->options->ranks, &own, sizeof own, all);
    for (uint32_t r = 0; r < count && status == TV_OK; r++) {
        if (r == tv_ranks_own(run->options->ranks))
            continue;
        result->responses += all[r].responses;
        result->ended += all[r].ended;
        result->tokens += all[r].tokens;
        result->prompt_tokens += all[r].prompt_tokens;
        result->seconds = all[r].seconds > result->seconds ? all[r].seconds : result->seconds;
    }
    free(all);
    return status;
}

static tv_status draw(sample_run *run) {
    const tv_stage_sample_options *options = run->options;
    const uint64_t ranks = tv_ranks_count(options->ranks), count = run->prompts->count;
    const tv_rollout_options rows = rollout_options(run);
    const uint64_t block = options->ranks
                               ? ranks * tv_max_u64(1, tv_div_up(BLOCK_ROWS * rows.rows, options->candidates))
                               : count;
    bool chat = false;
    tv_status status;
    tv_rollout *rollout = NULL;
    for (uint64_t i = 0; i < count; i++)
        chat = chat || run->prompts->items[i].is_chat;
    const tv_decoder_settings settings = tv_sampling_settings(
        &options->sampling, run->config, options->tokenizer, chat ? &run->prompts->chat : NULL);
    TV_TRY(tv_rollout_create(options->model, &rows, &rollout));
    run->start = run->last_progress = tv_seconds();
    for (run->begin = run->first; run->begin < count; run->begin = run->end) {
        run->end = tv_min_u64(run->begin + block, count);
        TV_TRY(draw_block(run, rollout, &settings));
    }
    status = add_up(run);
done:
    tv_rollout_destroy(&rollout);
    return status;
}

/* ---- memory ---- */

static void print_row(const char *what, uint64_t bytes) {
    char text[32];
    printf("  %-28s %12s\n", what, tv_format_bytes(bytes, text, sizeof text));
}

static tv_status check_memory(const sample_run *run) {
    tv_device *device = tv_model_device(run->options->model);
    const tv_parameter_list *list = tv_model_list(run->options->model);
    const tv_rollout_options rows = rollout_options(run);
    tv_decoder_bytes bytes;
    tv_model_bytes model;
    TV_RETURN_IF_FAILED(
        tv_rollout_measure(tv_model_list(run->options->model), tv_device_caps(device), &rows, &bytes));
    TV_RETURN_IF_FAILED(tv_model_measure(list, tv_device_caps(device), false, &model));
    const uint64_t weights = model.parameters, tables = tv_model_table_bytes(&list->config, rows.max_tokens),
                   needed = tables + bytes.cache + bytes.activations + bytes.state;
    uint64_t available = tv_device_bytes_available(device);
    const bool prints = run->options->dry_run && tv_ranks_leads(run->options->ranks);
    if (prints) {
        printf("model      %" PRIu64 " parameters\n", list->elements);
        printf("texts      %" PRIu64 " prompts x %" PRIu64 ", %" PRIu64 " rows of up to %" PRIu64 " tokens\n",
               run->prompts->count - run->first, run->options->candidates, rows.rows, rows.max_tokens);
        printf("device     %s\n", tv_device_caps(device)->name);
        print_row("parameters", weights);
        if (tables)
            print_row("tables of positions", tables);
        print_row(bytes.shared ? "key-value cache, shared" : "key-value cache", bytes.cache);
        print_row("activations", bytes.activations);
        print_row("texts and state", bytes.state);
        print_row("total", weights + needed);
        print_row("free beside the parameters", available);
        printf("bytes      %" PRIu64 "\n", weights + needed);
    }
    char more[32], there[32];
    if (needed > available)
        return tv_fail(TV_E_FIT,
                       "%" PRIu64 " rows of %" PRIu64 " tokens need %s of device memory and %s has %s; "
                       "give fewer --rows or --max-tokens",
                       rows.rows, rows.max_tokens, tv_format_bytes(needed, more, sizeof more),
                       tv_device_caps(device)->name, tv_format_bytes(available, there, sizeof there));
    if (prints)
        printf("it fits\n");
    return TV_OK;
}

/* ---- the stage ---- */

static tv_status read_prompts(sample_run *run) {
    const tv_stage_sample_options *options = run->options;
    TV_RETURN_IF_FAILED(tv_prompts_read(&(tv_prompts_options){.paths = options->prompts,
                                                              .path_count = options->prompt_paths,
                                                              .tokenizer = options->tokenizer,
                                                              .max_tokens = run->config->max_positions - 1},
                                        &run->prompts));
    if (run->prompts->count > UINT32_MAX / TV_MAX_CANDIDATES)
        return tv_fail(TV_E_DATA, "expected at most %u prompts, found %" PRIu64 "; split the file",
                       UINT32_MAX / TV_MAX_CANDIDATES, run->prompts->count);
    for (uint64_t i = 0; i < run->prompts->count; i++) {
        const tv_prompt *prompt = &run->prompts->items[i];
        run->context = tv_max_u64(run->context, prompt->length + limit_of(run, prompt));
        run->longest = tv_max_u64(run->longest, prompt->length);
        for (uint64_t t = 0; t < prompt->length; t++)
            if (prompt->ids[t] >= run->config->vocab_size)
                return tv_fail(TV_E_DATA,
                               "%s line %" PRIu64
                               ": token %u of the prompt is not below the model's vocabulary of %" PRIu64
                               "; the tokenizer.json beside the model is not its own",
                               prompt->file, prompt->line, prompt->ids[t], run->config->vocab_size);
    }
    return TV_OK;
}

tv_status tv_stage_sample(const tv_stage_sample_options *options, tv_stage_sample_result *result) {
    *result = (tv_stage_sample_result){0};
    sample_run run = {.options = options, .config = &tv_model_list(options->model)->config, .result = result};
    tv_status status;
    if (options->candidates == 0 || options->candidates > TV_MAX_CANDIDATES || options->rows == 0 ||
        options->max_new == 0)
        return tv_fail(TV_E_USAGE, "expected 1 to %d candidates, a row and a token at least",
                       TV_MAX_CANDIDATES);
    status = tv_ranks_agree(options->ranks, read_prompts(&run));
    if (status != TV_OK)
        goto done;
    result->prompts = run.prompts->count;
    TV_TRY(open_out(&run));
    status = tv_ranks_agree(options->ranks, check_memory(&run));
    if (status != TV_OK)
        goto done;
    if (!options->dry_run && run.first < run.prompts->count)
        TV_TRY(draw(&run));
done:
    tv_appender_close(&run.out);
    tv_prompts_destroy(&run.prompts);
    tv_text_free(&run.lines);
    return status;
}
