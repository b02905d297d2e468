/* A reward model beside people: see reward_agreement.h. */
#include "tools/reward_agreement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/agreement.h"

/* The answers of all judgments that count, one after another. */
typedef struct answers {
    tv_reward_text *texts;
    char **prompts; /* a judgment's, shared by its answers */
    float *scores;
    uint64_t count, judgments;
} answers;

static bool counts(const tv_ranking *ranking) {
    return !ranking->skipped && !ranking->repeat;
}

static char *copy_of(tv_slice json) {
    char *text = malloc(json.size + 1);
    if (text) {
        memcpy(text, json.data, json.size);
        text[json.size] = 0;
    }
    return text;
}

static tv_status collect(const tv_rankings *rankings, answers *a) {
    uint64_t all = tv_rankings_count(rankings);
    a->texts = calloc(all * TV_MAX_RESPONSES + 1, sizeof *a->texts);
    a->scores = calloc(all * TV_MAX_RESPONSES + 1, sizeof *a->scores);
    a->prompts = calloc(all + 1, sizeof *a->prompts);
    if (!a->texts || !a->scores || !a->prompts)
        return tv_fail(TV_E_MEMORY, "out of host memory for judgments");
    for (uint64_t i = 0; i < all; i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        if (!counts(ranking))
            continue;
        char *prompt = copy_of(ranking->item.prompt_json);
        if (!prompt)
            return tv_fail(TV_E_MEMORY, "out of host memory for judgments");
        a->prompts[a->judgments++] = prompt;
        for (uint32_t k = 0; k < ranking->item.count; k++) {
            const tv_response *response = &ranking->item.responses[k];
            bool cut = tv_slice_is(tv_raw_get(response->json, "finish"), "\"length\"");
            a->texts[a->count++] = (tv_reward_text){prompt, response->text.data, response->text.size, !cut};
        }
    }
    return TV_OK;
}

static void free_answers(answers *a) {
    for (uint64_t i = 0; i < a->judgments; i++)
        free(a->prompts[i]);
    free(a->prompts);
    free(a->texts);
    free(a->scores);
}

/* The pairs of one judgment that both have scores; the higher score is the lower rank. */
static void add_pairs(const tv_ranking *ranking, const float *scores, tv_reward_agreement *sums) {
    for (uint32_t i = 0; i < ranking->item.count; i++)
        for (uint32_t j = 0; j < i; j++) {
            if (isnan(scores[i]) || isnan(scores[j]))
                continue;
            const uint8_t people[2] = {ranking->rank[i], ranking->rank[j]};
            const uint8_t model[2] = {scores[i] < scores[j], scores[j] < scores[i]};
            double same = tv_pairwise_agreement(people, model, 2);
            sums->agreement += same;
            sums->pairs++;
            if (people[0] == people[1])
                continue;
            sums->accuracy += same;
            sums->strict_pairs++;
        }
    for (uint32_t i = 0; i < ranking->item.count; i++)
        sums->too_long += isnan(scores[i]) ? 1 : 0;
}

tv_status tv_reward_agreement_measure(const tv_rankings *rankings, const tv_score_texts_options *options,
                                      tv_reward_agreement *agreement) {
    answers a = {0};
    tv_status status;
    *agreement = (tv_reward_agreement){0};
    TV_TRY(collect(rankings, &a));
    TV_TRY(tv_score_texts(options, a.texts, a.count, a.scores));
    const float *scores = a.scores;
    for (uint64_t i = 0; i < tv_rankings_count(rankings); i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        if (!counts(ranking))
            continue;
        add_pairs(ranking, scores, agreement);
        scores += ranking->item.count;
    }
    agreement->judgments = a.judgments;
    agreement->accuracy =
        agreement->strict_pairs ? agreement->accuracy / (double)agreement->strict_pairs : NAN;
    agreement->agreement = agreement->pairs ? agreement->agreement / (double)agreement->pairs : NAN;
done:
    free_answers(&a);
    return status;
}

void tv_reward_agreement_print(const tv_reward_agreement *agreement, double human, FILE *out) {
    if (agreement->pairs == 0) {
        fputs("reward model: no pair of answers to compare with\n", out);
        return;
    }
    fprintf(out, "reward model: agrees on %.1f %% of %llu pairs, %.1f %% of the %llu strict ones in order\n",
            100 * agreement->agreement, (unsigned long long)agreement->pairs, 100 * agreement->accuracy,
            (unsigned long long)agreement->strict_pairs);
    if (agreement->too_long)
        fprintf(out, "  %llu answers are too long for it and do not count\n",
                (unsigned long long)agreement->too_long);
    if (agreement->agreement > human)
        fprintf(
            out,
            "  that is more than people agree here (%.1f %%): if it was trained on these judgments, it has "
            "seen the answers; measure with judgments of other prompts\n",
            100 * human);
}

cJSON *tv_reward_agreement_json(const tv_reward_agreement *agreement) {
    cJSON *object = cJSON_CreateObject();
    if (object && tv_json_set_number(object, "judgments", (double)agreement->judgments) &&
        tv_json_set_number(object, "pairs", (double)agreement->pairs) &&
        tv_json_set_number(object, "agreement", agreement->agreement) &&
        tv_json_set_number(object, "strict_pairs", (double)agreement->strict_pairs) &&
        tv_json_set_number(object, "accuracy", agreement->accuracy) &&
        tv_json_set_number(object, "too_long", (double)agreement->too_long))
        return object;
    cJSON_Delete(object);
    return NULL;
}
