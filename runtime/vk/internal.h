/* What the files of runtime/vk share, and nobody else includes: the Vulkan handles behind the opaque types.
 *
 * volk loads the entry points: instance functions globally (the process-wide loader), device functions into
 * each device's table `vk`.
 */
#ifndef TV_VK_INTERNAL_H
#define TV_VK_INTERNAL_H

#include <math.h>

#include <volk_names.h> /* before volk: its functions are ours (cmake/volk.cmake) */

#include <volk.h>

#include "vk/capture.h"
#include "vk/newer.h"
#include "vk/recorder.h"
#include "vk/submit.h"
#include "vk/timestamps.h"

/* The process's Vulkan instance, created at first use and shared by reference count. */
tv_status tv_instance_acquire(VkInstance *instance);
void tv_instance_release(void);
/* See tv_device_forget_inherited. */
void tv_instance_forget(void);
/* True when the instance has VK_EXT_debug_utils. */
bool tv_instance_has_labels(void);

/* Fills the record of one physical device; `refusal` says what is below the floor. */
void tv_caps_read(VkPhysicalDevice physical, tv_caps *caps);
/* Takes the highest tier up to `most` that the device has, and says why it is none higher; `asked`: somebody
 * named `most`. */
void tv_caps_choose_tier(tv_caps *caps, tv_tier most, bool asked);
/* Refuses what the record itself shows to be below the floor, as read or as lowered. */
void tv_caps_judge_limits(tv_caps *caps);
/* The headers hold the macro of this name back behind VK_ENABLE_BETA_EXTENSIONS. */
#define TV_PORTABILITY_SUBSET "VK_KHR_portability_subset"

/* The first queue family that computes and, where there is a choice, does not draw; UINT32_MAX when none
 * computes. */
uint32_t tv_caps_compute_family(VkPhysicalDevice physical);

typedef struct tv_pipeline {
    const tv_program *program;
    uint32_t specialization[TV_MAX_SPECIALIZATION];
    uint32_t specialization_count;
    VkPipeline pipeline;
    struct tv_pipeline *next;
} tv_pipeline;

/* Layouts depend on the number of bindings, which of them are texels, and the push size only, so programs
 * share them. */
typedef struct tv_layout {
    uint32_t binding_count, push_bytes, texels; /* texels: a bit for each binding */
    VkDescriptorSetLayout set;
    VkPipelineLayout pipeline;
    struct tv_layout *next;
} tv_layout;

enum { TV_PENDING_SUBMISSIONS = 64, TV_LABEL_BYTES = 160 };

/* Submissions that may still run, for the sentence of a lost device. */
typedef struct tv_pending {
    uint64_t value;
    char label[TV_LABEL_BYTES];
} tv_pending;

/* Of a trace that is being taken; times in seconds, the host's by tv_seconds, a run's and a kernel's by the
 * device's clock. */
typedef struct tv_mark {
    char category[16], name[64];
    double begin, end;
} tv_mark;
typedef struct tv_marked_kernel {
    char *name, *label, *shape;
    double begin, end, flops, bytes;
} tv_marked_kernel;
typedef struct tv_marked_run {
    struct tv_recording *recording; /* NULL: collected, replayed since, or gone */
    char *name;
    double submitted, begin, end;
    bool timed;
    tv_marked_kernel *kernels;
    uint32_t kernel_count;
} tv_marked_run;
typedef struct tv_marks {
    double begin;
    tv_mark *rows;
    tv_marked_run *runs;
    uint64_t count, run_count;
    bool incomplete;
} tv_marks;
/* A run that was submitted at `begin`; an earlier one of the same recording cannot be read any more. */
void tv_marks_submission(tv_device *device, tv_recording *recording, double begin);
void tv_marks_forget(tv_device *device, const tv_recording *recording);
void tv_marks_free(tv_marks **marks);

struct tv_device {
    VkPhysicalDevice physical;
    VkDevice handle;
    struct VolkDeviceTable vk;
    VkQueue queue;
    uint32_t family, number;
    tv_caps caps;
    tv_verdict texel_verdict, rows_verdict;
    VkPhysicalDeviceMemoryProperties memory;

    VkSemaphore timeline;
    uint64_t submitted; /* the last value handed out */
    tv_submitted sums;
    tv_pending pending[TV_PENDING_SUBMISSIONS];
    double timeout;  /* seconds; 0: none */
    double waited;   /* seconds in tv_wait so far */
    tv_marks *marks; /* NULL: no trace is taken */
    bool barrier_always;
    bool hollow;                  /* tv_device_open_hollow */
    VkDeviceMemory hollow_memory; /* of all its buffers that the host does not see */
    bool submits;                 /* only a hollow one may not */
    bool statistics;              /* pipelines keep what the compiler says of them */

    bool lost;
    char lost_sentence[1024];
    uint64_t
        refuse_above; /* TRIVIUM_INJECT_REFUSED_BYTES, for fault tests: allocations above fail; 0: none */
    uint64_t refused_bytes;      /* of the last allocation that the driver refused */
    uint64_t lose_at_submission; /* TRIVIUM_INJECT_DEVICE_LOST, for fault tests; 0: never */

    VkPipelineCache cache;
    uint64_t cache_hash; /* of the data that was loaded, to write only what changed */
    tv_pipeline *pipelines;
    tv_layout *layouts;

    uint64_t bytes, peak_bytes;
    tv_buffer *dummy; /* bound where a binding is absent */
};

struct tv_buffer {
    tv_device *device;
    VkBuffer handle;
    VkDeviceMemory memory;
    uint64_t bytes, allocated;
    void *mapped;
    bool cached; /* the host reads it through its caches */
};

typedef struct tv_recorded_dispatch {
    const tv_program *program;
    char *label, *shape;
    double flops, bytes;
} tv_recorded_dispatch;

struct tv_recording {
    tv_device *device;
    char *name;
    VkCommandPool pool;
    VkCommandBuffer *segments;
    uint32_t segment_count;
    uint32_t *cuts, cut_count;          /* segments that tv_record_cut ended */
    VkDescriptorPool *descriptor_pools; /* only without push descriptors */
    uint32_t descriptor_pool_count;
    VkBufferView *views; /* of texels */
    uint32_t view_count;
    VkQueryPool queries;
    uint32_t query_count;
    tv_recorded_dispatch *dispatches;
    uint32_t dispatch_count;
    tv_recording_info info;
    bool profile, simultaneous;
    uint64_t value; /* timeline value of the last submission */
};

/* The one place that turns a VkResult into a status; `what` completes "the driver failed to ...". */
tv_status tv_vk_check(tv_device *device, VkResult result, const char *what);
/* Sets the sticky loss and its sentence. */
tv_status tv_device_set_lost(tv_device *device, const char *reason);
/* TV_OK, or the sticky loss. */
tv_status tv_device_check(tv_device *device);

void tv_name_object(tv_device *device, VkObjectType type, uint64_t handle, const char *name);

tv_status tv_layout_get(tv_device *device, const tv_program *program, const tv_layout **layout);
VkDescriptorType tv_descriptor_type(tv_access access);
tv_status tv_pipeline_get(tv_device *device, const tv_program *program, const uint32_t *specialization,
                          uint32_t specialization_count, VkPipeline *pipeline);
void tv_pipeline_cache_load(tv_device *device);
void tv_pipeline_cache_save(tv_device *device);

/* FLOPs of a submission before its speed is known: 100 ms on a slow device of the type, 200 GFLOP/s
 * integrated, 1 TFLOP/s discrete; CPU devices have none. */
static inline double tv_default_budget(const tv_caps *caps) {
    if (caps->type == TV_DEVICE_CPU)
        return INFINITY;
    return caps->type == TV_DEVICE_DISCRETE ? 1e11 : 2e10;
}

#endif
