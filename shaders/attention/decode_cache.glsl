/* Where a row's keys and values stand in the caches.
 *
 * Without prefixes a row has a slot, (Hkv, max_tokens, D), and its position t stands there. With prefixes (p.prefix_tokens > 0) the caches
 * are (prefixes, Hkv, prefix_tokens, D) and behind them (slots, Hkv, own_tokens, D), bound whole: the first positions of several rows' texts
 * stand once in a prefix, those behind them in the row's slot. `slots` has two words a row then: the prefix, and how many positions
 * are read from it. Include after the push constants `p` and the buffer `slots`.
 */
#ifndef TV_ATTENTION_DECODE_CACHE_GLSL
#define TV_ATTENTION_DECODE_CACHE_GLSL

/* p.slots or more: the row's slot is not bound. */
uint tv_cache_slot(uint row) {
    if (p.prefix_tokens != 0)
        return p.first_row + row;
    return p.has_slots != 0 ? slots[p.first_row + row] - p.first_slot : row;
}

/* Of a row and a key-value head. */
struct tv_cache {
    uint prefix, own; /* where position 0 stands, or would, in elements */
    uint shared_end;  /* positions below it stand in the prefix */
};

tv_cache tv_cache_of(uint row, uint slot, uint kv_head, uint head_size) {
    tv_cache cache = tv_cache(0, (slot * p.kv_heads + kv_head) * p.own_tokens, 0);
    if (p.prefix_tokens != 0) {
        uint at = 2 * (p.first_row + row);
        cache.shared_end = slots[at + 1];
        cache.prefix = (slots[at] * p.kv_heads + kv_head) * p.prefix_tokens * head_size;
        cache.own += p.own_first - cache.shared_end; /* may wrap: what is added is at least shared_end */
    }
    cache.own *= head_size;
    return cache;
}

uint tv_cache_at(tv_cache cache, uint position, uint head_size) {
    return (position < cache.shared_end ? cache.prefix : cache.own) + position * head_size;
}

#endif
