/* Documents from files: see source.h. */
#include "text/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/forms.h"
#include "base/json.h"
#include "base/log.h"
#include "text/buffers.h"
#include "text/inflate.h"
#include "text/records.h"
#include "text/unused_keys.h"

enum { CHUNK = 1 << 18, BINARY_PROBE = 8000, MAX_DEPTH = 64 };

typedef struct reading {
    tv_document_sink sink;
    tv_json_line_sink json_sink; /* set: whole lines are wanted, not their texts */
    void *context;
    tv_source_totals totals;
    const char *path; /* that was named, or the name of what is in memory */
    tv_unused_keys unused;
    bool by_line, text; /* `text`: whatever a file's name says */
    bool only_counts;   /* nothing is said of what is read */
} reading;

/* One file. */
typedef struct file_reading {
    reading *run;
    const char *name;
    bool json, by_line, in_folder;
    tv_records records;
} file_reading;

/* `line`: 0 where the document is the whole file. */
static tv_status emit_document(file_reading *file, const uint8_t *bytes, uint64_t length, uint64_t line) {
    reading *run = file->run;
    if (length == 0 || (!run->sink && !run->only_counts))
        return TV_OK;
    run->totals.documents++;
    run->totals.bytes += length;
    if (run->only_counts)
        return TV_OK;
    tv_status status = run->sink(run->context, bytes, length);
    if (status == TV_E_DATA && line)
        return tv_fail_context(status, "%s line %llu", file->name, (unsigned long long)line);
    return status == TV_E_DATA ? tv_fail_context(status, "%s", file->name) : status;
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
    static const char *const known[] = {"text", NULL};
    const cJSON *text = tv_json_get(line->root, "text");
    if (!cJSON_IsString(text))
        return tv_fail(TV_E_DATA, "%s: expected {\"text\": \"...\"}, found %s%s", line->where,
                       tv_json_kind(text ? text : line->root),
                       text                         ? " under \"text\""
                       : cJSON_IsObject(line->root) ? " without \"text\""
                                                    : "");
    if (!file->run->only_counts)
        tv_unused_keys_add(&file->run->unused, file->run->path, line->root, known);
    tv_text bytes = {0};
    tv_status status = tv_json_line_text(line, text, &bytes);
    if (status == TV_OK)
        status = emit_document(file, bytes.data, bytes.size, line->line);
    tv_text_free(&bytes);
    return status;
}

static tv_status emit_object(file_reading *file, const tv_json_line *line) {
    if (!cJSON_IsObject(line->root))
        return tv_fail(TV_E_DATA, "%s: expected a JSON object, found %s", line->where,
                       tv_json_kind(line->root));
    file->run->totals.documents++;
    return file->run->json_sink(file->run->context, line);
}

static tv_status parse_record(const uint8_t *text, uint64_t length, const char *where, cJSON **root) {
    /* cJSON would end a text there and go on. */
    if (length > 0 && memchr(text, '\0', length))
        return tv_fail(TV_E_DATA, "%s: expected valid JSON, found a byte 0; in a text it is written \\u0000",
                       where);
    /* The first line of a value over many lines. */
    if (length == 1 && (text[0] == '{' || text[0] == '['))
        return tv_fail(
            TV_E_DATA,
            "%s: expected one JSON object a line, found a \"%c\" that is not closed there; `jq -c .` "
            "writes lines",
            where, text[0]);
    return tv_json_parse((const char *)text, length, where, root);
}

tv_status tv_json_line_again(const tv_json_line *line, const void *bytes, uint64_t size,
                             tv_json_line_sink sink, void *context) {
    tv_json_line parsed = {
        .file = line->file, .where = line->where, .line = line->line, .bytes = bytes, .size = size};
    cJSON *root = NULL;
    zero_escape zero = {0};
    tv_status status;
    TV_TRY(replace_zero_escapes(bytes, size, &zero));
    if (zero.utf8[0])
        TV_TRY(parse_record(zero.line.data, zero.line.size, line->where, &root));
    else
        TV_TRY(parse_record(bytes, size, line->where, &root));
    parsed.root = root;
    memcpy(parsed.zero_mark, zero.utf8, sizeof parsed.zero_mark);
    TV_TRY(sink(context, &parsed));
done:
    tv_text_free(&zero.line);
    cJSON_Delete(root);
    return status;
}

static tv_status emit_parsed(void *context, const tv_json_line *line) {
    file_reading *file = context;
    return file->run->json_sink ? emit_object(file, line) : emit_text(file, line);
}

static tv_status emit_json(file_reading *file, const tv_record *record) {
    char where[512];
    unsigned long long number = record->line, item = record->item;
    if (item)
        snprintf(where, sizeof where, "%.460s line %llu, item %llu", file->name, number, item);
    else
        snprintf(where, sizeof where, "%.480s line %llu", file->name, number);
    tv_json_line whole = {.file = file->name, .where = where, .line = record->line};
    tv_status status = tv_json_line_again(&whole, record->bytes, record->size, emit_parsed, file);
    /* A tokenizer, say, does not know which text it got. */
    if (status == TV_E_DATA && !strstr(tv_last_error(), file->name))
        status = tv_fail_context(status, "%s", where);
    return status;
}

static tv_status take_record(void *context, const tv_record *record) {
    file_reading *file = context;
    return file->json ? emit_json(file, record)
                      : emit_document(file, record->bytes, record->size, record->line);
}

/* ---- files ---- */

/* Whether to pass over a file that begins so. Binary is what git takes for it: a zero byte near the start. */
static tv_status look_at(file_reading *file, const uint8_t *bytes, uint64_t size, bool *skip) {
    const char *form = tv_form_name(bytes, size);
    bool binary = !file->json && size > 0 && memchr(bytes, '\0', tv_min_u64(size, BINARY_PROBE));
    *skip = file->in_folder && (form || binary);
    if (form && !file->in_folder)
        return tv_fail(TV_E_DATA, "%s: expected %s, found %s", file->name, file->json ? "JSON lines" : "text",
                       form);
    if (*skip) {
        file->run->totals.skipped++;
        if (file->run->only_counts)
            return TV_OK;
        if (form)
            tv_warn("%s is left out: it is %s", file->name, form);
        else
            tv_debug("%s: skipped, it is not text", file->name);
    } else if (binary && !file->run->only_counts) {
        tv_warn("%s does not look like text: it has zero bytes", file->name);
    }
    return TV_OK;
}

static tv_status read_compressed(file_reading *file, const uint8_t *bytes, uint64_t size) {
    tv_inflater *inflater = NULL;
    tv_text whole = {0};
    uint8_t *chunk = malloc(CHUNK);
    bool skip = false;
    tv_status status;
    if (!chunk) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", file->name);
        goto done;
    }
    TV_TRY(tv_inflater_create(bytes, size, file->name, &inflater));
    for (uint64_t got, mark, at = 0;; at += got) {
        TV_TRY(tv_inflater_read(inflater, chunk, CHUNK, &got));
        if (at == 0)
            TV_TRY(look_at(file, chunk, got, &skip));
        if (got == 0 || skip)
            break;
        mark = at == 0 ? tv_mark_size(chunk, got) : 0;
        if (file->json || file->by_line)
            TV_TRY(tv_records_take(&file->records, chunk + mark, got - mark));
        else
            TV_TRY(tv_text_append(&whole, chunk + mark, got - mark));
    }
    if (skip)
        goto done;
    if (file->json || file->by_line)
        TV_TRY(tv_records_finish(&file->records));
    else
        TV_TRY(emit_document(file, whole.data, whole.size, 0));
done:
    tv_inflater_destroy(&inflater);
    tv_text_free(&whole);
    free(chunk);
    return status;
}

static tv_status read_plain(file_reading *file, const uint8_t *bytes, uint64_t size) {
    uint64_t mark = tv_mark_size(bytes, size);
    bool skip;
    TV_RETURN_IF_FAILED(look_at(file, bytes, size, &skip));
    if (skip)
        return TV_OK;
    if (!file->json && !file->by_line)
        return emit_document(file, bytes + mark, size - mark, 0);
    TV_RETURN_IF_FAILED(tv_records_take(&file->records, bytes + mark, size - mark));
    return tv_records_finish(&file->records);
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

/* False where a file of this name is passed over. */
static bool begin_file(file_reading *file, reading *run, const char *name, bool in_folder) {
    *file = (file_reading){.run = run, .name = name, .in_folder = in_folder, .by_line = run->by_line};
    file->json = !run->text && (is_json_lines(name, in_folder) || (run->json_sink && !in_folder));
    file->records = (tv_records){.name = name, .sink = take_record, .context = file, .plain = !file->json};
    bool wanted = !run->json_sink || file->json;
    *(wanted ? &run->totals.files : &run->totals.skipped) += 1;
    return wanted;
}

static tv_status read_whole(file_reading *file, const uint8_t *bytes, uint64_t size) {
    return tv_is_compressed(bytes, size) ? read_compressed(file, bytes, size) : read_plain(file, bytes, size);
}

static tv_status read_bytes(reading *run, const uint8_t *bytes, uint64_t size, const char *name,
                            bool in_folder) {
    file_reading file;
    if (!begin_file(&file, run, name, in_folder))
        return TV_OK;
    tv_status status = read_whole(&file, bytes, size);
    tv_records_free(&file.records);
    return status;
}

tv_status tv_source_read_bytes(const uint8_t *bytes, uint64_t size, const char *name, bool by_line,
                               tv_document_sink sink, void *context) {
    reading run = {.sink = sink, .context = context, .path = name, .by_line = by_line};
    return read_bytes(&run, bytes, size, name, false);
}

tv_status tv_source_read_text_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                    tv_document_sink sink, void *context) {
    reading run = {.sink = sink, .context = context, .text = true};
    return read_bytes(&run, bytes, size, name, false);
}

tv_status tv_source_read_json_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                    tv_json_line_sink sink, void *context) {
    reading run = {.json_sink = sink, .context = context};
    TV_RETURN_IF_FAILED(read_bytes(&run, bytes, size, name, false));
    return run.totals.documents ? TV_OK : tv_fail(TV_E_DATA, "%s: expected JSON lines, found none", name);
}

/* Appends up to CHUNK bytes; a pipe gives them in pieces. */
static tv_status read_chunk(tv_reader *reader, uint8_t *chunk, tv_text *text, bool *ended) {
    for (uint64_t got, taken = 0; taken < CHUNK && !*ended; taken += got) {
        TV_RETURN_IF_FAILED(tv_reader_read(reader, chunk, CHUNK - taken, &got));
        TV_RETURN_IF_FAILED(tv_text_append(text, chunk, got));
        *ended = got == 0;
    }
    return TV_OK;
}

/* Lines are taken as they come; a document, or what is compressed, is read as a whole first. */
static tv_status read_stream(file_reading *file, tv_reader *reader) {
    tv_text text = {0};
    bool ended = false, skip = false;
    uint8_t *chunk = malloc(CHUNK);
    tv_status status;
    if (!chunk) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", file->name);
        goto done;
    }
    TV_TRY(read_chunk(reader, chunk, &text, &ended));
    bool whole = !(file->json || file->by_line) || tv_is_compressed(text.data, text.size);
    while (whole && !ended)
        TV_TRY(read_chunk(reader, chunk, &text, &ended));
    const uint8_t *bytes = text.data ? text.data : (const uint8_t *)"";
    if (whole || ended) {
        status = read_whole(file, bytes, text.size);
        goto done;
    }
    TV_TRY(look_at(file, bytes, text.size, &skip));
    if (skip)
        goto done;
    uint64_t mark = tv_mark_size(bytes, text.size);
    TV_TRY(tv_records_take(&file->records, bytes + mark, text.size - mark));
    while (!ended) {
        text.size = 0;
        TV_TRY(read_chunk(reader, chunk, &text, &ended));
        TV_TRY(tv_records_take(&file->records, text.data, text.size));
    }
    TV_TRY(tv_records_finish(&file->records));
done:
    tv_text_free(&text);
    free(chunk);
    return status;
}

static tv_status read_file(reading *run, const char *path, bool in_folder) {
    file_reading file;
    tv_reader *reader = NULL;
    if (!begin_file(&file, run, path, in_folder))
        return TV_OK;
    tv_status status = tv_reader_open(path, &reader);
    if (status == TV_OK)
        status = read_stream(&file, reader);
    tv_reader_close(&reader);
    tv_records_free(&file.records);
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
            goto done;
        }
        if (is_link(entry))
            continue;
        if (tv_path_is_directory(entry))
            TV_TRY(read_folder(run, entry, depth + 1));
        else if (tv_file_size(entry, &size) == TV_OK)
            TV_TRY(read_file(run, entry, true));
    }
done:
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
        run->path = paths[i];
        TV_RETURN_IF_FAILED(tv_path_is_directory(paths[i]) ? read_folder(run, paths[i], 0)
                                                           : read_file(run, paths[i], false));
        if (run->totals.documents == before && count > 1 && !run->only_counts)
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
    tv_unused_keys_report(&run.unused);
    if (status == TV_OK && totals)
        *totals = run.totals;
    return status;
}

tv_status tv_source_count(const char *const *paths, uint64_t count, bool by_line, tv_source_totals *totals) {
    reading run = {.by_line = by_line, .only_counts = true};
    tv_status status = read_paths(&run, paths, count);
    if (status == TV_OK)
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

bool tv_source_first_line(const char *path, tv_status (*look)(void *context, const tv_json_line *line)) {
    static const char *const ends[] = {".jsonl", ".ndjson", ".json", ".gz", ".zst"};
    bool found = false, named = false;
    size_t length = strlen(path);
    for (size_t i = 0; i < TV_COUNT(ends); i++) {
        size_t end = strlen(ends[i]);
        named |= length > end && strcmp(path + length - end, ends[i]) == 0;
    }
    if (named && !tv_path_is_directory(path) && !tv_path_is_stream(path))
        (void)tv_source_read_json(&path, 1, look, &found, NULL);
    return found;
}
