/* Templates as tokens: see jinja_lexer.h. */
#include "text/jinja_lexer.h"

#include "base/bytes.h"
#include "text/utf8.h"

typedef struct lexing {
    tv_jinja_heap *heap;
    char *text; /* the source with newlines as \n */
    uint64_t at, end;
    uint64_t lined; /* where heap->line was counted to */
    tv_jinja_token *tokens;
    uint64_t count, capacity;
    bool cut_blanks;  /* the last tag ended in - */
    bool cut_newline; /* the last tag takes a newline along */
    bool begins_line; /* what follows stands at the beginning of a line */
} lexing;

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name(char c) {
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static char at(const lexing *l, uint64_t ahead) {
    return ahead < l->end - l->at ? l->text[l->at + ahead] : '\0';
}

static void count_lines(lexing *l) {
    for (; l->lined < l->at; l->lined++)
        l->heap->line += l->text[l->lined] == '\n';
}

static tv_status add(lexing *l, tv_jinja_token_kind kind, const char *bytes, uint64_t length) {
    if (l->count == l->capacity) {
        void *moved;
        uint64_t more = tv_max_u64(256, 2 * l->capacity);
        TV_RETURN_IF_FAILED(tv_jinja_alloc(l->heap, more, sizeof *l->tokens, &moved));
        if (l->count)
            memcpy(moved, l->tokens, l->count * sizeof *l->tokens);
        l->tokens = moved;
        l->capacity = more;
    }
    l->tokens[l->count++] = (tv_jinja_token){kind, l->heap->line, bytes, length};
    return TV_OK;
}

/* ---- between tags ---- */

static tv_status add_data(lexing *l, uint64_t begin, uint64_t end) {
    return end > begin ? add(l, TV_JINJA_DATA, l->text + begin, end - begin) : TV_OK;
}

/* Text up to the tag at `end`, which is none where the template ends. */
static tv_status take_data(lexing *l, uint64_t end) {
    uint64_t begin = l->at;
    bool begins_line = begin == 0 || l->begins_line;
    const char *tag = l->text + end;
    bool is_tag = end < l->end;
    if (l->cut_newline && begin < end && l->text[begin] == '\n') {
        begin++;
        begins_line = true;
    }
    while (l->cut_blanks && begin < end && is_blank(l->text[begin])) {
        begins_line = l->text[begin] == '\n';
        begin++;
    }
    uint64_t last = end;
    if (is_tag && tag[2] == '-') {
        while (last > begin && is_blank(l->text[last - 1]))
            last--;
    } else if (is_tag && tag[1] != '{' && tag[2] != '+') {
        uint64_t line = last;
        while (line > begin && (l->text[line - 1] == ' ' || l->text[line - 1] == '\t'))
            line--;
        if (line > begin ? l->text[line - 1] == '\n' : begins_line)
            last = line;
    }
    count_lines(l);
    TV_RETURN_IF_FAILED(add_data(l, begin, last));
    l->at = end;
    count_lines(l);
    l->cut_blanks = l->cut_newline = l->begins_line = false;
    return TV_OK;
}

static uint64_t find_tag(const lexing *l) {
    uint64_t i = l->at;
    for (; i < l->end; i++)
        if (l->text[i] == '{' && i + 1 < l->end &&
            (l->text[i + 1] == '{' || l->text[i + 1] == '%' || l->text[i + 1] == '#'))
            break;
    return i;
}

static tv_status take_comment(lexing *l) {
    uint64_t i = l->at + 2;
    while (i + 1 < l->end && !(l->text[i] == '#' && l->text[i + 1] == '}'))
        i++;
    if (i + 1 >= l->end)
        return tv_jinja_fail(l->heap, "expected #} behind {#, found the end of the template");
    l->cut_blanks = l->text[i - 1] == '-';
    l->cut_newline = l->text[i - 1] != '+';
    l->at = i + 2;
    return TV_OK;
}

/* ---- within tags ---- */

static uint32_t hex_digit(char c) {
    return is_digit(c)            ? (uint32_t)(c - '0')
           : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                  : 16;
}

/* \xHH, \uHHHH, \UHHHHHHHH, from behind the backslash. */
static tv_status take_code_point(lexing *l, uint32_t *out) {
    int digits = at(l, 0) == 'x' ? 2 : at(l, 0) == 'u' ? 4 : 8;
    uint64_t code = 0;
    for (int i = 1; i <= digits; i++) {
        uint32_t digit = hex_digit(at(l, (uint64_t)i));
        if (digit > 15)
            return tv_jinja_fail(l->heap, "expected %d hexadecimal digits behind \\%c", digits, at(l, 0));
        code = code * 16 + digit;
    }
    l->at += 1 + (uint64_t)digits;
    *out = (uint32_t)code;
    /* Half of a pair, as JSON writes them. */
    if (code >= 0xd800 && code < 0xdc00 && at(l, 0) == '\\' && at(l, 1) == 'u') {
        uint32_t low;
        l->at++;
        TV_RETURN_IF_FAILED(take_code_point(l, &low));
        if (low >= 0xdc00 && low < 0xe000)
            *out = 0x10000 + (((uint32_t)code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (*out > 0x10ffff || (*out >= 0xd800 && *out < 0xe000))
        return tv_jinja_fail(l->heap, "expected a character of Unicode, found the number %llx",
                             (unsigned long long)code);
    return TV_OK;
}

static tv_status take_string(lexing *l) {
    static const char from[] = "ntrbfva0'\"\\", to[] = "\n\t\r\b\f\v\a\0'\"\\";
    char quote = l->text[l->at++];
    uint64_t begin = l->at, size = 0;
    while (begin < l->end && l->text[begin] != quote)
        begin += l->text[begin] == '\\' ? 2 : 1;
    if (begin >= l->end)
        return tv_jinja_fail(l->heap, "expected a closing %c, found the end of the template", quote);
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(l->heap, begin - l->at + 1, 1, &place));
    char *out = place;
    while (l->text[l->at] != quote) {
        char c = l->text[l->at++];
        if (c != '\\') {
            out[size++] = c;
            continue;
        }
        c = l->text[l->at];
        const char *known = c ? strchr(from, c) : NULL;
        if (c == 'x' || c == 'u' || c == 'U') {
            uint32_t code;
            TV_RETURN_IF_FAILED(take_code_point(l, &code));
            size += tv_utf8_encode(code, (uint8_t *)out + size);
            continue;
        }
        l->at++;
        if (known)
            out[size++] = to[known - from];
        else if (c != '\n') { /* as Python: one that means nothing stays as it is */
            out[size++] = '\\';
            out[size++] = c;
        }
    }
    l->at++;
    return add(l, TV_JINJA_STRING, out, size);
}

static tv_status take_copy(lexing *l, tv_jinja_token_kind kind, uint64_t length) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(l->heap, length + 1, 1, &place));
    memcpy(place, l->text + l->at, length);
    l->at += length;
    return add(l, kind, place, length);
}

static tv_status take_number(lexing *l) {
    uint64_t length = 0;
    bool decimal = false;
    while (is_digit(at(l, length)) || (at(l, length) == '_' && is_digit(at(l, length + 1))))
        length++;
    bool index = l->count && l->tokens[l->count - 1].kind == TV_JINJA_OPERATOR &&
                 *l->tokens[l->count - 1].bytes == '.'; /* a.0.1 */
    if (!index && at(l, length) == '.' && is_digit(at(l, length + 1))) {
        decimal = true;
        for (length++; is_digit(at(l, length));)
            length++;
    }
    uint64_t sign = at(l, length + 1) == '-' || at(l, length + 1) == '+';
    if ((at(l, length) == 'e' || at(l, length) == 'E') && is_digit(at(l, length + 1 + sign))) {
        decimal = true;
        for (length += 1 + sign; is_digit(at(l, length));)
            length++;
    }
    return take_copy(l, decimal ? TV_JINJA_DECIMAL_NUMBER : TV_JINJA_WHOLE_NUMBER, length);
}

static uint64_t operator_length(const lexing *l) {
    static const char *const two[] = {"**", "//", "==", "!=", "<=", ">="};
    char c = at(l, 0);
    for (size_t i = 0; i < TV_COUNT(two); i++)
        if (c == two[i][0] && at(l, 1) == two[i][1])
            return 2;
    return c && strchr("+-*/%~<>=()[]{}.,:|", c) ? 1 : 0;
}

/* A tag from its sign to behind its end. */
static tv_status take_tag(lexing *l) {
    bool statement = l->text[l->at + 1] == '%';
    uint64_t depth = 0; /* of brackets, within which }} is no end */
    TV_RETURN_IF_FAILED(add(l, statement ? TV_JINJA_STATEMENT : TV_JINJA_EXPRESSION, "", 0));
    l->at += 2;
    l->at += at(l, 0) == '-' || at(l, 0) == '+';
    for (;;) {
        while (l->at < l->end && is_blank(l->text[l->at]))
            l->at++;
        count_lines(l);
        if (l->at >= l->end)
            return tv_jinja_fail(l->heap, "expected %s, found the end of the template",
                                 statement ? "%}" : "}}");
        char c = at(l, 0), closing = statement ? '%' : '}';
        uint64_t sign = c == '-' || c == '+';
        if (depth == 0 && at(l, sign) == closing && at(l, sign + 1) == '}') {
            l->cut_blanks = c == '-';
            l->cut_newline = statement && c != '+';
            l->at += sign + 2;
            return add(l, statement ? TV_JINJA_STATEMENT_END : TV_JINJA_EXPRESSION_END, "", 0);
        }
        uint64_t length = operator_length(l);
        if (c == '\'' || c == '"') {
            TV_RETURN_IF_FAILED(take_string(l));
        } else if (is_digit(c)) {
            TV_RETURN_IF_FAILED(take_number(l));
        } else if (is_name(c)) {
            for (length = 0; is_name(at(l, length));)
                length++;
            TV_RETURN_IF_FAILED(take_copy(l, TV_JINJA_NAME, length));
        } else if (length) {
            depth += strchr("([{", c) != NULL;
            depth -= strchr(")]}", c) && depth;
            TV_RETURN_IF_FAILED(take_copy(l, TV_JINJA_OPERATOR, length));
        } else {
            return tv_jinja_fail(l->heap,
                                 "expected a name, a number, a text or an operator, found the byte 0x%02x",
                                 (unsigned)(unsigned char)c);
        }
    }
}

/* Whether the tag at `at` is {% NAME %}; *behind: its end. */
static bool is_tag_of(const lexing *l, uint64_t from, const char *name, uint64_t *behind) {
    uint64_t i = from + 2, length = strlen(name);
    if (i > l->end || l->text[from] != '{' || l->text[from + 1] != '%')
        return false;
    i += i < l->end && (l->text[i] == '-' || l->text[i] == '+');
    while (i < l->end && is_blank(l->text[i]))
        i++;
    if (l->end - i < length || memcmp(l->text + i, name, length) != 0)
        return false;
    for (i += length; i < l->end && is_blank(l->text[i]);)
        i++;
    i += i < l->end && (l->text[i] == '-' || l->text[i] == '+');
    *behind = i + 2;
    return i + 1 < l->end && l->text[i] == '%' && l->text[i + 1] == '}';
}

static void leave_tag(lexing *l, uint64_t behind) {
    l->cut_blanks = l->text[behind - 3] == '-';
    l->cut_newline = l->text[behind - 3] != '+';
    l->at = behind;
}

/* {% raw %}, from behind it: text up to {% endraw %}, whatever it spells. */
static tv_status take_raw(lexing *l) {
    uint64_t behind = 0, i = l->at;
    while (i < l->end && !is_tag_of(l, i, "endraw", &behind))
        i++;
    if (i >= l->end)
        return tv_jinja_fail(l->heap, "expected {%% endraw %%}, found the end of the template");
    TV_RETURN_IF_FAILED(take_data(l, i));
    leave_tag(l, behind);
    return TV_OK;
}

static tv_status copy_source(lexing *l, const char *source, uint64_t length) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(l->heap, length + 1, 1, &place));
    l->text = place;
    for (uint64_t i = 0; i < length; i++) {
        bool carriage = source[i] == '\r';
        l->text[l->end++] = carriage ? '\n' : source[i];
        i += carriage && i + 1 < length && source[i + 1] == '\n';
    }
    l->end -= l->end && l->text[l->end - 1] == '\n';
    l->text[l->end] = '\0';
    return TV_OK;
}

tv_status tv_jinja_lex(tv_jinja_heap *heap, const char *source, uint64_t length, tv_jinja_token **tokens,
                       uint64_t *count) {
    lexing l = {.heap = heap};
    heap->line = 1;
    if (length > TV_JINJA_MOST_BYTES)
        return tv_jinja_fail(heap, "expected a template of at most %d MiB, found a longer one",
                             TV_JINJA_MOST_BYTES >> 20);
    TV_RETURN_IF_FAILED(copy_source(&l, source, length));
    while (l.at < l.end) {
        uint64_t behind;
        TV_RETURN_IF_FAILED(take_data(&l, find_tag(&l)));
        if (l.at >= l.end)
            break;
        if (l.text[l.at + 1] == '#') {
            TV_RETURN_IF_FAILED(take_comment(&l));
        } else if (is_tag_of(&l, l.at, "raw", &behind)) {
            leave_tag(&l, behind);
            TV_RETURN_IF_FAILED(take_raw(&l));
        } else {
            TV_RETURN_IF_FAILED(take_tag(&l));
        }
    }
    TV_RETURN_IF_FAILED(add(&l, TV_JINJA_END, "", 0));
    *tokens = l.tokens;
    *count = l.count;
    return TV_OK;
}
