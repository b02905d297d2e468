/* The workgroup's number in a grid that the recorder may have folded over x and y. It can lie past the end: every shader compares it
 * with its own count before it touches memory.
 */
#ifndef TV_GRID_GLSL
#define TV_GRID_GLSL

uint tv_group() {
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

/* The invocation's number in the whole folded grid. A macro, because glslang fixes gl_WorkGroupSize in a function that stands before
 * the shader's layout to 1.
 */
#define tv_thread() (tv_group() * gl_WorkGroupSize.x + gl_LocalInvocationIndex)

#endif
