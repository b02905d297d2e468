/* Names to parameters: see trainable.h. */
#include "formats/trainable.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "formats/layout.h"

typedef struct text_part {
    const char *text;
    size_t length;
} text_part;

/* * of `pattern` stands for any run of characters. Goes back to the last star only, which suffices. */
static bool matches(text_part pattern, text_part text) {
    size_t p = 0, t = 0, star = SIZE_MAX, resumed = 0;
    while (t < text.length) {
        if (p < pattern.length && pattern.text[p] == '*') {
            star = p++;
            resumed = t;
        } else if (p < pattern.length && pattern.text[p] == text.text[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resumed;
        } else {
            return false;
        }
    }
    while (p < pattern.length && pattern.text[p] == '*')
        p++;
    return p == pattern.length;
}

static bool is_name(text_part item, const char *name) {
    return matches(item, (text_part){name, strlen(name)});
}

/* The whole name, or any run of its words. */
static bool is_published(text_part item, const char *name) {
    for (const char *begin = name; begin; begin = strchr(begin, '.')) {
        begin += *begin == '.';
        for (const char *end = strchr(begin, '.');; end = strchr(end + 1, '.')) {
            size_t length = end ? (size_t)(end - begin) : strlen(begin);
            if (matches(item, (text_part){begin, length}))
                return true;
            if (!end)
                break;
        }
    }
    return false;
}

/* ---- layers ---- */

static bool read_number(const char **at, const char *end, uint64_t *number) {
    const char *begin = *at;
    for (*number = 0; *at < end && isdigit((unsigned char)**at) && *number < UINT32_MAX; (*at)++)
        *number = *number * 10 + (uint64_t)(**at - '0');
    return *at > begin;
}

/* False when `item` is no range of layers. */
static bool read_layers(text_part item, uint64_t layers, uint64_t *first, uint64_t *last) {
    static const char prefix[] = "layers.";
    if (item.length < sizeof prefix || strncmp(item.text, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *at = item.text + sizeof prefix - 1, *end = item.text + item.length;
    bool from = read_number(&at, end, first);
    *last = from ? *first : layers - 1;
    if (at == end)
        return from;
    if (*at++ != '-')
        return false;
    bool to = read_number(&at, end, last);
    if (!to)
        *last = tv_max_u64(*first, layers - 1);
    return at == end && (from || to);
}

/* ---- one item ---- */

static tv_status unknown(text_part item, const char *where, const tv_parameter_list *list) {
    char known[512] = "";
    const char *before = "";
    for (uint32_t i = 0; i < list->count; i++) {
        const char *name = tv_parameter_operation(list->items[i].role);
        size_t used = strlen(known);
        bool again =
            (list->items[i].layer != 0 && list->items[i].layer != TV_NO_LAYER) || strcmp(name, before) == 0;
        if (!again)
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", name);
        before = name;
    }
    return tv_fail(TV_E_CONFIG,
                   "%s: \"%.*s\" names no parameter of this model; known are all, lora, layers.0 to "
                   "layers.%llu (also layers.2- and layers.2-5), %s, and the published names of tensors, "
                   "with * for any characters",
                   where, (int)tv_min_u64(item.length, 80), item.text,
                   (unsigned long long)list->config.n_layer - 1, known);
}

/* Sets the parameters and the entries of the layout (NULL: none) that an item names. */
static tv_status apply(text_part item, const char *where, const tv_parameter_list *list,
                       const tv_layout *layout, bool *trainable, bool *entries) {
    uint64_t first = 0, last = 0, found = 0, layers = list->config.n_layer;
    bool all = is_name(item, "all") && item.text[0] != '*', range = read_layers(item, layers, &first, &last);
    if (item.length == strlen("lora") && strncmp(item.text, "lora", item.length) == 0)
        return TV_OK;
    if (range && (first > last || last >= layers))
        return tv_fail(TV_E_CONFIG, "%s: \"%.*s\" asks for layers that the model lacks; it has 0 to %llu",
                       where, (int)tv_min_u64(item.length, 80), item.text, (unsigned long long)layers - 1);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        bool named = range ? p->layer != TV_NO_LAYER && p->layer >= first && p->layer <= last
                           : all || is_name(item, tv_parameter_operation(p->role)) ||
                                 is_name(item, tv_parameter_role_name(p->role)) || is_name(item, p->name);
        trainable[i] |= named;
        found += named;
    }
    for (uint64_t e = 0; layout && !range && !all && e < layout->count; e++) {
        bool named = is_published(item, layout->entries[e].name);
        entries[e] |= named;
        found += named;
    }
    return found ? TV_OK : unknown(item, where, list);
}

/* A parameter is trained when all tensors that make it up are named. */
static tv_status take_entries(const tv_layout *layout, const char *where, const tv_parameter_list *list,
                              const bool *entries, bool *trainable) {
    for (uint64_t first = 0, end; first < layout->count; first = end) {
        uint32_t parameter = layout->entries[first].parameter;
        uint64_t named = 0, missing = layout->count;
        for (end = first; end < layout->count && layout->entries[end].parameter == parameter; end++) {
            named += entries[end];
            missing = entries[end] ? missing : tv_min_u64(missing, end);
        }
        if (named == end - first)
            trainable[parameter] = true;
        else if (named && !trainable[parameter])
            return tv_fail(TV_E_CONFIG,
                           "%s: names a part of %s, which is one matrix here; name the rest too, such as %s, "
                           "or the whole, %s",
                           where, list->items[parameter].name, layout->entries[missing].name,
                           tv_parameter_operation(list->items[parameter].role));
    }
    return TV_OK;
}

tv_status tv_trainable_parse(const char *pattern, const char *where, const tv_parameter_list *list,
                             bool *trainable) {
    tv_layout *layout = NULL;
    bool *entries = NULL;
    tv_status status = TV_OK;
    /* A model whose switches no published family has is known by its own names alone. */
    if (tv_layout_create(list, &layout) == TV_E_MEMORY)
        return TV_E_MEMORY;
    entries = calloc((layout ? layout->count : 0) + 1, sizeof *entries);
    if (!entries) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a pattern of parameters");
        goto done;
    }
    for (uint32_t i = 0; i < list->count; i++)
        trainable[i] = list->items[i].role == TV_PARAMETER_SCORE_WEIGHT;
    for (const char *at = pattern;; at++) {
        const char *comma = strchr(at, ','), *end = comma ? comma : at + strlen(at), *last = end;
        while (at < last && *at == ' ')
            at++;
        while (last > at && last[-1] == ' ')
            last--;
        TV_TRY(apply((text_part){at, (size_t)(last - at)}, where, list, layout, trainable, entries));
        if (!comma)
            break;
        at = comma;
    }
    if (layout)
        TV_TRY(take_entries(layout, where, list, entries, trainable));
done:
    tv_layout_destroy(&layout);
    free(entries);
    return status;
}
