/* Fuzz target: bytes as Markdown. The tree is JSON, or null, and not deeper or larger than promised; its
 * nodes have the names of markdown.h, and what is marked as a link begins with http:// or https://.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/json.h"
#include "human/markdown.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const cJSON *tree, int depth) {
    static const char names[] = " p quote ul li ol hr br table tr th td em strong del code h pre a dead img ";
    if (!cJSON_IsArray(tree) || depth > 32)
        abort();
    for (const cJSON *node = tree->child; node; node = node->next) {
        if (cJSON_IsString(node))
            continue;
        const cJSON *name = tv_json_get(node, "t"), *address = tv_json_get(node, "u");
        char padded[16];
        if (!cJSON_IsString(name) || strlen(name->valuestring) > 8)
            abort();
        strcat(strcat(strcpy(padded, " "), name->valuestring), " ");
        if (!strstr(names, padded))
            abort();
        if (strcmp(name->valuestring, "a") == 0 &&
            (!cJSON_IsString(address) || (strncasecmp(address->valuestring, "http://", 7) != 0 &&
                                          strncasecmp(address->valuestring, "https://", 8) != 0)))
            abort();
        if (tv_json_get(node, "c"))
            check(tv_json_get(node, "c"), depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_text out = {0};
    tv_page_json json = {.text = &out};
    cJSON *root = NULL;
    tv_markdown_prepare();
    tv_markdown_put(&json, (tv_slice){(const char *)data, size});
    if (json.status != TV_OK || tv_json_parse((const char *)out.data, out.size, "the tree", &root) != TV_OK)
        abort();
    if (!cJSON_IsNull(root))
        check(root, 0);
    cJSON_Delete(root);
    tv_text_free(&out);
    return 0;
}
