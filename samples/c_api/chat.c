/* Talks with a model directory: each line of standard input is a message. usage: chat MODEL */
#include <stdio.h>
#include <string.h>

#include <trivium/trivium.h>

enum { MESSAGES = 64, ANSWER = 512 };
#define TRY(call) status = status == TV_OK ? (call) : status

typedef struct talk {
    tv_tokenizer *tokenizer;
    tv_text contents[MESSAGES], waiting, shown;
    tv_message messages[MESSAGES];
    uint64_t count;
} talk;

/* Prints each token as it comes: whole characters, and none that could steer the terminal. */
static bool show(void *context, uint32_t token) {
    talk *t = context;
    t->shown.size = 0;
    if (tv_tokenizer_decode(t->tokenizer, &token, 1, true, &t->waiting) == TV_OK &&
        tv_text_show(&t->waiting, false, &t->shown) == TV_OK)
        fwrite(t->shown.data, 1, t->shown.size, stdout);
    return fflush(stdout) == 0;
}

static void add(talk *t, tv_role role) {
    const tv_text *content = &t->contents[t->count];
    t->messages[t->count++] = (tv_message){role, (char *)content->data, content->size, false};
}

/* A line is answered; what was said before lies in the model's cache. */
static tv_status turn(talk *t, tv_language_model *model, const tv_generate_settings *settings, char *line) {
    uint32_t answer[ANSWER];
    uint64_t count = 0;
    tv_ids prompt = {0};
    tv_status status = TV_OK;
    if (t->count == MESSAGES) /* the conversation begins anew */
        while (t->count > 0)
            tv_text_free(&t->contents[--t->count]);
    TRY(tv_text_append(&t->contents[t->count], line, strcspn(line, "\n")));
    add(t, TV_USER);
    TRY(tv_chat_encode(t->tokenizer, settings->chat, t->messages, t->count, true, &prompt, NULL));
    TRY(tv_language_model_generate(model, prompt.data, prompt.size, settings, answer, &count));
    TRY(tv_tokenizer_decode(t->tokenizer, answer, count, true, &t->contents[t->count]));
    add(t, TV_ASSISTANT);
    tv_ids_free(&prompt);
    putchar('\n');
    return status;
}

int main(int argc, char **argv) {
    static talk t;
    static char line[4096];
    const char *directory = argc > 1 ? argv[1] : ".";
    tv_device *device = NULL;
    tv_language_model *model = NULL;
    tv_chat_template *chat = NULL;
    tv_status status = TV_OK;
    TRY(tv_tokenizer_load(directory, &t.tokenizer));
    TRY(tv_chat_template_load(t.tokenizer, &chat));
    TRY(tv_device_open(NULL, &device));
    TRY(tv_language_model_load(device, directory, NULL, &model));
    tv_generate_settings settings = tv_generate_default_settings();
    settings.max_new = ANSWER, settings.tokenizer = t.tokenizer, settings.chat = chat;
    settings.callback = show, settings.context = &t;
    while (status == TV_OK && fgets(line, sizeof line, stdin))
        TRY(turn(&t, model, &settings, line));
    if (status != TV_OK)
        fprintf(stderr, "%s\n", tv_last_error());
    tv_language_model_destroy(&model);
    tv_device_close(&device);
    tv_chat_template_destroy(&chat);
    tv_tokenizer_destroy(&t.tokenizer);
    return status == TV_OK ? 0 : 1;
}
