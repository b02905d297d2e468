/* Losses of groups of ranked responses from one value each (kernels/preference.h states the three).
 *
 * members, ranks: (G, K); margins: (G); values, d_values: (N); stats: (G, TV_PREFERENCE_STATS), columns TV_PREFERENCE_* of sizes.h. d_values is
 * written where members are, the rest is the launcher's to clear; stats is overwritten. Members are distinct rows, so no two groups meet.
 * One invocation a group, K at most TV_PREFERENCE_MEMBERS: groups are few, and only the launch counts.
 *   x = r_c - r_r - margin, target y (1; 1/2 for a tie): y softplus(-x) + (1 - y) softplus(x), slope (1 - y) sigmoid(x) - y sigmoid(-x)
 *   Plackett-Luce: m + log1p(sum of the others' e^(r - m)) - r_i, m the largest; slope of i: -(sum of all but i) / (sum)
 * so that small losses and slopes keep their digits. A value that is not finite makes its group NaN.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Members {
    uint members[];
};
layout(std430, binding = 1) readonly buffer Ranks {
    uint ranks[];
};
layout(std430, binding = 2) readonly buffer Margins {
    float margins[];
};
layout(std430, binding = 3) readonly buffer Values {
    float values[];
};
layout(std430, binding = 4) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 5) writeonly buffer Gradients {
    float d_values[];
};
layout(std430, binding = 6) writeonly buffer Stats {
    float stats[];
};
layout(push_constant) uniform Push {
    tv_preference_push p;
};

const uint most = TV_PREFERENCE_MEMBERS;

/* The members that are there, one behind the other. Each invocation has a column of its own: arrays of an invocation that are
 * indexed by variables are scratch on most GPUs. */
uint count = 0, lane = gl_LocalInvocationIndex;
shared uint place[most][TV_LOCAL_SIZE], order[most][TV_LOCAL_SIZE];
shared float value[most][TV_LOCAL_SIZE], slope[most][TV_LOCAL_SIZE];

float pairs_loss(float margin) {
    float loss = 0.0, pairs = 0.0;
    for (uint i = 0; i < count; i++)
        for (uint j = i + 1; j < count; j++) {
            bool tie = order[i][lane] == order[j][lane];
            if (tie && p.mode == TV_PREFERENCE_KWISE)
                continue;
            uint c = order[i][lane] <= order[j][lane] ? i : j, r = c == i ? j : i;
            float target = tie ? 0.5 : 1.0, x = value[c][lane] - value[r][lane] - (tie ? 0.0 : margin), both = value[c][lane] + value[r][lane];
            float rest = 1.0 - target, d = rest * tv_sigmoid(x) - target * tv_sigmoid(-x);
            loss += target * tv_softplus(-x) + rest * tv_softplus(x) + p.center * both * both;
            slope[c][lane] += d + 2.0 * p.center * both;
            slope[r][lane] += 2.0 * p.center * both - d;
            pairs += 1.0;
        }
    for (uint i = 0; i < count; i++)
        slope[i][lane] /= max(pairs, 1.0);
    return loss / max(pairs, 1.0);
}

float listwise_loss() {
    float loss = 0.0;
    for (uint i = 0; i < count; i++) {
        /* Against everything that is ranked strictly below; in the last group that is nothing, and costs nothing. */
        uint largest = i;
        for (uint j = 0; j < count; j++)
            if (order[j][lane] > order[i][lane] && value[j][lane] > value[largest][lane])
                largest = j;
        float others = 0.0, lower = 0.0, top = value[largest][lane];
        for (uint j = 0; j < count; j++)
            if (j == i || order[j][lane] > order[i][lane]) {
                float e = exp(value[j][lane] - top);
                others += j == largest ? 0.0 : e;
                lower += j == i ? 0.0 : e;
            }
        loss += (top - value[i][lane]) + tv_log1p(others);
        slope[i][lane] -= lower / (1.0 + others);
        for (uint j = 0; j < count; j++)
            if (order[j][lane] > order[i][lane])
                slope[j][lane] += exp(value[j][lane] - top) / (1.0 + others);
    }
    return loss;
}

void main() {
    uint group = tv_thread();
    if (group >= p.groups)
        return;
    bool broken = false;
    for (uint k = 0; k < p.group_size; k++) {
        uint row = members[group * p.group_size + k];
        if (row >= p.rows)
            continue;
        place[count][lane] = row;
        order[count][lane] = ranks[group * p.group_size + k];
        value[count][lane] = values[row];
        broken = broken || !tv_is_finite(value[count][lane]);
        slope[count][lane] = 0.0;
        count++;
    }
    float loss = p.mode == TV_PREFERENCE_LISTWISE ? listwise_loss() : pairs_loss(margins[group]);
    float accuracy = 0.0, margin = 0.0, strict = 0.0, sum = 0.0, low = 0.0, high = 0.0;
    for (uint i = 0; i < count; i++) {
        sum += value[i][lane];
        low = i == 0 ? value[i][lane] : min(low, value[i][lane]);
        high = i == 0 ? value[i][lane] : max(high, value[i][lane]);
        for (uint j = 0; j < count; j++)
            if (order[i][lane] < order[j][lane]) {
                strict += 1.0;
                accuracy += value[i][lane] > value[j][lane] ? 1.0 : value[i][lane] == value[j][lane] ? 0.5 : 0.0;
                margin += value[i][lane] - value[j][lane];
            }
    }
    if (p.has_gradient != 0)
        for (uint i = 0; i < count; i++)
            d_values[place[i][lane]] = broken ? TV_NAN : constants.loss_scale * slope[i][lane];
    float pairs = max(strict, 1.0);
    uint at = group * TV_PREFERENCE_STATS;
    stats[at + TV_PREFERENCE_LOSS] = broken ? TV_NAN : loss;
    stats[at + TV_PREFERENCE_ACCURACY] = accuracy / pairs;
    stats[at + TV_PREFERENCE_MARGIN] = margin / pairs;
    stats[at + TV_PREFERENCE_STRICT] = min(strict, 1.0);
    stats[at + TV_PREFERENCE_VALUES] = sum;
    stats[at + TV_PREFERENCE_COUNT] = float(count);
    stats[at + TV_PREFERENCE_LEAST] = low;
    stats[at + TV_PREFERENCE_MOST] = high;
}
