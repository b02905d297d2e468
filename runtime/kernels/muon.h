/* Muon, the update of hidden matrices (Jordan et al. 2024): momentum, made orthogonal by Newton-Schulz.
 *
 * Of a gradient G (R, C), with M the moment and mu its decay:
 *   M += (1 - mu) (G - M),  X = G + mu (M - G) (Nesterov),  X /= max(|X|, 1e-7) (Frobenius)
 *   five times X = a X + b S X + c S S X,  S = X X^T,  or X S with S = X^T X where R > C
 *   P = (1 - lr weight_decay) P - lr muon_rms sqrt(max(R, C)) X
 * with a, b, c = 3.4445, -4.7750, 2.0315, which take singular values to between 0.7 and 1.2. All of them 1 is
 * a mean square of 1 / max(R, C), so a step changes an element by about lr muon_rms, whatever the shape (Liu
 * et al. 2025, "Muon is scalable for LLM training"). The arithmetic is that of torch.optim.Muon with
 * adjust_lr_fn "match_rms_adamw", in fp32 where that takes bf16. Products are those of matmul.h.
 */
#ifndef TV_KERNELS_MUON_H
#define TV_KERNELS_MUON_H

#include "kernels/launch.h"

/* A matrix that begins at element `first` of three equally laid out tensors. */
typedef struct tv_muon_matrix {
    uint64_t first;
    bool decay;          /* weight decay applies */
    tv_tensor parameter; /* fp32 master weights, updated */
    tv_tensor gradient;  /* fp32; read, then set to 0 for the next step */
    tv_tensor moment;    /* fp32, updated */
} tv_muon_matrix;

/* What the update of a batch of matrices needs besides; nothing stays in it from one batch to the next. */
enum {
    TV_MUON_UPDATE,     /* X of each matrix */
    TV_MUON_OTHER,      /* the next X */
    TV_MUON_GRAM,       /* S */
    TV_MUON_POLYNOMIAL, /* a I + b S + c S S */
    TV_MUON_PARTIALS,   /* sums of squares */
    TV_MUON_TENSORS
};
/* Floats of each for a batch of `count` matrices of (rows, columns). */
void tv_muon_workspace(uint64_t rows, uint64_t columns, uint64_t count, uint64_t floats[TV_MUON_TENSORS]);

typedef struct tv_muon {
    uint64_t rows, columns, count; /* `count` matrices of one shape, side by side in every product */
    const tv_muon_matrix *matrices;
    tv_tensor workspace[TV_MUON_TENSORS]; /* as tv_muon_workspace says, or more */
    tv_tensor step;                       /* struct tv_step_constants */
    tv_tensor state;                      /* struct tv_update_state of this step, behind the gradient norm */
} tv_muon;
/* Where state.finite is 0 only the gradients are touched. */
tv_status tv_muon_record(tv_recorder *recorder, const tv_muon *update);

#endif
