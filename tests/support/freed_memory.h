/* Whether freed memory stays resident for a while, as AddressSanitizer keeps it: bounds on memory do not hold
 * then. */
#ifndef TV_TESTS_FREED_MEMORY_H
#define TV_TESTS_FREED_MEMORY_H

#if defined(__SANITIZE_ADDRESS__)
enum { TV_TEST_KEEPS_FREED_MEMORY = 1 };
#elif defined(__has_feature)
enum { TV_TEST_KEEPS_FREED_MEMORY = __has_feature(address_sanitizer) };
#else
enum { TV_TEST_KEEPS_FREED_MEMORY = 0 };
#endif

#endif
