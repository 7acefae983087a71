#ifndef ZABFS_FUZZ_H
#define ZABFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* What a fuzz target defines. LLVMFuzzerTestOneInput is libFuzzer's name for "judge these bytes":
 * it stops the process when a property does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Appends meaningful input number i modulo those there are: where fuzz_main.c starts its mutations,
 * and what it writes to a new corpus. */
void fuzz_seed(unsigned i, struct buf *b);

#endif
