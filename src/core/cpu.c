#include "core/cpu.h"

#include <stdatomic.h>

/* Level + 1, so that zero means "not asked yet".  Two threads that ask at once find the same. */
static atomic_int found;
static atomic_int cap = DZ_CPU_AVX512;

static enum dz_cpu_level detect(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
        return DZ_CPU_PLAIN;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi"))
        return DZ_CPU_AVX512;
    return DZ_CPU_AVX2;
#else
    return DZ_CPU_PLAIN;
#endif
}

enum dz_cpu_level dz_cpu_level(void) {
    int have = atomic_load_explicit(&found, memory_order_relaxed);
    int most = atomic_load_explicit(&cap, memory_order_relaxed);

    if (have == 0) {
        have = (int) detect() + 1;
        atomic_store_explicit(&found, have, memory_order_relaxed);
    }
    have--;
    return (enum dz_cpu_level)(have < most ? have : most);
}

void dz_cpu_force(enum dz_cpu_level ceiling) {
    atomic_store_explicit(&cap, (int) ceiling, memory_order_relaxed);
}

const char *dz_cpu_level_name(enum dz_cpu_level level) {
    switch (level) {
    case DZ_CPU_PLAIN:
        return "plain";
    case DZ_CPU_AVX2:
        return "avx2";
    case DZ_CPU_AVX512:
        return "avx512";
    }
    return "?";
}
