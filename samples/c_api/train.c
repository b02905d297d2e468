/* Trains a small Llama through the C API on a text that it learns by heart, and lets it continue a line.
 *
 * Build after installing trivium: cmake -S samples/c_api -B build-sample && cmake --build build-sample
 */
#include <stdio.h>
#include <string.h>

#include <trivium/trivium.h>

enum { BATCH = 8, LENGTH = 48, STEPS = 250 };

static const char config[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 256, \"hidden_size\": 64, \"intermediate_size\": 128,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 64}";

static const char text[] =
    "The trivium was grammar, logic and rhetoric: to say a thing, to say it truly, to say it well. "
    "Grammar taught the parts of speech, logic how thoughts follow, rhetoric how to move a listener. ";

/* Bytes are tokens here; a real program uses a tokenizer. Row b starts at another place of the text. */
static void fill(unsigned step, unsigned tokens[BATCH * LENGTH], unsigned targets[BATCH * LENGTH]) {
    size_t size = strlen(text);
    for (unsigned b = 0; b < BATCH; b++) {
        for (unsigned t = 0; t < LENGTH; t++) {
            size_t at = (step * 31 + b * 23 + t) % size;
            tokens[b * LENGTH + t] = (unsigned char)text[at];
            targets[b * LENGTH + t] = (unsigned char)text[(at + 1) % size];
        }
    }
}

static tv_status run(tv_device *device, tv_language_model **model) {
    tv_status status =
        tv_language_model_create(device, config, 1, &(tv_language_model_options){.train = true}, model);
    if (status != TV_OK)
        return status;
    printf("%s, %llu parameters\n", tv_device_name(device),
           (unsigned long long)tv_language_model_parameters(*model));

    const tv_adamw_settings adamw = {3e-3, 0.1, 0.9, 0.95, 1e-8, 1.0};
    unsigned tokens[BATCH * LENGTH], targets[BATCH * LENGTH];
    for (unsigned step = 0; step < STEPS; step++) {
        double loss;
        fill(step, tokens, targets);
        status = tv_language_model_step(*model, BATCH, LENGTH, tokens, targets, &adamw, &loss, NULL);
        if (status != TV_OK)
            return status;
        if (step % 50 == 49)
            printf("step %3u  loss %.3f\n", step + 1, loss);
    }

    const char prompt[] = "Grammar taught";
    const tv_generate_settings greedy = {.max_new = 40, .temperature = 0, .top_p = 1};
    unsigned ids[sizeof prompt], drawn[40];
    unsigned long long count = 0;
    uint64_t drawn_count = 0;
    for (; prompt[count]; count++)
        ids[count] = (unsigned char)prompt[count];
    status = tv_language_model_generate(*model, ids, count, &greedy, drawn, &drawn_count);
    if (status != TV_OK)
        return status;
    printf("%s", prompt);
    for (uint64_t i = 0; i < drawn_count; i++)
        putchar((int)drawn[i]);
    putchar('\n');
    return TV_OK;
}

int main(void) {
    tv_device *device = NULL;
    tv_language_model *model = NULL;
    tv_status status = tv_device_open(NULL, &device);
    if (status == TV_OK)
        status = run(device, &model);
    if (status != TV_OK)
        fprintf(stderr, "%s\n", tv_last_error());
    tv_language_model_destroy(&model);
    tv_device_close(&device);
    return status == TV_OK ? 0 : 1;
}
