/* trivium chat: a conversation with a model in its chat template, and its commands. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/choices.h"
#include "base/log.h"
#include "base/os.h"
#include "tools/commands.h"
#include "tools/conversation.h"
#include "tools/line_reader.h"
#include "tools/sampling_options.h"

typedef struct chat_options {
    const char *model, *adapter, *system;
    tv_conversation_options conversation;
    tv_common_options common;
} chat_options;

/* ---- commands ---- */

/* `rest`: what stands behind the command's name and blanks. *quit ends the program. */
typedef tv_status (*chat_command_run)(tv_conversation *conversation, const char *rest, bool *quit);

static tv_status help(tv_conversation *conversation, const char *rest, bool *quit);

static tv_status system_message(tv_conversation *conversation, const char *rest, bool *quit) {
    (void)quit;
    const char *now = tv_conversation_system(conversation);
    if (!rest[0]) {
        if (now)
            tv_info("the system message is: %s", now);
        else
            tv_info("there is no system message");
        return TV_OK;
    }
    bool none = strcmp(rest, "-") == 0;
    TV_RETURN_IF_FAILED(tv_conversation_set_system(conversation, none ? NULL : rest));
    tv_info(none ? "the conversation begins anew, without a system message"
                 : "the conversation begins anew, behind this system message");
    return tv_conversation_begin(conversation);
}

static tv_status reset(tv_conversation *conversation, const char *rest, bool *quit) {
    (void)rest;
    (void)quit;
    tv_info("the conversation begins anew");
    return tv_conversation_begin(conversation);
}

/* What cannot be saved is said; the conversation goes on. */
static tv_status save(tv_conversation *conversation, const char *rest, bool *quit) {
    (void)quit;
    uint64_t messages = 0;
    if (!rest[0]) {
        tv_warn("/save: expected the name of a file behind it, found nothing");
        return TV_OK;
    }
    tv_status status = tv_conversation_save(conversation, rest, &messages);
    if (status != TV_OK)
        tv_warn("/save: %s", tv_last_error());
    else if (messages == 0)
        tv_warn("/save: nothing was said yet, so nothing was written");
    else
        tv_info("%s: a line with %" PRIu64 " messages, as `trivium sft --data` reads it", rest, messages);
    return TV_OK;
}

static tv_status quit_chat(tv_conversation *conversation, const char *rest, bool *quit) {
    (void)conversation;
    (void)rest;
    *quit = true;
    return TV_OK;
}

static const struct {
    const char *name, *usage, *help;
    chat_command_run run;
} commands[] = {
    {"/help", "/help", "shows this", help},
    {"/system", "/system TEXT", "begins anew behind this system message; - for none; alone: shows it",
     system_message},
    {"/reset", "/reset", "begins anew", reset},
    {"/save", "/save FILE", "writes the conversation to a new file, as a line of demonstrations", save},
    {"/quit", "/quit", "ends, as the end of the input does (Ctrl-D)", quit_chat},
};

static tv_status help(tv_conversation *conversation, const char *rest, bool *quit) {
    (void)conversation;
    (void)rest;
    (void)quit;
    for (size_t i = 0; i < TV_COUNT(commands); i++)
        tv_info("%-14s%s", commands[i].usage, commands[i].help);
    tv_info("%-14s%s", "//...", "a message that begins with one slash");
    tv_info("%-14s%s", "Ctrl-C", "stops an answer, or drops the line that is being typed");
    return TV_OK;
}

static tv_status run_command(tv_conversation *conversation, const char *line, bool *quit) {
    const char *names[TV_COUNT(commands)];
    size_t length = strcspn(line, " \t");
    const char *rest = line + length + strspn(line + length, " \t");
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        names[i] = commands[i].name;
        if (strlen(names[i]) == length && memcmp(names[i], line, length) == 0)
            return commands[i].run(conversation, rest, quit);
    }
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), line);
    const char *nearest = tv_nearest_word(word, names, TV_COUNT(commands));
    tv_warn("%s is no command%s%s; /help lists them, and // begins a message with a slash", word,
            nearest ? ": the nearest known one is " : "", nearest ? nearest : "");
    return TV_OK;
}

/* ---- the conversation ---- */

static tv_status take_line(tv_conversation *conversation, const tv_text *line, bool *quit) {
    if (line->size == 0)
        return TV_OK;
    if (line->data[0] != '/')
        return tv_conversation_say(conversation, line->data, line->size);
    if (line->size > 1 && line->data[1] == '/')
        return tv_conversation_say(conversation, line->data + 1, line->size - 1);
    char *text = tv_format("%.*s", (int)tv_min_u64(line->size, INT32_MAX), (const char *)line->data);
    tv_status status = text ? run_command(conversation, text, quit)
                            : tv_fail(TV_E_MEMORY, "out of host memory for a command");
    free(text);
    return status;
}

static tv_status talk(tv_conversation *conversation, tv_line_reader *reader, bool terminal) {
    tv_status status = TV_OK;
    tv_text line = {0};
    for (bool quit = false; !quit;) {
        tv_line_end end;
        TV_TRY(tv_line_reader_next(reader, &line, &end));
        if (end == TV_LINE_NO_MORE)
            break;
        if (terminal) /* one from before the line is not meant for its answer */
            tv_catch_ctrl_c();
        TV_TRY(take_line(conversation, &line, &quit));
    }
done:
    tv_text_free(&line);
    return status;
}

static tv_status chat(const chat_options *given, const tv_open_model *open) {
    bool terminal = given->conversation.interruptible;
    tv_conversation *conversation = NULL;
    tv_line_reader *reader = NULL;
    tv_status status;
    TV_TRY(tv_conversation_create(open, &given->conversation, &conversation));
    TV_TRY(tv_conversation_set_system(conversation, given->system));
    if (terminal)
        tv_catch_ctrl_c();
    TV_TRY(tv_line_reader_open(given->common.quiet ? "" : "> ", terminal, &reader));
    tv_info("a context of %" PRIu64 " tokens; /help lists what else can be typed",
            tv_conversation_context(conversation));
    TV_TRY(tv_conversation_begin(conversation));
    TV_TRY(talk(conversation, reader, terminal));
done:
    tv_line_reader_close(&reader);
    tv_conversation_destroy(&conversation);
    return status;
}

/* Of --help; the caller frees it. NULL when memory is out. */
static char *command_notes(void) {
    char *notes = tv_format("commands:\n");
    for (size_t i = 0; notes && i < TV_COUNT(commands); i++) {
        char *longer = tv_format("%s  %-14s%s\n", notes, commands[i].usage, commands[i].help);
        free(notes);
        notes = longer;
    }
    char *all = notes ? tv_format("%s\nexamples:\n  trivium chat --model runs/sft\n  echo 'Who are you?' | "
                                  "trivium chat --model runs/sft --quiet",
                                  notes)
                      : NULL;
    free(notes);
    return all;
}

tv_status cmd_chat(int argc, char **argv) {
    chat_options given = {
        .conversation = {.max_tokens = 512, .context = 4096, .sampling = {.temperature = 0.7, .top_p = 1}}};
    tv_conversation_options *conversation = &given.conversation;
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &given.model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&given.adapter),
        tv_opt_text("system", "TEXT", &given.system, "a system message before the conversation"),
        tv_opt_uint("max-tokens", "N", &conversation->max_tokens, 1, UINT32_MAX,
                    "tokens of an answer at most"),
        tv_opt_uint("context", "N", &conversation->context, 16, UINT32_MAX,
                    "tokens that are kept, at most what the model has positions for; when they are full, the "
                    "oldest turns are forgotten"),
        tv_opt_temperature(&conversation->sampling.temperature),
        tv_opt_top_k(&conversation->sampling.top_k),
        tv_opt_top_p(&conversation->sampling.top_p),
    };
    char *notes = command_notes();
    const tv_command_line line = {
        .command = "chat",
        .summary =
            "Talks with a model: each line of standard input is a message, each answer is printed as it "
            "comes. The conversation is the model's context until /reset. Lines that begin with a slash are "
            "commands. On a terminal lines can be edited and called back with the arrow keys, Ctrl-R "
            "searches what was typed, and Ctrl-C stops an answer; the end of input (Ctrl-D) ends. Answers "
            "differ from time to time unless --seed is given. Control characters and what would hide or "
            "reorder text are shown as \\xNN or \\uNNNN.",
        .notes = notes,
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_QUIET,
        .common = &given.common,
    };
    bool done;
    tv_status status = tv_options_parse(&line, argc, argv, &done);
    free(notes);
    if (status != TV_OK || done)
        return status;
    conversation->sampling.seed = given.common.seed;
    conversation->seed_given = given.common.seed_given;
    conversation->interruptible = tv_somebody_can_answer();
    tv_open_model open;
    TV_RETURN_IF_FAILED(tv_open_model_open(given.model, given.adapter, &given.common, true, &open));
    status = tv_open_model_result(&open, chat(&given, &open));
    tv_open_model_close(&open);
    return status;
}
