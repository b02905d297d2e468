/* Markdown as a tree: which nodes become of what, and that nothing of a text becomes more than text.
 *
 * Seen to fail on purpose: with raw HTML left out (html_is_text), with every address a link
 * (addresses), without the limit of depth or of size (large_and_deep), without decoding (entities).
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"
#include "human/markdown.h"

/* The JSON of the tree; the caller frees. */
static char *tree_of(const char *text, uint64_t size) {
    tv_text out = {0};
    tv_page_json json = {.text = &out};
    tv_markdown_prepare();
    tv_markdown_put(&json, (tv_slice){text, size});
    assert_ok(json.status);
    assert_ok(tv_text_append(&out, "", 1));
    cJSON *root = NULL;
    assert_ok(tv_json_parse((const char *)out.data, out.size - 1, "the tree", &root));
    cJSON_Delete(root);
    return (char *)out.data;
}

static void assert_tree(const char *text, const char *expected) {
    char *tree = tree_of(text, strlen(text));
    assert_string_equal(tree, expected);
    free(tree);
}

static void nodes(void **state) {
    (void)state;
    assert_tree("", "[]");
    assert_tree("one", "[{\"t\":\"p\",\"c\":[\"one\"]}]");
    assert_tree("one\ntwo", "[{\"t\":\"p\",\"c\":[\"one\",{\"t\":\"br\"},\"two\"]}]");
    assert_tree("## A *b*", "[{\"t\":\"h\",\"n\":2,\"c\":[\"A \",{\"t\":\"em\",\"c\":[\"b\"]}]}]");
    assert_tree("**a** `b` ~~c~~",
                "[{\"t\":\"p\",\"c\":[{\"t\":\"strong\",\"c\":[\"a\"]},\" \",{\"t\":\"code\","
                "\"c\":[\"b\"]},\" \",{\"t\":\"del\",\"c\":[\"c\"]}]}]");
    assert_tree("3. a\n4. b",
                "[{\"t\":\"ol\",\"s\":3,\"c\":[{\"t\":\"li\",\"c\":[\"a\"]},{\"t\":\"li\",\"c\":[\"b\"]}]}]");
    assert_tree("- [x] a\n- [ ] b",
                "[{\"t\":\"ul\",\"c\":[{\"t\":\"li\",\"x\":true,\"c\":[\"a\"]},{\"t\":\"li\","
                "\"x\":false,\"c\":[\"b\"]}]}]");
    assert_tree("> a\n\n***",
                "[{\"t\":\"quote\",\"c\":[{\"t\":\"p\",\"c\":[\"a\"]}]},{\"t\":\"hr\",\"c\":[]}]");
    assert_tree("```c\nif (a < b)\n```", "[{\"t\":\"pre\",\"l\":\"c\",\"c\":[\"if (a < b)\\u000a\"]}]");
    assert_tree(
        "|a|b|\n|---|--:|\n|1|2|",
        "[{\"t\":\"table\",\"c\":[{\"t\":\"tr\",\"c\":[{\"t\":\"th\",\"c\":[\"a\"]},{\"t\":\"th\",\"l\":"
        "\"right\",\"c\":[\"b\"]}]},{\"t\":\"tr\",\"c\":[{\"t\":\"td\",\"c\":[\"1\"]},{\"t\":\"td\",\"l\":"
        "\"right\",\"c\":[\"2\"]}]}]}]");
}

static void html_is_text(void **state) {
    (void)state;
    assert_tree("<script>alert(1)</script>",
                "[{\"t\":\"pre\",\"c\":[\"<script>alert(1)</script>\\u000a\"]}]");
    assert_tree("a <b onclick=x>\"\\\\ c", "[{\"t\":\"p\",\"c\":[\"a <b onclick=x>\\\"\\\\ c\"]}]");
    assert_tree("<!-- a -->\n\n<?b?>",
                "[{\"t\":\"pre\",\"c\":[\"<!-- a -->\\u000a\"]},{\"t\":\"pre\",\"c\":[\"<?b?>\\u000a\"]}]");
    /* A name of a language is a text too. */
    assert_tree("~~~\"}]<b>\nx\n~~~", "[{\"t\":\"pre\",\"l\":\"\\\"}]<b>\",\"c\":[\"x\\u000a\"]}]");
}

static void addresses(void **state) {
    (void)state;
    assert_tree("[a](https://b.c/?d=\"e&amp;f)",
                "[{\"t\":\"p\",\"c\":[{\"t\":\"a\",\"u\":\"https://b.c/?d=\\\"e&f\",\"c\":[\"a\"]}]}]");
    static const char *const dead[] = {
        "javascript:alert(1)", "JaVaScript:x", "data:text/html,x", "/api/next",        "file:///etc/passwd",
        "//example.org",       "https:",       "ftp://a/",         "&#106;avascript:x"};
    for (size_t i = 0; i < TV_COUNT(dead); i++) {
        char *text = tv_format("[a](%s)", dead[i]);
        char *tree = tree_of(text, strlen(text));
        assert_non_null(strstr(tree, "{\"t\":\"dead\",\"u\":\""));
        assert_null(strstr(tree, "\"t\":\"a\""));
        free(tree);
        free(text);
    }
    assert_tree("![a](https://b.c/d.png)",
                "[{\"t\":\"p\",\"c\":[{\"t\":\"img\",\"u\":\"https://b.c/d.png\",\"c\":[\"a\"]}]}]");
}

static void entities(void **state) {
    (void)state;
    assert_tree(
        "&lt;b&gt; &amp;amp; &#65;&#x20AC;&#x1F600;&#0;&#xd800;&#1114112; &unknown;",
        "[{\"t\":\"p\",\"c\":[\"<b> &amp; A\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
        "&unknown;\"]}]");
    char *tree = tree_of("a\0b\xff", 4);
    assert_string_equal(tree, "[{\"t\":\"p\",\"c\":[\"a\xef\xbf\xbd"
                              "b\xef\xbf\xbd\"]}]");
    free(tree);
}

/* What is too large is null, what is too deep is flat, and nothing takes long. */
static void large_and_deep(void **state) {
    (void)state;
    static const char *const pieces[] = {"[",        "*a_",  "> ",  "`",    "``a ",        "<",
                                         "[a](",     "![",   "|",   "- ",   "[x]: y",      "1. ",
                                         "a&amp;",   "<!--", "~~a", "|a\n", "[a]: b\n[a]", "a|a\n---|---\n",
                                         "**a*",     "[[]",  "](",  "*_",   "```\n",       "\\",
                                         "http://a", "> - ", "\t-", "a\n"};
    char *text = malloc(TV_MARKDOWN_LIMIT + 1);
    for (size_t i = 0; i < TV_COUNT(pieces); i++) {
        uint64_t length = strlen(pieces[i]), size = 0;
        for (; size + length <= TV_MARKDOWN_LIMIT; size += length)
            memcpy(text + size, pieces[i], length);
        const clock_t begin = clock(); /* of the processor: machines are shared */
        char *tree = tree_of(text, size);
        const double took = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (!(took < 2))
            fail_msg("%llu bytes of \"%s\" took %g s", (unsigned long long)size, pieces[i], took);
        uint64_t depth = 0, deepest = 0;
        for (const char *at = tree; *at; at++) {
            depth += *at == '{';
            depth -= *at == '}';
            deepest = depth > deepest ? depth : deepest;
        }
        assert_true(strchr("{}", pieces[i][0]) || deepest <= 32);
        free(tree);
    }
    memset(text, 'a', TV_MARKDOWN_LIMIT + 1);
    char *tree = tree_of(text, TV_MARKDOWN_LIMIT);
    assert_string_not_equal(tree, "null");
    free(tree);
    tree = tree_of(text, TV_MARKDOWN_LIMIT + 1);
    assert_string_equal(tree, "null");
    free(tree);
    /* One long definition, used often. */
    uint64_t size = (uint64_t)snprintf(text, TV_MARKDOWN_LIMIT, "[a]: https://");
    memset(text + size, 'b', 20000);
    size += 20000;
    text[size++] = '\n';
    text[size++] = '\n';
    while (size + 4 < TV_MARKDOWN_LIMIT) {
        memcpy(text + size, "[a] ", 4);
        size += 4;
    }
    tree = tree_of(text, size);
    assert_string_equal(tree, "null");
    free(tree);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes),    cmocka_unit_test(html_is_text),   cmocka_unit_test(addresses),
        cmocka_unit_test(entities), cmocka_unit_test(large_and_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
