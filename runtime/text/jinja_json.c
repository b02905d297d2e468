/* Values as JSON, as Python's json.dumps writes it: see jinja_text.h. */
#include <stdio.h>

#include "text/jinja_text.h"
#include "text/utf8.h"

typedef struct writing {
    tv_jinja_heap *heap;
    const tv_jinja_json_options *options;
    tv_jinja_buffer buffer;
} writing;

static tv_status put(writing *w, const char *text) {
    return tv_jinja_put(w->heap, &w->buffer, text, strlen(text), 0);
}

static tv_status put_separator(writing *w, const tv_jinja_text *given, const char *otherwise) {
    return given ? tv_jinja_put_text(w->heap, &w->buffer, given, 0, given->length) : put(w, otherwise);
}

/* The escape of a character, or an empty text. */
static void escape(const writing *w, uint32_t c, uint32_t used, char out[16]) {
    static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    *out = '\0';
    for (int i = 0; letters[i]; i += 2)
        if (c == (uint32_t)letters[i])
            snprintf(out, 16, "\\%c", letters[i + 1]);
    if (*out || c == 0x7f || (c >= 0x20 && c < 0x80) || (c >= 0x80 && !w->options->ascii))
        return;
    if (c == 0 && used == 1 && !w->options->ascii)
        snprintf(out, 16, "\\u0000");
    else if (c < 0x10000)
        snprintf(out, 16, "\\u%04x", c);
    else
        snprintf(out, 16, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
}

static tv_status put_text(writing *w, const tv_jinja_text *text) {
    TV_RETURN_IF_FAILED(put(w, "\""));
    for (uint64_t i = 0; i < text->length;) {
        uint32_t used, c = tv_utf8_decode((const uint8_t *)text->bytes + i, text->length - i, &used);
        char escaped[16] = "";
        if (c || !text->bytes[i]) /* no UTF-8 stays as it is */
            escape(w, c, used, escaped);
        if (*escaped)
            TV_RETURN_IF_FAILED(
                tv_jinja_put(w->heap, &w->buffer, escaped, strlen(escaped), tv_jinja_origin(text, i)));
        else
            TV_RETURN_IF_FAILED(tv_jinja_put_text(w->heap, &w->buffer, text, i, i + used));
        i += used;
    }
    return put(w, "\"");
}

static tv_status put_break(writing *w, int64_t level) {
    if (w->options->indent < 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(put(w, "\n"));
    for (int64_t i = 0; i < level; i++)
        for (int64_t s = 0; s < w->options->indent; s++)
            TV_RETURN_IF_FAILED(put(w, " "));
    return tv_jinja_spend(w->heap, 1 + (uint64_t)(level * w->options->indent) / 64);
}

static tv_status put_value(writing *w, tv_jinja_value value, int64_t level);

static tv_status put_key(writing *w, tv_jinja_value key) {
    if (key.kind == TV_JINJA_TEXT)
        return put_text(w, key.text);
    TV_RETURN_IF_FAILED(put(w, "\""));
    TV_RETURN_IF_FAILED(put_value(w, key, 0));
    return put(w, "\"");
}

/* The places of the keys in their order. */
static tv_status sorted(writing *w, const tv_jinja_dict *dict, uint64_t **places) {
    void *memory;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(w->heap, dict->count + 1, sizeof(uint64_t), &memory));
    *places = memory;
    for (uint64_t i = 0; i < dict->count; i++) {
        uint64_t at = i;
        for (int order = -1; w->options->sort_keys && at > 0; at--) {
            TV_RETURN_IF_FAILED(
                tv_jinja_order(w->heap, dict->keys[i], dict->keys[(*places)[at - 1]], false, &order));
            if (order >= 0)
                break;
            (*places)[at] = (*places)[at - 1];
        }
        (*places)[at] = i;
    }
    return TV_OK;
}

static tv_status put_container(writing *w, tv_jinja_value value, int64_t level) {
    bool list = value.kind == TV_JINJA_LIST;
    uint64_t count = list ? value.list->count : value.dict->count, *places = NULL;
    TV_RETURN_IF_FAILED(put(w, list ? "[" : "{"));
    if (!list)
        TV_RETURN_IF_FAILED(sorted(w, value.dict, &places));
    for (uint64_t i = 0; i < count; i++) {
        if (i)
            TV_RETURN_IF_FAILED(
                put_separator(w, w->options->item_separator, w->options->indent < 0 ? ", " : ","));
        TV_RETURN_IF_FAILED(put_break(w, level + 1));
        if (!list) {
            TV_RETURN_IF_FAILED(put_key(w, value.dict->keys[places[i]]));
            TV_RETURN_IF_FAILED(put_separator(w, w->options->key_separator, ": "));
        }
        TV_RETURN_IF_FAILED(
            put_value(w, list ? value.list->items[i] : value.dict->values[places[i]], level + 1));
    }
    if (count)
        TV_RETURN_IF_FAILED(put_break(w, level));
    return put(w, list ? "]" : "}");
}

static tv_status put_value(writing *w, tv_jinja_value value, int64_t level) {
    tv_status status;
    switch (value.kind) {
    case TV_JINJA_NONE:
        return put(w, "null");
    case TV_JINJA_BOOL:
        return put(w, value.truth ? "true" : "false");
    case TV_JINJA_INTEGER:
    case TV_JINJA_FLOAT:
        return tv_jinja_put_value(w->heap, &w->buffer, value);
    case TV_JINJA_TEXT:
        return put_text(w, value.text);
    case TV_JINJA_LIST:
    case TV_JINJA_DICT:
        TV_RETURN_IF_FAILED(tv_jinja_enter(w->heap));
        status = put_container(w, value, level);
        w->heap->depth--;
        return status;
    case TV_JINJA_UNDEFINED:
    case TV_JINJA_NAMESPACE:
    case TV_JINJA_LOOP:
    case TV_JINJA_CALLABLE:
        break;
    }
    return tv_jinja_fail(w->heap, "expected a value that JSON has, found %s", tv_jinja_kind_name(value));
}

tv_status tv_jinja_to_json(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_json_options *options,
                           tv_jinja_value *out) {
    writing w = {.heap = heap, .options = options};
    TV_RETURN_IF_FAILED(put_value(&w, value, 0));
    return tv_jinja_finish(heap, &w.buffer, out);
}
