/* Sliding windows of attention: the query at t sees the keys in (t - window, t]. Without branches: SwiftShader took a minute to
 * compile backward_kv_tile.comp with them, and three seconds without. Include after the push constants `p`. */
#ifndef TV_WINDOW_GLSL
#define TV_WINDOW_GLSL

/* The first key that the query at t sees. */
uint tv_window_start(uint t) {
    return max(t + 1, p.window) - p.window;
}

/* Behind the last query that sees the key at j, of `tokens`. */
uint tv_window_end(uint j, uint tokens) {
    return min(j + p.window, tokens);
}

#endif
