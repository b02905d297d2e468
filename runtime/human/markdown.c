/* cmark-gfm's document as JSON: see markdown.h. */
#include "human/markdown.h"

#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm-extension_api.h>
#include <cmark-gfm.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

/* Deeper nesting adds no node: a page's elements, and JSON's lists, would be as deep. */
enum { MAX_DEPTH = 24, MAX_TREE = 8 * TV_MARKDOWN_LIMIT };

static const char *const extensions[] = {"table", "strikethrough", "autolink", "tasklist"};

typedef struct tree {
    tv_page_json json;
    uint64_t depth;   /* of nodes, those that were too deep to be written included */
    bool in_string;   /* the last thing written is a text that may go on */
    bool after_child; /* the list that is open has a member */
} tree;

static void end_string(tree *t) {
    if (t->in_string)
        tv_page_put(&t->json, "\"", 1);
    t->in_string = false;
}

static void separate(tree *t) {
    end_string(t);
    if (t->after_child)
        tv_page_put(&t->json, ",", 1);
    t->after_child = true;
}

static void put_text(tree *t, const char *text) {
    if (!text || !text[0])
        return;
    if (!t->in_string) {
        separate(t);
        tv_page_put(&t->json, "\"", 1);
        t->in_string = true;
    }
    tv_page_put_inside(&t->json, (tv_slice){text, strlen(text)});
}

static void put_member(tree *t, const char *key, const char *text) {
    tv_page_put_format(&t->json, ",\"%s\":", key);
    tv_page_put_text(&t->json, text ? text : "");
}

/* ---- nodes ---- */

/* By the type's name, because extensions make up their types when they are registered. */
static const struct {
    const char *type, *name;
} names[] = {{"paragraph", "p"},      {"block_quote", "quote"}, {"item", "li"},        {"tasklist", "li"},
             {"heading", "h"},        {"code_block", "pre"},    {"html_block", "pre"}, {"emph", "em"},
             {"strong", "strong"},    {"strikethrough", "del"}, {"code", "code"},      {"image", "img"},
             {"table", "table"},      {"table_header", "tr"},   {"table_row", "tr"},   {"table_cell", "td"},
             {"thematic_break", "hr"}};

static bool is_web_address(const char *address) {
    return address && (strncasecmp(address, "http://", 7) == 0 || strncasecmp(address, "https://", 8) == 0);
}

/* A tight list's paragraphs are no more than their text. */
static bool is_tight(cmark_node *paragraph) {
    cmark_node *list = cmark_node_parent(cmark_node_parent(paragraph));
    return cmark_node_get_type(paragraph) == CMARK_NODE_PARAGRAPH && list &&
           cmark_node_get_type(list) == CMARK_NODE_LIST && cmark_node_get_list_tight(list);
}

static const char *name_of(cmark_node *node) {
    cmark_node_type type = cmark_node_get_type(node);
    const char *string = cmark_node_get_type_string(node);
    if (type == CMARK_NODE_LIST)
        return cmark_node_get_list_type(node) == CMARK_ORDERED_LIST ? "ol" : "ul";
    if (type == CMARK_NODE_LINK)
        return is_web_address(cmark_node_get_url(node)) ? "a" : "dead";
    if (is_tight(node))
        return NULL;
    if (strcmp(string, "table_cell") == 0 &&
        strcmp(cmark_node_get_type_string(cmark_node_parent(node)), "table_header") == 0)
        return "th";
    for (size_t i = 0; i < TV_COUNT(names); i++)
        if (strcmp(string, names[i].type) == 0)
            return names[i].name;
    return NULL;
}

static void put_alignment(tree *t, cmark_node *cell) {
    cmark_node *table = cmark_node_parent(cmark_node_parent(cell));
    uint16_t column = 0, columns = cmark_gfm_extensions_get_table_columns(table);
    const uint8_t *alignments = cmark_gfm_extensions_get_table_alignments(table);
    for (cmark_node *at = cell; (at = cmark_node_previous(at)) != NULL;)
        column++;
    char side = column < columns && alignments ? (char)alignments[column] : '\0';
    if (side == 'l' || side == 'c' || side == 'r')
        put_member(t, "l", side == 'l' ? "left" : side == 'c' ? "center" : "right");
}

static void put_members(tree *t, cmark_node *node, const char *name) {
    cmark_node_type type = cmark_node_get_type(node);
    const char *info = type == CMARK_NODE_CODE_BLOCK ? cmark_node_get_fence_info(node) : NULL;
    if (type == CMARK_NODE_HEADING)
        tv_page_put_format(&t->json, ",\"n\":%d", cmark_node_get_heading_level(node));
    else if (strcmp(name, "ol") == 0)
        tv_page_put_format(&t->json, ",\"s\":%d", cmark_node_get_list_start(node));
    else if (type == CMARK_NODE_LINK || type == CMARK_NODE_IMAGE)
        put_member(t, "u", cmark_node_get_url(node));
    else if (info && info[0])
        put_member(t, "l", info);
    else if (strcmp(cmark_node_get_type_string(node), "tasklist") == 0)
        tv_page_put_format(&t->json, ",\"x\":%s",
                           cmark_gfm_extensions_get_tasklist_item_checked(node) ? "true" : "false");
    else if (strcmp(name, "td") == 0 || strcmp(name, "th") == 0)
        put_alignment(t, node);
}

static void enter(tree *t, cmark_node *node, const char *name) {
    cmark_node_type type = cmark_node_get_type(node);
    if (type == CMARK_NODE_SOFTBREAK || type == CMARK_NODE_LINEBREAK) {
        separate(t);
        tv_page_put_format(&t->json, "{\"t\":\"br\"}");
        return;
    }
    if (name && ++t->depth <= MAX_DEPTH) {
        separate(t);
        tv_page_put_format(&t->json, "{\"t\":\"%s\"", name);
        put_members(t, node, name);
        tv_page_put_format(&t->json, ",\"c\":[");
        t->after_child = false;
    }
    /* Raw HTML is the text that it is. */
    if (type == CMARK_NODE_TEXT || type == CMARK_NODE_CODE || type == CMARK_NODE_CODE_BLOCK ||
        type == CMARK_NODE_HTML_BLOCK || type == CMARK_NODE_HTML_INLINE)
        put_text(t, cmark_node_get_literal(node));
}

static void leave(tree *t, const char *name) {
    if (!name || t->depth-- > MAX_DEPTH)
        return;
    end_string(t);
    tv_page_put_format(&t->json, "]}");
    t->after_child = true;
}

/* Nodes of these types are met once, without an end. */
static bool is_leaf(cmark_node_type type) {
    return type == CMARK_NODE_HTML_BLOCK || type == CMARK_NODE_THEMATIC_BREAK ||
           type == CMARK_NODE_CODE_BLOCK || type == CMARK_NODE_TEXT || type == CMARK_NODE_SOFTBREAK ||
           type == CMARK_NODE_LINEBREAK || type == CMARK_NODE_CODE || type == CMARK_NODE_HTML_INLINE;
}

/* False where the tree grew too large. */
static bool walk(tree *t, cmark_node *document) {
    bool whole = true;
    cmark_iter *iterator = cmark_iter_new(document);
    for (cmark_event_type event; whole && (event = cmark_iter_next(iterator)) != CMARK_EVENT_DONE;) {
        cmark_node *node = cmark_iter_get_node(iterator);
        const char *name = name_of(node);
        if (event == CMARK_EVENT_ENTER)
            enter(t, node, name);
        if (event == CMARK_EVENT_EXIT || is_leaf(cmark_node_get_type(node)))
            leave(t, name);
        whole = t->json.status == TV_OK && t->json.text->size <= MAX_TREE;
    }
    cmark_iter_free(iterator);
    return whole;
}

void tv_markdown_prepare(void) {
    cmark_gfm_core_extensions_ensure_registered();
}

void tv_markdown_put(tv_page_json *out, tv_slice text) {
    tv_text nodes = {0};
    tree t = {.json = {.text = &nodes}};
    bool whole = false;
    if (text.size <= TV_MARKDOWN_LIMIT) {
        cmark_parser *parser = cmark_parser_new(CMARK_OPT_VALIDATE_UTF8);
        for (size_t i = 0; i < TV_COUNT(extensions); i++) {
            cmark_syntax_extension *extension = cmark_find_syntax_extension(extensions[i]);
            if (extension)
                cmark_parser_attach_syntax_extension(parser, extension);
        }
        cmark_parser_feed(parser, text.data ? text.data : "", text.size);
        cmark_node *document = cmark_parser_finish(parser);
        tv_page_put(&t.json, "[", 1);
        whole = walk(&t, document);
        end_string(&t);
        tv_page_put(&t.json, "]", 1);
        cmark_node_free(document);
        cmark_parser_free(parser);
    }
    if (out->status == TV_OK)
        out->status = t.json.status;
    if (whole)
        tv_page_put(out, nodes.data, nodes.size);
    else
        tv_page_put_format(out, "null");
    tv_text_free(&nodes);
}
