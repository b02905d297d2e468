/* A small model that answers: see answering.h. */
#include "support/answering.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/rng.h"
#include "formats/directory.h"
#include "stages/sft.h"
#include "support/support.h"
#include "text/tokenizer_json.h"

enum { DEMONSTRATIONS = 256, MOST_WORDS = 3, LINE = 256 };

static const char *const words[TV_ANSWERING_WORDS] = {"bright", "calm",   "gentle", "golden",
                                                      "happy",  "lovely", "merry",  "sweet"};
static const char *const things[] = {"ba", "koko", "mibami", "nu", "pera", "ramiko", "so", "tutu"};

/* The program reads with the shell's own `read`, so nothing is buffered anywhere. */
static const char reward_program[] = "while IFS= read -r line; do\n"
                                     "  text=${line##*'\"response\":\"'}; text=${text%\\\"*}\n"
                                     "  n=0; k=0\n"
                                     "  for w in $text; do\n"
                                     "    n=$((n + 1))\n"
                                     "    [ \"$w\" = golden ] && k=$((k + 1))\n"
                                     "  done\n"
                                     "  [ $n -gt 0 ] && echo \"$((k * 10000 / n))e-4\" || echo 0\n"
                                     "done\n";

static void write_prompt(uint64_t number, char *text) {
    const char *a = things[number % 8], *b = things[number / 8 % 8];
    switch (number % 3) {
    case 0:
        snprintf(text, LINE, "Tell me of %s and %s.", a, b);
        break;
    case 1:
        snprintf(text, LINE, "Tell me of %s.", a);
        break;
    default:
        snprintf(text, LINE, "Of %s.", b);
    }
}

static char *write_lines(const tv_answering *place, const char *name, uint64_t count, bool answered) {
    char *text = calloc(count, 2 * LINE), *path = tv_answering_path(place, name);
    assert_non_null(text);
    size_t used = 0;
    const tv_rng rng = {.seed = 23, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < count; i++) {
        char prompt[LINE];
        write_prompt(i, prompt);
        used += (size_t)sprintf(text + used, "{\"prompt\": \"%s\"", prompt);
        uint64_t answer = 1 + tv_uniform_below(&rng, i * 8, MOST_WORDS);
        if (answered)
            used += (size_t)sprintf(text + used, ", \"completion\": \"");
        for (uint64_t w = 0; answered && w < answer; w++)
            used += (size_t)sprintf(text + used, " %s",
                                    words[tv_uniform_below(&rng, i * 8 + 1 + w, TV_ANSWERING_WORDS)]);
        used += (size_t)sprintf(text + used, answered ? "\"}\n" : "}\n");
    }
    assert_ok(tv_write_file(path, text, used));
    free(text);
    return path;
}

tv_answering tv_answering_create(tv_architecture architecture, int steps) {
    tv_answering place = {.planted = tv_planted_create(architecture)};
    char *data = write_lines(&place, "demonstrations.jsonl", DEMONSTRATIONS, true);
    char *program = tv_answering_path(&place, "golden.sh");
    place.prompts = write_lines(&place, "prompts.jsonl", TV_ANSWERING_PROMPTS, false);
    place.model = tv_answering_path(&place, "model");
    place.reward = tv_format("sh %s", program);
    assert_ok(tv_write_file(program, reward_program, strlen(reward_program)));
    char *train = tv_format("data.train=[\"%s\"]", data), *length = tv_format("train.steps=%d", steps);
    const char *const sets[] = {
        train, length, "data.seq_len=32", "train.batch_size=16", "train.lr=5e-3", "train.warmup_steps=10"};
    tv_run_result result;
    assert_ok(tv_sft(
        &(tv_run_options){
            .run = place.model, .init = place.planted.base, .sets = sets, .set_count = TV_COUNT(sets)},
        &result));
    tv_free_all(length, train, program, data);
    return place;
}

void tv_answering_destroy(tv_answering *place) {
    tv_free_all(place->model, place->prompts, place->reward);
    tv_planted_destroy(&place->planted);
    *place = (tv_answering){0};
}

char *tv_answering_path(const tv_answering *place, const char *name) {
    char *path = tv_format("%s/%s", place->planted.dir, name);
    assert_non_null(path);
    return path;
}

typedef struct change {
    const tv_model_directory *source;
    float factor;            /* of the logits */
    uint64_t first_position; /* from here on the sum over a position is beyond floats */
} change;

static tv_status yield_changed(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                               tv_dtype dtype, void *out) {
    const change *s = context;
    const tv_parameter *p = &tv_model_directory_parameters(s->source)->items[index];
    float *values = out;
    assert_int_equal(dtype, TV_F32);
    TV_RETURN_IF_FAILED(tv_model_directory_read_rows(s->source, index, first_row, rows, dtype, out));
    bool last = p->role == TV_PARAMETER_FINAL_NORM_GAIN || p->role == TV_PARAMETER_FINAL_NORM_BIAS;
    for (uint64_t i = 0; last && i < rows * p->shape[1]; i++)
        values[i] *= s->factor;
    for (uint64_t r = 0; p->role == TV_PARAMETER_POSITIONS && r < rows; r++)
        for (uint64_t c = 0; first_row + r >= s->first_position && c < p->shape[1]; c++)
            values[r * p->shape[1] + c] = FLT_MAX;
    return TV_OK;
}

static char *write_changed(const tv_answering *place, const char *name, float factor,
                           uint64_t first_position) {
    char *path = tv_answering_path(place, name), *source = tv_format("%s/checkpoints/last", place->model);
    tv_model_directory *directory = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_make_dirs(path));
    assert_ok(tv_model_directory_open(source, &directory));
    assert_ok(tv_model_directory_write(path, tv_model_directory_parameters(directory), yield_changed,
                                       &(change){directory, factor, first_position}));
    assert_ok(tv_tokenizer_load(source, &tokenizer));
    assert_ok(tv_tokenizer_save(tokenizer, path));
    tv_tokenizer_destroy(&tokenizer);
    tv_model_directory_close(&directory);
    free(source);
    return path;
}

char *tv_answering_sharpened(const tv_answering *place, float factor) {
    return write_changed(place, "sharpened", factor, UINT32_MAX);
}

char *tv_answering_overflowing(const tv_answering *place, uint64_t first_position) {
    return write_changed(place, "overflowing", 1, first_position);
}
