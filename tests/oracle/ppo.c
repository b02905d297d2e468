/* Double-precision reference of PPO's losses: see ppo.h. */
#include "oracle/ppo.h"

#include <math.h>

/* The objective min(rho A, clip(rho) A) is maximised. It is flat where rho has left the range in the
 * direction that A rewards, and rho A everywhere else. */
oracle_ppo oracle_ppo_policy(double logprob, double old_logprob, double advantage, double clip) {
    double rho = exp(logprob - old_logprob);
    int flat = (advantage > 0 && rho > 1 + clip) || (advantage < 0 && rho < 1 - clip);
    double bound = advantage > 0 ? 1 + clip : 1 - clip;
    return (oracle_ppo){
        .loss = -advantage * (flat ? bound : rho),
        .gradient = flat ? 0 : -advantage * rho,
        .clipped = flat,
        .ratio = rho,
    };
}

oracle_ppo oracle_ppo_value(double value, double old_value, double goal, double clip) {
    double near = fmin(fmax(value, old_value - clip), old_value + clip);
    double plain = (value - goal) * (value - goal), limited = (near - goal) * (near - goal);
    int clipped = clip > 0 && limited > plain;
    return (oracle_ppo){
        .loss = (clipped ? limited : plain) / 2,
        .gradient = clipped ? 0 : value - goal,
        .clipped = clipped,
    };
}
