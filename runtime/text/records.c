/* Lines by memchr, arrays byte by byte: see records.h. */
#include "text/records.h"

#include <string.h>

#include "base/bytes.h"
#include "base/forms.h"

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static tv_status too_long(const tv_records *r, uint64_t line) {
    return tv_fail(TV_E_DATA,
                   "%s line %llu: expected records of at most %llu MiB, found a longer one; split it",
                   r->name, (unsigned long long)line, (unsigned long long)TV_MOST_RECORD >> 20);
}

static tv_status carry(tv_records *r, const uint8_t *bytes, uint64_t size, uint64_t line) {
    if (r->carried.size + size > TV_MOST_RECORD)
        return too_long(r, line);
    return tv_text_append(&r->carried, bytes, size);
}

/* ---- lines ---- */

static tv_status emit_line(tv_records *r, const uint8_t *bytes, uint64_t size) {
    uint64_t mark = r->plain ? 0 : tv_mark_size(bytes, size);
    r->line++;
    bytes += mark;
    size -= mark;
    if (size > 0 && bytes[size - 1] == '\r')
        size--;
    while (!r->plain && size > 0 && is_space(bytes[size - 1]))
        size--;
    if (size > TV_MOST_RECORD)
        return too_long(r, r->line);
    return size ? r->sink(r->context, &(tv_record){bytes, size, r->line, 0}) : TV_OK;
}

static tv_status take_lines(tv_records *r, const uint8_t *bytes, uint64_t size) {
    for (const uint8_t *newline; size > 0 && (newline = memchr(bytes, '\n', size));) {
        uint64_t length = (uint64_t)(newline - bytes);
        if (r->carried.size) {
            TV_RETURN_IF_FAILED(carry(r, bytes, length, r->line + 1));
            TV_RETURN_IF_FAILED(emit_line(r, r->carried.data, r->carried.size));
            r->carried.size = 0;
        } else {
            TV_RETURN_IF_FAILED(emit_line(r, bytes, length));
        }
        bytes += length + 1;
        size -= length + 1;
    }
    return carry(r, bytes, size, r->line + 1);
}

/* ---- an array ---- */

static tv_status misplaced(const tv_records *r, uint8_t c, const char *expected) {
    const uint8_t text[] = {c, 0};
    return tv_fail(TV_E_DATA, "%s line %llu: expected %s, found \"%s\"", r->name, (unsigned long long)r->line,
                   expected, c ? (const char *)text : "\\0");
}

static tv_status emit_item(tv_records *r) {
    uint64_t size = r->carried.size;
    while (size > 0 && is_space(r->carried.data[size - 1]))
        size--;
    r->carried.size = 0;
    return r->sink(r->context, &(tv_record){r->carried.data, size, r->began, ++r->item});
}

/* Within a text up to its closing quote, or to the chunk's end. */
static tv_status take_text(tv_records *r, const uint8_t *bytes, uint64_t size, uint64_t *taken) {
    uint64_t i = 0;
    while (i < size && r->in_text) {
        uint8_t c = bytes[i++];
        if (c == '\n')
            return misplaced(r, '\n', "a text to end in its line (a line break in it is written \\n)");
        r->in_text = r->escaped || c != '"';
        r->escaped = !r->escaped && c == '\\';
    }
    *taken = i;
    return carry(r, bytes, i, r->began);
}

/* One byte outside of texts. */
static tv_status take_structure(tv_records *r, uint8_t c) {
    r->line += c == '\n';
    if (c == '\n' || c == '\r')
        c = ' ';
    bool between = r->depth == 0 && (c == ',' || c == ']');
    if (between) {
        bool empty = r->carried.size == 0;
        /* "[]" has no item; what other lists lack one, the parser says. */
        if (empty && (c == ',' || r->item > 0))
            return misplaced(r, c, "an item of the array");
        if (c == ']')
            r->kind = TV_RECORDS_ARRAY_ENDED;
        return empty ? TV_OK : emit_item(r);
    }
    if (r->carried.size == 0) {
        if (c == ' ' || c == '\t')
            return TV_OK;
        r->began = r->line;
    }
    r->in_text = c == '"';
    r->depth += c == '{' || c == '[';
    if ((c == '}' || c == ']') && r->depth-- == 0)
        return misplaced(r, c, "an item of the array");
    return carry(r, &c, 1, r->began);
}

static tv_status take_array(tv_records *r, const uint8_t *bytes, uint64_t size) {
    for (uint64_t i = 0, taken = 1; i < size; i += taken, taken = 1) {
        if (r->in_text) {
            TV_RETURN_IF_FAILED(take_text(r, bytes + i, size - i, &taken));
        } else if (r->kind == TV_RECORDS_ARRAY) {
            TV_RETURN_IF_FAILED(take_structure(r, bytes[i]));
        } else if (bytes[i] == '\n') {
            r->line++;
        } else if (!is_space(bytes[i])) {
            return misplaced(r, bytes[i],
                             "nothing behind the end of the array that the file begins with (an array is the "
                             "whole file, or each line an object)");
        }
    }
    return TV_OK;
}

/* ---- both ---- */

/* Passes over the white space in front, and finds what the file is. */
static void begin(tv_records *r, const uint8_t **bytes, uint64_t *size) {
    uint64_t skipped = tv_mark_size(*bytes, *size);
    for (; skipped < *size && is_space((*bytes)[skipped]); skipped++)
        r->line += (*bytes)[skipped] == '\n';
    if (skipped < *size)
        r->kind = (*bytes)[skipped] == '[' ? TV_RECORDS_ARRAY : TV_RECORDS_LINES;
    if (r->kind ==
        TV_RECORDS_ARRAY) { /* lines count when they end, items belong to the line in which they are */
        r->line++;
        skipped++;
    }
    *bytes += skipped;
    *size -= skipped;
}

tv_status tv_records_take(tv_records *r, const uint8_t *bytes, uint64_t size) {
    if (r->plain)
        return take_lines(r, bytes, size);
    if (r->kind == TV_RECORDS_UNKNOWN)
        begin(r, &bytes, &size);
    return r->kind == TV_RECORDS_LINES ? take_lines(r, bytes, size) : take_array(r, bytes, size);
}

tv_status tv_records_finish(tv_records *r) {
    if (r->kind == TV_RECORDS_ARRAY)
        return tv_fail(TV_E_DATA,
                       "%s: expected the array that the file begins with to be closed, found its end behind "
                       "%llu items: the file was cut short",
                       r->name, (unsigned long long)r->item);
    return r->kind != TV_RECORDS_ARRAY_ENDED && r->carried.size
               ? emit_line(r, r->carried.data, r->carried.size)
               : TV_OK;
}

void tv_records_free(tv_records *r) {
    tv_text_free(&r->carried);
}
