/* Matrices and batches of Muon: see muon.h. */
#include "train/muon.h"

#include <stdlib.h>

enum { MOST_IN_BATCH = 256 }; /* matrices so small that more of them side by side win nothing */

typedef struct hidden_matrix {
    uint64_t rows, columns, first; /* the element of its stretch at which it begins */
    uint32_t number;               /* of the stretch, among this owner's */
    uint32_t place;                /* in the order of the list */
} hidden_matrix;

static int compare_shape(const void *a, const void *b) {
    const hidden_matrix *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows > y->rows ? -1 : 1;
    if (x->columns != y->columns)
        return x->columns > y->columns ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* Those of a stretch, which is of whole matrices. */
static void add_matrices(const tv_parameter_list *list, const tv_stretch *stretch, uint32_t number,
                         hidden_matrix *matrices, uint64_t *count) {
    const tv_parameter *p = &list->items[stretch->parameter];
    uint64_t rows[TV_PARAMETER_MATRICES], first = 0;
    const uint32_t parts =
        p->optimizer == TV_OPTIMIZER_MUON ? tv_parameter_matrices(&list->config, p, rows) : 0;
    for (uint32_t m = 0; m < parts; first += rows[m++] * p->shape[1])
        if (first >= stretch->first && first < stretch->first + stretch->count) {
            matrices[*count] =
                (hidden_matrix){rows[m], p->shape[1], first - stretch->first, number, (uint32_t)*count};
            (*count)++;
        }
}

/* This owner's, those of one shape behind one another. The caller frees *matrices. */
static tv_status find_matrices(const tv_parameter_list *list, hidden_matrix **matrices, uint64_t *count) {
    tv_stretches *all;
    uint32_t number = 0;
    *count = 0;
    *matrices = NULL;
    TV_RETURN_IF_FAILED(tv_stretches_create(list, &all));
    *matrices = calloc((uint64_t)TV_PARAMETER_MATRICES * list->count, sizeof **matrices);
    for (uint32_t s = 0; *matrices && s < all->count; s++)
        if (all->items[s].owner == list->owners.own)
            add_matrices(list, &all->items[s], number++, *matrices, count);
    tv_stretches_destroy(&all);
    if (!*matrices)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of matrices");
    qsort(*matrices, *count, sizeof **matrices, compare_shape);
    return TV_OK;
}

/* How many of `count` matrices make the next batch. */
static uint64_t batch_of(const tv_caps *caps, const hidden_matrix *matrices, uint64_t count) {
    uint64_t floats[TV_MUON_TENSORS], n = 1;
    tv_muon_workspace(matrices->rows, matrices->columns, 1, floats);
    uint64_t range = tv_min_u64(TV_MUON_BATCH_BYTES, caps->storage_range),
             most = tv_min_u64(MOST_IN_BATCH, range / (floats[TV_MUON_UPDATE] * sizeof(float)));
    while (n < count && n < most && matrices[n].rows == matrices->rows &&
           matrices[n].columns == matrices->columns)
        n++;
    return n;
}

tv_status tv_muon_plan(const tv_parameter_list *list, const tv_caps *caps, uint64_t floats[TV_MUON_TENSORS]) {
    hidden_matrix *matrices;
    uint64_t count;
    for (int t = 0; t < TV_MUON_TENSORS; t++)
        floats[t] = 0;
    TV_RETURN_IF_FAILED(find_matrices(list, &matrices, &count));
    for (uint64_t i = 0, n; i < count; i += n) {
        uint64_t each[TV_MUON_TENSORS];
        n = batch_of(caps, &matrices[i], count - i);
        tv_muon_workspace(matrices[i].rows, matrices[i].columns, n, each);
        for (int t = 0; t < TV_MUON_TENSORS; t++)
            floats[t] = tv_max_u64(floats[t], each[t]);
    }
    free(matrices);
    return TV_OK;
}

static tv_status record_batch(tv_recorder *recorder, const tv_model *model, const hidden_matrix *matrices,
                              uint64_t count, tv_muon *update) {
    tv_muon_matrix batch[MOST_IN_BATCH];
    for (uint64_t i = 0; i < count; i++) {
        const tv_trainable t = tv_model_trainable(model, matrices[i].number);
        batch[i] = (tv_muon_matrix){.first = matrices[i].first,
                                    .decay = t.parameter->decay,
                                    .parameter = tv_tensor_present(t.master) ? t.master : t.weights,
                                    .gradient = t.gradient,
                                    .moment = t.moments[0]};
    }
    update->rows = matrices->rows;
    update->columns = matrices->columns;
    update->count = count;
    update->matrices = batch;
    return tv_muon_record(recorder, update);
}

tv_status tv_muon_record_model(tv_recorder *recorder, const tv_model *model,
                               const tv_tensor workspace[TV_MUON_TENSORS], tv_tensor step, tv_tensor state) {
    hidden_matrix *matrices;
    uint64_t count;
    tv_muon update = {.step = step, .state = state};
    for (int t = 0; t < TV_MUON_TENSORS; t++)
        update.workspace[t] = workspace[t];
    tv_status status = find_matrices(tv_model_list(model), &matrices, &count);
    for (uint64_t i = 0, n; status == TV_OK && i < count; i += n) {
        n = batch_of(tv_recorder_caps(recorder), &matrices[i], count - i);
        status = record_batch(recorder, model, &matrices[i], n, &update);
    }
    free(matrices);
    return status;
}
