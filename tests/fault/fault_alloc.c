#include "tests/fault/fault_alloc.h"

#include <stddef.h>

static bool armed, fired;
static long left;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static bool refuse(void) {
    if (!armed || fired || left-- > 0)
        return false;
    fired = true;
    return true;
}

void *__wrap_malloc(size_t size) {
    return refuse() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size) {
    return refuse() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size) {
    return refuse() ? NULL : __real_realloc(p, size);
}
void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    return refuse() ? NULL : __real_reallocarray(p, n, size);
}
void *__wrap_aligned_alloc(size_t align, size_t size) {
    return refuse() ? NULL : __real_aligned_alloc(align, size);
}

void fault_alloc_arm(long allowed) {
    left = allowed;
    fired = false;
    armed = true;
}

bool fault_alloc_disarm(void) {
    armed = false;
    return fired;
}
