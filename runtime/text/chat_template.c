/* Conversations as tokens: see chat_template.h. */
#include "text/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "text/chat_builtin.h"
#include "text/chat_tokens.h"
#include "text/post_processor.h"

/* ---- turns ---- */

/* What the model says in a turn: in bytes of the rendered text. */
typedef struct turn {
    uint64_t begin, end;
} turn;

typedef struct encoding {
    tv_tokenizer *tokenizer;
    const tv_chat_template *chat;
    tv_chat_rendered rendered, filled;
    tv_chat_tokens tokens;
} encoding;

static void encoding_free(encoding *e) {
    tv_chat_rendered_free(&e->rendered);
    tv_chat_rendered_free(&e->filled);
    tv_chat_tokens_free(&e->tokens);
}

/* Where `part` ends in text[begin, end) for the last time, or `begin`. */
static uint64_t behind_last(const tv_text *text, uint64_t begin, uint64_t end, const tv_text *part) {
    for (uint64_t i = end; part->size && i >= begin + part->size; i--)
        if (memcmp(text->data + i - part->size, part->data, part->size) == 0)
            return i;
    return begin;
}

/* A content without a byte in the text is found by rendering the conversation with a letter in its place. */
static tv_status find_empty(encoding *e, const tv_message *messages, uint64_t count, bool prompt, uint64_t i,
                            uint64_t *at, bool *found) {
    const uint32_t number = (uint32_t)i + 1;
    tv_message *copy = malloc(count * sizeof *copy);
    uint64_t begin, end, size = 0;
    *found = false;
    if (!copy)
        return tv_fail(TV_E_MEMORY, "out of host memory for a conversation");
    memcpy(copy, messages, count * sizeof *copy);
    copy[i].content = "a";
    copy[i].length = 1;
    tv_status status = tv_chat_render(e->chat->jinja, &e->chat->names, copy, count, prompt, &e->filled);
    free(copy);
    TV_RETURN_IF_FAILED(status);
    const tv_text *filled = &e->filled.text, *text = &e->rendered.text;
    if (!tv_chat_find(&e->filled, number, &begin, &end) || end != begin + 1)
        return TV_OK;
    /* The rest must be the same. */
    *found = filled->size == text->size + 1;
    for (uint64_t k = 0; *found && k < filled->size; k++)
        *found = k == begin || filled->data[k] == text->data[size++];
    *at = begin;
    return TV_OK;
}

/* Behind the last byte of a message before `at`, and where the next begins from `at` on. */
static uint64_t template_before(const tv_chat_rendered *rendered, uint64_t at) {
    while (at > 0 && rendered->origins[at - 1] == 0)
        at--;
    return at;
}

static uint64_t template_after(const tv_chat_rendered *rendered, uint64_t at) {
    while (at < rendered->text.size && rendered->origins[at] == 0)
        at++;
    return at;
}

/* Some tokenizers have added tokens of nothing but newlines, which are text. */
static bool is_markup(const tv_token *token) {
    return token->added && tv_utf8_space_after(token->bytes, 0, token->length) < token->length;
}

/* Where `token` is spelled first in text[begin, end), or `end`. */
static uint64_t find_token(const tv_text *text, uint64_t begin, uint64_t end, const tv_token *token) {
    for (uint64_t i = begin; token->length <= end - i; i++)
        if (memcmp(text->data + i, token->bytes, token->length) == 0)
            return i;
    return end;
}

/* Behind the token that ends the turn whose content ends at `at`, or `at` where there is none: the template's
 * usual one, else the first of its markup. *id: that token. */
static uint64_t find_end(const encoding *e, uint64_t at, uint32_t *id) {
    const tv_text *text = &e->rendered.text;
    uint64_t limit = template_after(&e->rendered, at), first = limit, behind = at;
    *id = TV_NO_TOKEN;
    for (uint64_t k = 0; k < e->tokens.ids.size; k++) {
        uint32_t found = e->tokens.ids.data[k];
        const tv_token *token = tv_tokenizer_token(e->tokenizer, found);
        uint64_t place = is_markup(token) ? find_token(text, at, limit, token) : limit;
        bool usual = e->chat->ends && found == e->chat->end && place < limit;
        if (place < first || usual) {
            *id = found;
            first = place;
            behind = place + token->length;
        }
        if (usual)
            break;
    }
    return behind;
}

/* From where a generation prompt would end to the end of the turn. */
static tv_status find_turn(encoding *e, const tv_message *messages, uint64_t count, bool prompt, uint64_t i,
                           turn *out, bool *found) {
    const tv_chat_template *chat = e->chat;
    const tv_text *text = &e->rendered.text;
    uint64_t begin, end;
    uint32_t id;
    *found = tv_chat_find(&e->rendered, (uint32_t)i + 1, &begin, &end);
    if (!*found) {
        TV_RETURN_IF_FAILED(find_empty(e, messages, count, prompt, i, &begin, found));
        end = begin;
    }
    if (!*found)
        return TV_OK;
    uint64_t header = template_before(&e->rendered, begin), size = chat->question_end.size;
    out->end = find_end(e, end, &id);
    if (!chat->ends && template_after(&e->rendered, end) == text->size)
        out->end = text->size; /* chat->end follows */
    uint64_t behind = behind_last(text, header, begin, &chat->prompt);
    out->begin = behind > header ? behind : begin;
    if (behind == header && size && size <= begin - header &&
        memcmp(text->data + header, chat->question_end.data, size) == 0)
        out->begin = header + size;
    /* Without a generation prompt no more than blanks are the model's. */
    if (chat->prompt.size == 0 && tv_utf8_space_after(text->data, out->begin, begin) < begin)
        out->begin = begin;
    return TV_OK;
}

/* ---- encoding ---- */

static tv_status encode(encoding *e, const tv_message *messages, uint64_t count, bool prompt) {
    TV_RETURN_IF_FAILED(
        tv_chat_render(e->chat->jinja, &e->chat->names, messages, count, prompt, &e->rendered));
    return tv_chat_tokens_encode(e->tokenizer, &e->chat->open, &e->rendered, &e->tokens);
}

/* Marks the ids of the turn, whose mask begins at `mask`. */
static tv_status train(const encoding *e, const turn *said, uint8_t *mask) {
    uint64_t first, end;
    bool exact;
    TV_RETURN_IF_FAILED(
        tv_chat_tokens_from(e->tokenizer, &e->tokens, &e->rendered, said->begin, &first, &exact));
    TV_RETURN_IF_FAILED(tv_chat_tokens_until(e->tokenizer, &e->tokens, &e->rendered, said->end, &end));
    for (uint64_t k = first; k < end; k++)
        mask[k] = 1;
    return TV_OK;
}

/* The number of the assistant's message whose bytes the run has, or where it has no message's the next of the
 * assistant's behind `before`. 0: none, or another's bytes. */
static uint64_t message_of_run(const encoding *e, const turn *run, const tv_message *messages, uint64_t count,
                               uint64_t before) {
    bool others = false;
    for (uint64_t i = run->begin; i < run->end; i++) {
        uint32_t number = e->rendered.origins[i];
        if (number && messages[number - 1].role == TV_ASSISTANT)
            return number;
        others |= number > 0;
    }
    for (uint64_t i = before; i < count && !others; i++)
        if (messages[i].role == TV_ASSISTANT)
            return i + 1;
    return 0;
}

/* The ids that hold any of what {% generation %} wrote, but for what others than the assistant say there. */
static tv_status train_generated(const encoding *e, const tv_message *messages, uint64_t count,
                                 uint8_t *mask) {
    const tv_text *generated = &e->rendered.generated;
    turn run = {0, 0};
    for (uint64_t message = 0;; run.begin = run.end) {
        uint64_t first, end;
        bool exact, whole;
        while (run.begin < generated->size && !generated->data[run.begin])
            run.begin++;
        for (run.end = run.begin; run.end < generated->size && generated->data[run.end];)
            run.end++;
        if (run.begin == run.end)
            return TV_OK;
        uint64_t found = message_of_run(e, &run, messages, count, message);
        message = found ? found : message;
        if (!found || messages[found - 1].untrained)
            continue;
        TV_RETURN_IF_FAILED(
            tv_chat_tokens_from(e->tokenizer, &e->tokens, &e->rendered, run.begin, &first, &exact));
        TV_RETURN_IF_FAILED(
            tv_chat_tokens_from(e->tokenizer, &e->tokens, &e->rendered, run.end, &end, &whole));
        for (uint64_t k = exact || first == 0 ? first : first - 1; k < end; k++)
            mask[k] = 1;
    }
}

static tv_status train_turns(encoding *e, const tv_message *messages, uint64_t count, bool prompt,
                             tv_text *trained) {
    uint64_t start = trained->size;
    for (uint64_t k = 0; k < e->tokens.ids.size; k++)
        TV_RETURN_IF_FAILED(tv_text_append(trained, "", 1));
    if (tv_jinja_generates(e->chat->jinja))
        return train_generated(e, messages, count, trained->data + start);
    for (uint64_t i = 0; i < count; i++) {
        turn said;
        bool found;
        if (messages[i].role != TV_ASSISTANT || messages[i].untrained)
            continue;
        TV_RETURN_IF_FAILED(find_turn(e, messages, count, prompt, i, &said, &found));
        if (found)
            TV_RETURN_IF_FAILED(train(e, &said, trained->data + start));
    }
    return TV_OK;
}

tv_status tv_chat_encode(tv_tokenizer *tokenizer, const tv_chat_template *chat, const tv_message *messages,
                         uint64_t count, bool add_generation_prompt, tv_ids *ids, tv_text *trained) {
    encoding e = {.tokenizer = tokenizer, .chat = chat};
    tv_status status;
    TV_TRY(encode(&e, messages, count, add_generation_prompt));
    TV_TRY(tv_ids_append(ids, e.tokens.ids.data, e.tokens.ids.size));
    if (trained)
        TV_TRY(train_turns(&e, messages, count, add_generation_prompt, trained));
    /* A template that writes no end leaves it to whoever trains on it. */
    const tv_message *last = count && !add_generation_prompt ? &messages[count - 1] : NULL;
    if (last && last->role == TV_ASSISTANT && !chat->ends) {
        const uint8_t learns = !last->untrained;
        TV_TRY(tv_ids_append(ids, &chat->end, 1));
        if (trained)
            TV_TRY(tv_text_append(trained, &learns, 1));
    }
done:
    encoding_free(&e);
    return status;
}

static const tv_message QUESTION = {.role = TV_USER, .content = "Hi", .length = 2};

tv_status tv_chat_encode_answer(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                uint64_t length, tv_ids *ids) {
    const tv_message messages[] = {QUESTION, {.role = TV_ASSISTANT, .content = content, .length = length}};
    encoding e = {.tokenizer = tokenizer, .chat = chat};
    tv_status status;
    turn said = {0, 0};
    uint64_t first, end;
    bool found, exact;
    TV_TRY(encode(&e, messages, 2, false));
    TV_TRY(find_turn(&e, messages, 2, false, 1, &said, &found));
    if (!found)
        said.begin = said.end = e.rendered.text.size;
    TV_TRY(tv_chat_tokens_from(tokenizer, &e.tokens, &e.rendered, said.begin, &first, &exact));
    TV_TRY(tv_chat_tokens_until(tokenizer, &e.tokens, &e.rendered, said.end, &end));
    if (exact && first <= end)
        TV_TRY(tv_ids_append(ids, e.tokens.ids.data + first, end - first));
    else
        TV_TRY(tv_tokenizer_encode_marked(tokenizer, e.rendered.text.data + said.begin, said.end - said.begin,
                                          e.tokens.literal.data + said.begin, ids));
    if (!chat->ends || !found)
        TV_TRY(tv_ids_append(ids, &chat->end, 1));
done:
    encoding_free(&e);
    return status;
}

/* ---- the template of a tokenizer ---- */

static tv_status name_of(const tv_tokenizer *tokenizer, uint32_t id, char **name) {
    const tv_token *token = tv_tokenizer_token(tokenizer, id);
    if (!token)
        return TV_OK;
    *name = tv_format("%.*s", (int)token->length, (const char *)token->bytes);
    return *name ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a chat template");
}

static tv_status find_names(const tv_tokenizer *tokenizer, tv_chat_names *names) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    uint32_t bos = info->begin_count ? info->begin[0] : TV_NO_TOKEN, unk = TV_NO_TOKEN;
    cJSON *config = NULL;
    tv_status status;
    if (info->config) {
        TV_TRY(tv_json_parse(info->config, strlen(info->config), "tokenizer_config.json", &config));
        uint32_t named = tv_tokenizer_named_token(tokenizer, config, "bos_token");
        bos = named != TV_NO_TOKEN ? named : bos;
        unk = tv_tokenizer_named_token(tokenizer, config, "unk_token");
    }
    names->date = tv_tokenizer_date(tokenizer);
    TV_TRY(name_of(tokenizer, bos, &names->bos));
    TV_TRY(name_of(tokenizer, info->eos, &names->eos));
    TV_TRY(name_of(tokenizer, unk, &names->unk));
    TV_TRY(name_of(tokenizer, info->pad, &names->pad));
done:
    cJSON_Delete(config);
    return status;
}

static bool begins_with(const tv_text *text, const tv_text *beginning) {
    return beginning->size <= text->size &&
           (beginning->size == 0 || memcmp(text->data, beginning->data, beginning->size) == 0);
}

/* What stands behind the question, alone or with a generation prompt. */
static tv_status render_question(encoding *e, bool prompt, tv_text *behind) {
    uint64_t begin, end;
    TV_RETURN_IF_FAILED(tv_chat_render(e->chat->jinja, &e->chat->names, &QUESTION, 1, prompt, &e->rendered));
    if (!tv_chat_find(&e->rendered, 1, &begin, &end))
        return tv_fail(TV_E_DATA,
                       "expected a chat template that writes what the user says, found one that leaves "
                       "it out");
    return tv_text_append(behind, e->rendered.text.data + end, e->rendered.text.size - end);
}

static tv_status find_prompt(encoding *e, tv_chat_template *chat) {
    tv_text alone = {0};
    tv_status status;
    TV_TRY(render_question(e, false, &alone));
    TV_TRY(render_question(e, true, &chat->question_end));
    uint64_t same = begins_with(&chat->question_end, &alone) ? alone.size : 0;
    TV_TRY(tv_text_append(&chat->prompt, chat->question_end.data + same, chat->question_end.size - same));
done:
    tv_text_free(&alone);
    return status;
}

/* Added tokens that the template writes and that any text may spell. */
static tv_status find_open(const encoding *e, tv_chat_template *chat) {
    for (uint64_t k = 0; k < e->tokens.ids.size; k++) {
        uint32_t id = e->tokens.ids.data[k];
        const tv_token *token = tv_tokenizer_token(e->tokenizer, id);
        bool known = !is_markup(token) || token->special;
        for (uint64_t i = 0; !known && i < chat->open.size; i++)
            known = chat->open.data[i] == id;
        if (!known)
            TV_RETURN_IF_FAILED(tv_ids_append(&chat->open, &id, 1));
    }
    return TV_OK;
}

/* Learns from a short conversation how turns begin and end. */
static tv_status probe(encoding *e, tv_chat_template *chat) {
    const tv_message messages[] = {QUESTION, {.role = TV_ASSISTANT, .content = "Ho", .length = 2}};
    uint64_t begin, end, header;
    TV_RETURN_IF_FAILED(find_prompt(e, chat));
    TV_RETURN_IF_FAILED(encode(e, messages, 2, true));
    TV_RETURN_IF_FAILED(find_open(e, chat));
    TV_RETURN_IF_FAILED(encode(e, messages, 2, false));
    if (!tv_chat_find(&e->rendered, 2, &begin, &end))
        return tv_fail(TV_E_DATA,
                       "expected a chat template that writes what the assistant says, found one that "
                       "leaves it out");
    header = template_before(&e->rendered, begin);
    const tv_text between = {.data = e->rendered.text.data + header, .size = begin - header};
    if (!begins_with(&between, &chat->question_end))
        chat->question_end.size = 0;
    chat->ends = find_end(e, end, &chat->end) > end;
    return TV_OK;
}

static tv_status find_template(tv_tokenizer *tokenizer, tv_chat_template *chat, const char **name) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    encoding e = {.tokenizer = tokenizer, .chat = chat};
    tv_text builtin = {0};
    tv_status status;
    chat->own = info->chat_template != NULL;
    chat->end = TV_NO_TOKEN;
    if (!chat->own)
        TV_TRY(tv_chat_builtin(tokenizer, &builtin, name));
    const char *source = chat->own ? info->chat_template : (const char *)builtin.data;
    TV_TRY(tv_jinja_parse(source, strlen(source), &chat->jinja));
    TV_TRY(find_names(tokenizer, &chat->names));
    TV_TRY(probe(&e, chat));
    if (!chat->ends)
        chat->end = info->eos != TV_NO_TOKEN ? info->eos : info->end_of_text;
    if (chat->end == TV_NO_TOKEN)
        status =
            tv_fail(TV_E_DATA, "expected a tokenizer with an end-of-text token, which ends answers, found "
                               "none; set \"eos_token\" in its tokenizer_config.json");
done:
    encoding_free(&e);
    tv_text_free(&builtin);
    return status;
}

tv_status tv_chat_template_of(tv_tokenizer *tokenizer, tv_chat_template *chat) {
    const char *name = NULL;
    *chat = (tv_chat_template){0};
    tv_status status = find_template(tokenizer, chat, &name);
    if (status != TV_OK) {
        tv_chat_template_free(chat);
        return status;
    }
    const tv_token *end = tv_tokenizer_token(tokenizer, chat->end);
    const char *generates =
        tv_jinja_generates(chat->jinja) ? "; its generation blocks say what is trained" : "";
    const char *dated = tv_jinja_is_dated(chat->jinja) ? "; it writes today's date" : "";
    if (chat->own && !chat->ends)
        tv_warn("chat template: the tokenizer's own, which writes no token behind what the assistant says; "
                "%.*s is "
                "put behind the last turn%s%s",
                (int)tv_min_u64(end->length, 60), (const char *)end->bytes, generates, dated);
    else if (chat->own)
        tv_info("chat template: the tokenizer's own; turns end with %.*s%s%s",
                (int)tv_min_u64(end->length, 60), (const char *)end->bytes, generates, dated);
    else
        tv_info("chat template: built-in %s; the tokenizer has none", name);
    return TV_OK;
}

void tv_chat_template_free(tv_chat_template *chat) {
    tv_jinja_destroy(&chat->jinja);
    free(chat->names.bos);
    free(chat->names.eos);
    free(chat->names.unk);
    free(chat->names.pad);
    tv_text_free(&chat->question_end);
    tv_text_free(&chat->prompt);
    tv_ids_free(&chat->open);
    *chat = (tv_chat_template){0};
}
