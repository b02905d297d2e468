/* trivium rank: people, or a program, order the answers that a policy gave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "human/judge.h"
#include "human/terminal_ranker.h"
#include "human/web_ranker.h"
#include "tools/commands.h"
#include "tools/options.h"

/* "judge:CMD", the name given, or the user's; the caller frees. */
static char *name_annotator(const char *given, const char *judge) {
    const char *user = getenv("USER");
    if (given)
        return tv_format("%s", given);
    if (judge)
        return tv_format("judge:%s", judge);
    return tv_format("%s", user && user[0] ? user : "anonymous");
}

/* `text` as it may stand in a query; the caller frees. */
static char *percent_encoded(const char *text) {
    char *encoded = malloc(3 * strlen(text) + 1), *at = encoded;
    for (const char *c = text; encoded && *c; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z');
        at += plain ? snprintf(at, 2, "%c", *c) : snprintf(at, 4, "%%%02X", (unsigned)(unsigned char)*c);
    }
    if (encoded)
        *at = '\0';
    return encoded;
}

/* The address to open, with the name in it where one was given. */
static tv_status print_address(const tv_web_ranker *ranker, const char *annotator) {
    char *name = annotator ? percent_encoded(annotator) : NULL;
    if (annotator && !name)
        return tv_fail(TV_E_MEMORY, "out of host memory for an address");
    tv_log_progress_end();
    printf("rank at %s%s%s\n", tv_web_ranker_url(ranker), name ? "?annotator=" : "", name ? name : "");
    free(name);
    return fflush(stdout) == 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot write to standard output");
}

/* Serves the page until Ctrl-C, which is the usual end once every item is judged and an interruption before.
 */
static tv_status serve(tv_session *session, const tv_web_ranker_options *options, const char *annotator,
                       uint64_t *judged) {
    tv_web_ranker *ranker = NULL;
    uint64_t judged_items, items, before, judgments, shown = UINT64_MAX;
    tv_status status = TV_OK;
    tv_session_totals(session, &judged_items, &items, &before);
    TV_TRY(tv_web_ranker_start(options, &ranker));
    TV_TRY(print_address(ranker, annotator));
    tv_info("Ctrl-C ends it; every judgment is on the disk before the next item is shown");
    while (!tv_interrupted()) {
        tv_session_totals(session, &judged_items, &items, &judgments);
        if (judgments != shown)
            tv_log_progress("%llu of %llu items judged, %llu judgments%s", (unsigned long long)judged_items,
                            (unsigned long long)items, (unsigned long long)judgments,
                            judged_items == items ? "; Ctrl-C when everybody is done" : "");
        shown = judgments;
        tv_sleep(0.1);
    }
    tv_log_progress_end();
    const unsigned port = tv_web_ranker_port(ranker);
    tv_web_ranker_stop(&ranker);
    tv_session_totals(session, &judged_items, &items, &judgments);
    *judged = judgments - before;
    if (judged_items < items)
        status =
            tv_fail(TV_E_INTERRUPTED,
                    "stopped with %llu of %llu items judged; with --web --port %u pages that are open go on",
                    (unsigned long long)judged_items, (unsigned long long)items, port);
fail:
    tv_web_ranker_stop(&ranker);
    return status;
}

/* What the file holds now, and how to go on. Without an annotator it is about everybody. */
static tv_status conclude(tv_session *session, const char *annotator, const char *out, uint64_t judged,
                          bool json) {
    uint64_t items, judged_items, judgments, done, total;
    tv_session_totals(session, &judged_items, &items, &judgments);
    done = judged_items;
    total = items;
    if (annotator)
        tv_session_progress(session, annotator, &done, &total);
    tv_info("%s: %llu judgments, of %llu of %llu items; %llu are new%s", out, (unsigned long long)judgments,
            (unsigned long long)judged_items, (unsigned long long)items, (unsigned long long)judged,
            done < total ? "; the same command goes on from here" : "");
    if (!json)
        return TV_OK;
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_string(result, "rankings", out) &&
                 (!annotator || tv_json_set_string(result, "annotator", annotator)) &&
                 tv_json_set_number(result, "judged", (double)judged) &&
                 tv_json_set_number(result, "judgments", (double)judgments) &&
                 tv_json_set_number(result, "judged_items", (double)judged_items) &&
                 tv_json_set_number(result, "items", (double)items) &&
                 tv_json_set_number(result, "left", (double)(total - done));
    tv_status status =
        built ? tv_print_json(result) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    cJSON_Delete(result);
    return status;
}

tv_status cmd_rank(int argc, char **argv) {
    const char *candidates = NULL, *out = "rankings.jsonl", *annotator_given = NULL, *judge = NULL;
    double overlap = TV_DEFAULT_OVERLAP, repeats = TV_DEFAULT_REPEATS;
    bool repeats_given = false, web = false, port_given = false;
    uint64_t port = 0;
    tv_common_options common = {.seed = 1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(tv_opt_text(
            "candidates", "FILE", &candidates, "prompts with 2 to 9 answers each, from trivium sample"))),
        tv_opt_output(
            tv_opt_short('o', tv_opt_text("out", "FILE", &out, "judgments are added to it, one line each"))),
        tv_opt_text("annotator", "NAME", &annotator_given,
                    "who judges; default: the user's name, judge:CMD with --judge; --web asks for it"),
        tv_opt_text("judge", "CMD", &judge,
                    "a program that judges: one item line in, one {\"id\", \"ranking\"} line out"),
        tv_opt_flag("web", &web, "serves a page to rank on, to browsers of this machine only"),
        tv_opt_given(&port_given, tv_opt_uint("port", "P", &port, 0, 65535,
                                              "of --web (default: a free one, as 0; said when it starts)")),
        tv_opt_number("overlap", "SHARE", &overlap, 0, 1, "share of the items that several annotators see"),
        tv_opt_given(
            &repeats_given,
            tv_opt_number("repeats", "SHARE", &repeats, 0, 1,
                          "share that comes back once with the order flipped (default 0.03 for people, "
                          "0 for --judge)")),
    };
    const tv_command_line line = {
        .command = "rank",
        .summary = "Shows answers side by side, unlabelled and in an order drawn by --seed, and records how "
                   "they are "
                   "ranked: each judgment is on the disk before the next item is shown, and the same command "
                   "goes on "
                   "where it was left.",
        .notes = "keys in the terminal (the page shows its own with ?):\n"
                 "  b>a=c>d   best first, = for equally good; with 1 to 5 behind it: how sure\n"
                 "  s skip, x all bad, u undo, c TEXT comment, q quit\n\n"
                 "example:\n"
                 "  trivium rank --candidates candidates.jsonl --out rankings.jsonl --annotator kim\n"
                 "  trivium rank --candidates candidates.jsonl --out rankings.jsonl --web --port 8080",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    if (web && judge)
        return tv_fail(TV_E_USAGE, "--web is for people, --judge for a program: give one of them");
    if (port_given && !web)
        return tv_fail(TV_E_USAGE, "--port is for --web, which is not given");
    if (judge && !repeats_given)
        repeats = 0;
    tv_session *session = NULL;
    uint64_t judged = 0;
    tv_status status, result;
    char *reason = NULL;
    char *annotator = name_annotator(annotator_given, judge);
    if (!annotator) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a name");
        goto fail;
    }
    tv_catch_interrupts();
    const tv_session_options settings = {
        .candidates = candidates, .out = out, .seed = common.seed, .overlap = overlap, .repeats = repeats};
    TV_TRY(tv_session_open(&settings, &session));
    if (judge) {
        result = tv_judge_run(session, judge, annotator, &judged);
    } else if (web) {
        const tv_web_ranker_options page = {.session = session, .port = (uint16_t)port, .title = candidates};
        result = serve(session, &page, annotator_given, &judged);
    } else {
        int columns = tv_terminal_columns();
        const tv_terminal_ranker_options terminal = {.annotator = annotator,
                                                     .in = stdin,
                                                     .out = stdout,
                                                     .columns = columns > 0 ? (uint32_t)columns : 0};
        result = tv_terminal_ranker_run(session, &terminal, &judged);
    }
    if (result != TV_OK && tv_session_is_broken(session)) {
        status = result;
        goto fail;
    }
    reason = tv_format("%s", tv_last_error());
    TV_TRY(tv_session_check(session));
    if (result == TV_OK)
        TV_TRY(conclude(session, web ? NULL : annotator, out, judged, common.json));
    else
        status =
            tv_fail(result,
                    "%s; %s has what was judged before it (%llu in this run), and the same command goes on "
                    "from there",
                    reason ? reason : "out of host memory", out, (unsigned long long)judged);
fail:
    tv_session_close(&session);
    free(annotator);
    free(reason);
    return status;
}
