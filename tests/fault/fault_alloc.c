#include "tests/fault/fault_alloc.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static atomic_bool armed, fired;
static atomic_long left;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *s);

static bool refuse(void) {
    return armed && atomic_fetch_sub(&left, 1) <= 0 && !atomic_exchange(&fired, true);
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
char *__wrap_strdup(const char *s) {
    return refuse() ? NULL : __real_strdup(s);
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
