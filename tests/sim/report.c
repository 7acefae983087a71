#include <inttypes.h>
#include <stdio.h>

#include "sim.h"

const char *sim_event_name(enum sim_event_kind kind)
{
    static const char *const names[] = {
#define X(name) #name,
        SIM_EVENTS(X)
#undef X
    };

    return names[kind];
}

void report_add(struct sim_counts *to, const struct sim_counts *from)
{
#define X(name, text) to->name += from->name;
    SIM_COUNTS(X)
#undef X
}

void report_table(const struct sim_counts *c, double seconds)
{
    double hours = (double)c->simulated_us / 3600e6;

#define X(name, text) printf("%-52s %16" PRIu64 "\n", text, c->name);
    SIM_COUNTS(X)
#undef X
    printf("%-52s %16.3f\n", "simulated hours", hours);
    printf("%-52s %16.1f\n", "real seconds", seconds);
    printf("%-52s %16.0f\n", "simulated hours per real hour",
           seconds > 0 ? hours * 3600 / seconds : 0);
}
