/* Sliding windows of attention: the query at t sees the keys in (t - window, t]. Include after the push constants `p`. */
#ifndef TV_WINDOW_GLSL
#define TV_WINDOW_GLSL

/* The first key that the query at t sees. */
uint tv_window_start(uint t) {
    return t < p.window ? 0 : t + 1 - p.window;
}

/* Behind the last query that sees the key at j, of `tokens`. */
uint tv_window_end(uint j, uint tokens) {
    return p.window < tokens - j ? j + p.window : tokens;
}

#endif
