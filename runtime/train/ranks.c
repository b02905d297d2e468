/* Ranks over the module of MPI: see ranks.h. */
#include "train/ranks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/module.h"
#include "base/os.h"
#include "train/heart.h"
#include "train/mpi/calls.h"

/* Asked for this often, at first and at last: a step is longer than either, and a sleeping rank costs
 * nothing. */
static const double first_pause = 20e-6, last_pause = 1e-3;
static const double default_timeout = 20;
static const uint64_t transfer_bytes = UINT64_C(1) << 30;
static const uint64_t piece_bytes = UINT64_C(1) << 18; /* of what is collected, from each rank at once */
enum { SHOUTED = 1 };                                  /* the exit code of an end that a rank brings about */

struct tv_ranks {
    const tv_mpi_calls *calls;
    tv_mpi_place place;
    char (*hosts)[TV_MPI_HOST_BYTES];
    tv_heart *heart;
    bool agreed; /* the failure that is on its way is everybody's */
    double waited;
    double patience;   /* seconds of a rank that has failed for the others */
    int32_t *statuses; /* (ranks) of the last agreement */
    struct {           /* for tests */
        double delay;  /* seconds, TRIVIUM_INJECT_DELAY in ms: what a far network adds to each transfer */
        double slower; /* seconds, TRIVIUM_INJECT_SLOWNESS in ms: what a slower rank comes later to each */
        uint64_t
            deadlock; /* TRIVIUM_INJECT_DEADLOCK: transfers before one that nobody else enters; 0: none */
    } injected;
    struct {
        tv_rank_answer answer; /* NULL: withdrawn */
        void *context;
    } offers[TV_MOST_OFFERS];
    uint32_t offer_count;
    bool asking;
    struct {
        uint64_t posted, read, expected; /* by this rank; expected: to be read, since the ranks are there */
        tv_rank_reader reader;           /* while they are delivered */
        void *context;
        tv_status status; /* of it */
    } letters;
};

/* ---- the launcher ---- */

static uint32_t number_of(const char *variable) {
    const char *text = getenv(variable);
    long value = text ? strtol(text, NULL, 10) : 0;
    return value > 0 && value < INT32_MAX ? (uint32_t)value : 0;
}

tv_launcher tv_launcher_of_environment(void) {
    tv_launcher found = {0};
    if (getenv("OMPI_COMM_WORLD_SIZE"))
        found = (tv_launcher){"Open MPI's mpirun", number_of("OMPI_COMM_WORLD_SIZE"),
                              number_of("OMPI_COMM_WORLD_RANK")};
    else if (getenv("PMI_SIZE"))
        found = (tv_launcher){"MPICH's mpirun", number_of("PMI_SIZE"), number_of("PMI_RANK")};
    else if (getenv("PMIX_RANK"))
        found =
            (tv_launcher){"a launcher of PMIx", number_of("SLURM_STEP_NUM_TASKS"), number_of("PMIX_RANK")};
    if (found.count == 1)
        found.name = NULL;
    return found;
}

tv_status tv_launcher_fail(tv_status status) {
    if (tv_launcher_of_environment().own == 0)
        return status;
    tv_sleep(1);
    return tv_fail(status, "%s", "");
}

/* ---- waiting ---- */

static bool transfer_has_ended(tv_ranks *ranks) {
    return ranks->calls->has_ended();
}

/* Whether it has ended within so many seconds. */
static bool wait_for(tv_ranks *ranks, bool (*has_ended)(tv_ranks *ranks), double seconds) {
    const double begin = tv_seconds();
    double pause = first_pause;
    bool ended;
    if (ranks->injected.delay > 0)
        tv_sleep(ranks->injected.delay);
    while (!(ended = !tv_heart_lost(ranks->heart) && has_ended(ranks)) && tv_seconds() - begin < seconds) {
        tv_sleep(pause);
        pause = pause < last_pause ? 1.3 * pause : last_pause;
    }
    ranks->waited += tv_seconds() - begin;
    return ended;
}

static void wait_for_end(tv_ranks *ranks) {
    (void)wait_for(ranks, transfer_has_ended, HUGE_VAL);
}

/* A transfer of another kind than that of the others, which never ends. */
static void enter_alone(tv_ranks *ranks, int32_t kind) {
    static char byte;
    char *all = calloc((size_t)ranks->place.count, 1);
    const tv_mpi_bytes other = {(ranks->place.own + 1) % ranks->place.count, 1, &byte};
    const tv_transfer_kind wrong = kind == TV_TRANSFER_EXCHANGE ? TV_TRANSFER_GATHER : TV_TRANSFER_EXCHANGE;
    tv_heart_enter(ranks->heart, &(tv_rank_at){.kind = (int32_t)wrong, .bytes = 1, .moves = 1}, true);
    if (wrong == TV_TRANSFER_EXCHANGE)
        (void)ranks->calls->begin_exchange(&other, 1, NULL, 0);
    else if (all)
        ranks->calls->begin_gather(&byte, all, 1);
    wait_for_end(ranks);
    free(all);
}

static void enter(tv_ranks *ranks, const tv_rank_at *at, bool waits) {
    if (ranks->injected.slower > 0)
        tv_sleep(ranks->injected.slower);
    if (ranks->injected.deadlock > 0 && --ranks->injected.deadlock == 0)
        enter_alone(ranks, at->kind);
    tv_heart_enter(ranks->heart, at, waits);
}

static void end_alone(tv_ranks *ranks, tv_status status, const char *who) {
    (void)tv_fail_context(status, "rank %d on %s", ranks->place.own, ranks->place.host);
    (void)tv_fail_advice(status, status, "all ranks end");
    tv_log_failure(who);
    ranks->calls->abort(SHOUTED);
}

/* Of those that fail alike one speaks. One that fails alone may have done so while the others wait for it
 * elsewhere: it waits for them for `seconds`, and then speaks. */
static void gather_statuses(tv_ranks *ranks, tv_status own, const char *who, double seconds) {
    const int32_t mine = (int32_t)own;
    enter(ranks, &(tv_rank_at){.kind = TV_TRANSFER_AGREEMENT, .bytes = sizeof mine}, true);
    ranks->calls->begin_agreement(&mine, ranks->statuses, (int)sizeof mine);
    if (!wait_for(ranks, transfer_has_ended, seconds))
        end_alone(ranks, own, who);
    tv_heart_leave(ranks->heart);
}

/* ---- life ---- */

static tv_status check_place(const tv_launcher *launcher, const tv_mpi_place *place) {
    if (launcher->count && (uint32_t)place->count != launcher->count)
        return tv_fail(
            TV_E_USAGE,
            "%s started %u ranks, and %s, which trivium was built with, sees %d: start it with the "
            "mpirun of that MPI, or build trivium with the other one (-DMPI_C_COMPILER=...)",
            launcher->name, launcher->count, place->library, place->count);
    if (!place->threads)
        return tv_fail(TV_E_USAGE, "%s has no MPI_THREAD_MULTIPLE, which watching the ranks needs",
                       place->library);
    return TV_OK;
}

void tv_ranks_hush(const tv_ranks *ranks) {
    if (!tv_ranks_leads(ranks))
        tv_log_set_level(TV_LOG_ERROR);
}

/* Before anything else is handed round, since another program may hand round other things. */
static tv_status compare_programs(tv_ranks *ranks) {
    char *path = NULL, text[TV_HASH_TEXT] = "";
    tv_likeness program = {.what = "program"};
    tv_status status = tv_program_path(&path);
    if (status == TV_OK)
        status = tv_hash_file(path, text);
    free(path);
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, status));
    program.hash = tv_hash_bytes(text, sizeof text, 0);
    return tv_ranks_expect_alike(ranks, &program, 1);
}

tv_status tv_ranks_start(tv_ranks **out) {
    *out = NULL;
    const tv_launcher launcher = tv_launcher_of_environment();
    if (!launcher.name)
        return TV_OK;
    const void *object;
    tv_status status = tv_module_open("trivium-mpi.so", "../lib/trivium", TV_MPI_CALLS_SYMBOL, &object);
    if (status != TV_OK)
        return tv_fail(
            status,
            "%s started %u of these, and this build of trivium has no MPI: start it alone, or build "
            "it where MPI is installed (%s)",
            launcher.name, launcher.count, tv_last_error());
    tv_ranks *ranks = calloc(1, sizeof *ranks);
    if (!ranks)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    ranks->calls = object;
    if (ranks->calls->version != TV_MPI_CALLS_VERSION) {
        free(ranks);
        return tv_fail(TV_E_USAGE,
                       "trivium-mpi.so is of another version than trivium; install both together");
    }
    ranks->calls->begin(&ranks->place);
    status = check_place(&launcher, &ranks->place);
    if (status != TV_OK || ranks->place.count == 1) {
        ranks->calls->end();
        free(ranks);
        return status;
    }
    const double timeout = number_of("TRIVIUM_RANK_TIMEOUT"), limit = timeout > 0 ? timeout : default_timeout;
    ranks->patience = limit / 4;
    ranks->injected.delay = 1e-3 * number_of("TRIVIUM_INJECT_DELAY");
    ranks->injected.slower = 1e-3 * number_of("TRIVIUM_INJECT_SLOWNESS");
    ranks->injected.deadlock = number_of("TRIVIUM_INJECT_DEADLOCK");
    ranks->hosts = calloc((size_t)ranks->place.count, sizeof *ranks->hosts);
    ranks->statuses = calloc((size_t)ranks->place.count, sizeof *ranks->statuses);
    if (!ranks->hosts || !ranks->statuses)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    if (status == TV_OK)
        status = tv_ranks_gather(ranks, ranks->place.host, sizeof ranks->place.host, ranks->hosts);
    if (status == TV_OK)
        status = tv_heart_start(ranks->calls, &ranks->place, ranks->hosts, limit, &ranks->heart);
    if (status != TV_OK) {
        tv_log_failure("trivium");
        ranks->calls->abort(SHOUTED);
    }
    tv_ranks_hush(ranks);
    *out = ranks;
    status = compare_programs(ranks);
    return status == TV_OK ? TV_OK : tv_ranks_end(out, status, "trivium");
}

static tv_status throw_away(void *context, const void *letter, uint64_t bytes) {
    (void)context, (void)letter, (void)bytes;
    return TV_OK;
}

/* By all. MPI wants them read, also those of a drawing that all have given up. */
static void throw_letters_away(tv_ranks *ranks) {
    uint64_t *posted = calloc((size_t)ranks->place.count, sizeof *posted), sum = 0;
    if (!posted) {
        ranks->calls->abort(SHOUTED);
        return;
    }
    (void)tv_ranks_gather(ranks, &ranks->letters.posted, sizeof *posted, posted);
    for (int r = 0; r < ranks->place.count; r++)
        sum += posted[r];
    free(posted);
    (void)tv_ranks_deliver(ranks, sum - ranks->letters.expected, 0, throw_away, NULL);
}

/* Whoever is here waits for all, with a beating heart. */
static void leave(tv_ranks **handle) {
    tv_ranks *ranks = *handle;
    throw_letters_away(ranks);
    tv_heart_stop(&ranks->heart);
    ranks->calls->end();
    free(ranks->hosts);
    free(ranks->statuses);
    free(ranks);
    *handle = NULL;
}

tv_status tv_ranks_end(tv_ranks **handle, tv_status status, const char *who) {
    tv_ranks *ranks = *handle;
    if (!ranks)
        return status;
    /* An interrupt and numbers that are not finite come to all in the same step, or else the latter to one.
     */
    const bool alike = status == TV_OK || status == TV_E_INTERRUPTED || status == TV_E_NUMERIC;
    if (!alike && !ranks->agreed)
        end_alone(ranks, status, who);
    /* One that was stopped, and wakes up because all are ended, does not speak beside whoever ended them. */
    gather_statuses(ranks, status, who,
                    status == TV_E_NUMERIC && !ranks->agreed ? ranks->patience : HUGE_VAL);
    /* Before anybody leaves, since a launcher ends the others when the first one has left. What all know of
     * has its sentence on one of them, or on several. */
    const uint64_t own = tv_ranks_own(ranks), count = tv_ranks_count(ranks);
    const bool says = status != TV_OK && tv_last_error()[0];
    uint64_t speaker = own;
    (void)tv_ranks_least(ranks, says ? own : count, &speaker);
    if (says && speaker == own)
        tv_log_failure(who);
    if (status != TV_OK)
        (void)tv_fail(status, "%s", "");
    leave(handle);
    return status;
}

/* ---- facts ---- */

uint32_t tv_ranks_count(const tv_ranks *ranks) {
    return ranks ? (uint32_t)ranks->place.count : 1;
}

uint32_t tv_ranks_own(const tv_ranks *ranks) {
    return ranks ? (uint32_t)ranks->place.own : 0;
}

uint32_t tv_ranks_local(const tv_ranks *ranks) {
    return ranks ? (uint32_t)ranks->place.local : 0;
}

bool tv_ranks_leads(const tv_ranks *ranks) {
    return tv_ranks_own(ranks) == 0;
}

const char *tv_ranks_host(const tv_ranks *ranks, uint32_t rank) {
    return ranks ? ranks->hosts[rank] : "this machine";
}

double tv_ranks_waited(const tv_ranks *ranks) {
    return ranks ? ranks->waited : 0;
}

/* ---- transfers ---- */

tv_status tv_ranks_broadcast(tv_ranks *ranks, uint32_t root, void *data, uint64_t bytes) {
    for (uint64_t at = 0; ranks && at < bytes; at += transfer_bytes) {
        const uint64_t part = tv_min_u64(transfer_bytes, bytes - at);
        enter(ranks,
              &(tv_rank_at){.kind = TV_TRANSFER_BROADCAST,
                            .root = (int32_t)root,
                            .bytes = part,
                            .moves = part * tv_ranks_count(ranks)},
              true);
        ranks->calls->begin_broadcast((int)root, (char *)data + at, (int)part);
        wait_for_end(ranks);
        tv_heart_leave(ranks->heart);
    }
    return TV_OK;
}

tv_status tv_ranks_gather(tv_ranks *ranks, const void *own, uint64_t bytes, void *all) {
    if (!ranks) {
        memcpy(all, own, bytes);
        return TV_OK;
    }
    enter(ranks,
          &(tv_rank_at){.kind = TV_TRANSFER_GATHER, .bytes = bytes, .moves = bytes * tv_ranks_count(ranks)},
          true);
    ranks->calls->begin_gather(own, all, (int)bytes);
    wait_for_end(ranks);
    tv_heart_leave(ranks->heart);
    return TV_OK;
}

/* `ends` has the lengths of all. */
static tv_status collect_pieces(tv_ranks *ranks, const uint8_t *own, uint64_t bytes, uint8_t *all,
                                const uint64_t *ends, uint64_t longest) {
    const uint64_t count = tv_ranks_count(ranks), piece = tv_min_u64(longest, piece_bytes);
    uint8_t *mine = calloc(piece + 1, 1), *pieces = calloc(count, piece + 1);
    tv_status status = mine && pieces ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    for (uint64_t at = 0; at < longest && status == TV_OK; at += piece) {
        if (at < bytes)
            memcpy(mine, own + at, tv_min_u64(piece, bytes - at));
        status = tv_ranks_gather(ranks, mine, piece, pieces);
        for (uint64_t r = 0; r < count && status == TV_OK; r++) {
            const uint64_t first = r ? ends[r - 1] : 0, length = ends[r] - first;
            if (at < length)
                memcpy(all + first + at, pieces + r * piece, tv_min_u64(piece, length - at));
        }
    }
    free(mine);
    free(pieces);
    return status;
}

tv_status tv_ranks_collect(tv_ranks *ranks, const void *own, uint64_t bytes, uint8_t **all, uint64_t *ends) {
    const uint64_t count = tv_ranks_count(ranks);
    uint64_t longest = 0, sum = 0;
    TV_RETURN_IF_FAILED(tv_ranks_gather(ranks, &bytes, sizeof bytes, ends));
    for (uint64_t r = 0; r < count; r++) {
        longest = tv_max_u64(longest, ends[r]);
        ends[r] = sum += ends[r];
    }
    *all = malloc(sum + 1);
    if (!*all)
        return tv_fail(TV_E_MEMORY, "out of host memory for what the ranks have");
    tv_status status = collect_pieces(ranks, own, bytes, *all, ends, longest);
    if (status != TV_OK) {
        free(*all);
        *all = NULL;
    }
    return status;
}

tv_status tv_ranks_least(tv_ranks *ranks, uint64_t own, uint64_t *least) {
    *least = own;
    if (!ranks)
        return TV_OK;
    uint64_t *all = calloc((size_t)ranks->place.count, sizeof *all);
    if (!all)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    tv_status status = tv_ranks_gather(ranks, &own, sizeof own, all);
    for (int r = 0; r < ranks->place.count; r++)
        *least = tv_min_u64(*least, all[r]);
    free(all);
    return status;
}

/* The parts of what goes between two ranks that are at most a transfer, the `round`th of each. */
static int parts_of(const tv_ranks *ranks, const tv_ranks_bytes *all, uint64_t round, tv_mpi_bytes *parts) {
    int count = 0;
    const uint64_t at = round * transfer_bytes;
    for (int r = 0; r < ranks->place.count; r++)
        if (r != ranks->place.own && at < all[r].bytes)
            parts[count++] = (tv_mpi_bytes){.rank = r,
                                            .bytes = (int)tv_min_u64(transfer_bytes, all[r].bytes - at),
                                            .data = (char *)all[r].data + at};
    return count;
}

tv_status tv_ranks_exchange(tv_ranks *ranks, const tv_ranks_bytes *receives, const tv_ranks_bytes *sends) {
    const size_t count = (size_t)ranks->place.count;
    uint64_t most = 0, moves = 0;
    tv_status status = TV_OK;
    tv_mpi_bytes *in = calloc(2 * count, sizeof *in), *out = in + count;
    if (!in)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    for (size_t r = 0; r < count; r++) {
        most = tv_max_u64(most, tv_max_u64(receives[r].bytes, sends[r].bytes));
        moves += r == (size_t)ranks->place.own ? 0 : receives[r].bytes + sends[r].bytes;
    }
    enter(ranks, &(tv_rank_at){.kind = TV_TRANSFER_EXCHANGE, .moves = moves}, moves > 0);
    for (uint64_t round = 0; round * transfer_bytes < most && status == TV_OK; round++) {
        const int coming = parts_of(ranks, receives, round, in), going = parts_of(ranks, sends, round, out);
        if (ranks->calls->begin_exchange(in, coming, out, going) != 0)
            status = tv_fail(TV_E_MEMORY, "out of host memory for a transfer between ranks");
        else if (coming + going > 0)
            wait_for_end(ranks);
    }
    tv_heart_leave(ranks->heart);
    free(in);
    return status;
}

/* ---- letters ---- */

tv_status tv_ranks_post(tv_ranks *ranks, const void *letter, uint64_t bytes) {
    ranks->letters.posted++;
    return ranks->calls->post(letter, (int)bytes) == 0
               ? TV_OK
               : tv_fail(TV_E_MEMORY, "out of host memory for a letter of %" PRIu64 " bytes", bytes);
}

tv_status tv_ranks_read_letters(tv_ranks *ranks, tv_rank_reader read, void *context) {
    int from, bytes, there;
    const void *letter;
    while ((there = ranks->calls->letter(&from, &letter, &bytes)) > 0) {
        ranks->letters.read++;
        TV_RETURN_IF_FAILED(read(context, letter, (uint64_t)bytes));
    }
    return there == 0 ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a letter of another rank");
}

static bool are_delivered(tv_ranks *ranks) {
    if (!tv_ranks_leads(ranks))
        return ranks->calls->posted();
    ranks->letters.status = tv_ranks_read_letters(ranks, ranks->letters.reader, ranks->letters.context);
    return ranks->letters.status != TV_OK || ranks->letters.read >= ranks->letters.expected;
}

tv_status tv_ranks_deliver(tv_ranks *ranks, uint64_t count, uint64_t most_bytes, tv_rank_reader read,
                           void *context) {
    ranks->letters.expected += count;
    ranks->letters.reader = read;
    ranks->letters.context = context;
    ranks->letters.status = TV_OK;
    enter(ranks, &(tv_rank_at){.kind = TV_TRANSFER_LETTERS, .moves = most_bytes}, true);
    (void)wait_for(ranks, are_delivered, HUGE_VAL);
    tv_heart_leave(ranks->heart);
    return ranks->letters.status;
}

/* ---- questions ---- */

tv_status tv_ranks_offer(tv_ranks *ranks, tv_rank_answer answer, void *context, uint32_t *offer) {
    if (ranks->offer_count == TV_MOST_OFFERS)
        return tv_fail(TV_E_USAGE, "a run of several ranks has at most %d models", (int)TV_MOST_OFFERS);
    *offer = ranks->offer_count++;
    ranks->offers[*offer].answer = answer;
    ranks->offers[*offer].context = context;
    return TV_OK;
}

void tv_ranks_withdraw(tv_ranks *ranks, uint32_t offer) {
    ranks->offers[offer].answer = NULL;
}

/* What nobody offers is the end. */
static const tv_rank_question dismissal = {.offer = TV_MOST_OFFERS};

/* From rank `from` to rank `to`; nothing on the others. */
static tv_status hand(tv_ranks *ranks, uint32_t from, uint32_t to, void *data, uint64_t bytes) {
    tv_ranks_bytes *both = calloc(2 * (size_t)ranks->place.count, sizeof *both);
    if (!both)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    tv_ranks_bytes *in = both, *out = both + ranks->place.count;
    if (tv_ranks_own(ranks) == to)
        in[from] = (tv_ranks_bytes){data, bytes};
    if (tv_ranks_own(ranks) == from)
        out[to] = (tv_ranks_bytes){data, bytes};
    tv_status status = tv_ranks_exchange(ranks, in, out);
    free(both);
    return status;
}

void tv_ranks_begin_asking(tv_ranks *ranks) {
    ranks->asking = tv_ranks_leads(ranks);
}

tv_status tv_ranks_ask(tv_ranks *ranks, const tv_rank_question *question, void *out) {
    tv_rank_question asked = *question;
    if (!ranks->asking)
        return tv_fail(TV_E_USAGE, "no rank answers questions now");
    TV_RETURN_IF_FAILED(tv_ranks_broadcast(ranks, 0, &asked, sizeof asked));
    return hand(ranks, question->owner, 0, out, question->bytes);
}

tv_status tv_ranks_dismiss(tv_ranks *ranks) {
    tv_rank_question asked = dismissal;
    ranks->asking = false;
    return tv_ranks_broadcast(ranks, 0, &asked, sizeof asked);
}

static tv_status answer(tv_ranks *ranks, const tv_rank_question *question) {
    if (question->owner != tv_ranks_own(ranks)) { /* the exchange of those two is one of all, for the count */
        enter(ranks, &(tv_rank_at){.kind = TV_TRANSFER_EXCHANGE}, false);
        return TV_OK;
    }
    void *data = malloc(question->bytes);
    tv_status status =
        data ? ranks->offers[question->offer].answer(ranks->offers[question->offer].context, question, data)
             : tv_fail(TV_E_MEMORY, "out of host memory for a checkpoint");
    if (status == TV_OK)
        status = hand(ranks, question->owner, 0, data, question->bytes);
    free(data);
    return status;
}

tv_status tv_ranks_serve(tv_ranks *ranks) {
    for (;;) {
        tv_rank_question question;
        TV_RETURN_IF_FAILED(tv_ranks_broadcast(ranks, 0, &question, sizeof question));
        if (question.offer >= ranks->offer_count || !ranks->offers[question.offer].answer)
            return TV_OK;
        TV_RETURN_IF_FAILED(answer(ranks, &question));
    }
}

tv_status tv_ranks_any(tv_ranks *ranks, bool own, bool *any) {
    *any = own;
    if (!ranks)
        return TV_OK;
    uint8_t mine = own, *all = calloc((size_t)ranks->place.count, 1);
    if (!all)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    tv_status status = tv_ranks_gather(ranks, &mine, sizeof mine, all);
    for (int r = 0; r < ranks->place.count; r++)
        *any = *any || all[r];
    free(all);
    return status;
}

tv_status tv_ranks_agree(tv_ranks *ranks, tv_status own) {
    if (!ranks)
        return own;
    gather_statuses(ranks, own, "trivium", own == TV_OK ? HUGE_VAL : ranks->patience);
    int first = 0, failed = 0;
    for (int r = ranks->place.count - 1; r >= 0; r--)
        if (ranks->statuses[r] != TV_OK) {
            first = r;
            failed++;
        }
    if (failed == 0)
        return TV_OK;
    const tv_status status = (tv_status)ranks->statuses[first];
    ranks->agreed = true;
    if (ranks->place.own != first)
        (void)tv_fail(status, "%s", "");
    else if (failed < ranks->place.count)
        (void)tv_fail_context(status, "rank %d on %s", first, ranks->place.host);
    return status;
}

bool tv_ranks_agreed(const tv_ranks *ranks) {
    return !ranks || ranks->agreed;
}

tv_status tv_ranks_expect_alike(tv_ranks *ranks, const tv_likeness *likenesses, uint32_t count) {
    if (!ranks)
        return TV_OK;
    uint64_t own[TV_MOST_LIKENESSES] = {0};
    uint64_t *all = calloc((size_t)ranks->place.count, sizeof own);
    if (!all)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    for (uint32_t i = 0; i < count; i++)
        own[i] = likenesses[i].hash;
    tv_status status = tv_ranks_gather(ranks, own, sizeof own, all);
    for (int r = 1; r < ranks->place.count && status == TV_OK; r++)
        for (uint32_t i = 0; i < count && status == TV_OK; i++)
            if (all[(size_t)r * TV_MOST_LIKENESSES + i] != all[i]) {
                ranks->agreed = true; /* all see the same */
                status = tv_fail(TV_E_CONFIG,
                                 "rank %d on %s has another %s than rank 0 on %s: give every rank the same "
                                 "program, arguments and files",
                                 r, ranks->hosts[r], likenesses[i].what, ranks->hosts[0]);
                if (ranks->place.own > 0)
                    (void)tv_fail(status, "%s", "");
            }
    free(all);
    return status;
}
