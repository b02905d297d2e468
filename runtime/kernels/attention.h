/* Causal self-attention in flash form (Dao et al. 2022): T x T is never stored.
 *
 * Query head h reads key-value head h / (H / Hkv) (grouped-query attention, Ainslie et al. 2023). Row t
 * attends to [doc_start(t), t], of it to the last `window` positions (Beltagy et al. 2020). The result of a
 * row does not depend on the other rows of the batch. Sums over heads and positions run in a fixed order.
 */
#ifndef TV_KERNELS_ATTENTION_H
#define TV_KERNELS_ATTENTION_H

#include "kernels/launch.h"

typedef struct tv_attention {
    uint64_t batch, tokens, heads, kv_heads, head_size; /* B, T, H, Hkv, D; D up to 256 */
    float scale;                                        /* of the scores; 0: 1/sqrt(D) */
    uint64_t window;                                    /* 0: none */
    tv_tensor qkv;       /* (B, T, (H + 2 Hkv) * D): q heads, k heads, v heads in each row */
    tv_tensor doc_start; /* (B, T) uint32: first position of the row's own document; absent: 0 */
    tv_tensor output;    /* (B, T, H * D): written by forward, read by backward */
    tv_tensor lse; /* (B, H, T) fp32: log-sum-exp of the scaled scores, likewise; absent in a forward pass
                      without backward */
} tv_attention;
/* Whether kernels take qkv, output and their gradients of this type on a device: fp32 everywhere; in a tier
 * of matrix units its 16-bit type where the kernels on matrices take the head size. Each tensor for itself.
 */
bool tv_attention_reads(const tv_caps *caps, uint64_t head_size, tv_dtype dtype);
/* What the caches of decoding are stored as on a device: fp32, or its tier's 16-bit type where the kernels on
 * matrices take the head size, which then have one order of sums for decoding and for whole texts. */
tv_dtype tv_attention_cache_type(const tv_caps *caps, uint64_t head_size);
/* Whether a token's row has the same bits in a whole text, from its first column on, and in decoding: false
 * where forms for CPUs without lanes have blocks of their own sizes (docs/kernels/attention.md). */
bool tv_attention_has_one_order(const tv_caps *caps, uint64_t head_size);
/* False for what launchers take on other devices: tiles of attention come in forms, by drivers of CPUs and by
 * registers. */
bool tv_attention_is_for(const tv_program *program, const tv_caps *caps);
tv_status tv_attention_forward(tv_recorder *recorder, const tv_attention *attention);

typedef struct tv_attention_backward {
    tv_attention forward;
    tv_tensor d_output; /* (B, T, H * D) */
    tv_tensor d_qkv;    /* (B, T, (H + 2 Hkv) * D), overwritten */
    tv_tensor delta;    /* (B, H, T) fp32 scratch: the row sums of d_output * output */
} tv_attention_backward;
tv_status tv_attention_backward_record(tv_recorder *recorder, const tv_attention_backward *attention);

/* One decoding step: appends this step's k and v to the cache at positions(row), then attends to [0,
 * positions(row)]. Rows that name their slots may be several tokens of one sequence: all k and v are in the
 * caches before the first row attends. Every row has the same bits either way. */
typedef struct tv_attention_decode {
    uint64_t rows, heads, kv_heads, head_size, max_tokens;
    float scale;                /* of the scores; 0: 1/sqrt(D) */
    uint64_t window;            /* 0: none */
    tv_tensor qkv;              /* (rows, (H + 2 Hkv) * D), already rotated */
    tv_tensor positions;        /* (rows) uint32, below max_tokens, on the device */
    tv_tensor k_cache, v_cache; /* (rows, or slot_count; Hkv, max_tokens, D), fp32 or as
                                   tv_attention_cache_type says */
    tv_tensor output;           /* (rows, H * D) out; absent, with slots: the caches alone are filled */
    tv_tensor slots;     /* (rows) uint32: the row of the caches for each row, no place twice; slot_count
                            or more: the row is left out. Absent: row r */
    uint64_t slot_count; /* rows of the caches; with slots alone */
    tv_tensor prefixes;  /* (rows, 2) uint32: of each row the prefix, and how many first positions stand in it
                            and not in the row's slot, at most prefix_tokens. Absent: none. Without slots */
    uint64_t prefix_count, prefix_tokens, own_tokens; /* with prefixes the caches are (prefix_count, Hkv,
                            prefix_tokens, D) and behind them (rows, Hkv, own_tokens, D), and a row's position
                            is below its own first ones and own_tokens. TV_E_FIT where a device binds less */
    tv_tensor scratch; /* fp32, tv_attention_decode_scratch, or absent: no sharing of a row's keys among
                          workgroups */
} tv_attention_decode;
/* Bytes of scratch with which steps of up to `rows` rows, where these are few, share each one's keys among
 * workgroups, which changes no bit; 0 where a device does not. */
uint64_t tv_attention_decode_scratch(const tv_caps *caps, uint64_t rows, uint64_t heads, uint64_t kv_heads,
                                     uint64_t head_size, uint64_t max_tokens);
tv_status tv_attention_decode_record(tv_recorder *recorder, const tv_attention_decode *decode);

#endif
