#pragma once
/*
 * Internal to base: tells AddressSanitizer which bytes of a pool nobody owns, so that use after
 * dispose and overruns inside our own memory are found. Costs nothing in other builds.
 */

#if defined(__SANITIZE_ADDRESS__)
#define POISON_ENABLED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ENABLED 1
#endif
#endif

#ifdef POISON_ENABLED
#include <sanitizer/asan_interface.h>
#define POISON(ptr, bytes)   ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define UNPOISON(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#define POISON_GAP_BYTES     16 /* left poisoned between neighbouring blocks */
#else
#define POISON(ptr, bytes)   ((void)(ptr), (void)(bytes))
#define UNPOISON(ptr, bytes) ((void)(ptr), (void)(bytes))
#define POISON_GAP_BYTES     0
#endif
