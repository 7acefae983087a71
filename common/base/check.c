#include "check.h"

#include <stdio.h>
#include <stdlib.h>

void check_fail(const char *file, int line, const char *expr)
{
    fprintf(stderr, "level=FATAL mod=check ev=failed at=%s:%d expr=\"%s\"\n", file, line, expr);
    abort();
}
