/* core/cpu.h -- which vector instructions this processor has, asked once.
 *
 * Code with a vector path keeps a plain twin that gives the same bits, and chooses between them
 * by dz_cpu_level().  Tests force a lower level to compare the two.  Any thread may ask; forcing
 * belongs before threads start. */
#pragma once

enum dz_cpu_level {
    DZ_CPU_PLAIN,  /* portable C only */
    DZ_CPU_AVX2,   /* x86-64-v3: AVX2, BMI2 */
    DZ_CPU_AVX512, /* AVX-512 F, BW, DQ, VL and VBMI */
};

/* The best level that the processor, and the operating system, allow; or what was forced. */
enum dz_cpu_level dz_cpu_level(void);

/* Uses at most `ceiling` from now on; a level that the processor lacks is never reached.
 * DZ_CPU_AVX512 gives everything back.  For tests and benchmarks. */
void dz_cpu_force(enum dz_cpu_level ceiling);

const char *dz_cpu_level_name(enum dz_cpu_level level);
