/* Many tensors in one dispatch: a table says which workgroups belong to which segment of which tensor (kernels/update_plan.h).
 *
 * The including shader defines TV_SEGMENTS_BINDING. A workgroup past the end finds the last segment, and its place there is past that
 * segment's end.
 */
#ifndef TV_SEGMENTS_GLSL
#define TV_SEGMENTS_GLSL

layout(std430, binding = TV_SEGMENTS_BINDING) readonly buffer Segments {
    tv_update_segment segments[];
};

/* The last of `count` segments from `first` on that begins at or before workgroup `group`. */
tv_update_segment tv_segment_of(uint group, uint first, uint count) {
    uint low = first, high = first + count;
    while (high - low > 1) {
        uint middle = (low + high) / 2;
        if (segments[middle].first_group <= group)
            low = middle;
        else
            high = middle;
    }
    return segments[low];
}

#endif
