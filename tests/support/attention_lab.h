/* Attention of one shape with random inputs, run on a device and compared with the oracle. */
#ifndef TV_TESTS_ATTENTION_LAB_H
#define TV_TESTS_ATTENTION_LAB_H

#include "support/device.h"

#include "kernels/attention.h"

typedef enum tv_attention_documents { NO_DOCUMENTS, SOME_DOCUMENTS } tv_attention_documents;

typedef struct tv_attention_shape {
    uint64_t batch, tokens, heads, kv_heads, head_size;
    tv_attention_documents documents;
    uint64_t window; /* 0: none */
    float scale;     /* 0: 1/sqrt(D) */
} tv_attention_shape;

/* Host copies of everything that goes in and comes out. */
typedef struct tv_attention_sample {
    tv_attention_shape shape;
    tv_dtype dtype; /* of qkv, output and their gradients on the device; TV_F32 unless set */
    uint64_t qkv_count, output_count, lse_count;
    float *qkv, *d_output;
    uint32_t *doc_start;
    float *output, *lse, *d_qkv, *delta;
} tv_attention_sample;

/* q, k and v in [-scale, scale), d_output in [-1, 1); documents of 1, 13, 25, ... tokens. */
tv_attention_sample tv_attention_sample_make(const tv_attention_shape *shape, float scale);
/* The inputs rounded to a type of 16 bits, in which they and what comes out will be held. */
void tv_attention_sample_narrow(tv_attention_sample *sample, tv_dtype dtype);
void tv_attention_sample_free(tv_attention_sample *sample);

/* Forward and backward in one recording; `budget` is of recorder.h. Returns the dispatches. */
uint32_t tv_attention_sample_run_within(tv_device *device, tv_attention_sample *sample, double budget);
void tv_attention_sample_run(tv_device *device, tv_attention_sample *sample);
/* The forward pass alone, which stores no lse. */
void tv_attention_sample_forward(tv_device *device, const tv_attention_sample *sample, float *output);

void tv_attention_sample_compare(const tv_attention_sample *sample, double tolerance);
/* A sample of scale 1, run and compared. */
void tv_attention_check(tv_device *device, const tv_attention_shape *shape);

/* Decoding token after token, and all tokens at once, equals the oracle's forward pass over the whole, and
 * where `same_bits` the device's own bit for bit; rows stand at different positions. */
void tv_attention_check_decode(tv_device *device, const tv_attention_shape *shape, bool same_bits);
/* The same on matrix units, of tensors of a type: within a tolerance of the oracle, to the device's own bits.
 */
void tv_attention_check_decode_of(tv_device *device, const tv_attention_shape *shape, tv_dtype dtype,
                                  double tolerance);

/* Copies of `values`; NULL: zeros. */
double *tv_test_doubles(const float *values, uint64_t count);

#endif
