/* Double-precision reference of the losses of groups of answers, a whole batch at once. */
#ifndef TV_ORACLE_GROUP_H
#define TV_ORACLE_GROUP_H

#include <stdint.h>

typedef enum oracle_group_loss {
    ORACLE_DAPO,
    ORACLE_GRPO,
    ORACLE_BNPO,
    ORACLE_DR_GRPO,
    ORACLE_CISPO,
    ORACLE_GSPO
} oracle_group_loss;

/* new, old, ref, advantages: (S, T), read where mask is 1. One micro-batch is the whole step. */
typedef struct oracle_group {
    oracle_group_loss kind;
    uint64_t sequences, tokens;
    double clip_low, clip_high, beta, room; /* room: the longest answer that could be */
    const double *new, *old, *ref, *advantages;
    const uint8_t *mask;
} oracle_group;
/* gradient: (S, T) by `new`. */
double oracle_group_loss_of(const oracle_group *batch, double *gradient);

#endif
