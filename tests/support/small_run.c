/* Small runs and their directories: see small_run.h. */
#include "support/small_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/directory.h"
#include "formats/safetensors.h"
#include "run/checkpoint.h"
#include "run/metrics.h"
#include "run/tfevents.h"
#include "support/support.h"
#include "text/shard.h"

static const char model_json[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 61, \"hidden_size\": 24, \"intermediate_size\": 40,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 3, \"num_key_value_heads\": 1,"
    " \"max_position_embeddings\": 32}";

void tv_write_text(const char *path, const char *text) {
    assert_ok(tv_write_file(path, text, strlen(text)));
}

tv_small_run tv_small_run_create(const char *train) {
    tv_small_run place = {.dir = tv_test_dir()};
    assert_non_null(place.dir);
    place.shard = tv_small_run_path(&place, "tokens.bin");
    place.config = tv_small_run_path(&place, "config.json");
    tv_shard_writer *writer = NULL;
    assert_ok(tv_shard_writer_open(place.shard, TV_SMALL_VOCAB, &writer));
    for (uint32_t i = 0; i < 4000; i++) {
        uint32_t id = (i * i / 7 + i) % TV_SMALL_VOCAB;
        assert_ok(tv_shard_writer_add(writer, &id, 1));
    }
    assert_ok(tv_shard_writer_commit(&writer));
    char *config =
        tv_format("{\"model\": %s, \"data\": {\"train\": [\"%s\"], \"val\": [\"%s\"], \"seq_len\": %d},"
                  " \"train\": {%s}}",
                  model_json, place.shard, place.shard, TV_SMALL_SEQ_LEN, train);
    assert_non_null(config);
    tv_write_text(place.config, config);
    free(config);
    return place;
}

void tv_small_run_destroy(tv_small_run *place) {
    tv_test_dir_remove(&place->dir);
    free(place->shard);
    free(place->config);
    *place = (tv_small_run){0};
}

char *tv_small_run_path(const tv_small_run *place, const char *name) {
    char *path = tv_format("%s/%s", place->dir, name);
    assert_non_null(path);
    return path;
}

void tv_expect_exit(const tv_child_result *run, int code) {
    if (run->exit_code != code)
        fail_msg("exit code %d, expected %d; it said:\n%s", run->exit_code, code, run->err);
}

void tv_expect_program(int code, const char *word, const char *const *argv) {
    char command[1024] = "";
    for (size_t used = 0, i = 1; argv[i] && used < sizeof command - 1; i++)
        used += (size_t)snprintf(command + used, sizeof command - used, " %s", argv[i]);
    tv_child_result run = tv_child_run(argv);
    if (word)
        tv_expect_sentence(&run, code, word, command);
    else if (run.exit_code != code)
        fail_msg("%s: exit code %d, expected %d; it said:\n%s", command, run.exit_code, code, run.err);
    tv_child_result_free(&run);
}

void tv_expect_sentence(const tv_child_result *run, int code, const char *word, const char *what) {
    const char *newline = run->err ? strchr(run->err, '\n') : NULL;
    if (run->exit_code != code || !newline || newline[1] != '\0' || !strstr(run->err, word))
        fail_msg("%s: exit code %d, expected %d and one line with \"%s\"; it said:\n%s", what, run->exit_code,
                 code, word, run->err);
}

static char *read_text(const char *dir, const char *name, uint64_t *size) {
    char *path = tv_format("%s/%s", dir, name), *text = NULL;
    assert_non_null(path);
    assert_ok(tv_read_file(path, &text, size));
    free(path);
    return text;
}

void tv_expect_same_file(const char *a, const char *b, const char *name) {
    uint64_t size_a, size_b;
    char *text_a = read_text(a, name, &size_a), *text_b = read_text(b, name, &size_b);
    if (size_a != size_b || memcmp(text_a, text_b, size_a) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    free(text_a);
    free(text_b);
}

/* What depends on the clock is taken out. */
static char *metrics_without_speed(const char *run) {
    static const char *const keys[] = {
        "\"tokens_per_second\":",      "\"seconds/draw\":",      "\"seconds/score\":",
        "\"seconds/forward\":",        "\"seconds/update\":",    "\"device_share\":",
        "\"draw/tokens_per_second\":", "\"draw/prompt_shared\":"};
    char *text = read_text(run, "metrics.jsonl", NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (char *speed = text; (speed = strstr(speed, keys[i]));) {
            char *end = speed + strcspn(speed, ",}");
            memmove(speed, end, strlen(end) + 1);
        }
    return text;
}

static char *link_target(const char *run, const char *name) {
    char *link = tv_format("%s/checkpoints/%s", run, name), *target = NULL;
    if (tv_read_link(link, &target) != TV_OK)
        target = tv_format("none");
    free(link);
    return target;
}

static void expect_same_link(const char *a, const char *b, const char *name) {
    char *target_a = link_target(a, name), *target_b = link_target(b, name);
    assert_string_equal(target_a, target_b);
    free(target_a);
    free(target_b);
}

void tv_expect_same_run(const char *a, const char *b) {
    char *last = link_target(a, "last");
    assert_string_not_equal(last, "none");
    free(last);
    expect_same_link(a, b, "last");
    expect_same_link(a, b, "best"); /* of a stage without evaluation: none in both */
    tv_expect_same_file(a, b, "checkpoints/last/model.safetensors");
    tv_expect_same_file(a, b, "checkpoints/last/training_state/optimizer.safetensors");
    tv_expect_same_file(a, b, "checkpoints/last/trainer_state.json");
    char *text_a = metrics_without_speed(a), *text_b = metrics_without_speed(b);
    assert_string_equal(text_a, text_b);
    free(text_a);
    free(text_b);
}

static void expect_whole_checkpoint(const char *path, uint64_t step) {
    tv_checkpoint_state state;
    assert_ok(tv_checkpoint_read_state(path, &state));
    if (state.step != step)
        fail_msg("%s is of step %" PRIu64 ", expected %" PRIu64, path, state.step, step);
    tv_model_directory *model = NULL;
    assert_ok(tv_model_directory_open(path, &model));
    const tv_parameter_list *list = tv_model_directory_parameters(model);
    float *values = calloc(list->max_elements, sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < list->count; i++)
        assert_ok(tv_model_directory_read(model, i, values));
    free(values);
    char *optimizer = tv_format("%s/training_state/optimizer.safetensors", path);
    tv_safetensors *moments = NULL;
    assert_ok(tv_safetensors_open(optimizer, &moments));
    assert_int_equal(tv_safetensors_count(moments), 2 * (uint64_t)list->count);
    uint64_t elements = 0;
    for (uint64_t i = 0; i < tv_safetensors_count(moments); i++)
        elements += tv_safetensors_at(moments, i)->count;
    assert_int_equal(elements, 2 * list->elements);
    tv_safetensors_close(&moments);
    free(optimizer);
    tv_model_directory_close(&model);
}

static void expect_link(const char *checkpoints, const char *name) {
    char *link = tv_format("%s/%s", checkpoints, name), *target = NULL;
    if (tv_read_link(link, &target) == TV_OK && !tv_path_is_directory(link))
        fail_msg("%s leads to %s, where nothing is", link, target);
    free(target);
    free(link);
}

uint64_t tv_expect_whole_checkpoints(const char *run) {
    char *checkpoints = tv_format("%s/checkpoints", run), **names = NULL;
    uint64_t count = 0, newest = 0;
    if (tv_path_is_directory(checkpoints))
        assert_ok(tv_list_dir(checkpoints, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step;
        if (sscanf(names[i], "step-%" SCNu64, &step) != 1)
            continue;
        char *path = tv_format("%s/%s", checkpoints, names[i]);
        expect_whole_checkpoint(path, step);
        free(path);
        newest = tv_max_u64(newest, step);
    }
    expect_link(checkpoints, "last");
    expect_link(checkpoints, "best");
    tv_free_names(&names, count);
    free(checkpoints);
    return newest;
}

static bool visit_in_order(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    uint64_t *step = context;
    const cJSON *number = tv_json_get(line, "step");
    ++*step;
    if (!cJSON_IsNumber(number) || number->valuedouble != (double)*step)
        fail_msg("metrics.jsonl: expected step %" PRIu64 " next, found %g", *step,
                 cJSON_IsNumber(number) ? number->valuedouble : -1.0);
    return true;
}

uint64_t tv_expect_metrics_in_order(const char *run, bool torn) {
    char *path = tv_format("%s/metrics.jsonl", run);
    uint64_t step = 0;
    bool found = false;
    assert_ok(tv_metrics_each(path, visit_in_order, &step, &found));
    if (found && !torn)
        fail_msg("%s: the last line is torn", path);
    free(path);
    return step;
}

void tv_expect_no_litter(const char *run) {
    char *tree = tv_tree_text(run);
    if (strstr(tree, ".tmp-") || strstr(tree, ".writing-"))
        fail_msg("temporary names are left:\n%s", tree);
    free(tree);
}

static void add_entry(const char *path, char **text) {
    char *line = NULL, *target = NULL;
    if (tv_read_link(path, &target) == TV_OK) {
        line = tv_format("%s -> %s\n", path, target);
    } else if (!tv_path_is_directory(path)) {
        char *bytes = NULL;
        uint64_t size = 0;
        assert_ok(tv_read_file(path, &bytes, &size));
        line = tv_format("%s %" PRIu64 " %08x\n", path, size, tv_crc32c(bytes, size));
        free(bytes);
    } else {
        char **names = NULL;
        uint64_t count = 0;
        assert_ok(tv_list_dir(path, &names, &count));
        for (uint64_t i = 0; i < count; i++) {
            char *entry = tv_format("%s/%s", path, names[i]);
            add_entry(entry, text);
            free(entry);
        }
        tv_free_names(&names, count);
        line = tv_format("%s/\n", path);
    }
    char *whole = tv_format("%s%s", *text, line);
    assert_non_null(whole);
    tv_free_all(target, line, *text);
    *text = whole;
}

char *tv_tree_text(const char *dir) {
    char *text = tv_format("%s", "");
    add_entry(dir, &text);
    return text;
}
