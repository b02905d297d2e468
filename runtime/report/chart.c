/* Axes, lines and readout points: see chart.h. */
#include "report/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Points of a line beyond this many are thinned to the lowest and highest of each bucket. */
enum { BUCKETS = 400, MAX_TICKS = 24 };
/* The SVG's own units; it is stretched to the box that CSS gives it. */
enum { WIDTH = 1000, HEIGHT = 400 };

typedef struct axis {
    double low, high; /* log10 of the values when `logarithmic` */
    bool logarithmic;
    double ticks[MAX_TICKS];
    uint64_t tick_count;
    double tick_step; /* 0 on a logarithmic axis */
} axis;

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps fill `range`; at least `least`. */
static double nice_step(double range, double wanted, double least) {
    double raw = range / wanted, power = pow(10, floor(log10(raw))), rest = raw / power;
    return fmax(least, power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10));
}

static void add_tick(axis *a, double value) {
    if (a->tick_count < MAX_TICKS)
        a->ticks[a->tick_count++] = value;
}

static void linear_ticks(axis *a, double wanted, bool widen, double least) {
    double step = nice_step(a->high - a->low, wanted, least);
    if (widen) {
        a->low = floor(a->low / step + 1e-9) * step;
        a->high = ceil(a->high / step - 1e-9) * step;
    }
    a->tick_step = step;
    double first = ceil(a->low / step - 1e-9);
    for (uint64_t i = 0; i < MAX_TICKS && (first + (double)i) * step <= a->high + step * 1e-6; i++)
        add_tick(a, (first + (double)i) * step);
}

static void log_ticks(axis *a) {
    static const double marks[] = {1, 2, 5};
    uint64_t per_decade = a->high - a->low > 3 ? 1 : 3;
    for (int decade = (int)floor(a->low); decade <= a->high; decade++)
        for (uint64_t i = 0; i < per_decade; i++) {
            double at = decade + log10(marks[i]);
            if (at >= a->low - 1e-9 && at <= a->high + 1e-9)
                add_tick(a, at);
        }
}

static double place(const axis *a, double value, bool flip, double size) {
    double v = a->logarithmic ? log10(value) : value;
    double share = (v - a->low) / (a->high - a->low);
    return size * (flip ? 1 - share : share);
}

/* A label with as many decimals as the distance between ticks asks for. */
static void format_tick(const axis *a, double tick, char text[40]) {
    double value = a->logarithmic ? pow(10, tick) : tick;
    double step = a->logarithmic ? value : a->tick_step;
    if (fabs(value) < 1e-12) {
        snprintf(text, 40, "0");
    } else if (step < 1e-3) {
        /* All labels of the axis in one form: 5e-5, 1e-4, 1.5e-4. */
        int exponent = (int)floor(log10(fabs(value)) + 1e-9);
        snprintf(text, 40, "%.3ge%d", value / pow(10, exponent), exponent);
    } else if (fabs(value) >= 1e6) {
        snprintf(text, 40, "%gM", value / 1e6);
    } else if (fabs(value) >= 1e4 && fabs(step) >= 100) {
        snprintf(text, 40, "%gk", value / 1e3);
    } else if (fabs(value) >= 1e3 && step >= 1) {
        tv_html_count(value, text);
    } else {
        int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
        snprintf(text, 40, "%.*f", decimals, value);
    }
}

static bool fit_axes(const tv_chart *chart, axis *x, axis *y) {
    double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
    bool whole = true;
    for (uint64_t l = 0; l < chart->line_count; l++) {
        const tv_chart_line *line = &chart->lines[l];
        for (uint64_t i = 0; i < line->count; i++) {
            if (!isfinite(line->y[i]))
                continue;
            whole = whole && line->x[i] == floor(line->x[i]);
            x_low = fmin(x_low, line->x[i]);
            x_high = fmax(x_high, line->x[i]);
            y_low = fmin(y_low, line->y[i]);
            y_high = fmax(y_high, line->y[i]);
        }
    }
    if (!(x_low <= x_high))
        return false;
    if (x_low == x_high) {
        x_low -= 1;
        x_high += 1;
    }
    *x = (axis){.low = x_low, .high = x_high};
    linear_ticks(x, 6, false, whole ? 1 : 0); /* there is no step 1.5 */
    if (!chart->from_zero && y_low > 0 && y_high / y_low > 30) {
        *y = (axis){.low = log10(y_low) - 0.05, .high = log10(y_high) + 0.05, .logarithmic = true};
        log_ticks(y);
        return true;
    }
    if (chart->from_zero)
        y_low = fmin(y_low, 0);
    if (y_low == y_high) {
        double margin = y_low != 0 ? fabs(y_low) * 0.1 : 1;
        y_low -= margin;
        y_high += margin;
    }
    *y = (axis){.low = y_low, .high = y_high};
    linear_ticks(y, 5, true, 0);
    return true;
}

typedef struct points {
    double *x, *y;
    uint64_t count;
} points;

static void free_points(points *p) {
    free(p->x);
    free(p->y);
    *p = (points){0};
}

static bool make_points(points *p, uint64_t room) {
    *p = (points){.x = malloc((room + 1) * sizeof(double)), .y = malloc((room + 1) * sizeof(double))};
    return p->x && p->y;
}

static void add_point(points *p, double x, double y) {
    p->x[p->count] = x;
    p->y[p->count++] = y;
}

/* At most two points per bucket, so that no spike is lost; a bucket without a finite value leaves a gap. */
static bool thin(const tv_chart_line *line, points *out) {
    uint64_t buckets = tv_min_u64(line->count, BUCKETS);
    if (!make_points(out, 2 * buckets))
        return false;
    for (uint64_t b = 0; b < buckets; b++) {
        uint64_t low = UINT64_MAX, high = UINT64_MAX;
        uint64_t start = b * line->count / buckets, end = (b + 1) * line->count / buckets;
        for (uint64_t i = start; i < end; i++) {
            if (!isfinite(line->y[i]))
                continue;
            low = low == UINT64_MAX || line->y[i] < line->y[low] ? i : low;
            high = high == UINT64_MAX || line->y[i] > line->y[high] ? i : high;
        }
        if (low == UINT64_MAX && !line->sparse)
            add_point(out, line->x[start], NAN);
        if (low == UINT64_MAX)
            continue;
        uint64_t first = tv_min_u64(low, high), second = tv_max_u64(low, high);
        add_point(out, line->x[first], line->y[first]);
        if (second != first)
            add_point(out, line->x[second], line->y[second]);
    }
    return true;
}

/* ---- the trend ---- */

enum { LEAST_WINDOW = 25, ROBUST_PASSES = 3 };

/* Points of a line around one of them, how far away each is, and how much each says. */
typedef struct window {
    const double *x, *y;
    double *weights, *residuals;
    uint64_t count, at;
} window;

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The weighted least-squares line through them, as its value at the point and its slope; NaN without points.
 */
static void fit_line(const window *w, double *level, double *slope) {
    double w_sum = 0, x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0;
    for (uint64_t i = 0; i < w->count; i++) {
        double weight = isfinite(w->y[i]) ? w->weights[i] : 0, x = w->x[i] - w->x[w->at];
        if (!(weight > 0))
            continue;
        w_sum += weight;
        x_sum += weight * x;
        y_sum += weight * w->y[i];
        xx_sum += weight * x * x;
        xy_sum += weight * x * w->y[i];
    }
    double spread = w_sum * xx_sum - x_sum * x_sum;
    /* Fewer than two different steps have no slope. */
    *slope = spread > 1e-12 * w_sum * xx_sum ? (w_sum * xy_sum - x_sum * y_sum) / spread : 0;
    *level = (y_sum - *slope * x_sum) / w_sum;
}

static double distance(const window *w, uint64_t i, double level, double slope) {
    return fabs(w->y[i] - level - slope * (w->x[i] - w->x[w->at]));
}

static double median_distance(const window *w, double level, double slope) {
    uint64_t finite = 0;
    for (uint64_t i = 0; i < w->count; i++)
        if (isfinite(w->y[i]))
            w->residuals[finite++] = distance(w, i, level, slope);
    qsort(w->residuals, finite, sizeof *w->residuals, by_size);
    return finite ? w->residuals[finite / 2] : 0;
}

/* LOWESS with robust passes (Cleveland 1979): what is far from one pass's line, by six times the median
 * distance, does not bend the next one's. */
static double fitted(const window *w) {
    double reach = (double)(tv_max_u64(w->at, w->count - 1 - w->at) + 1), level = NAN, slope = 0,
           far = INFINITY;
    for (int pass = 0; pass <= ROBUST_PASSES && far > 0; pass++) {
        double before = level, slope_before = slope;
        for (uint64_t i = 0; i < w->count; i++) {
            double share = pass ? distance(w, i, before, slope_before) / far : 0;
            double near = reach - (double)(i > w->at ? i - w->at : w->at - i);
            w->weights[i] = share < 1 ? near * (1 - share * share) * (1 - share * share) : 0;
        }
        fit_line(w, &level, &slope);
        far = 6 * median_distance(w, level, slope);
    }
    return level;
}

/* Over a twentieth of the line, or what it takes to tell a trend from noise. At the ends the window slides
 * inwards instead of shrinking, and the line through it keeps the trend, so that the curve neither follows
 * the last step's noise nor leans aside. */
static bool smooth(const tv_chart_line *line, points *out) {
    uint64_t buckets = tv_min_u64(line->count, BUCKETS);
    uint64_t width = tv_min_u64(tv_max_u64(line->count / 20, LEAST_WINDOW), line->count);
    double *scratch = malloc(2 * width * sizeof *scratch);
    bool made = scratch && make_points(out, buckets);
    for (uint64_t b = 0; made && b < buckets; b++) {
        uint64_t middle = buckets > 1 ? b * (line->count - 1) / (buckets - 1) : 0;
        uint64_t first = tv_min_u64(middle > width / 2 ? middle - width / 2 : 0, line->count - width);
        const window w = {line->x + first, line->y + first, scratch, scratch + width, width, middle - first};
        double value = fitted(&w);
        if (isfinite(value))
            add_point(out, line->x[middle], value);
    }
    free(scratch);
    return made;
}

static void write_path(tv_html *html, const char *class, const tv_chart_line *line, const points *p,
                       const axis *x, const axis *y) {
    tv_html_format(html, "<path class=\"%s r%llu c%llu\" d=\"", class, (unsigned long long)line->run,
                   (unsigned long long)(line->color % TV_CHART_COLORS));
    bool pen_down = false;
    for (uint64_t i = 0; i < p->count; i++) {
        bool drawn = isfinite(p->y[i]) && (!y->logarithmic || p->y[i] > 0);
        bool alone = !pen_down && (i + 1 == p->count || !isfinite(p->y[i + 1]));
        if (drawn)
            tv_html_format(html, "%s%.1f %.1f%s", pen_down ? "L" : "M", place(x, p->x[i], false, WIDTH),
                           place(y, p->y[i], true, HEIGHT), alone ? "h.01" : "");
        pen_down = drawn;
    }
    tv_html_raw(html, "\"/>");
}

/* Lines without length and with round ends: dots that stay round when the SVG is stretched. */
static void write_dots(tv_html *html, const tv_chart_line *line, const points *p, const axis *x,
                       const axis *y) {
    tv_html_format(html, "<path class=\"dots r%llu c%llu\" d=\"", (unsigned long long)line->run,
                   (unsigned long long)(line->color % TV_CHART_COLORS));
    for (uint64_t i = 0; i < p->count; i++)
        if (isfinite(p->y[i]) && (!y->logarithmic || p->y[i] > 0))
            tv_html_format(html, "M%.1f %.1fh.01", place(x, p->x[i], false, WIDTH),
                           place(y, p->y[i], true, HEIGHT));
    tv_html_raw(html, "\"/>");
}

static bool add_numbers(cJSON *object, const char *key, const double *values, uint64_t count) {
    cJSON *list = cJSON_AddArrayToObject(object, key);
    for (uint64_t i = 0; list && i < count; i++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.6g", values[i]);
        cJSON *item = isfinite(values[i]) ? cJSON_CreateRaw(digits) : cJSON_CreateNull();
        if (!cJSON_AddItemToArray(list, item))
            return false;
    }
    return list != NULL;
}

/* What the script needs to find the nearest point. */
static bool add_readout(cJSON *lines, const tv_chart_line *line, const points *p, bool trend) {
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(lines, object))
        return false;
    char *name = tv_format(trend ? "%s, trend" : "%s", line->label);
    bool named = name && tv_json_set_string(object, "name", name);
    free(name);
    return named && tv_json_set_number(object, "run", (double)line->run) &&
           tv_json_set_number(object, "color", (double)(line->color % TV_CHART_COLORS)) &&
           add_numbers(object, "x", p->x, p->count) && add_numbers(object, "y", p->y, p->count);
}

static bool write_line(tv_html *html, const tv_chart_line *line, bool exact, const axis *x, const axis *y,
                       cJSON *lines) {
    points drawn = {0}, mean = {0};
    bool smoothed = !line->sparse && !exact && line->count >= TV_CHART_SMOOTH_FROM;
    bool done = thin(line, &drawn) && add_readout(lines, line, &drawn, false) &&
                (!smoothed || (smooth(line, &mean) && add_readout(lines, line, &mean, true)));
    if (done) {
        write_path(html, smoothed ? "raw" : line->sparse ? "sparse" : "line", line, &drawn, x, y);
        if (smoothed)
            write_path(html, "line", line, &mean, x, y);
        if (line->sparse)
            write_dots(html, line, &drawn, x, y);
    }
    free_points(&drawn);
    free_points(&mean);
    return done;
}

static void write_grid(tv_html *html, const axis *x, const axis *y) {
    tv_html_raw(html, "<path class=\"grid\" d=\"");
    for (uint64_t i = 0; i < y->tick_count; i++)
        tv_html_format(html, "M0 %.1fH%d", HEIGHT * (1 - (y->ticks[i] - y->low) / (y->high - y->low)), WIDTH);
    for (uint64_t i = 0; i < x->tick_count; i++)
        tv_html_format(html, "M%.1f 0V%d", WIDTH * (x->ticks[i] - x->low) / (x->high - x->low), HEIGHT);
    tv_html_raw(html, "\"/>");
}

static void write_labels(tv_html *html, const axis *x, const axis *y) {
    char text[40];
    for (uint64_t i = 0; i < y->tick_count; i++) {
        format_tick(y, y->ticks[i], text);
        tv_html_format(html, "<span class=\"y\" style=\"top:%.2f%%\">%s</span>",
                       100 * (1 - (y->ticks[i] - y->low) / (y->high - y->low)), text);
    }
    for (uint64_t i = 0; i < x->tick_count; i++) {
        format_tick(x, x->ticks[i], text);
        tv_html_format(html, "<span class=\"x\" style=\"left:%.2f%%\">%s</span>",
                       100 * (x->ticks[i] - x->low) / (x->high - x->low), text);
    }
}

static void write_reference(tv_html *html, const tv_chart *chart, const axis *y, bool label) {
    if (!isfinite(chart->reference) || (y->logarithmic && !(chart->reference > 0)))
        return;
    double share = place(y, chart->reference, true, 1);
    if (!(share >= 0 && share <= 1))
        return;
    if (label) {
        tv_html_format(html, "<span class=\"reflabel\" style=\"top:%.2f%%\">", 100 * share);
        tv_html_text(html, chart->reference_label);
        tv_html_raw(html, "</span>");
    } else {
        tv_html_format(html, "<path class=\"reference\" d=\"M0 %.1fH%d\"/>", HEIGHT * share, WIDTH);
    }
}

/* Numbers of one run are told apart by colour, which nothing else on the page explains; the first line of
 * each colour names it. */
static void write_keys(tv_html *html, const tv_chart *chart) {
    bool several = false;
    for (uint64_t i = 0; i < chart->line_count; i++) {
        if (chart->lines[i].run != chart->lines[0].run)
            return;
        several = several || chart->lines[i].color != chart->lines[0].color;
    }
    if (!several)
        return;
    tv_html_raw(html, "<div class=\"keys\">");
    for (uint64_t i = 0; i < chart->line_count; i++) {
        bool before = false;
        for (uint64_t j = 0; j < i; j++)
            before = before || chart->lines[j].color == chart->lines[i].color;
        if (before)
            continue;
        tv_html_format(html, "<span><span class=\"key c%llu\"></span>",
                       (unsigned long long)(chart->lines[i].color % TV_CHART_COLORS));
        tv_html_text(html, chart->lines[i].label);
        tv_html_raw(html, "</span>");
    }
    tv_html_raw(html, "</div>");
}

bool tv_chart_write(tv_html *html, const tv_chart *chart) {
    axis x, y;
    if (!fit_axes(chart, &x, &y))
        return false;
    cJSON *readout = cJSON_CreateObject();
    cJSON *lines = readout ? cJSON_AddArrayToObject(readout, "lines") : NULL;
    const char *x_name = chart->x_name ? chart->x_name : "step";
    bool built = lines && tv_json_set_string(readout, "xName", x_name) &&
                 tv_json_set_number(readout, "xLow", x.low) && tv_json_set_number(readout, "xHigh", x.high) &&
                 tv_json_set_number(readout, "yLow", y.low) && tv_json_set_number(readout, "yHigh", y.high) &&
                 tv_json_set_bool(readout, "log", y.logarithmic);
    tv_html_format(html, "<figure class=\"chart%s\" id=\"chart-", chart->wide ? " wide" : "");
    tv_html_text(html, chart->id);
    tv_html_raw(html, "\"><figcaption><h3>");
    tv_html_text(html, chart->title);
    tv_html_raw(html, "</h3><span class=\"unit\">");
    tv_html_text(html, chart->unit);
    tv_html_raw(html, !y.logarithmic ? "" : chart->unit[0] ? ", logarithmic" : "logarithmic");
    tv_html_raw(html, "</span></figcaption>");
    write_keys(html, chart);
    tv_html_raw(html, "<div class=\"plot\"><svg viewBox=\"0 0 1000 400\" "
                      "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    tv_html_text(html, chart->title);
    tv_html_raw(html, " by ");
    tv_html_text(html, x_name);
    tv_html_raw(html, "\">");
    write_grid(html, &x, &y);
    write_reference(html, chart, &y, false);
    for (uint64_t i = 0; i < chart->line_count && built; i++)
        built = write_line(html, &chart->lines[i], chart->exact, &x, &y, lines);
    tv_html_raw(html, "</svg>");
    write_labels(html, &x, &y);
    write_reference(html, chart, &y, true);
    tv_html_raw(html, "<div class=\"cursor\" hidden></div><div class=\"readout\" hidden></div></div>"
                      "<div class=\"xname\">");
    tv_html_text(html, x_name);
    tv_html_raw(html, "</div><script type=\"application/json\">");
    if (built)
        tv_html_json(html, readout);
    tv_html_raw(html, "</script></figure>\n");
    html->failed = html->failed || !built;
    cJSON_Delete(readout);
    return true;
}
