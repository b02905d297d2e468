/* trivium report: runs as one HTML page, written or served. */
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "report/follow.h"
#include "report/report.h"
#include "tools/commands.h"
#include "tools/options.h"

/* Serves the page until Ctrl-C, which is its usual end. */
static tv_status follow_runs(const tv_texts *runs, const char *pipeline, uint16_t port) {
    tv_report_follow *follow = NULL;
    tv_catch_interrupts();
    TV_RETURN_IF_FAILED(tv_report_follow_start(runs->items, runs->count, pipeline, port, &follow));
    tv_log_progress_end();
    printf("follow at %s\n", tv_report_follow_url(follow));
    tv_status status =
        fflush(stdout) == 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot write to standard output");
    tv_info("the page shows new steps by itself; Ctrl-C ends it, and the runs go on");
    while (status == TV_OK && !tv_interrupted())
        tv_sleep(0.1);
    tv_report_follow_stop(&follow);
    return status;
}

tv_status cmd_report(int argc, char **argv) {
    tv_texts runs = {0};
    const char *out = NULL, *pipeline = NULL;
    tv_common_options common = {0};
    bool follow = false, port_given = false;
    double port = 0;
    const tv_option options[] = {
        tv_opt_positionals("RUN", &runs,
                           "directories that training commands wrote: steps of one workflow, with those that "
                           "they began from, become its diagram; others are overlaid"),
        tv_opt_text("pipeline", "FILE", &pipeline,
                    "what ran around them, as samples/quickstart.sh describes it: the page opens with the "
                    "workflow, and each run gets its own part"),
        tv_opt_output(
            tv_opt_short('o', tv_opt_text("out", "FILE", &out, "the page to write (default: report.html)"))),
        tv_opt_flag("follow", &follow,
                    "serves the page to browsers of this machine while runs go on, in place of writing it"),
        tv_opt_given(&port_given,
                     tv_opt_number("port", "PORT", &port, 0, 65535,
                                   "of --follow (default: a free one, as 0; said when it starts)")),
    };
    const tv_command_line line = {
        .command = "report",
        .summary =
            "Writes one self-contained HTML page with the curves, samples, settings and files of one or "
            "more runs.",
        .notes =
            "examples:\n  trivium report runs/a runs/b --out report.html\n  trivium report runs/a --follow",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status = TV_OK;
    const char *page = out ? out : "report.html";
    if (follow && (out || common.json))
        status =
            tv_fail(TV_E_USAGE, "--follow serves the page and writes none, so --%s says nothing beside it",
                    out ? "out" : "json");
    else if (port_given && !follow)
        status = tv_fail(TV_E_USAGE, "--port is for --follow, which is not given");
    else if (follow)
        status = follow_runs(&runs, pipeline, (uint16_t)port);
    else
        status = tv_report_write(runs.items, runs.count, pipeline, page);
    if (status == TV_OK && common.json) {
        cJSON *result = cJSON_CreateObject();
        bool built = result && tv_json_set_string(result, "report", page) &&
                     tv_json_set_number(result, "runs", (double)runs.count);
        status = tv_print_result(result, built);
    } else if (status == TV_OK && !follow) {
        tv_info("wrote %s", page);
    }
    tv_texts_free(&runs);
    return status;
}
