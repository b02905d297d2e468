/* The text buffer of the report: see html.h. */
#include "report/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void put(tv_html *html, const char *bytes, uint64_t size) {
    if (html->failed)
        return;
    if (html->size + size + 1 > html->room) {
        uint64_t room = 2 * (html->size + size) + 4096;
        char *grown = realloc(html->text, room);
        if (!grown) {
            html->failed = true;
            return;
        }
        html->text = grown;
        html->room = room;
    }
    memcpy(html->text + html->size, bytes, size);
    html->size += size;
    html->text[html->size] = '\0';
}

void tv_html_raw(tv_html *html, const char *markup) {
    put(html, markup, strlen(markup));
}

void tv_html_format(tv_html *html, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof text)
        html->failed = true;
    else
        put(html, text, (uint64_t)length);
}

/* Bytes of the UTF-8 character at `text`, or 0 where there is none (RFC 3629: no overlong forms, no
 * surrogates). The terminating zero stops every look-ahead. */
static uint64_t character_bytes(const unsigned char *text) {
    if (text[0] < 0x80)
        return 1;
    uint64_t more = text[0] >= 0xC2 && text[0] <= 0xDF ? 1 : text[0] >= 0xE0 && text[0] <= 0xEF ? 2 : 3;
    if (text[0] < 0xC2 || text[0] > 0xF4)
        return 0;
    for (uint64_t i = 1; i <= more; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xF0 && text[1] < 0x90);
    bool outside = (text[0] == 0xED && text[1] > 0x9F) || (text[0] == 0xF4 && text[1] > 0x8F);
    return overlong || outside ? 0 : more + 1;
}

void tv_html_text_cut(tv_html *html, const char *text, uint64_t limit) {
    const unsigned char *at = (const unsigned char *)text, *start = at;
    while (*at && (uint64_t)(at - start) < limit) {
        uint64_t bytes = character_bytes(at);
        if (*at == '&')
            put(html, "&amp;", 5);
        else if (*at == '<')
            put(html, "&lt;", 4);
        else if (*at == '>')
            put(html, "&gt;", 4);
        else if (*at == '"')
            put(html, "&quot;", 6);
        else if (*at == '\'')
            put(html, "&#39;", 5);
        else if (bytes == 0 || (*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7f)
            put(html, "\xEF\xBF\xBD", 3);
        else
            put(html, (const char *)at, bytes);
        at += bytes ? bytes : 1;
    }
    if (*at)
        put(html, "\xE2\x80\xA6", 3);
}

void tv_html_text(tv_html *html, const char *text) {
    tv_html_text_cut(html, text, UINT64_MAX);
}

void tv_html_json(tv_html *html, const cJSON *value) {
    char *text = cJSON_PrintUnformatted(value);
    if (!text) {
        html->failed = true;
        return;
    }
    /* "</script>" inside a string would end the element; < is the same character to JSON as \u003c. */
    for (const char *at = text; *at; at++)
        if (*at == '<')
            put(html, "\\u003c", 6);
        else
            put(html, at, 1);
    cJSON_free(text);
}

void tv_html_href(tv_html *html, const char *path) {
    for (const unsigned char *at = (const unsigned char *)path; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                     strchr("/-_.~", *at);
        if (plain)
            put(html, (const char *)at, 1);
        else
            tv_html_format(html, "%%%02X", *at);
    }
}

/* "6e-04" becomes "6e-4". */
static void shorten_exponent(char *text) {
    char *e = strchr(text, 'e');
    if (!e)
        return;
    char *digits = e + 1 + (e[1] == '-' || e[1] == '+');
    char *first = digits;
    while (first[0] == '0' && first[1])
        first++;
    memmove(digits, first, strlen(first) + 1);
    if (e[1] == '+')
        memmove(e + 1, e + 2, strlen(e + 2) + 1);
}

char *tv_html_count(double value, char text[40]) {
    if (!isfinite(value)) {
        snprintf(text, 40, "n/a");
    } else if (fabs(value) >= 1e7) {
        static const char units[] = "MGT";
        int unit = 0;
        for (value /= 1e6; fabs(value) >= 1e3 && unit < 2; value /= 1e3)
            unit++;
        snprintf(text, 40, "%.*f%c", fabs(value) < 100 ? 1 : 0, value, units[unit]);
    } else if (fabs(value) >= 1e3) {
        int thousands = (int)(round(value) / 1000);
        if (abs(thousands) >= 1000)
            snprintf(text, 40, "%d,%03d,%03d", thousands / 1000, abs(thousands) % 1000,
                     (int)fabs(round(value)) % 1000);
        else
            snprintf(text, 40, "%d,%03d", thousands, (int)fabs(round(value)) % 1000);
    } else {
        snprintf(text, 40, "%.*f", value == floor(value) ? 0 : 1, value);
    }
    return text;
}

char *tv_html_number(double value, char text[40]) {
    if (!isfinite(value))
        snprintf(text, 40, "n/a");
    else if (value != 0 && fabs(value) < 1e-3)
        snprintf(text, 40, "%.4g", value);
    else if (fabs(value) >= 1e4)
        return tv_html_count(value, text);
    else
        snprintf(text, 40, "%.5g", value);
    shorten_exponent(text);
    return text;
}

char *tv_html_duration(double seconds, char text[40]) {
    if (!isfinite(seconds))
        snprintf(text, 40, "n/a");
    else if (seconds < 120)
        snprintf(text, 40, "%.*f s", seconds < 10 ? 1 : 0, seconds);
    else if (seconds < 7200)
        snprintf(text, 40, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        snprintf(text, 40, "%.1f h", seconds / 3600);
    else
        snprintf(text, 40, "%.1f days", seconds / 86400);
    return text;
}
