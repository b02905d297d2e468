/* trivium report: runs as one HTML page. */
#include "base/json.h"
#include "base/log.h"
#include "report/report.h"
#include "tools/commands.h"
#include "tools/options.h"

tv_status cmd_report(int argc, char **argv) {
    tv_texts runs = {0};
    const char *out = "report.html", *pipeline = NULL;
    tv_common_options common = {0};
    const tv_option options[] = {
        tv_opt_positionals("RUN", &runs, "directories that training commands wrote; several are overlaid"),
        tv_opt_text("pipeline", "FILE", &pipeline,
                    "what ran around them, as samples/quickstart.sh describes it: the page opens with the "
                    "workflow, and each run gets its own part"),
        tv_opt_output(tv_opt_short('o', tv_opt_text("out", "FILE", &out, "the page to write"))),
    };
    const tv_command_line line = {
        .command = "report",
        .summary =
            "Writes one self-contained HTML page with the curves, samples, settings and files of one or "
            "more runs.",
        .notes = "example:\n  trivium report runs/a runs/b --out report.html",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status = tv_report_write(runs.items, runs.count, pipeline, out);
    if (status == TV_OK && common.json) {
        cJSON *result = cJSON_CreateObject();
        bool built = result && tv_json_set_string(result, "report", out) &&
                     tv_json_set_number(result, "runs", (double)runs.count);
        status = built ? tv_print_json(result) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
        cJSON_Delete(result);
    } else if (status == TV_OK) {
        tv_info("wrote %s", out);
    }
    tv_texts_free(&runs);
    return status;
}
