/* Talks with a model directory: each line of standard input is a message. usage: chat MODEL */
#include <stdio.h>
#include <string.h>

#include <trivium/trivium.h>

enum { MESSAGES = 256, ANSWER = 512 };
#define TRY(call) status = status == TV_OK ? (call) : status

static tv_tokenizer *tokenizer;
static tv_text contents[MESSAGES]; /* what the messages hold */
static tv_message messages[MESSAGES];
static uint64_t count;

/* Prints each token as it comes: whole characters, and none that could steer the terminal. */
static bool show(void *waiting, uint32_t token) {
    tv_text shown = {0};
    if (tv_tokenizer_decode_next(tokenizer, &token, 1, true, waiting) == TV_OK &&
        tv_text_show(waiting, false, &shown) == TV_OK && shown.size > 0)
        fwrite(shown.data, 1, shown.size, stdout);
    tv_text_free(&shown);
    return fflush(stdout) == 0;
}

/* What contents[count] holds becomes the next message. */
static void add(tv_role role) {
    messages[count] = (tv_message){role, (char *)contents[count].data, contents[count].size, false};
    count++;
}

/* A line is answered; what was said before lies in the model's cache. */
static tv_status turn(tv_language_model *model, const tv_generate_settings *settings, const char *line) {
    uint32_t answer[ANSWER];
    uint64_t length = 0;
    tv_ids prompt = {0};
    tv_status status = tv_text_append(&contents[count], line, strcspn(line, "\n"));
    add(TV_USER);
    TRY(tv_chat_encode(tokenizer, settings->chat, messages, count, true, &prompt, NULL));
    TRY(tv_language_model_generate(model, prompt.data, prompt.size, settings, answer, &length));
    TRY(tv_tokenizer_decode(tokenizer, answer, length, true, &contents[count]));
    add(TV_ASSISTANT);
    tv_ids_free(&prompt);
    putchar('\n');
    return status;
}

int main(int argc, char **argv) {
    static char line[4096];
    static tv_text waiting; /* bytes of a character that has not come whole */
    const char *directory = argc > 1 ? argv[1] : ".";
    tv_device *device = NULL;
    tv_language_model *model = NULL;
    tv_chat_template *chat = NULL;
    tv_status status = tv_tokenizer_load(directory, &tokenizer);
    TRY(tv_chat_template_load(tokenizer, &chat));
    TRY(tv_device_open(NULL, &device));
    TRY(tv_language_model_load(device, directory, NULL, &model));
    tv_generate_settings settings = tv_generate_default_settings();
    settings.max_new = ANSWER, settings.tokenizer = tokenizer, settings.chat = chat;
    settings.callback = show, settings.context = &waiting;
    while (status == TV_OK && count + 2 <= MESSAGES && fgets(line, sizeof line, stdin))
        TRY(turn(model, &settings, line));
    if (status != TV_OK)
        fprintf(stderr, "%s\n", tv_last_error());
    tv_language_model_destroy(&model);
    tv_device_close(&device);
    tv_chat_template_destroy(&chat);
    tv_tokenizer_destroy(&tokenizer);
    return status == TV_OK ? 0 : 1;
}
