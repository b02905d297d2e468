/* Recognising chat templates by structure: see chat_recognise.h.
 *
 * The template becomes a skeleton: what it writes stays as it is (text and quoted strings, escapes resolved,
 * white space cut as Jinja does with trim_blocks and lstrip_blocks), code shrinks to names between CODE and
 * LITERAL, and statements stand between STATEMENT signs. {{ 'a' + message['role'] + '\n' }} and
 * a{{ message.role }}{{ "\n" }} have the same skeleton, "a CODE messagerole LITERAL \n".
 */
#include "text/chat_recognise.h"

#include <string.h>

#include "text/buffers.h"

#define STATEMENT "\x01"
#define CODE      "\x02"
#define LITERAL   "\x03"

typedef struct scanning {
    const char *at;
    tv_text out;
    bool in_code;    /* the last that was written is code */
    bool cut_blanks; /* a sign like -%} was read: blanks of the text that follows go */
    bool cut_line;   /* a %} was read: a newline right behind it goes */
} scanning;

static tv_status put(scanning *s, bool code, const char *bytes, uint64_t count) {
    if (count == 0)
        return TV_OK;
    if (code != s->in_code)
        TV_RETURN_IF_FAILED(tv_text_append(&s->out, code ? CODE : LITERAL, 1));
    s->in_code = code;
    return tv_text_append(&s->out, bytes, count);
}

static tv_status put_statement_sign(scanning *s) {
    s->in_code = false;
    return tv_text_append(&s->out, STATEMENT, 1);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool opens(const char *at) {
    return at[0] == '{' && (at[1] == '{' || at[1] == '%' || at[1] == '#');
}

/* Text up to the next sign. */
static tv_status take_text(scanning *s) {
    const char *begin = s->at, *end = begin;
    while (*end && !opens(end))
        end++;
    s->at = end;
    if (s->cut_line && *begin == '\n' && begin < end)
        begin++;
    while (s->cut_blanks && begin < end && is_blank(*begin))
        begin++;
    if (*end && end[2] == '-') {
        while (end > begin && is_blank(end[-1]))
            end--;
    } else if (*end && end[1] != '{') {
        const char *line = end;
        while (line > begin && (line[-1] == ' ' || line[-1] == '\t'))
            line--;
        if (line == begin || line[-1] == '\n')
            end = line;
    }
    return put(s, false, begin, (uint64_t)(end - begin));
}

/* A quoted string: what it stands for, or a name where it is an index, as in message['role']. */
static tv_status take_string(scanning *s, bool index) {
    const char quote = *s->at++;
    while (*s->at && *s->at != quote) {
        char c = *s->at++;
        if (c == '\\' && *s->at) {
            c = *s->at++;
            c = (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
        }
        TV_RETURN_IF_FAILED(put(s, index, &c, 1));
    }
    s->at += *s->at == quote;
    return TV_OK;
}

/* From behind {{ or {% to behind its end. */
static tv_status take_code(scanning *s, char closing) {
    char last = 0;
    while (*s->at && !(s->at[0] == closing && s->at[1] == '}')) {
        char c = *s->at;
        if (c == '\'' || c == '"') {
            TV_RETURN_IF_FAILED(take_string(s, last == '['));
            last = c;
            continue;
        }
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
            c == '|')
            TV_RETURN_IF_FAILED(put(s, true, &c, 1));
        if (!is_blank(c))
            last = c;
        s->at++;
    }
    s->cut_blanks = last == '-';
    s->cut_line = closing == '%';
    s->at += *s->at ? 2 : 0;
    return TV_OK;
}

static tv_status make_skeleton(scanning *s) {
    while (*s->at) {
        TV_RETURN_IF_FAILED(take_text(s));
        s->cut_blanks = s->cut_line = false;
        if (!*s->at)
            break;
        char sign = s->at[1];
        s->at += 2;
        if (sign == '#') {
            const char *end = strstr(s->at, "#}");
            s->cut_blanks = end && end > s->at && end[-1] == '-';
            s->cut_line = true;
            s->at = end ? end + 2 : s->at + strlen(s->at);
            continue;
        }
        if (sign == '%')
            TV_RETURN_IF_FAILED(put_statement_sign(s));
        TV_RETURN_IF_FAILED(take_code(s, sign == '{' ? '}' : '%'));
        if (sign == '%')
            TV_RETURN_IF_FAILED(put_statement_sign(s));
    }
    TV_RETURN_IF_FAILED(put_statement_sign(s));
    return tv_text_append(&s->out, "", 1);
}

/* Copies what lies from `begin` to `end`; false when it does not fit. */
static bool add_system(tv_chat_template *chat, const char *begin, const char *end) {
    uint64_t length = (uint64_t)(end - begin);
    if (length > TV_MAX_CHAT_PREAMBLE - chat->preamble)
        return false;
    memcpy(chat->system + chat->preamble, begin, length);
    chat->preamble += (uint32_t)length;
    chat->system[chat->preamble] = '\0';
    return true;
}

static const char too_long[] = "the system message that it writes of itself is too long";

static const char *recognise_chatml(const char *skeleton, tv_chat_template *chat) {
    static const char turn[] =
        CODE "messagerole" LITERAL "\n" CODE "messagecontent" LITERAL "<|im_end|>\n" STATEMENT;
    static const char prompt[] = STATEMENT "<|im_start|>assistant\n" STATEMENT;
    static const char system[] = "<|im_start|>system\n";
    chat->kind = TV_CHAT_CHATML;
    if (!strstr(skeleton, turn) || !strstr(skeleton, prompt))
        return "it has the tokens of ChatML and writes other turns";
    if (strstr(skeleton, "<think>"))
        return "it is ChatML with rules about thinking";
    if (strstr(skeleton, "bos_token") || strstr(skeleton, "eos_token"))
        return "it is ChatML with more tokens around it";
    /* A system message that is all literal is written when the conversation has none. */
    for (const char *at = skeleton; (at = strstr(at, system));) {
        at += sizeof system - 1;
        const char *end = at + strcspn(at, STATEMENT CODE), *close = strstr(at, "<|im_end|>\n");
        if (close && close < end && !chat->preamble && !add_system(chat, at, close))
            return too_long;
    }
    return NULL;
}

static const char *recognise_llama3(const char *skeleton, tv_chat_template *chat) {
    static const char turn[] = "<|start_header_id|>" CODE "messagerole" LITERAL "<|end_header_id|>\n\n" CODE
                               "messagecontent|trim" LITERAL "<|eot_id|>" STATEMENT;
    static const char prompt[] = STATEMENT "<|start_header_id|>assistant<|end_header_id|>\n\n" STATEMENT;
    static const char system[] = "<|start_header_id|>system<|end_header_id|>\n\n";
    static const char knowledge[] = "Cutting Knowledge Date: ", today[] = CODE "date_string" LITERAL "\n\n";
    static const char date_is[] = CODE "setdate_string" LITERAL;
    chat->kind = TV_CHAT_LLAMA3;
    if (!strstr(skeleton, turn) || !strstr(skeleton, prompt))
        return "it has the tokens of Llama 3 and writes other turns";
    chat->begins = strstr(skeleton, "bos_token") || strstr(skeleton, "<|begin_of_text|>");
    if (!strstr(skeleton, system))
        return NULL;
    const char *dates = strstr(skeleton, knowledge), *date = strstr(skeleton, date_is);
    const char *end = dates ? strstr(dates, today) : NULL;
    if (!date || !end || memchr(dates, *STATEMENT, (uint64_t)(end - dates)))
        return "it is Llama 3 with a system message of its own";
    date += sizeof date_is - 1;
    if (!add_system(chat, dates, end) || !add_system(chat, date, date + strcspn(date, STATEMENT CODE)) ||
        !add_system(chat, end + sizeof today - 3, end + sizeof today - 1))
        return too_long;
    return NULL;
}

tv_status tv_chat_recognise(const char *jinja, tv_chat_template *chat, const char **why) {
    scanning s = {.at = jinja};
    tv_status status;
    TV_TRY(make_skeleton(&s));
    const char *text = (const char *)s.out.data;
    if (strstr(text, TV_TOKEN_IM_START))
        *why = recognise_chatml(text, chat);
    else if (strstr(text, "<|start_header_id|>"))
        *why = recognise_llama3(text, chat);
    else
        *why = "it is neither ChatML nor Llama 3";
done:
    tv_text_free(&s.out);
    return status;
}
