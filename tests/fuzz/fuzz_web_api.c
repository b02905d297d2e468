/* Fuzz target: bytes as the body of a call of the ranking page, the first byte says of which. Every answer is
 * JSON with one of three codes, and the file never holds an item twice.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "human/markdown.h"
#include "human/web_api.h"
#include "support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One session for all inputs, so that they meet items that are held, judged and undone. */
static tv_session *session;
static char *dir;

static void clean_up(void) {
    tv_session_close(&session);
    tv_test_dir_remove(&dir);
}

static void open_session(void) {
    dir = tv_test_dir();
    char *candidates = tv_format("%s/candidates.jsonl", dir), *out = tv_format("%s/rankings.jsonl", dir);
    const char *lines =
        "{\"id\":\"p\",\"prompt\":[{\"role\":\"user\",\"content\":\"\xff\tq\"}],\"responses\":[{\"id\":\"a\","
        "\"text\":\"1\"},{\"id\":\"b\",\"text\":\"\\u0000\"},{\"id\":\"c\",\"text\":\"\"}]}\n"
        "{\"id\":\"q\",\"prompt\":\"\",\"responses\":[{\"id\":\"a\",\"text\":\"1\"},{\"id\":\"b\",\"text\":"
        "\"2\"}]}\n";
    const tv_session_options options = {.candidates = candidates, .out = out, .seed = 1};
    if (tv_write_file(candidates, lines, strlen(lines)) != TV_OK ||
        tv_session_open(&options, &session) != TV_OK)
        abort();
    free(candidates);
    free(out);
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"start",    "next",    "judge", "undo",
                                        "progress", "release", "here",  "overview"};
    if (!session) {
        tv_markdown_prepare();
        open_session();
    }
    if (size == 0)
        return 0;
    static const tv_link anyone = {.role = TV_LINK_ANYONE}, organiser = {.role = TV_LINK_ORGANISER};
    tv_text answer = {0};
    cJSON *root = NULL;
    unsigned code = 0;
    /* '0' is start, '1' next and so on, so that the corpus can be read. */
    const char *name = names[(uint8_t)(data[0] - '0') % TV_COUNT(names)];
    const tv_web_api api = {.session = session,
                            .title = "fuzz",
                            .version = "",
                            .link = strcmp(name, "overview") == 0 ? &organiser : &anyone};
    if (tv_web_api_answer(&api, name, (tv_slice){(const char *)data + 1, size - 1}, &code, &answer) != TV_OK)
        abort();
    if (code != 200 && code != 400 && code != 409)
        abort();
    if (tv_json_parse((const char *)answer.data, answer.size, "the answer", &root) != TV_OK)
        abort();
    if ((code == 200) != !tv_json_get(root, "error"))
        abort();
    uint64_t judged_items, items, judgments;
    tv_session_totals(session, &judged_items, &items, &judgments);
    if (judged_items != judgments || judgments > items)
        abort();
    cJSON_Delete(root);
    tv_text_free(&answer);
    return 0;
}
