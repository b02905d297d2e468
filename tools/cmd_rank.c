/* trivium rank: people, or a program, order the answers that a policy gave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/sockets.h"
#include "base/visible.h"
#include "human/judge.h"
#include "human/markdown.h"
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

/* Whom each link is for, and the link; the organiser's comes last. */
static tv_status print_links(const tv_web_ranker *ranker) {
    const tv_links *links = tv_web_ranker_links(ranker);
    char name[TV_MAX_ANNOTATOR_BYTES];
    tv_log_progress_end();
    for (uint64_t i = 1; i <= tv_links_count(links); i++) {
        const tv_link *link = tv_links_at(links, i % tv_links_count(links));
        if (link->role == TV_LINK_ANNOTATOR)
            printf("%s ranks at ", tv_visible_line(link->name, name, sizeof name));
        else
            printf(link->role == TV_LINK_ANYONE ? "rank at " : "follow at ");
        printf("%s#%s\n", tv_web_ranker_url(ranker), link->secret);
    }
    return fflush(stdout) == 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot write to standard output");
}

/* What is said of the links where they leave this machine. */
static void warn_of_the_network(const tv_web_ranker_options *options) {
    bool far = options->listen && !tv_address_is_loopback(options->listen);
    if (far && !(options->url && strncmp(options->url, "https://", 8) == 0))
        tv_warn(
            "links, answers and judgments travel unencrypted to %s; docs/ranking.md shows a proxy with TLS",
            options->url ? options->url : options->listen);
}

static void count_held(void *context, const tv_session_person *person) {
    *(uint64_t *)context += person->held;
}

/* Whether --until is reached: so large a share has a judgment, and nobody is about to give another. Whoever
 * has an item before them gets a minute from the last judgment on; pages learn that nothing is left. */
static bool is_enough(tv_session *session, double until, double silence) {
    uint64_t judged_items, items, held = 0;
    tv_session_totals(session, &judged_items, &items, NULL);
    if (!((double)judged_items >= until * (double)items) || silence < 1)
        return false;
    tv_session_people(session, count_held, &held);
    return held == 0 || silence >= 60;
}

/* Serves the page until Ctrl-C, which is the usual end once every item is judged and an interruption before;
 * or until enough is judged, where `until` is a share. */
static tv_status serve(tv_session *session, const tv_web_ranker_options *options, double until,
                       uint64_t *judged) {
    tv_web_ranker *ranker = NULL;
    uint64_t judged_items, items, before, judgments, shown = UINT64_MAX;
    double last = tv_seconds();
    bool enough = false;
    tv_status status = TV_OK;
    tv_session_totals(session, &judged_items, &items, &before);
    TV_TRY(tv_web_ranker_start(options, &ranker));
    TV_TRY(print_links(ranker));
    warn_of_the_network(options);
    if (until >= 0)
        tv_info("ends by itself once %g %% of the items are judged; every judgment is on the disk before the "
                "next item is shown",
                100 * until);
    else
        tv_info("Ctrl-C ends it; every judgment is on the disk before the next item is shown");
    while (!tv_interrupted() && !enough) {
        tv_session_totals(session, &judged_items, &items, &judgments);
        if (judgments != shown)
            tv_log_progress("%llu of %llu items judged, %llu judgments%s", (unsigned long long)judged_items,
                            (unsigned long long)items, (unsigned long long)judgments,
                            judged_items == items && until < 0 ? "; Ctrl-C when everybody is done" : "");
        if (judgments != shown)
            last = tv_seconds();
        shown = judgments;
        enough = until >= 0 && is_enough(session, until, tv_seconds() - last);
        tv_sleep(0.1);
    }
    tv_log_progress_end();
    const unsigned port = tv_web_ranker_port(ranker);
    tv_web_ranker_stop(&ranker);
    tv_session_totals(session, &judged_items, &items, &judgments);
    *judged = judgments - before;
    if (judged_items < items && !enough)
        status =
            tv_fail(TV_E_INTERRUPTED,
                    "stopped with %llu of %llu items judged; with --web --port %u pages that are open go on",
                    (unsigned long long)judged_items, (unsigned long long)items, port);
done:
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
    return tv_print_result(result, built);
}

static tv_status read_guidelines(const char *path, char **text, uint64_t *size) {
    TV_RETURN_IF_FAILED(tv_read_file(path, text, size));
    if (*size > TV_MARKDOWN_LIMIT)
        return tv_fail(TV_E_USAGE,
                       "%s is %llu bytes long; guidelines are read beside each item, so at most %d", path,
                       (unsigned long long)*size, TV_MARKDOWN_LIMIT);
    return TV_OK;
}

/* As the command line has it. */
typedef struct rank_options {
    const char *candidates, *out, *judge;
    const char *listen, *url, *guidelines, *links; /* of --web */
    double away, until;
    uint64_t port;
    bool web, page_given; /* page_given: something that belongs to --web */
    double overlap, repeats;
    bool repeats_given;
    tv_texts annotators;
    tv_common_options common;
} rank_options;

/* What belongs to a page belongs to --web; who is far away gets a link with their name. */
static tv_status check_choices(const rank_options *given) {
    if (given->web && given->judge)
        return tv_fail(TV_E_USAGE, "--web is for people, --judge for a program: give one of them");
    if (given->page_given && !given->web)
        return tv_fail(TV_E_USAGE, "--port, --guidelines, --listen, --url, --away, --until and --links are "
                                   "for --web, which is not given");
    if (!given->web && given->annotators.count > 1)
        return tv_fail(TV_E_USAGE, "several annotators at once need --web; without it name one");
    if ((given->listen || given->url) && given->annotators.count == 0)
        return tv_fail(TV_E_USAGE,
                       "people at other machines get a link each: name them with --annotator NAME ...");
    return TV_OK;
}

/* By a program, on a page, or by whoever sits at the terminal. */
static tv_status judge_all(tv_session *session, const rank_options *given, const char *annotator,
                           const tv_web_ranker_options *page, uint64_t *judged) {
    if (given->judge)
        return tv_judge_run(session, given->judge, annotator, judged);
    if (given->web)
        return serve(session, page, given->until, judged);
    int columns = tv_terminal_columns();
    const tv_terminal_ranker_options terminal = {
        .annotator = annotator, .in = stdin, .out = stdout, .columns = columns > 0 ? (uint32_t)columns : 0};
    return tv_terminal_ranker_run(session, &terminal, judged);
}

/* `page` lacks the session alone. */
static tv_status run_session(const rank_options *given, const char *annotator, tv_web_ranker_options page) {
    tv_status status, result;
    uint64_t judged = 0;
    char *reason = NULL;
    tv_session *session = NULL;
    const tv_session_options settings = {.candidates = given->candidates,
                                         .out = given->out,
                                         .seed = given->common.seed,
                                         .overlap = given->overlap,
                                         .repeats =
                                             given->judge && !given->repeats_given ? 0 : given->repeats,
                                         .away_seconds = given->web ? 60 * given->away : 0};
    tv_catch_interrupts();
    TV_RETURN_IF_FAILED(tv_session_open(&settings, &session));
    page.session = session;
    result = judge_all(session, given, annotator, &page, &judged);
    if (result != TV_OK && tv_session_is_broken(session)) {
        status = result;
        goto done;
    }
    reason = tv_format("%s", tv_last_error());
    TV_TRY(tv_session_check(session));
    if (result == TV_OK)
        TV_TRY(conclude(session, given->web ? NULL : annotator, given->out, judged, given->common.json));
    else
        status = tv_fail(result,
                         "%s; %s has what was judged before it (%llu in this run), and the same command goes "
                         "on from there",
                         reason ? reason : "out of host memory", given->out, (unsigned long long)judged);
done:
    tv_session_close(&session);
    free(reason);
    return status;
}

static tv_status rank(const rank_options *given) {
    TV_RETURN_IF_FAILED(check_choices(given));
    char *annotator =
             name_annotator(given->annotators.count ? given->annotators.items[0] : NULL, given->judge),
         *links = given->links ? tv_format("%s", given->links) : tv_format("%s.links", given->out),
         *rules = NULL;
    uint64_t rules_size = 0;
    tv_status status = annotator && links ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a name");
    if (status == TV_OK && given->guidelines)
        status = read_guidelines(given->guidelines, &rules, &rules_size);
    if (status == TV_OK)
        status = run_session(given, annotator,
                             (tv_web_ranker_options){.port = (uint16_t)given->port,
                                                     .title = given->candidates,
                                                     .guidelines = {rules, rules_size},
                                                     .links = links,
                                                     .annotators = given->annotators.items,
                                                     .annotator_count = given->annotators.count,
                                                     .listen = given->listen,
                                                     .url = given->url});
    free(annotator);
    free(links);
    free(rules);
    return status;
}

tv_status cmd_rank(int argc, char **argv) {
    rank_options given = {.out = "rankings.jsonl",
                          .overlap = TV_DEFAULT_OVERLAP,
                          .repeats = TV_DEFAULT_REPEATS,
                          .away = 15,
                          .until = -1,
                          .common = {.seed = 1}};
    const tv_option options[] = {
        tv_opt_required(
            tv_opt_existing(tv_opt_text("candidates", "FILE", &given.candidates,
                                        "prompts with 2 to 16 answers each, from trivium sample"))),
        tv_opt_output(tv_opt_short(
            'o', tv_opt_text("out", "FILE", &given.out, "judgments are added to it, one line each"))),
        tv_opt_list("annotator", "NAME", &given.annotators,
                    "who judges (default: the user's name; judge:CMD with --judge). With --web several: each "
                    "gets a link; without one the page asks for a name"),
        tv_opt_text("judge", "CMD", &given.judge,
                    "a program that judges: one item line in, one {\"id\", \"ranking\"} line out"),
        tv_opt_flag("web", &given.web, "serves a page to rank on, to browsers of this machine"),
        tv_opt_given(&given.page_given,
                     tv_opt_uint("port", "P", &given.port, 0, 65535,
                                 "of --web (default: a free one, as 0; said when it starts)")),
        tv_opt_given(&given.page_given, tv_opt_existing(tv_opt_text(
                                            "guidelines", "FILE", &given.guidelines,
                                            "of --web: what the page shows beside each item, as Markdown"))),
        tv_opt_given(&given.page_given,
                     tv_opt_text("listen", "ADDR", &given.listen,
                                 "of --web: an address of this machine that others can reach, "
                                 "instead of the loopback ones; 0.0.0.0 is all of them")),
        tv_opt_given(&given.page_given,
                     tv_opt_text("url", "URL", &given.url,
                                 "of --web: where people reach the page, such as a proxy with TLS "
                                 "that leads here; the links begin with it")),
        tv_opt_given(&given.page_given,
                     tv_opt_number("away", "MINUTES", &given.away, 0.01, 1e6,
                                   "of --web: who is silent for so long gives back the item before them when "
                                   "others have nothing else left (default: 15)")),
        tv_opt_given(
            &given.page_given,
            tv_opt_number("until", "SHARE", &given.until, 0, 1,
                          "of --web: end by itself once this share of the items has a judgment; 1: all "
                          "(default: Ctrl-C ends it)")),
        tv_opt_given(&given.page_given,
                     tv_opt_text("links", "FILE", &given.links,
                                 "of --web: where links are kept (default: --out with .links), so that "
                                 "they hold for other candidates too")),
        tv_opt_number("overlap", "SHARE", &given.overlap, 0, 1,
                      "share of the items that several annotators see"),
        tv_opt_given(
            &given.repeats_given,
            tv_opt_number("repeats", "SHARE", &given.repeats, 0, 1,
                          "share that comes back once with the order flipped (default 0.03 for people, "
                          "0 for --judge)")),
    };
    const tv_command_line line = {
        .command = "rank",
        .summary = "Shows answers side by side, unlabelled and in an order drawn by --seed, and records how "
                   "they are ranked: each judgment is on the disk before the next item is shown, and the "
                   "same command goes on where it was left.",
        .notes = "keys in the terminal (the page shows its own with ?):\n"
                 "  b>a=c>d   best first, = for equally good; with 1 to 5 behind it: how sure\n"
                 "  s skip, x all bad, u undo, c TEXT comment, q quit\n\n"
                 "examples:\n"
                 "  trivium rank --candidates candidates.jsonl --out rankings.jsonl --annotator kim\n"
                 "  trivium rank --candidates candidates.jsonl --out rankings.jsonl --web --port 8080\n"
                 "  trivium rank --candidates candidates.jsonl --web --port 8080 --annotator kim lee \\\n"
                 "      --url https://rank.example.org/",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &given.common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status = rank(&given);
    tv_texts_free(&given.annotators);
    return status;
}
