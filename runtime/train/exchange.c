/* Buckets of gradients, partial sums and weights over the host: see exchange.h. What becomes of a step:
 *
 *   device                          host                        other ranks
 *   a group's gradients -- take --> taken  == reduce-scatter ==> given
 *   own sums  <-- put, in order --  given  <===================  taken
 *   own partial sums of the norm -> partials == all-gather ====> partials
 *   norm, clip, update of the own stretches
 *   own weights -- give ----------> given  == all-gather ======> given
 *   others' weights <-- put ------  given  <===================  given
 *
 * What the device does stands first, recorded once; then what the host does in each step.
 */
#include "train/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/group_add.h"
#include "model/loss_head.h"
#include "train/exchange_layout.h"
#include "vk/marks.h"
#include "vk/trace.h"

typedef struct bucket {
    tv_buffer *taken, *given;        /* what the device gives to the host; what the host gives to it */
    tv_recording *put, *put_weights; /* groups into the sums; weights of others */
    uint64_t value;                  /* of the last one that reads `given` */
} bucket;

struct tv_exchange {
    tv_ranks *ranks;
    tv_model *model;
    tv_device *device;
    tv_exchange_tensors tensors;
    tv_exchange_layout layout;
    bucket *buckets;
    uint32_t taken;              /* buckets that the recording which is being made has taken */
    tv_buffer *stage;            /* a group's slice, then its statistics, on the device */
    tv_buffer *stats, *partials; /* of all ranks, as the host sees them */
    tv_recording *give_weights, *put_partials;
    tv_ranks_bytes *receives, *sends; /* (ranks) */
    uint32_t offer;
    bool offered;
    double waited; /* seconds in the rounds since the last partial sums */
    tv_exchange_wait last;
};

enum { STATS_BYTES = TV_HEAD_STATS * sizeof(float) };

/* ---- sizes ---- */

static uint64_t stage_bytes(const tv_exchange_layout *layout) {
    return layout->largest + TV_TENSOR_ALIGNMENT;
}

static uint64_t stats_bytes(const tv_exchange_layout *layout) {
    return layout->stat_begins[layout->owners];
}

static uint64_t buffer_bytes(uint64_t bytes) {
    return tv_align_up(tv_max_u64(1, bytes), TV_TENSOR_ALIGNMENT);
}

tv_status tv_exchange_measure(const tv_parameter_list *list, tv_dtype type, uint64_t *bytes) {
    tv_exchange_layout layout;
    *bytes = 0;
    TV_RETURN_IF_FAILED(tv_exchange_layout_create(list, type, &layout));
    for (uint32_t b = 0; b < layout.all->bucket_count; b++)
        *bytes += buffer_bytes(layout.buckets[b].taken) + buffer_bytes(layout.buckets[b].given);
    *bytes += buffer_bytes(stage_bytes(&layout)) + buffer_bytes(stats_bytes(&layout)) +
              buffer_bytes(layout.partial_begins[layout.owners]);
    tv_exchange_layout_free(&layout);
    return TV_OK;
}

/* ---- recording ---- */

static tv_span part(tv_buffer *buffer, uint64_t first, uint64_t bytes) {
    return tv_span_part(tv_buffer_span(buffer), first, bytes);
}

static bool is_last(const tv_exchange *e, uint32_t number) {
    return number + 1 == e->layout.all->bucket_count;
}

/* Gradients of stretches of a bucket that lie side by side, here and in an owner's slice: where in the whole
 * of the slices they go. */
typedef struct gradient_run {
    tv_span floats;
    uint64_t place;
} gradient_run;

typedef tv_status (*gradient_visitor)(const tv_exchange *e, tv_recorder *recorder, uint32_t bucket,
                                      const gradient_run *run);

/* Those of the group, or of the own sums. */
static tv_span gradient_of(const tv_exchange *e, uint32_t stretch, bool sums) {
    const tv_stretch *s = &e->layout.all->items[stretch];
    tv_span span = sums ? tv_model_trainable(e->model, tv_model_stretch_own(e->model, stretch)).gradient.span
                        : tv_model_stretch_gradient(e->model, s).span;
    span.bytes = tv_align_up(span.bytes, TV_GRADIENT_ALIGNMENT);
    return span;
}

static tv_status each_run(const tv_exchange *e, tv_recorder *recorder, uint32_t number, uint32_t owner,
                          bool sums, gradient_visitor visit) {
    gradient_run run = {0};
    for (uint32_t s = e->layout.buckets[number].end;;) {
        s = tv_exchange_layout_next(&e->layout, number, owner, s);
        const bool end = s == UINT32_MAX;
        const tv_span next = end ? (tv_span){0} : gradient_of(e, s, sums);
        if (!end && run.floats.buffer == next.buffer && run.floats.offset + run.floats.bytes == next.offset) {
            run.floats.bytes += next.bytes;
            continue;
        }
        if (run.floats.buffer)
            TV_RETURN_IF_FAILED(visit(e, recorder, number, &run));
        if (end)
            return TV_OK;
        run = (gradient_run){next, e->layout.buckets[number].gradients.places[s]};
    }
}

static uint64_t elements_of(const gradient_run *run) {
    return run->floats.bytes / sizeof(float);
}

static uint64_t given_bytes(const tv_exchange *e, const gradient_run *run) {
    return elements_of(run) * tv_dtype_bytes(e->layout.type);
}

static tv_status take_run(const tv_exchange *e, tv_recorder *recorder, uint32_t number,
                          const gradient_run *run) {
    const tv_span to = part(e->buckets[number].taken, run->place, given_bytes(e, run));
    if (e->layout.type == TV_F32)
        return tv_record_copy(recorder, run->floats, to);
    return tv_group_round(recorder, elements_of(run),
                          &(tv_group_rounding){{run->floats, TV_F32},
                                               tv_model_error_of(e->model, run->floats),
                                               {to, TV_BF16},
                                               e->tensors.state});
}

static tv_status clear_run(const tv_exchange *e, tv_recorder *recorder, uint32_t number,
                           const gradient_run *run) {
    (void)e;
    (void)number;
    return tv_record_fill(recorder, run->floats, 0);
}

/* The whole bucket, then its gradients become 0, where rounding did not make them so. */
static tv_status take(tv_exchange *e, tv_recorder *recorder, uint32_t number) {
    const tv_span stats = e->tensors.stats.span;
    for (uint32_t r = 0; r < e->layout.owners; r++)
        TV_RETURN_IF_FAILED(each_run(e, recorder, number, r, false, take_run));
    if (is_last(e, number))
        TV_RETURN_IF_FAILED(tv_record_copy(
            recorder, stats, part(e->stats, e->layout.stat_begins[e->layout.own], stats.bytes)));
    for (uint32_t r = 0; r < e->layout.owners && e->layout.type == TV_F32; r++)
        TV_RETURN_IF_FAILED(each_run(e, recorder, number, r, false, clear_run));
    if (is_last(e, number))
        TV_RETURN_IF_FAILED(tv_record_fill(recorder, stats, 0));
    return tv_record_cut(recorder);
}

tv_status tv_exchange_record_take(void *context, tv_recorder *recorder, uint32_t index) {
    tv_exchange *e = context;
    const tv_exchange_layout *layout = &e->layout;
    tv_record_push_label(recorder, "take");
    while (e->taken < layout->all->bucket_count &&
           layout->all->items[layout->buckets[e->taken].first].parameter >= index)
        TV_RETURN_IF_FAILED(take(e, recorder, e->taken++));
    tv_record_pop_label(recorder);
    if (index == 0)
        e->taken = 0; /* for the next recording */
    return TV_OK;
}

/* From the stage, where the own slice of a group lies. */
static tv_status add_run(const tv_exchange *e, tv_recorder *recorder, uint32_t number,
                         const gradient_run *run) {
    const uint64_t begin = e->layout.buckets[number].gradients.begins[e->layout.own];
    return tv_group_add(recorder, elements_of(run),
                        (tv_tensor){part(e->stage, run->place - begin, given_bytes(e, run)), e->layout.type},
                        (tv_tensor){run->floats, TV_F32});
}

static tv_status add_stats(const tv_exchange *e, tv_recorder *recorder, uint32_t rank) {
    const tv_span stage = part(e->stage, stage_bytes(&e->layout) - TV_TENSOR_ALIGNMENT, STATS_BYTES);
    TV_RETURN_IF_FAILED(
        tv_record_copy(recorder, part(e->stats, e->layout.stat_begins[rank], STATS_BYTES), stage));
    return tv_group_add(recorder, TV_HEAD_STATS, (tv_tensor){stage, TV_F32}, e->tensors.stat_sums);
}

/* Where the group of a rank, for this one's stretches, is in the host's memory. */
static tv_span group_of(const tv_exchange *e, uint32_t number, uint32_t rank) {
    const tv_slices *slices = &e->layout.buckets[number].gradients;
    const uint64_t bytes = tv_slice_bytes(slices, e->layout.own);
    if (rank == e->layout.own)
        return part(e->buckets[number].taken, slices->begins[rank], bytes);
    return part(e->buckets[number].given, (rank < e->layout.own ? rank : rank - 1) * bytes, bytes);
}

static tv_status put(const tv_exchange *e, tv_recorder *recorder, uint32_t number) {
    const uint64_t bytes = tv_slice_bytes(&e->layout.buckets[number].gradients, e->layout.own);
    for (uint32_t r = 0; r < e->layout.owners; r++) {
        if (bytes) {
            TV_RETURN_IF_FAILED(tv_record_copy(recorder, group_of(e, number, r), part(e->stage, 0, bytes)));
            TV_RETURN_IF_FAILED(each_run(e, recorder, number, e->layout.own, true, add_run));
        }
        if (is_last(e, number))
            TV_RETURN_IF_FAILED(add_stats(e, recorder, r));
    }
    return TV_OK;
}

/* Of this rank to the host, or of others to the device. */
static tv_status copy_weights(const tv_exchange *e, tv_recorder *recorder, uint32_t number, bool own) {
    const tv_bucket_layout *layout = &e->layout.buckets[number];
    for (uint32_t s = layout->first; s < layout->end; s++) {
        const tv_stretch *stretch = &e->layout.all->items[s];
        const tv_span weights = tv_model_stretch_weights(e->model, stretch).span,
                      host = part(e->buckets[number].given, layout->weights.places[s], weights.bytes);
        if ((stretch->owner == e->layout.own) == own)
            TV_RETURN_IF_FAILED(tv_record_copy(recorder, own ? weights : host, own ? host : weights));
    }
    return TV_OK;
}

static tv_status put_weights(const tv_exchange *e, tv_recorder *recorder, uint32_t number) {
    return copy_weights(e, recorder, number, false);
}

/* Of all buckets; each ends with a cut. */
static tv_status give_weights(const tv_exchange *e, tv_recorder *recorder, uint32_t unused) {
    (void)unused;
    for (uint32_t b = 0; b < e->layout.all->bucket_count; b++) {
        TV_RETURN_IF_FAILED(copy_weights(e, recorder, b, true));
        TV_RETURN_IF_FAILED(tv_record_cut(recorder));
    }
    return TV_OK;
}

static tv_status copy_partials(const tv_exchange *e, tv_recorder *recorder, bool own) {
    uint64_t *at = calloc(e->layout.owners, sizeof *at);
    tv_status status = TV_OK;
    if (!at)
        return tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
    for (uint32_t r = 0; r < e->layout.owners; r++)
        at[r] = e->layout.partial_begins[r];
    for (uint32_t s = 0; s < e->layout.all->count && status == TV_OK; s++) {
        const uint32_t owner = e->layout.all->items[s].owner;
        const uint64_t bytes = e->layout.partial_bytes[s];
        const tv_span host = part(e->partials, at[owner], bytes),
                      partials = tv_span_part(e->tensors.partials.span, e->layout.partial_places[s], bytes);
        at[owner] += bytes;
        if ((owner == e->layout.own) == own)
            status = tv_record_copy(recorder, own ? partials : host, own ? host : partials);
    }
    free(at);
    return status;
}

tv_status tv_exchange_record_partials(tv_exchange *e, tv_recorder *recorder) {
    return copy_partials(e, recorder, true);
}

static tv_status put_partials(const tv_exchange *e, tv_recorder *recorder, uint32_t unused) {
    (void)unused;
    return copy_partials(e, recorder, false);
}

static tv_status record(const tv_exchange *e, const char *what,
                        tv_status (*work)(const tv_exchange *, tv_recorder *, uint32_t), uint32_t number,
                        tv_recording **recording) {
    tv_recorder *recorder = NULL;
    tv_status status;
    char name[64];
    snprintf(name, sizeof name, "exchange/%s %u", what, number);
    TV_TRY_OR_FAIL(tv_recorder_begin(e->device, &(tv_recorder_options){.name = name}, &recorder));
    TV_TRY_OR_FAIL(work(e, recorder, number));
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* ---- life ---- */

/* question.what: as tv_model_state asks for it, stretch, which, first byte. */
static tv_status answer(void *context, const tv_rank_question *question, void *out) {
    const tv_exchange *e = context;
    return tv_model_state(e->model, (uint32_t)question->what[0], (uint32_t)question->what[1],
                          question->what[2], question->bytes, out);
}

static tv_status ask(void *context, uint32_t stretch, uint32_t which, uint64_t first, uint64_t bytes,
                     void *out) {
    const tv_exchange *e = context;
    const uint32_t owner = which >= TV_STATE_ERRORS ? (which - TV_STATE_ERRORS) % e->layout.owners
                                                    : e->layout.all->items[stretch].owner;
    return tv_ranks_ask(
        e->ranks,
        &(tv_rank_question){
            .offer = e->offer, .owner = owner, .what = {stretch, which, first}, .bytes = bytes},
        out);
}

static tv_status create_bucket(tv_exchange *e, uint32_t number) {
    bucket *b = &e->buckets[number];
    const tv_bucket_layout *layout = &e->layout.buckets[number];
    TV_RETURN_IF_FAILED(
        tv_buffer_create(e->device, layout->taken, TV_MEMORY_READBACK, "own group", &b->taken));
    TV_RETURN_IF_FAILED(
        tv_buffer_create(e->device, layout->given, TV_MEMORY_READBACK, "other groups", &b->given));
    TV_RETURN_IF_FAILED(record(e, "put groups", put, number, &b->put));
    return record(e, "put weights", put_weights, number, &b->put_weights);
}

tv_status tv_exchange_create(tv_ranks *ranks, tv_model *model, const tv_exchange_tensors *tensors,
                             tv_exchange **out) {
    *out = NULL;
    tv_status status;
    tv_exchange *e = calloc(1, sizeof *e);
    if (!e)
        return tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
    *e = (tv_exchange){.ranks = ranks, .model = model, .device = tv_model_device(model), .tensors = *tensors};
    TV_TRY_OR_FAIL(tv_exchange_layout_create(
        tv_model_list(model), tv_tensor_present(tensors->state) ? TV_BF16 : TV_F32, &e->layout));
    e->buckets = calloc((uint64_t)e->layout.all->bucket_count + 1, sizeof *e->buckets);
    e->receives = calloc(e->layout.owners, sizeof *e->receives);
    e->sends = calloc(e->layout.owners, sizeof *e->sends);
    if (!e->buckets || !e->receives || !e->sends) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
        goto fail;
    }
    TV_TRY_OR_FAIL(
        tv_buffer_create(e->device, stage_bytes(&e->layout), TV_MEMORY_DEVICE, "a group's slice", &e->stage));
    TV_TRY_OR_FAIL(tv_buffer_create(e->device, stats_bytes(&e->layout), TV_MEMORY_READBACK,
                                    "groups' statistics", &e->stats));
    TV_TRY_OR_FAIL(tv_buffer_create(e->device, e->layout.partial_begins[e->layout.owners], TV_MEMORY_READBACK,
                                    "partial sums", &e->partials));
    for (uint32_t b = 0; b < e->layout.all->bucket_count; b++)
        TV_TRY_OR_FAIL(create_bucket(e, b));
    TV_TRY_OR_FAIL(record(e, "give weights", give_weights, 0, &e->give_weights));
    TV_TRY_OR_FAIL(record(e, "put norms", put_partials, 0, &e->put_partials));
    TV_TRY_OR_FAIL(tv_ranks_offer(ranks, answer, e, &e->offer));
    e->offered = true;
    tv_model_set_state_source(model, ask, e);
    *out = e;
    return TV_OK;
fail:
    tv_exchange_destroy(&e);
    return status;
}

void tv_exchange_destroy(tv_exchange **handle) {
    if (!handle || !*handle)
        return;
    tv_exchange *e = *handle;
    if (e->offered) {
        tv_ranks_withdraw(e->ranks, e->offer);
        tv_model_set_state_source(e->model, NULL, NULL);
    }
    for (uint32_t b = 0; e->buckets && b < e->layout.all->bucket_count; b++) {
        tv_recording_destroy(&e->buckets[b].put);
        tv_recording_destroy(&e->buckets[b].put_weights);
        tv_buffer_destroy(&e->buckets[b].taken);
        tv_buffer_destroy(&e->buckets[b].given);
    }
    tv_recording_destroy(&e->give_weights);
    tv_recording_destroy(&e->put_partials);
    tv_buffer_destroy(&e->stage);
    tv_buffer_destroy(&e->stats);
    tv_buffer_destroy(&e->partials);
    tv_exchange_layout_free(&e->layout);
    free(e->buckets);
    free(e->receives);
    free(e->sends);
    free(e);
    *handle = NULL;
}

/* ---- steps ---- */

static tv_ranks_bytes mapped(tv_span span) {
    return (tv_ranks_bytes){tv_span_map(span), span.bytes};
}

static tv_status exchange(tv_exchange *e, const char *what, uint32_t number) {
    char name[48];
    double begin = tv_mark_begin(e->device);
    TV_RETURN_IF_FAILED(tv_ranks_exchange(e->ranks, e->receives, e->sends));
    snprintf(name, sizeof name, "exchange %s %u", what, number);
    tv_mark_end(e->device, begin, "host", name);
    return TV_OK;
}

/* Of bucket `number`, which this rank's device has given: each rank's slice of the own group to it, and the
 * own slice of everybody's. The adding, which makes it a reduce-scatter, is the device's. */
static tv_status scatter_groups(tv_exchange *e, uint32_t number) {
    const tv_slices *slices = &e->layout.buckets[number].gradients;
    for (uint32_t r = 0; r < e->layout.owners; r++) {
        e->receives[r] = mapped(group_of(e, number, r));
        e->sends[r] = mapped(part(e->buckets[number].taken, slices->begins[r], tv_slice_bytes(slices, r)));
    }
    return exchange(e, "bucket", number);
}

/* Of slices that begin at `begins` (owners + 1), the own to everybody and everybody's to here. */
static tv_status all_gather(tv_exchange *e, tv_buffer *buffer, const uint64_t *begins, const char *what,
                            uint32_t number) {
    const uint32_t own = e->layout.own;
    for (uint32_t r = 0; r < e->layout.owners; r++) {
        e->receives[r] = mapped(part(buffer, begins[r], begins[r + 1] - begins[r]));
        e->sends[r] = mapped(part(buffer, begins[own], begins[own + 1] - begins[own]));
    }
    return exchange(e, what, number);
}

tv_status tv_exchange_round(tv_exchange *e, const tv_recording *taking, uint64_t *value) {
    for (uint32_t b = 0; b < e->layout.all->bucket_count; b++) {
        bucket *next = &e->buckets[b];
        /* What was given before is on the device. */
        TV_RETURN_IF_FAILED(tv_wait(e->device, next->value));
        TV_RETURN_IF_FAILED(tv_trace_collect(next->put));
        TV_RETURN_IF_FAILED(tv_wait(e->device, tv_recording_cut_value(taking, b)));
        const double before = tv_ranks_waited(e->ranks);
        TV_RETURN_IF_FAILED(scatter_groups(e, b));
        if (is_last(e, b))
            TV_RETURN_IF_FAILED(all_gather(e, e->stats, e->layout.stat_begins, "statistics", 0));
        e->waited += tv_ranks_waited(e->ranks) - before;
        TV_RETURN_IF_FAILED(tv_submit(e->device, &next->put, 1, &next->value));
        *value = next->value;
    }
    return TV_OK;
}

/* Each slice ends with the owner's seconds of waiting. */
static double *waited_of(const tv_exchange *e, uint32_t rank) {
    char *all = tv_span_map(tv_buffer_span(e->partials));
    return (double *)(void *)(all + e->layout.partial_begins[rank + 1] - sizeof(double));
}

static void note_waits(tv_exchange *e) {
    double most = *waited_of(e, 0);
    uint32_t least = 0;
    for (uint32_t r = 1; r < e->layout.owners; r++) {
        const double waited = *waited_of(e, r);
        most = waited > most ? waited : most;
        least = waited < *waited_of(e, least) ? r : least;
    }
    e->last = (tv_exchange_wait){least, most - *waited_of(e, least)};
    e->waited = 0;
}

tv_exchange_wait tv_exchange_last_wait(const tv_exchange *e) {
    return e->last;
}

tv_status tv_exchange_partials(tv_exchange *e, uint64_t value) {
    TV_RETURN_IF_FAILED(tv_wait(e->device, value));
    TV_RETURN_IF_FAILED(tv_trace_collect(e->put_partials));
    *waited_of(e, e->layout.own) = e->waited;
    TV_RETURN_IF_FAILED(all_gather(e, e->partials, e->layout.partial_begins, "norms", 0));
    note_waits(e);
    return tv_submit(e->device, &e->put_partials, 1, &value);
}

tv_status tv_exchange_weights(tv_exchange *e) {
    uint64_t value;
    TV_RETURN_IF_FAILED(tv_submit(e->device, &e->give_weights, 1, &value));
    for (uint32_t b = 0; b < e->layout.all->bucket_count; b++) {
        bucket *next = &e->buckets[b];
        TV_RETURN_IF_FAILED(tv_wait(e->device, tv_recording_cut_value(e->give_weights, b)));
        TV_RETURN_IF_FAILED(all_gather(e, next->given, e->layout.buckets[b].weights.begins, "weights", b));
        TV_RETURN_IF_FAILED(tv_submit(e->device, &next->put_weights, 1, &next->value));
    }
    return tv_trace_collect(e->give_weights);
}
