/* Secrets and their file: see links.h. */
#include "human/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/private_file.h"
#include "human/raw_json.h"
#include "text/json_text.h"

struct tv_links {
    tv_link *all; /* those of this start first, then what else the file has */
    uint64_t count, active, capacity;
};

static const char *const roles[] = {"organiser", "anyone", "annotator"};

static tv_status add(tv_links *links, tv_link_role role, const char *name, const char *secret) {
    void *all = links->all;
    TV_RETURN_IF_FAILED(tv_grow(&all, &links->capacity, links->count + 1, sizeof *links->all));
    links->all = all;
    tv_link *link = &links->all[links->count];
    *link = (tv_link){.role = role};
    if (name && !(link->name = tv_format("%s", name)))
        return tv_fail(TV_E_MEMORY, "out of host memory for a link");
    snprintf(link->secret, sizeof link->secret, "%s", secret);
    links->count++;
    return TV_OK;
}

static bool is_secret(const char *text) {
    return strlen(text) == TV_LINK_SECRET_CHARACTERS &&
           strspn(text, "0123456789abcdef") == TV_LINK_SECRET_CHARACTERS;
}

static tv_status read_line(tv_links *links, tv_slice line, const char *where) {
    cJSON *root = NULL;
    const char *role, *name, *secret;
    tv_status status;
    TV_TRY(tv_json_parse(line.data, line.size, where, &root));
    TV_TRY(tv_json_string(root, "role", where, "", &role));
    TV_TRY(tv_json_string(root, "name", where, NULL, &name));
    TV_TRY(tv_json_string(root, "secret", where, "", &secret));
    size_t which = 0;
    while (which < TV_COUNT(roles) && strcmp(role, roles[which]) != 0)
        which++;
    if (which == TV_COUNT(roles) || !is_secret(secret) || (which == TV_LINK_ANNOTATOR) != (name && name[0])) {
        status =
            tv_fail(TV_E_DATA,
                    "%s: expected {\"role\": \"organiser\", \"anyone\" or \"annotator\" with a \"name\", "
                    "\"secret\": %d digits of 0-9 and a-f}; delete the line to get a new link",
                    where, TV_LINK_SECRET_CHARACTERS);
        goto done;
    }
    status = add(links, (tv_link_role)which, which == TV_LINK_ANNOTATOR ? name : NULL, secret);
done:
    cJSON_Delete(root);
    return status;
}

static tv_status read_file(tv_links *links, const char *path) {
    char *text = NULL;
    uint64_t size;
    tv_status status = tv_private_read(path, &text, &size);
    if (status != TV_OK || !text)
        return status;
    tv_line_walk walk = {.cursor = text, .end = text + size};
    for (tv_slice line; status == TV_OK && tv_line_next(&walk, &line);) {
        char where[512];
        snprintf(where, sizeof where, "%.480s line %llu", path, (unsigned long long)walk.number);
        if (!tv_slice_is_blank(line))
            status = read_line(links, line, where);
    }
    free(text);
    return status;
}

static tv_status write_file(const tv_links *links, const char *path) {
    tv_text text = {0};
    tv_status status = TV_OK;
    for (uint64_t i = 0; i < links->count; i++) {
        const tv_link *link = &links->all[i];
        cJSON *line = cJSON_CreateObject();
        char *printed = NULL;
        if (line && tv_json_set_string(line, "role", roles[link->role]) &&
            (!link->name || tv_json_set_string(line, "name", link->name)) &&
            tv_json_set_string(line, "secret", link->secret))
            status = tv_json_print_line(line, &printed);
        else
            status = tv_fail(TV_E_MEMORY, "out of host memory for the links");
        cJSON_Delete(line);
        if (status == TV_OK)
            status = tv_json_append(&text, printed);
        if (status == TV_OK)
            status = tv_json_append(&text, "\n");
        free(printed);
        if (status != TV_OK)
            break;
    }
    if (status == TV_OK)
        status = tv_private_write(path, text.data, text.size);
    tv_text_free(&text);
    return status;
}

/* Brings the link to the front part, with a new secret where the file has none. */
static tv_status activate(tv_links *links, tv_link_role role, const char *name, bool *added) {
    uint64_t at = 0;
    while (at < links->count &&
           (links->all[at].role != role || (name && strcmp(links->all[at].name, name) != 0)))
        at++;
    if (at < links->active)
        return tv_fail(TV_E_USAGE, "the annotator \"%s\" was named twice", name);
    if (at == links->count) {
        char secret[TV_LINK_SECRET_CHARACTERS + 1];
        TV_RETURN_IF_FAILED(tv_random_hex(secret, TV_LINK_SECRET_CHARACTERS));
        TV_RETURN_IF_FAILED(add(links, role, name, secret));
        *added = true;
    }
    tv_link found = links->all[at];
    links->all[at] = links->all[links->active];
    links->all[links->active++] = found;
    return TV_OK;
}

tv_status tv_links_open(const char *path, const char *const *names, uint64_t count, tv_links **out) {
    tv_status status;
    bool added = false;
    *out = NULL;
    tv_links *links = calloc(1, sizeof *links);
    if (!links)
        return tv_fail(TV_E_MEMORY, "out of host memory for the links");
    if (path)
        TV_TRY_OR_FAIL(read_file(links, path));
    TV_TRY_OR_FAIL(activate(links, TV_LINK_ORGANISER, NULL, &added));
    if (count == 0)
        TV_TRY_OR_FAIL(activate(links, TV_LINK_ANYONE, NULL, &added));
    for (uint64_t i = 0; i < count; i++)
        TV_TRY_OR_FAIL(activate(links, TV_LINK_ANNOTATOR, names[i], &added));
    if (path && added && write_file(links, path) != TV_OK)
        tv_warn("the links hold only until this server stops: %s", tv_last_error());
    *out = links;
    return TV_OK;
fail:
    tv_links_close(&links);
    return status;
}

void tv_links_close(tv_links **links) {
    if (!links || !*links)
        return;
    for (uint64_t i = 0; i < (*links)->count; i++)
        free((*links)->all[i].name);
    free((*links)->all);
    free(*links);
    *links = NULL;
}

uint64_t tv_links_count(const tv_links *links) {
    return links->active;
}

const tv_link *tv_links_at(const tv_links *links, uint64_t index) {
    return &links->all[index];
}

const tv_link *tv_links_find(const tv_links *links, const char *secret) {
    const tv_link *found = NULL;
    if (!secret || strlen(secret) != TV_LINK_SECRET_CHARACTERS)
        return NULL;
    for (uint64_t i = 0; i < links->active; i++) {
        int difference = 0;
        for (int c = 0; c < TV_LINK_SECRET_CHARACTERS; c++)
            difference |= secret[c] ^ links->all[i].secret[c];
        if (difference == 0)
            found = &links->all[i];
    }
    return found;
}
