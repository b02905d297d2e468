/* trivium pull: a model from a hub, as a directory that the other commands read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "formats/directory.h"
#include "tools/commands.h"
#include "tools/hub.h"
#include "tools/options.h"

typedef struct pull_options {
    const char *repository, *out, *revision;
    tv_texts files;
    uint64_t patience;
    tv_common_options common;
} pull_options;

/* What is asked for, in the order in which it comes: weights last, so that what was interrupted is no model
 * yet, and their index behind the shards. */
typedef struct wanted {
    const tv_hub_file **items;
    uint64_t count, capacity;
} wanted;

typedef struct pulling {
    const pull_options *given;
    char *out;
    tv_hub hub;
    tv_hub_listing listing;
    wanted wanted;
    uint64_t bytes, there; /* received; files that were there */
} pulling;

static tv_status want(pulling *p, const char *name, bool needed) {
    const tv_hub_file *file = tv_hub_listing_find(&p->listing, name);
    wanted *w = &p->wanted;
    if (!file && needed)
        return tv_fail(TV_E_DATA, "%s/%s has no file %s", p->hub.endpoint, p->hub.repository, name);
    if (!file)
        return TV_OK;
    if (w->count == w->capacity) {
        uint64_t capacity = w->capacity ? 2 * w->capacity : 16;
        const tv_hub_file **items = realloc(w->items, capacity * sizeof *items);
        if (!items)
            return tv_fail(TV_E_MEMORY, "out of host memory for a list of files");
        w->items = items;
        w->capacity = capacity;
    }
    w->items[w->count++] = file;
    return TV_OK;
}

static tv_status fetch(pulling *p, const tv_hub_file *file) {
    char size[32];
    tv_hub_received received;
    TV_RETURN_IF_FAILED(tv_hub_fetch(&p->hub, file, p->out, &received));
    p->bytes += received.bytes;
    p->there += received.was_there;
    tv_info("%s/%s  %s%s", p->out, file->name,
            file->sized ? tv_format_bytes(file->size, size, sizeof size) : "",
            received.was_there ? ", was there" : "");
    return TV_OK;
}

/* The index's own text decides which shards there are; it stays under a name that no reader takes for an
 * index until they have come. */
static tv_status want_shards(pulling *p, const tv_hub_file *index) {
    const char *folder = ".index";
    tv_status status;
    tv_hub_received received;
    char **names = NULL, *text = NULL;
    uint64_t count = 0, size = 0;
    char *aside = tv_format("%s/%s", p->out, folder);
    char *path = tv_format("%s/%s/%s", p->out, folder, TV_INDEX_NAME);
    if (!aside || !path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    TV_TRY(tv_output_refuse_link(aside));
    TV_TRY(tv_remove_tree(aside));
    TV_TRY(tv_make_dirs(aside));
    TV_TRY(tv_hub_fetch(&p->hub, index, aside, &received));
    TV_TRY(tv_read_file(path, &text, &size));
    TV_TRY(tv_hub_shards(text, size, TV_INDEX_NAME, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        TV_TRY(want(p, names[i], true));
    TV_TRY(want(p, TV_INDEX_NAME, true));
done:
    if (aside)
        (void)tv_remove_tree(aside);
    tv_free_names(&names, count);
    free(text);
    free(aside);
    free(path);
    return status;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static tv_status no_weights(const pulling *p) {
    for (uint64_t i = 0; i < p->listing.count; i++)
        if (ends_with(p->listing.files[i].name, ".gguf"))
            return tv_fail(TV_E_DATA, "%s/%s has no %s, but GGUF files: name one, as with --file %s",
                           p->hub.endpoint, p->hub.repository, TV_WEIGHTS_NAME, p->listing.files[i].name);
    for (uint64_t i = 0; i < p->listing.count; i++)
        if (ends_with(p->listing.files[i].name, ".bin") || ends_with(p->listing.files[i].name, ".pth"))
            return tv_fail(TV_E_DATA,
                           "%s/%s has no %s, only %s: a pickle, which can hold programs and is not read",
                           p->hub.endpoint, p->hub.repository, TV_WEIGHTS_NAME, p->listing.files[i].name);
    return tv_fail(TV_E_DATA, "%s/%s has neither %s nor %s", p->hub.endpoint, p->hub.repository,
                   TV_WEIGHTS_NAME, TV_INDEX_NAME);
}

/* What the commands read of a model, or of an adapter; nothing else of the repository. */
static tv_status choose(pulling *p) {
    static const char *const small[] = {"config.json",           "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "chat_template.jinja",    "reward.json"};
    if (p->given->files.count) {
        for (uint64_t i = 0; i < p->given->files.count; i++)
            TV_RETURN_IF_FAILED(want(p, p->given->files.items[i], true));
        return TV_OK;
    }
    bool adapter = tv_hub_listing_find(&p->listing, "adapter_config.json") != NULL;
    const tv_hub_file *index = tv_hub_listing_find(&p->listing, TV_INDEX_NAME);
    bool single = tv_hub_listing_find(&p->listing, TV_WEIGHTS_NAME) != NULL;
    if (!adapter && !single && !index)
        return no_weights(p);
    for (size_t i = 0; i < TV_COUNT(small); i++)
        TV_RETURN_IF_FAILED(want(p, small[i], i == 0 && !adapter));
    if (adapter) {
        TV_RETURN_IF_FAILED(want(p, "adapter_config.json", true));
        return want(p, "adapter_model.safetensors", true);
    }
    return single ? want(p, TV_WEIGHTS_NAME, true) : want_shards(p, index);
}

static tv_status print_result(const pulling *p) {
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_string(result, "out", p->out) &&
                 tv_json_set_string(result, "commit", p->listing.commit) &&
                 tv_json_set_number(result, "files", (double)p->wanted.count) &&
                 tv_json_set_number(result, "were_there", (double)p->there) &&
                 tv_json_set_number(result, "bytes", (double)p->bytes);
    return tv_print_result(result, built);
}

static tv_status pull(const pull_options *given) {
    pulling p = {.given = given};
    const char *slash = strrchr(given->repository, '/');
    tv_status status;
    for (uint64_t i = 0; i < given->files.count; i++)
        if (!tv_hub_name_is_plain(given->files.items[i])) {
            status = tv_fail(TV_E_USAGE, "--file: expected a file's name without folders, found \"%.200s\"",
                             given->files.items[i]);
            goto done;
        }
    p.out = tv_format("%s", given->out ? given->out : slash ? slash + 1 : given->repository);
    if (!p.out) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    tv_catch_interrupts();
    TV_TRY(tv_hub_open(&p.hub, given->repository, given->revision, given->patience));
    TV_TRY(tv_hub_list(&p.hub, &p.listing));
    /* The directory is made once something will come into it. */
    if (!p.given->files.count && !tv_hub_listing_find(&p.listing, TV_INDEX_NAME))
        TV_TRY(choose(&p));
    TV_TRY(tv_make_dirs(p.out));
    if (p.wanted.count == 0)
        TV_TRY(choose(&p));
    for (uint64_t i = 0; i < p.wanted.count; i++)
        TV_TRY(fetch(&p, p.wanted.items[i]));
    if (given->common.json)
        TV_TRY(print_result(&p));
done:
    if (status == TV_E_INTERRUPTED)
        status = tv_fail(status, "interrupted; what came is kept: the same command goes on from there");
    tv_hub_close(&p.hub);
    tv_hub_listing_free(&p.listing);
    free(p.wanted.items);
    free(p.out);
    return status;
}

tv_status cmd_pull(int argc, char **argv) {
    pull_options given = {.revision = "main", .patience = 30};
    const tv_option options[] = {
        tv_opt_positional("ORG/NAME", &given.repository, "the model's name on the hub"),
        tv_opt_short('o', tv_opt_text("out", "DIR", &given.out,
                                      "where it goes; without it a directory of the model's name")),
        tv_opt_text("revision", "REV", &given.revision, "a branch, tag or commit"),
        tv_opt_repeated("file", "NAME", &given.files, "this file alone, such as a GGUF file"),
        tv_opt_uint("patience", "SECONDS", &given.patience, 1, 3600,
                    "a connection on which nothing moves for so long is tried again"),
    };
    const tv_command_line line = {
        .command = "pull",
        .summary =
            "Fetches a model from a hub of Hugging Face's layout: the files that the other commands read and "
            "no others, each checked by size and hash. What was interrupted goes on where it was. "
            "HF_ENDPOINT names another hub, HF_TOKEN opens models that ask for one.",
        .notes = "example:\n  trivium pull HuggingFaceTB/SmolLM2-135M --out models/smollm2",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &given.common,
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status = pull(&given);
    tv_texts_free(&given.files);
    return status;
}
