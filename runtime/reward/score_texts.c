/* Scores of texts: see score_texts.h. */
#include "reward/score_texts.h"

#include <math.h>
#include <stdlib.h>

#include "formats/directory.h"
#include "reward/model.h"
#include "reward/scorer.h"
#include "vk/device.h"

typedef struct texts_scoring {
    tv_reward_model reward;
    tv_device *device;
    tv_scorer *scorer;
    tv_ids ids;
    uint64_t *ends;         /* (count) of each text in ids */
    tv_sequence *sequences; /* what fits */
    uint64_t *numbers;      /* its text */
    float *found;
    uint64_t fitting, longest;
} texts_scoring;

static tv_status encode_all(texts_scoring *s, const tv_reward_text *texts, uint64_t count, float *scores) {
    uint64_t most = tv_model_directory_parameters(s->reward.directory)->config.max_positions;
    s->ends = calloc(count, sizeof *s->ends);
    s->sequences = calloc(count, sizeof *s->sequences);
    s->numbers = calloc(count, sizeof *s->numbers);
    s->found = calloc(count, sizeof *s->found);
    if (!s->ends || !s->sequences || !s->numbers || !s->found)
        return tv_fail(TV_E_MEMORY, "out of host memory for texts to score");
    for (uint64_t i = 0; i < count; i++) {
        TV_RETURN_IF_FAILED(tv_reward_model_encode(&s->reward, &texts[i], &s->ids));
        s->ends[i] = s->ids.size;
    }
    for (uint64_t i = 0, first = 0; i < count; first = s->ends[i++]) {
        uint64_t length = s->ends[i] - first;
        scores[i] = NAN;
        if (length > most)
            continue;
        s->sequences[s->fitting] = (tv_sequence){s->ids.data + first, length};
        s->numbers[s->fitting++] = i;
        s->longest = tv_max_u64(s->longest, length);
    }
    return TV_OK;
}

tv_status tv_score_texts(const tv_score_texts_options *options, const tv_reward_text *texts, uint64_t count,
                         float *scores) {
    texts_scoring s = {0};
    tv_status status;
    TV_TRY(tv_reward_model_open(options->model, NULL, &s.reward));
    if (count == 0)
        goto done;
    TV_TRY(encode_all(&s, texts, count, scores));
    if (s.fitting == 0)
        goto done;
    TV_TRY(tv_device_open(&(tv_device_options){options->device, options->tier}, &s.device));
    TV_TRY(tv_reward_model_load(&s.reward, s.device, NULL));
    TV_TRY(tv_scorer_create(s.reward.model, &(tv_scorer_options){.max_tokens = s.longest}, &s.scorer));
    TV_TRY(tv_scorer_score(s.scorer, s.sequences, s.fitting, s.found));
    for (uint64_t i = 0; i < s.fitting; i++)
        scores[s.numbers[i]] = s.found[i];
done:
    tv_scorer_destroy(&s.scorer);
    tv_reward_model_close(&s.reward);
    tv_device_close(&s.device);
    tv_ids_free(&s.ids);
    free(s.ends);
    free(s.sequences);
    free(s.numbers);
    free(s.found);
    return status;
}
