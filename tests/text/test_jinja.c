/* text/jinja: what @huggingface/jinja renders (tests/golden/make_jinja_cases.mjs), where each byte came from,
 * and the bounds. Breaks that were made on purpose stand at each case. */
#include "support/support.h"
#include "text/jinja_values.h"
#include "text/text_cases.h"

#include <stdlib.h>

#include "base/log.h"

static int set_up(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    return 0;
}

static void expect_case(const cJSON *item, const char *template, const cJSON *variables) {
    tv_jinja *jinja = NULL;
    tv_jinja_heap heap;
    tv_jinja_buffer out = {0};
    const cJSON *output = tv_json_get(item, "output");
    const char *name = tv_json_get(item, "name")->valuestring;
    if (tv_json_get(item, "left_out"))
        return;
    assert_ok(tv_jinja_heap_create(1 << 20, 16, &heap));
    tv_jinja_value values = jinja_value(&heap, variables, 0);
    tv_status status = tv_jinja_parse(template, strlen(template), &jinja);
    if (status == TV_OK)
        status = tv_jinja_render(jinja, &heap, values.dict, &out);
    char *shown = NULL;
    assert_ok(tv_json_print_line(variables, &shown));
    if ((status != TV_OK) != cJSON_IsTrue(tv_json_get(item, "fails")))
        fail_msg("%s: %.200s: %s: %.300s", name, template,
                 status == TV_OK ? "does not fail" : tv_last_error(), shown);
    if (status == TV_OK && (out.size != strlen(output->valuestring) ||
                            (out.size && memcmp(out.bytes, output->valuestring, out.size) != 0)))
        fail_msg("%s: %.200s with %.500s\nrendered:\n%.*s\nexpected:\n%s", name, template, shown,
                 (int)out.size, out.bytes ? out.bytes : "", output->valuestring);
    if (status != TV_OK)
        assert_non_null(strstr(tv_last_error(), "chat template line "));
    free(shown);
    tv_jinja_heap_destroy(&heap);
    tv_jinja_destroy(&jinja);
}

static void expect_cases(const char *folder, const char *file) {
    cJSON *cases = tv_test_json(folder, file);
    const cJSON *item, *variables = NULL;
    const char *template = NULL;
    int count = 0;
    cJSON_ArrayForEach(item, cases) {
        const cJSON *own = tv_json_get(item, "variables"), *text = tv_json_get(item, "template");
        variables = own ? own : variables;
        template = text ? text->valuestring : template;
        expect_case(item, template, variables);
        count++;
    }
    assert_true(count > 100);
    cJSON_Delete(cases);
}

static void renders_as_another_program(void **state) {
    (void)state;
    expect_cases(TRIVIUM_SOURCE_DIR "/tests/text/data", "jinja_cases.json");
}

/* Templates of published models, which the rung published_templates fetches. */
static void published_templates(void **state) {
    (void)state;
    const char *folder = getenv("TRIVIUM_TEMPLATES_DIR");
    if (!folder)
        skip();
    expect_cases(folder, "cases.json");
    if (getenv("TRIVIUM_TEMPLATES_PYTHON"))
        expect_cases(folder, "python_cases.json");
}

/* Renders with {"m": the message's text of origin 1, "n": another's of origin 2}; shows template's bytes as
 * they are, the first message's between < and >, the second's between [ and ]. */
static void expect_origins(const char *template, const char *expected) {
    tv_jinja *jinja = NULL;
    tv_jinja_heap heap;
    tv_jinja_buffer out = {0};
    tv_jinja_value values, m, n;
    char shown[1024];
    size_t size = 0;
    uint32_t before = 0;
    assert_ok(tv_jinja_heap_create(64, 2, &heap));
    assert_ok(tv_jinja_new_dict(&heap, &values));
    assert_ok(tv_jinja_text_of(&heap, " One, two ", 10, 1, &m));
    assert_ok(tv_jinja_text_of(&heap, "x\"y", 3, 2, &n));
    assert_ok(tv_jinja_set_named(&heap, values.dict, "m", m));
    assert_ok(tv_jinja_set_named(&heap, values.dict, "n", n));
    assert_ok(tv_jinja_parse(template, strlen(template), &jinja));
    assert_ok(tv_jinja_render(jinja, &heap, values.dict, &out));
    for (uint64_t i = 0; i <= out.size; i++) {
        uint32_t origin = i < out.size ? out.origins[i] : 0;
        if (origin != before && before)
            shown[size++] = ".>]"[before];
        if (origin != before && origin)
            shown[size++] = ".<["[origin];
        if (i < out.size)
            shown[size++] = out.bytes[i];
        before = origin;
    }
    shown[size] = '\0';
    if (strcmp(shown, expected) != 0)
        fail_msg("%s: origins\n%s\nexpected\n%s", template, shown, expected);
    tv_jinja_heap_destroy(&heap);
    tv_jinja_destroy(&jinja);
}

/* Broken and seen to fail: the origin of joined parts, of a changed case, of an escape, of a slice. */
static void bytes_keep_their_origin(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a{{ m }}b", "a< One, two >b"},
        {"{{ 'a' + m + n + 'b' }}", "a< One, two >[x\"y]b"},
        {"{{ 'a' ~ m | trim }}", "a<One, two>"},
        {"{{ m.strip() ~ n.upper() }}", "<One, two>[X\"Y]"},
        {"{{ m.split(',')[1].lstrip() }}|{{ m.split()|join('-') }}", "<two >|<One,>-<two>"},
        {"{{ m | replace('n', n) }}", "< O>[x\"y]<e, two >"},
        {"{{ 'none' | replace('n', m) }}", "< One, two >o< One, two >e"},
        {"{{ n | tojson }}", "\"[x\\\"y]\""},
        {"{{ {'k': n} | tojson(indent=1) }}", "{\n \"k\": \"[x\\\"y]\"\n}"},
        {"{{ m[1:4] ~ m[-4:] ~ n[::-1] }}{{ m[1] }}", "<Onetwo >[y\"x]<O>"},
        {"{% set x %}<{{ n }}{% endset %}{{ x ~ x | length }}", "<[x\"y]4"},
        {"{% macro f(t) %}({{ t }}){% endmacro %}{{ f(n) | upper }}", "([X\"Y])"},
        {"{% set ns = namespace(t='') %}{% for c in n %}{% set ns.t = ns.t + '-' + c %}{% endfor %}{{ ns.t "
         "}}",
         "-[x]-[\"]-[y]"},
        {"{% for k in {n: 1} %}{{ k }}{% endfor %}{{ [n, 'z'] }}", "[x\"y]['[x\"y]', 'z']"},
        {"{{ m | title }}{{ n | indent(2, true) }}{{ [m, n] | join | length }}", "< One, Two >  [x\"y]13"},
        {"{{ n * 2 }}{{ 'b' if m else 'c' }}{{ n | first }}{{ n | list | last }}", "[x\"yx\"y]b[xy]"},
        {"{{ n | escape }}{{ 'q' | indent(n, true) }}", "[x&#34;yx\"y]q"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++)
        expect_origins(cases[i][0], cases[i][1]);
}

static void expect_failure(const char *template, const char *sentence) {
    tv_jinja *jinja = NULL;
    tv_jinja_heap heap;
    tv_jinja_buffer out = {0};
    tv_jinja_value values;
    assert_ok(tv_jinja_heap_create(64, 2, &heap));
    assert_ok(tv_jinja_new_dict(&heap, &values));
    tv_status status = tv_jinja_parse(template, strlen(template), &jinja);
    if (status == TV_OK)
        status = tv_jinja_render(jinja, &heap, values.dict, &out);
    if (status != TV_E_DATA || !strstr(tv_last_error(), sentence))
        fail_msg("%.200s: %s, expected a failure with \"%s\"", template,
                 status == TV_OK ? "no failure" : tv_last_error(), sentence);
    tv_jinja_heap_destroy(&heap);
    tv_jinja_destroy(&jinja);
}

/* Each is one sentence with the template's line. Broken and seen to fail: steps, memory and depth unbounded
 * (they do not end, or end by the system). */
static void mistakes_and_bounds(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{% set r = range(10000) %}\n{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
         "line 2: expected a template that ends"},
        {"{% set ns = namespace(t='aaaaaaaaaaaaaaaa') %}\n{% for a in range(1000) %}\n{% set ns.t = ns.t + "
         "ns.t "
         "%}{% endfor %}",
         "line 3: expected a template that needs memory"},
        {"{{ 'a' * 10000000000 }}", "line 1: expected a template that"},
        {"\n\n{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}",
         "line 3: expected a template that calls itself"},
        {"{% macro f() %}{{ g() }}{% endmacro %}\n{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
         "calls itself"},
        {"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}", "calls itself"},
        {"\n{{ 1 / 0 }}", "line 2: expected a number to divide by, found 0"},
        {"{{ 1 // 0 }}", "divide by, found 0"},
        {"{{ 1 % 0 }}", "divide by, found 0"},
        {"{{ 1.0 / 0 }}", "divide by"},
        {"{{ 0 is divisibleby(0) }}", "divide by, found 0"},
        {"{{ 9223372036854775807 + 1 }}", "within 64 bits"},
        {"{{ 10 ** 100 }}", "within 64 bits"},
        {"{{ 99999999999999999999 }}", "within 64 bits"},
        {"{{ 10.0 ** 1000 }}", "finite"},
        {"\n\n{{ missing.x }}", "line 3: expected a value to take x of, found missing, which is undefined"},
        {"{{ missing['x'] }}", "missing, which is undefined"},
        {"{{ missing + 1 }}", "missing, which is undefined"},
        {"{{ missing() }}", "expected a function to call, found missing, which is undefined"},
        {"a\nb{{ raise_exception('roles must ' + 'alternate') }}",
         "line 2: the template refuses the conversation: roles must alternate"},
        {"{{ 'a'.format(1) }}", "format, which is undefined"},
        {"{{ [].append(1) }}", "append, which is undefined"},
        {"{{ 'a' | nosuch }}", "found \"nosuch\", which is not known"},
        {"{{ 'a' is nosuch }}", "found \"nosuch\", which is not known"},
        {"{{ 'a' | trim(1, 2) }}", "at most 1 arguments of trim"},
        {"{{ 'a' | indent(wdth=2) }}", "found \"wdth\""},
        {"{% include 'x' %}", "found include, which is not supported here"},
        {"{% for x in [] recursive %}{% endfor %}", "recursive"},
        {"{{ strftime_now('%Q') }}", "found %Q"},
        {"{{ range(1000000) }}", "at most 100000"},
        {"{{ [1][::0] }}", "other than 0"},
        {"{% break %}", "within a loop"},
        {"{% for a, b in [[1]] %}{% endfor %}", "as many values as names"},
        {"{% set x = 1 %}{% set x.y = 2 %}", "expected a namespace"},
        {"{{ {[]: 1} }}", "expected a key that does not change"},
        {"{% if true %}\n\n", "expected {% endif %}, found the end of the template"},
        {"{{ \"open }}", "expected a closing \""},
        {"{{ 'a' + 1 }}", "found a text and a whole number"},
        {"{{ '\\ud800' }}", "expected a character of Unicode"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++)
        expect_failure(cases[i][0], cases[i][1]);
    static const char *const nested[][2] = {{"(", ")"}, {"[", "]"},  {"{1: ", "}"}, {"not ", ""},
                                            {"- ", ""}, {"a[", "]"}, {"f(", ")"},   {"1 if 1 else ", ""}};
    for (size_t i = 0; i < TV_COUNT(nested); i++) {
        tv_text text = {0};
        assert_ok(tv_text_append(&text, "{{ ", 3));
        for (int k = 0; k < 50000; k++)
            assert_ok(tv_text_append(&text, nested[i][0], strlen(nested[i][0])));
        assert_ok(tv_text_append(&text, "1", 1));
        for (int k = 0; k < 50000; k++)
            assert_ok(tv_text_append(&text, nested[i][1], strlen(nested[i][1])));
        assert_ok(tv_text_append(&text, " }}", 4));
        expect_failure((const char *)text.data, "deep");
        tv_text_free(&text);
    }
    tv_text text = {0};
    for (int k = 0; k < 50000; k++)
        assert_ok(tv_text_append(&text, "{% if 1 %}", 10));
    assert_ok(tv_text_append(&text, "", 1));
    expect_failure((const char *)text.data, "deep");
    tv_text_free(&text);
}

/* As Jinja in Python, where the other program differs. */
static void renders_as_python(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{{ true }} {{ none }} {{ [1, 'a', none, 1.5] }} {{ {'a': (1,)} }} {{ 1 == 1.0 }}",
         "True None [1, 'a', None, 1.5] {'a': (1,)} True"},
        {"{{ -7 % 3 }} {{ 7 % -3 }} {{ -7 // 2 }} {{ 1e3 }} {{ 0.1 + 0.2 }} {{ 1e22 }} {{ 7.5 // 2 }}",
         "2 -2 -4 1000.0 0.30000000000000004 1e+22 3.0"},
        {"{{ 'xxaxx'.strip('x') }} {{ 'hELLO' | capitalize }} {{ \"they're bill's\" | title }}",
         "a Hello They'Re Bill'S"},
        {"{% for i in [1, 2] %}{% if loop.first %}{% set x = 1 %}{% endif %}{{ x is defined }}{% endfor %}",
         "TrueFalse"},
        {"{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }} {{ 'a' 'b' }} {{ '\\d' }} {{ 1_000 }}", "TrueFalse ab \\d 1000"},
        {"{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }} {% endfor %}",
         "aTrue bTrue aFalse "},
        {"{{ [[1, 2], [3]] | sum(start=[]) if false else [1, 2] | sum }} {{ [2, 1] | min }} {{ [2, 1] | max "
         "}} {{ 2.5 | round }} {{ 2.567 | round(1) }}",
         "3 1 2 2.0 2.6"},
        {"{{ ['a', 'b'] | map('upper') | join }} {{ [1, 2, 3] | select('odd') | list }} {{ [1, 2] | "
         "reject('equalto', 2) | list }}",
         "AB [1, 3] [1]"},
        {"{% raw %}{{ x }}{% endraw %}{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{{ x }}3"},
        {"{{ '12x' | int }} {{ ' 12 ' | int }} {{ '1.9' | int }} {{ '7' | float }} {{ none | int(3) }}",
         "0 12 1 7.0 3"},
        {"{% for x in missing %}{{ x }}{% else %}none{% endfor %}{{ missing | length }}{{ missing | list }}",
         "none0[]"},
        {"{{ 'a b  c'.split(' ') }} {{ 'a b  c '.rsplit(None, 1) }} {{ 'a\nb\n'.splitlines() }} {{ "
         "'a,b,c'.rsplit(',', 1) }}",
         "['a', 'b', '', 'c'] ['a b', 'c'] ['a', 'b'] ['a,b', 'c']"},
        {"{{ 'a\\r\\nb\\u2028\\r\\rc' | indent(1) }}|{{ 'a\\r\\nb\\u2028c\\n'.splitlines() }}",
         "a\n b\n\n\n c|['a', 'b', 'c']"},
        {"{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abcabc'.count('bc') }} {{ "
         "'pre-x'.removeprefix('pre-') }} {{ '12'.isdigit() }}",
         "2 5 2 x True"},
        {"{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, a=3) }}", "(1, 2){'a': 3}"},
        {"{{ strftime_now('%d %b %Y, %B %-d %H:%M:%S %A %j %y %I %p %%') }}",
         "26 Jul 2024, July 26 10:40:00 Friday 208 24 10 AM %"},
        {"a\r\nb{% if true %}\r\nc{% endif %}", "a\nbc"},
        {"{{ \"'\" ~ ['it\\'s'] }}", "'[\"it's\"]"},
        {"{{ 'ÄÖ' | lower }}{{ 'straße' | upper }}", "äöSTRASSE"},
        {"{{ dict(a=1, b=dict(c=2)) }}{{ {'a': 1} | tojson }}", "{'a': 1, 'b': {'c': 2}}{\"a\": 1}"},
    };
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", "1721990400", 1), 0);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        cJSON *item = cJSON_CreateObject(), *variables = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", "as Python");
        cJSON_AddStringToObject(item, "output", cases[i][1]);
        expect_case(item, cases[i][0], variables);
        cJSON_Delete(item);
        cJSON_Delete(variables);
    }
    unsetenv("SOURCE_DATE_EPOCH");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_another_program), cmocka_unit_test(published_templates),
        cmocka_unit_test(bytes_keep_their_origin),    cmocka_unit_test(mistakes_and_bounds),
        cmocka_unit_test(renders_as_python),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
