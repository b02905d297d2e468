/* One chart of the report: inline SVG for the lines, HTML for the labels.
 *
 * Promise: readable at any width (lines scale, letters do not), in light and dark, and without scripts; the
 * points that were drawn stand beside the SVG as JSON for the hover readout.
 */
#ifndef TV_REPORT_CHART_H
#define TV_REPORT_CHART_H

#include <stdbool.h>
#include <stdint.h>

#include "report/html.h"

typedef struct tv_chart_line {
    const char *label;   /* for the readout: "run-a train" */
    uint64_t run;        /* hides with the run */
    uint64_t color;      /* repeats after TV_CHART_COLORS */
    bool sparse;         /* few points, such as evaluations: dashed, with dots */
    const double *x, *y; /* NaN in y: no point */
    uint64_t count;
} tv_chart_line;

typedef struct tv_chart {
    const char *id, *title, *unit;
    const char *x_name; /* NULL: "step" */
    bool exact;         /* no noise to smooth, as in a learning rate */
    bool from_zero;     /* the axis starts at 0 */
    bool wide;          /* spans the page */
    double reference;   /* a horizontal line with a label; NaN: none */
    const char *reference_label;
    const tv_chart_line *lines;
    uint64_t line_count;
} tv_chart;

/* Writes nothing when no line has a finite point, and returns false. The axis is logarithmic where positive
 * values span more than a factor of 30. */
bool tv_chart_write(tv_html *html, const tv_chart *chart);

/* Lines of at least this many points are noisy enough to get a trend beside them. */
enum { TV_CHART_SMOOTH_FROM = 120 };

/* Colours of runs repeat after this many. */
enum { TV_CHART_COLORS = 8 };

#endif
