/* Double-precision reference of PPO's losses per token (Schulman et al. 2017, and the clipped value loss). */
#ifndef TV_ORACLE_PPO_H
#define TV_ORACLE_PPO_H

typedef struct oracle_ppo {
    double loss, gradient; /* gradient with respect to the new log-probability, or the new value */
    double clipped;        /* 1 or 0 */
    double ratio;
} oracle_ppo;

oracle_ppo oracle_ppo_policy(double logprob, double old_logprob, double advantage, double clip);
/* clip 0: none. The loss and its gradient carry no coefficient. */
oracle_ppo oracle_ppo_value(double value, double old_value, double goal, double clip);

#endif
