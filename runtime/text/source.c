/* Documents from files: see source.h. */
#include "text/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "text/buffers.h"
#include "text/inflate.h"

enum { CHUNK = 1 << 18, BINARY_PROBE = 8000, MAX_DEPTH = 64 };

typedef struct reading {
    tv_document_sink sink;
    tv_json_line_sink json_sink; /* set: whole lines are wanted, not their texts */
    void *context;
    tv_source_totals totals;
    bool by_line;
} reading;

/* One file. */
typedef struct file_reading {
    reading *run;
    const char *name;
    bool json, by_line, in_folder;
    uint64_t line;
    tv_text carried; /* the beginning of a line that goes on in the next chunk */
} file_reading;

static tv_status emit(reading *run, const uint8_t *bytes, uint64_t length) {
    if (length == 0 || !run->sink)
        return TV_OK;
    run->totals.documents++;
    run->totals.bytes += length;
    return run->sink(run->context, bytes, length);
}

/* cJSON ends a text at "\u0000": such lines are read with a noncharacter that they do not contain in its
 * place, and that one becomes the byte 0 afterwards. U+FDD0 to U+FDEF are EF B7 90 to EF B7 AF. */
typedef struct zero_escape {
    tv_text line;
    uint8_t utf8[3]; /* 0: the line has no such escape */
} zero_escape;

static bool contains(const uint8_t *bytes, uint64_t length, const void *part, uint64_t part_length) {
    for (uint64_t i = 0; i + part_length <= length; i++)
        if (bytes[i] == *(const uint8_t *)part && memcmp(bytes + i, part, part_length) == 0)
            return true;
    return false;
}

static tv_status replace_zero_escapes(const uint8_t *line, uint64_t length, zero_escape *zero) {
    if (!contains(line, length, "\\u0000", 6))
        return TV_OK;
    char escape[7], upper[7];
    unsigned code = 0xfdd0;
    for (;; code++) {
        snprintf(escape, sizeof escape, "\\ufd%02x", code & 0xff);
        snprintf(upper, sizeof upper, "\\uFD%02X", code & 0xff);
        uint8_t utf8[3] = {0xef, 0xb7, (uint8_t)(0x80 | (code & 0x3f))};
        memcpy(zero->utf8, utf8, sizeof utf8);
        if (code == 0xfdef || !(contains(line, length, utf8, 3) || contains(line, length, escape, 6) ||
                                contains(line, length, upper, 6)))
            break;
    }
    for (uint64_t i = 0; i < length; i++) {
        bool pair = line[i] == '\\' && i + 1 < length;
        bool zero_here = pair && length - i >= 6 && memcmp(line + i, "\\u0000", 6) == 0;
        uint64_t taken = zero_here ? 6 : pair ? 2 : 1;
        TV_RETURN_IF_FAILED(zero_here ? tv_text_append(&zero->line, escape, 6)
                                      : tv_text_append(&zero->line, line + i, taken));
        i += taken - 1;
    }
    return TV_OK;
}

static bool is_zero_mark(const uint8_t *bytes, uint64_t length, const uint8_t mark[3]) {
    return mark[0] && length >= 3 && memcmp(bytes, mark, 3) == 0;
}

/* Appends the text with each mark replaced. */
static tv_status replace_marks(const char *text, const uint8_t mark[3], const char *zero, uint64_t zero_size,
                               tv_text *out) {
    const uint8_t *bytes = (const uint8_t *)text;
    uint64_t length = strlen(text), done = 0;
    for (uint64_t i = 0; mark[0] && i < length; i++) {
        if (!is_zero_mark(bytes + i, length - i, mark))
            continue;
        TV_RETURN_IF_FAILED(tv_text_append(out, bytes + done, i - done));
        TV_RETURN_IF_FAILED(tv_text_append(out, zero, zero_size));
        done = i + 3;
        i += 2;
    }
    return tv_text_append(out, bytes + done, length - done);
}

tv_status tv_json_line_text(const tv_json_line *line, const cJSON *text, tv_text *out) {
    return replace_marks(text->valuestring, line->zero_mark, "", 1, out);
}

tv_status tv_json_line_print(const tv_json_line *line, const cJSON *value, tv_text *out) {
    char *text = NULL;
    TV_RETURN_IF_FAILED(tv_json_print_line(value, &text));
    tv_status status = replace_marks(text, line->zero_mark, "\\u0000", 6, out);
    free(text);
    return status;
}

static tv_status emit_text(file_reading *file, const tv_json_line *line) {
    const cJSON *text = tv_json_get(line->root, "text");
    if (!cJSON_IsString(text))
        return tv_fail(TV_E_DATA, "%s: expected {\"text\": \"...\"}, found %s", line->where,
                       cJSON_IsObject(line->root) ? "an object without a text under \"text\"" : "no object");
    tv_text bytes = {0};
    tv_status status = tv_json_line_text(line, text, &bytes);
    if (status == TV_OK)
        status = emit(file->run, bytes.data, bytes.size);
    tv_text_free(&bytes);
    return status;
}

static tv_status emit_object(file_reading *file, const tv_json_line *line) {
    if (!cJSON_IsObject(line->root))
        return tv_fail(TV_E_DATA, "%s: expected a JSON object, found %s", line->where,
                       cJSON_IsArray(line->root) ? "an array; `jq -c '.[]'` writes its items as lines"
                                                 : "another value");
    file->run->totals.documents++;
    return file->run->json_sink(file->run->context, line);
}

static tv_status parse_line(const uint8_t *text, uint64_t length, const char *where, cJSON **root) {
    /* cJSON would end a text there and go on. */
    if (memchr(text, '\0', length))
        return tv_fail(TV_E_DATA, "%s: expected valid JSON, found a byte 0; in a text it is written \\u0000",
                       where);
    tv_status status = tv_json_parse((const char *)text, length, where, root);
    while (length > 1 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    /* The first line of a file that is one JSON value over many lines. */
    if (status != TV_OK && length == 1 && (text[0] == '[' || text[0] == '{'))
        return tv_fail(TV_E_DATA,
                       "%s: expected one JSON object a line, found a \"%c\" that is not closed there; `jq -c "
                       "%s` writes lines",
                       where, text[0], text[0] == '[' ? "'.[]'" : ".");
    return status;
}

static tv_status emit_json_line(file_reading *file, const uint8_t *line, uint64_t length) {
    char where[512];
    snprintf(where, sizeof where, "%.480s line %llu", file->name, (unsigned long long)file->line);
    cJSON *root = NULL;
    zero_escape zero = {0};
    tv_status status;
    TV_TRY(replace_zero_escapes(line, length, &zero));
    if (zero.utf8[0])
        TV_TRY(parse_line(zero.line.data, zero.line.size, where, &root));
    else
        TV_TRY(parse_line(line, length, where, &root));
    tv_json_line parsed = {.root = root, .file = file->name, .where = where, .line = file->line};
    memcpy(parsed.zero_mark, zero.utf8, sizeof parsed.zero_mark);
    TV_TRY(file->run->json_sink ? emit_object(file, &parsed) : emit_text(file, &parsed));
fail:
    tv_text_free(&zero.line);
    cJSON_Delete(root);
    return status;
}

static bool is_blank(const uint8_t *line, uint64_t length) {
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\t'))
        length--;
    return length == 0;
}

/* A line without its newline. */
static tv_status emit_line(file_reading *file, const uint8_t *line, uint64_t length) {
    file->line++;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (!file->json)
        return emit(file->run, line, length);
    return is_blank(line, length) ? TV_OK : emit_json_line(file, line, length);
}

/* Lines of a chunk; what is after the last newline is carried over. */
static tv_status take_lines(file_reading *file, const uint8_t *bytes, uint64_t size) {
    for (const uint8_t *newline; size > 0 && (newline = memchr(bytes, '\n', size));) {
        uint64_t length = (uint64_t)(newline - bytes);
        if (file->carried.size) {
            TV_RETURN_IF_FAILED(tv_text_append(&file->carried, bytes, length));
            TV_RETURN_IF_FAILED(emit_line(file, file->carried.data, file->carried.size));
            file->carried.size = 0;
        } else {
            TV_RETURN_IF_FAILED(emit_line(file, bytes, length));
        }
        bytes += length + 1;
        size -= length + 1;
    }
    return tv_text_append(&file->carried, bytes, size);
}

static tv_status finish_lines(file_reading *file) {
    return file->carried.size ? emit_line(file, file->carried.data, file->carried.size) : TV_OK;
}

/* Whether to pass over a file that begins so. Binary is what git takes for it: a zero byte near the start. */
static bool skips(file_reading *file, const uint8_t *bytes, uint64_t size) {
    if (file->json || size == 0 || !memchr(bytes, '\0', tv_min_u64(size, BINARY_PROBE)))
        return false;
    if (!file->in_folder) {
        tv_warn("%s does not look like text: it has zero bytes", file->name);
        return false;
    }
    file->run->totals.skipped++;
    tv_debug("%s: skipped, it is not text", file->name);
    return true;
}

static tv_status read_compressed(file_reading *file, const uint8_t *bytes, uint64_t size) {
    tv_inflater *inflater = NULL;
    tv_text whole = {0};
    uint8_t *chunk = malloc(CHUNK);
    tv_status status;
    if (!chunk) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", file->name);
        goto fail;
    }
    TV_TRY(tv_inflater_create(bytes, size, file->name, &inflater));
    for (uint64_t got, at = 0;; at += got) {
        TV_TRY(tv_inflater_read(inflater, chunk, CHUNK, &got));
        if (got == 0 || (at == 0 && skips(file, chunk, got)))
            break;
        if (file->json || file->by_line)
            TV_TRY(take_lines(file, chunk, got));
        else
            TV_TRY(tv_text_append(&whole, chunk, got));
    }
    if (file->json || file->by_line)
        TV_TRY(finish_lines(file));
    else
        TV_TRY(emit(file->run, whole.data, whole.size));
fail:
    tv_inflater_destroy(&inflater);
    tv_text_free(&whole);
    free(chunk);
    return status;
}

static bool ends_with(const char *name, uint64_t length, const char *ending) {
    uint64_t size = strlen(ending);
    return length >= size && memcmp(name + length - size, ending, size) == 0;
}

static bool is_json_lines(const char *name, bool in_folder) {
    uint64_t length = strlen(name);
    if (ends_with(name, length, ".gz"))
        length -= 3;
    else if (ends_with(name, length, ".zst"))
        length -= 4;
    return ends_with(name, length, ".jsonl") || ends_with(name, length, ".ndjson") ||
           (!in_folder && ends_with(name, length, ".json"));
}

static tv_status read_bytes(reading *run, const uint8_t *bytes, uint64_t size, const char *name,
                            bool in_folder) {
    file_reading file = {.run = run, .name = name, .in_folder = in_folder, .by_line = run->by_line};
    file.json = is_json_lines(name, in_folder) || (run->json_sink && !in_folder);
    if (run->json_sink && !file.json) {
        run->totals.skipped++;
        return TV_OK;
    }
    run->totals.files++;
    tv_status status;
    if (tv_is_compressed(bytes, size)) {
        TV_TRY(read_compressed(&file, bytes, size));
    } else if (skips(&file, bytes, size)) {
        status = TV_OK;
    } else if (file.json || file.by_line) {
        TV_TRY(take_lines(&file, bytes, size));
        TV_TRY(finish_lines(&file));
    } else {
        TV_TRY(emit(run, bytes, size));
    }
fail:
    tv_text_free(&file.carried);
    return status;
}

tv_status tv_source_read_bytes(const uint8_t *bytes, uint64_t size, const char *name, bool by_line,
                               tv_document_sink sink, void *context) {
    reading run = {.sink = sink, .context = context, .by_line = by_line};
    return read_bytes(&run, bytes, size, name, false);
}

tv_status tv_source_read_json_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                    tv_json_line_sink sink, void *context) {
    reading run = {.json_sink = sink, .context = context};
    TV_RETURN_IF_FAILED(read_bytes(&run, bytes, size, name, false));
    return run.totals.documents ? TV_OK : tv_fail(TV_E_DATA, "%s: expected JSON lines, found none", name);
}

static tv_status read_file(reading *run, const char *path, bool in_folder) {
    tv_mapping mapping = {0};
    uint64_t size;
    if (tv_file_size(path, &size) != TV_OK) {
        /* A pipe or a terminal cannot be mapped. */
        char *bytes = NULL;
        TV_RETURN_IF_FAILED(tv_read_input(path, &bytes, &size));
        tv_status read = read_bytes(run, (const uint8_t *)bytes, size, path, in_folder);
        free(bytes);
        return read;
    }
    TV_RETURN_IF_FAILED(tv_map_file(path, &mapping));
    tv_status status = read_bytes(run, mapping.data, mapping.size, path, in_folder);
    tv_unmap(&mapping);
    return status;
}

static bool is_link(const char *path) {
    char *target = NULL;
    bool link = tv_read_link(path, &target) == TV_OK;
    free(target);
    return link;
}

static tv_status read_folder(reading *run, const char *path, int depth) {
    char **names = NULL, *entry = NULL;
    uint64_t count = 0, size;
    tv_status status;
    if (depth > MAX_DEPTH)
        return tv_fail(TV_E_DATA, "%s: expected folders nested at most %d deep", path, MAX_DEPTH);
    TV_TRY(tv_list_dir(path, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        if (names[i][0] == '.')
            continue;
        free(entry);
        entry = tv_format("%s/%s", path, names[i]);
        if (!entry) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
            goto fail;
        }
        if (is_link(entry))
            continue;
        if (tv_path_is_directory(entry))
            TV_TRY(read_folder(run, entry, depth + 1));
        else if (tv_file_size(entry, &size) == TV_OK)
            TV_TRY(read_file(run, entry, true));
    }
fail:
    free(entry);
    tv_free_names(&names, count);
    return status;
}

static tv_status read_paths(reading *run, const char *const *paths, uint64_t count) {
    const char *wanted = run->json_sink ? "JSON lines" : "text";
    /* All are looked for first, so that a wrong last name is not found after an hour. */
    for (uint64_t i = 0; i < count; i++)
        if (!tv_path_exists(paths[i]))
            return tv_fail(TV_E_DATA, "%s: expected a file of %s or a folder, found nothing of that name",
                           paths[i], wanted);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t before = run->totals.documents;
        TV_RETURN_IF_FAILED(tv_path_is_directory(paths[i]) ? read_folder(run, paths[i], 0)
                                                           : read_file(run, paths[i], false));
        if (run->totals.documents == before && count > 1)
            tv_warn("%s: no %s in it", paths[i], wanted);
    }
    if (run->totals.documents > 0)
        return TV_OK;
    const char *no_file = run->json_sink ? "there is no *.jsonl in it" : "there is no file in it";
    const char *no_text = run->json_sink ? "the files are empty" : "the files are empty or binary";
    return tv_fail(TV_E_DATA, "%s%s: expected %s, found none: %s", count ? paths[0] : "no input",
                   count > 1 ? " and the others" : "", wanted, run->totals.files ? no_text : no_file);
}

tv_status tv_source_read(const char *const *paths, uint64_t count, bool by_line, tv_document_sink sink,
                         void *context, tv_source_totals *totals) {
    reading run = {.sink = sink, .context = context, .by_line = by_line};
    tv_status status = read_paths(&run, paths, count);
    if (status == TV_OK && totals)
        *totals = run.totals;
    return status;
}

tv_status tv_source_read_json(const char *const *paths, uint64_t count, tv_json_line_sink sink, void *context,
                              tv_source_totals *totals) {
    reading run = {.json_sink = sink, .context = context};
    tv_status status = read_paths(&run, paths, count);
    if (status == TV_OK && totals)
        *totals = run.totals;
    return status;
}
