/* The table of preference losses: see dpo_losses.h. */
#include "stages/dpo_losses.h"

typedef struct kind {
    const char *name;
    uint32_t score, cost;
    bool reference, smoothing;
    double beta, gamma, nll; /* what is usual */
} kind;

static const kind kinds[TV_PREFERENCE_KINDS] = {
    [TV_PREFERENCE_SIGMOID] = {"sigmoid", TV_DPO_SCORE_SUM, TV_DPO_COST_LOGISTIC, true, true, 0.1, 0, 0},
    [TV_PREFERENCE_IPO] = {"ipo", TV_DPO_SCORE_MEAN, TV_DPO_COST_SQUARE, true, false, 0.1, 0, 0},
    [TV_PREFERENCE_HINGE] = {"hinge", TV_DPO_SCORE_SUM, TV_DPO_COST_HINGE, true, false, 0.1, 0, 0},
    [TV_PREFERENCE_ROBUST] = {"robust", TV_DPO_SCORE_SUM, TV_DPO_COST_LOGISTIC, true, true, 0.1, 0, 0},
    [TV_PREFERENCE_SIMPO] = {"simpo", TV_DPO_SCORE_MEAN, TV_DPO_COST_LOGISTIC, false, true, 2, 1, 0},
    [TV_PREFERENCE_ORPO] = {"orpo", TV_DPO_SCORE_LOG_ODDS, TV_DPO_COST_LOGISTIC, false, false, 0.1, 0, 1},
    [TV_PREFERENCE_CPO] = {"cpo", TV_DPO_SCORE_SUM, TV_DPO_COST_LOGISTIC, false, true, 0.1, 0, 1},
    [TV_PREFERENCE_KTO] = {"kto", TV_DPO_SCORE_SUM, TV_DPO_COST_VALUE, true, false, 0.1, 0, 0},
};

static void usual(const tv_run_settings *settings, const char *key, double value, double *setting) {
    if (!tv_setting_given(settings, "dpo", key))
        *setting = value;
}

static tv_status check(const tv_run_settings *settings, const kind *k) {
    const tv_dpo_settings *dpo = &settings->dpo;
    if (dpo->label_smoothing > 0 && !k->smoothing)
        return tv_fail(TV_E_CONFIG,
                       "dpo.label_smoothing is %g, and dpo.loss=%s takes none; use sigmoid, robust, simpo or "
                       "cpo, or leave it out",
                       dpo->label_smoothing, k->name);
    if (dpo->gamma > 0 && dpo->loss != TV_PREFERENCE_SIMPO)
        return tv_fail(TV_E_CONFIG, "dpo.gamma is %g, and only dpo.loss=simpo takes it, not %s; leave it out",
                       dpo->gamma, k->name);
    if (dpo->loss != TV_PREFERENCE_KTO && (dpo->desirable_weight != 1 || dpo->undesirable_weight != 1))
        return tv_fail(
            TV_E_CONFIG,
            "dpo.desirable_weight is %g and dpo.undesirable_weight %g, and only dpo.loss=kto takes them, "
            "not %s; leave them out",
            dpo->desirable_weight, dpo->undesirable_weight, k->name);
    if (dpo->loss == TV_PREFERENCE_ROBUST && !(dpo->label_smoothing > 0 && dpo->label_smoothing < 0.5))
        return tv_fail(
            TV_E_CONFIG,
            "dpo.label_smoothing: expected the share of wrong labels that dpo.loss=robust corrects, "
            "above 0 and below 0.5, found %g",
            dpo->label_smoothing);
    if (dpo->loss == TV_PREFERENCE_IPO && !(dpo->beta > 0))
        return tv_fail(TV_E_CONFIG,
                       "dpo.beta: expected a number above 0 for dpo.loss=ipo, whose aim is a difference of "
                       "1 / (2 beta), found %g",
                       dpo->beta);
    return TV_OK;
}

tv_status tv_dpo_loss_choose(tv_run_settings *settings, tv_dpo_loss *loss) {
    tv_dpo_settings *dpo = &settings->dpo;
    const kind *k = &kinds[dpo->loss];
    usual(settings, "beta", k->beta, &dpo->beta);
    usual(settings, "gamma", k->gamma, &dpo->gamma);
    usual(settings, "nll", k->nll, &dpo->nll);
    TV_RETURN_IF_FAILED(check(settings, k));
    double e = dpo->label_smoothing, beta = dpo->beta, agree = 1 - e, differ = e;
    if (dpo->loss == TV_PREFERENCE_ROBUST) {
        agree = (1 - e) / (1 - 2 * e);
        differ = -e / (1 - 2 * e);
    } else if (dpo->loss == TV_PREFERENCE_IPO) {
        /* (d - 1/(2 beta))^2 of d = x / beta */
        agree = 1 / (beta * beta);
    } else if (dpo->loss == TV_PREFERENCE_ORPO) {
        agree = beta;
        beta = 1;
    }
    *loss = (tv_dpo_loss){.alone = dpo->loss == TV_PREFERENCE_KTO,
                          .score = k->score,
                          .cost = k->cost,
                          .beta = (float)beta,
                          .margin = (float)dpo->gamma,
                          .agree = (float)agree,
                          .differ = (float)differ,
                          .nll = (float)dpo->nll};
    return TV_OK;
}

bool tv_dpo_loss_has_reference(const tv_run_settings *settings) {
    return kinds[settings->dpo.loss].reference;
}
